//! Score parameters by how well the velocity is reconstructed at a few times.

use serde::{Deserialize, Serialize};

use super::{NoiseKey, Surrogate};
use crate::{
    error::{ModelError, Result},
    path::Time,
    velocity::{Coefficients, VelocityBasis},
};

/// `−(1/temperature) · mean over times of ‖v − v̂(x_t, t, θ)‖²`: an unnormalised score, not a log-likelihood.
///
/// It ranks parameters; the width of what a sampler makes of it depends on the temperature, which nothing
/// in the data fixes. For a posterior use [`EvidenceBound`](super::EvidenceBound).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reconstruction {
    /// Times between 0 (data) and 1 (noise).
    pub times: Vec<f64>,
    /// Antithetic pairs of noise at each time.
    pub noises: usize,
    /// Divides the score.
    pub temperature: f64,
    /// Fixes the noise.
    pub key: NoiseKey,
}

impl Default for Reconstruction {
    fn default() -> Self {
        Self {
            times: vec![0.1, 0.3, 0.5, 0.7, 0.9],
            noises: 32,
            temperature: 1.0,
            key: 0,
        }
    }
}

impl Reconstruction {
    /// Reads the field `x0`, of about unit variance, through `network`: 2 · times · noises passes.
    ///
    /// # Errors
    /// `Shape` for a field of another size, `Invalid` where it is not finite, a time lies outside (0, 1) or a
    /// setting is not positive.
    pub fn observe<B: VelocityBasis>(&self, network: &B, x0: &[f32]) -> Result<Surrogate<B::Coefficients>>
    where
        B::Coefficients: Coefficients,
    {
        if let Some(t) = self.times.iter().find(|t| !(0.0 < **t && **t < 1.0)) {
            return Err(ModelError::Invalid(format!(
                "a time must lie between 0 and 1, not at {t}"
            )));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(ModelError::Invalid(format!(
                "the temperature must be positive, not {}",
                self.temperature
            )));
        }
        let times: Vec<Time> = self.times.iter().map(|t| Time::from_t(*t)).collect();
        // The error of v is that of u divided by σ.
        let share = 1.0 / (self.temperature * times.len() as f64);
        let weights = times.iter().map(|t| share / t.scale.powi(2)).collect();
        Surrogate::observe(network, x0, times, weights, self.noises, self.key, 0.0)
    }
}
