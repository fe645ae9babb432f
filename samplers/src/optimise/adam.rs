//! Walk downhill with a step for each parameter.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::Optimiser;
use super::laplace::{self, Derivatives};
use super::objective::Trace;
use super::walk::{Ground, Walk, finite};
use super::{Lbfgs, walk};
use crate::error::{EvalError, SampleError};
use crate::likelihood::DifferentiableLikelihood;

/// Adam (Kingma & Ba 2015, arXiv 1412.6980) on the real line, with gradients clipped to a norm. It needs a
/// gradient, and uses up all its iterations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Gradients to take.
    pub iterations: usize,
    /// The first learning rate, on the real line, where priors have a width of order one.
    pub learning_rate: f64,
    /// How the learning rate goes on.
    pub schedule: Schedule,
    /// Longer gradients are shortened to this norm.
    pub max_norm: f64,
}

/// How a learning rate goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// As it began.
    Constant,
    /// Down to zero along half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983).
    Cosine,
}

impl Schedule {
    /// The fraction of the first learning rate at `iteration` of `iterations`.
    fn at(self, iteration: usize, iterations: usize) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine => 0.5 * (1.0 + (PI * iteration as f64 / iterations as f64).cos()),
        }
    }
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            iterations: 500,
            learning_rate: 0.05,
            schedule: Schedule::Cosine,
            max_norm: 10.0,
        }
    }
}

/// The constants of the paper.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// So many failed points end a start: each halves the learning rate, to a millionth by then.
const MOST_FAILURES: usize = 20;

/// The running moments of a gradient: what Adam remembers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Momenta {
    first: Vec<f64>,
    second: Vec<f64>,
    age: i32,
    /// How much of the squares stays from one gradient to the next.
    memory: f64,
}

impl Momenta {
    pub(crate) fn new(dim: usize, memory: f64) -> Self {
        Self {
            memory,
            first: vec![0.0; dim],
            second: vec![0.0; dim],
            age: 0,
        }
    }

    /// Takes in a gradient, shortened to `max_norm`, and moves `z` against it.
    pub(crate) fn descend(&mut self, z: &mut [f64], gradient: &[f64], rate: f64, max_norm: f64) {
        self.age += 1;
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let clip = (max_norm / norm).min(1.0);
        let correct1 = 1.0 - BETA1.powi(self.age);
        let correct2 = 1.0 - self.memory.powi(self.age);
        let momenta = self.first.iter_mut().zip(&mut self.second);
        for ((z, gradient), (first, second)) in z.iter_mut().zip(gradient).zip(momenta) {
            let g = clip * gradient;
            *first += (1.0 - BETA1) * (g - *first);
            *second += (1.0 - self.memory) * (g * g - *second);
            *z -= rate * (*first / correct1) / ((*second / correct2).sqrt() + EPSILON);
        }
    }
}

/// Adam between two iterations.
#[derive(Serialize, Deserialize)]
pub struct AdamState {
    z: Vec<f64>,
    gradient: Vec<f64>,
    momenta: Momenta,
    rate: f64,
    iteration: usize,
    failures: usize,
}

impl<L: DifferentiableLikelihood> Optimiser<L> for Adam {}

impl<L: DifferentiableLikelihood> Walk<L> for Adam {
    type State = AdamState;
    type Fallback = Lbfgs;

    const NAME: &'static str = "Adam";

    fn iterations(&self) -> usize {
        self.iterations
    }

    fn check(&self) -> Result<(), SampleError> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        if self.iterations == 0 || !positive(self.learning_rate) || !positive(self.max_norm) {
            let message = format!("{self:?}: iterations, learning_rate and max_norm must be positive");
            return Err(SampleError::Invalid(message));
        }
        Ok(())
    }

    fn begin(
        &self,
        ground: &Ground<'_, '_, L>,
        z: Vec<f64>,
        trace: &mut Trace,
    ) -> Result<AdamState, EvalError> {
        let mut gradient = vec![0.0; z.len()];
        let value = finite(ground.slope(&z, &mut gradient)?)?;
        trace.note(value, &z);
        trace.history.push(value);
        Ok(AdamState {
            momenta: Momenta::new(z.len(), BETA2),
            z,
            gradient,
            rate: self.learning_rate,
            iteration: 0,
            failures: 0,
        })
    }

    fn advance(
        &self,
        ground: &Ground<'_, '_, L>,
        state: &mut AdamState,
        trace: &mut Trace,
    ) -> Result<bool, EvalError> {
        let rate = state.rate * self.schedule.at(state.iteration, self.iterations);
        state.iteration += 1;
        state
            .momenta
            .descend(&mut state.z, &state.gradient, rate, self.max_norm);
        let value = match ground.slope(&state.z, &mut state.gradient) {
            Ok(value) if value.is_finite() => value,
            Err(EvalError::Fatal(message)) => return Err(EvalError::Fatal(message)),
            failed => {
                state.failures += 1;
                let Some((_, best)) = trace.best.as_ref().filter(|_| state.failures < MOST_FAILURES) else {
                    let reason = failed.map_or_else(|error| error.to_string(), |_| "outside".into());
                    trace.status = format!("stopped where the likelihood failed: {reason}");
                    return Ok(true);
                };
                // Back to solid ground, with shorter steps and no memory of the way there.
                state.z.clone_from(best);
                state.rate *= 0.5;
                state.momenta = Momenta::new(state.z.len(), BETA2);
                finite(ground.slope(&state.z, &mut state.gradient)?)?;
                return Ok(false);
            }
        };
        trace.note(value, &state.z);
        trace.history.push(value);
        if state.iteration == self.iterations {
            trace.status = walk::spent(self.iterations);
        }
        Ok(state.iteration == self.iterations)
    }

    fn derivatives(ground: &Ground<'_, '_, L>, z: &[f64]) -> Result<Derivatives, EvalError> {
        laplace::by_gradients(ground, z)
    }
}
