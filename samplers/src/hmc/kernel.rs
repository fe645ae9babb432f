//! Integrate Hamilton's equations and accept by the energy error.

use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::Hmc;
use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::rng::Stream;
use crate::run::Step;
use crate::run::markov::Kernel;

/// An energy error beyond which the integrator has left the level set for good (the bound of Stan).
const DIVERGENCE: f64 = 1000.0;
/// Path lengths are uniform within this fraction around their mean.
const PATH_JITTER: f64 = 0.2;

/// The leapfrog integrator with its step size and diagonal metric.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HmcKernel {
    settings: Hmc,
    pub(super) step_size: f64,
    /// The variance of each z, which is the inverse of its mass.
    pub(super) variance: Vec<f64>,
    pub(super) max_leapfrogs: usize,
}

/// A point of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HmcState {
    pub(super) z: Vec<f64>,
    log_density: f64,
    gradient: Vec<f64>,
}

/// Where a trajectory ended.
enum End {
    /// Here, with this energy error.
    At(HmcState, f64),
    /// Outside the support.
    Outside,
    /// At a recoverable error or a runaway energy.
    Diverged,
}

impl HmcKernel {
    pub(super) fn new(settings: Hmc, dim: usize) -> Self {
        let max_leapfrogs = settings.max_leapfrogs;
        Self {
            settings,
            step_size: 1.0,
            variance: vec![1.0; dim],
            max_leapfrogs,
        }
    }

    fn momentum(&self, rng: &mut Stream) -> Vec<f64> {
        self.variance
            .iter()
            .map(|v| rng.sample::<f64, _>(StandardNormal) / v.sqrt())
            .collect()
    }

    fn kinetic_energy(&self, momentum: &[f64]) -> f64 {
        0.5 * momentum
            .iter()
            .zip(&self.variance)
            .map(|(p, v)| p * p * v)
            .sum::<f64>()
    }

    fn kick(momentum: &mut [f64], gradient: &[f64], step: f64) {
        momentum
            .iter_mut()
            .zip(gradient)
            .for_each(|(p, g)| *p += step * g);
    }

    /// `leapfrogs` steps from `start`.
    fn trajectory<T: DifferentiableDensity + ?Sized>(
        &self,
        target: &Counted<'_, T>,
        start: &HmcState,
        mut momentum: Vec<f64>,
        leapfrogs: usize,
    ) -> Result<End, EvalError> {
        let energy = self.kinetic_energy(&momentum) - start.log_density;
        let mut state = start.clone();
        for _ in 0..leapfrogs {
            Self::kick(&mut momentum, &state.gradient, 0.5 * self.step_size);
            for ((z, p), v) in state.z.iter_mut().zip(&momentum).zip(&self.variance) {
                *z += self.step_size * v * p;
            }
            state.log_density = match target.value_and_gradient(&state.z, &mut state.gradient) {
                Ok(f64::NEG_INFINITY) => return Ok(End::Outside),
                Ok(log_density) => log_density,
                Err(EvalError::Recoverable(_)) => return Ok(End::Diverged),
                Err(fatal) => return Err(fatal),
            };
            Self::kick(&mut momentum, &state.gradient, 0.5 * self.step_size);
            let error = self.kinetic_energy(&momentum) - state.log_density - energy;
            if error.is_nan() || error > DIVERGENCE {
                return Ok(End::Diverged);
            }
        }
        let error = self.kinetic_energy(&momentum) - state.log_density - energy;
        Ok(End::At(state, error))
    }

    /// Doubles or halves the step size until a single leapfrog's acceptance crosses the one aimed at
    /// (Hoffman & Gelman 2014, algorithm 4).
    pub(super) fn find_step_size<T: DifferentiableDensity + ?Sized>(
        &mut self,
        target: &Counted<'_, T>,
        state: &HmcState,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        let mut growing = None;
        // 2^±60 is beyond all sense; a density that is flat to there gets what it has.
        for _ in 0..60 {
            let momentum = self.momentum(rng);
            let acceptance = match self.trajectory(target, state, momentum, 1)? {
                End::At(_, error) => (-error).exp(),
                End::Outside | End::Diverged => 0.0,
            };
            let grow = acceptance > self.settings.target_acceptance;
            if growing.is_some_and(|growing| growing != grow) {
                break;
            }
            growing = Some(grow);
            self.step_size *= if grow { 2.0 } else { 0.5 };
        }
        Ok(())
    }

    /// A path of random length, in whole steps whose mean is that of the path.
    fn leapfrogs(&self, rng: &mut Stream) -> usize {
        let jitter = 1.0 + PATH_JITTER * (2.0 * rng.random::<f64>() - 1.0);
        let steps = self.settings.path_length * jitter / self.step_size + rng.random::<f64>();
        (steps as usize).clamp(1, self.max_leapfrogs)
    }
}

impl<T: DifferentiableDensity + ?Sized> Kernel<T> for HmcKernel {
    type State = HmcState;

    fn init(
        &mut self,
        target: &Counted<'_, T>,
        z: Vec<f64>,
        rng: &mut Stream,
    ) -> Result<HmcState, EvalError> {
        let mut gradient = vec![0.0; z.len()];
        let log_density = target.value_and_gradient(&z, &mut gradient)?;
        let state = HmcState {
            z,
            log_density,
            gradient,
        };
        if log_density.is_finite() {
            self.find_step_size(target, &state, rng)?;
        }
        Ok(state)
    }

    fn step(
        &self,
        target: &Counted<'_, T>,
        state: &mut HmcState,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let momentum = self.momentum(rng);
        let leapfrogs = self.leapfrogs(rng);
        let kinetic = self.kinetic_energy(&momentum);
        let spent = target.evaluations().gradients;
        let end = self.trajectory(target, state, momentum, leapfrogs)?;
        let evaluations = (target.evaluations().gradients - spent) as u32;
        let energy = kinetic - state.log_density;
        let uniform = rng.random::<f64>();
        let mut step = Step {
            acceptance: 0.0,
            diverged: false,
            energy: Some(energy),
            evaluations,
        };
        match end {
            End::At(proposal, error) => {
                step.acceptance = (-error).exp().min(1.0);
                if uniform < step.acceptance {
                    *state = proposal;
                    step.energy = Some(energy + error);
                }
            }
            End::Outside => {}
            End::Diverged => step.diverged = true,
        }
        Ok(step)
    }

    fn position(state: &HmcState) -> (&[f64], f64) {
        (&state.z, state.log_density)
    }

    fn step_size(&self) -> f64 {
        self.step_size
    }
}
