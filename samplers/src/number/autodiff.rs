//! Differentiate a likelihood that is written once for any number.

use super::Number;
use super::gradient::{Differentiable, gradient};
use crate::error::EvalError;
use crate::likelihood::{DifferentiableLikelihood, Likelihood};

/// ln p(data | x), written once for any [`Number`]. [`AutoDiff`] makes a [`DifferentiableLikelihood`] of it.
pub trait GenericLikelihood: Send + Sync {
    /// The number of parameters.
    fn dim(&self) -> usize;

    /// ln p(data | x) at `x` (`dim()` numbers) in physical units; `-inf` outside the support.
    fn log_likelihood<N: Number>(&self, x: &[N]) -> N;
}

/// A likelihood whose gradient follows from its value: in one pass for up to 12 parameters, without
/// allocating, in one pass for each dozen beyond.
///
/// ```
/// use armilla_samplers::prelude::*;
///
/// /// Measurements of `mean` with an unknown error `sd`.
/// struct Measured(Vec<f64>);
///
/// impl GenericLikelihood for Measured {
///     fn dim(&self) -> usize {
///         2
///     }
///     fn log_likelihood<N: Number>(&self, x: &[N]) -> N {
///         let normal = Normal::<N>::of(x[0], x[1]);
///         self.0.iter().map(|&y| normal.ln_density(N::from(y))).sum()
///     }
/// }
///
/// let likelihood = AutoDiff(Measured(vec![1.0, 3.0]));
/// let mut gradient = [0.0; 2];
/// let value = likelihood.value_and_gradient(&[1.0, 2.0], &mut gradient)?;
/// assert!((value - likelihood.log_likelihood(&[1.0, 2.0])?).abs() < 1e-15);
/// assert_eq!(gradient, [0.5, -0.5]);
/// # Ok::<(), EvalError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoDiff<F>(pub F);

impl<F: GenericLikelihood> Differentiable for AutoDiff<F> {
    #[inline]
    fn evaluate<N: Number>(&self, x: &[N]) -> N {
        self.0.log_likelihood(x)
    }
}

impl<F: GenericLikelihood> AutoDiff<F> {
    fn check_length(&self, given: usize) -> Result<(), EvalError> {
        let dim = self.0.dim();
        if given == dim {
            return Ok(());
        }
        let message = format!("{given} numbers given to a likelihood of {dim} parameters");
        Err(EvalError::Fatal(message))
    }
}

impl<F: GenericLikelihood> Likelihood for AutoDiff<F> {
    fn dim(&self) -> usize {
        self.0.dim()
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.check_length(x.len())?;
        Ok(self.0.log_likelihood(x))
    }
}

impl<F: GenericLikelihood> DifferentiableLikelihood for AutoDiff<F> {
    fn value_and_gradient(&self, x: &[f64], derivatives: &mut [f64]) -> Result<f64, EvalError> {
        self.check_length(x.len())?;
        self.check_length(derivatives.len())?;
        Ok(gradient(self, x, derivatives))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A regression on as many variables as `x` has rows of: y ~ Normal(Σ bᵢ xᵢ, 1).
    struct Regression {
        rows: Vec<Vec<f64>>,
        y: Vec<f64>,
    }

    impl Regression {
        fn new(dim: usize) -> Self {
            let rows = (0..100).map(|i| (0..dim).map(|j| ((i * (j + 2)) as f64).sin()).collect());
            Self {
                rows: rows.collect(),
                y: (0..100).map(|i| f64::from(i).cos()).collect(),
            }
        }
    }

    impl GenericLikelihood for Regression {
        fn dim(&self) -> usize {
            self.rows[0].len()
        }
        fn log_likelihood<N: Number>(&self, x: &[N]) -> N {
            let terms = self.rows.iter().zip(&self.y).map(|(row, &y)| {
                let mean: N = row.iter().zip(x).map(|(&r, &b)| b * r).sum();
                (mean - y).square() * -0.5
            });
            terms.sum()
        }
    }

    #[test]
    fn gradients_meet_those_by_hand_for_every_number_of_parameters() {
        for dim in [1, 4, 5, 8, 9, 12, 13, 40] {
            let regression = AutoDiff(Regression::new(dim));
            let b: Vec<f64> = (0..dim).map(|i| 0.1 * i as f64 - 0.3).collect();
            let mut gradient = vec![0.0; dim];
            let value = regression.value_and_gradient(&b, &mut gradient).unwrap();
            assert_eq!(value, regression.log_likelihood(&b).unwrap());
            for (j, derivative) in gradient.iter().enumerate() {
                let terms = regression.0.rows.iter().zip(&regression.0.y).map(|(row, y)| {
                    let mean: f64 = row.iter().zip(&b).map(|(r, b)| r * b).sum();
                    (y - mean) * row[j]
                });
                assert!((derivative - terms.sum::<f64>()).abs() < 1e-11, "{j} of {dim}");
            }
        }
    }

    #[test]
    fn points_of_another_length_are_refused() {
        let regression = AutoDiff(Regression::new(3));
        let fatal = |result| assert!(matches!(result, Err(EvalError::Fatal(_))), "{result:?}");
        fatal(regression.log_likelihood(&[0.0; 2]));
        fatal(regression.value_and_gradient(&[0.0; 2], &mut [0.0; 3]));
        fatal(regression.value_and_gradient(&[0.0; 3], &mut [0.0; 2]));
    }

    /// `cargo test --release -- --ignored --nocapture passes_cost`: a gradient in units of a value.
    #[test]
    #[ignore = "measures"]
    fn passes_cost_less_than_differences() {
        use std::hint::black_box;
        let nanoseconds = |f: &mut dyn FnMut()| {
            let rounds = (0..5).map(|_| {
                let start = std::time::Instant::now();
                (0..2000).for_each(|_| f());
                start.elapsed().as_nanos() as f64 / 2000.0
            });
            rounds.fold(f64::MAX, f64::min)
        };
        for dim in [2, 4, 5, 8, 12, 13, 16, 24, 48] {
            let regression = AutoDiff(Regression::new(dim));
            let (b, mut gradient) = (vec![0.1; dim], vec![0.0; dim]);
            let value = nanoseconds(&mut || {
                black_box(regression.log_likelihood(black_box(&b)).unwrap());
            });
            let both = nanoseconds(&mut || {
                black_box(
                    regression
                        .value_and_gradient(black_box(&b), &mut gradient)
                        .unwrap(),
                );
            });
            println!(
                "{dim}: value {value:.0} ns, value and gradient {both:.0} ns, ratio {:.1}",
                both / value
            );
            // Central differences cost 2 values for each parameter.
            assert!(both < 2.0 * dim as f64 * value, "{dim}: {both} ns for {value} ns");
        }
    }
}
