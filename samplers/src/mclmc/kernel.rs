//! Follow a microcanonical path, and accept its end or forget its direction.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Mclmc;
use super::gliding::{Gliding, draw_direction, normalise};
use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::hmc::adaptation::Flowing;
use crate::hmc::kernel::{FIRST_LEAPFROGS, random_leapfrogs};
use crate::hmc::leapfrog::{DIVERGENCE, Position, find_step_size};
use crate::hmc::metric::{Metric, draw_momentum};
use crate::rng::Stream;
use crate::run::Step;
use crate::run::markov::Kernel;

/// Paths of random length, with their step size and metric.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MclmcKernel {
    settings: Mclmc,
    /// In times of a speed of √(d − 1), in which the flow turns as Hamilton's does: step sizes mean the same.
    step_size: f64,
    metric: Metric,
    max_leapfrogs: usize,
}

/// A point of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MclmcState {
    at: Position,
    /// The direction, in the metric's round coordinates.
    direction: Vec<f64>,
    /// Over the last path: the mean square of a step's energy error, per unknown.
    pub(super) error: f64,
    /// Memory for the path.
    #[serde(skip)]
    moving: Gliding,
}

/// What became of a path.
enum Path {
    /// It ended inside the support, with this energy error and this sum of the squares of its steps' errors.
    Inside { error: f64, squares: f64 },
    /// It left the support.
    Outside,
    /// It met a recoverable error or a runaway energy.
    Diverged,
}

impl MclmcKernel {
    pub(super) fn new(settings: Mclmc, dim: usize) -> Self {
        Self {
            settings,
            step_size: 1.0,
            metric: Metric::identity(settings.metric, dim),
            max_leapfrogs: settings.max_leapfrogs,
        }
    }

    fn path<T: DifferentiableDensity + ?Sized>(
        &self,
        target: &Counted<'_, T>,
        moving: &mut Gliding,
        leapfrogs: usize,
        rng: &mut Stream,
    ) -> Result<Path, EvalError> {
        let (mut error, mut squares) = (0.0, 0.0);
        for _ in 0..leapfrogs {
            let step = match moving.leapfrog(target, &self.metric, self.step_size) {
                Ok(Some(step)) => step,
                Ok(None) => return Ok(Path::Outside),
                Err(EvalError::Recoverable(_)) => return Ok(Path::Diverged),
                Err(fatal) => return Err(fatal),
            };
            error += step;
            squares += step * step;
            let runaway = if self.settings.adjusted { error } else { step.abs() };
            if runaway.is_nan() || runaway > DIVERGENCE {
                return Ok(Path::Diverged);
            }
            if !self.settings.adjusted {
                self.forget(&mut moving.direction, rng);
            }
        }
        Ok(Path::Inside { error, squares })
    }

    /// Mixes noise into the direction, so that it is forgotten on the path length.
    fn forget(&self, direction: &mut [f64], rng: &mut Stream) {
        let decay = 2.0 * self.step_size / self.settings.path_length;
        let noise = (decay.exp_m1() / direction.len() as f64).sqrt();
        let mut mixed = vec![0.0; direction.len()];
        draw_momentum(&mut mixed, rng);
        for (mixed, u) in mixed.iter_mut().zip(direction.iter()) {
            *mixed = u + noise * *mixed;
        }
        if normalise(&mut mixed) {
            direction.copy_from_slice(&mixed);
        }
    }
}

impl<T: DifferentiableDensity + ?Sized> Kernel<T> for MclmcKernel {
    type State = MclmcState;

    fn init(
        &mut self,
        target: &Counted<'_, T>,
        z: Vec<f64>,
        rng: &mut Stream,
    ) -> Result<MclmcState, EvalError> {
        let at = Position::new(target, z)?;
        if at.log_density.is_finite() {
            let acceptance = self.settings.target_acceptance;
            self.step_size = find_step_size(target, &self.metric, &at, 1.0, acceptance, rng)?;
        }
        let mut direction = vec![0.0; at.z.len()];
        draw_direction(&mut direction, rng);
        Ok(MclmcState {
            at,
            direction,
            error: 0.0,
            moving: Gliding::default(),
        })
    }

    fn step(
        &self,
        target: &Counted<'_, T>,
        state: &mut MclmcState,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let MclmcState {
            at,
            direction,
            error: mean_square,
            moving,
        } = state;
        if self.settings.adjusted {
            draw_direction(direction, rng);
        }
        moving.start(&self.metric, at, direction);
        let leapfrogs = random_leapfrogs(self.settings.path_length, self.step_size, self.max_leapfrogs, rng);
        let spent = target.evaluations().gradients;
        let path = self.path(target, moving, leapfrogs, rng)?;
        let evaluations = (target.evaluations().gradients - spent) as u32;
        let uniform = rng.random::<f64>();
        *mean_square = f64::INFINITY;
        let mut step = Step {
            evaluations,
            ..Step::default()
        };
        match path {
            Path::Inside { error, squares } => {
                *mean_square = squares / (leapfrogs * at.z.len()) as f64;
                step.acceptance = if self.settings.adjusted {
                    (-error).exp().min(1.0)
                } else {
                    1.0
                };
            }
            Path::Outside => {}
            Path::Diverged => step.diverged = true,
        }
        if uniform < step.acceptance {
            std::mem::swap(at, &mut moving.at);
            std::mem::swap(direction, &mut moving.direction);
        } else {
            // To set out again where the path failed would fail again.
            draw_direction(direction, rng);
        }
        Ok(step)
    }

    fn position(state: &MclmcState) -> (&[f64], f64) {
        (&state.at.z, state.at.log_density)
    }

    fn step_size(&self) -> f64 {
        self.step_size
    }
}

impl<T: DifferentiableDensity + ?Sized> Flowing<T> for MclmcKernel {
    fn tuned(&mut self) -> (&mut f64, &mut Metric) {
        (&mut self.step_size, &mut self.metric)
    }

    fn limit(&mut self, first: bool) {
        let most = if first { FIRST_LEAPFROGS } else { usize::MAX };
        self.max_leapfrogs = self.settings.max_leapfrogs.min(most);
    }

    fn at(state: &MclmcState) -> &Position {
        &state.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hmc::metric::dot;
    use crate::rng::{Purpose, stream};

    #[test]
    fn directions_are_forgotten_on_the_path_length() {
        let kernel = MclmcKernel {
            step_size: 0.1,
            ..MclmcKernel::new(Mclmc::default(), 50)
        };
        let mut rng = stream(3, Purpose::Chain, 0);
        let (steps, walks) = (16, 200);
        let mut left = 0.0;
        for _ in 0..walks {
            let mut direction = vec![0.0; 50];
            draw_direction(&mut direction, &mut rng);
            let begun = direction.clone();
            (0..steps).for_each(|_| kernel.forget(&mut direction, &mut rng));
            left += dot(&begun, &direction) / f64::from(walks);
        }
        // e^(−t/L), each walk with a spread of 1/√50; the fluctuating length changes it by the order of 1/50.
        let expected = (-1.6 / kernel.settings.path_length).exp();
        let tolerance = 5.0 / f64::from(50 * walks).sqrt();
        assert!((left - expected).abs() < tolerance, "{left} for {expected}");
    }
}
