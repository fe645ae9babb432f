//! Learn the scales and correlations of a posterior from draws and their gradients.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::hmc::MetricKind;
use crate::hmc::metric::Metric;

/// What is known of a posterior's shape.
///
/// Of all linear maps to round coordinates, that one is best whose image of the posterior has the score of a
/// standard normal distribution, as nearly as can be (Seyboldt, Carlson & Carpenter 2026, arXiv 2603.18845).
/// For scales this gives σᵢ⁴ = Var(zᵢ) / Var(gᵢ), in general the Σ that solves Σ Cov(g) Σ = Cov(z). Of a
/// normal distribution g = −Σ⁻¹(z − μ), so that a few draws, of whatever distribution, tell Σ exactly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Shape {
    draws: Spread,
    gradients: Spread,
}

/// Running mean and variances, or covariances (Welford 1962, doi:10.2307/1266577).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Spread {
    count: f64,
    mean: DVector<f64>,
    scatter: Scatter,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Scatter {
    Diagonal(DVector<f64>),
    Dense(DMatrix<f64>),
}

/// The most by which a scale may differ from one: beyond it squares overflow.
const WIDEST: f64 = 1e100;
/// Covariances of n draws of d parameters are drawn towards the scales alone as if by this many draws for
/// each parameter: fewer draws than parameters span no covariance.
const PRIOR_DRAWS: f64 = 0.02;
/// A direction counts where the variance along it is this many times that of the scales, or as many times smaller.
const FAR: f64 = 2.0;

impl Shape {
    pub(crate) fn new(kind: MetricKind, dim: usize) -> Self {
        let spread = Spread {
            count: 0.0,
            mean: DVector::zeros(dim),
            scatter: match kind {
                MetricKind::Diagonal => Scatter::Diagonal(DVector::zeros(dim)),
                MetricKind::Dense | MetricKind::LowRank => Scatter::Dense(DMatrix::zeros(dim, dim)),
            },
        };
        Self {
            draws: spread.clone(),
            gradients: spread,
        }
    }

    pub(crate) fn push(&mut self, z: &[f64], gradient: &[f64]) {
        self.draws.push(z);
        self.gradients.push(gradient);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.draws.clear();
        self.gradients.clear();
    }

    /// Gives the metric this shape. What cannot be told yet stays as it was.
    pub(crate) fn shape(&self, metric: &mut Metric) {
        if self.draws.count < 3.0 {
            return;
        }
        match (metric, &self.draws.scatter, &self.gradients.scatter) {
            (Metric::Diagonal(scales), Scatter::Diagonal(draws), Scatter::Diagonal(gradients)) => {
                for ((scale, z), g) in scales.iter_mut().zip(draws).zip(gradients) {
                    if let Some(found) = fitting_scale(*z, *g) {
                        *scale = found;
                    }
                }
            }
            (Metric::Dense(factor), Scatter::Dense(draws), Scatter::Dense(gradients)) => {
                if let Some(found) = fitting_factor(draws, gradients, self.draws.count) {
                    *factor = found;
                }
            }
            (low_rank @ Metric::LowRank { .. }, Scatter::Dense(draws), Scatter::Dense(gradients)) => {
                if let Some(found) = fitting_directions(draws, gradients, self.draws.count) {
                    *low_rank = found;
                }
            }
            // A metric and its shape are made of the same kind.
            _ => {}
        }
    }
}

/// σ with σ⁴ = Var(z) / Var(g), if it makes sense.
fn fitting_scale(z: f64, g: f64) -> Option<f64> {
    let scale = (z / g).sqrt().sqrt();
    // Draws that are all the same say nothing.
    (WIDEST.recip()..WIDEST).contains(&scale).then_some(scale)
}

/// The lower triangular L for which Σ = L Lᵀ fits.
fn fitting_factor(draws: &DMatrix<f64>, gradients: &DMatrix<f64>, count: f64) -> Option<DMatrix<f64>> {
    let (scales, shape) = fitting_shape(draws, gradients, count)?;
    let mut factor = shape.cholesky()?.unpack();
    for (mut row, scale) in factor.row_iter_mut().zip(&scales) {
        row *= *scale;
    }
    factor.iter().all(|entry| entry.is_finite()).then_some(factor)
}

/// The scales, and those directions in which Σ is far from them: what lies nearer may be noise, and is not worth
/// its operations.
fn fitting_directions(draws: &DMatrix<f64>, gradients: &DMatrix<f64>, count: f64) -> Option<Metric> {
    let (scales, shape) = fitting_shape(draws, gradients, count)?;
    let eigen = shape.try_symmetric_eigen(f64::EPSILON, 0)?;
    let far = |variance: f64| !(FAR.recip()..=FAR).contains(&variance) && variance > 0.0;
    let kept: Vec<usize> = (0..scales.len()).filter(|&k| far(eigen.eigenvalues[k])).collect();
    let stretches: Vec<f64> = kept.iter().map(|&k| eigen.eigenvalues[k].sqrt() - 1.0).collect();
    let directions = eigen.eigenvectors.select_columns(&kept);
    let finite = directions
        .iter()
        .chain(&stretches)
        .all(|number| number.is_finite());
    finite.then(|| Metric::LowRank {
        scales: scales.as_slice().to_vec(),
        directions,
        stretches,
    })
}

/// Scales, and in their units the Σ that solves Σ G Σ = Z, where Z and G are the scatters of `count` draws and
/// gradients: the geometric mean of Z and G⁻¹ (Bhatia 2007, Positive Definite Matrices, chapter 4).
fn fitting_shape(
    draws: &DMatrix<f64>,
    gradients: &DMatrix<f64>,
    count: f64,
) -> Option<(DVector<f64>, DMatrix<f64>)> {
    let dim = draws.nrows();
    let scales: Option<Vec<f64>> = (0..dim)
        .map(|i| fitting_scale(draws[(i, i)], gradients[(i, i)]))
        .collect();
    let scales = DVector::from_vec(scales?);
    let floor = PRIOR_DRAWS * dim as f64 / count;
    // In units of the scales both have the same diagonal.
    let of_unit_scales = |scatter: &DMatrix<f64>, units: &DVector<f64>| {
        DMatrix::from_fn(dim, dim, |i, j| {
            // The rank-one updates are symmetric up to rounding only.
            let (i, j) = (i.max(j), i.min(j));
            let extra = if i == j { floor } else { 0.0 };
            scatter[(i, j)] / count * units[i] * units[j] + extra
        })
    };
    let draws = of_unit_scales(draws, &scales.map(f64::recip));
    let root = of_unit_scales(gradients, &scales).cholesky()?.unpack();
    // With G = R Rᵀ, Σ is R⁻ᵀ (Rᵀ Z R)^½ R⁻¹.
    let inner = root.transpose() * draws * &root;
    let eigen = inner.try_symmetric_eigen(f64::EPSILON, 0)?;
    let outer = root.tr_solve_lower_triangular(&eigen.eigenvectors)?;
    let roots = eigen.eigenvalues.map(|value| value.max(0.0).sqrt());
    let shape = &outer * DMatrix::from_diagonal(&roots) * outer.transpose();
    Some((scales, shape))
}

impl Spread {
    fn push(&mut self, x: &[f64]) {
        self.count += 1.0;
        match &mut self.scatter {
            Scatter::Diagonal(squares) => {
                for ((square, mean), x) in squares.iter_mut().zip(self.mean.iter_mut()).zip(x) {
                    let before = x - *mean;
                    *mean += before / self.count;
                    *square += before * (x - *mean);
                }
            }
            Scatter::Dense(scatter) => {
                let x = DVector::from_column_slice(x);
                let before = &x - &self.mean;
                self.mean += &before / self.count;
                scatter.ger(1.0, &before, &(x - &self.mean), 1.0);
            }
        }
    }

    fn clear(&mut self) {
        self.count = 0.0;
        self.mean.fill(0.0);
        match &mut self.scatter {
            Scatter::Diagonal(squares) => squares.fill(0.0),
            Scatter::Dense(scatter) => scatter.fill(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hmc::metric::draw_momentum;
    use crate::rng::{Purpose, stream};

    /// The covariance of the tests.
    const COVARIANCE: [f64; 9] = [4.0, 1.9, 0.0, 1.9, 1.0, 0.01, 0.0, 0.01, 0.0025];

    fn learned(kind: MetricKind, draws: usize) -> Metric {
        let covariance = DMatrix::from_row_slice(3, 3, &COVARIANCE);
        let precision = covariance.clone().try_inverse().unwrap();
        let factor = covariance.cholesky().unwrap().unpack();
        let mut rng = stream(5, Purpose::Chain, 0);
        let mut shape = Shape::new(kind, 3);
        for _ in 0..draws {
            let mut noise = vec![0.0; 3];
            draw_momentum(&mut noise, &mut rng);
            let offset = &factor * DVector::from_vec(noise);
            let gradient = -(&precision * &offset);
            let z: Vec<f64> = offset.iter().map(|z| z + 10.0).collect();
            shape.push(&z, gradient.as_slice());
        }
        let mut metric = Metric::identity(kind, 3);
        shape.shape(&mut metric);
        metric
    }

    #[test]
    fn scales_lie_between_those_of_draws_and_of_gradients() {
        let precision = DMatrix::from_row_slice(3, 3, &COVARIANCE).try_inverse().unwrap();
        let Metric::Diagonal(scales) = learned(MetricKind::Diagonal, 20_000) else {
            panic!("the metric is not diagonal")
        };
        for i in 0..3 {
            let expected = (COVARIANCE[4 * i] / precision[(i, i)]).sqrt().sqrt();
            // Two variances of 20 000 draws, each to 1%: the fourth root to 0.35%.
            assert!((scales[i] / expected - 1.0).abs() < 5.0 * 0.0035);
        }
    }

    #[test]
    fn a_covariance_is_exact_after_few_draws() {
        let covariance = DMatrix::from_row_slice(3, 3, &COVARIANCE);
        let error = |draws| {
            let Metric::Dense(factor) = learned(MetricKind::Dense, draws) else {
                panic!("the metric is not dense")
            };
            let whitened = factor
                .solve_lower_triangular(&covariance)
                .and_then(|half| factor.solve_lower_triangular(&half.transpose()))
                .unwrap();
            (whitened - DMatrix::identity(3, 3)).abs().max()
        };
        // Without regularisation it would be exact; that of many draws vanishes.
        assert!(error(1000) < 0.01, "{}", error(1000));
        assert!(error(10) < 0.5, "{}", error(10));
    }

    #[test]
    fn far_directions_are_found_and_near_ones_left() {
        let Metric::LowRank {
            scales,
            directions,
            stretches,
        } = learned(MetricKind::LowRank, 2000)
        else {
            panic!("the metric is not of low rank")
        };
        // Of unit scales, the first two parameters are correlated by 0.95: 1.95 along their sum, 0.05 across it;
        // the scales lie between those of draws and of gradients, and shift both.
        assert_eq!(stretches.len(), directions.ncols());
        assert!((1..3).contains(&stretches.len()), "{stretches:?}");
        let scaled = DMatrix::from_diagonal(&DVector::from_vec(scales.clone()));
        let stretch = DMatrix::from_diagonal(&DVector::from_vec(stretches.clone()));
        let factor = scaled * (DMatrix::identity(3, 3) + &directions * stretch * directions.transpose());
        let inverse = factor.try_inverse().unwrap();
        let whitened = &inverse * DMatrix::from_row_slice(3, 3, &COVARIANCE) * inverse.transpose();
        let eigenvalues = whitened.symmetric_eigenvalues();
        // Without directions the spread is 39; what is left is within the bounds of what counts.
        assert!(
            eigenvalues.max() < 2.2 && eigenvalues.min() > 0.45,
            "{eigenvalues}"
        );
    }

    #[test]
    fn draws_that_are_all_the_same_change_nothing() {
        for kind in [MetricKind::Diagonal, MetricKind::Dense, MetricKind::LowRank] {
            let mut shape = Shape::new(kind, 2);
            (0..10).for_each(|_| shape.push(&[1.0, 2.0], &[0.5, 0.0]));
            let mut metric = Metric::identity(kind, 2);
            shape.shape(&mut metric);
            assert_eq!(metric, Metric::identity(kind, 2));
        }
    }
}
