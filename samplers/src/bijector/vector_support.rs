//! Map vectors of real numbers onto the support of several numbers.

use super::{cholesky_correlation, ordered, simplex};
use crate::number::Number;

/// Where a density of several numbers x lives, and the smooth map from z of independent real numbers onto
/// it. z has `dim()` numbers, x has `len()`, which may be more.
///
/// ```
/// use armilla_samplers::bijector::VectorSupport;
/// let support = VectorSupport::Simplex(3);
/// assert_eq!((support.dim(), support.len()), (2, 3));
/// let mut x = [0.0; 3];
/// support.constrain(&[0.3, -1.2], &mut x);
/// assert!((x.iter().sum::<f64>() - 1.0).abs() < 1e-15);
/// let mut z = [0.0; 2];
/// support.unconstrain(&x, &mut z);
/// assert!((z[0] - 0.3).abs() < 1e-14 && (z[1] + 1.2).abs() < 1e-14);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorSupport {
    /// So many numbers, each by itself: x = z.
    Real(usize),
    /// So many positive numbers that sum to 1: the softmax of an orthonormal basis of what sums to 0
    /// (the isometric log-ratio; Egozcue et al. 2003, doi:10.1023/A:1023818214614).
    Simplex(usize),
    /// So many increasing numbers: the first and the logarithms of the steps between them are free.
    Ordered(usize),
    /// The Cholesky factor of a correlation matrix of so many variables, its lower triangle row by row
    /// with the diagonal: canonical partial correlations, each the tanh of a free number (Lewandowski,
    /// Kurowicka & Joe 2009, doi:10.1016/j.jmva.2009.04.008).
    CholeskyCorrelation(usize),
}

impl VectorSupport {
    /// The number of numbers of z.
    pub fn dim(&self) -> usize {
        match *self {
            Self::Real(n) | Self::Ordered(n) => n,
            Self::Simplex(n) => n.saturating_sub(1),
            Self::CholeskyCorrelation(k) => k * k.saturating_sub(1) / 2,
        }
    }

    /// The number of numbers of x.
    #[allow(clippy::len_without_is_empty)] // None is no support.
    pub fn len(&self) -> usize {
        match *self {
            Self::Real(n) | Self::Ordered(n) | Self::Simplex(n) => n,
            Self::CholeskyCorrelation(k) => k * (k + 1) / 2,
        }
    }

    /// Writes x at `z` (`dim()` numbers) to `x` (`len()` numbers), and gives the logarithm of how much the
    /// map enlarges volumes. Of x, those numbers count that determine the others: all but the last of a
    /// simplex, those below the diagonal of a Cholesky factor.
    pub fn constrain<N: Number>(&self, z: &[N], x: &mut [N]) -> N {
        match self {
            Self::Real(_) => {
                x.copy_from_slice(z);
                N::from(0.0)
            }
            Self::Simplex(_) => simplex::constrain(z, x),
            Self::Ordered(_) => ordered::constrain(z, x),
            Self::CholeskyCorrelation(k) => cholesky_correlation::constrain(*k, z, x),
        }
    }

    /// Writes z at `x` to `z`; not finite on an edge of the support or outside.
    pub fn unconstrain(&self, x: &[f64], z: &mut [f64]) {
        match self {
            Self::Real(_) => z.copy_from_slice(x),
            Self::Simplex(_) => simplex::unconstrain(x, z),
            Self::Ordered(_) => ordered::unconstrain(x, z),
            Self::CholeskyCorrelation(k) => cholesky_correlation::unconstrain(*k, x, z),
        }
    }

    /// The least and the greatest value that any number of x can have; infinite where there is no bound.
    pub fn bounds(&self) -> (f64, f64) {
        match self {
            Self::Real(_) | Self::Ordered(_) => (f64::NEG_INFINITY, f64::INFINITY),
            Self::Simplex(_) => (0.0, 1.0),
            Self::CholeskyCorrelation(_) => (-1.0, 1.0),
        }
    }
}
