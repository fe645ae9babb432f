//! Expect a value with a symmetric uncertainty.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::Distribution;
use crate::bijector::{Affine, Bijector};
use crate::error::SampleError;
use crate::normal_quantile::normal_quantile;

/// The normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal {
    mean: f64,
    sd: f64,
}

impl Normal {
    /// With this mean and standard deviation.
    ///
    /// # Errors
    /// `SampleError::Invalid` where either is not finite or `sd` is not positive.
    pub fn new(mean: f64, sd: f64) -> Result<Self, SampleError> {
        if !mean.is_finite() || !sd.is_finite() || sd <= 0.0 {
            let message =
                format!("Normal({mean}, {sd}): give a finite mean and a positive standard deviation");
            return Err(SampleError::Invalid(message));
        }
        Ok(Self { mean, sd })
    }
}

impl Distribution for Normal {
    fn ln_density(&self, x: f64) -> f64 {
        let u = (x - self.mean) / self.sd;
        -0.5 * u * u - self.sd.ln() - 0.5 * TAU.ln()
    }
    fn ln_density_derivative(&self, x: f64) -> f64 {
        (self.mean - x) / (self.sd * self.sd)
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        self.mean + self.sd * rng.sample::<f64, _>(StandardNormal)
    }
    fn quantile(&self, p: f64) -> f64 {
        self.mean + self.sd * normal_quantile(p)
    }
    fn support(&self) -> (f64, f64) {
        (f64::NEG_INFINITY, f64::INFINITY)
    }
    fn bijector(&self) -> Box<dyn Bijector> {
        Box::new(Affine::new(self.mean, self.sd))
    }
}
