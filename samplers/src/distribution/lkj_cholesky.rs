//! Expect correlations.

use std::f64::consts::PI;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Multivariate, VectorSupport, draw, is_positive, nothing, require};
use crate::error::SampleError;
use crate::number::Number;

/// Rows whose length is off 1 by more than this are no rows of a Cholesky factor of correlations.
const LENGTH: f64 = 1e-9;

/// A correlation matrix R of `size` variables with p(R) ∝ det(R)^(shape − 1), by its Cholesky factor L: at
/// shape 1 all are alike, above it small correlations are favoured.
///
/// x is the lower triangle of L row by row with the diagonal, L₀₀ = 1 first: Lᵢⱼ is number i(i + 1)/2 + j.
/// The density is that of the numbers below the diagonal (Lewandowski, Kurowicka & Joe 2009,
/// doi:10.1016/j.jmva.2009.04.008).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LkjCholesky<N = f64> {
    size: usize,
    shape: N,
    ln_normaliser: N,
}

impl LkjCholesky {
    /// Of `size` variables.
    ///
    /// # Errors
    /// `SampleError::Invalid` where `size` is below 2, or `shape` is not positive and finite.
    pub fn new(size: usize, shape: f64) -> Result<Self, SampleError> {
        require(size >= 2 && is_positive(shape), || {
            format!("LkjCholesky({size}, {shape}): give two or more variables and a positive shape")
        })?;
        Ok(Self::of(size, shape))
    }
}

impl<N: Number> LkjCholesky<N> {
    /// Unchecked, for a shape that is itself unknown.
    pub fn of(size: usize, shape: impl Into<N>) -> Self {
        let shape = shape.into();
        let mut ln_normaliser = N::from(0.0);
        for row in 1..size {
            // ∫ (1 − |l|²)^a over the unit ball of l in `row` dimensions.
            let (a, half) = (power(size, row, shape), 0.5 * row as f64);
            ln_normaliser += (a + 1.0 + half).ln_gamma() - (a + 1.0).ln_gamma() - half * PI.ln();
        }
        Self {
            size,
            shape,
            ln_normaliser,
        }
    }
}

/// The power of 1 − |l|² = (diagonal)² in the density of row `row`, counted from 0.
fn power<N: Number>(size: usize, row: usize, shape: N) -> N {
    shape + 0.5 * (size as f64 - row as f64 - 3.0)
}

impl<N: Number> Multivariate for LkjCholesky<N> {
    type Number = N;

    fn len(&self) -> usize {
        self.support().len()
    }
    fn ln_density<X: Number + From<N>>(&self, x: &[X]) -> X {
        if x.len() != self.len() {
            return nothing();
        }
        let mut ln_density = X::from(self.ln_normaliser);
        for row in 0..self.size {
            let numbers = &x[row * (row + 1) / 2..][..=row];
            let length: f64 = numbers.iter().map(|x| x.value() * x.value()).sum();
            if !(numbers[row].value() > 0.0 && (length - 1.0).abs() < LENGTH) {
                return nothing();
            }
            if row > 0 {
                ln_density += numbers[row].ln() * X::from(power(self.size, row, self.shape) * 2.0);
            }
        }
        ln_density
    }
    fn support(&self) -> VectorSupport {
        VectorSupport::CholeskyCorrelation(self.size)
    }
    fn sample(&self, rng: &mut dyn Rng, x: &mut [f64]) {
        let mut rest = x;
        for row in 0..self.size {
            let (numbers, after) = rest.split_at_mut(row + 1);
            rest = after;
            if row == 0 {
                numbers[0] = 1.0;
                continue;
            }
            let a = power(self.size, row, self.shape.value());
            // 1 − |l|², drawn rather than subtracted, keeps the digits of a small diagonal.
            let left = draw(rand_distr::Beta::new(a + 1.0, 0.5 * row as f64), rng);
            let (diagonal, l) = (left.sqrt(), &mut numbers[..row]);
            l.iter_mut().for_each(|l| *l = rng.sample(StandardNormal));
            let length = l.iter().map(|l| l * l).sum::<f64>().sqrt();
            l.iter_mut().for_each(|l| *l *= (1.0 - left).sqrt() / length);
            numbers[row] = diagonal;
        }
    }
}
