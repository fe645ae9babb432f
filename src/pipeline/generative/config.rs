//! Read what the training of a generative model is told from one YAML file.

use armilla_models::matching::{Augment, Matching};
use armilla_models::path::{Path, Target};
use armilla_models::train::Trainer;
use serde::{Deserialize, Serialize};
use serde_norway::Value;

use super::ffjord_keys::FfjordKeys;
use super::figures::FigureSettings;
use super::layer_keys::{GlowKeys, MafKeys, RealNvpKeys, SplineKeys};
use super::network_keys::{NetworkKeys, NetworkKind};
use super::path_keys::{DiffusionKeys, FlowKeys, RectifiedKeys, ScoreKeys};
use super::training_keys::TrainingKeys;
use super::{Body, GenerativeMethod, Sampling, SamplingKeys};
use crate::data::{FieldScaling, Fractions};
use crate::{Error, Result};

/// The settings of the training of a generative model.
///
/// ```
/// use armilla::pipeline::generative::{GenerativeConfig, GenerativeMethod};
/// let config = GenerativeConfig::parse("model: {from: SimpleUNet}\ndiffusion: {schedule: cosine}")?;
/// assert_eq!(config.method, GenerativeMethod::Diffusion);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerativeConfig {
    /// How it is trained.
    pub method: GenerativeMethod,
    /// The network.
    pub model: NetworkKeys,
    /// What is peculiar to flow matching.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowKeys>,
    /// What is peculiar to rectifying a flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rectified: Option<RectifiedKeys>,
    /// What is peculiar to a diffusion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diffusion: Option<DiffusionKeys>,
    /// What is peculiar to a score model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<ScoreKeys>,
    /// What is peculiar to a continuous normalizing flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ffjord: Option<FfjordKeys>,
    /// Sizes of a RealNVP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realnvp: Option<RealNvpKeys>,
    /// Sizes of a spline flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spline: Option<SplineKeys>,
    /// Sizes of a masked autoregressive flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maf: Option<MafKeys>,
    /// Sizes of a Glow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glow: Option<GlowKeys>,
    /// How maps are drawn.
    pub sampling: SamplingKeys,
    /// How long, how fast and how carefully it is trained.
    pub training: Trainer,
    /// By what maps are moved at random, in training only.
    pub augment: Augment,
    /// Which pictures are drawn meanwhile.
    pub figures: FigureSettings,
    /// Which transform of the pixels is fitted.
    pub pixels: FieldScaling,
    /// Which fraction of the simulations goes into which part.
    pub split: Fractions,
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    method: Option<GenerativeMethod>,
    #[serde(default)]
    model: NetworkKeys,
    flow: Option<FlowKeys>,
    rectified: Option<RectifiedKeys>,
    diffusion: Option<DiffusionKeys>,
    score: Option<ScoreKeys>,
    ffjord: Option<FfjordKeys>,
    realnvp: Option<RealNvpKeys>,
    spline: Option<SplineKeys>,
    maf: Option<MafKeys>,
    glow: Option<GlowKeys>,
    #[serde(default)]
    sampling: SamplingKeys,
    #[serde(default)]
    training: TrainingKeys,
    #[serde(default)]
    figures: FigureSettings,
    #[serde(default)]
    pixels: FieldScaling,
    #[serde(default)]
    split: Fractions,
}

/// Sections that a surrogate does not know.
const SECTIONS: [&str; 12] = [
    "model",
    "flow",
    "rectified",
    "diffusion",
    "score",
    "ffjord",
    "realnvp",
    "spline",
    "maf",
    "glow",
    "sampling",
    "figures",
];

impl GenerativeConfig {
    /// Whether a configuration is one of a generative model: it names a method but `surrogate`, or has a section that a
    /// surrogate has not.
    ///
    /// # Errors
    ///
    /// YAML that cannot be read, and methods that do not exist.
    pub fn is_meant(text: &str) -> Result<bool> {
        let value: Option<Value> = serde_norway::from_str(text).map_err(|e| Error::Invalid(e.to_string()))?;
        let Some(Value::Mapping(keys)) = value else {
            return Ok(false);
        };
        let names = || keys.keys().filter_map(Value::as_str);
        match keys.get("method") {
            None => Ok(names().any(|name| SECTIONS.contains(&name))),
            Some(method) if method.as_str() == Some("surrogate") => Ok(false),
            Some(method) => match serde_norway::from_value::<GenerativeMethod>(method.clone()) {
                Ok(_) => Ok(true),
                Err(_) => Err(Error::Invalid(format!(
                    "method: there is no {}; it is one of surrogate, {}",
                    method
                        .as_str()
                        .map_or("such method".to_owned(), |name| format!("`{name}`")),
                    GenerativeMethod::ALL.map(GenerativeMethod::name).join(", ")
                ))),
            },
        }
    }

    /// Settings from YAML.
    ///
    /// # Errors
    ///
    /// YAML that cannot be read, keys that do not exist (the message names those that are allowed), sections of another
    /// method, and settings that make no sense.
    pub fn parse(text: &str) -> Result<Self> {
        let written: Written = serde_norway::from_str(text).map_err(|e| Error::Invalid(e.to_string()))?;
        Self::settle(written)
    }

    /// Fills in what the method needs.
    fn settle(written: Written) -> Result<Self> {
        use GenerativeMethod as M;
        let method = written.method.unwrap_or_default();
        let sections: [(&str, bool, &[M]); 9] = [
            ("flow", written.flow.is_some(), &[M::Flow, M::Rectified]),
            ("rectified", written.rectified.is_some(), &[M::Rectified]),
            ("diffusion", written.diffusion.is_some(), &[M::Diffusion]),
            ("score", written.score.is_some(), &[M::Score]),
            ("ffjord", written.ffjord.is_some(), &[M::Ffjord]),
            ("realnvp", written.realnvp.is_some(), &[M::RealNvp]),
            ("spline", written.spline.is_some(), &[M::Spline]),
            ("maf", written.maf.is_some(), &[M::Maf]),
            ("glow", written.glow.is_some(), &[M::Glow]),
        ];
        if let Some((name, _, of)) = sections
            .iter()
            .find(|(_, given, of)| *given && !of.contains(&method))
        {
            return Err(Error::Invalid(format!(
                "the section `{name}` is for method {}, and the method is {method}",
                of[0]
            )));
        }
        let takes = |name: &str| {
            sections
                .iter()
                .any(|(n, _, of)| *n == name && of.contains(&method))
        };
        written.training.check()?;
        let (training, augment) = (written.training.trainer(), written.training.augment);
        training.check()?;
        let mut config = Self {
            method,
            flow: takes("flow").then(|| written.flow.unwrap_or_default()),
            rectified: takes("rectified").then(|| written.rectified.unwrap_or_default()),
            diffusion: takes("diffusion").then(|| written.diffusion.unwrap_or_default()),
            score: takes("score").then(|| written.score.unwrap_or_default()),
            ffjord: takes("ffjord").then(|| written.ffjord.unwrap_or_default()),
            realnvp: takes("realnvp").then(|| written.realnvp.unwrap_or_default()),
            spline: takes("spline").then(|| written.spline.unwrap_or_default()),
            maf: takes("maf").then(|| written.maf.unwrap_or_default()),
            glow: takes("glow").then(|| written.glow.unwrap_or_default()),
            augment: Augment::None,
            model: written.model,
            sampling: written.sampling,
            training,
            figures: written.figures,
            pixels: written.pixels,
            split: written.split,
        };
        // What sees a map as a map learns from it as it lies in any direction.
        let usual = match config.network() {
            _ if method == M::Ffjord => Augment::None,
            Some(NetworkKind::SimpleUnet | NetworkKind::AttentionUnet) => Augment::Square,
            _ => Augment::None,
        };
        config.augment = augment.unwrap_or(usual);
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let path = self.path()?;
        if self.rectified.is_some() && path.is_some_and(|(path, _)| path != Path::Linear) {
            return Err(Error::Invalid(
                "a rectified flow is straightened on the linear path: leave flow.path out for method rectified".to_owned(),
            ));
        }
        self.score.as_ref().map_or(Ok(()), ScoreKeys::check)?;
        self.ffjord.as_ref().map_or(Ok(()), FfjordKeys::check)?;
        if self.method.is_exact() && self.model != NetworkKeys::default() {
            return Err(Error::Invalid(format!(
                "a model of method {0} has no network of its own to choose: its sizes are in the section `{0}`, not in `model`",
                self.method
            )));
        }
        let moves = match self.method {
            GenerativeMethod::Glow => true,
            GenerativeMethod::Ffjord => false,
            _ => matches!(
                self.network(),
                Some(NetworkKind::SimpleUnet | NetworkKind::AttentionUnet)
            ),
        };
        if self.augment != Augment::None && !moves {
            return Err(Error::Invalid(format!(
                "training.augment moves maps, for glow and for a U-Net that is not of method ffjord: leave it out for this model of method {}",
                self.method
            )));
        }
        if !self.method.is_exact() {
            let sampling = self.sampling.settled(self.method, self.levels())?;
            self.check_guidance(&sampling)?;
        } else if self.sampling != SamplingKeys::default() {
            return Err(Error::Invalid(format!(
                "a model of method {} is sampled exactly, without a solver: leave the section `sampling` out",
                self.method
            )));
        }
        Ok(())
    }

    /// Looks whether the model can be guided, where it is to be.
    pub(super) fn check_guidance(&self, sampling: &Sampling) -> Result<()> {
        if sampling.guidance == 0.0 || self.unconditional() > 0.0 {
            return Ok(());
        }
        let section = match self.method {
            GenerativeMethod::Ffjord => {
                return Err(Error::Invalid(
                    "a model of method ffjord cannot be guided: leave guidance out".to_owned(),
                ));
            }
            GenerativeMethod::Rectified => "flow",
            method => method.name(),
        };
        Err(Error::Invalid(format!(
            "guidance needs a model that was also trained without conditions: train with {section}: {{unconditional: 0.1}}"
        )))
    }

    /// The levels of its chain, if it has one.
    pub(super) fn levels(&self) -> Option<usize> {
        self.diffusion.as_ref().map(|keys| keys.timesteps)
    }

    /// The share of examples whose condition is left out.
    pub fn unconditional(&self) -> f64 {
        let flow = self.flow.as_ref().map(|keys| keys.unconditional);
        let diffusion = self.diffusion.as_ref().map(|keys| keys.unconditional);
        let score = self.score.as_ref().map(|keys| keys.unconditional);
        flow.or(diffusion).or(score).unwrap_or(0.0)
    }

    /// What a model for maps of `side` pixels to a side and `parameters` parameters is made of.
    ///
    /// # Errors
    ///
    /// Sizes that do not fit the network.
    pub(super) fn body(&self, side: usize, parameters: usize) -> Result<Body> {
        let layers = (self.realnvp.as_ref().map(|keys| keys.layers(side, parameters)))
            .or_else(|| self.spline.as_ref().map(|keys| keys.layers(side, parameters)))
            .or_else(|| self.maf.as_ref().map(|keys| keys.layers(side, parameters)))
            .or_else(|| self.glow.as_ref().map(|keys| keys.layers(side, parameters)));
        if let Some(layers) = layers {
            return Ok(Body::Layers(layers));
        }
        let Some(kind) = self.network() else {
            return Err(Error::Invalid(format!("the method {} has no sizes", self.method)));
        };
        // One number more says that there is no condition.
        let conditions = parameters + usize::from(self.unconditional() > 0.0);
        Ok(Body::Network(self.model.architecture(kind, side, conditions)?))
    }

    /// The network, where the method has one to choose.
    fn network(&self) -> Option<NetworkKind> {
        let by_divergence = self.score.as_ref().is_some_and(|keys| keys.estimator().is_some());
        // Batch norms and kinks are not made for a divergence that is differentiated.
        let usual = match self.method == GenerativeMethod::Ffjord || by_divergence {
            true => NetworkKind::Mlp,
            false => NetworkKind::SimpleUnet,
        };
        (!self.method.is_exact()).then(|| self.model.from.unwrap_or(usual))
    }

    /// Path and target of a network; none for a normalizing flow of layers.
    ///
    /// # Errors
    ///
    /// A path that cannot be.
    pub(super) fn path(&self) -> Result<Option<(Path, Target)>> {
        Ok(match (&self.flow, &self.diffusion, &self.score, &self.ffjord) {
            (Some(flow), ..) => Some((flow.path(), Target::Velocity)),
            (_, Some(diffusion), ..) => Some((diffusion.path()?, diffusion.target())),
            // The noise is the score but for its size, and of unit size at all times.
            (_, _, Some(score), _) => Some((score.path()?, Target::Noise)),
            (_, _, _, Some(_)) => Some((Path::Linear, Target::Velocity)),
            _ => None,
        })
    }

    /// What is learnt by matching, along `path` and for `target`.
    pub(super) fn matching(&self, path: Path, target: Target) -> Matching {
        let plain = Matching::default();
        let of = |times: super::path_keys::Times, weighting: super::path_keys::Weights| {
            (times.into(), weighting.into())
        };
        let (times, weighting) = match (&self.flow, &self.diffusion, &self.score) {
            (Some(keys), ..) => of(keys.times, keys.weighting),
            (_, Some(keys), _) => of(keys.times, keys.weighting),
            (_, _, Some(keys)) => (keys.times.into(), plain.weighting),
            _ => (plain.times, plain.weighting),
        };
        Matching {
            path,
            target,
            weighting,
            times,
            coupling: self.flow.as_ref().map_or(plain.coupling, |keys| keys.coupling),
            unconditional: self.unconditional(),
            augment: self.augment,
        }
    }
}

#[cfg(test)]
mod tests {
    use armilla_models::nets::{Architecture, SimpleUnetConfig};
    use armilla_models::path::{Chain, Schedule};

    use super::*;

    /// As the documents of the earlier system print it.
    const PRINTED: &str = r#"
method: "diffusion"  # Diffusion 사용 (또는 생략 가능, 기본값)

model:
  from: "SimpleUNet"  # 표준 Diffusion U-Net
  base_channels: 128
  time_dim: 256

diffusion:
  timesteps: 1000  # 학습 timesteps
  beta_start: 1.0e-4
  beta_end: 0.02
  schedule: "linear"

sampling:
  method: "ddim"  # 빠른 샘플링
  ddim_timesteps: 50  # 샘플링 steps
"#;

    #[test]
    fn only_what_sees_maps_moves_them() {
        for (text, augment) in [
            ("method: flow", Augment::Square),
            ("method: glow\ntraining: {augment: torus}", Augment::Torus),
            ("method: maf", Augment::None),
            ("method: ffjord\nmodel: {from: SimpleUNet}", Augment::None),
        ] {
            assert_eq!(GenerativeConfig::parse(text).unwrap().augment, augment, "{text}");
        }
    }

    #[test]
    fn the_printed_configuration_means_what_it_meant() {
        let config = GenerativeConfig::parse(PRINTED).unwrap();
        assert_eq!(config.method, GenerativeMethod::Diffusion);
        assert_eq!(
            config.body(256, 6).unwrap(),
            Body::Network(Architecture::SimpleUnet(SimpleUnetConfig::default()))
        );
        let (path, target) = config.path().unwrap().unwrap();
        assert_eq!(path, Path::Chain(Chain::new(Schedule::default(), 1000).unwrap()));
        assert_eq!(target, Target::V);
        let sampling = config.sampling.settled(config.method, config.levels()).unwrap();
        assert_eq!(
            (sampling.solver.to_string().as_str(), sampling.steps),
            ("ddim", 50)
        );

        // The method may be left out, and the printed changes are understood.
        let text = PRINTED.replace("method: \"diffusion\"", "");
        assert!(GenerativeConfig::is_meant(&text).unwrap());
        assert_eq!(GenerativeConfig::parse(&text).unwrap(), config);
        let text = PRINTED.replace("\"linear\"", "\"cosine\"")
            + "  eta: 0.0  # Deterministic\ntraining:\n  batch_size: 32\n";
        let changed = GenerativeConfig::parse(&text).unwrap();
        assert_eq!(changed.training.batch_size, 32);
        let (path, _) = changed.path().unwrap().unwrap();
        assert_eq!(path, Path::Chain(Chain::new(Schedule::Cosine, 1000).unwrap()));
    }

    #[test]
    fn a_surrogate_is_what_is_left() {
        for (text, meant) in [
            ("", false),
            ("training: {steps: 3}", false),
            ("method: surrogate\nnetwork: {}", false),
            ("method: flow", true),
            ("model: {}", true),
            ("sampling: {steps: 3}", true),
        ] {
            assert_eq!(GenerativeConfig::is_meant(text).unwrap(), meant, "{text}");
        }
    }

    #[test]
    fn every_method_has_a_path_or_layers() {
        for method in GenerativeMethod::ALL {
            let config = GenerativeConfig::parse(&format!("method: {method}")).unwrap();
            assert_eq!(config.method, method);
            assert_eq!(config.path().unwrap().is_none(), method.is_exact());
            let body = config.body(16, 2).unwrap();
            assert_eq!(matches!(body, Body::Layers(_)), method.is_exact());
            // A card holds it, and gives it back.
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<GenerativeConfig>(&text).unwrap(), config);
        }
        let guided = GenerativeConfig::parse("method: flow\nflow: {unconditional: 0.1}").unwrap();
        let Body::Network(Architecture::SimpleUnet(network)) = guided.body(16, 2).unwrap() else {
            panic!()
        };
        assert_eq!(network.cond_dim, 3);
    }

    #[test]
    fn mistakes_are_named_with_what_is_allowed() {
        for (text, words) in [
            (
                "method: flow\nmodel: {basechannels: 3}",
                &["model", "`basechannels`", "`base_channels`"][..],
            ),
            (
                "method: flow\ntraining: {batchsize: 3}",
                &["training", "`batchsize`", "`batch_size`"],
            ),
            ("method: flow\nnetwork: {}", &["`network`", "`model`"]),
            ("method: flow\ndiffusion: {}", &["`diffusion`", "method is flow"]),
            (
                "diffusion: {schedule: quadratic}",
                &["diffusion.schedule", "`quadratic`", "`cosine`"],
            ),
            ("diffusion: {timesteps: 0}", &["timesteps", "not 0"]),
            ("diffusion: {beta_end: 2}", &["beta", "between 0 and 1"]),
            ("method: glow\nmodel: {base_channels: 8}", &["`glow`", "`model`"]),
            ("method: maf\nsampling: {steps: 8}", &["maf", "exactly"]),
            ("sampling: {method: heum}", &["heum", "heun"]),
            ("training: {epochs: 0}\nmodel: {}", &["epochs", "0"]),
            (
                "training: {epochs: 2, steps: 9}\nmodel: {}",
                &["epochs and steps"],
            ),
            (
                "training: {warmup_epochs: 2, warmup_steps: 9}\nmodel: {}",
                &["warmup_epochs and warmup_steps"],
            ),
            (
                "method: score\nscore: {times: importance}",
                &["score.times", "uniform"],
            ),
            (
                "method: score\nscore: {projections: 2}",
                &["score.projections", "sliced"],
            ),
            (
                "method: ffjord\nffjord: {trace: exact, probes: 2}",
                &["ffjord.probes", "exact"],
            ),
            (
                "diffusion: {timesteps: 20, schedule: cosine}\nsampling: {method: ddim, steps: 21}",
                &["ddim", "21", "20 levels"],
            ),
            (
                "method: maf\ntraining: {augment: square}",
                &["augment", "maf", "leave it out"],
            ),
            (
                "method: ffjord\ntraining: {augment: torus}",
                &["augment", "ffjord"],
            ),
            (
                "method: flow\nmodel: {from: MLP}\ntraining: {augment: torus}",
                &["augment", "flow"],
            ),
            (
                "method: rectified\nflow: {path: cosine}",
                &["rectified", "linear path", "flow.path"],
            ),
            (
                "method: rectified\nsampling: {guidance: 1}",
                &["guidance", "flow: {unconditional: 0.1}"],
            ),
            (
                "method: ffjord\nsampling: {guidance: 1}",
                &["ffjord", "cannot be guided"],
            ),
            (
                "score: {beta_min: 3, beta_max: 1}\nmethod: score",
                &["beta_min", "beta_max"],
            ),
        ] {
            let message = GenerativeConfig::parse(text).unwrap_err().to_string();
            assert!(
                words.iter().all(|word| message.contains(word)),
                "{text}: {message}"
            );
        }
        let message = GenerativeConfig::is_meant("method: gan").unwrap_err().to_string();
        assert!(
            message.contains("`gan`") && message.contains("surrogate, flow"),
            "{message}"
        );
    }
}
