//! Walk at random and accept by the ratio of densities.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::adapt::random_walk::{target_acceptance, thinning};
use crate::adapt::{AdaptiveWalk, RandomWalk, Walks};
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::rng::Stream;
use crate::run::markov::{Kernel, run_chains};
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

#[derive(Clone, Serialize, Deserialize)]
struct Metropolis {
    walk: RandomWalk,
    thinning: usize,
}

impl Walks for Metropolis {
    fn walk(&mut self) -> &mut RandomWalk {
        &mut self.walk
    }
}

#[derive(Serialize, Deserialize)]
struct MetropolisState {
    z: Vec<f64>,
    log_density: f64,
}

impl<T: Density + ?Sized> Kernel<T> for Metropolis {
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
            let proposal = self.walk.propose(&state.z, rng);
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
        self.walk.scale
    }
}

impl<T: Density + ?Sized> Sampler<T> for MetropolisHastings {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        let dim = target.dim();
        let target_acceptance = target_acceptance(self.target_acceptance, dim)?;
        let kernel = Metropolis {
            walk: RandomWalk::new(dim),
            thinning: thinning(self.thinning, dim)?,
        };
        let adaptation = AdaptiveWalk::new(target_acceptance, dim, run.warmup);
        run_chains("Metropolis–Hastings", self, target, run, kernel, adaptation)
    }
}
