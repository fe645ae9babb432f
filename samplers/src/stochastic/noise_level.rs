//! Tune a random walk among noisy estimates: read the noise, and aim at the acceptance it leaves.

use serde::{Deserialize, Serialize};

use crate::adapt::{AdaptiveWalk, Walks};
use crate::density::Counted;
use crate::error::EvalError;
use crate::normal_quantile::normal_quantile;
use crate::rng::Stream;
use crate::run::markov::{Adaptation, Kernel};
use crate::run::{Run, Step};

/// The noise is read at every so many steps of the warm-up, where reading it costs evaluations.
pub(super) const READ_EVERY: usize = 10;
/// Readings older than this many have little weight: the chain has moved on.
const MEMORY: f64 = 30.0;
/// A variance at which a thousandth of all steps is accepted; noisier readings tell of the start only.
const LARGEST_VARIANCE: f64 = 18.0;

/// The variance over keys of the log ratio of the estimates that a step compares, averaged over readings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct NoiseLevel {
    readings: f64,
    variance: f64,
}

impl NoiseLevel {
    pub(super) fn read(&mut self, variance: f64) {
        self.readings += 1.0;
        self.variance += (variance - self.variance) / self.readings.min(MEMORY);
    }

    /// The standard deviation; absent where it was never read.
    pub(super) fn sd(&self) -> Option<f64> {
        (self.readings > 0.0).then(|| self.variance.sqrt())
    }
}

/// A random walk that compares noisy estimates.
pub(super) trait NoisyWalk<T: ?Sized>: Kernel<T> + Walks {
    /// The noise as read so far.
    fn noise(&mut self) -> &mut NoiseLevel;

    /// The variance of the log ratio at the state; `None` where this step reads none.
    ///
    /// # Errors
    /// As the target.
    fn read_noise(
        &self,
        target: &Counted<'_, T>,
        state: &Self::State,
        step: usize,
        rng: &mut Stream,
    ) -> Result<Option<f64>, EvalError>;
}

/// The tuning of a random walk whose acceptance is lowered by noise. Without a look at the noise, its scale
/// would go to zero in pursuit of an acceptance that no step can have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AdaptiveNoisyWalk {
    walk: AdaptiveWalk,
    target_acceptance: f64,
    step: usize,
}

impl AdaptiveNoisyWalk {
    pub(super) fn new(target_acceptance: f64, dim: usize, warmup: usize) -> Self {
        Self {
            walk: AdaptiveWalk::new(target_acceptance, dim, warmup),
            target_acceptance,
            step: 0,
        }
    }
}

impl<T: ?Sized, K: NoisyWalk<T>> Adaptation<T, K> for AdaptiveNoisyWalk {
    fn begin(&mut self, _kernel: &mut K, _state: &K::State) {}

    fn update(
        &mut self,
        kernel: &mut K,
        target: &Counted<'_, T>,
        state: &K::State,
        step: &Step,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        let reading = match kernel.read_noise(target, state, self.step, rng) {
            Err(EvalError::Recoverable(_)) => None,
            reading => reading?,
        };
        if let Some(variance) = reading.filter(|variance| variance.is_finite()) {
            kernel.noise().read(variance);
            let level = kernel.noise().variance;
            self.walk.aim(noisy_acceptance(self.target_acceptance, level));
        }
        self.walk
            .update(kernel.walk(), K::position(state).0, step.acceptance);
        self.step += 1;
        Ok(())
    }

    fn finish(&mut self, kernel: &mut K) {
        self.walk.finish(kernel.walk());
    }
}

/// What a step that would be accepted with probability `acceptance` is accepted with, on average, when noise
/// of this variance enters the log ratio. For a Gaussian in many dimensions, the acceptance is 2 Φ(−s/2) with
/// s² the variance of the log ratio, and the best step hardly depends on the noise (Sherlock et al. 2015,
/// doi:10.1214/14-AOS1278).
fn noisy_acceptance(acceptance: f64, variance: f64) -> f64 {
    let clean = 2.0 * normal_quantile(0.5 * acceptance);
    let quantile = -0.5 * (clean * clean + variance.min(LARGEST_VARIANCE)).sqrt();
    // The inverse of the quantile function, by bisection: it grows from 0 to what is found without noise.
    let (mut low, mut high) = (0.0, 0.5 * acceptance);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if normal_quantile(middle) < quantile {
            low = middle;
        } else {
            high = middle;
        }
    }
    low + high
}

/// The noise over all chains.
pub(super) fn overall<'k>(levels: impl Iterator<Item = &'k NoiseLevel>) -> Option<f64> {
    let variances: Vec<f64> = levels.filter_map(NoiseLevel::sd).map(|sd| sd * sd).collect();
    let mean = variances.iter().sum::<f64>() / variances.len() as f64;
    (!variances.is_empty()).then(|| mean.sqrt())
}

/// The longest that a chain kept to one draw.
pub(super) fn longest_stay(run: &Run) -> usize {
    let mut longest = 0;
    for chain in &run.chains {
        let (mut stay, mut last) = (0, None);
        for x in chain.draws.chunks_exact(run.dim().max(1)) {
            stay = if last == Some(x) { stay + 1 } else { 1 };
            last = Some(x);
            longest = longest.max(stay);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_lowers_the_acceptance_as_theory_says() {
        // 2 Φ(−s/2) with s² = 4 q² + κ² and q the quantile of half the acceptance.
        assert!((noisy_acceptance(0.234, 0.0) - 0.234).abs() < 1e-9);
        // A perfect step, 2 Φ(−1/2) = 0.6171 of them, with noise of variance 1.
        assert!((noisy_acceptance(1.0 - 1e-12, 1.0) - 0.617_075).abs() < 1e-5);
        let acceptances = [0.0, 0.5, 2.0, 8.0].map(|variance| noisy_acceptance(0.44, variance));
        assert!(acceptances.is_sorted_by(|a, b| a > b), "{acceptances:?}");
    }

    #[test]
    fn old_readings_are_forgotten() {
        let mut level = NoiseLevel::default();
        assert_eq!(level.sd(), None);
        (0..5).for_each(|_| level.read(400.0));
        (0..400).for_each(|_| level.read(4.0));
        assert!((level.sd().unwrap() - 2.0).abs() < 0.01);
    }
}
