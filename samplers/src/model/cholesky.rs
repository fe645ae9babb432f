//! Factor covariances of unknowns.

use crate::number::Number;

/// The Cholesky factor of a covariance of `n` numbers, which `covariance` gives at a row and a column: its lower
/// triangle row by row with the diagonal, as [`MultivariateNormal`](crate::distribution::MultivariateNormal) in
/// a model takes it. NaN where the covariance is not positive definite.
///
/// ```
/// let covariance = [[4.0, 2.0], [2.0, 10.0]];
/// let factor: Vec<f64> = armilla_samplers::model::cholesky(2, |i, j| covariance[i][j]);
/// assert_eq!(factor, [2.0, 1.0, 3.0]);
/// ```
pub fn cholesky<N: Number>(n: usize, covariance: impl Fn(usize, usize) -> N) -> Vec<N> {
    let mut factor: Vec<N> = Vec::with_capacity(n * (n + 1) / 2);
    for i in 0..n {
        let row = factor.len();
        for j in 0..=i {
            let above = j * (j + 1) / 2;
            let known: N = (0..j).map(|k| factor[row + k] * factor[above + k]).sum();
            let rest = covariance(i, j) - known;
            factor.push(if i == j {
                rest.sqrt()
            } else {
                rest / factor[above + j]
            });
        }
    }
    factor
}
