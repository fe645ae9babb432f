//! Cut a distribution off at bounds.

use rand::Rng;

use crate::bijector::Support;
use crate::distribution::Univariate;
use crate::number::Number;

/// A draw that is out of bounds so often is one from bounds that hold next to no mass.
const TRIES: usize = 10_000;

/// A distribution within bounds, with the density it has without.
#[derive(Debug, Clone, Copy)]
pub struct Bounded<D: Univariate> {
    distribution: D,
    support: Support<D::Number>,
}

impl<D: Univariate> Bounded<D> {
    /// `distribution` within `support`.
    #[inline(always)]
    pub fn of(distribution: D, support: Support<D::Number>) -> Self {
        Self {
            distribution,
            support,
        }
    }
}

impl<D: Univariate> Univariate for Bounded<D> {
    type Number = D::Number;

    #[inline(always)]
    fn ln_density<X: Number + From<Self::Number>>(&self, x: X) -> X {
        let (low, high) = self.support.bounds();
        if x.value() < low || x.value() > high {
            return X::from(f64::NEG_INFINITY);
        }
        self.distribution.ln_density(x)
    }

    #[inline(always)]
    fn support(&self) -> Support<Self::Number> {
        self.support
    }

    /// NaN: what is not normalised has no quantiles.
    fn quantile(&self, _: f64) -> f64 {
        f64::NAN
    }

    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        let (low, high) = self.support.bounds();
        let draws = (0..TRIES).map(|_| self.distribution.sample(rng));
        draws
            .take_while(|x| !x.is_nan())
            .find(|x| (low..=high).contains(x))
            .unwrap_or(f64::NAN)
    }
}
