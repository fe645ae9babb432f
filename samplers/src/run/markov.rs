//! Turn a kernel and its adaptation into chains: starts, warm-up, draws.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::engine::{self, Process};
use super::{Chain, Run, RunOptions, Step};
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::rng::{Purpose, Stream, stream};

/// How many draws from the prior a chain tries as its starting point.
const START_TRIES: usize = 100;

/// One transition that leaves a density invariant, with its settings frozen. It is written to checkpoints
/// with its settings.
pub(crate) trait Kernel<T: ?Sized>: Clone + Send + Sync + Serialize + DeserializeOwned {
    /// What one step hands to the next.
    type State: Send + Serialize + DeserializeOwned;

    /// The state at `z`.
    ///
    /// # Errors
    /// As the target.
    fn init(
        &mut self,
        target: &Counted<'_, T>,
        z: Vec<f64>,
        rng: &mut Stream,
    ) -> Result<Self::State, EvalError>;

    /// Moves the state on.
    ///
    /// # Errors
    /// `Fatal` errors of the target; recoverable ones are rejections, to be reported in the step.
    fn step(
        &self,
        target: &Counted<'_, T>,
        state: &mut Self::State,
        rng: &mut Stream,
    ) -> Result<Step, EvalError>;

    /// Where the state is: z, and the log density in z.
    fn position(state: &Self::State) -> (&[f64], f64);

    /// A point that the target is recognised by, and its log density there: the state's own, unless that is
    /// an estimate.
    fn witness(state: &Self::State) -> (&[f64], f64) {
        Self::position(state)
    }

    /// The log weight of the state as a draw, where draws differ in it.
    fn log_weight(&self, _state: &Self::State) -> Option<f64> {
        None
    }

    /// The step size or proposal scale.
    fn step_size(&self) -> f64;
}

/// Tunes a kernel between the steps of the warm-up.
pub(crate) trait Adaptation<T: ?Sized, K: Kernel<T>>:
    Clone + Send + Sync + Serialize + DeserializeOwned
{
    /// Called once the chain has a state, if there is a warm-up.
    fn begin(&mut self, kernel: &mut K, state: &K::State);

    /// Called after each warm-up step.
    ///
    /// # Errors
    /// `Fatal` errors of the target.
    fn update(
        &mut self,
        kernel: &mut K,
        target: &Counted<'_, T>,
        state: &K::State,
        step: &Step,
        rng: &mut Stream,
    ) -> Result<(), EvalError>;

    /// Called after the last warm-up step: from here on the kernel stays as it is.
    fn finish(&mut self, kernel: &mut K);
}

/// Independent Markov chains of one kernel.
struct Markov<'a, K, A> {
    method: &'a str,
    settings: String,
    kernel: K,
    adaptation: A,
}

/// A chain between two steps.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Moving<T: ?Sized, K: Kernel<T>, A: Adaptation<T, K>> {
    kernel: K,
    /// Gone after the warm-up.
    adaptation: Option<A>,
    state: K::State,
    step: usize,
    target: PhantomData<fn(&T)>,
}

/// Runs `options.chains` chains of `kernel` in the current rayon pool. `settings` are those that the user gave.
pub(crate) fn run_chains<T, K, A>(
    method: &str,
    settings: &impl std::fmt::Debug,
    target: &T,
    options: &RunOptions,
    kernel: K,
    adaptation: A,
) -> Result<Run, SampleError>
where
    T: Density + ?Sized,
    K: Kernel<T>,
    A: Adaptation<T, K>,
{
    Ok(run_kernels(method, settings, target, options, kernel, adaptation)?.0)
}

/// As `run_chains`, but also gives the kernel of each chain as the warm-up has tuned it.
pub(crate) fn run_kernels<T, K, A>(
    method: &str,
    settings: &impl std::fmt::Debug,
    target: &T,
    options: &RunOptions,
    kernel: K,
    adaptation: A,
) -> Result<(Run, Vec<K>), SampleError>
where
    T: Density + ?Sized,
    K: Kernel<T>,
    A: Adaptation<T, K>,
{
    let process = Markov {
        method,
        settings: format!("{settings:?}"),
        kernel,
        adaptation,
    };
    let outcome = engine::run(&process, target, options)?;
    let kernels = outcome.states.into_iter().map(|moving| moving.kernel);
    Ok((outcome.run, kernels.collect()))
}

impl<T, K, A> Process<T> for Markov<'_, K, A>
where
    T: Density + ?Sized,
    K: Kernel<T>,
    A: Adaptation<T, K>,
{
    type State = Moving<T, K, A>;

    fn method(&self) -> String {
        self.method.to_owned()
    }

    fn settings(&self) -> String {
        self.settings.clone()
    }

    fn start(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        worker: usize,
        rng: &mut Stream,
    ) -> Result<Self::State, SampleError> {
        let mut kernel = self.kernel.clone();
        let state = find_start(target, options.seed, worker, |z| {
            let state = kernel.init(target, z, rng)?;
            let log_density = K::position(&state).1;
            Ok((state, log_density))
        })?;
        let mut adaptation = None;
        if options.warmup > 0 {
            let tuning = adaptation.insert(self.adaptation.clone());
            tuning.begin(&mut kernel, &state);
        }
        Ok(Moving {
            kernel,
            adaptation,
            state,
            step: 0,
            target: PhantomData,
        })
    }

    fn advance(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        moving: &mut Self::State,
        rng: &mut Stream,
        chains: &mut [Chain],
    ) -> Result<(), EvalError> {
        let Moving {
            kernel,
            adaptation,
            state,
            step,
            ..
        } = moving;
        let report = kernel.step(target, state, rng)?;
        *step += 1;
        for chain in chains {
            if let Some(tuning) = adaptation.as_mut() {
                tuning.update(kernel, target, state, &report, rng)?;
                chain.warmup_divergences += usize::from(report.diverged);
                if *step == options.warmup {
                    tuning.finish(kernel);
                    chain.step_size = Some(kernel.step_size());
                    *adaptation = None;
                }
            } else {
                chain.step_size = Some(kernel.step_size());
                let (z, log_density) = K::position(state);
                chain.push_z(target, z, log_density, report);
                if let Some(log_weight) = kernel.log_weight(state) {
                    chain.log_weights.get_or_insert_default().push(log_weight);
                }
            }
        }
        Ok(())
    }

    fn progress(&self, options: &RunOptions, moving: &Self::State) -> (usize, usize, bool) {
        let total = options.warmup + options.draws;
        (moving.step, total, moving.step < options.warmup)
    }

    fn position<'s>(&self, moving: &'s Self::State) -> Option<(&'s [f64], f64)> {
        Some(K::witness(&moving.state))
    }
}

/// Draws from the prior until `init` finds a finite log density, and gives what `init` made of it.
///
/// # Errors
/// `NoStart` after a hundred draws; fatal errors of the target.
pub(crate) fn find_start<T: Density + ?Sized, S>(
    target: &Counted<'_, T>,
    seed: u64,
    index: usize,
    mut init: impl FnMut(Vec<f64>) -> Result<(S, f64), EvalError>,
) -> Result<S, SampleError> {
    let mut starts = stream(seed, Purpose::Start, index as u64);
    let mut last = String::new();
    for _ in 0..START_TRIES {
        match init(target.initial(&mut starts)) {
            Ok((state, log_density)) if log_density.is_finite() => return Ok(state),
            Ok((_, log_density)) => last = format!("a log density of {log_density}"),
            Err(EvalError::Recoverable(message)) => last = message,
            Err(fatal) => return Err(fatal.into()),
        }
    }
    Err(SampleError::NoStart {
        tries: START_TRIES,
        last,
    })
}
