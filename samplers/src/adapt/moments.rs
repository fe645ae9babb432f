//! Estimate means and covariances while draws arrive.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// Running mean and covariance (Welford 1962, doi:10.2307/1266577).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Moments {
    count: f64,
    mean: DVector<f64>,
    scatter: DMatrix<f64>,
}

/// The regularisation of Stan: as if 5 further draws with a variance of 1e-3 had been seen.
const PRIOR_DRAWS: f64 = 5.0;
const PRIOR_VARIANCE: f64 = 1e-3;

impl Moments {
    pub(crate) fn new(dim: usize) -> Self {
        Self {
            count: 0.0,
            mean: DVector::zeros(dim),
            scatter: DMatrix::zeros(dim, dim),
        }
    }

    pub(crate) fn push(&mut self, z: &[f64]) {
        let z = DVector::from_column_slice(z);
        self.count += 1.0;
        let before = &z - &self.mean;
        self.mean += &before / self.count;
        let after = z - &self.mean;
        self.scatter.ger(1.0, &before, &after, 1.0);
    }

    /// The covariance, shrunk towards a small multiple of the identity.
    pub(crate) fn covariance(&self) -> DMatrix<f64> {
        let dim = self.mean.len();
        let weight = self.count / (self.count + PRIOR_DRAWS) / (self.count - 1.0).max(1.0);
        let floor = PRIOR_VARIANCE * PRIOR_DRAWS / (self.count + PRIOR_DRAWS);
        let mut covariance = &self.scatter * weight + DMatrix::identity(dim, dim) * floor;
        // The rank-one updates are symmetric up to rounding only.
        covariance.fill_lower_triangle_with_upper_triangle();
        covariance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_two_pass_formula() {
        let draws = [[1.0, 2.0], [2.0, 1.0], [4.0, 0.0], [0.0, 5.0]];
        let mut moments = Moments::new(2);
        draws.iter().for_each(|draw| moments.push(draw));
        let covariance = moments.covariance();
        let sample = [[8.75, -10.0], [-10.0, 14.0]].map(|row| row.map(|sum: f64| sum / 3.0));
        for i in 0..2 {
            for j in 0..2 {
                let floor = if i == j { 1e-3 * 5.0 / 9.0 } else { 0.0 };
                assert!((covariance[(i, j)] - (sample[i][j] * 4.0 / 9.0 + floor)).abs() < 1e-12);
            }
        }
    }
}
