//! Move many chains in lock-step along Hamiltonian paths whose length they find together.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::adapt::{DualAveraging, Moments, Windows};
use crate::density::{Counted, Density, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::hmc::leapfrog::{DIVERGENCE, Position, find_step_size};
use crate::hmc::metric::{Metric, MetricKind, axpy, dot, draw_momentum, kinetic_energy};
use crate::likelihood::Points;
use crate::rng::Stream;
use crate::run::engine::{self, Process};
use crate::run::markov::find_start;
use crate::run::{Chain, Run, RunOptions, Step};
use crate::sampler::Sampler;

/// Adam on the logarithm of the path length, without momentum (section 3.2 of the paper).
const LEARNING_RATE: f64 = 0.025;
const SECOND_MOMENT_DECAY: f64 = 0.95;
/// An acceptance of zero would make the harmonic mean zero whatever the others are.
const LEAST_ACCEPTANCE: f64 = 1e-3;

/// ChEES-HMC (Hoffman, Radul & Sountsov 2021, proceedings.mlr.press/v130/hoffman21a): Hamiltonian Monte Carlo
/// whose chains all take the same number of leapfrogs, so that every gradient is one call of
/// `value_and_gradient_batch`. The way to keep a network on an accelerator busy.
///
/// During warm-up the chains' moves tune the path length to the greatest change in their squared distances from
/// the mean, the step size aims at an acceptance (harmonic mean over the chains), and the metric follows the
/// variances over all chains. With few chains the path length is tuned slowly: `RunOptions::chains` of 16 or more
/// serve best, two are the least.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChEesHmc {
    /// The acceptance aimed at, as the harmonic mean over chains.
    pub target_acceptance: f64,
    /// The most leapfrog steps, and so gradients, per draw.
    pub max_leapfrogs: usize,
    /// What the metric can undo.
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
pub(crate) struct Flock {
    positions: Vec<Position>,
    metric: Metric,
    step_size: f64,
    /// The logarithm of the longest path.
    ln_path: f64,
    /// Steps done; also the number of the next length in the sequence.
    step: usize,
    /// Gone after the warm-up.
    tuning: Option<Tuning>,
}

#[derive(Serialize, Deserialize)]
struct Tuning {
    averaging: DualAveraging,
    windows: Windows,
    moments: Moments,
    /// Of the gradient in the logarithm of the path length: its mean square, and the steps that made it.
    mean_square: f64,
    count: i32,
    /// The running mean of that logarithm, whose last value is kept.
    average: f64,
}

/// The ends of the paths of one step.
struct Ends {
    positions: Vec<Position>,
    momenta: Vec<Vec<f64>>,
    /// Energy errors; infinite where a path failed.
    errors: Vec<f64>,
    failed: Vec<bool>,
}

impl ChEesHmc {
    /// Leapfrogs of all chains together. A chain that fails stays where it failed, and goes on in no other way.
    fn paths<T: DifferentiableDensity + ?Sized>(
        &self,
        target: &Counted<'_, T>,
        flock: &Flock,
        mut momenta: Vec<Vec<f64>>,
        leapfrogs: usize,
    ) -> Result<Ends, EvalError> {
        let (chains, dim) = (flock.positions.len(), target.dim());
        let mut positions = flock.positions.clone();
        let mut forces = vec![vec![0.0; dim]; chains];
        let energy = |position: &Position, momentum: &[f64]| kinetic_energy(momentum) - position.log_density;
        let begun: Vec<f64> = positions.iter().zip(&momenta).map(|(p, m)| energy(p, m)).collect();
        let mut going: Vec<usize> = (0..chains).collect();
        let mut failed = vec![false; chains];
        let mut errors = vec![0.0; chains];
        for chain in 0..chains {
            flock.metric.pull_back(&positions[chain].gradient, &mut forces[chain]);
        }
        for _ in 0..leapfrogs {
            for &chain in &going {
                axpy(0.5 * flock.step_size, &forces[chain], &mut momenta[chain]);
                flock.metric.advance(&mut positions[chain].z, &momenta[chain], flock.step_size);
            }
            let failures = evaluate(target, &mut positions, &going)?;
            going.retain(|&chain| {
                if failures.contains(&chain) || positions[chain].log_density == f64::NEG_INFINITY {
                    failed[chain] = failures.contains(&chain);
                    errors[chain] = f64::INFINITY;
                    return false;
                }
                flock.metric.pull_back(&positions[chain].gradient, &mut forces[chain]);
                axpy(0.5 * flock.step_size, &forces[chain], &mut momenta[chain]);
                errors[chain] = energy(&positions[chain], &momenta[chain]) - begun[chain];
                let diverged = errors[chain].is_nan() || errors[chain] > DIVERGENCE;
                if diverged {
                    failed[chain] = true;
                    errors[chain] = f64::INFINITY;
                }
                !diverged
            });
            if going.is_empty() {
                break;
            }
        }
        Ok(Ends {
            positions,
            momenta,
            errors,
            failed,
        })
    }
}

/// Evaluates the positions of `chains` in one call; where that fails, one by one, and says which failed.
fn evaluate<T: DifferentiableDensity + ?Sized>(
    target: &Counted<'_, T>,
    positions: &mut [Position],
    chains: &[usize],
) -> Result<Vec<usize>, EvalError> {
    let dim = target.dim();
    let zs: Vec<f64> = chains.iter().flat_map(|&chain| positions[chain].z.iter().copied()).collect();
    let (mut values, mut gradients) = (vec![0.0; chains.len()], vec![0.0; zs.len()]);
    match target.value_and_gradient_batch(Points::new(&zs, dim)?, &mut values, &mut gradients) {
        Ok(()) => {
            for ((&chain, value), gradient) in chains.iter().zip(values).zip(gradients.chunks_exact(dim)) {
                positions[chain].log_density = value;
                positions[chain].gradient.copy_from_slice(gradient);
            }
            Ok(Vec::new())
        }
        Err(EvalError::Recoverable(_)) => {
            let mut failures = Vec::new();
            for &chain in chains {
                let Position { z, gradient, log_density } = &mut positions[chain];
                match target.value_and_gradient(z, gradient) {
                    Ok(value) => *log_density = value,
                    Err(EvalError::Recoverable(_)) => failures.push(chain),
                    Err(fatal) => return Err(fatal),
                }
            }
            Ok(failures)
        }
        Err(fatal) => Err(fatal),
    }
}

/// The `index`-th number of the base-2 Halton sequence, from 1, in (0, 1): even path lengths serve better than
/// random ones.
fn halton(index: usize) -> f64 {
    let bits = (index as u64).reverse_bits();
    // The upper 53 bits make a number below one.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

impl Tuning {
    /// Moves the path length along the gradient of the expected change in squared distances from the mean
    /// (equation 9 of the paper; ChEES), in the metric's round coordinates.
    fn lengthen(&mut self, flock_path: &mut f64, begun: &[Position], ends: &Ends, metric: &Metric, time: f64) {
        let dim = begun[0].z.len();
        let acceptances: Vec<f64> = ends.errors.iter().map(|error| (-error).exp().min(1.0)).collect();
        let total: f64 = acceptances.iter().sum();
        if total == 0.0 {
            return;
        }
        let mean_of = |positions: &[Position]| {
            let mut mean = vec![0.0; dim];
            let usable = positions.iter().zip(&acceptances).filter(|(_, acceptance)| **acceptance > 0.0);
            let count = usable.clone().count() as f64;
            usable.for_each(|(position, _)| axpy(1.0 / count, &position.z, &mut mean));
            mean
        };
        let (before, after) = (mean_of(begun), mean_of(&ends.positions));
        let mut gradient = 0.0;
        for (chain, acceptance) in acceptances.iter().enumerate() {
            if *acceptance == 0.0 {
                continue;
            }
            let away = |position: &Position, mean: &[f64]| {
                let offset: Vec<f64> = position.z.iter().zip(mean).map(|(z, mean)| z - mean).collect();
                metric.to_round(&offset)
            };
            let (from, to) = (away(&begun[chain], &before), away(&ends.positions[chain], &after));
            let change = dot(&to, &to) - dot(&from, &from);
            gradient += acceptance / total * change * dot(&to, &ends.momenta[chain]);
        }
        gradient *= time;
        if !gradient.is_finite() {
            return;
        }
        self.count += 1;
        self.mean_square += (1.0 - SECOND_MOMENT_DECAY) * (gradient * gradient - self.mean_square);
        let unbiased = self.mean_square / (1.0 - SECOND_MOMENT_DECAY.powi(self.count));
        *flock_path += LEARNING_RATE * gradient / (unbiased.sqrt() + 1e-12);
        // A mean that forgets: what the lengths were in the beginning says nothing.
        self.average += (*flock_path - self.average) * f64::from(self.count).powf(-0.5);
    }
}

impl<T: DifferentiableDensity + ?Sized> Process<T> for ChEesHmc {
    type State = Flock;

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
    ) -> Result<Flock, SampleError> {
        let start = |chain| {
            find_start(target, options.seed, chain, |z| {
                let position = Position::new(target, z)?;
                let log_density = position.log_density;
                Ok((position, log_density))
            })
        };
        let positions = (0..options.chains).map(start).collect::<Result<Vec<_>, _>>()?;
        let metric = Metric::identity(self.metric, target.dim());
        let step_size = find_step_size(target, &metric, &positions[0], 1.0, self.target_acceptance, rng)?;
        let tuning = (options.warmup > 0).then(|| Tuning {
            averaging: DualAveraging::new(self.target_acceptance, step_size),
            windows: Windows::new(options.warmup),
            moments: Moments::new(target.dim()),
            mean_square: 0.0,
            count: 0,
            average: step_size.ln(),
        });
        // Without a warm-up, the path of HMC.
        let ln_path = if tuning.is_some() { step_size.ln() } else { std::f64::consts::PI.ln() };
        Ok(Flock {
            positions,
            metric,
            step_size,
            ln_path,
            step: 0,
            tuning,
        })
    }

    fn advance(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        flock: &mut Flock,
        rng: &mut Stream,
        chains: &mut [Chain],
    ) -> Result<(), EvalError> {
        let dim = target.dim();
        let momenta: Vec<Vec<f64>> = (0..chains.len())
            .map(|_| {
                let mut momentum = vec![0.0; dim];
                draw_momentum(&mut momentum, rng);
                momentum
            })
            .collect();
        let uniforms: Vec<f64> = (0..chains.len()).map(|_| rng.random()).collect();
        let begun_energies: Vec<f64> = flock
            .positions
            .iter()
            .zip(&momenta)
            .map(|(position, momentum)| kinetic_energy(momentum) - position.log_density)
            .collect();
        let time = halton(flock.step + 1) * flock.ln_path.exp();
        let leapfrogs = ((time / flock.step_size).ceil() as usize).clamp(1, self.max_leapfrogs);
        let ends = self.paths(target, flock, momenta, leapfrogs)?;
        flock.step += 1;
        let acceptances: Vec<f64> = ends.errors.iter().map(|error| (-error).exp().min(1.0)).collect();
        let mut tuning = flock.tuning.take();
        if let Some(tuning) = &mut tuning {
            tuning.lengthen(&mut flock.ln_path, &flock.positions, &ends, &flock.metric, time);
            let longest = (self.max_leapfrogs as f64 * flock.step_size).ln();
            flock.ln_path = flock.ln_path.clamp(flock.step_size.ln(), longest);
        }
        let mut energies = begun_energies;
        for (chain, position) in ends.positions.into_iter().enumerate() {
            if uniforms[chain] < acceptances[chain] {
                energies[chain] += ends.errors[chain];
                flock.positions[chain] = position;
            }
        }
        let Some(mut tuned) = tuning else {
            for (chain, draws) in chains.iter_mut().enumerate() {
                let position = &flock.positions[chain];
                let step = Step {
                    acceptance: acceptances[chain],
                    diverged: ends.failed[chain],
                    energy: Some(energies[chain]),
                    evaluations: leapfrogs as u32,
                };
                draws.step_size = Some(flock.step_size);
                draws.push_z(target, &position.z, position.log_density, step);
            }
            return Ok(());
        };
        for (draws, failed) in chains.iter_mut().zip(&ends.failed) {
            draws.warmup_divergences += usize::from(*failed);
        }
        let harmonic = acceptances.iter().map(|a| 1.0 / a.max(LEAST_ACCEPTANCE)).sum::<f64>();
        flock.step_size = tuned.averaging.update(acceptances.len() as f64 / harmonic);
        let step = flock.step - 1;
        if tuned.windows.contain(step) {
            flock.positions.iter().for_each(|position| tuned.moments.push(&position.z));
        }
        if tuned.windows.close_at(step) {
            flock.metric.adapt(&tuned.moments.covariance());
            tuned.moments = Moments::new(dim);
            let start = &flock.positions[0];
            flock.step_size = find_step_size(target, &flock.metric, start, 1.0, self.target_acceptance, rng)?;
            tuned.averaging = DualAveraging::new(self.target_acceptance, flock.step_size);
            // In the new coordinates the posterior is about round, and a quarter turn forgets the start.
            flock.ln_path = std::f64::consts::PI.ln();
            tuned.average = flock.ln_path;
            (tuned.mean_square, tuned.count) = (0.0, 0);
        }
        if flock.step == options.warmup {
            flock.step_size = tuned.averaging.finish();
            flock.ln_path = tuned.average;
        } else {
            flock.tuning = Some(tuned);
        }
        Ok(())
    }

    fn progress(&self, options: &RunOptions, flock: &Flock) -> (usize, usize, bool) {
        let total = options.warmup + options.draws;
        (flock.step, total, flock.step < options.warmup)
    }

    fn position<'s>(&self, flock: &'s Flock) -> Option<(&'s [f64], f64)> {
        let first = flock.positions.first()?;
        Some((&first.z, first.log_density))
    }
}

impl<T: DifferentiableDensity + ?Sized> Sampler<T> for ChEesHmc {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        let invalid = |message: String| Err(SampleError::Invalid(message));
        if !(0.0 < self.target_acceptance && self.target_acceptance < 1.0) {
            return invalid(format!(
                "target_acceptance is {}: choose it between 0 and 1",
                self.target_acceptance
            ));
        }
        if self.max_leapfrogs == 0 {
            return invalid("max_leapfrogs is 0: allow at least one".into());
        }
        if run.chains == 1 {
            return invalid("ChEES-HMC tunes its path by comparing chains: ask for at least 2, better 16".into());
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
