//! Walk downhill along a curvature learnt on the way.

use std::cell::RefCell;

use argmin::core::{CostFunction, Error, Gradient, IterState, Problem, Solver, State, TerminationStatus};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use serde::{Deserialize, Serialize};

use super::Optimiser;
use super::laplace::{self, Derivatives};
use super::objective::Trace;
use super::walk::{Ground, Walk, finite};
use crate::error::{EvalError, SampleError};
use crate::likelihood::DifferentiableLikelihood;

/// L-BFGS (Liu & Nocedal 1989, doi:10.1007/BF01589116) with the line search of Moré & Thuente (1994,
/// doi:10.1145/192115.192132), as implemented by argmin, on the real line. It needs a gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lbfgs {
    /// The most iterations; each takes one gradient or a few.
    pub iterations: usize,
    /// How many past steps shape the curvature.
    pub memory: usize,
}

impl Default for Lbfgs {
    fn default() -> Self {
        Self {
            iterations: 200,
            memory: 10,
        }
    }
}

/// An iteration that gains less than this many nats is the last. Statistically nothing, but within reach
/// of a likelihood in single precision.
pub(super) const LEAST_GAIN: f64 = 1e-7;
/// A gradient below this many nats per unit of z is none.
const LEAST_GRADIENT: f64 = 1e-6;

/// Far more past steps than help; memory for all of them is reserved.
const MOST_MEMORY: usize = 10_000;

#[derive(Clone, Serialize, Deserialize)]
struct Point {
    z: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

type Search = MoreThuenteLineSearch<Vec<f64>, Vec<f64>, f64>;
type Iteration = IterState<Vec<f64>, Vec<f64>, (), (), (), f64>;

/// L-BFGS between two iterations.
#[derive(Serialize, Deserialize)]
pub struct LbfgsState {
    solver: LBFGS<Search, Vec<f64>, Vec<f64>, f64>,
    /// Taken out while an iteration is made.
    iteration: Option<Iteration>,
    scale: f64,
    last: Option<Point>,
}

/// The objective as argmin wants it, in units of its first gradient, so that the first step is no longer
/// than the prior is wide. Value and gradient are asked for separately at the same point: the last one is
/// remembered.
struct Scaled<'a, 'b, 'c, L> {
    ground: &'a Ground<'b, 'c, L>,
    scale: f64,
    last: RefCell<Option<Point>>,
    trace: RefCell<&'a mut Trace>,
    fatal: RefCell<Option<String>>,
}

impl<L: DifferentiableLikelihood> Scaled<'_, '_, '_, L> {
    fn at(&self, z: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        if let Some(last) = &*self.last.borrow()
            && last.z == z
        {
            return Ok((last.value, last.gradient.clone()));
        }
        let mut gradient = vec![0.0; z.len()];
        let value = match self.ground.slope(z, &mut gradient) {
            Ok(value) if value.is_finite() => {
                self.trace.borrow_mut().note(value, z);
                value
            }
            Err(EvalError::Fatal(message)) => {
                *self.fatal.borrow_mut() = Some(message.clone());
                return Err(Error::msg(message));
            }
            // A wall, high enough to turn back from and low enough to interpolate against.
            _ => {
                gradient.fill(0.0);
                let best = self.trace.borrow().best.as_ref().map_or(0.0, |(best, _)| *best);
                best + 100.0 * (1.0 + best.abs())
            }
        };
        gradient.iter_mut().for_each(|g| *g /= self.scale);
        let value = value / self.scale;
        *self.last.borrow_mut() = Some(Point {
            z: z.to_vec(),
            value,
            gradient: gradient.clone(),
        });
        Ok((value, gradient))
    }
}

impl<L: DifferentiableLikelihood> CostFunction for &Scaled<'_, '_, '_, L> {
    type Param = Vec<f64>;
    type Output = f64;
    fn cost(&self, z: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.at(z)?.0)
    }
}

impl<L: DifferentiableLikelihood> Gradient for &Scaled<'_, '_, '_, L> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;
    fn gradient(&self, z: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.at(z)?.1)
    }
}

impl<L: DifferentiableLikelihood> Optimiser<L> for Lbfgs {}

impl<L: DifferentiableLikelihood> Walk<L> for Lbfgs {
    type State = LbfgsState;
    type Fallback = Self;

    const NAME: &'static str = "L-BFGS";

    fn iterations(&self) -> usize {
        self.iterations
    }

    fn check(&self) -> Result<(), SampleError> {
        if self.iterations == 0 || self.memory == 0 {
            return Err(SampleError::Invalid(format!(
                "{self:?}: iterations and memory must be positive"
            )));
        }
        if self.memory > MOST_MEMORY {
            return Err(SampleError::Invalid(format!(
                "{self:?}: memory is more than {MOST_MEMORY} steps: ask for fewer"
            )));
        }
        Ok(())
    }

    fn begin(
        &self,
        ground: &Ground<'_, '_, L>,
        z: Vec<f64>,
        trace: &mut Trace,
    ) -> Result<LbfgsState, EvalError> {
        let mut gradient = vec![0.0; z.len()];
        let value = finite(ground.slope(&z, &mut gradient)?)?;
        trace.note(value, &z);
        trace.history.push(value);
        let scale = gradient.iter().map(|g| g * g).sum::<f64>().sqrt().max(1.0);
        gradient.iter_mut().for_each(|g| *g /= scale);
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), self.memory)
            .with_tolerance_grad(LEAST_GRADIENT / scale)
            .and_then(|solver| solver.with_tolerance_cost(LEAST_GAIN / scale))
            // It refuses negative tolerances only.
            .map_err(|error| EvalError::Fatal(error.to_string()))?;
        let iteration = IterState::new()
            .param(z.clone())
            .max_iters(self.iterations as u64);
        Ok(LbfgsState {
            solver,
            iteration: Some(iteration),
            scale,
            last: Some(Point {
                z,
                value: value / scale,
                gradient,
            }),
        })
    }

    /// argmin's executor keeps neither the point nor the history of a walk that fails: hence it is driven
    /// from here.
    fn advance(
        &self,
        ground: &Ground<'_, '_, L>,
        state: &mut LbfgsState,
        trace: &mut Trace,
    ) -> Result<bool, EvalError> {
        let Some(iteration) = state.iteration.take() else {
            return Ok(true);
        };
        let scaled = Scaled {
            ground,
            scale: state.scale,
            last: RefCell::new(state.last.take()),
            trace: RefCell::new(trace),
            fatal: RefCell::default(),
        };
        let moved = self.iterate(&scaled, &mut state.solver, iteration);
        state.last = scaled.last.into_inner();
        if let Some(message) = scaled.fatal.into_inner() {
            return Err(EvalError::Fatal(message));
        }
        let reason = match moved {
            Ok((iteration, reason)) => {
                state.iteration = iteration;
                reason
            }
            Err(error) => Some(error.to_string()),
        };
        let ended = reason.is_some();
        trace.status = reason.unwrap_or_default();
        Ok(ended)
    }

    fn derivatives(ground: &Ground<'_, '_, L>, z: &[f64]) -> Result<Derivatives, EvalError> {
        laplace::by_gradients(ground, z)
    }
}

impl Lbfgs {
    /// One iteration, and why it was the last, if it was.
    fn iterate<L: DifferentiableLikelihood>(
        &self,
        scaled: &Scaled<'_, '_, '_, L>,
        solver: &mut LBFGS<Search, Vec<f64>, Vec<f64>, f64>,
        mut iteration: Iteration,
    ) -> Result<(Option<Iteration>, Option<String>), Error> {
        let mut problem = Problem::new(scaled);
        if iteration.get_iter() == 0 {
            iteration = solver.init(&mut problem, iteration)?.0;
            iteration.update();
            if let Some(reason) = ended(solver, &problem, &iteration) {
                return Ok((None, Some(reason)));
            }
        }
        (iteration, _) = solver.next_iter(&mut problem, iteration)?;
        // After a failed line search the state holds no point: it must not be asked for anything.
        if let Some(reason) = iteration.get_termination_reason() {
            return Ok((None, Some(reason.text().to_owned())));
        }
        iteration.update();
        iteration.increment_iter();
        scaled
            .trace
            .borrow_mut()
            .history
            .push(iteration.get_cost() * scaled.scale);
        let reason = ended(solver, &problem, &iteration);
        Ok((Some(iteration), reason))
    }
}

/// Names the types that `terminate_internal` leaves open.
fn ended<O, S: Solver<O, I>, I: State>(solver: &mut S, _problem: &Problem<O>, state: &I) -> Option<String> {
    match solver.terminate_internal(state) {
        TerminationStatus::Terminated(reason) => Some(reason.text().to_owned()),
        TerminationStatus::NotTerminated => None,
    }
}
