//! Expect a positive number whose inverse has a gamma distribution, as a variance.

use rand::Rng;
use statrs::function::gamma::{checked_gamma_lr, checked_gamma_ur};

use super::{Support, Univariate, draw, invert, is_positive, nothing, require};
use crate::error::SampleError;
use crate::number::Number;

/// p(x) = scale^shape x^(−shape − 1) e^(−scale / x) / Γ(shape) on (0, ∞).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InverseGamma<N = f64> {
    shape: N,
    scale: N,
    ln_normaliser: N,
}

impl InverseGamma {
    /// With the mode scale / (shape + 1).
    ///
    /// # Errors
    /// `SampleError::Invalid` where either is not positive and finite.
    pub fn new(shape: f64, scale: f64) -> Result<Self, SampleError> {
        require(is_positive(shape) && is_positive(scale), || {
            format!("InverseGamma({shape}, {scale}): give a positive shape and a positive scale")
        })?;
        Ok(Self::of(shape, scale))
    }
}

impl<N: Number> InverseGamma<N> {
    /// Unchecked, for parameters that are themselves unknown.
    #[inline]
    pub fn of(shape: impl Into<N>, scale: impl Into<N>) -> Self {
        let (shape, scale) = (shape.into(), scale.into());
        let ln_normaliser = shape * scale.ln() - shape.ln_gamma();
        Self {
            shape,
            scale,
            ln_normaliser,
        }
    }
}

impl<N: Number> Univariate for InverseGamma<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if x.value() <= 0.0 {
            return nothing();
        }
        X::from(self.ln_normaliser) - x.ln() * X::from(self.shape + 1.0) - X::from(self.scale) / x
    }
    fn support(&self) -> Support<N> {
        Support::Above(N::from(0.0))
    }
    fn quantile(&self, p: f64) -> f64 {
        let (shape, scale) = (self.shape.value(), self.scale.value());
        let below = |x: f64| checked_gamma_ur(shape, x.recip()).unwrap_or(f64::NAN);
        let above = |x: f64| checked_gamma_lr(shape, x.recip()).unwrap_or(f64::NAN);
        scale * invert(Support::Above(0.0), (p, 1.0 - p), below, above)
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        self.scale.value() / draw(rand_distr::Gamma::new(self.shape.value(), 1.0), rng)
    }
}
