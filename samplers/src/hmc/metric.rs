//! Shape momenta like the posterior: the metric that all samplers with momenta share.

use nalgebra::DMatrix;
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use crate::rng::Stream;

/// What a metric can undo: the scales of the parameters, or their correlations too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricKind {
    /// A scale for each parameter.
    #[default]
    Diagonal,
    /// A full covariance: d² operations more per gradient, and d³ now and then during warm-up. Where parameters
    /// are strongly correlated it saves many gradients: of a normal distribution of a hundred parameters, each
    /// correlated with the next by 0.9, it takes a tenth of those that scales alone take, after a warm-up of
    /// 400 steps.
    Dense,
    /// A scale for each parameter, and those directions in which they are correlated most: k of them take 2 k d
    /// operations more per gradient.
    LowRank,
}

/// Gradients below this, or above its inverse, say nothing of a scale.
const SMALLEST_GUESS: f64 = 1e-10;

/// A linear map z = L y from coordinates y in which the posterior is about round.
///
/// Everything that moves keeps its momenta in those coordinates: there they are standard normal, velocity
/// and momentum are one, and the kinetic energy is half their square. For the mass matrix M of the
/// textbooks, L Lᵀ = M⁻¹ and the momentum here is Lᵀ p. No inverse and no logarithm of a determinant is ever
/// needed, and a leapfrog costs one L and one Lᵀ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Metric {
    /// The diagonal of L: standard deviations.
    Diagonal(Vec<f64>),
    /// L, lower triangular.
    Dense(DMatrix<f64>),
    /// L = D (1 + U S Uᵀ), with scales D, orthonormal columns U, and by how much each of them stretches, S.
    LowRank {
        scales: Vec<f64>,
        directions: DMatrix<f64>,
        stretches: Vec<f64>,
    },
}

impl Metric {
    /// Unit scales, no correlations.
    pub(crate) fn identity(kind: MetricKind, dim: usize) -> Self {
        match kind {
            MetricKind::Diagonal => Self::Diagonal(vec![1.0; dim]),
            MetricKind::Dense => Self::Dense(DMatrix::identity(dim, dim)),
            MetricKind::LowRank => Self::LowRank {
                scales: vec![1.0; dim],
                directions: DMatrix::zeros(dim, 0),
                stretches: Vec::new(),
            },
        }
    }

    /// Scales from one gradient, for want of anything better: σ² = 1/|g|, as if the point were a deviation of
    /// the order of one.
    pub(crate) fn guess(&mut self, gradient: &[f64]) {
        let scales = gradient.iter().map(|g| {
            g.abs()
                .clamp(SMALLEST_GUESS, SMALLEST_GUESS.recip())
                .sqrt()
                .recip()
        });
        match self {
            Self::Diagonal(diagonal) => {
                diagonal.clear();
                diagonal.extend(scales);
            }
            Self::LowRank {
                scales: diagonal,
                directions,
                stretches,
            } => {
                diagonal.clear();
                diagonal.extend(scales);
                *directions = DMatrix::zeros(diagonal.len(), 0);
                stretches.clear();
            }
            Self::Dense(factor) => {
                factor.fill(0.0);
                scales.enumerate().for_each(|(i, scale)| factor[(i, i)] = scale);
            }
        }
    }

    /// z += step · L y: moves z for a time `step` at velocity `y`.
    #[inline]
    pub(crate) fn advance(&self, z: &mut [f64], y: &[f64], step: f64) {
        match self {
            Self::Diagonal(scales) => {
                for ((z, y), scale) in z.iter_mut().zip(y).zip(scales) {
                    *z += step * scale * y;
                }
            }
            Self::Dense(factor) => {
                for (j, (column, y)) in factor.as_slice().chunks_exact(y.len()).zip(y).enumerate() {
                    axpy(step * y, &column[j..], &mut z[j..]);
                }
            }
            Self::LowRank {
                scales,
                directions,
                stretches,
            } => {
                for ((z, y), scale) in z.iter_mut().zip(y).zip(scales) {
                    *z += step * scale * y;
                }
                for (direction, stretch) in directions.as_slice().chunks_exact(y.len()).zip(stretches) {
                    let along = step * stretch * dot(direction, y);
                    for ((z, u), scale) in z.iter_mut().zip(direction).zip(scales) {
                        *z += along * scale * u;
                    }
                }
            }
        }
    }

    /// Lᵀ g: the gradient in y that a `gradient` in z is.
    #[inline]
    pub(crate) fn pull_back(&self, gradient: &[f64], force: &mut [f64]) {
        match self {
            Self::Diagonal(scales) => {
                for ((force, g), scale) in force.iter_mut().zip(gradient).zip(scales) {
                    *force = scale * g;
                }
            }
            Self::Dense(factor) => {
                let columns = factor.as_slice().chunks_exact(gradient.len());
                for (j, (column, force)) in columns.zip(force).enumerate() {
                    *force = dot(&column[j..], &gradient[j..]);
                }
            }
            Self::LowRank {
                scales,
                directions,
                stretches,
            } => {
                for ((force, g), scale) in force.iter_mut().zip(gradient).zip(scales) {
                    *force = scale * g;
                }
                for (direction, stretch) in directions.as_slice().chunks_exact(force.len()).zip(stretches) {
                    // What was added before is orthogonal to this direction.
                    axpy(stretch * dot(direction, force), direction, force);
                }
            }
        }
    }

    /// y = L⁻¹ z: round coordinates of an offset in z, written over it.
    pub(crate) fn make_round(&self, z: &mut [f64]) {
        match self {
            Self::Diagonal(scales) => z.iter_mut().zip(scales).for_each(|(z, scale)| *z /= scale),
            Self::Dense(factor) => {
                let dim = z.len();
                for (j, column) in factor.as_slice().chunks_exact(dim).enumerate() {
                    z[j] /= column[j];
                    axpy(-z[j], &column[j + 1..], &mut z[j + 1..]);
                }
            }
            Self::LowRank {
                scales,
                directions,
                stretches,
            } => {
                z.iter_mut().zip(scales).for_each(|(z, scale)| *z /= scale);
                for (direction, stretch) in directions.as_slice().chunks_exact(z.len()).zip(stretches) {
                    let shrink = (1.0 + stretch).recip() - 1.0;
                    axpy(shrink * dot(direction, z), direction, z);
                }
            }
        }
    }
}

/// Draws a momentum: standard normal, whatever the metric.
pub(crate) fn draw_momentum(momentum: &mut [f64], rng: &mut Stream) {
    momentum
        .iter_mut()
        .for_each(|p| *p = rng.sample::<f64, _>(StandardNormal));
}

/// Half the square of a momentum.
#[inline]
pub(crate) fn kinetic_energy(momentum: &[f64]) -> f64 {
    0.5 * dot(momentum, momentum)
}

/// Σ aᵢ bᵢ in four sums at once: one would wait for each addition.
#[inline]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_blocks, a_rest) = a.as_chunks::<4>();
    let (b_blocks, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..4 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// y += a x.
#[inline]
pub(crate) fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    fn metrics() -> [Metric; 3] {
        let factor = DMatrix::from_row_slice(3, 3, &[2.0, 0.0, 0.0, -1.0, 0.5, 0.0, 0.3, 4.0, 3.0]);
        let low_rank = Metric::LowRank {
            scales: vec![2.0, 0.1, 30.0],
            directions: DMatrix::from_column_slice(3, 2, &[0.6, 0.8, 0.0, 0.0, 0.0, 1.0]),
            stretches: vec![4.0, -0.7],
        };
        [
            Metric::Diagonal(vec![2.0, 0.1, 30.0]),
            Metric::Dense(factor),
            low_rank,
        ]
    }

    /// L, column by column.
    fn columns(metric: &Metric) -> Vec<Vec<f64>> {
        let column = |j| {
            let (mut y, mut z) = (vec![0.0; 3], vec![0.0; 3]);
            y[j] = 1.0;
            metric.advance(&mut z, &y, 1.0);
            z
        };
        (0..3).map(column).collect()
    }

    #[test]
    fn pulling_back_is_the_transpose_of_advancing() {
        for metric in metrics() {
            let columns = columns(&metric);
            let gradient = [0.7, -1.3, 2.0];
            let mut force = [0.0; 3];
            metric.pull_back(&gradient, &mut force);
            for (column, force) in columns.iter().zip(force) {
                let expected: f64 = column.iter().zip(gradient).map(|(l, g)| l * g).sum();
                assert!((force - expected).abs() < 1e-14 * expected.abs().max(1.0));
            }
            let (y, mut z) = ([1.0, -2.0, 0.5], [10.0, 20.0, 30.0]);
            metric.advance(&mut z, &y, 0.25);
            for i in 0..3 {
                let moved: f64 = (0..3).map(|j| columns[j][i] * y[j]).sum();
                let expected = [10.0, 20.0, 30.0][i] + 0.25 * moved;
                assert!((z[i] - expected).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn making_round_is_the_inverse_of_advancing() {
        for metric in metrics() {
            let (y, mut z) = ([1.0, -2.0, 0.5], [0.0; 3]);
            metric.advance(&mut z, &y, 1.0);
            metric.make_round(&mut z);
            for i in 0..3 {
                assert!((z[i] - y[i]).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn the_identity_changes_nothing() {
        for kind in [MetricKind::Diagonal, MetricKind::Dense, MetricKind::LowRank] {
            let metric = Metric::identity(kind, 3);
            let mut force = [0.0; 3];
            metric.pull_back(&[1.0, 2.0, 3.0], &mut force);
            assert_eq!(force, [1.0, 2.0, 3.0]);
        }
    }

    #[test]
    fn momenta_are_standard_normal() {
        let mut rng = stream(4, Purpose::Chain, 0);
        let n = 40_000;
        let (mut sum, mut squares, mut product, mut fourth) = (0.0, 0.0, 0.0, 0.0);
        for _ in 0..n {
            let mut p = [0.0; 2];
            draw_momentum(&mut p, &mut rng);
            sum += p[0];
            squares += 2.0 * kinetic_energy(&p);
            product += p[0] * p[1];
            fourth += p[1].powi(4);
        }
        // Standard errors of the means: 1, 2, 1 and √96, over √n.
        let error = 5.0 / f64::from(n).sqrt();
        let n = f64::from(n);
        assert!((sum / n).abs() < error);
        assert!((squares / n - 2.0).abs() < 2.0 * error);
        assert!((product / n).abs() < error);
        assert!((fourth / n - 3.0).abs() < 9.8 * error);
    }

    #[test]
    fn dot_products_of_any_length() {
        for n in 0..11 {
            let a: Vec<f64> = (0..n).map(f64::from).collect();
            let expected: f64 = a.iter().map(|a| a * (a + 1.0)).sum();
            let b: Vec<f64> = a.iter().map(|a| a + 1.0).collect();
            assert_eq!(dot(&a, &b), expected);
        }
    }
}
