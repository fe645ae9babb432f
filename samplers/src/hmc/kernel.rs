//! Follow a path and accept its end by the energy error.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Hmc;
use super::adaptation::Flowing;
use super::leapfrog::{DIVERGENCE, Leap, Moving, Position, find_step_size};
use super::metric::Metric;
use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::rng::Stream;
use crate::run::Step;
use crate::run::markov::Kernel;

/// Path lengths are uniform within this fraction around their mean.
const PATH_JITTER: f64 = 0.2;

/// The most leapfrog steps while the metric is unknown: a path length in the wrong units is not worth
/// many gradients.
pub(crate) const FIRST_LEAPFROGS: usize = 10;

/// Paths of random length, with their step size and metric.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HmcKernel {
    settings: Hmc,
    step_size: f64,
    metric: Metric,
    max_leapfrogs: usize,
}

/// A point of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HmcState {
    at: Position,
    /// Memory for the path.
    #[serde(skip)]
    moving: Moving,
}

/// Where a trajectory ended.
enum End {
    /// Here, with this energy error.
    At(f64),
    /// Outside the support.
    Outside,
    /// At a recoverable error or a runaway energy.
    Diverged,
}

impl HmcKernel {
    pub(crate) fn new(settings: Hmc, dim: usize) -> Self {
        let max_leapfrogs = settings.max_leapfrogs;
        Self {
            settings,
            step_size: 1.0,
            metric: Metric::identity(settings.metric, dim),
            max_leapfrogs,
        }
    }

    /// `leapfrogs` steps.
    fn trajectory<T: DifferentiableDensity + ?Sized>(
        &self,
        target: &Counted<'_, T>,
        moving: &mut Moving,
        leapfrogs: usize,
    ) -> Result<End, EvalError> {
        let energy = moving.energy();
        let mut error = 0.0;
        for _ in 0..leapfrogs {
            match moving.leapfrog(target, &self.metric, self.step_size)? {
                Leap::Inside => error = moving.energy() - energy,
                Leap::Outside => return Ok(End::Outside),
                Leap::Failed => return Ok(End::Diverged),
            }
            if error.is_nan() || error > DIVERGENCE {
                return Ok(End::Diverged);
            }
        }
        Ok(End::At(error))
    }
}

/// A path of random length, in whole steps whose mean is that of the path.
pub(crate) fn random_leapfrogs(path_length: f64, step_size: f64, most: usize, rng: &mut Stream) -> usize {
    let jitter = 1.0 + PATH_JITTER * (2.0 * rng.random::<f64>() - 1.0);
    let steps = path_length * jitter / step_size + rng.random::<f64>();
    (steps as usize).clamp(1, most)
}

impl<T: DifferentiableDensity + ?Sized> Kernel<T> for HmcKernel {
    type State = HmcState;

    fn init(
        &mut self,
        target: &Counted<'_, T>,
        z: Vec<f64>,
        rng: &mut Stream,
    ) -> Result<HmcState, EvalError> {
        let at = Position::new(target, z)?;
        if at.log_density.is_finite() {
            let acceptance = self.settings.target_acceptance;
            self.step_size = find_step_size(target, &self.metric, &at, 1.0, acceptance, rng)?;
        }
        let moving = Moving::default();
        Ok(HmcState { at, moving })
    }

    fn step(
        &self,
        target: &Counted<'_, T>,
        state: &mut HmcState,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let HmcState { at, moving } = state;
        moving.start(&self.metric, at);
        moving.refresh(rng);
        let energy = moving.energy();
        let leapfrogs = random_leapfrogs(self.settings.path_length, self.step_size, self.max_leapfrogs, rng);
        let spent = target.evaluations().gradients;
        let end = self.trajectory(target, moving, leapfrogs)?;
        let evaluations = (target.evaluations().gradients - spent) as u32;
        let uniform = rng.random::<f64>();
        let mut step = Step {
            acceptance: 0.0,
            diverged: false,
            energy: Some(energy),
            evaluations,
        };
        match end {
            End::At(error) => {
                step.acceptance = (-error).exp().min(1.0);
                if uniform < step.acceptance {
                    std::mem::swap(at, &mut moving.at);
                    step.energy = Some(energy + error);
                }
            }
            End::Outside => {}
            End::Diverged => step.diverged = true,
        }
        Ok(step)
    }

    fn position(state: &HmcState) -> (&[f64], f64) {
        (&state.at.z, state.at.log_density)
    }

    fn step_size(&self) -> f64 {
        self.step_size
    }
}

impl<T: DifferentiableDensity + ?Sized> Flowing<T> for HmcKernel {
    fn tuned(&mut self) -> (&mut f64, &mut Metric) {
        (&mut self.step_size, &mut self.metric)
    }

    fn limit(&mut self, first: bool) {
        let most = if first { FIRST_LEAPFROGS } else { usize::MAX };
        self.max_leapfrogs = self.settings.max_leapfrogs.min(most);
    }

    fn at(state: &HmcState) -> &Position {
        &state.at
    }
}
