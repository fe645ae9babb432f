//! Count successes in a number of trials.

use rand::Rng;
use rand_distr::Distribution;

use super::{Support, Univariate, is_count, nothing, require, times};
use crate::error::SampleError;
use crate::number::Number;

/// P(k) = trials! / (k! (trials − k)!) p^k (1 − p)^(trials − k), for data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Binomial<N = f64> {
    trials: f64,
    ln_success: N,
    ln_failure: N,
}

impl Binomial {
    /// So many trials that succeed with the probability `p` each.
    ///
    /// # Errors
    /// `SampleError::Invalid` where `trials` is no count or `p` no probability.
    pub fn new(trials: impl Into<f64>, p: f64) -> Result<Self, SampleError> {
        let trials = trials.into();
        require(is_count(trials) && (0.0..=1.0).contains(&p), || {
            format!("Binomial({trials}, {p}): give a count and a probability")
        })?;
        Ok(Self::of(trials, p))
    }
}

impl<N: Number> Binomial<N> {
    /// Unchecked, for a probability that is itself unknown.
    #[inline]
    pub fn of(trials: impl Into<f64>, p: impl Into<N>) -> Self {
        let p = p.into();
        Self {
            trials: trials.into(),
            ln_success: p.ln(),
            ln_failure: (-p).ln_1p(),
        }
    }

    /// Given by ln(p / (1 − p)), as in a regression.
    #[inline]
    pub fn of_logit(trials: impl Into<f64>, logit: impl Into<N>) -> Self {
        let logit = logit.into();
        Self {
            trials: trials.into(),
            ln_success: -(-logit).softplus(),
            ln_failure: -logit.softplus(),
        }
    }

    /// `ln_density` of a single trial, which there is one way to get: 0 or 1.
    #[inline]
    pub(super) fn ln_density_of_one<X: Number + From<N>>(&self, x: X) -> X {
        match x.value() {
            1.0 => X::from(self.ln_success),
            0.0 => X::from(self.ln_failure),
            _ => nothing(),
        }
    }
}

impl<N: Number> Univariate for Binomial<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        let (k, n) = (x.value(), self.trials);
        if !(is_count(k) && k <= n) {
            return nothing();
        }
        let ways = Number::ln_gamma(n + 1.0) - Number::ln_gamma(k + 1.0) - Number::ln_gamma(n - k + 1.0);
        X::from(times(k, self.ln_success) + times(n - k, self.ln_failure) + ways)
    }
    fn support(&self) -> Support<N> {
        Support::Real
    }
    fn quantile(&self, _p: f64) -> f64 {
        f64::NAN
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        let binomial = rand_distr::Binomial::new(self.trials as u64, self.ln_success.value().exp());
        // The generator is `dyn`, the count is not a floating-point number: no `draw` here.
        binomial.map_or(f64::NAN, |binomial| binomial.sample(rng) as f64)
    }
}
