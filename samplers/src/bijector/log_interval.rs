//! Map the real line onto an interval of positive numbers, evenly in their logarithm.

use super::{Bijector, Interval, Log};

/// ln x = ln low + ln(high / low) / (1 + e^−z): for positive parameters that range over decades.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogInterval {
    exponent: Interval,
    low: f64,
    high: f64,
}

impl LogInterval {
    /// The bounds are taken to be positive, finite and in order: the prior that makes one checks.
    pub(crate) fn new(low: f64, high: f64) -> Self {
        Self {
            exponent: Interval::new(low.ln(), high.ln()),
            low,
            high,
        }
    }
}

impl Bijector for LogInterval {
    fn forward(&self, z: f64) -> f64 {
        // exp(ln high) may round to beyond high.
        Log.forward(self.exponent.forward(z)).clamp(self.low, self.high)
    }
    fn inverse(&self, x: f64) -> f64 {
        self.exponent.inverse(Log.inverse(x))
    }
    fn derivative(&self, z: f64) -> f64 {
        Log.derivative(self.exponent.forward(z)) * self.exponent.derivative(z)
    }
    fn ln_jacobian(&self, z: f64) -> f64 {
        Log.ln_jacobian(self.exponent.forward(z)) + self.exponent.ln_jacobian(z)
    }
    fn ln_jacobian_derivative(&self, z: f64) -> f64 {
        self.exponent.derivative(z) + self.exponent.ln_jacobian_derivative(z)
    }
}
