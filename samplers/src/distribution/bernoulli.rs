//! Tell success from failure.

use rand::Rng;

use super::{Binomial, Support, Univariate};
use crate::error::SampleError;
use crate::number::Number;

/// P(1) = p, P(0) = 1 − p, for data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bernoulli<N = f64>(Binomial<N>);

impl Bernoulli {
    /// With this probability of success.
    ///
    /// # Errors
    /// `SampleError::Invalid` where `p` is no probability.
    pub fn new(p: f64) -> Result<Self, SampleError> {
        Binomial::new(1.0, p).map(Self)
    }
}

impl<N: Number> Bernoulli<N> {
    /// Unchecked, for a probability that is itself unknown.
    #[inline]
    pub fn of(p: impl Into<N>) -> Self {
        Self(Binomial::of(1.0, p))
    }

    /// Given by ln(p / (1 − p)), as in a regression.
    #[inline]
    pub fn of_logit(logit: impl Into<N>) -> Self {
        Self(Binomial::of_logit(1.0, logit))
    }
}

impl<N: Number> Univariate for Bernoulli<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        self.0.ln_density_of_one(x)
    }
    fn support(&self) -> Support<N> {
        Support::Real
    }
    fn quantile(&self, _p: f64) -> f64 {
        f64::NAN
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        self.0.sample(rng)
    }
}
