//! Move many points under p(data | x)^β p(x): what samplers with temperatures share.

use nalgebra::DMatrix;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::adapt::random_walk::best_scale;
use crate::density::{Counted, Density};
use crate::error::EvalError;
use crate::likelihood::{Likelihood, Points};
use crate::posterior::Posterior;

/// A covariance counts for this many fewer draws off its diagonal, so that few draws give one that has an
/// inverse.
const SHRINKAGE: f64 = 5.0;

/// Points on the real line with the two parts of their log densities, which a temperature weighs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Swarm {
    /// Points × unknowns.
    pub(crate) z: Vec<f64>,
    /// NaN where the evaluation failed.
    pub(crate) log_likelihood: Vec<f64>,
    /// In z, the Jacobian included.
    pub(crate) log_prior: Vec<f64>,
}

impl Swarm {
    /// `len` points at the origin.
    pub(crate) fn new(len: usize, dim: usize) -> Self {
        Self {
            z: vec![0.0; len * dim],
            log_likelihood: vec![0.0; len],
            log_prior: vec![0.0; len],
        }
    }

    /// The number of points.
    pub(crate) fn len(&self) -> usize {
        self.log_likelihood.len()
    }

    /// Numbers of z per point.
    pub(crate) fn dim(&self) -> usize {
        self.z.len() / self.len().max(1)
    }

    /// The z of a point.
    pub(crate) fn point(&self, index: usize) -> &[f64] {
        let dim = self.dim();
        &self.z[index * dim..(index + 1) * dim]
    }

    /// The z of a point, to be moved.
    pub(crate) fn point_mut(&mut self, index: usize) -> &mut [f64] {
        let dim = self.dim();
        &mut self.z[index * dim..(index + 1) * dim]
    }

    /// The log density of a point on the real line.
    pub(crate) fn log_density(&self, index: usize) -> f64 {
        self.log_likelihood[index] + self.log_prior[index]
    }

    /// Makes point `index` that of `other`.
    pub(crate) fn set(&mut self, index: usize, other: &Self, from: usize) {
        self.point_mut(index).copy_from_slice(other.point(from));
        self.log_likelihood[index] = other.log_likelihood[from];
        self.log_prior[index] = other.log_prior[from];
    }

    /// Exchanges two points.
    pub(crate) fn swap(&mut self, a: usize, b: usize) {
        let dim = self.dim();
        (0..dim).for_each(|i| self.z.swap(a * dim + i, b * dim + i));
        self.log_likelihood.swap(a, b);
        self.log_prior.swap(a, b);
    }

    /// The ratio of densities at temperature `beta` by which `proposal` replaces the point, at most 1; 0
    /// where the proposal failed.
    pub(crate) fn acceptance(&self, index: usize, proposal: &Self, beta: f64) -> f64 {
        let gained = beta * (proposal.log_likelihood[index] - self.log_likelihood[index]);
        let ratio = gained + proposal.log_prior[index] - self.log_prior[index];
        if ratio.is_nan() { 0.0 } else { ratio.exp().min(1.0) }
    }

    /// Evaluates the points from `first` on, `batch_size` at once, and gives how many failed.
    ///
    /// # Errors
    /// `Fatal` errors of the likelihood.
    pub(crate) fn evaluate<L: Likelihood>(
        &mut self,
        target: &Counted<'_, Posterior<L>>,
        first: usize,
        batch_size: usize,
    ) -> Result<usize, EvalError> {
        let dim = target.dim();
        let batches = self.z[first * dim..].par_chunks(batch_size * dim);
        let parts = self.log_likelihood[first..]
            .par_chunks_mut(batch_size)
            .zip(self.log_prior[first..].par_chunks_mut(batch_size));
        // Batches of a fixed size, so that their bits do not depend on the threads.
        let done: Vec<Result<(), EvalError>> = batches
            .zip(parts)
            .map(|(zs, (log_likelihood, log_prior))| {
                target.parts(Points::new(zs, dim)?, log_likelihood, log_prior)
            })
            .collect();
        done.into_iter().collect::<Result<(), EvalError>>()?;
        let failed = |value: &&f64| value.is_nan();
        Ok(self.log_likelihood[first..].iter().filter(failed).count())
    }
}

/// The proposal of a random walk: a normal distribution about where it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Walk {
    pub(crate) scale: f64,
    /// The lower Cholesky factor of the covariance.
    pub(crate) factor: DMatrix<f64>,
}

impl Walk {
    /// With unit covariance.
    pub(crate) fn new(dim: usize) -> Self {
        Self {
            scale: best_scale(dim),
            factor: DMatrix::identity(dim, dim),
        }
    }

    /// Takes the covariance from draws of z; one that has no inverse leaves the walk as it was.
    pub(crate) fn shape(&mut self, draws: &[f64]) {
        let dim = self.factor.nrows();
        let count = (draws.len() / dim) as f64;
        let draws = DMatrix::from_column_slice(dim, draws.len() / dim, draws);
        let mean = draws.column_mean();
        let mut centred = draws;
        centred.column_iter_mut().for_each(|mut draw| draw -= &mean);
        let mut covariance = &centred * centred.transpose() / (count - 1.0).max(1.0);
        let shrunk = count / (count + SHRINKAGE);
        for i in 0..dim {
            for j in (0..dim).filter(|&j| j != i) {
                covariance[(i, j)] *= shrunk;
            }
        }
        if let Some(cholesky) = covariance.cholesky() {
            self.factor = cholesky.unpack();
        }
    }

    /// Writes a proposal from `z` to `out`.
    pub(crate) fn propose(&self, z: &[f64], rng: &mut impl Rng, out: &mut [f64]) {
        out.iter_mut()
            .for_each(|noise| *noise = rng.sample(StandardNormal));
        // The last number first: it needs all of the noise, the first its own.
        for i in (0..z.len()).rev() {
            let step: f64 = (0..=i).map(|j| self.factor[(i, j)] * out[j]).sum();
            out[i] = z[i] + self.scale * step;
        }
    }
}

/// ln Σ exp, without overflow; `-inf` of nothing.
pub(crate) fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
}

/// Mean and standard deviation of independent repetitions; no deviation of a single one.
pub(crate) fn mean_and_sd(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn proposals_have_the_shape_of_the_draws() {
        // Draws of covariance [[4, 1.2], [1.2, 1]], seen again in the proposals.
        let mut rng = stream(1, Purpose::Simulation, 0);
        let mut normal = || rng.sample::<f64, _>(StandardNormal);
        let draws: Vec<f64> = (0..20_000)
            .flat_map(|_| {
                let (a, b) = (normal(), normal());
                [7.0 + 2.0 * a, 0.6 * a + 0.8 * b]
            })
            .collect();
        let mut walk = Walk::new(2);
        walk.shape(&draws);
        walk.scale = 0.5;
        let (mut rng, mut out) = (stream(2, Purpose::Simulation, 0), [0.0; 2]);
        let (mut sums, count) = ([0.0; 3], 20_000);
        for _ in 0..count {
            walk.propose(&[1.0, -1.0], &mut rng, &mut out);
            let (a, b) = (out[0] - 1.0, out[1] + 1.0);
            sums = [sums[0] + a * a, sums[1] + a * b, sums[2] + b * b];
        }
        // Both sets of draws scatter by √(2/20000), 1%: five times √2 of that.
        for (sum, expected) in sums.iter().zip([1.0, 0.3, 0.25]) {
            let found = sum / f64::from(count);
            assert!((found / expected - 1.0).abs() < 0.12, "{found} is not {expected}");
        }
    }

    #[test]
    fn draws_without_extent_leave_the_walk_as_it_was() {
        let mut walk = Walk::new(2);
        walk.shape(&[1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        assert_eq!(walk.factor, DMatrix::identity(2, 2));
    }

    #[test]
    fn sums_of_exponentials_do_not_overflow() {
        let sum = log_sum_exp([1000.0, 1000.0, f64::NEG_INFINITY].into_iter());
        assert!((sum - 1000.0 - 2f64.ln()).abs() < 1e-12);
        assert_eq!(log_sum_exp(std::iter::empty()), f64::NEG_INFINITY);
    }
}
