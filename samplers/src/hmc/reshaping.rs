//! Keep a metric up to the shape of recent draws.

use serde::{Deserialize, Serialize};

use super::leapfrog::Position;
use super::metric::{Metric, MetricKind};
use crate::adapt::Shape;

/// The share of the warm-up at its end in which the metric stays and the step size settles.
const SETTLING: f64 = 0.1;
/// The first window of steps is this long, each later one by `GROWTH` longer.
const FIRST_WINDOW: f64 = 10.0;
const GROWTH: f64 = 1.5;

/// Overlapping windows of draws, each of them growing while the one before is in use, so that there is always a
/// metric of many draws, none of them very old.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reshaping {
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
}

impl Reshaping {
    pub(crate) fn new(kind: MetricKind, dim: usize, warmup: usize) -> Self {
        let shape = Shape::new(kind, dim);
        Self {
            next: shape.clone(),
            shape,
            window: FIRST_WINDOW,
            closes: FIRST_WINDOW as usize,
            reshapes: 0,
            settles: warmup - (SETTLING * warmup as f64) as usize,
        }
    }

    /// Learns from step number `step`, from 1, which led here: one position for each chain.
    pub(crate) fn learn(&mut self, metric: &mut Metric, step: usize, positions: &[Position]) {
        if step > self.settles {
            return;
        }
        for at in positions {
            self.shape.push(&at.z, &at.gradient);
            self.next.push(&at.z, &at.gradient);
        }
        if step == self.closes {
            std::mem::swap(&mut self.shape, &mut self.next);
            self.next.clear();
            self.window *= GROWTH;
            self.closes += self.window as usize;
        }
        if step >= self.reshapes {
            self.shape.shape(metric);
            self.reshapes = step + 1 + step / 20;
        }
    }
}
