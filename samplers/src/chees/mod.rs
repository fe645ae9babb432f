//! Move many chains in lock-step along Hamiltonian paths whose length they find together: `ChEesHmc`.

mod flock;
mod tuning;

use serde::{Deserialize, Serialize};

use crate::density::{Counted, Density, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::hmc::MetricKind;
use crate::hmc::leapfrog::Position;
use crate::hmc::metric::Metric;
use crate::rng::Stream;
use crate::run::engine::{self, Process};
use crate::run::markov::find_start;
use crate::run::{Chain, Run, RunOptions};
use crate::sampler::Sampler;
use crate::settings::{check_acceptance, check_leapfrogs};

use flock::Flock;
use tuning::Tuning;

/// The longest path where no warm-up finds it: as lengths lie evenly below, their mean is the quarter turn in which
/// a round Gaussian forgets where it was.
const UNTUNED_LENGTH: f64 = std::f64::consts::PI;

/// ChEES-HMC (Hoffman, Radul & Sountsov 2021, proceedings.mlr.press/v130/hoffman21a): Hamiltonian Monte Carlo
/// whose chains all take the same number of leapfrogs, each of them one call of `value_and_gradient_batch` for
/// all chains. The way to keep a network or an accelerator busy.
///
/// During warm-up the chains tune the path length to the greatest change in their squared distances from the
/// mean, the step size to an acceptance (the harmonic mean over the chains), and the metric to the draws and
/// gradients of all. Lengths then lie evenly between nothing and the longest.
///
/// It needs a gradient and at least two chains; with 16 or more (`RunOptions::chains`) the path length is found
/// fast. Chains that move together run on one thread: the threads are the target's.
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
/// let options = RunOptions { chains: 16, draws: 400, ..RunOptions::default() };
/// let run = ChEesHmc::default().sample(&Posterior::new(prior, Line)?, &options)?;
/// assert!((run.summary().parameters[0].sd - 0.5f64.sqrt()).abs() < 0.05);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChEesHmc {
    /// The acceptance aimed at, as the harmonic mean over the chains.
    pub target_acceptance: f64,
    /// The most leapfrog steps, and so gradients, per draw.
    pub max_leapfrogs: usize,
    /// What the warm-up learns of the posterior's shape.
    pub metric: MetricKind,
}

impl Default for ChEesHmc {
    /// The acceptance is the paper's.
    fn default() -> Self {
        Self {
            target_acceptance: 0.651,
            max_leapfrogs: 512,
            metric: MetricKind::Diagonal,
        }
    }
}

/// All chains between two steps.
#[derive(Serialize, Deserialize)]
pub(crate) struct ChEesState {
    flock: Flock,
    /// The longest path, in time.
    length: f64,
    step: usize,
    /// Gone after the warm-up.
    tuning: Option<Tuning>,
}

/// Number `index`, from 1, of the base-2 sequence of Halton (1960, doi:10.1007/BF01386213), in (0, 1): each new
/// number falls into the widest gap, so that few lengths cover all.
fn halton(index: usize) -> f64 {
    let bits = (index as u64).reverse_bits();
    // The upper 53 bits make a number below one.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

impl<T: DifferentiableDensity + ?Sized> Process<T> for ChEesHmc {
    type State = ChEesState;

    fn method(&self) -> String {
        "ChEES-HMC".into()
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }

    fn workers(&self, options: &RunOptions) -> (usize, usize) {
        (1, options.chains)
    }

    fn start(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        _worker: usize,
        rng: &mut Stream,
    ) -> Result<ChEesState, SampleError> {
        let start = |chain| {
            find_start(target, options.seed, chain, |z| {
                let position = Position::new(target, z)?;
                let log_density = position.log_density;
                Ok((position, log_density))
            })
        };
        let mut flock = Flock {
            positions: (0..options.chains).map(start).collect::<Result<_, _>>()?,
            metric: Metric::identity(self.metric, target.dim()),
            step_size: 1.0,
        };
        let tuning = if options.warmup > 0 {
            Some(Tuning::start(*self, target, &mut flock, options.warmup, rng)?)
        } else {
            flock.find_step_size(target, self.target_acceptance, rng)?;
            None
        };
        Ok(ChEesState {
            flock,
            length: tuning.as_ref().map_or(UNTUNED_LENGTH, Tuning::length),
            step: 0,
            tuning,
        })
    }

    fn advance(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        state: &mut ChEesState,
        rng: &mut Stream,
        chains: &mut [Chain],
    ) -> Result<(), EvalError> {
        let ChEesState {
            flock,
            length,
            step,
            tuning,
        } = state;
        let time = halton(*step + 1) * *length;
        let leapfrogs = (time / flock.step_size).ceil() as usize;
        let paths = flock.paths(target, leapfrogs.clamp(1, self.max_leapfrogs), rng)?;
        if let Some(tuning) = tuning {
            tuning.follow(flock, &paths, time);
        }
        let reports = flock.accept(paths, rng);
        *step += 1;
        match tuning {
            Some(tuned) => {
                tuned.settle(flock, *step, &reports);
                *length = tuned.length();
                for (chain, report) in chains.iter_mut().zip(reports) {
                    chain.warmup_divergences += usize::from(report.diverged);
                }
                if *step == options.warmup {
                    *length = tuned.finish(flock);
                    *tuning = None;
                }
            }
            None => {
                for ((chain, position), report) in chains.iter_mut().zip(&flock.positions).zip(reports) {
                    chain.push_z(target, &position.z, position.log_density, report);
                }
            }
        }
        for chain in chains {
            chain.step_size = Some(flock.step_size);
        }
        Ok(())
    }

    fn progress(&self, options: &RunOptions, state: &ChEesState) -> (usize, usize, bool) {
        let total = options.warmup + options.draws;
        (state.step, total, state.step < options.warmup)
    }

    fn position<'s>(&self, state: &'s ChEesState) -> Option<(&'s [f64], f64)> {
        let first = state.flock.positions.first()?;
        Some((&first.z, first.log_density))
    }
}

impl<T: DifferentiableDensity + ?Sized> Sampler<T> for ChEesHmc {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        check_acceptance(self.target_acceptance)?;
        check_leapfrogs(self.max_leapfrogs)?;
        if run.chains == 1 {
            let message =
                "chains is 1: ChEES-HMC compares chains to tune its path, ask for at least 2, better 16";
            return Err(SampleError::Invalid(message.into()));
        }
        Ok(engine::run(self, target, run)?.run)
    }
}

#[cfg(test)]
mod tests {
    use super::halton;

    #[test]
    fn the_sequence_fills_the_interval_evenly() {
        let first: Vec<f64> = (1..=7).map(halton).collect();
        assert_eq!(first, [0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]);
    }
}
