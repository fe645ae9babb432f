//! Let a likelihood see some of the parameters of a larger model, by name and in its own order.

use rand::Rng;

use super::{DifferentiableLikelihood, Generative, Likelihood, Points};
use crate::error::{EvalError, SampleError};
use crate::prior::Prior;

/// A likelihood as one of more parameters than it takes, made by [`Likelihood::on`].
#[derive(Debug, Clone)]
pub struct Selected<L> {
    likelihood: L,
    /// For each parameter of the likelihood, its place among all.
    places: Vec<usize>,
    dim: usize,
}

impl<L: Likelihood> Selected<L> {
    pub(super) fn new<N: AsRef<str>>(
        likelihood: L,
        prior: &Prior,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, SampleError> {
        let known = prior.names();
        let mut places = Vec::new();
        for name in names {
            let name = name.as_ref();
            let Some(place) = known.iter().position(|known| known == name) else {
                return Err(SampleError::Invalid(format!(
                    "there is no parameter named {name}: the prior has {}",
                    known.join(", ")
                )));
            };
            places.push(place);
        }
        if places.is_empty() || places.len() != likelihood.dim() {
            return Err(SampleError::Invalid(format!(
                "{} names are given, the likelihood takes {} parameters",
                places.len(),
                likelihood.dim()
            )));
        }
        Ok(Self {
            likelihood,
            places,
            dim: known.len(),
        })
    }
}

impl<L> Selected<L> {
    /// The likelihood of the selected parameters alone.
    pub fn likelihood(&self) -> &L {
        &self.likelihood
    }

    fn check_length(&self, given: usize) -> Result<(), EvalError> {
        if given == self.dim {
            return Ok(());
        }
        let dim = self.dim;
        Err(EvalError::Fatal(format!(
            "{given} numbers given for {dim} parameters"
        )))
    }

    fn select(&self, x: &[f64]) -> Vec<f64> {
        self.places.iter().map(|&place| x[place]).collect()
    }

    /// The selected parameters of all points.
    fn select_batch(&self, xs: Points<'_>) -> Vec<f64> {
        xs.iter()
            .flat_map(|x| self.places.iter().map(move |&place| x[place]))
            .collect()
    }

    /// Each derivative to its parameter; those of one parameter add up.
    fn scatter(&self, derivatives: &[f64], gradient: &mut [f64]) {
        gradient.fill(0.0);
        for (&place, derivative) in self.places.iter().zip(derivatives) {
            gradient[place] += derivative;
        }
    }
}

impl<L: Likelihood> Likelihood for Selected<L> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.check_length(x.len())?;
        self.likelihood.log_likelihood(&self.select(x))
    }

    fn log_likelihood_batch(&self, xs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        self.check_length(xs.dim())?;
        let selected = self.select_batch(xs);
        let selected = Points::new(&selected, self.places.len())?;
        self.likelihood.log_likelihood_batch(selected, out)
    }
}

impl<L: DifferentiableLikelihood> DifferentiableLikelihood for Selected<L> {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        self.check_length(x.len())?;
        self.check_length(gradient.len())?;
        let mut derivatives = vec![0.0; self.places.len()];
        let value = self
            .likelihood
            .value_and_gradient(&self.select(x), &mut derivatives)?;
        self.scatter(&derivatives, gradient);
        Ok(value)
    }

    fn value_and_gradient_batch(
        &self,
        xs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        self.check_length(xs.dim())?;
        let width = self.places.len();
        let selected = self.select_batch(xs);
        let selected = Points::new(&selected, width)?;
        let mut derivatives = vec![0.0; selected.len() * width];
        self.likelihood
            .value_and_gradient_batch(selected, values, &mut derivatives)?;
        let points = derivatives
            .chunks_exact(width)
            .zip(gradients.chunks_exact_mut(self.dim));
        for (derivatives, gradient) in points {
            self.scatter(derivatives, gradient);
        }
        Ok(())
    }
}

impl<L: Generative> Generative for Selected<L> {
    fn simulate(&self, x: &[f64], rng: &mut dyn Rng) -> Result<Vec<f64>, EvalError> {
        self.check_length(x.len())?;
        self.likelihood.simulate(&self.select(x), rng)
    }
}
