//! Treat all values between two bounds alike.

use rand::{Rng, RngExt};

use super::{Distribution, check_bounds};
use crate::bijector::{Bijector, Interval};
use crate::error::SampleError;

/// p(x) = 1 / (high − low) on [low, high].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uniform {
    low: f64,
    high: f64,
}

impl Uniform {
    /// Between `low` and `high`.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the bounds are not finite or not in order.
    pub fn new(low: f64, high: f64) -> Result<Self, SampleError> {
        check_bounds("Uniform", low, high)?;
        Ok(Self { low, high })
    }
}

impl Distribution for Uniform {
    fn ln_density(&self, x: f64) -> f64 {
        if self.low <= x && x <= self.high {
            -(self.high - self.low).ln()
        } else {
            f64::NEG_INFINITY
        }
    }
    fn ln_density_derivative(&self, _x: f64) -> f64 {
        0.0
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        self.quantile(rng.random())
    }
    fn quantile(&self, p: f64) -> f64 {
        (self.low + p * (self.high - self.low)).clamp(self.low, self.high)
    }
    fn support(&self) -> (f64, f64) {
        (self.low, self.high)
    }
    fn bijector(&self) -> Box<dyn Bijector> {
        Box::new(Interval::new(self.low, self.high))
    }
}
