//! Tune the step size and the metric of HMC during warm-up.

use serde::{Deserialize, Serialize};

use super::Hmc;
use super::kernel::{HmcKernel, HmcState};
use super::metric::Metric;
use crate::adapt::{DualAveraging, Moments, Windows};
use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::rng::Stream;
use crate::run::Step;
use crate::run::markov::Adaptation;

/// The most leapfrog steps while the metric is unknown: a path length in the wrong units is not worth
/// many gradients.
const FIRST_LEAPFROGS: usize = 10;

/// Dual averaging inside Stan's windows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HmcAdaptation {
    settings: Hmc,
    averaging: DualAveraging,
    moments: Moments,
    windows: Windows,
    step: usize,
}

impl HmcAdaptation {
    pub(super) fn new(settings: Hmc, dim: usize, warmup: usize) -> Self {
        Self {
            settings,
            averaging: DualAveraging::new(settings.target_acceptance, 1.0),
            moments: Moments::new(dim),
            windows: Windows::new(warmup),
            step: 0,
        }
    }

    fn adapt(&self, kernel: &mut HmcKernel) {
        let covariance = self.moments.covariance();
        match &mut kernel.metric {
            Metric::Diagonal(scales) => {
                scales.clear();
                scales.extend(covariance.diagonal().iter().map(|variance| variance.sqrt()));
            }
            Metric::Dense(factor) => {
                // A covariance that is singular to rounding leaves the metric as it was.
                if let Some(cholesky) = covariance.cholesky() {
                    *factor = cholesky.unpack();
                }
            }
        }
    }

    fn restart(&mut self, kernel: &HmcKernel) {
        self.averaging = DualAveraging::new(self.settings.target_acceptance, kernel.step_size);
    }
}

impl<T: DifferentiableDensity + ?Sized> Adaptation<T, HmcKernel> for HmcAdaptation {
    fn begin(&mut self, kernel: &mut HmcKernel, _state: &HmcState) {
        kernel.max_leapfrogs = self.settings.max_leapfrogs.min(FIRST_LEAPFROGS);
        self.restart(kernel);
    }

    fn update(
        &mut self,
        kernel: &mut HmcKernel,
        target: &Counted<'_, T>,
        state: &HmcState,
        step: &Step,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        kernel.step_size = self.averaging.update(step.acceptance);
        if self.windows.contain(self.step) {
            self.moments.push(&state.at.z);
        }
        if self.windows.close_at(self.step) {
            self.adapt(kernel);
            kernel.max_leapfrogs = self.settings.max_leapfrogs;
            // Step sizes of the old metric say little about the new one.
            kernel.find_step_size(target, state, rng)?;
            self.restart(kernel);
            self.moments = Moments::new(state.at.z.len());
        }
        self.step += 1;
        Ok(())
    }

    fn finish(&mut self, kernel: &mut HmcKernel) {
        kernel.step_size = self.averaging.finish();
        kernel.max_leapfrogs = self.settings.max_leapfrogs;
    }
}
