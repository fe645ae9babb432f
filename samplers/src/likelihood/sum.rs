//! Add up the log likelihoods of two independent sets of data.

use rand::Rng;

use super::{DifferentiableLikelihood, Generative, Likelihood, Points};
use crate::error::{EvalError, SampleError};

/// Two likelihoods of the same parameters, multiplied; made by [`Likelihood::and`]. Both are always asked: a
/// NaN of either is passed on, and outside the support of one is outside that of the sum.
#[derive(Debug, Clone)]
pub struct Sum<A, B> {
    first: A,
    second: B,
}

impl<A: Likelihood, B: Likelihood> Sum<A, B> {
    pub(super) fn new(first: A, second: B) -> Result<Self, SampleError> {
        if first.dim() != second.dim() {
            return Err(SampleError::Invalid(format!(
                "one likelihood takes {} parameters, the other {}: choose the parameters of each with `on`",
                first.dim(),
                second.dim()
            )));
        }
        Ok(Self { first, second })
    }
}

impl<A, B> Sum<A, B> {
    /// The two likelihoods.
    pub fn parts(&self) -> (&A, &B) {
        (&self.first, &self.second)
    }
}

impl<A: Likelihood, B: Likelihood> Likelihood for Sum<A, B> {
    fn dim(&self) -> usize {
        self.first.dim()
    }

    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(self.first.log_likelihood(x)? + self.second.log_likelihood(x)?)
    }

    fn log_likelihood_batch(&self, xs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        let mut terms = vec![0.0; out.len()];
        self.first.log_likelihood_batch(xs, out)?;
        self.second.log_likelihood_batch(xs, &mut terms)?;
        add(out, &terms);
        Ok(())
    }
}

impl<A: DifferentiableLikelihood, B: DifferentiableLikelihood> DifferentiableLikelihood for Sum<A, B> {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let mut terms = vec![0.0; gradient.len()];
        let first = self.first.value_and_gradient(x, gradient)?;
        let second = self.second.value_and_gradient(x, &mut terms)?;
        add(gradient, &terms);
        Ok(first + second)
    }

    fn value_and_gradient_batch(
        &self,
        xs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        let (mut value_terms, mut gradient_terms) = (vec![0.0; values.len()], vec![0.0; gradients.len()]);
        self.first.value_and_gradient_batch(xs, values, gradients)?;
        self.second
            .value_and_gradient_batch(xs, &mut value_terms, &mut gradient_terms)?;
        add(values, &value_terms);
        add(gradients, &gradient_terms);
        Ok(())
    }
}

impl<A: Generative, B: Generative> Generative for Sum<A, B> {
    fn simulate(&self, x: &[f64], rng: &mut dyn Rng) -> Result<Vec<f64>, EvalError> {
        let mut data = self.first.simulate(x, rng)?;
        data.extend(self.second.simulate(x, rng)?);
        Ok(data)
    }
}

/// Adds each of `terms` to each of `sums`.
pub(super) fn add(sums: &mut [f64], terms: &[f64]) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum += term;
    }
}
