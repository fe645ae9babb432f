//! Map the real line onto the positive numbers.

use super::Bijector;

/// x = exp(z): for positive parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log;

impl Bijector for Log {
    fn forward(&self, z: f64) -> f64 {
        // Saturates instead of reaching 0 or infinity: both would leave the support.
        z.exp().clamp(f64::MIN_POSITIVE, f64::MAX)
    }
    fn inverse(&self, x: f64) -> f64 {
        x.ln()
    }
    fn derivative(&self, z: f64) -> f64 {
        self.forward(z)
    }
    fn ln_jacobian(&self, z: f64) -> f64 {
        z
    }
    fn ln_jacobian_derivative(&self, _z: f64) -> f64 {
        1.0
    }
}
