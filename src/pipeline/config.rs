//! Read what a training is told from one YAML file.

use std::fs;
use std::path::Path;

use armilla_models::flow_matching::FlowMatching;
use armilla_models::train::Trainer;
use armilla_models::velocity::VelocityConfig;
use serde::{Deserialize, Serialize};
use serde_norway::Value;

use crate::data::{FieldScaling, Fractions};
use crate::{Error, Result};

/// The settings of the training of a surrogate: five sections, each of which may be left out, as may each key in them.
///
/// ```
/// use armilla::pipeline::TrainConfig;
/// let config = TrainConfig::parse("training: {steps: 100}\nsplit: {train: 0.9, validation: 0.1, test: 0}", 2000)?;
/// assert_eq!((config.training.steps, config.split.test), (100, 0.0));
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// What a configuration may call this method.
    pub method: SurrogateMethod,
    /// The network.
    pub network: VelocityConfig,
    /// How it is trained.
    pub training: Trainer,
    /// What is peculiar to flow matching in it.
    pub flow_matching: FlowMatching,
    /// Which transform of the pixels is fitted.
    pub pixels: FieldScaling,
    /// Which fraction of the simulations goes into which part.
    pub split: Fractions,
}

/// The method of these settings; others are those of [`GenerativeConfig`](super::generative::GenerativeConfig).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SurrogateMethod {
    /// Flow matching with a separable network.
    #[default]
    Surrogate,
}

/// Quadratic forms that the second stage of training fits, over all fields: more cost memory and gain little.
const FORMS: usize = 32_000;

impl TrainConfig {
    /// The settings for a set of `maps` maps, where nothing else is said.
    ///
    /// With fewer maps each is looked at more often in the second stage, under other noise.
    pub fn for_maps(maps: usize) -> Self {
        let mut config = Self::default();
        let fields = config.split.train * maps as f64;
        config.flow_matching.refine.draws = ((FORMS as f64 / fields.max(1.0)).round() as usize).clamp(2, 64);
        config
    }

    /// Settings from YAML for a set of `maps` maps; what it leaves out is as in [`for_maps`](Self::for_maps).
    ///
    /// # Errors
    ///
    /// YAML that cannot be read, and keys that do not exist: the message names the key and those that are allowed.
    pub fn parse(text: &str, maps: usize) -> Result<Self> {
        let fail = |e: serde_norway::Error| Error::Invalid(e.to_string());
        // Once as it is, so that mistakes are told with their line.
        let given: Option<Value> = serde_norway::from_str(text).map_err(fail)?;
        let Some(given) = given else {
            return Ok(Self::for_maps(maps));
        };
        let _: Self = serde_norway::from_str(text).map_err(fail)?;
        let mut all = serde_norway::to_value(Self::for_maps(maps)).map_err(fail)?;
        overlay(&mut all, given);
        serde_norway::from_value(all).map_err(fail)
    }

    /// Settings from a YAML file, as [`parse`](Self::parse).
    ///
    /// # Errors
    ///
    /// A file that cannot be read, and those of [`parse`](Self::parse); the message names the file.
    pub fn read(path: impl AsRef<Path>, maps: usize) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        Self::parse(&text, maps).map_err(|e| Error::file(path, e))
    }
}

/// Puts what `given` holds into `base`, mapping by mapping.
fn overlay(base: &mut Value, given: Value) {
    match (base, given) {
        (Value::Mapping(base), Value::Mapping(given)) => {
            for (key, value) in given {
                match base.get_mut(&key) {
                    Some(old) => overlay(old, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, given) => *base = given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use armilla_models::train::Schedule;

    #[test]
    fn what_is_left_out_follows_the_data() {
        for text in ["", "# nothing\n", "training: {steps: 7}"] {
            let few = TrainConfig::parse(text, 2000).unwrap();
            let many = TrainConfig::parse(text, 20_000).unwrap();
            assert_eq!(
                (few.flow_matching.refine.draws, many.flow_matching.refine.draws),
                (20, 2)
            );
        }
        let text = "training: {epochs: 200, schedule: plateau, early_stopping: 10, optimiser: adamw}";
        let config = TrainConfig::parse(text, 2000).unwrap().training;
        assert_eq!((config.epochs, config.early_stopping), (Some(200), Some(10)));
        assert_eq!((config.schedule, config.plateau.patience), (Schedule::Plateau, 2));
        let text = "network: {unet: {channels: [8, 16]}}\nflow_matching: {refine: {draws: 3}}";
        let config = TrainConfig::parse(text, 2000).unwrap();
        assert_eq!(config.network.unet.channels, [8, 16]);
        assert_eq!(config.flow_matching.refine.draws, 3);
        assert_eq!(
            config.flow_matching.refine.steps,
            FlowMatching::default().refine.steps
        );
        let whole = serde_norway::to_string(&config).unwrap();
        assert_eq!(TrainConfig::parse(&whole, 10).unwrap(), config);
    }

    #[test]
    fn mistakes_are_named_with_what_is_allowed() {
        for (text, words) in [
            (
                "training: {batchsize: 3}",
                &["training", "`batchsize`", "`batch_size`"][..],
            ),
            ("trainig: {}", &["`trainig`", "`training`", "`split`"]),
            ("pixels: {scale: log}", &["pixels.scale", "`minmax`"]),
            ("split: {train: a}", &["split.train", "f64"]),
            (
                "network: {unet: {chanels: [1]}}",
                &["network.unet", "`chanels`", "`channels`"],
            ),
            ("- 1", &["sequence"]),
            ("a: [", &["line"]),
        ] {
            let message = TrainConfig::parse(text, 10).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
}
