//! Correct every step of the reverse equation by one of Langevin's (Song et al. 2021, arXiv 2011.13456).

use super::{
    euler_maruyama,
    walk::{Walk, evenly},
};
use crate::{error::Result, path::Target};

/// Ratio of a Langevin step's drift to its noise.
const SIGNAL_TO_NOISE: f64 = 0.16;

/// From `noise` to data; the last step is to the predicted data, without noise.
pub(super) fn solve(walk: &mut Walk, noise: Vec<f64>) -> Result<Vec<f64>> {
    let times = walk.grid(evenly)?;
    let mut x = walk.begin(noise, times[0]);
    let last = times.len() - 2;
    for pair in times[..=last].windows(2) {
        euler_maruyama::step(walk, &mut x, pair[0], pair[1])?;
        correct(walk, &mut x, pair[1])?;
    }
    walk.predict_as(Target::Data, &x, times[last])
}

/// `x + ε s + √(2ε) z`, with `ε = 2 (r |z|/|s|)²` from the mean squares of the noise (1) and of the batch's score.
fn correct(walk: &mut Walk, x: &mut [f64], t: f64) -> Result<()> {
    let score = walk.predict_as(Target::Score, x, t)?;
    let mean_square = score.iter().map(|s| s * s).sum::<f64>() / score.len().max(1) as f64;
    let sigma = walk.at(t).sigma;
    // No density on the path is narrower than σ, so that such a step is stable whatever the data.
    let step = (2.0 * SIGNAL_TO_NOISE * SIGNAL_TO_NOISE / mean_square).min(sigma * sigma);
    x.iter_mut().zip(score).for_each(|(x, s)| *x += step * s);
    walk.add_noise(x, (2.0 * step).sqrt());
    Ok(())
}
