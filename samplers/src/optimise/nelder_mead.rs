//! Walk downhill by values alone, with a simplex that turns over and over.

use std::cell::RefCell;

use argmin::core::{CostFunction, Error, IterState, Problem, Solver, State, TerminationStatus};
use argmin::solver::neldermead;
use serde::{Deserialize, Serialize};

use super::Optimiser;
use super::laplace::{self, Derivatives};
use super::lbfgs::LEAST_GAIN;
use super::objective::Trace;
use super::walk::{Ground, Walk, finite};
use crate::error::{EvalError, SampleError};
use crate::likelihood::Likelihood;

/// The simplex of Nelder & Mead (1965, doi:10.1093/comjnl/7.4.308), as implemented by argmin, on the real
/// line: no gradient is needed. It suits up to about ten parameters.
///
/// A simplex can collapse where there is no optimum (McKinnon 1998, doi:10.1137/S1052623496303482), so a new
/// one is put about the point that one has come to, until that gains nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NelderMead {
    /// The most iterations, over all simplices; each takes one or two values, seldom one per parameter.
    pub iterations: usize,
    /// The edges of the first simplex, on the real line, where priors have a width of order one.
    pub size: f64,
}

impl Default for NelderMead {
    fn default() -> Self {
        Self {
            iterations: 2000,
            size: 0.5,
        }
    }
}

/// A new simplex that gains less than this many nats was the last: a tenth of what an optimum may lack.
const LEAST_RESTART_GAIN: f64 = 1e-4;
/// Each simplex begins with edges shorter by this factor than the one before.
const SHRINK: f64 = 0.3;

type Simplex = neldermead::NelderMead<Vec<f64>, f64>;

/// Nelder–Mead between two iterations.
#[derive(Serialize, Deserialize)]
pub struct NelderMeadState {
    simplex: Simplex,
    /// The edges the simplex began with, and the value.
    size: f64,
    from: f64,
}

/// The objective as argmin wants it.
struct Heights<'a, 'b, 'c, L> {
    ground: &'a Ground<'b, 'c, L>,
    trace: RefCell<&'a mut Trace>,
    fatal: RefCell<Option<String>>,
}

impl<L: Likelihood> CostFunction for &Heights<'_, '_, '_, L> {
    type Param = Vec<f64>;
    type Output = f64;

    /// Never an error, of which argmin makes a panic: what fails is infinitely high.
    fn cost(&self, z: &Vec<f64>) -> Result<f64, Error> {
        if self.fatal.borrow().is_some() {
            return Ok(f64::INFINITY);
        }
        match self.ground.height(z) {
            Ok(value) => {
                self.trace.borrow_mut().note(value, z);
                Ok(value)
            }
            Err(EvalError::Recoverable(_)) => Ok(f64::INFINITY),
            Err(EvalError::Fatal(message)) => {
                *self.fatal.borrow_mut() = Some(message);
                Ok(f64::INFINITY)
            }
        }
    }
}

impl<L: Likelihood> Heights<'_, '_, '_, L> {
    /// A simplex with a corner at `z`, the others towards the middle of the real line.
    fn simplex(&self, z: &[f64], size: f64) -> Result<Simplex, EvalError> {
        let mut corners = vec![z.to_vec()];
        for index in 0..z.len() {
            let mut corner = z.to_vec();
            corner[index] += if z[index] > 0.0 { -size } else { size };
            corners.push(corner);
        }
        let mut simplex = Simplex::new(corners)
            .with_sd_tolerance(LEAST_GAIN)
            // It refuses negative tolerances only.
            .map_err(|error| EvalError::Fatal(error.to_string()))?;
        let begun = simplex.init(&mut Problem::new(self), IterState::new());
        self.checked(begun.map(|_| ()))?;
        Ok(simplex)
    }

    fn checked(&self, done: Result<(), Error>) -> Result<(), EvalError> {
        if let Some(message) = self.fatal.borrow().clone() {
            return Err(EvalError::Fatal(message));
        }
        done.map_err(|error| EvalError::Fatal(error.to_string()))
    }
}

impl<L: Likelihood> Optimiser<L> for NelderMead {}

impl<L: Likelihood> Walk<L> for NelderMead {
    type State = NelderMeadState;
    type Fallback = Self;

    const NAME: &'static str = "Nelder–Mead";

    fn iterations(&self) -> usize {
        self.iterations
    }

    fn check(&self) -> Result<(), SampleError> {
        if self.iterations == 0 || !(self.size > 0.0 && self.size.is_finite()) {
            let message = format!("{self:?}: iterations and size must be positive");
            return Err(SampleError::Invalid(message));
        }
        Ok(())
    }

    fn begin(
        &self,
        ground: &Ground<'_, '_, L>,
        z: Vec<f64>,
        trace: &mut Trace,
    ) -> Result<NelderMeadState, EvalError> {
        // Its first corner must be on solid ground; the simplex asks for it again.
        let value = finite(ground.height(&z)?)?;
        trace.note(value, &z);
        trace.history.push(value);
        let heights = Heights {
            ground,
            trace: RefCell::new(trace),
            fatal: RefCell::default(),
        };
        Ok(NelderMeadState {
            simplex: heights.simplex(&z, self.size)?,
            size: self.size,
            from: value,
        })
    }

    fn advance(
        &self,
        ground: &Ground<'_, '_, L>,
        state: &mut NelderMeadState,
        trace: &mut Trace,
    ) -> Result<bool, EvalError> {
        let heights = Heights {
            ground,
            trace: RefCell::new(trace),
            fatal: RefCell::default(),
        };
        let mut problem = Problem::new(&heights);
        let moved = state.simplex.next_iter(&mut problem, IterState::new());
        let collapsed = match &moved {
            Ok((iteration, _)) => matches!(
                terminated(&mut state.simplex, &problem, iteration),
                TerminationStatus::Terminated(_)
            ),
            Err(_) => false,
        };
        heights.checked(moved.map(|_| ()))?;
        let (lowest, best) = {
            let trace = heights.trace.borrow();
            (
                trace.lowest(),
                trace.best.as_ref().map_or_else(Vec::new, |(_, z)| z.clone()),
            )
        };
        heights.trace.borrow_mut().history.push(lowest);
        if !collapsed {
            return Ok(false);
        }
        // The first simplex has nothing to compare with.
        if state.size < self.size && state.from - lowest < LEAST_RESTART_GAIN {
            heights.trace.borrow_mut().status = "a new simplex gains nothing".into();
            return Ok(true);
        }
        state.size *= SHRINK;
        state.from = lowest;
        state.simplex = heights.simplex(&best, state.size)?;
        Ok(false)
    }

    fn derivatives(ground: &Ground<'_, '_, L>, z: &[f64]) -> Result<Derivatives, EvalError> {
        laplace::by_values(ground, z)
    }
}

/// Names the types that `terminate` leaves open.
fn terminated<O, S: Solver<O, I>, I>(solver: &mut S, _problem: &Problem<O>, state: &I) -> TerminationStatus
where
    I: State,
{
    solver.terminate(state)
}
