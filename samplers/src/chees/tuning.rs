//! Tune the step size, the metric and the path length of chains that move together.

use serde::{Deserialize, Serialize};

use super::ChEesHmc;
use super::flock::{Flock, Path, harmonic_mean};
use crate::adapt::StepSize;
use crate::density::{Counted, Density, DifferentiableDensity};
use crate::error::EvalError;
use crate::hmc::leapfrog::Position;
use crate::hmc::metric::{Metric, axpy, dot};
use crate::hmc::reshaping::Reshaping;
use crate::rng::Stream;
use crate::run::Step;

/// What the warm-up has learned.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tuning {
    settings: ChEesHmc,
    pace: StepSize,
    reshaping: Reshaping,
    climb: Climb,
}

impl Tuning {
    /// Guesses the metric from the gradients at the start, and finds a step size for it.
    ///
    /// # Errors
    /// `Fatal` errors of the target.
    pub(super) fn start<T: DifferentiableDensity + ?Sized>(
        settings: ChEesHmc,
        target: &Counted<'_, T>,
        flock: &mut Flock,
        warmup: usize,
        rng: &mut Stream,
    ) -> Result<Self, EvalError> {
        let mut steepness = vec![0.0; target.dim()];
        for position in &flock.positions {
            for (sum, derivative) in steepness.iter_mut().zip(&position.gradient) {
                *sum += derivative.abs() / flock.positions.len() as f64;
            }
        }
        flock.metric.guess(&steepness);
        flock.find_step_size(target, settings.target_acceptance, rng)?;
        Ok(Self {
            settings,
            pace: StepSize::new(settings.target_acceptance, flock.step_size),
            reshaping: Reshaping::new(settings.metric, target.dim(), warmup),
            climb: Climb::new(flock.step_size),
        })
    }

    /// The longest path as it is now, in time.
    pub(super) fn length(&self) -> f64 {
        self.climb.ln_length.exp()
    }

    /// Learns from paths that were meant to take `time`, before their ends are accepted.
    pub(super) fn follow(&mut self, flock: &Flock, paths: &[Path], time: f64) {
        let slope = slope(&flock.metric, &flock.positions, paths);
        let longest = self.settings.max_leapfrogs as f64 * flock.step_size;
        self.climb.rise(time * slope, flock.step_size, longest);
    }

    /// Learns from step number `step` of the warm-up, from 1, after its ends were accepted or not.
    pub(super) fn settle(&mut self, flock: &mut Flock, step: usize, reports: &[Step]) {
        let acceptance = harmonic_mean(reports.iter().map(|report| report.acceptance));
        flock.step_size = self.pace.update(acceptance);
        self.reshaping.learn(&mut flock.metric, step, &flock.positions);
    }

    /// Fixes the step size, and gives the longest path to keep.
    pub(super) fn finish(&self, flock: &mut Flock) -> f64 {
        flock.step_size = self.pace.finish();
        self.climb.average.exp()
    }
}

/// The derivative, by the time of the paths, of a quarter of E[(|y' − E y'|² − |y − E y|²)²], where a path leads
/// from y to y' (section 3 of Hoffman et al. 2021). The coordinates are those in which the metric is round. Each
/// chain weighs as much as its end is likely to be accepted.
fn slope(metric: &Metric, starts: &[Position], paths: &[Path]) -> f64 {
    let acceptances: Vec<f64> = paths.iter().map(Path::acceptance).collect();
    let ends: Vec<&Position> = paths.iter().map(|path| &path.moving.at).collect();
    let total: f64 = acceptances.iter().sum();
    let even = vec![1.0; paths.len()];
    let from = mean(starts.iter().zip(&even));
    let to = mean(ends.iter().copied().zip(&acceptances));
    let offset = |position: &Position, mean: &[f64]| {
        let mut offset = position.z.clone();
        axpy(-1.0, mean, &mut offset);
        metric.make_round(&mut offset);
        offset
    };
    let mut sum = 0.0;
    for ((start, path), acceptance) in starts.iter().zip(paths).zip(&acceptances) {
        // The place and the momentum of a path that failed are no numbers to reckon with.
        if *acceptance > 0.0 {
            let (y, end) = (offset(start, &from), offset(&path.moving.at, &to));
            sum += acceptance * (dot(&end, &end) - dot(&y, &y)) * dot(&end, &path.moving.momentum);
        }
    }
    sum / total
}

/// The weighted mean of positions.
fn mean<'a>(positions: impl Iterator<Item = (&'a Position, &'a f64)>) -> Vec<f64> {
    let (mut mean, mut total) = (Vec::new(), 0.0);
    for (position, &weight) in positions.filter(|(_, weight)| **weight > 0.0) {
        mean.resize(position.z.len(), 0.0);
        axpy(weight, &position.z, &mut mean);
        total += weight;
    }
    mean.iter_mut().for_each(|mean| *mean /= total);
    mean
}

/// Adam (Kingma & Ba 2015, arXiv 1412.6980) on the logarithm of a length, without momentum, with the constants of
/// Hoffman et al. 2021.
#[derive(Debug, Serialize, Deserialize)]
struct Climb {
    ln_length: f64,
    mean_square: f64,
    count: u32,
    /// The running mean of `ln_length`, which forgets its beginning.
    average: f64,
}

const LEARNING_RATE: f64 = 0.025;
const SQUARES_DECAY: f64 = 0.95;
/// The n-th value enters the running mean with a weight of n to this power.
const AVERAGE_POWER: f64 = -0.5;

impl Climb {
    fn new(length: f64) -> Self {
        Self {
            ln_length: length.ln(),
            mean_square: 0.0,
            count: 0,
            average: length.ln(),
        }
    }

    /// One step up `gradient`, the derivative by the logarithm of the length, within bounds. No number, no step.
    fn rise(&mut self, gradient: f64, shortest: f64, longest: f64) {
        if gradient.is_finite() && gradient != 0.0 {
            self.count += 1;
            self.mean_square += (1.0 - SQUARES_DECAY) * (gradient * gradient - self.mean_square);
            let unbiased = self.mean_square / (1.0 - SQUARES_DECAY.powf(f64::from(self.count)));
            self.ln_length += LEARNING_RATE * gradient / unbiased.sqrt();
        }
        // Not `clamp`, which panics where the bounds are the wrong way round.
        self.ln_length = self.ln_length.min(longest.ln()).max(shortest.ln());
        let weight = f64::from(self.count.max(1)).powf(AVERAGE_POWER);
        self.average += weight * (self.ln_length - self.average);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climbing_ends_at_the_top() {
        let mut climb = Climb::new(0.1);
        // −(ln T − 1)² is greatest at T = e.
        for _ in 0..1000 {
            climb.rise(-2.0 * (climb.ln_length - 1.0), 0.01, 100.0);
        }
        assert!((climb.average - 1.0).abs() < 0.05, "{}", climb.average);
    }

    #[test]
    fn what_is_no_number_moves_nothing() {
        let mut climb = Climb::new(2.0);
        for gradient in [f64::NAN, f64::INFINITY, 0.0] {
            climb.rise(gradient, 0.1, 10.0);
            assert_eq!(climb.ln_length, 2f64.ln());
        }
        climb.rise(0.0, 3.0, 10.0);
        assert_eq!(climb.ln_length, 3f64.ln());
    }
}
