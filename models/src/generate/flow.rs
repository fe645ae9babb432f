//! Follow the probability flow `dx/dt = v` (Song et al. 2021, arXiv 2011.13456; Lipman et al. 2023, arXiv 2210.02747).

use super::walk::Walk;
use crate::{
    error::{ModelError, Result},
    ode::{self, Method},
    path::Target,
};

/// From `noise` to data.
pub(super) fn solve(walk: &mut Walk, noise: Vec<f64>, method: Method) -> Result<Vec<f64>> {
    let mut states = through(walk, noise, method, &[0.0])?;
    Ok(states.swap_remove(0))
}

/// The states at `times`, falling.
pub(super) fn through(
    walk: &mut Walk,
    noise: Vec<f64>,
    method: Method,
    times: &[f64],
) -> Result<Vec<Vec<f64>>> {
    if !times.is_sorted_by(|a, b| a >= b) || !times.iter().all(|t| (0.0..=1.0).contains(t)) {
        let what = format!("times of a trajectory fall from 1 to 0, and these do not: {times:?}");
        return Err(ModelError::Invalid(what));
    }
    let [start, end] = walk.ends();
    let x = walk.begin(noise, start);
    let on_the_way = times.partition_point(|t| *t >= end);
    let asked: Vec<f64> = times[..on_the_way].iter().map(|t| t.min(start)).collect();
    let steps = walk.steps;
    let mut field = |t: f64, x: &[f64]| walk.predict_as(Target::Velocity, x, t);
    let (solution, mut states) = ode::solve_through(&mut field, x, start, end, &asked, method, steps)?;
    let left = times.len() - on_the_way;
    if left > 0 {
        // The flow is singular at the data: what is predicted from next to them.
        let data = walk.predict_as(Target::Data, &solution.x, end)?;
        states.resize(times.len(), data);
    }
    Ok(states)
}
