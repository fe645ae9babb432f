//! Map the real line onto the support of a distribution: [`Support`] of one number, [`VectorSupport`] of
//! several. Values, derivatives and Jacobians all come from one function, by the number it is asked for.

mod cholesky_correlation;
mod ordered;
mod simplex;
mod support;
mod vector_support;

#[cfg(test)]
mod tests;

pub use support::Support;
pub use vector_support::VectorSupport;
