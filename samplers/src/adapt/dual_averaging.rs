//! Find the step size at which a wanted fraction of proposals is accepted.

use serde::{Deserialize, Serialize};

/// Dual averaging of ln(step size) (Hoffman & Gelman 2014, arXiv 1111.4246, section 3.2), with the
/// constants of that paper.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DualAveraging {
    target: f64,
    centre: f64,
    count: f64,
    error: f64,
    averaged: f64,
}

const GAMMA: f64 = 0.05;
const T0: f64 = 10.0;
const KAPPA: f64 = 0.75;

impl DualAveraging {
    /// Aims at the acceptance `target`, starting at `step_size`.
    pub(crate) fn new(target: f64, step_size: f64) -> Self {
        // Biased to ten times the start: long steps are cheap to try.
        Self {
            target,
            centre: (10.0 * step_size).ln(),
            count: 0.0,
            error: 0.0,
            averaged: step_size.ln(),
        }
    }

    /// Aims at another acceptance from here on.
    pub(crate) fn aim(&mut self, target: f64) {
        self.target = target;
    }

    /// The step size to try next, after one with this acceptance probability.
    pub(crate) fn update(&mut self, acceptance: f64) -> f64 {
        self.count += 1.0;
        let weight = 1.0 / (self.count + T0);
        self.error += weight * (self.target - acceptance - self.error);
        let ln_step = self.centre - self.count.sqrt() / GAMMA * self.error;
        self.averaged += self.count.powf(-KAPPA) * (ln_step - self.averaged);
        ln_step.exp()
    }

    /// The step size to keep.
    pub(crate) fn finish(&self) -> f64 {
        self.averaged.exp()
    }
}

#[cfg(test)]
mod tests {
    use super::DualAveraging;

    #[test]
    fn finds_the_step_size_of_the_wanted_acceptance() {
        let mut averaging = DualAveraging::new(0.8, 10.0);
        let mut step_size: f64 = 10.0;
        for _ in 0..2000 {
            step_size = averaging.update((-step_size).exp());
        }
        assert!((averaging.finish() - -(0.8f64.ln())).abs() < 0.01);
    }
}
