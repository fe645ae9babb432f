//! Draw the data that a likelihood expects.

use rand::Rng;

use super::Likelihood;
use crate::error::EvalError;

/// A likelihood that can also draw data from p(data | x). Sums and repetitions of such ones draw the data of
/// their parts, one after the other; a tempered one has none to draw.
///
/// ```
/// use armilla_samplers::prelude::*;
/// use rand::{Rng, RngExt};
/// use rand_distr::StandardNormal;
///
/// /// A value measured with error 1.
/// struct Measured(f64);
///
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
///         Ok(-0.5 * (x[0] - self.0).powi(2))
///     }
/// }
/// impl Generative for Measured {
///     fn simulate(&self, x: &[f64], rng: &mut dyn Rng) -> Result<Vec<f64>, EvalError> {
///         Ok(vec![x[0] + rng.sample::<f64, _>(StandardNormal)])
///     }
/// }
///
/// let prior = Prior::new().with("mu", Normal::new(0.0, 2.0)?)?;
/// let predicted = prior_predictive(&prior, &Measured(3.0), 1000, 1)?;
/// let below = predicted.iter().filter(|prediction| prediction.data[0] < 3.0).count();
/// // Before the measurement, the value is expected at 0 ± √5.
/// assert!((860..960).contains(&below));
/// # Ok::<(), SampleError>(())
/// ```
pub trait Generative: Likelihood {
    /// A draw of the data at `x` in physical units, as many numbers as an observation has.
    ///
    /// # Errors
    /// `Recoverable` where there is none at this point, `Fatal` where there is none at any.
    fn simulate(&self, x: &[f64], rng: &mut dyn Rng) -> Result<Vec<f64>, EvalError>;
}
