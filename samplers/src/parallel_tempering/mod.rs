//! Let chains at many temperatures hand their points down to the posterior.

mod ladder;

use crate::adapt::Windows;
use crate::adapt::random_walk::thinning;
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::likelihood::Likelihood;
use crate::posterior::Posterior;
use crate::rng::Stream;
use crate::run::engine::{self, Outcome, Process};
use crate::run::markov::find_start;
use crate::run::{Chain, Run, RunOptions, Step, StopReason};
use crate::sampler::Sampler;
use crate::tempered::{Swarm, Walk, mean_and_sd};

use ladder::{Ladder, Pair, Tuning};

/// The ladder before it is tuned, β = (k / (K − 1))⁴: most of the way from the prior is made at small β
/// (Friel & Pettitt 2008, doi:10.1111/j.1467-9868.2007.00650.x).
const POWER: f64 = 4.0;
/// A rejection of swaps above this leaves the ladder with a gap.
const MOST_REJECTED: f64 = 0.7;
/// Fewer points than this that came from the prior to the posterior, over all chains, tell of no mixing.
const FEWEST_ARRIVALS: usize = 20;
/// Chains whose log evidences scatter by more than this have not seen the same posterior.
const SCATTER: f64 = 0.5;

/// Parallel tempering with non-reversible swaps (Syed et al. 2022, arXiv 1905.02939), for posteriors of
/// several modes, with the evidence.
///
/// Each chain is a ladder of replicas under p(data | x)^β p(x), from β = 0, which draws from the prior
/// itself, to β = 1, whose draws are kept. Between swaps, replicas move by random walks of their own
/// covariance and scale; swaps alternate between even and odd pairs, so that points travel along the ladder
/// instead of diffusing. During warm-up walks are tuned, and the ladder, so that all pairs reject alike.
/// After it all stays.
///
/// It needs no gradient; a step asks the likelihood for all temperatures in one batch, `thinning` times. The
/// evidence comes from geometric bridges between neighbouring temperatures (Meng & Wong 1996, Statistica
/// Sinica 6, 831), averaged over the chains, its error from their scatter. The prior counts as normalised;
/// where an evaluation fails, the likelihood counts as zero.
///
/// ```
/// use armilla_samplers::prelude::*;
/// /// Two narrow modes, one of twice the mass.
/// struct Modes;
/// impl Likelihood for Modes {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
///         let mode = |at: f64| (-0.5 * ((x[0] - at) / 0.1).powi(2)).exp();
///         Ok((mode(-5.0) + 2.0 * mode(5.0)).ln())
///     }
/// }
/// let posterior = Posterior::new(Prior::new().with("a", Uniform::new(-10.0, 10.0)?)?, Modes)?;
/// let run = ParallelTempering::default().sample(&posterior, &RunOptions::default())?;
/// let right = run.draws().filter(|x| x[0] > 0.0).count() as f64 / run.len() as f64;
/// assert!((right - 2.0 / 3.0).abs() < 0.06);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParallelTempering {
    /// Rungs of the ladder, prior and posterior included.
    pub temperatures: usize,
    /// Steps of the walks between swaps; by default as many as there are parameters.
    pub thinning: Option<usize>,
}

impl Default for ParallelTempering {
    /// Ten temperatures.
    fn default() -> Self {
        Self {
            temperatures: 10,
            thinning: None,
        }
    }
}

/// The process: settings with their defaults filled in.
struct Ladders {
    settings: ParallelTempering,
    thinning: usize,
}

impl<L: Likelihood> Process<Posterior<L>> for Ladders {
    type State = Ladder;

    fn method(&self) -> String {
        "parallel tempering".into()
    }

    fn settings(&self) -> String {
        format!("{:?}", self.settings)
    }

    fn start(
        &self,
        target: &Counted<'_, Posterior<L>>,
        options: &RunOptions,
        worker: usize,
        _rng: &mut Stream,
    ) -> Result<Ladder, SampleError> {
        let (rungs, dim) = (self.settings.temperatures, target.dim());
        let mut replicas = Swarm::new(rungs, dim);
        for rung in 0..rungs {
            let start = find_start(target, options.seed, worker * rungs + rung, |z| {
                let mut start = Swarm::new(1, dim);
                start.z = z;
                if start.evaluate(target, 0, 1)? > 0 {
                    // Once more, for the words.
                    target.log_density(&start.z)?;
                }
                let log_density = start.log_density(0);
                Ok((start, log_density))
            })?;
            replicas.set(rung, &start, 0);
        }
        let tuning = || vec![Tuning::new(dim); rungs];
        Ok(Ladder {
            betas: (0..rungs)
                .map(|rung| (rung as f64 / (rungs - 1) as f64).powf(POWER))
                .collect(),
            replicas,
            walks: vec![Walk::new(dim); rungs],
            tuning: (options.warmup > 0).then(tuning),
            pairs: vec![Pair::default(); rungs - 1],
            from_prior: vec![false; rungs],
            arrivals: 0,
            failures: 0,
            step: 0,
            proposals: Swarm::default(),
        })
    }

    fn advance(
        &self,
        target: &Counted<'_, Posterior<L>>,
        options: &RunOptions,
        ladder: &mut Ladder,
        rng: &mut Stream,
        chains: &mut [Chain],
    ) -> Result<(), EvalError> {
        let (rungs, top) = (ladder.betas.len(), ladder.top());
        let mut acceptances = vec![0.0; rungs];
        let mut diverged = false;
        for walk in 1..=self.thinning {
            diverged |= ladder.walk(target, walk == self.thinning, &mut acceptances, rng)?;
        }
        acceptances
            .iter_mut()
            .for_each(|sum| *sum /= self.thinning as f64);
        ladder.swap(rng);
        let warmup = ladder.step < options.warmup;
        if warmup {
            ladder.tune(&Windows::new(options.warmup), &acceptances);
        }
        ladder.step += 1;
        if ladder.step == options.warmup {
            ladder.finish();
        }
        for chain in chains {
            if warmup {
                chain.warmup_divergences += usize::from(diverged);
                continue;
            }
            chain.step_size = Some(ladder.walks[top].scale);
            let step = Step {
                acceptance: acceptances[top],
                diverged,
                energy: None,
                evaluations: (self.thinning * (rungs - 1) + 1) as u32,
            };
            let log_density = ladder.replicas.log_density(top);
            chain.push_z(target, ladder.replicas.point(top), log_density, step);
        }
        Ok(())
    }

    fn progress(&self, options: &RunOptions, ladder: &Ladder) -> (usize, usize, bool) {
        let total = options.warmup + options.draws;
        (ladder.step, total, ladder.step < options.warmup)
    }

    fn position<'s>(&self, ladder: &'s Ladder) -> Option<(&'s [f64], f64)> {
        let top = ladder.top();
        Some((ladder.replicas.point(top), ladder.replicas.log_density(top)))
    }
}

impl<L: Likelihood> Sampler<Posterior<L>> for ParallelTempering {
    fn sample(&self, target: &Posterior<L>, run: &RunOptions) -> Result<Run, SampleError> {
        let temperatures = self.temperatures;
        if !(2..=1000).contains(&temperatures) {
            return Err(SampleError::Invalid(format!(
                "temperatures is {temperatures}: choose between 2, prior and posterior, and 1000"
            )));
        }
        let ladders = Ladders {
            settings: *self,
            thinning: thinning(self.thinning, target.dim())?,
        };
        let Outcome { mut run, states } = engine::run(&ladders, target, run)?;
        judge(&mut run, &states);
        Ok(run)
    }
}

/// Adds the evidence, and what speaks against the ladders.
fn judge(run: &mut Run, ladders: &[Ladder]) {
    let failures: usize = ladders.iter().map(|ladder| ladder.failures).sum();
    if failures > 0 {
        run.warnings.push(format!(
            "{failures} of {} evaluations failed: there the likelihood counts as zero",
            run.evaluations.values
        ));
    }
    let complete = !matches!(run.stop, StopReason::Fatal { .. });
    if !complete || run.chains.iter().any(Chain::is_empty) || run.chains.len() != ladders.len() {
        return;
    }
    let evidences: Vec<f64> = ladders.iter().map(Ladder::log_evidence).collect();
    let (mean, sd) = mean_and_sd(&evidences);
    run.log_evidence = Some(mean);
    run.log_evidence_error = sd.map(|sd| sd / (evidences.len() as f64).sqrt());
    if let Some(sd) = sd.filter(|&sd| sd > SCATTER) {
        run.warnings.push(format!(
            "the log evidences of the chains scatter by {sd:.2}: take more draws or temperatures"
        ));
    }
    let rejections = |ladder: &Ladder| ladder.pairs.iter().map(Pair::rejection).collect::<Vec<_>>();
    let all: Vec<f64> = ladders.iter().flat_map(rejections).collect();
    let worst = all.iter().copied().fold(0.0, f64::max);
    if worst > MOST_REJECTED {
        // The best ladder has two rungs for each unit of rejection that it must overcome.
        let barrier = all.iter().sum::<f64>() / ladders.len() as f64;
        run.warnings.push(format!(
            "a pair of temperatures rejects {:.0}% of its swaps: take about {:.0} temperatures",
            100.0 * worst,
            (2.0 * barrier + 1.0).ceil()
        ));
    }
    let arrivals: usize = ladders.iter().map(|ladder| ladder.arrivals).sum();
    if arrivals < FEWEST_ARRIVALS {
        run.warnings.push(format!(
            "only {arrivals} points came from the prior to the posterior: modes may be missing"
        ));
    }
}
