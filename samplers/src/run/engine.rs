//! Run the workers of any sampler: threads, progress, checkpoints, stopping.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::{Folder, Identity};
use super::options::{Converged, Event, Progress};
use super::worker::Worker;
use super::{Chain, Evaluations, Run, RunOptions, StopReason};
use crate::density::{Counted, Density};
use crate::diagnostics;
use crate::error::{EvalError, SampleError};
use crate::rng::{Purpose, Stream, stream};

/// Chains are first judged at this many draws, then at a quarter more each time.
const FIRST_JUDGED: usize = 100;
/// How long a worker goes on where others wait for its thread.
const TURN: Duration = Duration::from_millis(50);

/// By how much, relative to it, the log density at a point may have changed since the run was begun: values in
/// single precision may depend on whether a gradient or a batch was asked for; another target is further off.
const SAME_DENSITY: f64 = 1e-5;

/// A sampler taken apart into independent workers, each a state that can be written down and a step that
/// moves it on. A worker owns one chain, several that move together, or none but its state.
pub(crate) trait Process<T: ?Sized>: Sync {
    /// All that one step hands to the next, tuned settings included.
    type State: Serialize + DeserializeOwned + Send;

    /// The method, in words.
    fn method(&self) -> String;

    /// All settings in words: a run goes on only under those it began with.
    fn settings(&self) -> String;

    /// How many workers there are, and how many chains each owns.
    fn workers(&self, options: &RunOptions) -> (usize, usize) {
        (options.chains, 1)
    }

    /// Where worker `worker` begins.
    ///
    /// # Errors
    /// `NoStart`, or a fatal error of the target.
    fn start(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        worker: usize,
        rng: &mut Stream,
    ) -> Result<Self::State, SampleError>;

    /// Moves the state on, and adds what was drawn to `chains`.
    ///
    /// # Errors
    /// `Fatal` errors of the target; recoverable ones are the sampler's own affair.
    fn advance(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        state: &mut Self::State,
        rng: &mut Stream,
        chains: &mut [Chain],
    ) -> Result<(), EvalError>;

    /// Steps done, steps in all as far as is known, and whether this is warm-up. A worker whose steps are
    /// all done is finished.
    fn progress(&self, options: &RunOptions, state: &Self::State) -> (usize, usize, bool);

    /// A point that the state holds with its log density, to recognise the target by.
    fn position<'s>(&self, _state: &'s Self::State) -> Option<(&'s [f64], f64)> {
        None
    }
}

/// What is left of a run: itself, and the last state of every worker that began.
pub(crate) struct Outcome<S> {
    pub(crate) run: Run,
    pub(crate) states: Vec<S>,
}

struct Engine<'a, T: ?Sized, P> {
    process: &'a P,
    target: &'a T,
    options: &'a RunOptions,
    folder: Option<Folder>,
    workers: usize,
    began: Instant,
}

/// Runs all workers of `process` in the current rayon pool.
///
/// # Errors
/// `SampleError` where the options make no sense, a worker finds no start, the folder cannot be used, or the
/// target failed for good before anything was drawn by a sampler that has chains.
pub(crate) fn run<T, P>(
    process: &P,
    target: &T,
    options: &RunOptions,
) -> Result<Outcome<P::State>, SampleError>
where
    T: Density + ?Sized,
    P: Process<T>,
{
    options.check(target.names().len())?;
    let (workers, chains) = process.workers(options);
    let folder = match &options.checkpoint {
        None => None,
        Some(checkpoint) => {
            let identity = Identity::new(process.method(), process.settings(), target, options);
            Some(Folder::open(checkpoint, identity)?)
        }
    };
    let engine = Engine {
        process,
        target,
        options,
        folder,
        workers,
        began: Instant::now(),
    };
    let begun: Vec<_> = (0..workers)
        .into_par_iter()
        .map(|index| engine.begin(index, chains))
        .collect();
    let mut begun_workers = Vec::with_capacity(workers);
    let mut fatal = None;
    for (index, worker) in begun.into_iter().enumerate() {
        match worker {
            Ok(worker) => begun_workers.push(worker),
            // Other workers may draw something before it fails for them.
            Err(SampleError::Eval(error)) => fatal = fatal.or(Some((index, error.to_string()))),
            Err(error) => return Err(error),
        }
    }
    let mut workers = begun_workers;
    let mut stop = engine.go(&mut workers);
    let failed = workers
        .iter()
        .find_map(|worker| Some((worker.index, worker.fatal.clone()?)));
    let first = match (fatal, failed) {
        (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
        (a, b) => a.or(b),
    };
    if let Some((worker, message)) = first {
        let empty = workers
            .iter()
            .all(|worker| worker.chains.iter().all(Chain::is_empty));
        if empty && chains > 0 {
            return Err(SampleError::Eval(EvalError::Fatal(message)));
        }
        stop = StopReason::Fatal {
            chain: worker * chains.max(1),
            message,
        };
    }
    let mut evaluations = Evaluations::default();
    workers
        .iter()
        .for_each(|worker| evaluations += worker.evaluations);
    let mut states = Vec::with_capacity(workers.len());
    let mut all_chains = Vec::new();
    for worker in workers {
        states.push(worker.state);
        all_chains.extend(worker.chains);
    }
    Ok(Outcome {
        run: Run {
            stop,
            evaluations,
            ..Run::of_chains(process.method(), target.names().to_vec(), all_chains)
        },
        states,
    })
}

impl<T: Density + ?Sized, P: Process<T>> Engine<'_, T, P> {
    /// A worker at its start, or where its checkpoint left it.
    fn begin(&self, index: usize, chains: usize) -> Result<Worker<P::State>, SampleError> {
        let rng = || stream(self.options.seed, Purpose::Chain, index as u64);
        if let Some(folder) = &self.folder
            && let Some(worker) = folder.load::<P::State>(index, chains, rng())?
        {
            self.recognise(&worker)?;
            return Ok(worker);
        }
        let (counted, mut rng) = (Counted::new(self.target), rng());
        let start = || self.process.start(&counted, self.options, index, &mut rng);
        let state = guarded(start).unwrap_or_else(|panic| Err(EvalError::Fatal(panic).into()))?;
        let chains = vec![Chain::default(); chains];
        let mut worker = Worker::new(index, state, rng, chains, counted.evaluations());
        if let Some(folder) = &self.folder {
            folder.save(&mut worker)?;
        }
        Ok(worker)
    }

    /// A resumed chain knows the density at its point: another target would give another.
    fn recognise(&self, worker: &Worker<P::State>) -> Result<(), SampleError> {
        let Some((z, expected)) = self.process.position(&worker.state) else {
            return Ok(());
        };
        let found =
            guarded(|| self.target.log_density(z)).unwrap_or_else(|panic| Err(EvalError::Fatal(panic)))?;
        let close = (found - expected).abs() <= SAME_DENSITY * (1.0 + expected.abs());
        if close || found == expected {
            return Ok(());
        }
        Err(SampleError::Invalid(format!(
            "the run in {} was begun on another target: its log density was {expected} where this one's is \
             {found}; choose another folder",
            self.folder_name()
        )))
    }

    fn folder_name(&self) -> String {
        let folder = self.options.checkpoint.as_ref();
        folder.map_or(String::new(), |checkpoint| {
            checkpoint.folder.display().to_string()
        })
    }

    /// Moves all workers on until they are done or something stops them, and says what.
    fn go(&self, workers: &mut [Worker<P::State>]) -> StopReason {
        let Some(converged) = self.options.until else {
            self.advance_all(workers, usize::MAX);
            return self.reason(workers);
        };
        let mut draws = FIRST_JUDGED;
        loop {
            self.advance_all(workers, draws);
            if workers.iter().all(|worker| self.ended(worker)) || self.halted() {
                return self.reason(workers);
            }
            // Beyond `draws`, an earlier part of a resumed run has found these too few.
            let here = |worker: &Worker<P::State>| worker.chains.iter().all(|chain| chain.len() == draws);
            if workers.iter().all(here) && self.converged(workers, draws, converged) {
                return StopReason::Converged;
            }
            draws += (draws / 4).max(1);
        }
    }

    fn reason(&self, workers: &[Worker<P::State>]) -> StopReason {
        if workers.iter().all(|worker| self.ended(worker)) {
            return StopReason::Completed;
        }
        if self.interrupted() {
            return StopReason::Interrupted;
        }
        StopReason::TimeLimit
    }

    /// Moves all workers on until their chains hold `draws`, and writes down how far they came.
    fn advance_all(&self, workers: &mut [Worker<P::State>], draws: usize) {
        // What may be cut short takes turns, so that no chain is left without draws for want of a thread.
        let may_be_cut = self.options.time_limit.is_some() || self.options.interrupt.is_some();
        let turn = (may_be_cut && workers.len() > rayon::current_num_threads()).then_some(TURN);
        while !self.halted() && workers.iter().any(|worker| self.goes_on(worker, draws)) {
            // One worker a task: the length of their steps is not known.
            workers
                .par_iter_mut()
                .with_max_len(1)
                .for_each(|worker| self.advance(worker, draws, turn));
        }
        workers
            .par_iter_mut()
            .filter(|worker| worker.moved)
            .for_each(|worker| {
                self.save(worker);
            });
    }

    fn goes_on(&self, worker: &Worker<P::State>, draws: usize) -> bool {
        let first = worker.chains.first();
        !self.ended(worker) && first.is_none_or(|chain| chain.len() < draws)
    }

    /// Steps of one worker, until its chains hold `draws` or its turn is over.
    fn advance(&self, worker: &mut Worker<P::State>, draws: usize, turn: Option<Duration>) {
        let counted = Counted::resumed(self.target, worker.evaluations);
        let every = self
            .options
            .checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.every);
        let began = Instant::now();
        while self.goes_on(worker, draws) && !self.halted() && turn.is_none_or(|turn| began.elapsed() < turn)
        {
            let Worker {
                state, rng, chains, ..
            } = worker;
            let step = || self.process.advance(&counted, self.options, state, rng, chains);
            if let Err(error) = guarded(step).unwrap_or_else(|panic| Err(EvalError::Fatal(panic))) {
                worker.fatal = Some(error.to_string());
                // The state may be half a step ahead: the last checkpoint stays.
                worker.moved = false;
                break;
            }
            worker.moved = true;
            let failed = |chain: &Chain| chain.steps.last().is_some_and(|step| step.diverged);
            worker.divergences += worker.chains.iter().filter(|chain| failed(chain)).count();
            self.tell(worker);
            if every.is_some_and(|every| worker.saved.elapsed() >= every) {
                worker.evaluations = counted.evaluations();
                self.save(worker);
            }
        }
        worker.evaluations = counted.evaluations();
    }

    fn tell(&self, worker: &Worker<P::State>) {
        if self.options.observer.is_none() {
            return;
        }
        let (step, total, warmup) = self.process.progress(self.options, &worker.state);
        self.options.tell(Event::Step(Progress {
            worker: worker.index,
            workers: self.workers,
            step,
            total,
            warmup,
            divergences: worker.divergences,
        }));
    }

    /// Writes the worker to disk, if it is to be; one that cannot be written ends.
    fn save(&self, worker: &mut Worker<P::State>) {
        let Some(folder) = &self.folder else {
            return;
        };
        match folder.save(worker) {
            Ok(()) => {
                (worker.saved, worker.moved) = (Instant::now(), false);
                let draws = worker.chains.iter().map(Chain::len).sum();
                self.options.tell(Event::Checkpoint {
                    worker: worker.index,
                    draws,
                });
            }
            Err(error) => worker.fatal = Some(error.to_string()),
        }
    }

    fn ended(&self, worker: &Worker<P::State>) -> bool {
        let (step, total, _) = self.process.progress(self.options, &worker.state);
        worker.fatal.is_some() || step >= total
    }

    fn interrupted(&self) -> bool {
        let flag = self.options.interrupt.as_ref();
        flag.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    fn halted(&self) -> bool {
        let late = |limit| self.began.elapsed() >= limit;
        self.interrupted() || self.options.time_limit.is_some_and(late)
    }

    /// Whether every parameter is below the R̂ and above the number of effective draws that are wanted.
    fn converged(&self, workers: &[Worker<P::State>], draws: usize, wanted: Converged) -> bool {
        let dim = self.target.names().len();
        let (mut rhat, mut ess) = (1.0_f64, f64::INFINITY);
        let column = |index: usize| -> Vec<Vec<f64>> {
            let chains = workers.iter().flat_map(|worker| &worker.chains);
            chains.map(|chain| chain.column(index, dim)).collect()
        };
        let columns: Vec<Vec<Vec<f64>>> = (0..dim).map(column).collect();
        let fixed = diagnostics::fixed(&columns);
        for (chains, _) in columns.iter().zip(fixed).filter(|(_, fixed)| !fixed) {
            // What cannot be judged has not converged.
            rhat = rhat.max(diagnostics::rhat(chains).unwrap_or(f64::INFINITY));
            for judged in [diagnostics::ess_bulk(chains), diagnostics::ess_tail(chains)] {
                ess = ess.min(judged.unwrap_or(0.0));
            }
        }
        self.options.tell(Event::Judged { draws, rhat, ess });
        rhat < wanted.rhat && ess > wanted.ess
    }
}

/// Runs a piece of the user's code; a panic becomes a message, so that no draw of another step is lost.
fn guarded<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("the evaluation panicked: {}", text.unwrap_or("without a message"))
    })
}
