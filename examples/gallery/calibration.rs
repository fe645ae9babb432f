//! Calibrations: posteriors that are right, too narrow, and biased.

use armilla::plot::{Calibration, coverage, rank_histogram};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Gallery, random};

/// A number is drawn from N(0, 1) and measured with an error of 1/2; its posterior, made so many times as wide and moved by
/// so many of its sds, is drawn from 200 times.
fn test(rng: &mut impl Rng, width: f64, shift: f64) -> f64 {
    let mut normal = || -> f64 { rng.sample(StandardNormal) };
    let truth = normal();
    let measured = truth + 0.5 * normal();
    let sd = 0.2f64.sqrt();
    let below = (0..200).filter(|_| 0.8 * measured + sd * (shift + width * normal()) < truth);
    below.count() as f64 / 200.0
}

pub fn draw(gallery: &mut Gallery) -> armilla::Result<()> {
    let names = ["right", "too narrow", "biased"].map(str::to_owned);
    let below: Vec<Vec<f64>> = [(1.0, 0.0), (0.6, 0.0), (1.0, 0.5)]
        .iter()
        .zip(70..)
        .map(|(&(width, shift), index)| {
            let mut rng = random(index);
            (0..400).map(|_| test(&mut rng, width, shift)).collect()
        })
        .collect();
    let plot = Calibration {
        title: "400 tests",
        names: &names,
        below: &below,
    };
    let caption = "How often credible intervals hold the truth.";
    gallery.add("coverage", "coverage", caption, |path| coverage(&plot, path))?;
    let caption = "Where truths rank in their posteriors.";
    gallery.add("rank_histogram", "rank_histogram", caption, |path| {
        rank_histogram(&plot, path)
    })
}
