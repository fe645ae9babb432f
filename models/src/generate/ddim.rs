//! Go to the next level along the predicted noise, with some of it drawn anew (Song et al. 2021, arXiv 2010.02502).

use super::walk::{Walk, quadratically, transition};
use crate::{
    error::{ModelError, Result},
    path::Target,
};

/// From `noise` to data; at the last step σ = 0, and the example is the predicted one.
pub(super) fn solve(walk: &mut Walk, noise: Vec<f64>, eta: f64) -> Result<Vec<f64>> {
    if !(0.0..=1.0).contains(&eta) {
        let what = format!("the eta of DDIM lies between 0 (no noise) and 1 (that of DDPM), not {eta}");
        return Err(ModelError::Invalid(what));
    }
    let times = walk.grid(quadratically)?;
    let mut x = walk.begin(noise, times[0]);
    for pair in times.windows(2) {
        let [t, s] = [walk.at(pair[0]), walk.at(pair[1])];
        let [_, added] = transition(&s, &t);
        let anew = eta * added.sqrt() * s.sigma / t.sigma;
        let kept = (s.sigma * s.sigma - anew * anew).max(0.0).sqrt();
        let data = walk.predict_as(Target::Data, &x, t.t)?;
        for (x, data) in x.iter_mut().zip(data) {
            let noise = (*x - t.alpha * data) / t.sigma;
            *x = s.alpha * data + kept * noise;
        }
        walk.add_noise(&mut x, anew);
    }
    Ok(x)
}
