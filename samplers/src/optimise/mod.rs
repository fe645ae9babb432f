//! Find the most likely or most probable point: `Mle` and `Map`, by `Lbfgs` or `Adam` from several starts.

mod adam;
mod laplace;
mod lbfgs;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::density::Density;
use crate::error::{EvalError, SampleError};
use crate::likelihood::DifferentiableLikelihood;
use crate::posterior::{Posterior, Terms};
use crate::rng::{Purpose, stream};
use crate::run::{Estimate, Evaluations, Run, RunOptions, StopReason};
use crate::sampler::Sampler;

pub use adam::Adam;
pub use lbfgs::Lbfgs;

/// How many draws from the prior a start tries.
const START_TRIES: usize = 100;
/// More starts than this would be a poor sampler.
const MOST_STARTS: usize = 1_000_000;
/// Starts within this many nats of the best have found the same optimum.
const SAME_OPTIMUM: f64 = 0.1;
/// With less than this of a bounded prior's mass beyond it, a point that is no optimum is on the edge.
const EDGE: f64 = 0.01;

/// What walks downhill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimiser {
    /// Limited-memory BFGS: few gradients on smooth likelihoods.
    Lbfgs(Lbfgs),
    /// Adam: many gradients, undisturbed by noise and rough places.
    Adam(Adam),
}

impl Default for Optimiser {
    fn default() -> Self {
        Self::Lbfgs(Lbfgs::default())
    }
}

/// The maximum of the likelihood inside the support of the prior, which has no other say in it.
///
/// The run's draws are from the normal approximation at the maximum on the real line (Laplace), marked as
/// an approximation, and its `estimate` is the point itself. `warmup` is ignored.
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Measured;
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-0.5 * (x[0] - 3.0).powi(2)) }
/// }
/// impl DifferentiableLikelihood for Measured {
///     fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
///         gradient[0] = 3.0 - x[0];
///         self.log_likelihood(x)
///     }
/// }
/// let posterior = Posterior::new(Prior::new().with("mu", Uniform::new(-10.0, 10.0)?)?, Measured)?;
/// let run = Mle::default().sample(&posterior, &RunOptions::default())?;
/// let estimate = run.estimate.as_ref().expect("an optimiser gives one");
/// assert!(estimate.converged && (estimate.x[0] - 3.0).abs() < 1e-3);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mle {
    /// What walks downhill.
    pub optimiser: Optimiser,
    /// Independent starts: the centre of the prior, and draws from it.
    pub starts: usize,
}

/// The maximum of the posterior density in physical units. In all else as [`Mle`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Map {
    /// What walks downhill.
    pub optimiser: Optimiser,
    /// Independent starts: the centre of the prior, and draws from it.
    pub starts: usize,
}

impl Default for Mle {
    fn default() -> Self {
        Self {
            optimiser: Optimiser::default(),
            starts: 4,
        }
    }
}

impl Default for Map {
    fn default() -> Self {
        Self {
            optimiser: Optimiser::default(),
            starts: 4,
        }
    }
}

impl<L: DifferentiableLikelihood> Sampler<Posterior<L>> for Mle {
    fn sample(&self, target: &Posterior<L>, run: &RunOptions) -> Result<Run, SampleError> {
        maximise(target, run, self.optimiser, self.starts, Terms::Likelihood)
    }
}

impl<L: DifferentiableLikelihood> Sampler<Posterior<L>> for Map {
    fn sample(&self, target: &Posterior<L>, run: &RunOptions) -> Result<Run, SampleError> {
        maximise(target, run, self.optimiser, self.starts, Terms::Physical)
    }
}

/// What one start came to.
#[derive(Debug, Clone, Default)]
struct Trace {
    /// The lowest value met, and where on the real line.
    best: Option<(f64, Vec<f64>)>,
    /// The value after each iteration.
    history: Vec<f64>,
    /// How it ended.
    status: String,
    fatal: Option<String>,
}

impl Trace {
    fn note(&mut self, value: f64, z: &[f64]) {
        if value.is_finite() && self.best.as_ref().is_none_or(|(best, _)| value < *best) {
            self.best = Some((value, z.to_vec()));
        }
    }
}

/// The negative of the posterior's objective, counted.
struct Objective<'a, L> {
    posterior: &'a Posterior<L>,
    terms: Terms,
    gradients: &'a AtomicU64,
}

impl<L: DifferentiableLikelihood> Objective<'_, L> {
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        self.gradients.fetch_add(1, Ordering::Relaxed);
        let value = self.posterior.objective(self.terms, z, gradient)?;
        gradient.iter_mut().for_each(|gradient| *gradient = -*gradient);
        Ok(-value)
    }
}

impl Optimiser {
    fn check(&self) -> Result<(), SampleError> {
        match self {
            Self::Lbfgs(lbfgs) => lbfgs.check(),
            Self::Adam(adam) => adam.check(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Lbfgs(_) => "L-BFGS",
            Self::Adam(_) => "Adam",
        }
    }

    /// Walks downhill from `z`, reporting each iteration and its limit, and the limit at the end.
    fn minimise<L: DifferentiableLikelihood>(
        &self,
        objective: &Objective<'_, L>,
        z: Vec<f64>,
        report: impl Fn(usize, usize),
    ) -> Trace {
        let reached = Cell::new(0);
        let watched = |step, total| {
            reached.set(step);
            report(step, total);
        };
        let (trace, total) = match self {
            Self::Lbfgs(lbfgs) => (lbfgs.minimise(objective, z, watched), lbfgs.iterations),
            Self::Adam(adam) => (adam.minimise(objective, z, watched), adam.iterations),
        };
        // A walk that ends early is as finished as one that does not.
        if reached.get() < total && trace.fatal.is_none() {
            report(total, total);
        }
        trace
    }
}

fn maximise<L: DifferentiableLikelihood>(
    posterior: &Posterior<L>,
    run: &RunOptions,
    optimiser: Optimiser,
    starts: usize,
    terms: Terms,
) -> Result<Run, SampleError> {
    run.check(posterior.dim())?;
    optimiser.check()?;
    if starts == 0 {
        return Err(SampleError::Invalid("starts is 0: ask for at least one".into()));
    }
    if starts > MOST_STARTS {
        return Err(SampleError::Invalid(format!(
            "starts is {starts}, more than {MOST_STARTS}: ask for fewer"
        )));
    }
    let gradients = AtomicU64::new(0);
    let objective = Objective {
        posterior,
        terms,
        gradients: &gradients,
    };
    let of_start = |index| {
        let z = start(&objective, run.seed, index)?;
        Ok(optimiser.minimise(&objective, z, |step, total| {
            run.report(index, starts, step, total)
        }))
    };
    let traces: Vec<Result<Trace, SampleError>> = (0..starts).into_par_iter().map(of_start).collect();

    let mut best: Option<(f64, usize)> = None;
    for (index, trace) in traces.iter().enumerate() {
        if let Some((value, _)) = trace.as_ref().ok().and_then(|trace| trace.best.as_ref())
            && best.is_none_or(|(lowest, _)| *value < lowest)
        {
            best = Some((*value, index));
        }
    }
    let values: Vec<Option<f64>> = traces
        .iter()
        .map(|trace| Some(trace.as_ref().ok()?.best.as_ref()?.0))
        .collect();
    let mut fatal = traces.iter().enumerate().find_map(|(index, trace)| match trace {
        Ok(trace) => Some((index, trace.fatal.clone()?)),
        Err(SampleError::Eval(error)) => Some((index, error.to_string())),
        Err(_) => None,
    });
    let mut traces = traces;
    let Some((value, index)) = best else {
        return Err(match (fatal, traces.swap_remove(0)) {
            (Some((_, message)), _) => SampleError::Eval(EvalError::Fatal(message)),
            (None, Err(error)) => error,
            (None, Ok(trace)) => SampleError::NoStart {
                tries: START_TRIES,
                last: trace.status,
            },
        });
    };
    let Ok(Trace {
        best: Some((_, z)),
        history,
        status,
        ..
    }) = traces.swap_remove(index)
    else {
        // `index` was taken from the traces that have a best point.
        return Err(SampleError::Invalid("no start was finished".into()));
    };

    let mut warnings = judge_starts(&values, value);
    let edges = edges(posterior, &z);
    let approximated = fatal
        .is_none()
        .then(|| laplace::approximate(&objective, &z, &edges));
    // A peak near a bound is a peak.
    if !matches!(&approximated, Some(Ok(laplace)) if laplace.warning.is_none()) {
        for name in &edges {
            warnings.push(format!(
                "{name} ends at the edge of its prior: the maximum may lie beyond"
            ));
        }
    }
    let mut converged = false;
    let mut chains = Vec::new();
    let mut approximation = None;
    match approximated {
        Some(Ok(laplace)) => {
            converged = laplace.converged;
            warnings.extend(laplace.warning.clone());
            approximation = Some(laplace.describe());
            chains = (0..run.chains)
                .map(|chain| laplace.draw(posterior, run, chain))
                .collect();
        }
        Some(Err(EvalError::Recoverable(message))) => {
            warnings.push(format!(
                "there are no draws, because the curvature has none: {message}"
            ));
        }
        Some(Err(EvalError::Fatal(message))) => fatal = Some((index, message)),
        None => {}
    }
    let (x, log_likelihood, log_density) = parts(posterior, terms, &z, value);
    let goal = if terms == Terms::Likelihood {
        "maximum likelihood"
    } else {
        "maximum posterior"
    };
    Ok(Run {
        method: format!("{goal} by {}", optimiser.name()),
        names: posterior.names().to_vec(),
        chains,
        stop: fatal.map_or(StopReason::Completed, |(chain, message)| StopReason::Fatal {
            chain,
            message,
        }),
        evaluations: Evaluations {
            values: 0,
            gradients: gradients.into_inner(),
        },
        approximation,
        estimate: Some(Estimate {
            x,
            log_likelihood,
            log_density,
            converged,
            status,
            history,
            starts: values,
        }),
        log_evidence: None,
        log_evidence_error: None,
        warnings,
    })
}

/// The centre of the prior for start 0, else a draw; draws, if the likelihood fails there.
fn start<L: DifferentiableLikelihood>(
    objective: &Objective<'_, L>,
    seed: u64,
    index: usize,
) -> Result<Vec<f64>, SampleError> {
    let mut rng = stream(seed, Purpose::Start, index as u64);
    let mut gradient = vec![0.0; objective.posterior.dim()];
    // Every prior is centred on the real line.
    let mut z = vec![0.0; objective.posterior.dim()];
    if index > 0 {
        z = objective.posterior.initial(&mut rng);
    }
    let mut last = String::new();
    for _ in 0..START_TRIES {
        match objective.value_and_gradient(&z, &mut gradient) {
            Ok(value) if value.is_finite() => return Ok(z),
            Ok(value) => last = format!("a log density of {}", -value),
            Err(EvalError::Recoverable(message)) => last = message,
            Err(fatal) => return Err(fatal.into()),
        }
        z = objective.posterior.initial(&mut rng);
    }
    Err(SampleError::NoStart {
        tries: START_TRIES,
        last,
    })
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
fn edges<L: DifferentiableLikelihood>(posterior: &Posterior<L>, z: &[f64]) -> Vec<String> {
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

/// The point in physical units, its log likelihood and its log density, from the objective's negative.
fn parts<L: DifferentiableLikelihood>(
    posterior: &Posterior<L>,
    terms: Terms,
    z: &[f64],
    value: f64,
) -> (Vec<f64>, f64, f64) {
    let mut x = vec![0.0; posterior.names().len()];
    posterior.to_physical(z, &mut x);
    let log_prior = posterior.log_prior(&x);
    let log_likelihood = if terms == Terms::Likelihood {
        -value
    } else {
        -value - log_prior
    };
    (x, log_likelihood, log_likelihood + log_prior)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::Likelihood;
    use crate::prior::{LogUniform, Normal, Prior, Uniform};

    /// A normal likelihood in a (mean 0.45, sd 0.2) and in ln b (mean `ln_b`, sd 0.1), correlated by 0.5.
    struct Toy {
        ln_b: f64,
    }
    impl Toy {
        fn residuals(&self, x: &[f64]) -> (f64, f64) {
            ((x[0] - 0.45) / 0.2, (x[1].ln() - self.ln_b) / 0.1)
        }
    }
    impl Likelihood for Toy {
        fn dim(&self) -> usize {
            2
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            let (u, v) = self.residuals(x);
            Ok(-0.5 * (u * u - u * v + v * v) / 0.75)
        }
    }
    impl DifferentiableLikelihood for Toy {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            let (u, v) = self.residuals(x);
            gradient[0] = -(u - 0.5 * v) / 0.75 / 0.2;
            gradient[1] = -(v - 0.5 * u) / 0.75 / (0.1 * x[1]);
            self.log_likelihood(x)
        }
    }

    fn posterior(ln_b: f64) -> Posterior<Toy> {
        let prior = Prior::new().with("a", Normal::new(0.0, 1.0).unwrap()).unwrap();
        Posterior::new(
            prior.with("b", LogUniform::new(0.25, 4.0).unwrap()).unwrap(),
            Toy { ln_b },
        )
        .unwrap()
    }

    fn optimisers() -> [Optimiser; 2] {
        [Optimiser::default(), Optimiser::Adam(Adam::default())]
    }

    #[test]
    fn both_optimisers_find_the_maximum_and_its_width() {
        for optimiser in optimisers() {
            let run = Mle { optimiser, starts: 3 }
                .sample(&posterior(0.5), &RunOptions::default())
                .unwrap();
            let estimate = run.estimate.as_ref().unwrap();
            assert!(
                estimate.converged && run.warnings.is_empty(),
                "{:?} {:?}",
                run.estimate,
                run.warnings
            );
            // 0.002 is a hundredth of a standard deviation.
            assert!((estimate.x[0] - 0.45).abs() < 0.002 && (estimate.x[1].ln() - 0.5).abs() < 0.001);
            assert!(estimate.log_likelihood > -1e-3 && estimate.history.len() > 2);
            assert!(estimate.history.last().unwrap() < &1e-3);
            let summary = run.summary();
            // 4000 draws: a standard deviation is known to 1.1% (one standard error).
            assert!((summary.parameters[0].sd / 0.2 - 1.0).abs() < 0.06, "{summary}");
            let median = &summary.parameters[1];
            assert!(
                ((median.q84.ln() - median.q16.ln()) / 0.1989 - 1.0).abs() < 0.06,
                "{summary}"
            );
            assert!(summary.approximation.is_some() && median.rhat.is_none());
        }
    }

    #[test]
    fn the_prior_pulls_the_most_probable_point_in_physical_units() {
        // With b held by symmetry of the algebra: minimise ½ Q(u, v)/0.75 + ½ a² + ln b, in (a, ln b).
        let run = Map::default()
            .sample(&posterior(0.5), &RunOptions::default())
            .unwrap();
        let estimate = run.estimate.unwrap();
        let (u, v) = Toy { ln_b: 0.5 }.residuals(&estimate.x);
        let in_a = (u - 0.5 * v) / 0.75 / 0.2 + estimate.x[0];
        let in_ln_b = (v - 0.5 * u) / 0.75 / 0.1 + 1.0;
        assert!(in_a.abs() < 0.01 && in_ln_b.abs() < 0.02, "{in_a} {in_ln_b}");
        assert!(estimate.converged);
        let posterior = posterior(0.5);
        let log_density = posterior.log_density_physical(&estimate.x).unwrap();
        assert!((estimate.log_density - log_density).abs() < 1e-12);
        assert!((estimate.log_likelihood - posterior.log_likelihood(&estimate.x).unwrap()).abs() < 1e-12);
    }

    #[test]
    fn an_optimum_beyond_the_prior_is_told_and_still_has_a_width() {
        for optimiser in optimisers() {
            let run = Mle { optimiser, starts: 1 }
                .sample(&posterior(1.6), &RunOptions::default())
                .unwrap();
            assert_eq!(
                run.warnings,
                [
                    "b ends at the edge of its prior: the maximum may lie beyond",
                    "there is no peak at an edge, so the draws are about the peak of the whole posterior",
                ],
                "{:?}",
                run.estimate
            );
            let b = &run.summary().parameters[1];
            // ln 4 = 1.386 is 2.1 standard deviations below the optimum: b crowds below 4.
            assert!(b.sd > 0.03 && b.sd < 0.5 && b.q50 > 3.3 && b.q95 <= 4.0, "{b:?}");
        }
    }

    #[test]
    fn a_peak_near_a_bound_is_a_peak() {
        // Half a percent of the prior lies beyond, five standard deviations of the likelihood.
        struct Sharp;
        impl Likelihood for Sharp {
            fn dim(&self) -> usize {
                1
            }
            fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
                Ok(-0.5 * ((x[0] - 0.995) / 0.001).powi(2))
            }
        }
        impl DifferentiableLikelihood for Sharp {
            fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
                gradient[0] = (0.995 - x[0]) / 1e-6;
                self.log_likelihood(x)
            }
        }
        let prior = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
        let run = Mle::default()
            .sample(&Posterior::new(prior, Sharp).unwrap(), &RunOptions::default())
            .unwrap();
        assert!(run.estimate.as_ref().unwrap().converged, "{:?}", run.estimate);
        assert_eq!(run.warnings, [""; 0]);
    }

    #[test]
    fn too_few_iterations_are_no_convergence() {
        let few = [
            Optimiser::Lbfgs(Lbfgs {
                iterations: 1,
                ..Lbfgs::default()
            }),
            Optimiser::Adam(Adam {
                iterations: 3,
                ..Adam::default()
            }),
        ];
        for optimiser in few {
            let run = Mle { optimiser, starts: 1 }
                .sample(&posterior(0.5), &RunOptions::default())
                .unwrap();
            assert!(
                !run.estimate.as_ref().unwrap().converged,
                "{:?} {:?}",
                run.estimate,
                run.warnings
            );
            assert!(
                run.summary()
                    .warnings
                    .iter()
                    .any(|warning| warning.contains("has not converged"))
            );
        }
    }

    #[test]
    fn single_precision_is_enough() {
        struct Single(Toy);
        impl Likelihood for Single {
            fn dim(&self) -> usize {
                2
            }
            fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
                self.value_and_gradient(x, &mut [0.0; 2])
            }
        }
        impl DifferentiableLikelihood for Single {
            fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
                // On top of a constant of a thousand nats, as networks have it.
                let value = self.0.value_and_gradient(x, gradient)? - 1000.0;
                gradient.iter_mut().for_each(|g| *g = f64::from(*g as f32));
                Ok(f64::from(value as f32))
            }
        }
        let single = Posterior::new(posterior(0.5).prior().clone(), Single(Toy { ln_b: 0.5 })).unwrap();
        for optimiser in optimisers() {
            let run = Mle { optimiser, starts: 2 }
                .sample(&single, &RunOptions::default())
                .unwrap();
            assert!(
                run.estimate.as_ref().is_some_and(|estimate| estimate.converged),
                "{:?}",
                run.estimate
            );
            let summary = run.summary();
            assert!((summary.parameters[0].mean - 0.45).abs() < 0.02, "{summary}");
            assert!((summary.parameters[0].sd / 0.2 - 1.0).abs() < 0.06, "{summary}");
            assert!(summary.warnings.is_empty(), "{summary}");
        }
    }

    #[test]
    fn a_flat_direction_falls_back_on_the_prior() {
        struct Flat;
        impl Likelihood for Flat {
            fn dim(&self) -> usize {
                2
            }
            fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
                Ok(-0.5 * ((x[0] - 0.5) / 0.01).powi(2))
            }
        }
        impl DifferentiableLikelihood for Flat {
            fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
                gradient.copy_from_slice(&[(0.5 - x[0]) / 1e-4, 0.0]);
                self.log_likelihood(x)
            }
        }
        let prior = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
        let posterior =
            Posterior::new(prior.with("b", Uniform::new(0.0, 1.0).unwrap()).unwrap(), Flat).unwrap();
        let run = Mle::default().sample(&posterior, &RunOptions::default()).unwrap();
        assert!(
            run.warnings[0].contains("leave a direction open"),
            "{:?}",
            run.warnings
        );
        let summary = run.summary();
        assert!((summary.parameters[0].sd / 0.01 - 1.0).abs() < 0.06);
        assert!(summary.parameters[1].sd > 0.2, "{summary}");
    }
}
