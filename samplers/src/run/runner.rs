//! Run the chains of any kernel: starts, loops, threads, progress, stopping.

use rayon::prelude::*;

use super::{Chain, Run, RunOptions, Step, StopReason};
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::rng::{Purpose, Stream, stream};

/// How many draws from the prior a chain tries as its starting point.
const START_TRIES: usize = 100;

/// One transition that leaves a density invariant, with its settings frozen.
pub(crate) trait Kernel<T: ?Sized>: Clone + Send + Sync {
    /// What one step hands to the next.
    type State: Send;

    /// The state at `z`.
    ///
    /// # Errors
    /// As the target.
    fn init(&mut self, target: &T, z: Vec<f64>, rng: &mut Stream) -> Result<Self::State, EvalError>;

    /// Moves the state on.
    ///
    /// # Errors
    /// `Fatal` errors of the target; recoverable ones are rejections, to be reported in the step.
    fn step(&self, target: &T, state: &mut Self::State, rng: &mut Stream) -> Result<Step, EvalError>;

    /// Where the state is: z, and the log density in z.
    fn position(state: &Self::State) -> (&[f64], f64);

    /// The step size or proposal scale.
    fn step_size(&self) -> f64;
}

/// Tunes a kernel between the steps of the warm-up.
pub(crate) trait Adaptation<T: ?Sized, K: Kernel<T>>: Clone + Send + Sync {
    /// Called once the chain has a state, if there is a warm-up.
    fn begin(&mut self, kernel: &mut K);

    /// Called after each warm-up step.
    ///
    /// # Errors
    /// `Fatal` errors of the target.
    fn update(
        &mut self,
        kernel: &mut K,
        target: &T,
        state: &K::State,
        step: &Step,
        rng: &mut Stream,
    ) -> Result<(), EvalError>;

    /// Called after the last warm-up step: from here on the kernel stays as it is.
    fn finish(&mut self, kernel: &mut K);
}

/// A chain, and the fatal error that cut it short.
struct Outcome {
    chain: Chain,
    fatal: Option<String>,
}

/// Runs `options.chains` chains of `kernel` in the current rayon pool.
pub(crate) fn run_chains<'t, T, K, A>(
    method: &str,
    target: &Counted<'t, T>,
    options: &RunOptions,
    kernel: &K,
    adaptation: &A,
) -> Result<Run, SampleError>
where
    T: Density + ?Sized,
    K: Kernel<Counted<'t, T>>,
    A: Adaptation<Counted<'t, T>, K>,
{
    options.check(target.dim())?;
    let chain = |index| run_chain(target, options, index, kernel.clone(), adaptation.clone());
    let outcomes: Vec<Result<Outcome, SampleError>> =
        (0..options.chains).into_par_iter().map(chain).collect();
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let fatal = outcomes.iter().position(|outcome| outcome.fatal.is_some());
    let stop = match fatal.and_then(|chain| outcomes[chain].fatal.clone().map(|message| (chain, message))) {
        Some((_, message)) if outcomes.iter().all(|outcome| outcome.chain.is_empty()) => {
            return Err(SampleError::Eval(EvalError::Fatal(message)));
        }
        Some((chain, message)) => StopReason::Fatal { chain, message },
        None => StopReason::Completed,
    };
    Ok(Run {
        method: method.to_owned(),
        names: target.names().to_vec(),
        chains: outcomes.into_iter().map(|outcome| outcome.chain).collect(),
        stop,
        evaluations: target.evaluations(),
        approximation: None,
        estimate: None,
        log_evidence: None,
        warnings: Vec::new(),
    })
}

fn run_chain<T, K, A>(
    target: &T,
    options: &RunOptions,
    index: usize,
    mut kernel: K,
    mut adaptation: A,
) -> Result<Outcome, SampleError>
where
    T: Density + ?Sized,
    K: Kernel<T>,
    A: Adaptation<T, K>,
{
    let len = target.names().len();
    let mut rng = stream(options.seed, Purpose::Chain, index as u64);
    let mut chain = Chain {
        draws: Vec::with_capacity(options.draws * len),
        log_density: Vec::with_capacity(options.draws),
        log_weights: None,
        steps: Vec::with_capacity(options.draws),
        warmup_divergences: 0,
        step_size: None,
    };
    let total = options.warmup + options.draws;
    let stopped = |chain, error: EvalError| {
        Ok(Outcome {
            chain,
            fatal: Some(error.to_string()),
        })
    };

    let mut state = match start(target, options, index, &mut kernel, &mut rng) {
        Ok(state) => state,
        // Other chains may have drawn something before.
        Err(SampleError::Eval(error)) => return stopped(chain, error),
        Err(error) => return Err(error),
    };
    if options.warmup > 0 {
        adaptation.begin(&mut kernel);
    }
    for step in 1..=options.warmup {
        let tuned = kernel.step(target, &mut state, &mut rng).and_then(|report| {
            adaptation.update(&mut kernel, target, &state, &report, &mut rng)?;
            Ok(report)
        });
        match tuned {
            Ok(report) => chain.warmup_divergences += usize::from(report.diverged),
            Err(error) => return stopped(chain, error),
        }
        options.report(index, step, total);
    }
    if options.warmup > 0 {
        adaptation.finish(&mut kernel);
    }
    chain.step_size = Some(kernel.step_size());

    let mut x = vec![0.0; len];
    for step in options.warmup + 1..=total {
        match kernel.step(target, &mut state, &mut rng) {
            Ok(report) => chain.steps.push(report),
            Err(error) => return stopped(chain, error),
        }
        let (z, log_density) = K::position(&state);
        target.to_physical(z, &mut x);
        chain.draws.extend_from_slice(&x);
        chain.log_density.push(log_density - target.ln_jacobian(z));
        options.report(index, step, total);
    }
    Ok(Outcome { chain, fatal: None })
}

/// Draws from the prior until one has a finite log density.
fn start<T, K>(
    target: &T,
    options: &RunOptions,
    index: usize,
    kernel: &mut K,
    rng: &mut Stream,
) -> Result<K::State, SampleError>
where
    T: Density + ?Sized,
    K: Kernel<T>,
{
    let mut starts = stream(options.seed, Purpose::Start, index as u64);
    let mut last = String::new();
    for _ in 0..START_TRIES {
        match kernel.init(target, target.initial(&mut starts), rng) {
            Ok(state) if K::position(&state).1.is_finite() => return Ok(state),
            Ok(state) => last = format!("a log density of {}", K::position(&state).1),
            Err(EvalError::Recoverable(message)) => last = message,
            Err(fatal) => return Err(fatal.into()),
        }
    }
    Err(SampleError::NoStart {
        tries: START_TRIES,
        last,
    })
}
