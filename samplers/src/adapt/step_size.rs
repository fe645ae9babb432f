//! Find the step size at which trajectories are accepted as often as wanted.

use serde::{Deserialize, Serialize};

/// Stochastic approximation of ln(step size) with averaging (Robbins & Monro 1951,
/// doi:10.1214/aoms/1177729586; Polyak & Juditsky 1992, doi:10.1137/0330046).
///
/// Dual averaging with the usual constants moves ln(step size) twenty times as far for each acceptance. The
/// acceptance is a concave function of ln(step size), so the mean of such wide swings is a step size that is
/// too small: 0.88 to 0.93 is accepted where 0.8 is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepSize {
    target: f64,
    count: f64,
    ln_step: f64,
    averaged: f64,
}

/// Step number n moves ln(step size) by `GAIN` n^−`DECAY` for each unit of acceptance, and renews n^−`RENEWAL` of
/// the average: the exponents between a half and one under which both converge.
const GAIN: f64 = 2.0;
const DECAY: f64 = 0.6;
const RENEWAL: f64 = 0.75;

impl StepSize {
    /// Aims at the acceptance `target`, starting at `step_size`.
    pub(crate) fn new(target: f64, step_size: f64) -> Self {
        Self {
            target,
            count: 0.0,
            ln_step: step_size.ln(),
            averaged: step_size.ln(),
        }
    }

    /// The step size to try next, after a trajectory with this acceptance.
    pub(crate) fn update(&mut self, acceptance: f64) -> f64 {
        self.count += 1.0;
        self.ln_step += GAIN * self.count.powf(-DECAY) * (acceptance - self.target);
        self.averaged += self.count.powf(-RENEWAL) * (self.ln_step - self.averaged);
        self.ln_step.exp()
    }

    /// The step size to keep.
    pub(crate) fn finish(&self) -> f64 {
        self.averaged.exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};
    use rand::RngExt;

    /// The step size found where a step size ε is accepted with e^−ε, more or less.
    fn found(steps: usize, start: f64) -> f64 {
        let mut rng = stream(2, Purpose::Chain, 0);
        let mut pace = StepSize::new(0.8, start);
        let mut step_size = start;
        for _ in 0..steps {
            let noise = 0.4 * (rng.random::<f64>() - 0.5);
            step_size = pace.update(((-step_size).exp() + noise).clamp(0.0, 1.0));
        }
        pace.finish()
    }

    #[test]
    fn accepts_what_is_wanted() {
        for start in [0.01, 0.2, 10.0] {
            let acceptance = (-found(500, start)).exp();
            // Of noise of sd 0.115, an average over about a hundred steps leaves a hundredth.
            assert!((acceptance - 0.8).abs() < 0.04, "{acceptance} from {start}");
        }
    }

    #[test]
    fn without_steps_the_start_is_kept() {
        assert_eq!(StepSize::new(0.8, 0.25).finish(), 0.25);
    }
}
