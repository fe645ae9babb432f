//! Read the sections `flow`, `rectified`, `diffusion` and `score` of a configuration.

use armilla_models::matching::{Coupling, TimeSampling, Weighting};
use armilla_models::path::{Chain, Path, Schedule, Target};
use armilla_models::score::Estimator;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A path of flow matching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowPath {
    /// Straight.
    #[default]
    Linear,
    /// α = cos(πt/2), σ = sin(πt/2).
    #[serde(alias = "cosine")]
    Trigonometric,
    /// Keeps unit variance, β from 0.1 to 20.
    #[serde(alias = "vp")]
    VariancePreserving,
}

/// Where on the path a training looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Times {
    /// Everywhere alike.
    #[default]
    Uniform,
    /// More in the middle: the logit from a standard normal distribution.
    LogitNormal,
    /// Where errors weigh more.
    Importance,
}

impl From<Times> for TimeSampling {
    fn from(times: Times) -> Self {
        match times {
            Times::Uniform => Self::Uniform,
            Times::LogitNormal => Self::LogitNormal { mean: 0.0, sd: 1.0 },
            Times::Importance => Self::Importance,
        }
    }
}

/// What errors count over the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// All the same.
    #[default]
    Uniform,
    /// min(SNR, 5) (Hang et al. 2023, arXiv 2303.09556).
    MinSnr,
    /// As the evidence lower bound does (Kingma et al. 2021, arXiv 2107.00630).
    EvidenceBound,
}

impl From<Weights> for Weighting {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::Uniform => Self::Uniform,
            Weights::MinSnr => Self::MinSnr { gamma: 5.0 },
            Weights::EvidenceBound => Self::EvidenceBound,
        }
    }
}

/// What is peculiar to flow matching, and to the first round of a rectified flow.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowKeys {
    /// From data to noise.
    pub path: FlowPath,
    /// Which noise an example is paired with.
    pub coupling: Coupling,
    /// Where on the path to look.
    pub times: Times,
    /// What errors count over it.
    pub weighting: Weights,
    /// Share of the examples whose condition is left out, for guidance.
    pub unconditional: f64,
}

/// Bounds of β(t) where nothing else is said (Song et al. 2021).
const BETAS: [f64; 2] = [0.1, 20.0];

impl FlowKeys {
    pub(super) fn path(&self) -> Path {
        let [beta_min, beta_max] = BETAS;
        match self.path {
            FlowPath::Linear => Path::Linear,
            FlowPath::Trigonometric => Path::Trigonometric,
            FlowPath::VariancePreserving => Path::VariancePreserving { beta_min, beta_max },
        }
    }
}

/// What is peculiar to rectifying a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RectifiedKeys {
    /// How often pairs are made and learnt, after the first flow.
    pub rounds: usize,
    /// Pairs for each round; as many as there are maps, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<usize>,
    /// Heun steps in which they are made.
    pub steps: usize,
}

impl Default for RectifiedKeys {
    fn default() -> Self {
        Self {
            rounds: 1,
            pairs: None,
            steps: 16,
        }
    }
}

/// How a chain adds noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    /// In equal steps of β.
    #[default]
    Linear,
    /// Nichol & Dhariwal 2021, arXiv 2102.09672.
    Cosine,
    /// That of Diffusion-HMC (Mudur et al. 2024, arXiv 2405.05255).
    #[serde(alias = "diffusion-hmc")]
    DiffusionHmc,
}

/// What a network of a diffusion predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiffusionTarget {
    /// The noise, as in Ho et al. 2020, arXiv 2006.11239: where there is next to no signal its errors are multiplied by
    /// 1/α, some 150 at the end of the usual chain, so that it takes far more epochs than the others.
    #[serde(alias = "eps", alias = "noise")]
    Epsilon,
    /// The data.
    #[serde(alias = "data", alias = "sample")]
    X0,
    /// v of Salimans & Ho 2022, arXiv 2202.00512, whose errors count about the same at all levels.
    #[default]
    #[serde(alias = "v_prediction")]
    V,
}

/// What is peculiar to a diffusion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiffusionKeys {
    /// Levels of noise.
    pub timesteps: usize,
    /// The first β; by the schedule, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_start: Option<f64>,
    /// The last β.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_end: Option<f64>,
    /// How β grows.
    #[serde(alias = "schedule_type")]
    pub schedule: ScheduleName,
    /// What the network predicts.
    #[serde(alias = "prediction")]
    pub target: DiffusionTarget,
    /// What errors count over the path.
    pub weighting: Weights,
    /// Where on the path to look.
    pub times: Times,
    /// Share of the examples whose condition is left out, for guidance.
    pub unconditional: f64,
}

impl Default for DiffusionKeys {
    fn default() -> Self {
        Self {
            timesteps: 1000,
            beta_start: None,
            beta_end: None,
            schedule: ScheduleName::default(),
            target: DiffusionTarget::default(),
            weighting: Weights::default(),
            times: Times::default(),
            unconditional: 0.0,
        }
    }
}

impl DiffusionKeys {
    pub(super) fn path(&self) -> Result<Path> {
        let betas = |last: f64| (self.beta_start.unwrap_or(1e-4), self.beta_end.unwrap_or(last));
        let schedule = match self.schedule {
            ScheduleName::Linear => {
                let (beta_start, beta_end) = betas(0.02);
                Schedule::Linear { beta_start, beta_end }
            }
            ScheduleName::DiffusionHmc => {
                let (beta_start, beta_end) = betas(0.01);
                Schedule::Steepened { beta_start, beta_end }
            }
            // It has no ends to set; configurations keep those of another schedule beside it.
            ScheduleName::Cosine => Schedule::Cosine,
        };
        let chain =
            Chain::new(schedule, self.timesteps).map_err(|e| Error::Invalid(format!("diffusion: {e}")))?;
        Ok(Path::Chain(chain))
    }

    pub(super) fn target(&self) -> Target {
        match self.target {
            DiffusionTarget::Epsilon => Target::Noise,
            DiffusionTarget::X0 => Target::Data,
            DiffusionTarget::V => Target::V,
        }
    }
}

/// The stochastic differential equation of a score model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScorePath {
    /// Variance-preserving.
    #[default]
    #[serde(alias = "variance_preserving")]
    Vp,
    /// Variance-exploding.
    #[serde(alias = "variance_exploding")]
    Ve,
    /// Sub-variance-preserving.
    #[serde(alias = "sub_vp", alias = "sub_variance_preserving")]
    SubVp,
}

/// By what a score is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreObjective {
    /// The score of the noise that was added (Vincent 2011).
    #[default]
    Denoising,
    /// Its divergence along random directions (Song et al. 2019, arXiv 1905.07088).
    Sliced,
    /// Its whole divergence (Hyvärinen 2005): for few pixels.
    Exact,
}

/// What is peculiar to a score model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreKeys {
    /// The equation.
    #[serde(alias = "sde")]
    pub path: ScorePath,
    /// By what it is learnt.
    pub objective: ScoreObjective,
    /// β at data (vp, subvp).
    pub beta_min: f64,
    /// β at noise.
    pub beta_max: f64,
    /// Deviation that the noise begins with (ve).
    pub sigma_min: f64,
    /// Deviation that it ends with: about the largest distance between two maps in units of their scatter.
    pub sigma_max: f64,
    /// Directions for each example (sliced).
    pub projections: usize,
    /// Where on the path to look.
    pub times: Times,
    /// Share of the examples whose condition is left out, for guidance.
    pub unconditional: f64,
}

impl Default for ScoreKeys {
    fn default() -> Self {
        Self {
            path: ScorePath::default(),
            objective: ScoreObjective::default(),
            beta_min: BETAS[0],
            beta_max: BETAS[1],
            sigma_min: 0.01,
            sigma_max: 50.0,
            projections: 1,
            times: Times::default(),
            unconditional: 0.0,
        }
    }
}

impl ScoreKeys {
    /// Looks whether every key has an effect.
    pub(super) fn check(&self) -> Result<()> {
        if self.times == Times::Importance {
            return Err(Error::Invalid(
                "score.times is uniform or logit_normal: errors weigh alike everywhere, so that importance would be uniform"
                    .to_owned(),
            ));
        }
        if self.objective != ScoreObjective::Sliced && self.projections != Self::default().projections {
            return Err(Error::Invalid(
                "score.projections belong to objective: sliced: leave them out".to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) fn path(&self) -> Result<Path> {
        let Self {
            beta_min,
            beta_max,
            sigma_min,
            sigma_max,
            ..
        } = *self;
        // Written so that NaN fails.
        for (low, high, [from, to]) in [
            (beta_min, beta_max, ["beta_min", "beta_max"]),
            (sigma_min, sigma_max, ["sigma_min", "sigma_max"]),
        ] {
            if !(low > 0.0 && low < high && high.is_finite()) {
                return Err(Error::Invalid(format!(
                    "score: {from} must be positive and below {to}, and they are {low} and {high}"
                )));
            }
        }
        Ok(match self.path {
            ScorePath::Vp => Path::VariancePreserving { beta_min, beta_max },
            ScorePath::SubVp => Path::SubVariancePreserving { beta_min, beta_max },
            ScorePath::Ve => Path::VarianceExploding { sigma_min, sigma_max },
        })
    }

    /// How the divergence is estimated; none where the noise itself teaches.
    pub(super) fn estimator(&self) -> Option<Estimator> {
        match self.objective {
            ScoreObjective::Denoising => None,
            ScoreObjective::Sliced => Some(Estimator::Sliced {
                projections: self.projections,
            }),
            ScoreObjective::Exact => Some(Estimator::Exact),
        }
    }
}
