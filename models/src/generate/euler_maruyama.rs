//! Solve the reverse equation `dx = (v − ½ g² s) dt + g dw` (Song et al. 2021, arXiv 2011.13456).

use super::walk::{Walk, evenly};
use crate::{
    error::Result,
    path::{Point, Target},
};

/// A path with less of the data than this in its noise would ask for infinite diffusion.
const NEXT_TO_NONE: f64 = 1e-3;

/// From `noise` to data; the last step is to the predicted data, without noise.
pub(super) fn solve(walk: &mut Walk, noise: Vec<f64>) -> Result<Vec<f64>> {
    let times = walk.grid(evenly)?;
    let mut x = walk.begin(noise, times[0]);
    let last = times.len() - 2;
    for pair in times[..=last].windows(2) {
        step(walk, &mut x, pair[0], pair[1])?;
    }
    walk.predict_as(Target::Data, &x, times[last])
}

/// One step of the reverse equation, from the time `from` to `to`.
pub(super) fn step(walk: &mut Walk, x: &mut [f64], from: f64, to: f64) -> Result<()> {
    let (point, h) = (walk.at(from), from - to);
    let diffusion = diffusion(&point, &walk.at(1.0));
    let [drift, score] = [Target::Velocity, Target::Score].map(|to| point.conversion(walk.target(), to));
    // Both follow from one prediction.
    let [of_x, of_prediction] = [0, 1].map(|i| -h * (drift[i] - 0.5 * diffusion * score[i]));
    let prediction = walk.predict(x, from)?;
    for (x, p) in x.iter_mut().zip(prediction) {
        *x += of_x * *x + of_prediction * p;
    }
    walk.add_noise(x, (diffusion * h).sqrt());
    Ok(())
}

/// `g²`: that of the path's forward equation, `2σ(σ′ − σα′/α)`. Any other leads to the same data; where α goes to 0 it is
/// that times α, which stays finite (Ma et al. 2024, arXiv 2401.08740: their w = σ on the straight path).
fn diffusion(point: &Point, noise: &Point) -> f64 {
    if noise.alpha < NEXT_TO_NONE {
        2.0 * point.sigma * (point.alpha * point.sigma_rate - point.alpha_rate * point.sigma)
    } else {
        point.forward_sde().1
    }
}
