//! Solve the flow of the predicted data exactly but for their change, in the log signal-to-noise ratio: DPM-Solver++(2M)
//! (Lu et al. 2022, arXiv 2211.01095).

use super::walk::Walk;
use crate::{
    error::Result,
    path::{Point, Target},
};

/// From `noise` to data, in equal steps of `λ = ln(α/σ)`, and from the last to the predicted data.
pub(super) fn solve(walk: &mut Walk, noise: Vec<f64>) -> Result<Vec<f64>> {
    let points = walk.levels(|high, low, place| high * (low / high).powf(place));
    let lambda = |p: &Point| (p.alpha / p.sigma).ln();
    let mut x = walk.begin(noise, points[0].t);
    // The data that the step before predicted, and its length.
    let mut before: Option<(Vec<f64>, f64)> = None;
    for pair in points.windows(2) {
        let [s, t] = [&pair[0], &pair[1]];
        let h = lambda(t) - lambda(s);
        let data = walk.predict_as(Target::Data, &x, s.t)?;
        let (of_x, of_data) = (t.sigma / s.sigma, -t.alpha * (-h).exp_m1());
        match &before {
            None => x
                .iter_mut()
                .zip(&data)
                .for_each(|(x, d)| *x = of_x * *x + of_data * d),
            Some((last, length)) => {
                let ahead = 0.5 * h / length;
                for ((x, d), last) in x.iter_mut().zip(&data).zip(last) {
                    *x = of_x * *x + of_data * (d + ahead * (d - last));
                }
            }
        }
        before = Some((data, h));
    }
    let last = points[points.len() - 1].t;
    walk.predict_as(Target::Data, &x, last)
}
