//! Tune the step size and the metric of every sampler that follows the gradient's flow.

use serde::{Deserialize, Serialize};

use super::leapfrog::{Position, find_step_size};
use super::metric::{Metric, MetricKind};
use crate::adapt::{Shape, StepSize};
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

/// The share of the warm-up at its end in which the metric stays and the step size settles.
const SETTLING: f64 = 0.1;
/// The first window of draws is this long, each later one by `GROWTH` longer.
const FIRST_WINDOW: f64 = 10.0;
const GROWTH: f64 = 1.5;

/// The step size by dual pace; the metric from overlapping windows of draws, each of them growing while
/// the one before is in use, so that there is always a metric of many draws, none of them very old.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WarmUp {
    acceptance: f64,
    pace: StepSize,
    /// What the metric is made of, and what will be when the window closes.
    shape: Shape,
    next: Shape,
    window: f64,
    /// The step that closes the window.
    closes: usize,
    /// The step at which the metric is made anew: seldom once there are many draws.
    reshapes: usize,
    /// The last step that may change the metric.
    settles: usize,
    step: usize,
}

impl WarmUp {
    pub(crate) fn new(acceptance: f64, kind: MetricKind, dim: usize, warmup: usize) -> Self {
        let shape = Shape::new(kind, dim);
        Self {
            acceptance,
            pace: StepSize::new(acceptance, 1.0),
            next: shape.clone(),
            shape,
            window: FIRST_WINDOW,
            closes: FIRST_WINDOW as usize,
            reshapes: 0,
            settles: warmup - (SETTLING * warmup as f64) as usize,
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
        if self.step <= self.settles {
            self.shape.push(&at.z, &at.gradient);
            self.next.push(&at.z, &at.gradient);
            if self.step == self.closes {
                std::mem::swap(&mut self.shape, &mut self.next);
                self.next.clear();
                self.window *= GROWTH;
                self.closes += self.window as usize;
            }
            if self.step >= self.reshapes {
                self.shape.shape(metric);
                self.reshapes = self.step + 1 + self.step / 20;
            }
        }
        Ok(())
    }

    fn finish(&mut self, kernel: &mut K) {
        *kernel.tuned().0 = self.pace.finish();
        kernel.limit(false);
    }
}
