//! Treat all factors between two positive bounds alike.

use rand::{Rng, RngExt};

use super::{Distribution, check_bounds};
use crate::bijector::{Bijector, LogInterval};
use crate::error::SampleError;

/// p(x) = 1 / (x ln(high / low)) on [low, high].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogUniform {
    low: f64,
    high: f64,
    ln_ratio: f64,
}

impl LogUniform {
    /// Between `low` and `high`, both positive.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the bounds are not positive, not finite or not in order.
    pub fn new(low: f64, high: f64) -> Result<Self, SampleError> {
        check_bounds("LogUniform", low, high)?;
        if low <= 0.0 {
            return Err(SampleError::Invalid(format!(
                "LogUniform({low}, {high}): the bounds must be positive"
            )));
        }
        Ok(Self {
            low,
            high,
            ln_ratio: high.ln() - low.ln(),
        })
    }
}

impl Distribution for LogUniform {
    fn ln_density(&self, x: f64) -> f64 {
        if self.low <= x && x <= self.high {
            -x.ln() - self.ln_ratio.ln()
        } else {
            f64::NEG_INFINITY
        }
    }
    fn ln_density_derivative(&self, x: f64) -> f64 {
        if self.low <= x && x <= self.high {
            -1.0 / x
        } else {
            0.0
        }
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        self.quantile(rng.random())
    }
    fn quantile(&self, p: f64) -> f64 {
        (self.low.ln() + p * self.ln_ratio)
            .exp()
            .clamp(self.low, self.high)
    }
    fn support(&self) -> (f64, f64) {
        (self.low, self.high)
    }
    fn bijector(&self) -> Box<dyn Bijector> {
        Box::new(LogInterval::new(self.low, self.high))
    }
    fn is_logarithmic(&self) -> bool {
        true
    }
}
