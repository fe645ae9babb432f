//! Draw each level from its posterior given the last one and the predicted data (Ho et al. 2020, arXiv 2006.11239).

use super::walk::{Walk, quadratically, transition};
use crate::{error::Result, path::Target};

/// From `noise` to data; at the last step σ = 0, and the example is the predicted one.
///
/// The variance is that of the posterior, Ho et al.'s `β̃`; with as many steps as a chain has the algorithm is theirs.
pub(super) fn solve(walk: &mut Walk, noise: Vec<f64>) -> Result<Vec<f64>> {
    let times = walk.grid(quadratically)?;
    let mut x = walk.begin(noise, times[0]);
    for pair in times.windows(2) {
        let [t, s] = [walk.at(pair[0]), walk.at(pair[1])];
        let [ratio, added] = transition(&s, &t);
        let (before, now) = (s.sigma * s.sigma, t.sigma * t.sigma);
        let (of_x, of_data) = (ratio * before / now, s.alpha * added / now);
        let data = walk.predict_as(Target::Data, &x, t.t)?;
        x.iter_mut()
            .zip(data)
            .for_each(|(x, d)| *x = of_x * *x + of_data * d);
        walk.add_noise(&mut x, (added * before / now).sqrt());
    }
    Ok(x)
}
