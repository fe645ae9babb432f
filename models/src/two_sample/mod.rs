//! Tell whether two sets of points come from one distribution: by a classifier, and by densities of kernels.

mod classifier;
mod kernel_density;

pub use kernel_density::kernel_log_density;

use armilla_samplers::rng::{Purpose, stream};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::error::{ModelError, Result};
use classifier::Classifier;

/// Parts of the points; each is classified by a network that the others trained.
const FOLDS: usize = 5;
/// Units of a hidden layer for each number of a point.
const UNITS: usize = 10;

/// How often a classifier tells `samples` from the `reference`, points of `dim` numbers each: 0.5 where it cannot, 1
/// where it always does.
///
/// The classifier two-sample test (Lopez-Paz & Oquab 2017, arXiv 1610.06545) as in the benchmark of simulation-based
/// inference (Lueckmann et al. 2021, arXiv 2101.04653): the accuracy over five folds of a perceptron with two hidden
/// layers of 10·dim rectified units, trained by Adam on points scaled by the reference's means and deviations, as it was
/// when it did best on a tenth of its points that it did not learn from. With n points in each set, equal distributions give 0.5 ± 0.5/√(2n).
///
/// ```
/// use armilla_models::{toys::Toy, two_sample::c2st};
/// let [a, b] = [1, 2].map(|seed| Toy::TwoMoons.draw(500, seed));
/// let shifted: Vec<f64> = b.iter().map(|x| x + 1.0).collect();
/// assert!(c2st(&a, &b, 2, 7)? < 0.6);
/// assert!(c2st(&a, &shifted, 2, 7)? > 0.8);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
///
/// # Errors
/// `Invalid` for sets of different sizes, of fewer than five points, or with numbers that are not finite.
pub fn c2st(reference: &[f64], samples: &[f64], dim: usize, seed: u64) -> Result<f64> {
    let rows = reference.len() / dim.max(1);
    if dim == 0 || rows < FOLDS || rows * dim != reference.len() || samples.len() != reference.len() {
        return Err(ModelError::Invalid(format!(
            "c2st: two sets of as many points, at least {FOLDS}, of {dim} numbers: not {} and {} numbers",
            reference.len(),
            samples.len()
        )));
    }
    if !reference.iter().chain(samples).all(|x| x.is_finite()) {
        return Err(ModelError::Invalid("c2st: a number is not finite".into()));
    }
    let scales: Vec<(f64, f64)> = (0..dim).map(|i| moments(reference, dim, i)).collect();
    let scaled: Vec<f32> = (reference.chunks_exact(dim))
        .chain(samples.chunks_exact(dim))
        .flat_map(|point| {
            point
                .iter()
                .zip(&scales)
                .map(|(x, (mean, sd))| ((x - mean) / sd) as f32)
        })
        .collect();
    let mut order: Vec<usize> = (0..2 * rows).collect();
    order.shuffle(&mut stream(seed, Purpose::Split, 0));
    let right: usize = (0..FOLDS)
        .into_par_iter()
        .map(|fold| {
            let (first, last) = (fold * order.len() / FOLDS, (fold + 1) * order.len() / FOLDS);
            let training = [&order[..first], &order[last..]].concat();
            let mut draws = stream(seed, Purpose::Training, fold as u64);
            let mut classifier = Classifier::new([dim, UNITS * dim, UNITS * dim, 1], &mut draws);
            classifier.train(&scaled, training, rows, &mut draws);
            classifier.right(&scaled, &order[first..last], rows)
        })
        .sum();
    Ok(right as f64 / (2 * rows) as f64)
}

/// Mean and deviation of the i-th number of each point; a deviation of 0 counts as 1.
fn moments(points: &[f64], dim: usize, i: usize) -> (f64, f64) {
    let values = || points.iter().skip(i).step_by(dim);
    let n = (points.len() / dim) as f64;
    let mean = values().sum::<f64>() / n;
    let sd = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    (mean, if sd > 0.0 { sd } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::toys::Toy;

    /// Five standard errors of an accuracy of one half over 10,000 points.
    const CHANCE: f64 = 5.0 * 0.5 / 100.0;

    fn normal(rows: usize, dim: usize, seed: u64) -> Vec<f64> {
        let mut stream = stream(seed, Purpose::Noise, 0);
        (0..rows * dim)
            .map(|_| StandardNormal.sample(&mut stream))
            .collect()
    }

    fn moved(points: &[f64], dim: usize, by: f64) -> Vec<f64> {
        let shift = |(i, x): (usize, &f64)| if i % dim == 0 { x + by } else { *x };
        points.iter().enumerate().map(shift).collect()
    }

    #[test]
    fn equal_distributions_cannot_be_told_apart() {
        for toy in Toy::ALL {
            let value = c2st(&toy.draw(5000, 1), &toy.draw(5000, 2), 2, 3).unwrap();
            assert!((value - 0.5).abs() < 0.02, "{toy:?}: {value}");
        }
    }

    #[test]
    fn shifted_gaussians_are_told_apart_as_well_as_can_be() {
        let (a, b) = (normal(5000, 2, 1), normal(5000, 2, 2));
        // Φ(shift / 2) is what the best classifier reaches (tables of the normal distribution).
        for (shift, best) in [(0.5, 0.5987), (1.0, 0.6915), (2.0, 0.8413)] {
            let value = c2st(&a, &moved(&b, 2, shift), 2, 3).unwrap();
            assert!((value - best).abs() < CHANCE, "{shift}: {value} for {best}");
        }
        let (a, b) = (normal(2000, 10, 1), moved(&normal(2000, 10, 2), 10, 2.0));
        let value = c2st(&a, &b, 10, 3).unwrap();
        assert!((value - 0.8413).abs() < 0.04, "{value}");
    }

    /// A pattern that is finer than so small a network can draw: of the mass that a blur by 0.2 moves off its squares,
    /// about 0.28, the best classifier would make 0.64.
    #[test]
    fn a_blurred_checkerboard_is_found_out() {
        let sharp = Toy::Checkerboard.draw(5000, 1);
        for (blur, least) in [(0.2, 0.55), (0.5, 0.65)] {
            let noise = normal(5000, 2, 9);
            let blurred: Vec<f64> = (Toy::Checkerboard.draw(5000, 2).iter().zip(noise))
                .map(|(x, e)| x + blur * e)
                .collect();
            let value = c2st(&sharp, &blurred, 2, 3).unwrap();
            assert!(value > least, "blurred by {blur}: {value}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (a, b) = (normal(300, 2, 1), moved(&normal(300, 2, 2), 2, 0.5));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| c2st(&a, &b, 2, 3).unwrap().to_bits())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn sets_that_cannot_be_compared_are_refused() {
        let a = normal(10, 2, 1);
        assert!(c2st(&a, &a[..18], 2, 1).is_err());
        assert!(c2st(&a, &a, 3, 1).is_err() && c2st(&a, &a, 0, 1).is_err());
        assert!(c2st(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 1, 1).is_err());
        let mut broken = a.clone();
        broken[3] = f64::NAN;
        assert!(c2st(&a, &broken, 2, 1).is_err());
    }
}
