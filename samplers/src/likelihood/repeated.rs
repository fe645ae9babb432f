//! Add up the log likelihoods of many independent observations of one kind.

use rand::Rng;

use super::sum::add;
use super::{DifferentiableLikelihood, Generative, Likelihood, Points};
use crate::error::{EvalError, SampleError};

/// The likelihoods of several independent observations, multiplied.
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Measured(f64);
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
///         Ok(-0.5 * (x[0] - self.0).powi(2))
///     }
/// }
/// let all = Repeated::new(vec![Measured(1.0), Measured(2.0), Measured(3.0)])?;
/// assert_eq!(all.log_likelihood(&[2.0])?, -1.0);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Repeated<L> {
    likelihoods: Vec<L>,
    dim: usize,
}

impl<L: Likelihood> Repeated<L> {
    /// Of these observations, all over the same parameters.
    ///
    /// # Errors
    /// `SampleError::Invalid` where there are none, or they do not all take as many parameters.
    pub fn new(likelihoods: Vec<L>) -> Result<Self, SampleError> {
        let Some(dim) = likelihoods.first().map(Likelihood::dim) else {
            return Err(SampleError::Invalid("give at least one observation".into()));
        };
        if let Some(i) = likelihoods.iter().position(|likelihood| likelihood.dim() != dim) {
            return Err(SampleError::Invalid(format!(
                "observation 0 takes {dim} parameters, observation {i} takes {}",
                likelihoods[i].dim()
            )));
        }
        Ok(Self { likelihoods, dim })
    }
}

impl<L> Repeated<L> {
    /// The likelihood of each observation.
    pub fn likelihoods(&self) -> &[L] {
        &self.likelihoods
    }
}

impl<L: Likelihood> Likelihood for Repeated<L> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        let mut sum = 0.0;
        for likelihood in &self.likelihoods {
            sum += likelihood.log_likelihood(x)?;
        }
        Ok(sum)
    }

    fn log_likelihood_batch(&self, xs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        let mut terms = vec![0.0; out.len()];
        out.fill(0.0);
        for likelihood in &self.likelihoods {
            likelihood.log_likelihood_batch(xs, &mut terms)?;
            add(out, &terms);
        }
        Ok(())
    }
}

impl<L: DifferentiableLikelihood> DifferentiableLikelihood for Repeated<L> {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let (mut sum, mut terms) = (0.0, vec![0.0; gradient.len()]);
        gradient.fill(0.0);
        for likelihood in &self.likelihoods {
            sum += likelihood.value_and_gradient(x, &mut terms)?;
            add(gradient, &terms);
        }
        Ok(sum)
    }

    fn value_and_gradient_batch(
        &self,
        xs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        let (mut value_terms, mut gradient_terms) = (vec![0.0; values.len()], vec![0.0; gradients.len()]);
        values.fill(0.0);
        gradients.fill(0.0);
        for likelihood in &self.likelihoods {
            likelihood.value_and_gradient_batch(xs, &mut value_terms, &mut gradient_terms)?;
            add(values, &value_terms);
            add(gradients, &gradient_terms);
        }
        Ok(())
    }
}

impl<L: Generative> Generative for Repeated<L> {
    fn simulate(&self, x: &[f64], rng: &mut dyn Rng) -> Result<Vec<f64>, EvalError> {
        let mut data = Vec::new();
        for likelihood in &self.likelihoods {
            data.extend(likelihood.simulate(x, rng)?);
        }
        Ok(data)
    }
}
