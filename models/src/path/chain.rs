//! Keep the noise levels of a diffusion chain.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};

/// Larger counts are mistakes.
const MOST: usize = 100_000;

/// How fast a chain adds noise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// β from `beta_start` to `beta_end` in equal steps (Ho et al. 2020, arXiv 2006.11239: 1e-4, 0.02).
    Linear {
        /// The first β.
        beta_start: f64,
        /// The last.
        beta_end: f64,
    },
    /// `ᾱ = cos²((t + 0.008)/1.008 · π/2)`, normalised at 0, β at most 0.999 (Nichol & Dhariwal 2021, arXiv 2102.09672).
    Cosine,
    /// As linear, the second half multiplied by numbers from 1 to 3 in equal steps: what Diffusion-HMC trains with, 1e-4
    /// to 0.01.
    Steepened {
        /// The first β.
        beta_start: f64,
        /// The last, before it is multiplied by 3.
        beta_end: f64,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Linear {
            beta_start: 1e-4,
            beta_end: 0.02,
        }
    }
}

impl Schedule {
    /// That of Diffusion-HMC.
    pub const DIFFUSION_HMC: Self = Self::Steepened {
        beta_start: 1e-4,
        beta_end: 0.01,
    };

    fn betas(self, steps: usize) -> Vec<f64> {
        let spaced = |low: f64, high: f64, n: usize| -> Vec<f64> {
            let last = n.saturating_sub(1).max(1) as f64;
            (0..n).map(|i| low + (high - low) * i as f64 / last).collect()
        };
        match self {
            Self::Linear { beta_start, beta_end } => spaced(beta_start, beta_end, steps),
            Self::Cosine => {
                let level = |i: usize| {
                    let t = (i as f64 / steps as f64 + 0.008) / 1.008;
                    (t * std::f64::consts::FRAC_PI_2).cos().powi(2)
                };
                (0..steps)
                    .map(|i| (1.0 - level(i + 1) / level(i)).min(0.999))
                    .collect()
            }
            Self::Steepened { beta_start, beta_end } => {
                let mut betas = spaced(beta_start, beta_end, steps);
                let half = steps / 2;
                let factors = spaced(1.0, 3.0, steps - half);
                betas[half..].iter_mut().zip(factors).for_each(|(b, f)| *b *= f);
                betas
            }
        }
    }
}

/// A chain of noise levels `ᾱ_i = Π_{j≤i} (1 − β_j)`, the i-th of T at t = i/T and `ᾱ_0 = 1`; `ln ᾱ` is linear between
/// them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Description", into = "Description")]
pub struct Chain {
    schedule: Schedule,
    /// `ln ᾱ`, from 0 on.
    logs: Arc<[f64]>,
}

/// What a chain is made of.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    schedule: Schedule,
    steps: usize,
}

impl Chain {
    /// A chain of `steps` levels.
    ///
    /// # Errors
    /// `Invalid` for no or too many steps, and for a β that is not between 0 and 1.
    pub fn new(schedule: Schedule, steps: usize) -> Result<Self> {
        if !(1..=MOST).contains(&steps) {
            return Err(ModelError::Invalid(format!(
                "a diffusion has from 1 to {MOST} timesteps, not {steps}"
            )));
        }
        let betas = schedule.betas(steps);
        if !betas.iter().all(|b| (0.0..1.0).contains(b) && *b > 0.0) {
            return Err(ModelError::Invalid(format!(
                "each beta of a diffusion lies between 0 and 1: {schedule:?} in {steps} timesteps"
            )));
        }
        let mut logs = vec![0.0];
        let mut sum = 0.0;
        logs.extend(betas.iter().map(|b| {
            sum += (-b).ln_1p();
            sum
        }));
        Ok(Self {
            schedule,
            logs: logs.into(),
        })
    }

    /// How it was made.
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Levels, without that of the data.
    pub fn steps(&self) -> usize {
        self.logs.len() - 1
    }

    /// `ᾱ_i`, for i from 0 (the data: 1) to the number of steps.
    pub fn alpha_bar(&self, i: usize) -> f64 {
        self.logs[i].exp()
    }

    /// `ln ᾱ` at the time `t`, and its rate.
    pub(super) fn log_alpha_bar(&self, t: f64) -> (f64, f64) {
        let steps = self.steps() as f64;
        let place = t.clamp(0.0, 1.0) * steps;
        // A node up to rounding is that node.
        let near = place.round();
        let place = if (place - near).abs() < 1e-9 * steps {
            near
        } else {
            place
        };
        // At a node the rate is that of the step towards the data, which leads to it.
        let i = (place.ceil() as usize).clamp(1, self.steps());
        let rise = self.logs[i] - self.logs[i - 1];
        (self.logs[i - 1] + (place - (i - 1) as f64) * rise, rise * steps)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Chain")
            .field("schedule", &self.schedule)
            .field("steps", &self.steps())
            .finish()
    }
}

impl TryFrom<Description> for Chain {
    type Error = ModelError;
    fn try_from(description: Description) -> Result<Self> {
        Self::new(description.schedule, description.steps)
    }
}

impl From<Chain> for Description {
    fn from(chain: Chain) -> Self {
        Self {
            schedule: chain.schedule,
            steps: chain.steps(),
        }
    }
}
