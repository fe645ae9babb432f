//! Expect fractions of a whole.

use rand::distr::Open01;
use rand::{Rng, RngExt};

use super::{Multivariate, VectorSupport, draw, is_positive, nothing, require};
use crate::error::SampleError;
use crate::number::Number;

/// Fractions that are off a sum of 1 by more than this are none.
const SUM: f64 = 1e-9;

/// p(x) ∝ Π xᵢ^(aᵢ − 1) for positive x that sum to 1, as a density of all but the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Dirichlet<N = f64> {
    concentration: Vec<N>,
    ln_normaliser: N,
}

impl Dirichlet {
    /// With means in proportion to `concentration`, the tighter the larger its sum.
    ///
    /// # Errors
    /// `SampleError::Invalid` where there are fewer than two numbers, or one is not positive and finite.
    pub fn new(concentration: impl Into<Vec<f64>>) -> Result<Self, SampleError> {
        let concentration = concentration.into();
        require(
            concentration.len() >= 2 && concentration.iter().copied().all(is_positive),
            || format!("Dirichlet({concentration:?}): give two or more positive concentrations"),
        )?;
        Ok(Self::of(concentration))
    }
}

impl<N: Number> Dirichlet<N> {
    /// Unchecked, for concentrations that are themselves unknown.
    pub fn of(concentration: impl IntoIterator<Item = impl Into<N>>) -> Self {
        let concentration: Vec<N> = concentration.into_iter().map(Into::into).collect();
        let sum: N = concentration.iter().copied().sum();
        let each: N = concentration.iter().map(|a| a.ln_gamma()).sum();
        Self {
            ln_normaliser: sum.ln_gamma() - each,
            concentration,
        }
    }
}

impl<N: Number> Multivariate for Dirichlet<N> {
    type Number = N;

    fn len(&self) -> usize {
        self.concentration.len()
    }
    fn ln_density<X: Number + From<N>>(&self, x: &[X]) -> X {
        let sum: f64 = x.iter().map(|x| x.value()).sum();
        let inside = x.len() == self.len() && x.iter().all(|x| x.value() > 0.0) && (sum - 1.0).abs() < SUM;
        if !inside {
            return nothing();
        }
        let terms = x
            .iter()
            .zip(&self.concentration)
            .map(|(x, &a)| x.ln() * X::from(a - 1.0));
        terms.sum::<X>() + X::from(self.ln_normaliser)
    }
    fn support(&self) -> VectorSupport {
        VectorSupport::Simplex(self.len())
    }
    fn sample(&self, rng: &mut dyn Rng, x: &mut [f64]) {
        // Gamma draws of a shape far below 1 are too small to be numbers, their logarithms are not.
        for (x, a) in x.iter_mut().zip(&self.concentration) {
            let a = a.value();
            let (above, u) = (
                draw(rand_distr::Gamma::new(a + 1.0, 1.0), rng),
                rng.sample::<f64, _>(Open01),
            );
            *x = above.ln() + u.ln() / a;
        }
        let total = f64::log_sum_exp(x);
        x.iter_mut().for_each(|x| *x = (*x - total).exp());
    }
}
