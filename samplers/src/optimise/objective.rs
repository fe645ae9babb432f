//! State what is maximised, and what a walk over it has met.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::density::{Density, DifferentiableDensity};
use crate::error::EvalError;
use crate::likelihood::{DifferentiableLikelihood, Likelihood};
use crate::posterior::{Posterior, Terms};

/// The log likelihood of a posterior with `terms` added, as a density over z, or over some of z.
pub struct Objective<'a, L> {
    pub(super) posterior: &'a Posterior<L>,
    pub(super) terms: Terms,
    /// The indices of z that move, and a z from which the rest is taken; all move where there is none.
    held: Option<(Vec<usize>, Vec<f64>)>,
}

impl<'a, L: Likelihood> Objective<'a, L> {
    pub(crate) fn new(posterior: &'a Posterior<L>, terms: Terms) -> Self {
        Self {
            posterior,
            terms,
            held: None,
        }
    }

    /// Lets only the numbers `free` of z move.
    pub(crate) fn holding(posterior: &'a Posterior<L>, terms: Terms, free: Vec<usize>, z: Vec<f64>) -> Self {
        Self {
            posterior,
            terms,
            held: Some((free, z)),
        }
    }

    /// All of z, those that are held included.
    pub(crate) fn whole(&self, z: &[f64]) -> Vec<f64> {
        let Some((free, held)) = &self.held else {
            return z.to_vec();
        };
        let mut whole = held.clone();
        free.iter().zip(z).for_each(|(&index, &z)| whole[index] = z);
        whole
    }

    pub(crate) fn physical(&self, z: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; self.names().len()];
        self.to_physical(z, &mut x);
        x
    }
}

impl<L: Likelihood> Density for Objective<'_, L> {
    fn dim(&self) -> usize {
        let all = || self.posterior.dim();
        self.held.as_ref().map_or_else(all, |(free, _)| free.len())
    }

    fn names(&self) -> &[String] {
        self.posterior.names()
    }

    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        match self.terms {
            Terms::Likelihood => self.posterior.log_likelihood(&self.physical(z)),
            Terms::Physical => self.posterior.log_density_physical(&self.physical(z)),
            Terms::RealLine => self.posterior.log_density(&self.whole(z)),
        }
    }

    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        self.posterior.to_physical(&self.whole(z), x);
    }

    fn ln_jacobian(&self, z: &[f64]) -> f64 {
        self.posterior.ln_jacobian(&self.whole(z))
    }

    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        let z = self.posterior.initial(rng);
        match &self.held {
            Some((free, _)) => free.iter().map(|&index| z[index]).collect(),
            None => z,
        }
    }
}

impl<L: DifferentiableLikelihood> DifferentiableDensity for Objective<'_, L> {
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let Some((free, _)) = &self.held else {
            return self.posterior.objective(self.terms, z, gradient);
        };
        let mut all = vec![0.0; self.posterior.dim()];
        let value = self.posterior.objective(self.terms, &self.whole(z), &mut all)?;
        free.iter()
            .zip(gradient)
            .for_each(|(&index, gradient)| *gradient = all[index]);
        Ok(value)
    }
}

/// What one start came to. All values are those of the objective's negative, which falls.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Trace {
    /// The lowest value met, and where on the real line.
    pub(crate) best: Option<(f64, Vec<f64>)>,
    /// The value at the start and after each iteration.
    pub(crate) history: Vec<f64>,
    /// How it ended.
    pub(crate) status: String,
}

impl Trace {
    pub(super) fn note(&mut self, value: f64, z: &[f64]) {
        if value.is_finite() && self.best.as_ref().is_none_or(|(best, _)| value < *best) {
            self.best = Some((value, z.to_vec()));
        }
    }

    /// The lowest value met; infinite before the first.
    pub(super) fn lowest(&self) -> f64 {
        self.best.as_ref().map_or(f64::INFINITY, |(best, _)| *best)
    }
}
