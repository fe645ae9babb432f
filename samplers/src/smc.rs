//! Carry particles from the prior to the posterior, and count the evidence on the way.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::adapt::random_walk::best_acceptance;
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::likelihood::Likelihood;
use crate::posterior::Posterior;
use crate::rng::Stream;
use crate::run::engine::{self, Outcome, Process};
use crate::run::{Chain, Run, RunOptions, Step, StopReason};
use crate::sampler::Sampler;
use crate::tempered::{Swarm, Walk, log_sum_exp, mean_and_sd};

/// Particles have moved enough once no unknown correlates more than this with where it was.
const FORGOTTEN: f64 = 0.1;
/// Or once twice the sweeps did not bring a correlation below this part of what it was: what is left is
/// memory of a mode, which no walk forgets.
const STALLED: f64 = 0.9;
/// Most sweeps at one temperature, in units of the number of unknowns: a walk forgets in eight or so.
const MOST_SWEEPS: usize = 64;
/// Halvings of the interval of temperatures: more than a step of them could need.
const HALVINGS: usize = 100;
/// Evidences of repetitions that scatter by more than this factor, as a logarithm, are no estimates.
const SCATTER: f64 = 0.5;

/// Tempered sequential Monte Carlo (Del Moral et al. 2006, doi:10.1111/j.1467-9868.2006.00553.x; Chopin &
/// Papaspiliopoulos 2020, doi:10.1007/978-3-030-47845-2; Buchholz et al. 2021, arXiv 1808.07730) with the
/// evidence.
///
/// `draws` particles are drawn from the prior and carried through p(data | x)^β p(x) from β = 0 to 1. Each
/// β is chosen so that the weights leave a set fraction of the particles effective; they are resampled
/// (systematically) and moved by random walks of their own covariance until they forgot where they were. It
/// needs no gradient and no warm-up (`warmup` is ignored), finds separate modes if particles of the prior
/// do, and asks the likelihood in large batches.
///
/// There are `chains` independent repetitions. The evidence is their mean, its error comes from their
/// scatter, and the draws of all weigh the same. The prior counts as normalised; where an evaluation fails,
/// the likelihood counts as zero. Progress is β in per mille. A run that is stopped has no draws yet.
///
/// A walk of one covariance does not follow a posterior whose width differs from place to place, and the
/// repetitions then agree on too small an evidence: of a funnel of five numbers, whose scale e^(v/2) has v normal
/// with standard deviation 2, ln of it comes out too small by 1.6 with an error of 0.1 (2000 particles). Nothing
/// warns of that: compare with [`ParallelTempering`](crate::ParallelTempering).
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Measured;
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-0.5 * x[0] * x[0]) }
/// }
/// let posterior = Posterior::new(Prior::new().with("mu", Normal::new(0.0, 3.0)?)?, Measured)?;
/// let run = Smc::default().sample(&posterior, &RunOptions::default())?;
/// // ∫ exp(−x²/2) N(x; 0, 3²) dx = 1/√10.
/// let (evidence, error) = (run.log_evidence.unwrap(), run.log_evidence_error.unwrap());
/// assert!((evidence + 0.5 * 10f64.ln()).abs() < 0.1 && error < 0.1);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smc {
    /// The fraction of the particles that the weights of a new temperature leave effective.
    pub effective: f64,
    /// Particles handed to the likelihood at once; batches are evaluated in parallel.
    pub batch_size: usize,
}

impl Default for Smc {
    /// Half of the particles effective, batches of 64.
    fn default() -> Self {
        Self {
            effective: 0.5,
            batch_size: 64,
        }
    }
}

/// The particles of one repetition between two sweeps.
#[derive(Serialize, Deserialize)]
struct SmcState {
    particles: Swarm,
    temperature: f64,
    log_evidence: f64,
    walk: Walk,
    /// Where the particles were when this temperature began, while they move.
    origin: Option<Vec<f64>>,
    /// Their correlations with it at the last look.
    correlations: Vec<f64>,
    sweeps: usize,
    failures: usize,
    done: bool,
    #[serde(skip)]
    proposals: Swarm,
}

impl SmcState {
    /// Chooses the next temperature, reweighs and resamples.
    fn heat(&mut self, effective: f64, rng: &mut Stream) {
        let count = self.particles.len();
        let log_likelihood = &self.particles.log_likelihood;
        let most = 1.0 - self.temperature;
        let step = next_step(log_likelihood, most, effective);
        let next = (self.temperature + step).max(self.temperature.next_up());
        // A likelihood of zero stays zero whatever the step.
        let log_weights: Vec<f64> = log_likelihood.iter().map(|value| step * value).collect();
        let log_sum = log_sum_exp(log_weights.iter().copied());
        self.log_evidence += log_sum - (count as f64).ln();
        self.temperature = if step == most { 1.0 } else { next };
        let mut resampled = Swarm::new(count, self.particles.dim());
        let ancestors = systematic(log_weights.iter().map(|weight| (weight - log_sum).exp()), rng);
        for (index, ancestor) in ancestors.into_iter().enumerate() {
            resampled.set(index, &self.particles, ancestor);
        }
        self.particles = resampled;
        self.walk.shape(&self.particles.z);
        self.origin = Some(self.particles.z.clone());
        self.correlations = vec![f64::INFINITY; self.particles.dim()];
        self.sweeps = 0;
    }

    /// Moves every particle once.
    fn sweep<L: Likelihood>(
        &mut self,
        target: &Counted<'_, Posterior<L>>,
        batch_size: usize,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        let (count, dim) = (self.particles.len(), target.dim());
        if self.proposals.len() != count {
            self.proposals = Swarm::new(count, dim);
        }
        for index in 0..count {
            let z = self.particles.point(index);
            self.walk.propose(z, rng, self.proposals.point_mut(index));
        }
        self.failures += self.proposals.evaluate(target, 0, batch_size)?;
        let mut accepted = 0.0;
        for index in 0..count {
            let acceptance = self
                .particles
                .acceptance(index, &self.proposals, self.temperature);
            accepted += acceptance;
            if rng.random::<f64>() < acceptance {
                self.particles.set(index, &self.proposals, index);
            }
        }
        // So many particles tell the acceptance well: the next sweep makes up for what this one missed.
        self.walk.scale *= (accepted / count as f64 - best_acceptance(dim)).exp();
        self.sweeps += 1;
        Ok(())
    }

    /// Whether the particles have moved enough. They are looked at after `dim` sweeps, then at each doubling.
    fn settled(&mut self) -> bool {
        let (count, dim) = (self.particles.len(), self.particles.dim());
        let Some(origin) = &self.origin else {
            return true;
        };
        if !(self.sweeps.is_multiple_of(dim) && (self.sweeps / dim).is_power_of_two()) {
            return false;
        }
        // Independent particles correlate by chance.
        let limit = FORGOTTEN.max(2.0 / (count as f64).sqrt());
        let mut settled = true;
        for (index, before) in self.correlations.iter_mut().enumerate() {
            let column = |z: &'_ [f64]| -> Vec<f64> { z.iter().skip(index).step_by(dim).copied().collect() };
            let now = correlation(&column(origin), &column(&self.particles.z));
            settled &= now < limit || now > STALLED * *before;
            *before = now;
        }
        settled || self.sweeps >= MOST_SWEEPS * dim
    }
}

/// The sampler and the number of its particles, which decides over all that follows.
#[derive(Debug)]
struct Repetitions {
    settings: Smc,
    particles: usize,
}

impl<L: Likelihood> Process<Posterior<L>> for Repetitions {
    type State = SmcState;

    fn method(&self) -> String {
        "sequential Monte Carlo".into()
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }

    fn start(
        &self,
        target: &Counted<'_, Posterior<L>>,
        _options: &RunOptions,
        _worker: usize,
        rng: &mut Stream,
    ) -> Result<SmcState, SampleError> {
        let (count, dim) = (self.particles, target.dim());
        let mut particles = Swarm::new(count, dim);
        for index in 0..count {
            particles.point_mut(index).copy_from_slice(&target.initial(rng));
        }
        let failures = particles.evaluate(target, 0, self.settings.batch_size)?;
        for value in particles.log_likelihood.iter_mut().filter(|value| value.is_nan()) {
            *value = f64::NEG_INFINITY;
        }
        if count > 0 && particles.log_likelihood.iter().all(|value| value.is_infinite()) {
            // What was wrong with the last of them.
            let last = match target.log_density(particles.point(count - 1)) {
                Err(EvalError::Recoverable(message)) => message,
                value => format!("a log density of {}", value?),
            };
            return Err(SampleError::NoStart { tries: count, last });
        }
        Ok(SmcState {
            particles,
            temperature: 0.0,
            log_evidence: 0.0,
            walk: Walk::new(dim),
            origin: None,
            correlations: Vec::new(),
            sweeps: 0,
            failures,
            done: count == 0,
            proposals: Swarm::default(),
        })
    }

    fn advance(
        &self,
        target: &Counted<'_, Posterior<L>>,
        _options: &RunOptions,
        state: &mut SmcState,
        rng: &mut Stream,
        chains: &mut [Chain],
    ) -> Result<(), EvalError> {
        if state.origin.is_none() {
            state.heat(self.settings.effective, rng);
        }
        state.sweep(target, self.settings.batch_size, rng)?;
        if !state.settled() {
            return Ok(());
        }
        state.origin = None;
        state.done = state.temperature == 1.0;
        for chain in chains.iter_mut().filter(|_| state.done) {
            for index in 0..state.particles.len() {
                let log_density = state.particles.log_density(index);
                chain.push_z(target, state.particles.point(index), log_density, Step::default());
            }
            // Particles are no Markov chain: to judge them as one would mislead.
            chain.steps.clear();
        }
        Ok(())
    }

    fn progress(&self, _options: &RunOptions, state: &SmcState) -> (usize, usize, bool) {
        let reached = (1000.0 * state.temperature) as usize;
        (if state.done { 1000 } else { reached.min(999) }, 1000, false)
    }

    fn position<'s>(&self, state: &'s SmcState) -> Option<(&'s [f64], f64)> {
        let particles = &state.particles;
        let possible = (0..particles.len()).find(|&index| particles.log_likelihood[index].is_finite())?;
        Some((particles.point(possible), particles.log_density(possible)))
    }
}

impl<L: Likelihood> Sampler<Posterior<L>> for Smc {
    fn sample(&self, target: &Posterior<L>, run: &RunOptions) -> Result<Run, SampleError> {
        let invalid = |message: String| Err(SampleError::Invalid(message));
        if !(0.0 < self.effective && self.effective < 1.0) {
            let effective = self.effective;
            return invalid(format!(
                "effective is {effective}: choose a fraction between 0 and 1"
            ));
        }
        if self.batch_size == 0 {
            return invalid("batch_size is 0: take at least one particle at once".into());
        }
        let repetitions = Repetitions {
            settings: *self,
            particles: run.draws,
        };
        let Outcome { mut run, states } = engine::run(&repetitions, target, run)?;
        let failures: usize = states.iter().map(|state| state.failures).sum();
        if failures > 0 {
            run.warnings.push(format!(
                "{failures} of {} evaluations failed: there the likelihood counts as zero",
                run.evaluations.values
            ));
        }
        if run.stop == StopReason::Completed && !run.is_empty() {
            let evidences: Vec<f64> = states.iter().map(|state| state.log_evidence).collect();
            let count = evidences.len() as f64;
            // Each repetition is an unbiased estimate of the evidence, not of its logarithm.
            run.log_evidence = Some(log_sum_exp(evidences.iter().copied()) - count.ln());
            let (_, sd) = mean_and_sd(&evidences);
            run.log_evidence_error = sd.map(|sd| sd / count.sqrt());
            if let Some(sd) = sd.filter(|&sd| sd > SCATTER) {
                run.warnings.push(format!(
                    "the log evidences of the repetitions scatter by {sd:.2}: take more particles"
                ));
            }
        }
        Ok(run)
    }
}

/// The step of β, at most `most`, after which the weights exp(step × log likelihood) leave the fraction
/// `effective` of the possible particles.
fn next_step(log_likelihood: &[f64], most: f64, effective: f64) -> f64 {
    let possible = || log_likelihood.iter().filter(|value| value.is_finite());
    let wanted = effective * possible().count() as f64;
    let largest = possible().copied().fold(f64::NEG_INFINITY, f64::max);
    let enough = |step: f64| {
        let (mut sum, mut squares) = (0.0, 0.0);
        for value in possible() {
            let weight = (step * (value - largest)).exp();
            sum += weight;
            squares += weight * weight;
        }
        sum * sum >= wanted * squares
    };
    if enough(most) {
        return most;
    }
    let (mut low, mut high) = (0.0, most);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if enough(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// One ancestor for each weight, from evenly spaced points of the weights' sum with one random offset.
fn systematic(weights: impl ExactSizeIterator<Item = f64>, rng: &mut impl Rng) -> Vec<usize> {
    let count = weights.len();
    let offset = rng.random::<f64>();
    let mut ancestors = Vec::with_capacity(count);
    let (mut reached, mut last) = (0.0, 0);
    for (index, weight) in weights.enumerate() {
        reached += weight * count as f64;
        if weight > 0.0 {
            last = index;
        }
        while ancestors.len() < count && ancestors.len() as f64 + offset < reached {
            ancestors.push(index);
        }
    }
    // Rounding may leave the sum a little short.
    ancestors.resize(count, last);
    ancestors
}

/// Pearson's correlation; 0 where there is no variance.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut product, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        product += (a - mean_a) * (b - mean_b);
        of_a += (a - mean_a).powi(2);
        of_b += (b - mean_b).powi(2);
    }
    let scale = (of_a * of_b).sqrt();
    if scale > 0.0 { product / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn steps_leave_the_wanted_fraction() {
        let values: Vec<f64> = (0..100).map(|i| -0.1 * f64::from(i * i)).collect();
        let step = next_step(&values, 1.0, 0.5);
        let weights: Vec<f64> = values.iter().map(|value| (step * value).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let effective = sum * sum / weights.iter().map(|weight| weight * weight).sum::<f64>();
        assert!((effective - 50.0).abs() < 1e-6, "{effective}");
        // Particles without a likelihood are not counted, equal ones need no step between.
        let with_impossible: Vec<f64> = values.iter().copied().chain([f64::NEG_INFINITY; 300]).collect();
        assert_eq!(next_step(&with_impossible, 1.0, 0.5), step);
        assert_eq!(next_step(&[-3.0; 10], 0.25, 0.5), 0.25);
    }

    #[test]
    fn ancestors_are_as_many_as_their_weights_say() {
        let mut rng = stream(5, Purpose::Resample, 0);
        let weights = [0.3, 0.0, 0.15, 0.55];
        let mut counts = [0.0; 4];
        for _ in 0..4000 {
            let ancestors = systematic(weights.into_iter(), &mut rng);
            assert_eq!(ancestors.len(), 4);
            for (index, weight) in weights.iter().enumerate() {
                let copies = ancestors.iter().filter(|&&ancestor| ancestor == index).count();
                assert!((copies as f64 - 4.0 * weight).abs() < 1.0);
                counts[index] += copies as f64 / 4000.0;
            }
        }
        // One number between two integers scatters by at most ½.
        for (count, weight) in counts.iter().zip(weights) {
            assert!((count - 4.0 * weight).abs() < 5.0 * 0.5 / 4000f64.sqrt());
        }
    }
}
