//! Walk at random and accept by the ratio of densities.

use nalgebra::{DMatrix, DVector};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use crate::adapt::{DualAveraging, Moments, Windows};
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::rng::Stream;
use crate::run::markov::{Adaptation, Kernel, run_chains};
use crate::run::{Run, RunOptions, Step};
use crate::sampler::Sampler;

/// Random-walk Metropolis (Metropolis et al. 1953, doi:10.1063/1.1699114) with Gaussian proposals on the
/// real line.
///
/// During warm-up the covariance of the proposals follows that of the chain (Haario et al. 2001,
/// doi:10.2307/3318737) and their scale aims at the acceptance that suits the dimension (Roberts et al.
/// 1997, doi:10.1214/aoap/1034625254). After it both stay, so that the chain is a Markov chain.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MetropolisHastings {
    /// The acceptance aimed at; by default 0.44 for one parameter, else 0.234.
    pub target_acceptance: Option<f64>,
    /// Steps per draw; by default as many as there are parameters. The chain keeps the last of them.
    pub thinning: Option<usize>,
}

/// The proposal.
#[derive(Clone, Serialize, Deserialize)]
struct RandomWalk {
    scale: f64,
    /// The lower Cholesky factor of the covariance.
    factor: DMatrix<f64>,
    thinning: usize,
}

#[derive(Serialize, Deserialize)]
struct MetropolisState {
    z: Vec<f64>,
    log_density: f64,
}

impl<T: Density + ?Sized> Kernel<T> for RandomWalk {
    type State = MetropolisState;

    fn init(
        &mut self,
        target: &Counted<'_, T>,
        z: Vec<f64>,
        _rng: &mut Stream,
    ) -> Result<MetropolisState, EvalError> {
        let log_density = target.log_density(&z)?;
        Ok(MetropolisState { z, log_density })
    }

    fn step(
        &self,
        target: &Counted<'_, T>,
        state: &mut MetropolisState,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let mut report = Step {
            acceptance: 0.0,
            diverged: false,
            energy: None,
            evaluations: self.thinning as u32,
        };
        for _ in 0..self.thinning {
            let noise = DVector::from_fn(state.z.len(), |_, _| rng.sample::<f64, _>(StandardNormal));
            let step = &self.factor * noise * self.scale;
            let proposal: Vec<f64> = state
                .z
                .iter()
                .zip(step.iter())
                .map(|(z, step)| z + step)
                .collect();
            let log_density = match target.log_density(&proposal) {
                Ok(log_density) => log_density,
                Err(EvalError::Recoverable(_)) => {
                    report.diverged = true;
                    f64::NEG_INFINITY
                }
                Err(fatal) => return Err(fatal),
            };
            let acceptance = (log_density - state.log_density).exp().min(1.0);
            report.acceptance += acceptance / self.thinning as f64;
            if rng.random::<f64>() < acceptance {
                *state = MetropolisState {
                    z: proposal,
                    log_density,
                };
            }
        }
        Ok(report)
    }

    fn position(state: &MetropolisState) -> (&[f64], f64) {
        (&state.z, state.log_density)
    }

    fn step_size(&self) -> f64 {
        self.scale
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct AdaptiveProposal {
    averaging: DualAveraging,
    target_acceptance: f64,
    moments: Moments,
    windows: Windows,
    step: usize,
}

impl<T: Density + ?Sized> Adaptation<T, RandomWalk> for AdaptiveProposal {
    fn begin(&mut self, _kernel: &mut RandomWalk, _state: &MetropolisState) {}

    fn update(
        &mut self,
        kernel: &mut RandomWalk,
        _target: &Counted<'_, T>,
        state: &MetropolisState,
        step: &Step,
        _rng: &mut Stream,
    ) -> Result<(), EvalError> {
        kernel.scale = self.averaging.update(step.acceptance);
        if self.windows.contain(self.step) {
            self.moments.push(&state.z);
        }
        if self.windows.close_at(self.step) {
            let dim = state.z.len();
            // A covariance that is singular to rounding leaves the proposal as it was.
            if let Some(cholesky) = self.moments.covariance().cholesky() {
                kernel.factor = cholesky.unpack();
                kernel.scale = best_scale(dim);
                self.averaging = DualAveraging::new(self.target_acceptance, kernel.scale);
            }
            self.moments = Moments::new(dim);
        }
        self.step += 1;
        Ok(())
    }

    fn finish(&mut self, kernel: &mut RandomWalk) {
        kernel.scale = self.averaging.finish();
    }
}

/// The best scale for a Gaussian whose covariance is that of the proposal (Roberts et al. 1997).
pub(crate) fn best_scale(dim: usize) -> f64 {
    2.38 / (dim as f64).sqrt()
}

impl<T: Density + ?Sized> Sampler<T> for MetropolisHastings {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        let dim = target.dim();
        let target_acceptance = self
            .target_acceptance
            .unwrap_or(if dim == 1 { 0.44 } else { 0.234 });
        if !(0.0 < target_acceptance && target_acceptance < 1.0) {
            let message = format!("target_acceptance is {target_acceptance}: choose it between 0 and 1");
            return Err(SampleError::Invalid(message));
        }
        let thinning = self.thinning.unwrap_or(dim);
        if thinning == 0 {
            return Err(SampleError::Invalid(
                "thinning is 0: take at least one step per draw".into(),
            ));
        }
        let scale = best_scale(dim);
        let kernel = RandomWalk {
            scale,
            factor: DMatrix::identity(dim, dim),
            thinning,
        };
        let adaptation = AdaptiveProposal {
            averaging: DualAveraging::new(target_acceptance, scale),
            target_acceptance,
            moments: Moments::new(dim),
            windows: Windows::new(run.warmup),
            step: 0,
        };
        run_chains("Metropolis–Hastings", self, target, run, kernel, adaptation)
    }
}
