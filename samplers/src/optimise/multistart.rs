//! Walk from several starts, keep the best, and say what speaks for and against it.

use serde::{Deserialize, Serialize};

use super::laplace;
use super::objective::{Objective, Trace};
use super::walk::{Ground, Walk, spent};
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::likelihood::Likelihood;
use crate::posterior::{Posterior, Terms};
use crate::rng::Stream;
use crate::run::engine::{self, Process};
use crate::run::markov::find_start;
use crate::run::{Chain, Ensemble, Estimate, Run, RunOptions, StopReason};

/// More starts than this would be a poor sampler.
const MOST_STARTS: usize = 1_000_000;
/// Starts within this many nats of the best have found the same optimum.
const SAME_OPTIMUM: f64 = 0.1;
/// With less than this of a bounded prior's mass beyond it, a point that is no optimum is on the edge.
const EDGE: f64 = 0.01;

struct Multistart<'a, O> {
    optimiser: &'a O,
    starts: usize,
    terms: Terms,
}

/// One start between two iterations.
#[derive(Serialize, Deserialize)]
struct Start<S> {
    index: usize,
    /// Absent where there was no place to begin.
    walk: Option<S>,
    trace: Trace,
    iteration: usize,
    ended: bool,
    /// How many places were tried.
    tries: usize,
}

impl<'b, L: Likelihood, O: Walk<L>> Process<Objective<'b, L>> for Multistart<'_, O> {
    type State = Start<O::State>;

    fn method(&self) -> String {
        let goal = if self.terms == Terms::Likelihood {
            "maximum likelihood"
        } else {
            "maximum posterior"
        };
        format!("{goal} by {}", O::NAME)
    }

    fn settings(&self) -> String {
        format!("{:?} from {} starts", self.optimiser, self.starts)
    }

    fn workers(&self, _options: &RunOptions) -> (usize, usize) {
        (self.starts, 0)
    }

    /// At the centre of the prior for start 0, else at a draw; at draws, if the likelihood fails there.
    fn start(
        &self,
        target: &Counted<'_, Objective<'b, L>>,
        options: &RunOptions,
        worker: usize,
        _rng: &mut Stream,
    ) -> Result<Self::State, SampleError> {
        let ground = Ground::new(target);
        let begin = |z: Vec<f64>| {
            let mut trace = Trace::default();
            let walk = self.optimiser.begin(&ground, z, &mut trace)?;
            let value = -trace.lowest();
            Ok(((walk, trace), value))
        };
        let centre = (worker == 0).then(|| begin(vec![0.0; target.dim()]));
        let begun = match centre {
            Some(Ok((begun, _))) => Ok(begun),
            Some(Err(EvalError::Fatal(message))) => return Err(EvalError::Fatal(message).into()),
            _ => find_start(target, options.seed, worker, begin),
        };
        let mut start = Start {
            index: worker,
            walk: None,
            trace: Trace::default(),
            iteration: 0,
            ended: false,
            tries: 0,
        };
        match begun {
            Ok((walk, trace)) => {
                start.walk = Some(walk);
                start.trace = trace;
            }
            // Other starts may have found a place.
            Err(SampleError::NoStart { tries, last }) => {
                start.trace.status = last;
                start.tries = tries;
                start.ended = true;
            }
            Err(error) => return Err(error),
        }
        Ok(start)
    }

    fn advance(
        &self,
        target: &Counted<'_, Objective<'b, L>>,
        _options: &RunOptions,
        start: &mut Self::State,
        _rng: &mut Stream,
        _chains: &mut [Chain],
    ) -> Result<(), EvalError> {
        let Some(walk) = &mut start.walk else {
            return Ok(());
        };
        start.ended = self
            .optimiser
            .advance(&Ground::new(target), walk, &mut start.trace)?;
        start.iteration += 1;
        if !start.ended && start.iteration == self.optimiser.iterations() {
            start.ended = true;
            start.trace.status = spent(start.iteration);
        }
        Ok(())
    }

    fn progress(&self, _options: &RunOptions, start: &Self::State) -> (usize, usize, bool) {
        let total = self.optimiser.iterations();
        // A walk that ends early is as finished as one that does not.
        (if start.ended { total } else { start.iteration }, total, false)
    }

    fn position<'s>(&self, start: &'s Self::State) -> Option<(&'s [f64], f64)> {
        start.trace.best.as_ref().map(|(value, z)| (z.as_slice(), -value))
    }
}

pub(super) fn maximise<L: Likelihood, O: Walk<L>>(
    posterior: &Posterior<L>,
    options: &RunOptions,
    optimiser: &O,
    starts: usize,
    terms: Terms,
) -> Result<Run, SampleError> {
    optimiser.check()?;
    if starts == 0 {
        return Err(SampleError::Invalid("starts is 0: ask for at least one".into()));
    }
    if starts > MOST_STARTS {
        return Err(SampleError::Invalid(format!(
            "starts is {starts}, more than {MOST_STARTS}: ask for fewer"
        )));
    }
    let objective = Objective::new(posterior, terms);
    let process = Multistart {
        optimiser,
        starts,
        terms,
    };
    let outcome = engine::run(&process, &objective, options)?;
    let (mut run, walks) = (outcome.run, outcome.states);
    let lowest = |a: &&Start<O::State>, b: &&Start<O::State>| {
        let order = a.trace.lowest().total_cmp(&b.trace.lowest());
        order.then(a.index.cmp(&b.index))
    };
    let found = walks.iter().min_by(lowest);
    let Some((start, (value, z))) = found.and_then(|start| Some((start, start.trace.best.clone()?))) else {
        return Err(match (run.stop, walks.first()) {
            (StopReason::Fatal { message, .. }, _) => SampleError::Eval(EvalError::Fatal(message)),
            (_, first) => SampleError::NoStart {
                tries: first.map_or(0, |first| first.tries),
                last: first.map_or_else(String::new, |first| first.trace.status.clone()),
            },
        });
    };

    let mut values = vec![None; starts];
    for walk in &walks {
        values[walk.index] = walk.trace.best.as_ref().map(|(value, _)| *value);
    }
    run.warnings = judge_starts(&values, value);
    let edges = edges(posterior, &z);
    // Whoever is out of time has none for a curvature.
    let approximated = (run.stop == StopReason::Completed)
        .then(|| laplace::approximate::<L, O>(posterior, terms, &z, &edges, &mut run.evaluations));
    // A peak near a bound is a peak.
    if !matches!(&approximated, Some(Ok(laplace)) if laplace.warning.is_none()) {
        for name in &edges {
            run.warnings.push(format!(
                "{name} ends at the edge of its prior: the maximum may lie beyond"
            ));
        }
    }
    let mut converged = false;
    match approximated {
        Some(Ok(laplace)) => {
            converged = laplace.converged;
            run.warnings.extend(laplace.warning.clone());
            run.approximation = Some(laplace.describe());
            run.chains = (0..options.chains)
                .map(|chain| laplace.draw(posterior, options, chain))
                .collect();
        }
        Some(Err(EvalError::Recoverable(message))) => {
            run.warnings.push(format!(
                "there are no draws, because the curvature has none: {message}"
            ));
        }
        Some(Err(EvalError::Fatal(message))) => {
            run.stop = StopReason::Fatal {
                chain: start.index,
                message,
            };
        }
        None => {}
    }
    let x = objective.physical(&z);
    let log_prior = posterior.log_prior(&x);
    let log_likelihood = if terms == Terms::Likelihood {
        -value
    } else {
        -value - log_prior
    };
    let status = if start.ended {
        start.trace.status.clone()
    } else {
        format!("stopped after {} iterations", start.iteration)
    };
    run.estimate = Some(Estimate {
        x,
        log_likelihood,
        log_density: log_likelihood + log_prior,
        converged,
        status,
        history: start.trace.history.clone(),
        starts: values,
        ensemble: ensemble(&objective, &walks, value),
    });
    Ok(run)
}

/// The mean of the starts' optima, each weighted by the objective's exponential.
fn ensemble<L: Likelihood, S>(objective: &Objective<'_, L>, walks: &[Start<S>], best: f64) -> Ensemble {
    let optimum = |walk: &Start<S>| {
        let (value, z) = walk.trace.best.as_ref()?;
        Some(((best - value).exp(), objective.physical(z)))
    };
    let optima: Vec<(f64, Vec<f64>)> = walks.iter().filter_map(optimum).collect();
    let sum: f64 = optima.iter().map(|(weight, _)| weight).sum();
    let average = |f: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
        let of_parameter = |index: usize| {
            let terms = optima.iter().map(|(weight, x)| weight * f(index, x[index]));
            terms.sum::<f64>() / sum
        };
        (0..objective.names().len()).map(of_parameter).collect()
    };
    let x = average(&|_, x| x);
    let variance = average(&|index, value| (value - x[index]).powi(2));
    Ensemble {
        sd: variance.into_iter().map(f64::sqrt).collect(),
        x,
    }
}

/// Says where the starts disagree.
fn judge_starts(values: &[Option<f64>], best: f64) -> Vec<String> {
    let mut warnings = Vec::new();
    let starts = values.len();
    let finished: Vec<f64> = values.iter().copied().flatten().collect();
    if finished.len() < starts {
        warnings.push(format!("{} of {starts} starts failed", starts - finished.len()));
    }
    let agreeing = finished
        .iter()
        .filter(|value| **value - best < SAME_OPTIMUM)
        .count();
    if starts > 1 && agreeing == 1 {
        warnings.push(format!(
            "only one of {starts} starts reached the best value: there may be a better one"
        ));
    }
    warnings
}

/// The parameters that sit near a bound of their prior.
fn edges<L: Likelihood>(posterior: &Posterior<L>, z: &[f64]) -> Vec<String> {
    let mut x = vec![0.0; posterior.names().len()];
    posterior.to_physical(z, &mut x);
    let prior = posterior.prior();
    let support = prior.support();
    // The numbers of a vector have no quantiles and are at no edge.
    let (from, to) = (prior.quantiles(EDGE), prior.quantiles(1.0 - EDGE));
    let at_edge = |i: usize| {
        let (low, high) = support[i];
        (low.is_finite() && x[i] < from[i]) || (high.is_finite() && x[i] > to[i])
    };
    let names = posterior.names().iter().enumerate();
    names
        .filter(|(i, _)| at_edge(*i))
        .map(|(_, name)| name.clone())
        .collect()
}
