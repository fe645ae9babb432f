//! Let an ensemble of walkers propose moves to one another.

mod moves;

use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::likelihood::Points;
use crate::rng::Stream;
use crate::run::engine::{self, Process};
use crate::run::markov::find_start;
use crate::run::{Chain, Run, RunOptions, Step};
use crate::sampler::Sampler;

pub use moves::Move;

/// Fewer walkers than this cost more in mixing than they save.
const FEWEST_BY_DEFAULT: usize = 32;
/// A snooker move takes three walkers of the other half.
const FEWEST: usize = 6;

/// An affine-invariant ensemble of walkers that learns the shape of the posterior from itself (Goodman & Weare
/// 2010, doi:10.2140/camcos.2010.5.65), by differences and snookers of other walkers (see [`Move`]) on two halves
/// in turn (Foreman-Mackey et al. 2013, arXiv 1202.3665). It works on the real line and needs no gradient and no
/// tuning: warm-up only lets the walkers come from the prior to the posterior.
///
/// There is one ensemble (`chains` is ignored), and every walker gives a chain of `draws`. The walkers of
/// one ensemble are not independent: R̂ over them is a weaker test than over chains that never met, and an
/// ensemble that misses a mode misses it as a whole; run it again under another seed. It suits up to some
/// twenty parameters; above, gradients or random walks of fitted covariance go further (Huijser et al. 2015,
/// arXiv 1509.02230).
///
/// The half that moves is evaluated in one batch. Stretches, the move that emcee is known for, hardly ever cross
/// between separate modes.
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Measured;
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 2 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
///         Ok(-0.5 * ((x[0] - 1.0).powi(2) + ((x[0] - x[1]) / 0.01).powi(2)))
///     }
/// }
/// let prior = Prior::new().with("a", Normal::new(0.0, 10.0)?)?.with("b", Normal::new(0.0, 10.0)?)?;
/// let run = Ensemble::default().sample(&Posterior::new(prior, Measured)?, &RunOptions::default())?;
/// assert!(run.chains.len() == 32 && (run.summary().parameters[1].mean - 1.0).abs() < 0.1);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// An even number of walkers; by default 32, or two for each dimension and two more.
    pub walkers: Option<usize>,
    /// The moves with their weights: each time all walkers move, one is chosen.
    pub moves: Vec<(Move, f64)>,
    /// Moves of every walker per draw; by default as many as there are parameters. A chain keeps the last of
    /// them.
    pub thinning: Option<usize>,
    /// Walkers handed to the density at once, batches in parallel; by default the half that moves, in one.
    /// Choose 1 for a slow density that has no batch of its own.
    pub batch_size: Option<usize>,
}

impl Default for Ensemble {
    /// Differential evolution with a fifth of snooker moves: on Gaussians four times as fast as stretches, and
    /// able to change modes.
    fn default() -> Self {
        Self {
            walkers: None,
            moves: vec![(Move::Differential, 0.8), (Move::Snooker, 0.2)],
            thinning: None,
            batch_size: None,
        }
    }
}

/// The process: settings with their defaults filled in.
struct Walkers<'a> {
    settings: &'a Ensemble,
    walkers: usize,
    thinning: usize,
}

/// The ensemble between two steps.
#[derive(Serialize, Deserialize)]
struct EnsembleState {
    /// Walkers × unknowns.
    z: Vec<f64>,
    log_density: Vec<f64>,
    step: usize,
    #[serde(skip)]
    room: Room,
}

/// Room for half an ensemble's proposals, and for what a step reports of every walker.
#[derive(Default)]
struct Room {
    z: Vec<f64>,
    /// NaN where the evaluation failed.
    log_density: Vec<f64>,
    corrections: Vec<f64>,
    steps: Vec<Step>,
}

impl Walkers<'_> {
    /// A move by weight.
    fn choose(&self, rng: &mut Stream) -> Move {
        let moves = &self.settings.moves;
        let last = moves[moves.len() - 1].0;
        if moves.len() == 1 {
            return last;
        }
        let total: f64 = moves.iter().map(|(_, weight)| weight).sum();
        let mut left = rng.random::<f64>() * total;
        for &(candidate, weight) in moves {
            if left < weight {
                return candidate;
            }
            left -= weight;
        }
        last
    }

    /// Proposes to one half by the other, evaluates, and accepts.
    fn move_half<T: Density + ?Sized>(
        &self,
        target: &Counted<'_, T>,
        state: &mut EnsembleState,
        which: Move,
        second: bool,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        let (half, dim) = (self.walkers / 2, target.dim());
        let EnsembleState {
            z, log_density, room, ..
        } = state;
        let (low, high) = z.split_at_mut(half * dim);
        let (moving, others) = if second { (high, &*low) } else { (low, &*high) };
        let range = if second { half..2 * half } else { 0..half };
        let (log_density, steps) = (&mut log_density[range.clone()], &mut room.steps[range]);

        let pairs = moving.chunks_exact(dim).zip(room.z.chunks_exact_mut(dim));
        for ((from, to), correction) in pairs.zip(&mut room.corrections) {
            *correction = which.propose(from, others, rng, to);
        }
        self.evaluate(target, &room.z, &mut room.log_density)?;

        let points = moving.chunks_exact_mut(dim).zip(room.z.chunks_exact(dim));
        let values = room.log_density.iter().zip(&room.corrections);
        let walkers = points.zip(values).zip(log_density.iter_mut().zip(steps));
        for (((z, to), (&proposed, correction)), (log_density, step)) in walkers {
            if proposed.is_nan() {
                step.diverged = true;
                continue;
            }
            let ratio = proposed - *log_density + correction;
            let acceptance = if ratio >= 0.0 { 1.0 } else { ratio.exp() };
            step.acceptance += acceptance;
            if acceptance >= 1.0 || rng.random::<f64>() < acceptance {
                z.copy_from_slice(to);
                *log_density = proposed;
            }
        }
        Ok(())
    }

    fn evaluate<T: Density + ?Sized>(
        &self,
        target: &Counted<'_, T>,
        zs: &[f64],
        out: &mut [f64],
    ) -> Result<(), EvalError> {
        let dim = target.dim();
        let Some(batch_size) = self.settings.batch_size else {
            return target.log_densities(Points::new(zs, dim)?, out);
        };
        // Batches of a fixed size, so that their bits do not depend on the threads.
        let batches = zs
            .par_chunks(batch_size * dim)
            .zip(out.par_chunks_mut(batch_size));
        let done: Vec<Result<(), EvalError>> = batches
            .map(|(zs, out)| target.log_densities(Points::new(zs, dim)?, out))
            .collect();
        done.into_iter().collect()
    }
}

impl<T: Density + ?Sized> Process<T> for Walkers<'_> {
    type State = EnsembleState;

    fn method(&self) -> String {
        "ensemble".into()
    }

    fn settings(&self) -> String {
        format!("{:?}", self.settings)
    }

    fn workers(&self, _options: &RunOptions) -> (usize, usize) {
        (1, self.walkers)
    }

    fn start(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        _worker: usize,
        _rng: &mut Stream,
    ) -> Result<EnsembleState, SampleError> {
        let mut state = EnsembleState {
            z: Vec::new(),
            log_density: Vec::new(),
            step: 0,
            room: Room::default(),
        };
        for walker in 0..self.walkers {
            let (z, log_density) = find_start(target, options.seed, walker, |z| {
                let log_density = target.log_density(&z)?;
                Ok(((z, log_density), log_density))
            })?;
            state.z.extend(z);
            state.log_density.push(log_density);
        }
        Ok(state)
    }

    fn advance(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        state: &mut EnsembleState,
        rng: &mut Stream,
        chains: &mut [Chain],
    ) -> Result<(), EvalError> {
        let (half, dim) = (self.walkers / 2, target.dim());
        let blank = Step {
            evaluations: self.thinning as u32,
            ..Step::default()
        };
        state.room.z.resize(half * dim, 0.0);
        state.room.log_density.resize(half, 0.0);
        state.room.corrections.resize(half, 0.0);
        state.room.steps.clear();
        state.room.steps.resize(self.walkers, blank);
        for _ in 0..self.thinning {
            let which = self.choose(rng);
            self.move_half(target, state, which, false, rng)?;
            self.move_half(target, state, which, true, rng)?;
        }
        let warmup = state.step < options.warmup;
        state.step += 1;
        let walkers = state.z.chunks_exact(dim).zip(&state.log_density);
        for (chain, ((z, &log_density), step)) in chains.iter_mut().zip(walkers.zip(&state.room.steps)) {
            if warmup {
                chain.warmup_divergences += usize::from(step.diverged);
                continue;
            }
            let acceptance = step.acceptance / self.thinning as f64;
            chain.push_z(target, z, log_density, Step { acceptance, ..*step });
        }
        Ok(())
    }

    fn progress(&self, options: &RunOptions, state: &EnsembleState) -> (usize, usize, bool) {
        let total = options.warmup + options.draws;
        (state.step, total, state.step < options.warmup)
    }

    fn position<'s>(&self, state: &'s EnsembleState) -> Option<(&'s [f64], f64)> {
        let dim = state.z.len() / self.walkers;
        Some((&state.z[..dim], state.log_density[0]))
    }
}

impl<T: Density + ?Sized> Sampler<T> for Ensemble {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        let invalid = |message: String| Err(SampleError::Invalid(message));
        run.check(target.names().len())?;
        let dim = target.dim();
        let enough = (2 * (dim + 1)).max(FEWEST);
        let walkers = self.walkers.unwrap_or(enough.max(FEWEST_BY_DEFAULT));
        if walkers < enough || !walkers.is_multiple_of(2) {
            return invalid(format!(
                "walkers is {walkers}: {dim} unknowns need an even number, {enough} or more"
            ));
        }
        let weights = || self.moves.iter().map(|(_, weight)| *weight);
        if !(weights().all(|weight| weight >= 0.0) && (1e-300..1e300).contains(&weights().sum())) {
            return invalid(format!(
                "moves are {:?}: give at least one, with weights that are not negative",
                self.moves
            ));
        }
        let thinning = self.thinning.unwrap_or(dim);
        if thinning == 0 {
            return invalid("thinning is 0: take at least one move per draw".into());
        }
        if self.batch_size == Some(0) {
            return invalid("batch_size is 0: take at least one walker at once".into());
        }
        let process = Walkers {
            settings: self,
            walkers,
            thinning,
        };
        // Every walker is a chain, and takes the memory of one.
        let options = RunOptions {
            chains: walkers,
            ..run.clone()
        };
        Ok(engine::run(&process, target, &options)?.run)
    }
}
