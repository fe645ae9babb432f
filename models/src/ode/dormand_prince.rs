//! Solve in steps as long as an error allows (Dormand & Prince 1980).
//!
//! The step follows Hairer, Nørsett & Wanner (1993, *Solving Ordinary Differential Equations I*, II.4): a
//! proportional–integral controller, and a first step from the sizes of the state and of its first two derivatives.

use super::{
    Counted, Solution,
    dense::{Asked, Interpolant},
    tableau::{DIFFERENCE, DORMAND_PRINCE, INTERPOLANT, Tableau},
};
use crate::error::{ModelError, Result};

/// More attempts mean that the equation is stiff or the tolerance out of reach.
const MOST: usize = 100_000;

/// How much of the longest allowed step is taken.
const SAFETY: f64 = 0.9;

/// The weight of the error of the step before.
const INTEGRAL: f64 = 0.04;

/// How much shorter, and longer, the next step may be.
const CHANGE: [f64; 2] = [0.2, 10.0];

/// The largest allowed error of a number: `absolute + relative |x|`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    pub(super) relative: f64,
    pub(super) absolute: f64,
}

impl Tolerance {
    /// Root mean square of `values` over the whole batch, in units of what is allowed where the state is of size `size`.
    /// Summed in order, so that it does not depend on threads.
    fn norm(self, values: impl Iterator<Item = f64>, size: impl Iterator<Item = f64>) -> f64 {
        let (mut sum, mut count) = (0.0, 0usize);
        for (value, size) in values.zip(size) {
            let scaled = value / (self.absolute + self.relative * size);
            sum += scaled * scaled;
            count += 1;
        }
        (sum / count.max(1) as f64).sqrt()
    }

    /// A first step from `t`, signed like `span`: the error of Euler's method over it is about 1 %.
    fn first_step(self, field: &mut Counted, x: &[f64], rate: &[f64], t: f64, span: f64) -> Result<f64> {
        let norm = |values: &[f64]| self.norm(values.iter().copied(), x.iter().map(|x| x.abs()));
        let (size, speed) = (norm(x), norm(rate));
        let guess = if size < 1e-5 || speed < 1e-5 {
            1e-6
        } else {
            0.01 * size / speed
        };
        let guess = guess.min(0.5 * span.abs()).copysign(span);
        let there: Vec<f64> = x.iter().zip(rate).map(|(x, k)| x + guess * k).collect();
        let next = field.at(t + guess, &there)?;
        let change: Vec<f64> = next.iter().zip(rate).map(|(a, b)| a - b).collect();
        let bend = norm(&change) / guess.abs();
        let most = speed.max(bend);
        let step = if most <= 1e-15 {
            (guess.abs() * 1e-3).max(1e-6)
        } else {
            (0.01 / most).powf(0.2)
        };
        Ok(step.min(100.0 * guess.abs()).min(span.abs()).copysign(span))
    }
}

/// From `span[0]` to `span[1]` within `tolerance`.
pub(super) fn solve(
    tolerance: Tolerance,
    field: &mut Counted,
    mut x: Vec<f64>,
    span: [f64; 2],
    asked: &mut Asked,
) -> Result<Solution> {
    let [mut t, to] = span;
    asked.meet(t, &x);
    let (mut steps, mut rejected) = (0, 0);
    if t == to {
        return Ok(Solution::unmoved(x));
    }
    let mut rate = field.at(t, &x)?;
    let mut h = tolerance.first_step(field, &x, &rate, t, to - t)?;
    let (mut previous, mut again) = (1e-4f64, false);
    while t != to {
        if steps + rejected == MOST {
            return Err(ModelError::Solver(format!(
                "{MOST} steps of Dormand and Prince's method lead only from t = {} to {t}: the equation is stiff; allow a \
                 larger error, or take a method with equal steps",
                span[0]
            )));
        }
        // A step that leaves next to nothing goes to the end.
        let last = (t + 1.01 * h - to) * h.signum() >= 0.0;
        let end = if last { to } else { t + h };
        h = end - t;
        if h.abs() <= 16.0 * f64::EPSILON * t.abs() || h == 0.0 {
            return Err(ModelError::Solver(format!(
                "no step at t = {t} is short enough for a relative error of {:e} and an absolute one of {:e}: the solution \
                 may be singular there; allow larger errors, or stop before",
                tolerance.relative, tolerance.absolute
            )));
        }
        let mut k = DORMAND_PRINCE.stages(&x, [t, end], Some(rate), |x, t| field.at(t, x))?;
        // Where the last stage stands.
        let there = Tableau::combine(&x, h, DORMAND_PRINCE.b, &k);
        let error = Tableau::combine(&vec![0.0; x.len()], h, &DIFFERENCE, &k);
        let sizes = x.iter().zip(&there).map(|(a, b)| a.abs().max(b.abs()));
        let error = tolerance.norm(error.into_iter(), sizes);
        let proportional = error.powf(0.2 - 0.75 * INTEGRAL) / SAFETY;
        if error <= 1.0 {
            steps += 1;
            let [shorter, longer] = CHANGE;
            let longer = if again { 1.0 } else { longer };
            let factor = (previous.powf(INTEGRAL) / proportional).clamp(shorter, longer);
            (previous, again) = (error.max(1e-4), false);
            if asked.before(end) {
                asked.pass(&Interpolant {
                    times: [t, end],
                    states: [&x, &there],
                    rates: [&k[0], &k[6]],
                    fourth: Tableau::combine(&vec![0.0; x.len()], h, &INTERPOLANT, &k),
                });
            }
            rate = k.swap_remove(6);
            x = there;
            t = end;
            h *= factor;
            asked.meet(t, &x);
        } else {
            rejected += 1;
            again = true;
            rate = k.swap_remove(0);
            // An error that is not a number rejects, too: its maximum is 0.2.
            h *= (1.0 / proportional).max(CHANGE[0]);
        }
    }
    Ok(Solution {
        x,
        evaluations: field.evaluations,
        steps,
        rejected,
    })
}
