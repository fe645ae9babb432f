//! Say what an optimiser is to those who drive it: a state, and an iteration that moves it downhill.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::laplace::Derivatives;
use super::objective::{Objective, Trace};
use crate::density::{Counted, Density, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::likelihood::{DifferentiableLikelihood, Likelihood};

/// What is walked on: the objective's negative, counted.
pub struct Ground<'a, 'b, L> {
    counted: &'a Counted<'a, Objective<'b, L>>,
}

impl<'a, 'b, L: Likelihood> Ground<'a, 'b, L> {
    pub(crate) fn new(counted: &'a Counted<'a, Objective<'b, L>>) -> Self {
        Self { counted }
    }

    /// The objective's negative.
    pub(super) fn height(&self, z: &[f64]) -> Result<f64, EvalError> {
        Ok(-self.counted.log_density(z)?)
    }
}

impl<L: DifferentiableLikelihood> Ground<'_, '_, L> {
    /// The objective's negative and the gradient of that.
    pub(super) fn slope(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let value = self.counted.value_and_gradient(z, gradient)?;
        gradient.iter_mut().for_each(|gradient| *gradient = -*gradient);
        Ok(-value)
    }
}

/// An optimiser, taken apart into its iterations. Outside this crate there are none.
#[doc(hidden)]
pub trait Walk<L: Likelihood>: Debug + Clone + Send + Sync {
    /// All that one iteration hands to the next.
    type State: Serialize + DeserializeOwned + Send;
    /// What finds another optimum near by, when one turns out to be none.
    type Fallback: Walk<L> + Default;

    /// Its name.
    const NAME: &'static str;

    /// The most iterations.
    fn iterations(&self) -> usize;

    /// Refuses settings that make no sense.
    fn check(&self) -> Result<(), SampleError>;

    /// Begins at `z`; an objective that is not finite there is a recoverable error.
    fn begin(
        &self,
        ground: &Ground<'_, '_, L>,
        z: Vec<f64>,
        trace: &mut Trace,
    ) -> Result<Self::State, EvalError>;

    /// Makes one iteration. Tells whether it was the last, with the reason in `trace.status`.
    fn advance(
        &self,
        ground: &Ground<'_, '_, L>,
        state: &mut Self::State,
        trace: &mut Trace,
    ) -> Result<bool, EvalError>;

    /// Value, gradient and Hessian of the objective's negative at `z`.
    fn derivatives(ground: &Ground<'_, '_, L>, z: &[f64]) -> Result<Derivatives, EvalError>;
}

/// Walks from `z` to the end at once, and tells whether that was an end of its own.
pub(crate) fn walk<L: Likelihood, O: Walk<L>>(
    optimiser: &O,
    ground: &Ground<'_, '_, L>,
    z: Vec<f64>,
) -> Result<(Trace, bool), EvalError> {
    let mut trace = Trace::default();
    let mut state = optimiser.begin(ground, z, &mut trace)?;
    for _ in 0..optimiser.iterations() {
        if optimiser.advance(ground, &mut state, &mut trace)? {
            return Ok((trace, true));
        }
    }
    Ok((trace, false))
}

pub(super) fn spent(iterations: usize) -> String {
    format!("took all {iterations} iterations")
}

/// A value to begin at.
pub(super) fn finite(value: f64) -> Result<f64, EvalError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(EvalError::Recoverable(format!("a log density of {}", -value)))
}
