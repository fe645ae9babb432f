//! Say how much to sample, when to stop, where to keep it, and whom to tell.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::SampleError;

/// More steps of a chain, or numbers drawn in all chains, than this are a mistake: they take 16 GB.
const MOST_NUMBERS: usize = 1 << 31;

/// How far a worker has come: one chain, one group of chains that move together, one start of an
/// optimiser, or a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which worker, from 0.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
    /// Steps done: warm-up and draws, iterations, or cells.
    pub step: usize,
    /// Steps in all, as far as is known.
    pub total: usize,
    /// Whether the sampler is still being tuned.
    pub warmup: bool,
    /// Divergences and failed evaluations so far.
    pub divergences: usize,
}

/// What a run tells while it goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A worker made a step.
    Step(Progress),
    /// The state of a worker is safe on disk.
    Checkpoint {
        /// Which worker.
        worker: usize,
        /// Its draws on disk.
        draws: usize,
    },
    /// The chains were judged, to see whether to stop.
    Judged {
        /// Draws in each chain.
        draws: usize,
        /// The largest R̂ of a parameter; infinite where one cannot be judged.
        rhat: f64,
        /// The smallest effective sample size, of bulk and tails.
        ess: f64,
    },
}

/// Called from worker threads. It should be quick: the chain waits.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Where a run is kept while it goes on, and how often.
///
/// A run that finds its own earlier part in the folder goes on from there, and ends with the same bits as
/// one that was never interrupted. The folder holds `run.json` (what was asked for), `chain-N.csv` (the draws,
/// readable while they arrive) and `worker-N.state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The folder; made where it is missing.
    pub folder: PathBuf,
    /// The time between two checkpoints of a chain.
    pub every: Duration,
}

impl Checkpoint {
    /// In `folder`, every two seconds.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            every: Duration::from_secs(2),
        }
    }
}

/// When chains are good enough to stop before all draws are made: every parameter below `rhat` and above
/// `ess`, in bulk and tails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Converged {
    /// The largest R̂ allowed.
    pub rhat: f64,
    /// The effective draws wanted, over all chains.
    pub ess: f64,
}

impl Default for Converged {
    /// R̂ < 1.01 and 400 effective draws (Vehtari et al. 2021, arXiv 1903.08008).
    fn default() -> Self {
        Self {
            rhat: 1.01,
            ess: 400.0,
        }
    }
}

/// What every sampler is told.
///
/// ```
/// use armilla_samplers::run::RunOptions;
/// let run = RunOptions { seed: 7, draws: 500, ..RunOptions::default() };
/// assert_eq!(run.chains, 4);
/// ```
#[derive(Clone)]
pub struct RunOptions {
    /// The only source of randomness.
    pub seed: u64,
    /// Independent chains, run in parallel.
    pub chains: usize,
    /// Steps per chain that tune the sampler and are thrown away.
    pub warmup: usize,
    /// Draws kept per chain.
    pub draws: usize,
    /// Stop before `draws` once the chains have converged. They are judged at fixed numbers of draws, so that
    /// the same seed still gives the same bits.
    pub until: Option<Converged>,
    /// Stop after this time, with what was drawn.
    pub time_limit: Option<Duration>,
    /// Stop once this is set, as by a handler of Ctrl-C, with what was drawn.
    pub interrupt: Option<Arc<AtomicBool>>,
    /// Keep the run on disk while it goes on, and go on from there.
    pub checkpoint: Option<Checkpoint>,
    /// Told after every step; [`progress_bars`](crate::run::progress_bars) makes one.
    pub observer: Option<Observer>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            chains: 4,
            warmup: 1000,
            draws: 1000,
            until: None,
            time_limit: None,
            interrupt: None,
            checkpoint: None,
            observer: None,
        }
    }
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions")
            .field("seed", &self.seed)
            .field("chains", &self.chains)
            .field("warmup", &self.warmup)
            .field("draws", &self.draws)
            .field("until", &self.until)
            .field("time_limit", &self.time_limit)
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

impl RunOptions {
    /// Tells the observer, if there is one.
    pub(crate) fn tell(&self, event: Event) {
        if let Some(observer) = &self.observer {
            observer(&event);
        }
    }

    /// Refuses what makes no sense, or more than memory holds, for `dim` numbers a draw.
    pub(crate) fn check(&self, dim: usize) -> Result<(), SampleError> {
        let invalid = |message: String| Err(SampleError::Invalid(message));
        let Self {
            chains,
            warmup,
            draws,
            ..
        } = *self;
        if chains == 0 {
            return invalid("chains is 0: ask for at least one".into());
        }
        if warmup.checked_add(draws).is_none_or(|steps| steps > MOST_NUMBERS) {
            return invalid(format!(
                "warmup {warmup} and draws {draws} are more than {MOST_NUMBERS} steps: ask for fewer"
            ));
        }
        // A chain takes memory even if it has no draws.
        let numbers = chains
            .checked_mul(draws.max(1))
            .and_then(|all| all.checked_mul(dim.max(1)));
        if numbers.is_none_or(|numbers| numbers > MOST_NUMBERS) {
            return invalid(format!(
                "chains {chains} × draws {draws} × parameters {dim} are more than {MOST_NUMBERS} numbers: ask for fewer"
            ));
        }
        match self.until {
            Some(Converged { rhat, ess }) if !(rhat > 1.0 && ess > 0.0 && ess.is_finite()) => {
                invalid(format!(
                    "until R̂ < {rhat} and {ess} effective draws: choose an R̂ above 1 and a positive number of draws"
                ))
            }
            _ => Ok(()),
        }
    }
}
