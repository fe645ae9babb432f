//! Count events whose rate varies more than that of a Poisson process.

use rand::Rng;

use super::{Support, Univariate, draw, is_count, is_positive, nothing, require};
use crate::error::SampleError;
use crate::number::Number;

/// A Poisson distribution whose rate has a gamma distribution, for data: the variance of the counts is
/// mean + mean² / shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NegativeBinomial<N = f64> {
    mean: N,
    shape: N,
}

impl NegativeBinomial {
    /// With this mean, and this shape of the gamma distribution.
    ///
    /// # Errors
    /// `SampleError::Invalid` where either is not positive and finite.
    pub fn new(mean: f64, shape: f64) -> Result<Self, SampleError> {
        require(is_positive(mean) && is_positive(shape), || {
            format!("NegativeBinomial({mean}, {shape}): give a positive mean and a positive shape")
        })?;
        Ok(Self { mean, shape })
    }
}

impl<N: Number> NegativeBinomial<N> {
    /// Unchecked, for parameters that are themselves unknown.
    #[inline]
    pub fn of(mean: impl Into<N>, shape: impl Into<N>) -> Self {
        Self {
            mean: mean.into(),
            shape: shape.into(),
        }
    }
}

impl<N: Number> Univariate for NegativeBinomial<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        let k = x.value();
        if !is_count(k) {
            return nothing();
        }
        let (mean, shape) = (self.mean, self.shape);
        let ways = (shape + k).ln_gamma() - shape.ln_gamma() - Number::ln_gamma(k + 1.0);
        // The last two factors as powers of what mean / shape adds to 1: right for large shapes too.
        let excess = (mean / shape).ln_1p();
        let powers = if k == 0.0 {
            N::from(0.0)
        } else {
            ((mean / shape).ln() - excess) * k
        };
        X::from(ways + powers - shape * excess)
    }
    fn support(&self) -> Support<N> {
        Support::Real
    }
    fn quantile(&self, _p: f64) -> f64 {
        f64::NAN
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        let (mean, shape) = (self.mean.value(), self.shape.value());
        let rate = draw(rand_distr::Gamma::new(shape, mean / shape), rng);
        // A rate may round to 0, of which nothing comes.
        if rate == 0.0 {
            0.0
        } else {
            draw(rand_distr::Poisson::new(rate), rng)
        }
    }
}
