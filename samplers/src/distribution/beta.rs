//! Expect a fraction.

use rand::Rng;
use statrs::function::beta::checked_beta_reg;

use super::{Support, Univariate, draw, invert, is_positive, nothing, require};
use crate::error::SampleError;
use crate::number::Number;

/// p(x) ∝ x^(a − 1) (1 − x)^(b − 1) on (0, 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beta<N = f64> {
    a: N,
    b: N,
    ln_normaliser: N,
}

impl Beta {
    /// With the mean a / (a + b).
    ///
    /// # Errors
    /// `SampleError::Invalid` where either is not positive and finite.
    pub fn new(a: f64, b: f64) -> Result<Self, SampleError> {
        require(is_positive(a) && is_positive(b), || {
            format!("Beta({a}, {b}): give two positive shapes")
        })?;
        Ok(Self::of(a, b))
    }
}

impl<N: Number> Beta<N> {
    /// Unchecked, for parameters that are themselves unknown.
    #[inline]
    pub fn of(a: impl Into<N>, b: impl Into<N>) -> Self {
        let (a, b) = (a.into(), b.into());
        let ln_normaliser = (a + b).ln_gamma() - a.ln_gamma() - b.ln_gamma();
        Self { a, b, ln_normaliser }
    }
}

impl<N: Number> Univariate for Beta<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if x.value() <= 0.0 || x.value() >= 1.0 {
            return nothing();
        }
        let (a, b) = (X::from(self.a - 1.0), X::from(self.b - 1.0));
        x.ln() * a + (-x).ln_1p() * b + X::from(self.ln_normaliser)
    }
    fn support(&self) -> Support<N> {
        Support::Between(N::from(0.0), N::from(1.0))
    }
    fn quantile(&self, p: f64) -> f64 {
        let (a, b) = (self.a.value(), self.b.value());
        let below = |x: f64| checked_beta_reg(a, b, x).unwrap_or(f64::NAN);
        let above = |x: f64| checked_beta_reg(b, a, 1.0 - x).unwrap_or(f64::NAN);
        invert(Support::Between(0.0, 1.0), (p, 1.0 - p), below, above)
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        draw(rand_distr::Beta::new(self.a.value(), self.b.value()), rng)
    }
}
