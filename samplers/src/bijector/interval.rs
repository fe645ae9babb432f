//! Map the real line onto an interval.

use super::Bijector;

/// x = low + (high − low) / (1 + e^−z): for parameters between two bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    low: f64,
    high: f64,
}

impl Interval {
    /// The bounds are taken to be finite and in order: the prior that makes one checks.
    pub(crate) fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }

    fn width(&self) -> f64 {
        self.high - self.low
    }
}

impl Bijector for Interval {
    fn forward(&self, z: f64) -> f64 {
        // Measured from the nearer bound, so that the distance to it keeps its digits.
        let tail = (-z.abs()).exp();
        let step = self.width() * tail / (1.0 + tail);
        let x = if z < 0.0 {
            self.low + step
        } else {
            self.high - step
        };
        x.clamp(self.low, self.high)
    }
    fn inverse(&self, x: f64) -> f64 {
        ((x - self.low) / (self.high - x)).ln()
    }
    fn derivative(&self, z: f64) -> f64 {
        let tail = (-z.abs()).exp();
        self.width() * tail / (1.0 + tail).powi(2)
    }
    fn ln_jacobian(&self, z: f64) -> f64 {
        self.width().ln() - z.abs() - 2.0 * (-z.abs()).exp().ln_1p()
    }
    fn ln_jacobian_derivative(&self, z: f64) -> f64 {
        -(0.5 * z).tanh()
    }
}
