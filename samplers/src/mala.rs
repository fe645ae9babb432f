//! Drift up the gradient, and accept each step.

use serde::{Deserialize, Serialize};

use crate::density::{Counted, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::hmc::Hmc;
use crate::hmc::adaptation::{Flowing, WarmUp};
use crate::hmc::kernel::{HmcKernel, HmcState};
use crate::hmc::leapfrog::Position;
use crate::hmc::metric::{Metric, MetricKind};
use crate::rng::Stream;
use crate::run::markov::{Kernel, run_chains};
use crate::run::{Run, RunOptions, Step};
use crate::sampler::Sampler;
use crate::settings::check_acceptance;

/// The Metropolis-adjusted Langevin algorithm (Roberts & Tweedie 1996, doi:10.2307/3318418) on the real line.
///
/// Each step is one leapfrog of Hamiltonian Monte Carlo: a Gaussian proposal whose mean lies up the gradient.
/// It needs a gradient, and many more of them than [`Nuts`](crate::Nuts) where there are many parameters: it
/// walks at random. It is a simple peer to compare with, and serves where long paths fail. Step size and
/// metric are tuned during warm-up.
///
/// ```
/// use armilla_samplers::prelude::*;
/// # struct Line;
/// # impl Likelihood for Line {
/// #     fn dim(&self) -> usize { 1 }
/// #     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-0.5 * x[0] * x[0]) }
/// # }
/// # impl DifferentiableLikelihood for Line {
/// #     fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
/// #         gradient[0] = -x[0];
/// #         self.log_likelihood(x)
/// #     }
/// # }
/// let prior = Prior::new().with("x", Normal::new(0.0, 1.0)?)?;
/// let run = Mala::default().sample(&Posterior::new(prior, Line)?, &RunOptions::default())?;
/// assert!((run.summary().parameters[0].sd - 0.5f64.sqrt()).abs() < 0.05);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mala {
    /// The acceptance aimed at.
    pub target_acceptance: f64,
    /// Steps, and so gradients, per draw; by default 2 d^⅓, as the memory of the chain grows with the number
    /// of parameters d. The chain keeps the last of them.
    pub thinning: Option<usize>,
    /// What the warm-up learns of the posterior's shape.
    pub metric: MetricKind,
}

impl Default for Mala {
    /// The acceptance is the best for many parameters (Roberts & Rosenthal 1998, doi:10.1111/1467-9868.00123).
    fn default() -> Self {
        Self {
            target_acceptance: 0.574,
            thinning: None,
            metric: MetricKind::Diagonal,
        }
    }
}

/// Several paths of one leapfrog.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MalaKernel {
    path: HmcKernel,
    thinning: usize,
}

impl<T: DifferentiableDensity + ?Sized> Kernel<T> for MalaKernel {
    type State = HmcState;

    fn init(
        &mut self,
        target: &Counted<'_, T>,
        z: Vec<f64>,
        rng: &mut Stream,
    ) -> Result<HmcState, EvalError> {
        self.path.init(target, z, rng)
    }

    fn step(
        &self,
        target: &Counted<'_, T>,
        state: &mut HmcState,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let mut report = Step::default();
        for _ in 0..self.thinning {
            let step = self.path.step(target, state, rng)?;
            report.acceptance += step.acceptance / self.thinning as f64;
            report.diverged |= step.diverged;
            report.energy = step.energy;
            report.evaluations += step.evaluations;
        }
        Ok(report)
    }

    fn position(state: &HmcState) -> (&[f64], f64) {
        <HmcKernel as Kernel<T>>::position(state)
    }

    fn step_size(&self) -> f64 {
        <HmcKernel as Kernel<T>>::step_size(&self.path)
    }
}

impl<T: DifferentiableDensity + ?Sized> Flowing<T> for MalaKernel {
    fn tuned(&mut self) -> (&mut f64, &mut Metric) {
        <HmcKernel as Flowing<T>>::tuned(&mut self.path)
    }

    /// One leapfrog is the shortest path there is.
    fn limit(&mut self, _first: bool) {}

    fn at(state: &HmcState) -> &Position {
        <HmcKernel as Flowing<T>>::at(state)
    }
}

impl<T: DifferentiableDensity + ?Sized> Sampler<T> for Mala {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        check_acceptance(self.target_acceptance)?;
        let dim = target.dim();
        let thinning = self
            .thinning
            .unwrap_or((2.0 * (dim as f64).cbrt()).ceil() as usize);
        if thinning == 0 {
            let message = "thinning is 0: take at least one step per draw";
            return Err(SampleError::Invalid(message.into()));
        }
        let one_leapfrog = Hmc {
            target_acceptance: self.target_acceptance,
            max_leapfrogs: 1,
            metric: self.metric,
            ..Hmc::default()
        };
        let path = HmcKernel::new(one_leapfrog, dim);
        let adaptation = WarmUp::new(self.target_acceptance, self.metric, dim, run.warmup);
        let method = "Metropolis-adjusted Langevin";
        run_chains(
            method,
            self,
            target,
            run,
            MalaKernel { path, thinning },
            adaptation,
        )
    }
}
