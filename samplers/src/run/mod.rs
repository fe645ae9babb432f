//! Hold what samplers are told and what they return: `RunOptions`, `Run`, `Summary`.

pub(crate) mod checkpoint;
pub(crate) mod engine;
pub(crate) mod markov;
mod options;
mod progress_bar;
mod real;
mod summary;
pub(crate) mod table;
mod worker;

use serde::{Deserialize, Serialize};

use crate::density::{Counted, Density};

pub use options::{Checkpoint, Converged, Event, Observer, Progress, RunOptions};
pub use progress_bar::progress_bars;
pub use summary::{ParameterSummary, Summary};

/// Evaluations spent, over all chains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluations {
    /// Densities without a gradient.
    pub values: u64,
    /// Densities together with their gradient.
    pub gradients: u64,
}

impl std::ops::AddAssign for Evaluations {
    fn add_assign(&mut self, other: Self) {
        self.values += other.values;
        self.gradients += other.gradients;
    }
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// All that was asked for was done.
    Completed,
    /// The chains were good enough before that.
    Converged,
    /// The time was up; what was drawn is kept.
    TimeLimit,
    /// It was asked to stop; what was drawn is kept.
    Interrupted,
    /// The target failed for good; what was drawn before is kept.
    Fatal {
        /// The first chain (or start) that met the failure.
        chain: usize,
        /// What the target said.
        message: String,
    },
}

/// What one step of a chain did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The probability with which the proposal was accepted.
    #[serde(with = "real")]
    pub acceptance: f64,
    /// Whether the proposal failed: a recoverable error, or an energy that ran away.
    pub diverged: bool,
    /// The energy of the accepted point, where the method has momenta.
    #[serde(with = "real")]
    pub energy: Option<f64>,
    /// Evaluations of the density that the step took.
    pub evaluations: u32,
}

/// The draws of one chain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// Draws × parameters in physical units, one draw after the other.
    #[serde(with = "real")]
    pub draws: Vec<f64>,
    /// The log density of each draw in physical units: ln p(data | x) + ln p(x).
    #[serde(with = "real")]
    pub log_density: Vec<f64>,
    /// The log weight of each draw; absent where all weigh the same.
    #[serde(with = "real")]
    pub log_weights: Option<Vec<f64>>,
    /// One report for each draw; empty where the method has no steps.
    pub steps: Vec<Step>,
    /// Divergences during warm-up.
    pub warmup_divergences: usize,
    /// The step size (HMC) or proposal scale (Metropolis) after warm-up.
    #[serde(with = "real")]
    pub step_size: Option<f64>,
}

impl Chain {
    /// The number of draws.
    pub fn len(&self) -> usize {
        self.log_density.len()
    }

    /// Whether nothing was drawn.
    pub fn is_empty(&self) -> bool {
        self.log_density.is_empty()
    }

    /// Adds the draw at z.
    pub(crate) fn push_z<T: Density + ?Sized>(
        &mut self,
        target: &Counted<'_, T>,
        z: &[f64],
        log_density: f64,
        step: Step,
    ) {
        let start = self.draws.len();
        self.draws.resize(start + target.names().len(), 0.0);
        target.to_physical(z, &mut self.draws[start..]);
        self.log_density.push(log_density - target.ln_jacobian(z));
        self.steps.push(step);
    }

    /// Number `index` of every draw of `dim`.
    pub(crate) fn column(&self, index: usize, dim: usize) -> Vec<f64> {
        self.draws.iter().skip(index).step_by(dim).copied().collect()
    }

    /// The mean probability of acceptance over the draws.
    pub fn acceptance(&self) -> Option<f64> {
        let sum: f64 = self.steps.iter().map(|step| step.acceptance).sum();
        (!self.steps.is_empty()).then(|| sum / self.steps.len() as f64)
    }

    /// How many draws followed a divergence.
    pub fn divergences(&self) -> usize {
        self.steps.iter().filter(|step| step.diverged).count()
    }
}

/// The best point an optimiser found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The point in physical units.
    #[serde(with = "real")]
    pub x: Vec<f64>,
    /// ln p(data | x) there.
    #[serde(with = "real")]
    pub log_likelihood: f64,
    /// ln p(data | x) + ln p(x) there.
    #[serde(with = "real")]
    pub log_density: f64,
    /// Whether what is left to gain is negligible, judged from gradient and curvature at the point, not
    /// from how the optimiser ended. It is a local statement.
    pub converged: bool,
    /// How the optimiser ended, in words.
    pub status: String,
    /// The objective's negative (−ln p(data | x), for MAP less ln p(x)) after each iteration of the best
    /// start.
    #[serde(with = "real")]
    pub history: Vec<f64>,
    /// The best objective's negative of every start; `None` where a start failed.
    #[serde(with = "real")]
    pub starts: Vec<Option<f64>>,
    /// The optima of all starts, averaged.
    pub ensemble: Ensemble,
}

/// The optima of several starts, each weighted by its likelihood (for MAP its posterior density): where they
/// agree it is their point, where they do not its spread tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    /// The weighted mean in physical units.
    #[serde(with = "real")]
    pub x: Vec<f64>,
    /// The weighted standard deviation of the starts about it. It is no uncertainty of the parameters.
    #[serde(with = "real")]
    pub sd: Vec<f64>,
}

/// How well a density that was fitted to the posterior does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variational {
    /// The evidence lower bound, estimated from the draws: ln ∫ p(data | x) p(x) dx is at least this.
    #[serde(with = "real")]
    pub elbo: f64,
    /// Its standard error; NaN of a single draw.
    #[serde(with = "real")]
    pub elbo_se: f64,
    /// The shape k̂ of the tail of the importance ratios: above 0.7 the fit cannot be trusted. Minus infinity
    /// where all are the same, which is a perfect fit; infinite or absent where there are too few draws to
    /// tell.
    #[serde(with = "real")]
    pub pareto_k: Option<f64>,
}

/// What every sampler returns: named draws, and how they came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The method, in words.
    pub method: String,
    /// The names of the parameters.
    pub names: Vec<String>,
    /// The draws.
    pub chains: Vec<Chain>,
    /// Why it ended.
    pub stop: StopReason,
    /// Evaluations spent.
    pub evaluations: Evaluations,
    /// What the draws are instead of draws from the posterior, if they are something else.
    pub approximation: Option<String>,
    /// The optimum, where one was sought.
    pub estimate: Option<Estimate>,
    /// The quality of the fit, where a density was fitted.
    pub variational: Option<Variational>,
    /// ln ∫ p(data | x) p(x) dx, where the method computes it.
    #[serde(with = "real")]
    pub log_evidence: Option<f64>,
    /// One standard deviation of the log evidence, where the method can tell.
    #[serde(with = "real")]
    pub log_evidence_error: Option<f64>,
    /// What the sampler itself has to say against its result.
    pub warnings: Vec<String>,
}

impl Run {
    /// A run that was completed, of which nothing but its draws is known.
    pub(crate) fn of_chains(method: String, names: Vec<String>, chains: Vec<Chain>) -> Self {
        Self {
            method,
            names,
            chains,
            stop: StopReason::Completed,
            evaluations: Evaluations::default(),
            approximation: None,
            estimate: None,
            variational: None,
            log_evidence: None,
            log_evidence_error: None,
            warnings: Vec::new(),
        }
    }

    /// The number of parameters.
    pub fn dim(&self) -> usize {
        self.names.len()
    }

    /// The number of draws over all chains.
    pub fn len(&self) -> usize {
        self.chains.iter().map(Chain::len).sum()
    }

    /// Whether nothing was drawn.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All draws in chain order, `dim()` numbers each.
    pub fn draws(&self) -> impl Iterator<Item = &[f64]> {
        // A run has at least one parameter, as a posterior does; `max` keeps an empty one from panicking.
        self.chains
            .iter()
            .flat_map(|chain| chain.draws.chunks_exact(self.dim().max(1)))
    }

    /// The weight of each draw in the order of `draws`, with sum one.
    pub fn weights(&self) -> Vec<f64> {
        let log_weights = self.chains.iter().flat_map(|chain| match &chain.log_weights {
            Some(log_weights) => log_weights.clone(),
            None => vec![0.0; chain.len()],
        });
        let mut weights: Vec<f64> = log_weights.collect();
        let largest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest > f64::NEG_INFINITY {
            weights
                .iter_mut()
                .for_each(|weight| *weight = (*weight - largest).exp());
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
        } else {
            weights.fill(0.0);
        }
        weights
    }

    /// Parameter `index` of all draws, one vector per chain.
    ///
    /// # Panics
    /// Where there is no such parameter.
    pub fn parameter(&self, index: usize) -> Vec<Vec<f64>> {
        let dim = self.dim();
        assert!(index < dim, "there is no parameter {index}: the run has {dim}");
        self.chains.iter().map(|chain| chain.column(index, dim)).collect()
    }

    /// Means, quantiles, diagnostics and warnings.
    pub fn summary(&self) -> Summary {
        Summary::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_draws(names: &[&str]) -> Run {
        let chain = Chain {
            draws: vec![1.0, 2.0, 3.0, 4.0],
            log_density: vec![0.0; 2],
            ..Chain::default()
        };
        let names = names.iter().map(|&name| name.into()).collect();
        Run::of_chains("test".into(), names, vec![chain])
    }

    #[test]
    fn a_parameter_is_a_column() {
        assert_eq!(two_draws(&["a", "b"]).parameter(1), [[2.0, 4.0]]);
    }

    #[test]
    #[should_panic(expected = "there is no parameter 2: the run has 2")]
    fn a_parameter_too_far_is_not_that_of_another_draw() {
        two_draws(&["a", "b"]).parameter(2);
    }

    #[test]
    #[should_panic(expected = "there is no parameter 0: the run has 0")]
    fn a_run_without_parameters_has_no_first() {
        two_draws(&[]).parameter(0);
    }
}
