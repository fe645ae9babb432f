//! Solve ordinary differential equations for whole batches, forwards or backwards in time.
//!
//! A state is a flat batch; the derivative of all its rows is asked for at once. Methods with equal steps are one loop over
//! their coefficients; Dormand and Prince's chooses its steps so that the error over the whole batch stays within a
//! tolerance.

mod dense;
mod dormand_prince;
mod fixed;
mod tableau;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};
use dense::Asked;
use dormand_prince::Tolerance;
pub(crate) use tableau::Tableau;

/// How a differential equation is solved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// First order, 1 evaluation a step.
    Euler,
    /// Second order, 2 evaluations a step.
    Midpoint,
    /// Second order by the trapezoidal rule, 2 evaluations a step.
    Heun,
    /// The classical method of fourth order, 4 evaluations a step.
    Rk4,
    /// Fifth order with steps of its own choice, 6 evaluations for each that it tries (Dormand & Prince 1980).
    DormandPrince {
        /// Allowed error, relative to the state.
        relative: f64,
        /// Allowed error, where the state is 0.
        absolute: f64,
    },
}

impl Method {
    /// Dormand and Prince's method with errors up to 1e-5.
    pub const DORMAND_PRINCE: Self = Self::DormandPrince {
        relative: 1e-5,
        absolute: 1e-5,
    };

    /// Its coefficients.
    pub(crate) fn tableau(self) -> &'static Tableau {
        match self {
            Self::Euler => &tableau::EULER,
            Self::Midpoint => &tableau::MIDPOINT,
            Self::Heun => &tableau::HEUN,
            Self::Rk4 => &tableau::RK4,
            Self::DormandPrince { .. } => &tableau::DORMAND_PRINCE,
        }
    }
}

/// Where a solution ends, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The state at the end.
    pub x: Vec<f64>,
    /// How often the derivative of the batch was asked for.
    pub evaluations: usize,
    /// Steps taken.
    pub steps: usize,
    /// Steps that were tried, and too long.
    pub rejected: usize,
}

impl Solution {
    fn unmoved(x: Vec<f64>) -> Self {
        Self {
            x,
            evaluations: 0,
            steps: 0,
            rejected: 0,
        }
    }
}

/// `dx/dt` of a time and a state.
pub type Derivative<'a> = dyn FnMut(f64, &[f64]) -> Result<Vec<f64>> + 'a;

/// A derivative, and how often it was asked for.
struct Counted<'a, 'b> {
    field: &'a mut Derivative<'b>,
    evaluations: usize,
}

impl Counted<'_, '_> {
    fn at(&mut self, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        self.evaluations += 1;
        let rate = (self.field)(t, x)?;
        if rate.len() != x.len() {
            let what = format!(
                "a derivative of {} numbers for a state of {}",
                rate.len(),
                x.len()
            );
            return Err(ModelError::shape("ode", what));
        }
        match rate.iter().position(|k| !k.is_finite()) {
            None => Ok(rate),
            Some(i) => Err(ModelError::Solver(format!(
                "the derivative of number {i} at t = {t} is {} (evaluation {}; the state there is {}): take shorter steps, \
                 or end before the singularity",
                rate[i], self.evaluations, x[i]
            ))),
        }
    }
}

/// Solves `dx/dt = field(t, x)` from the state `x` at `from` until `to`, which may lie before or after.
///
/// `steps` equal steps; [`Method::DormandPrince`] chooses its own and heeds none.
///
/// ```
/// use armilla_models::ode::{self, Method};
/// // Backwards from e at t = 1 to 1 at t = 0.
/// let mut field = |_: f64, x: &[f64]| Ok(x.to_vec());
/// let end = ode::solve(&mut field, vec![1f64.exp()], 1.0, 0.0, Method::Rk4, 20)?;
/// assert!((end.x[0] - 1.0).abs() < 1e-6);
/// assert_eq!(end.evaluations, 80);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
///
/// # Errors
/// `Invalid` for no step, a tolerance that is not positive, or times that are not finite; `Shape` for derivatives of
/// another length; `Solver` where a derivative is not finite, or no step of Dormand and Prince's is short enough, or too
/// many are needed; and those of `field`.
pub fn solve(
    field: &mut Derivative,
    x: Vec<f64>,
    from: f64,
    to: f64,
    method: Method,
    steps: usize,
) -> Result<Solution> {
    solve_through(field, x, from, to, &[], method, steps).map(|(solution, _)| solution)
}

/// As [`solve`], with the states at `times`, which lie between `from` and `to` in the solution's order.
///
/// Between equal steps a cubic with the right derivatives is read, whose error is of fourth order in the step. It needs the
/// derivative at the end of a step, with which the next begins, so it costs one evaluation within the last step and none
/// elsewhere. Dormand and Prince's method has an interpolant of fourth order that costs none.
///
/// # Errors
/// As [`solve`], and `Invalid` for times out of order or out of range.
pub fn solve_through(
    field: &mut Derivative,
    x: Vec<f64>,
    from: f64,
    to: f64,
    times: &[f64],
    method: Method,
    steps: usize,
) -> Result<(Solution, Vec<Vec<f64>>)> {
    if !from.is_finite() || !to.is_finite() {
        let what = format!("cannot solve from t = {from} to {to}: both must be finite");
        return Err(ModelError::Invalid(what));
    }
    let forward = to >= from;
    let ordered = |a: f64, b: f64| if forward { a <= b } else { a >= b };
    let mut before = from;
    for t in times {
        if !ordered(before, *t) || !ordered(*t, to) {
            return Err(ModelError::Invalid(format!(
                "states are read in order between t = {from} and {to}, and {t} follows {before}"
            )));
        }
        before = *t;
    }
    let mut asked = Asked::new(times, forward);
    let mut counted = Counted {
        field,
        evaluations: 0,
    };
    let solution = match method {
        Method::DormandPrince { relative, absolute } => {
            let positive = |tolerance: f64| tolerance.is_finite() && tolerance > 0.0;
            if !positive(relative) || !positive(absolute) {
                return Err(ModelError::Invalid(format!(
                    "allowed errors are positive: relative {relative}, absolute {absolute}"
                )));
            }
            let tolerance = Tolerance { relative, absolute };
            dormand_prince::solve(tolerance, &mut counted, x, [from, to], &mut asked)?
        }
        _ if steps == 0 => {
            let what = format!("{method:?} needs at least one step from t = {from} to {to}");
            return Err(ModelError::Invalid(what));
        }
        _ if from == to => {
            asked.meet(from, &x);
            Solution::unmoved(x)
        }
        _ => fixed::solve(method.tableau(), &mut counted, x, [from, to], steps, &mut asked)?,
    };
    Ok((solution, asked.states))
}
