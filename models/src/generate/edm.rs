//! Solve `dy/dσ = (y − D)/σ` by Heun's method, with short steps near the data (Karras et al. 2022, arXiv 2206.00364).
//!
//! On any path `y = x/α` meets the noise level σ/α, which is their σ; `D` is the predicted data.

use super::walk::Walk;
use crate::{
    error::{ModelError, Result},
    path::{Point, Target},
};

/// How much shorter steps are near the data: their ρ.
const RHO: f64 = 7.0;

/// From `noise` to data, in levels from the largest to the smallest, and from there to 0.
///
/// Before each step noise is added that raises the level by the factor `1 + min(churn/steps, √2 − 1)`, where the path
/// reaches so far.
pub(super) fn solve(walk: &mut Walk, noise: Vec<f64>, churn: f64) -> Result<Vec<f64>> {
    if !(churn.is_finite() && churn >= 0.0) {
        let what = format!("the churn of EDM is 0 or more, not {churn}");
        return Err(ModelError::Invalid(what));
    }
    let karras = |high: f64, low: f64, place: f64| {
        let [high, low] = [high, low].map(|level| level.powf(1.0 / RHO));
        (high + place * (low - high)).powf(RHO)
    };
    let points = walk.levels(karras);
    let raised = 1.0 + (churn / walk.steps as f64).min(std::f64::consts::SQRT_2 - 1.0);
    let mut y = noise;
    let first = level(&points[0]);
    y.iter_mut().for_each(|y| *y *= first);
    for (i, point) in points.iter().enumerate() {
        let from = walk.raise(&mut y, point, &points[0], raised);
        let slope = slope(walk, &y, &from)?;
        let Some(to) = points.get(i + 1) else {
            // To level 0, by Euler's method: the predicted data.
            let h = -level(&from);
            y.iter_mut().zip(slope).for_each(|(y, k)| *y += h * k);
            break;
        };
        let h = level(to) - level(&from);
        let there: Vec<f64> = y.iter().zip(&slope).map(|(y, k)| y + h * k).collect();
        let second = self::slope(walk, &there, to)?;
        for ((y, a), b) in y.iter_mut().zip(slope).zip(second) {
            *y += 0.5 * h * (a + b);
        }
    }
    Ok(y)
}

fn level(point: &Point) -> f64 {
    point.sigma / point.alpha
}

/// `(y − D)/σ`.
fn slope(walk: &mut Walk, y: &[f64], at: &Point) -> Result<Vec<f64>> {
    let x: Vec<f64> = y.iter().map(|y| at.alpha * y).collect();
    let data = walk.predict_as(Target::Data, &x, at.t)?;
    let level = level(at);
    Ok(y.iter().zip(data).map(|(y, d)| (y - d) / level).collect())
}

impl Walk<'_> {
    /// Adds noise until the level is `factor` times that of `point`, if that is below that of `highest`; where it is then.
    fn raise(&mut self, y: &mut [f64], point: &Point, highest: &Point, factor: f64) -> Point {
        let now = level(point);
        if factor == 1.0 || now * factor > level(highest) {
            return *point;
        }
        let to = self.at_level(now * factor);
        let raised = level(&to);
        self.add_noise(y, (raised * raised - now * now).max(0.0).sqrt());
        to
    }
}
