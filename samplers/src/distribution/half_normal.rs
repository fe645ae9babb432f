//! Expect a positive number, of a scale and hardly beyond.

use std::f64::consts::FRAC_2_PI;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Support, Univariate, check_scale, nothing};
use crate::error::SampleError;
use crate::normal_quantile::normal_quantile;
use crate::number::Number;

/// The absolute value of a number that is normal about 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HalfNormal<N = f64> {
    sd: N,
}

impl HalfNormal {
    /// With the standard deviation `sd` of the whole normal distribution.
    ///
    /// # Errors
    /// `SampleError::Invalid` where `sd` is not positive and finite.
    pub fn new(sd: f64) -> Result<Self, SampleError> {
        check_scale("HalfNormal", "standard deviation", sd)?;
        Ok(Self { sd })
    }
}

impl<N: Number> HalfNormal<N> {
    /// Unchecked, for a standard deviation that is itself unknown.
    #[inline]
    pub fn of(sd: impl Into<N>) -> Self {
        Self { sd: sd.into() }
    }
}

impl<N: Number> Univariate for HalfNormal<N> {
    type Number = N;

    #[inline(always)]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if x.value() < 0.0 {
            return nothing();
        }
        (x / X::from(self.sd)).square() * -0.5 - X::from(self.sd.ln()) + 0.5 * FRAC_2_PI.ln()
    }
    fn support(&self) -> Support<N> {
        Support::Above(N::from(0.0))
    }
    fn quantile(&self, p: f64) -> f64 {
        // From the lower half of the whole, whose tail has the digits; near 0 the quantile of ½ + p/2 has
        // none either, but no more are needed than p itself holds of ½.
        -self.sd.value() * normal_quantile(0.5 * (1.0 - p))
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        self.sd.value() * rng.sample::<f64, _>(StandardNormal).abs()
    }
}
