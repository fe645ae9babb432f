//! Expect a value with a symmetric uncertainty.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Support, Univariate, is_positive, require};
use crate::error::SampleError;
use crate::normal_quantile::normal_quantile;
use crate::number::Number;

/// The normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal<N = f64> {
    mean: N,
    sd: N,
}

impl Normal {
    /// With this mean and standard deviation.
    ///
    /// # Errors
    /// `SampleError::Invalid` where either is not finite or `sd` is not positive.
    pub fn new(mean: f64, sd: f64) -> Result<Self, SampleError> {
        require(mean.is_finite() && is_positive(sd), || {
            format!("Normal({mean}, {sd}): give a finite mean and a positive standard deviation")
        })?;
        Ok(Self { mean, sd })
    }
}

impl<N: Number> Normal<N> {
    /// Unchecked, for parameters that are themselves unknown: what makes no sense has a density of NaN.
    #[inline]
    pub fn of(mean: impl Into<N>, sd: impl Into<N>) -> Self {
        Self {
            mean: mean.into(),
            sd: sd.into(),
        }
    }
}

impl<N: Number> Univariate for Normal<N> {
    type Number = N;

    #[inline(always)]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        let recip = self.sd.value().recip();
        let u = (x.value() - self.mean.value()) * recip;
        x.chain(0.0, -u * recip) + X::from(self.ln_density_at(x.value()))
    }
    #[inline(always)]
    fn ln_density_at(&self, x: f64) -> N {
        // The derivatives by hand, half as many operations: u / sd in the mean, (u² − 1) / sd in sd.
        // Data share an sd: what is of it alone is computed once, before a loop.
        let (ln_sd, recip) = (self.sd.value().ln(), self.sd.value().recip());
        let u = (x - self.mean.value()) * recip;
        let value = -0.5 * u * u - ln_sd - 0.5 * TAU.ln();
        self.mean.chain(value, u * recip) + self.sd.chain(0.0, (u * u - 1.0) * recip)
    }
    fn support(&self) -> Support<N> {
        Support::Real
    }
    fn quantile(&self, p: f64) -> f64 {
        self.mean.value() + self.sd.value() * normal_quantile(p)
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        self.mean.value() + self.sd.value() * rng.sample::<f64, _>(StandardNormal)
    }
}
