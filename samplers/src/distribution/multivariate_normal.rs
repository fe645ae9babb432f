//! Expect several values with correlated uncertainties.

use std::f64::consts::TAU;

use nalgebra::DMatrix;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Multivariate, VectorSupport, nothing, require};
use crate::error::SampleError;
use crate::number::Number;

/// Elements mirrored at the diagonal may differ by this fraction of the geometric mean of their variances.
const ASYMMETRY: f64 = 1e-9;

/// The normal distribution of several numbers.
///
/// ```
/// use armilla_samplers::distribution::{Multivariate, MultivariateNormal};
/// let normal = MultivariateNormal::new([1.0, -1.0], &[4.0, 1.2, 1.2, 1.0])?;
/// // −½ ln((2π)² det) at the mean, where the determinant is 4 · 1 − 1.2².
/// let expected = -std::f64::consts::TAU.ln() - 0.5 * 2.56f64.ln();
/// assert!((normal.ln_density(&[1.0, -1.0]) - expected).abs() < 1e-14);
/// # Ok::<(), armilla_samplers::SampleError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MultivariateNormal<N = f64> {
    mean: Vec<N>,
    /// The Cholesky factor of the covariance, its lower triangle row by row with the diagonal.
    factor: Vec<N>,
}

impl MultivariateNormal {
    /// With `mean` (n numbers) and `covariance` (n × n, row by row).
    ///
    /// # Errors
    /// `SampleError::Invalid` where the sizes do not fit, a number is not finite, or the covariance is not
    /// symmetric and positive definite.
    pub fn new(mean: impl Into<Vec<f64>>, covariance: &[f64]) -> Result<Self, SampleError> {
        let mean = mean.into();
        let n = mean.len();
        let fits = n > 0 && covariance.len() == n * n && mean.iter().chain(covariance).all(|x| x.is_finite());
        require(fits, || {
            format!("MultivariateNormal of {n} numbers: give a finite mean and {n} × {n} finite covariances")
        })?;
        let matrix = DMatrix::from_row_slice(n, n, covariance);
        let symmetric = |i: usize, j: usize| {
            let scale = (matrix[(i, i)] * matrix[(j, j)]).sqrt();
            (matrix[(i, j)] - matrix[(j, i)]).abs() <= ASYMMETRY * scale
        };
        let symmetric = (0..n).all(|i| (0..i).all(|j| symmetric(i, j)));
        match matrix.cholesky() {
            Some(cholesky) if symmetric => {
                let factor = cholesky.l();
                let rows = (0..n).flat_map(|i| (0..=i).map(move |j| (i, j)));
                Ok(Self {
                    factor: rows.map(|at| factor[at]).collect(),
                    mean,
                })
            }
            _ => Err(SampleError::Invalid(format!(
                "MultivariateNormal: the covariance {covariance:?} is not symmetric and positive definite"
            ))),
        }
    }
}

impl<N: Number> MultivariateNormal<N> {
    /// Unchecked, for parameters that are themselves unknown: the mean, and the Cholesky factor of the
    /// covariance, its lower triangle row by row with the diagonal.
    pub fn of(
        mean: impl IntoIterator<Item = impl Into<N>>,
        factor: impl IntoIterator<Item = impl Into<N>>,
    ) -> Self {
        Self {
            mean: mean.into_iter().map(Into::into).collect(),
            factor: factor.into_iter().map(Into::into).collect(),
        }
    }

    /// The rows of the factor.
    fn rows(&self) -> impl Iterator<Item = &[N]> {
        (0..self.mean.len()).map(|i| &self.factor[i * (i + 1) / 2..][..=i])
    }
}

impl<N: Number> Multivariate for MultivariateNormal<N> {
    type Number = N;

    fn len(&self) -> usize {
        self.mean.len()
    }
    fn ln_density<X: Number + From<N>>(&self, x: &[X]) -> X {
        if x.len() != self.len() {
            return nothing();
        }
        // u solves L u = x − mean.
        let mut u: Vec<X> = Vec::with_capacity(x.len());
        let mut ln_density = X::from(-0.5 * TAU.ln() * x.len() as f64);
        for ((row, &x), &mean) in self.rows().zip(x).zip(&self.mean) {
            let diagonal = row[row.len() - 1];
            let known: X = row.iter().zip(&u).map(|(&l, &u)| X::from(l) * u).sum();
            let next = (x - X::from(mean) - known) / X::from(diagonal);
            ln_density -= next.square() * 0.5 + X::from(diagonal.ln());
            u.push(next);
        }
        ln_density
    }
    fn support(&self) -> VectorSupport {
        VectorSupport::Real(self.len())
    }
    fn sample(&self, rng: &mut dyn Rng, x: &mut [f64]) {
        let u: Vec<f64> = x.iter().map(|_| rng.sample(StandardNormal)).collect();
        for ((row, x), mean) in self.rows().zip(x).zip(&self.mean) {
            *x = mean.value() + row.iter().zip(&u).map(|(l, u)| l.value() * u).sum::<f64>();
        }
    }
}
