//! Expect a positive number, a waiting time for several events.

use rand::Rng;
use statrs::function::gamma::{checked_gamma_lr, checked_gamma_ur};

use super::{Support, Univariate, draw, invert, is_positive, nothing, require};
use crate::error::SampleError;
use crate::number::Number;

/// p(x) = rate^shape x^(shape − 1) e^(−rate x) / Γ(shape) on (0, ∞).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gamma<N = f64> {
    shape: N,
    rate: N,
    ln_normaliser: N,
}

impl Gamma {
    /// With the mean shape / rate and the variance shape / rate².
    ///
    /// # Errors
    /// `SampleError::Invalid` where either is not positive and finite.
    pub fn new(shape: f64, rate: f64) -> Result<Self, SampleError> {
        require(is_positive(shape) && is_positive(rate), || {
            format!("Gamma({shape}, {rate}): give a positive shape and a positive rate")
        })?;
        Ok(Self::of(shape, rate))
    }
}

impl<N: Number> Gamma<N> {
    /// Unchecked, for parameters that are themselves unknown.
    #[inline]
    pub fn of(shape: impl Into<N>, rate: impl Into<N>) -> Self {
        let (shape, rate) = (shape.into(), rate.into());
        let ln_normaliser = shape * rate.ln() - shape.ln_gamma();
        Self {
            shape,
            rate,
            ln_normaliser,
        }
    }
}

impl<N: Number> Univariate for Gamma<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if x.value() <= 0.0 {
            return nothing();
        }
        x.ln() * X::from(self.shape - 1.0) - x * X::from(self.rate) + X::from(self.ln_normaliser)
    }
    fn support(&self) -> Support<N> {
        Support::Above(N::from(0.0))
    }
    fn quantile(&self, p: f64) -> f64 {
        let (shape, rate) = (self.shape.value(), self.rate.value());
        let below = |x: f64| checked_gamma_lr(shape, x).unwrap_or(f64::NAN);
        let above = |x: f64| checked_gamma_ur(shape, x).unwrap_or(f64::NAN);
        invert(Support::Above(0.0), (p, 1.0 - p), below, above) / rate
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        draw(rand_distr::Gamma::new(self.shape.value(), 1.0), rng) / self.rate.value()
    }
}
