//! Tell exchangeable numbers apart by their order.

use rand::Rng;

use super::{Multivariate, Support, Univariate, VectorSupport, nothing, require};
use crate::error::SampleError;
use crate::number::Number;

/// So many draws of one distribution in increasing order: n! times the product of their densities. Without
/// the order, components of a mixture may swap their names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ordered<D> {
    distribution: D,
    len: usize,
}

impl<D: Univariate> Ordered<D> {
    /// `len` ordered draws of `distribution`.
    ///
    /// # Errors
    /// `SampleError::Invalid` where `len` is 0 or the distribution is bounded, improper or one of whole numbers.
    pub fn new(distribution: D, len: usize) -> Result<Self, SampleError> {
        let real = matches!(distribution.support(), Support::Real) && !distribution.quantile(0.5).is_nan();
        require(len > 0 && real, || {
            format!(
                "Ordered({distribution:?}, {len}): give a normalised density on the whole real line, and a length"
            )
        })?;
        Ok(Self { distribution, len })
    }

    /// Unchecked, for a distribution of unknown parameters.
    pub fn of(distribution: D, len: usize) -> Self {
        Self { distribution, len }
    }
}

impl<D: Univariate> Multivariate for Ordered<D> {
    type Number = D::Number;

    fn len(&self) -> usize {
        self.len
    }
    fn ln_density<X: Number + From<D::Number>>(&self, x: &[X]) -> X {
        if x.len() != self.len || !x.is_sorted_by(|a, b| a < b) {
            return nothing();
        }
        let orders = Number::ln_gamma(self.len as f64 + 1.0);
        x.iter().map(|&x| self.distribution.ln_density(x)).sum::<X>() + orders
    }
    fn support(&self) -> VectorSupport {
        VectorSupport::Ordered(self.len)
    }
    fn sample(&self, rng: &mut dyn Rng, x: &mut [f64]) {
        x.iter_mut().for_each(|x| *x = self.distribution.sample(rng));
        x.sort_by(f64::total_cmp);
    }
}
