//! Tune the step size and the metric of every sampler that follows the gradient's flow.

use serde::{Deserialize, Serialize};

use super::leapfrog::{Position, find_step_size};
use super::metric::{Metric, MetricKind};
use super::reshaping::Reshaping;
use crate::adapt::StepSize;
use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::rng::Stream;
use crate::run::Step;
use crate::run::markov::{Adaptation, Kernel};

/// A kernel with a step size and a metric.
pub(crate) trait Flowing<T: ?Sized>: Kernel<T> {
    /// Its step size and its metric.
    fn tuned(&mut self) -> (&mut f64, &mut Metric);

    /// Bounds the length of paths while the metric is unknown, and sets it free again.
    fn limit(&mut self, first: bool);

    /// Where the state is.
    fn at(state: &Self::State) -> &Position;
}

/// The step size and the metric.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WarmUp {
    acceptance: f64,
    pace: StepSize,
    reshaping: Reshaping,
    step: usize,
}

impl WarmUp {
    pub(crate) fn new(acceptance: f64, kind: MetricKind, dim: usize, warmup: usize) -> Self {
        Self {
            acceptance,
            pace: StepSize::new(acceptance, 1.0),
            reshaping: Reshaping::new(kind, dim, warmup),
            step: 0,
        }
    }
}

impl<T: DifferentiableDensity + ?Sized, K: Flowing<T>> Adaptation<T, K> for WarmUp {
    fn begin(&mut self, kernel: &mut K, _state: &K::State) {
        kernel.limit(true);
        self.pace = StepSize::new(self.acceptance, *kernel.tuned().0);
    }

    fn update(
        &mut self,
        kernel: &mut K,
        target: &Counted<'_, T>,
        state: &K::State,
        step: &Step,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        let at = K::at(state);
        self.step += 1;
        let (step_size, metric) = kernel.tuned();
        if self.step == 1 {
            metric.guess(&at.gradient);
            *step_size = find_step_size(target, metric, at, 1.0, self.acceptance, rng)?;
            self.pace = StepSize::new(self.acceptance, *step_size);
            kernel.limit(false);
            return Ok(());
        }
        *step_size = self.pace.update(step.acceptance);
        self.reshaping.learn(metric, self.step, std::slice::from_ref(at));
        Ok(())
    }

    fn finish(&mut self, kernel: &mut K) {
        *kernel.tuned().0 = self.pace.finish();
        kernel.limit(false);
    }
}
