//! Draw examples: walk from noise to data with what a [`Predictor`] says on the way.
//!
//! Every solver works on every [`Path`](crate::path::Path) and with every [`Target`](crate::path::Target), in the path's own
//! α and σ. To add one, write a function of a `Walk` and name it in [`Solver`].
//!
//! Row `i` has random streams of its own under a key, so it begins in the same noise however many are drawn.

mod ddim;
mod ddpm;
mod dpm_solver;
mod edm;
mod euler_maruyama;
mod flow;
mod predictor_corrector;
mod solver;
#[cfg(test)]
mod tests;
mod walk;

use std::ops::Range;

pub use solver::Solver;

use crate::{
    error::{ModelError, Result},
    likelihoods::NoiseKey,
    predictor::Predictor,
};
use walk::Walk;

/// Examples, and what they took.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// One example after the other.
    pub values: Vec<f64>,
    /// How often the predictor was asked about the whole batch.
    pub evaluations: usize,
}

/// States on the way from noise to data.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    /// A batch for each asked time.
    pub states: Vec<Vec<f64>>,
    /// How often the predictor was asked about the whole batch.
    pub evaluations: usize,
}

/// `count` examples in `steps` steps of `solver`.
///
/// ```
/// use armilla_models::{ModelError, generate::{self, Solver}, path::{Path, Target}, predictor::Predictor};
/// /// Data N(2, 1): the best prediction is known.
/// struct Shifted;
/// impl Predictor for Shifted {
///     fn numbers(&self) -> usize { 1 }
///     fn path(&self) -> &Path { &Path::Linear }
///     fn target(&self) -> Target { Target::Data }
///     fn predict(&self, x: &[f64], t: f64) -> Result<Vec<f64>, ModelError> {
///         let a = (1.0 - t) / ((1.0 - t).powi(2) + t * t);
///         Ok(x.iter().map(|x| 2.0 + a * (x - 2.0 * (1.0 - t))).collect())
///     }
/// }
/// let drawn = generate::generate(&Shifted, 1000, Solver::Ddim { eta: 0.0 }, 50, 7)?;
/// let mean = drawn.values.iter().sum::<f64>() / 1000.0;
/// assert!((mean - 2.0).abs() < 0.15);
/// assert_eq!(drawn.evaluations, 50);
/// # Ok::<(), ModelError>(())
/// ```
///
/// # Errors
/// `Invalid` for no step, more than a chain has, a path or options out of range; `Solver` where a prediction is not finite or
/// Dormand and Prince's method does not come through; and those of the predictor.
pub fn generate(
    predictor: &dyn Predictor,
    count: usize,
    solver: Solver,
    steps: usize,
    key: NoiseKey,
) -> Result<Generated> {
    generate_rows(predictor, 0..count, solver, steps, key)
}

/// The examples `rows` of those that [`generate`] draws: many can be drawn in parts.
///
/// Where the predictor treats rows alone, parts are bit for bit the whole; except with [`Solver::Dopri5`] and [`Solver::PredictorCorrector`], whose steps look at
/// all rows of a batch.
///
/// # Errors
/// As [`generate`].
pub fn generate_rows(
    predictor: &dyn Predictor,
    rows: Range<usize>,
    solver: Solver,
    steps: usize,
    key: NoiseKey,
) -> Result<Generated> {
    let noise = noise(rows.clone(), predictor.numbers(), key);
    Walk::new(predictor, noise.len(), rows.start, steps, key)?.run(solver, noise)
}

/// The standard normal noise that [`generate_rows`] begins in.
pub fn noise(rows: Range<usize>, numbers: usize, key: NoiseKey) -> Vec<f64> {
    walk::starting_noise(rows, numbers, key)
}

/// One example from each row of `noise`, standard normal numbers.
///
/// `key` is for solvers that add noise on the way; it does not repeat [`noise`] of the same key. Rows are counted from 0:
/// parts of a batch need keys of their own where a solver adds noise.
///
/// # Errors
/// As [`generate`], and `Shape` where `noise` is not made of whole rows.
pub fn from_noise(
    predictor: &dyn Predictor,
    noise: Vec<f64>,
    solver: Solver,
    steps: usize,
    key: NoiseKey,
) -> Result<Generated> {
    Walk::new(predictor, noise.len(), 0, steps, key)?.run(solver, noise)
}

/// The states at `times`, from 1 (noise) falling to 0 (data), on the way of an ODE solver from `noise`.
///
/// Times before or after those that the path allows give the first state and the example.
///
/// # Errors
/// As [`from_noise`], and `Invalid` for solvers that do not follow the probability flow in t, and times out of order.
pub fn trajectory(
    predictor: &dyn Predictor,
    noise: Vec<f64>,
    solver: Solver,
    steps: usize,
    times: &[f64],
) -> Result<Trajectory> {
    let Some(method) = solver.method() else {
        return Err(ModelError::Invalid(format!(
            "trajectories are those of an ODE solver, not {solver}: take euler, midpoint, heun, rk4 or dopri5"
        )));
    };
    let mut walk = Walk::new(predictor, noise.len(), 0, steps, 0)?;
    let states = flow::through(&mut walk, noise, method, times)?;
    Ok(Trajectory {
        states,
        evaluations: walk.evaluations,
    })
}
