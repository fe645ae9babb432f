//! Walk downhill along a curvature learnt on the way.

use std::cell::RefCell;

use argmin::core::{CostFunction, Error, Gradient, IterState, Problem, Solver, State, TerminationStatus};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

use super::{Objective, Trace};
use crate::error::{EvalError, SampleError};
use crate::likelihood::DifferentiableLikelihood;

/// L-BFGS (Liu & Nocedal 1989, doi:10.1007/BF01589116) with the line search of Moré & Thuente (1994,
/// doi:10.1145/192115.192132), as implemented by argmin, on the real line.
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
const LEAST_GAIN: f64 = 1e-7;
/// A gradient below this many nats per unit of z is none.
const LEAST_GRADIENT: f64 = 1e-6;

/// Far more past steps than help; memory for all of them is reserved.
const MOST_MEMORY: usize = 10_000;

struct Point {
    z: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// The objective as argmin wants it, in units of its first gradient, so that the first step is no longer
/// than the prior is wide. Value and gradient are asked for separately at the same point: the last one is
/// remembered.
struct Scaled<'a, L> {
    objective: &'a Objective<'a, L>,
    scale: f64,
    last: RefCell<Option<Point>>,
    trace: RefCell<Trace>,
}

impl<L: DifferentiableLikelihood> Scaled<'_, L> {
    fn at(&self, z: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        if let Some(last) = &*self.last.borrow()
            && last.z == z
        {
            return Ok((last.value, last.gradient.clone()));
        }
        let mut gradient = vec![0.0; z.len()];
        let value = match self.objective.value_and_gradient(z, &mut gradient) {
            Ok(value) if value.is_finite() => {
                self.trace.borrow_mut().note(value, z);
                value
            }
            Err(EvalError::Fatal(message)) => {
                self.trace.borrow_mut().fatal = Some(message.clone());
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

impl<L: DifferentiableLikelihood> CostFunction for &Scaled<'_, L> {
    type Param = Vec<f64>;
    type Output = f64;
    fn cost(&self, z: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.at(z)?.0)
    }
}

impl<L: DifferentiableLikelihood> Gradient for &Scaled<'_, L> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;
    fn gradient(&self, z: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.at(z)?.1)
    }
}

impl Lbfgs {
    pub(super) fn check(&self) -> Result<(), SampleError> {
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

    pub(super) fn minimise<L: DifferentiableLikelihood>(
        &self,
        objective: &Objective<'_, L>,
        z: Vec<f64>,
        report: impl Fn(usize, usize),
    ) -> Trace {
        let mut scaled = Scaled {
            objective,
            scale: 1.0,
            last: RefCell::default(),
            trace: RefCell::default(),
        };
        let status = scaled.at(&z).and_then(|(_, gradient)| {
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            scaled.scale = norm.max(1.0);
            scaled.last = RefCell::default();
            self.walk(&scaled, z, report)
        });
        let mut trace = scaled.trace.into_inner();
        trace.status = status.unwrap_or_else(|error| error.to_string());
        trace
    }

    /// argmin's executor keeps neither the point nor the history of a walk that fails: hence a loop here.
    fn walk<L: DifferentiableLikelihood>(
        &self,
        scaled: &Scaled<'_, L>,
        z: Vec<f64>,
        report: impl Fn(usize, usize),
    ) -> Result<String, Error> {
        let mut solver = LBFGS::new(MoreThuenteLineSearch::new(), self.memory)
            .with_tolerance_grad(LEAST_GRADIENT / scaled.scale)?
            .with_tolerance_cost(LEAST_GAIN / scaled.scale)?;
        let mut problem = Problem::new(scaled);
        let state: IterState<Vec<f64>, Vec<f64>, (), (), (), f64> =
            IterState::new().param(z).max_iters(self.iterations as u64);
        let (mut state, _) = solver.init(&mut problem, state)?;
        state.update();
        loop {
            scaled
                .trace
                .borrow_mut()
                .history
                .push(state.get_cost() * scaled.scale);
            if let Some(reason) = ended(&mut solver, &problem, &state) {
                return Ok(reason);
            }
            (state, _) = solver.next_iter(&mut problem, state)?;
            // After a failed line search the state holds no point: it must not be asked for anything.
            if let Some(reason) = state.get_termination_reason() {
                return Ok(reason.text().to_owned());
            }
            state.update();
            state.increment_iter();
            report(state.get_iter() as usize, self.iterations);
        }
    }
}

/// Names the types that `terminate_internal` leaves open.
fn ended<O, S: Solver<O, I>, I: State>(solver: &mut S, _problem: &Problem<O>, state: &I) -> Option<String> {
    match solver.terminate_internal(state) {
        TerminationStatus::Terminated(reason) => Some(reason.text().to_owned()),
        TerminationStatus::NotTerminated => None,
    }
}
