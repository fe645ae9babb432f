//! Shift and scale the real line.

use super::Bijector;

/// x = shift + scale · z: for parameters without bounds, so that z is of order one under the prior.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    shift: f64,
    scale: f64,
}

impl Affine {
    /// The identity.
    pub const IDENTITY: Self = Self {
        shift: 0.0,
        scale: 1.0,
    };

    /// `scale` is taken to be positive and finite, `shift` finite: the prior that makes one checks.
    pub(crate) fn new(shift: f64, scale: f64) -> Self {
        Self { shift, scale }
    }
}

impl Bijector for Affine {
    fn forward(&self, z: f64) -> f64 {
        (self.shift + self.scale * z).clamp(f64::MIN, f64::MAX)
    }
    fn inverse(&self, x: f64) -> f64 {
        (x - self.shift) / self.scale
    }
    fn derivative(&self, _z: f64) -> f64 {
        self.scale
    }
    fn ln_jacobian(&self, _z: f64) -> f64 {
        self.scale.ln()
    }
    fn ln_jacobian_derivative(&self, _z: f64) -> f64 {
        0.0
    }
}
