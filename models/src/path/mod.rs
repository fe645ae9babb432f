//! Walk from data to noise, and convert what can be said about a point on the way.
//!
//! Data `x0` is at t = 0 and noise `x1 ~ N(0, I)` at t = 1:
//!
//! ```text
//! x_t = α(t) x0 + σ(t) x1,      v = dx_t/dt = α′ x0 + σ′ x1
//! ```
//!
//! Every prediction that a network can be trained for is linear in `x_t` and every other, see [`Target`]; so a model, a
//! loss and a sampler are each written once for all paths. (Lipman et al. 2023, arXiv 2210.02747; Song et al. 2021,
//! arXiv 2011.13456; Albergo et al. 2023, arXiv 2303.08797.)

mod chain;
mod straight;
#[cfg(test)]
mod tests;

pub use chain::{Chain, Schedule};
pub use straight::{Time, TimeDistribution};

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};

/// How data become noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// `α = 1 − t`, `σ = t`: flow matching (Lipman et al. 2023) and rectified flow (Liu et al. 2023).
    Linear,
    /// `α = cos(πt/2)`, `σ = sin(πt/2)` (Albergo & Vanden-Eijnden 2023, arXiv 2209.15571).
    Trigonometric,
    /// A chain of noise levels, as in denoising diffusion (Ho et al. 2020, arXiv 2006.11239).
    Chain(Chain),
    /// Keeps unit variance under `β(t)` linear between its ends (Song et al. 2021).
    VariancePreserving {
        /// β at data.
        beta_min: f64,
        /// β at noise.
        beta_max: f64,
    },
    /// `α` as before, and `σ = 1 − α²` below its σ (Song et al. 2021).
    SubVariancePreserving {
        /// β at data.
        beta_min: f64,
        /// β at noise.
        beta_max: f64,
    },
    /// `α = 1`, `σ² = σ_min² ((σ_max/σ_min)^{2t} − 1)` (Song et al. 2021): the noise has the deviation `σ(1)`.
    VarianceExploding {
        /// Deviation that the noise begins with.
        sigma_min: f64,
        /// Deviation that it ends with.
        sigma_max: f64,
    },
}

/// What a network predicts about a point on the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `dx_t/dt`, in the mean over what may have led to `x_t`.
    Velocity,
    /// The noise `x1`, often ε.
    Noise,
    /// The data `x0`.
    Data,
    /// The score `∇ ln p_t(x_t) = −E[x1 | x_t]/σ`.
    Score,
    /// `v = (α x1 − σ x0)/√(α² + σ²)` (Salimans & Ho 2022, arXiv 2202.00512).
    V,
}

/// The coefficients of a path at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// From 0 (data) to 1 (noise).
    pub t: f64,
    /// What data are multiplied by.
    pub alpha: f64,
    /// What noise is multiplied by.
    pub sigma: f64,
    /// dα/dt.
    pub alpha_rate: f64,
    /// dσ/dt.
    pub sigma_rate: f64,
}

impl Path {
    /// The coefficients at the time `t` from 0 to 1.
    pub fn at(&self, t: f64) -> Point {
        let [alpha, sigma, alpha_rate, sigma_rate] = match self {
            Self::Linear => [1.0 - t, t, -1.0, 1.0],
            Self::Trigonometric => {
                let quarter = std::f64::consts::FRAC_PI_2;
                let (sin, cos) = (quarter * t).sin_cos();
                [cos, sin, -quarter * sin, quarter * cos]
            }
            Self::Chain(chain) => {
                let (log, rate) = chain.log_alpha_bar(t);
                variance_preserving(log, rate)
            }
            Self::VariancePreserving { beta_min, beta_max } => {
                let (log, rate) = integrated_beta(*beta_min, *beta_max, t);
                variance_preserving(log, rate)
            }
            Self::SubVariancePreserving { beta_min, beta_max } => {
                let (log, rate) = integrated_beta(*beta_min, *beta_max, t);
                let alpha = (0.5 * log).exp();
                [alpha, -log.exp_m1(), 0.5 * rate * alpha, -rate * log.exp()]
            }
            Self::VarianceExploding { sigma_min, sigma_max } => {
                let log = 2.0 * (sigma_max / sigma_min).ln();
                let sigma = sigma_min * (log * t).exp_m1().sqrt();
                let rate = 0.5 * sigma_min * sigma_min * log * (log * t).exp() / sigma;
                [1.0, sigma, 0.0, rate]
            }
        };
        Point {
            t,
            alpha,
            sigma,
            alpha_rate,
            sigma_rate,
        }
    }

    /// Looks whether the numbers of the path make sense.
    ///
    /// # Errors
    /// `Invalid` for numbers that are not finite, a β that is negative or falls, and deviations that are not positive or
    /// do not rise.
    pub fn check(&self) -> Result<()> {
        let (fits, rule) = match self {
            Self::VariancePreserving { beta_min, beta_max }
            | Self::SubVariancePreserving { beta_min, beta_max } => (
                0.0 <= *beta_min && beta_min <= beta_max && 0.0 < *beta_max && beta_max.is_finite(),
                "beta_min is 0 or more, and beta_max no less and not 0",
            ),
            Self::VarianceExploding { sigma_min, sigma_max } => (
                0.0 < *sigma_min && sigma_min < sigma_max && sigma_max.is_finite(),
                "sigma_min is above 0, and sigma_max above it",
            ),
            Self::Linear | Self::Trigonometric | Self::Chain(_) => return Ok(()),
        };
        match fits {
            true => Ok(()),
            false => Err(ModelError::Invalid(format!("{rule}, and the path is {self:?}"))),
        }
    }

    /// The earliest time that may be asked for, and the latest: at the ends some coefficients are infinite.
    pub fn range(&self) -> [f64; 2] {
        match self {
            Self::Linear | Self::Trigonometric => [0.0, 1.0],
            Self::Chain(chain) => [1.0 / chain.steps() as f64, 1.0],
            _ => [1e-5, 1.0],
        }
    }

    /// The time with this log signal-to-noise ratio `ln(α²/σ²)`, which falls with t; the end of the range where there is
    /// none.
    pub fn time_of(&self, log_snr: f64) -> f64 {
        let [mut low, mut high] = [0.0, 1.0];
        for _ in 0..64 {
            let middle = 0.5 * (low + high);
            if self.at(middle).log_snr() > log_snr {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }
}

/// α, σ and their rates where α² + σ² = 1, from `ln α²` and its rate.
fn variance_preserving(log: f64, rate: f64) -> [f64; 4] {
    let (alpha, sigma) = ((0.5 * log).exp(), (-log.exp_m1()).sqrt());
    [alpha, sigma, 0.5 * rate * alpha, -0.5 * rate * log.exp() / sigma]
}

/// `−∫β` until `t`, and its rate.
fn integrated_beta(low: f64, high: f64, t: f64) -> (f64, f64) {
    (-t * (low + 0.5 * t * (high - low)), -(low + t * (high - low)))
}

impl Point {
    /// `ln(α²/σ²)`.
    pub fn log_snr(&self) -> f64 {
        2.0 * (self.alpha / self.sigma).ln()
    }

    /// Drift and squared diffusion of the forward equation `dx = f x dt + g dw` with this path's marginals: `(f, g²)`.
    pub fn forward_sde(&self) -> (f64, f64) {
        let drift = self.alpha_rate / self.alpha;
        (drift, 2.0 * self.sigma * (self.sigma_rate - drift * self.sigma))
    }

    /// The `target` of a number whose data and noise are known.
    pub fn target(&self, target: Target, x0: f64, x1: f64) -> f64 {
        match target {
            Target::Velocity => self.alpha_rate * x0 + self.sigma_rate * x1,
            Target::Noise => x1,
            Target::Data => x0,
            Target::Score => -x1 / self.sigma,
            Target::V => (self.alpha * x1 - self.sigma * x0) / self.alpha.hypot(self.sigma),
        }
    }

    /// Predictions of `from` at the numbers of `x` become those of `to`.
    pub(crate) fn convert(&self, [from, to]: [Target; 2], x: &[f64], values: &mut [f64]) {
        let [a, b] = self.conversion(from, to);
        values.iter_mut().zip(x).for_each(|(p, x)| *p = a * x + b * *p);
    }

    /// `[a, b]` with `to = a x_t + b from`: every target follows from every other.
    ///
    /// Not finite where the path does not tell: the noise from the data where σ = 0, for one.
    pub fn conversion(&self, from: Target, to: Target) -> [f64; 2] {
        if from == to {
            return [0.0, 1.0];
        }
        let Self {
            alpha,
            sigma,
            alpha_rate,
            sigma_rate,
            ..
        } = *self;
        // x0 and x1 of x_t and what is known.
        let [x0, x1] = match from {
            Target::Data => [[0.0, 1.0], [1.0 / sigma, -alpha / sigma]],
            Target::Noise => [[1.0 / alpha, -sigma / alpha], [0.0, 1.0]],
            Target::Score => [[1.0 / alpha, sigma * sigma / alpha], [0.0, -sigma]],
            Target::Velocity => {
                let wronskian = alpha * sigma_rate - alpha_rate * sigma;
                [
                    [sigma_rate / wronskian, -sigma / wronskian],
                    [-alpha_rate / wronskian, alpha / wronskian],
                ]
            }
            Target::V => {
                let norm = alpha.hypot(sigma);
                let [a, s] = [alpha / norm, sigma / norm];
                [[a / norm, -s], [s / norm, a]]
            }
        };
        std::array::from_fn(|i| self.target(to, x0[i], x1[i]))
    }
}
