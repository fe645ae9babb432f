//! Weigh the errors of a prediction over the path.

use serde::{Deserialize, Serialize};

use crate::{
    error::{ModelError, Result},
    path::{Point, Target},
};

/// What an error counts at each time.
///
/// All but [`Uniform`](Self::Uniform) are defined on the error of the data, with `SNR = α²/σ²`, and mean the same loss
/// whatever a network predicts: the error of its own target is weighed by `w · (∂x0/∂target)²`. For the noise that is
/// `w/SNR`, for the data `w`, for v on a path that keeps unit variance `w/(SNR + 1)`. They are normalised so that an
/// error of the noise counts 1 in the mean over times that are uniform or drawn by importance: learning rates stay
/// comparable. Times drawn as `LogitNormal` weigh it by their density besides.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Each error of the target counts the same; that of a score, which grows like 1/σ, is that of the noise: `σ²`.
    #[default]
    Uniform,
    /// `w = min(SNR, γ)` (Hang et al. 2023, arXiv 2303.09556: γ = 5).
    MinSnr {
        /// The ratio above which an error of the data does not count more.
        gamma: f64,
    },
    /// `w = −½ dSNR/dt`: the variational bound of continuous time, for each number of an example (Kingma et al. 2021,
    /// arXiv 2107.00630). For the noise that is `−½ dλ/dt`, λ = ln SNR: it is singular at the data, so best drawn with
    /// [`TimeSampling::Importance`](super::TimeSampling::Importance), and times are those with |λ| below 13.8, or the
    /// levels of a chain, all of them.
    EvidenceBound,
}

impl Weighting {
    /// Looks whether the settings make sense.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::MinSnr { gamma } if !(gamma > 0.0 && gamma.is_finite()) => Err(ModelError::Invalid(
                format!("weighting: gamma must be positive, and is {gamma}"),
            )),
            _ => Ok(()),
        }
    }

    /// The weight of a squared error of the noise; [`Uniform`](Self::Uniform) weighs the target itself instead.
    pub(super) fn of_noise(self, p: &Point) -> f64 {
        match self {
            Self::Uniform => 1.0,
            Self::MinSnr { gamma } => (gamma * (p.sigma / p.alpha).powi(2)).min(1.0),
            Self::EvidenceBound => p.sigma_rate / p.sigma - p.alpha_rate / p.alpha,
        }
    }

    /// What turns the weight of the noise into that of the target.
    pub(super) fn of_target(self, target: Target, p: &Point) -> f64 {
        match (self, target) {
            (Self::Uniform, Target::Score) => p.sigma * p.sigma,
            (Self::Uniform, _) => 1.0,
            _ => p.conversion(target, Target::Noise)[1].powi(2),
        }
    }
}
