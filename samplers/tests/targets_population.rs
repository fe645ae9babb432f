//! Hold ensembles, sequential Monte Carlo and parallel tempering to targets whose moments and evidence are
//! known.

use std::f64::consts::PI;

use armilla_samplers::prelude::*;
use rand::{Rng, RngExt};

/// How far an estimate may lie from the truth, in its own standard errors.
const ERRORS: f64 = 5.0;

type Moment<'a> = (&'a str, f64, &'a dyn Fn(&[f64]) -> f64);

/// Means over groups of draws that do not depend on one another, and the standard error of their mean.
fn check_groups(run: &Run, groups: &[Vec<&[f64]>], moments: &[Moment<'_>]) {
    for (name, truth, of) in moments {
        let mean = |group: &Vec<&[f64]>| group.iter().map(|x| of(x)).sum::<f64>() / group.len() as f64;
        let means: Vec<f64> = groups.iter().map(mean).collect();
        let count = means.len() as f64;
        let found = means.iter().sum::<f64>() / count;
        let variance = means.iter().map(|mean| (mean - found).powi(2)).sum::<f64>() / (count - 1.0);
        let error = (variance / count).sqrt();
        assert!(
            (found - truth).abs() < ERRORS * error && error > 0.0,
            "{}: {name} is {found} ± {error}, not {truth}",
            run.method
        );
    }
}

/// Chains are independent of each other.
fn check_chains(run: &Run, moments: &[Moment<'_>]) {
    let groups = |chain: &armilla_samplers::run::Chain| -> Vec<Vec<f64>> {
        chain.draws.chunks_exact(run.dim()).map(<[f64]>::to_vec).collect()
    };
    let chains: Vec<Vec<Vec<f64>>> = run.chains.iter().map(groups).collect();
    let groups: Vec<Vec<&[f64]>> = chains
        .iter()
        .map(|chain| chain.iter().map(Vec::as_slice).collect())
        .collect();
    check_groups(run, &groups, moments);
}

/// The walkers of an ensemble are not: its draws are cut into stretches of time, longer than its memory.
fn check_ensemble(run: &Run, moments: &[Moment<'_>]) {
    const STRETCHES: usize = 25;
    let mut groups = vec![Vec::new(); STRETCHES];
    for chain in &run.chains {
        for (index, x) in chain.draws.chunks_exact(run.dim()).enumerate() {
            groups[index * STRETCHES / chain.len()].push(x);
        }
    }
    check_groups(run, &groups, moments);
}

fn options(chains: usize, draws: usize) -> RunOptions {
    RunOptions {
        seed: 20,
        chains,
        warmup: 500,
        draws,
        ..RunOptions::default()
    }
}

fn ensembles() -> Vec<Ensemble> {
    let of = |moves| Ensemble {
        moves,
        ..Ensemble::default()
    };
    vec![
        Ensemble::default(),
        of(vec![(Move::Differential, 0.8), (Move::Snooker, 0.2)]),
    ]
}

/// A density on the real line as it is.
struct Plain<F> {
    names: Vec<String>,
    log_density: F,
}

impl<F: Fn(&[f64]) -> f64 + Send + Sync> Plain<F> {
    fn new(dim: usize, log_density: F) -> Self {
        Self {
            names: (0..dim).map(|i| format!("x{i}")).collect(),
            log_density,
        }
    }
}

impl<F: Fn(&[f64]) -> f64 + Send + Sync> Density for Plain<F> {
    fn dim(&self) -> usize {
        self.names.len()
    }
    fn names(&self) -> &[String] {
        &self.names
    }
    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        Ok((self.log_density)(z))
    }
    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        x.copy_from_slice(z);
    }
    fn ln_jacobian(&self, _z: &[f64]) -> f64 {
        0.0
    }
    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        self.names.iter().map(|_| rng.random_range(-1.0..1.0)).collect()
    }
}

/// A likelihood from a function.
struct Plainly<F>(usize, F);

impl<F: Fn(&[f64]) -> f64 + Send + Sync> Likelihood for Plainly<F> {
    fn dim(&self) -> usize {
        self.0
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok((self.1)(x))
    }
}

fn prior<D: Univariate<Number = f64> + 'static>(dim: usize, distribution: D) -> Prior {
    (0..dim).fold(Prior::new(), |prior, i| {
        prior.with(format!("x{i}"), distribution).unwrap()
    })
}

#[test]
fn ensembles_know_scales_and_correlations() {
    // u and v are standard normals; x = (100 u, 0.01 (0.9 u + √0.19 v) + 3).
    let target = Plain::new(2, |x| {
        let u = x[0] / 100.0;
        let v = ((x[1] - 3.0) / 0.01 - 0.9 * u) / 0.19f64.sqrt();
        -0.5 * (u * u + v * v)
    });
    for ensemble in ensembles() {
        let run = ensemble.sample(&target, &options(1, 4000)).unwrap();
        check_ensemble(
            &run,
            &[
                ("E x0", 0.0, &|x| x[0]),
                ("E x1", 3.0, &|x| x[1]),
                ("Var x0", 1e4, &|x| x[0] * x[0]),
                ("Var x1", 1e-4, &|x| (x[1] - 3.0).powi(2)),
                ("Cov", 0.9, &|x| x[0] * (x[1] - 3.0)),
            ],
        );
    }
}

#[test]
fn ensembles_follow_a_banana() {
    // x0 is a standard normal, x1 is one of sd ½ about x0².
    let target = Plain::new(2, |x| -0.5 * (x[0] * x[0] + 4.0 * (x[1] - x[0] * x[0]).powi(2)));
    for ensemble in ensembles() {
        let run = ensemble.sample(&target, &options(1, 8000)).unwrap();
        check_ensemble(
            &run,
            &[
                ("E x0", 0.0, &|x| x[0]),
                ("Var x0", 1.0, &|x| x[0] * x[0]),
                ("E x1", 1.0, &|x| x[1]),
                ("E x1²", 3.25, &|x| x[1] * x[1]),
                ("E x0² x1", 3.0, &|x| x[0] * x[0] * x[1]),
            ],
        );
    }
}

/// Counts of mean 5 under a rate that is log-uniform: a gamma distribution of shape 20 and rate 4, and a
/// second parameter to keep the first company.
fn counts() -> Posterior<impl Likelihood> {
    let prior = Prior::new()
        .with("rate", LogUniform::new(1e-2, 1e3).unwrap())
        .unwrap()
        .with("other", Uniform::new(0.0, 1.0).unwrap())
        .unwrap();
    Posterior::new(
        prior,
        Plainly(2, |x: &[f64]| 20.0 * x[0].ln() - 4.0 * x[0] + x[1].ln()),
    )
    .unwrap()
}

const COUNTS: [Moment<'static>; 4] = [
    ("E rate", 5.0, &|x| x[0]),
    ("E rate²", 26.25, &|x| x[0] * x[0]),
    ("E 1/rate", 4.0 / 19.0, &|x| 1.0 / x[0]),
    ("E other", 2.0 / 3.0, &|x| x[1]),
];

#[test]
fn all_sample_a_skewed_posterior_and_weigh_it() {
    // ∫ r²⁰ e⁻⁴ʳ dr / r = 19! / 4²⁰, the priors are 1 / (r ln 10⁵) and 1, ∫ a da = ½.
    let factorial: f64 = (1..20).map(|n| f64::from(n).ln()).sum();
    let evidence = factorial - 20.0 * 4f64.ln() - 1e5f64.ln().ln() - 2f64.ln();
    for ensemble in ensembles() {
        check_ensemble(&ensemble.sample(&counts(), &options(1, 4000)).unwrap(), &COUNTS);
    }
    let smc = Smc::default().sample(&counts(), &options(20, 500)).unwrap();
    let tempering = ParallelTempering::default()
        .sample(&counts(), &options(12, 1000))
        .unwrap();
    for run in [smc, tempering] {
        check_chains(&run, &COUNTS);
        check_evidence(&run, evidence, 0.05);
    }
}

fn check_evidence(run: &Run, truth: f64, most: f64) {
    let (found, error) = (run.log_evidence.unwrap(), run.log_evidence_error.unwrap());
    assert!(
        (found - truth).abs() < ERRORS * error && error < most,
        "{}: log evidence {found} ± {error}, not {truth}",
        run.method
    );
}

#[test]
fn the_evidence_of_a_normal_is_known() {
    // In four dimensions the prior has sd 10, and the likelihood sd 0.1 about 1 + i: ln Z is that of one
    // normal under another.
    let likelihood = |x: &[f64]| -> f64 {
        let terms = x.iter().enumerate().map(|(i, x)| {
            let u = (x - 1.0 - i as f64) / 0.1;
            -0.5 * u * u - (0.1 * (2.0 * PI).sqrt()).ln()
        });
        terms.sum()
    };
    let variance = 100.01;
    let evidence: f64 = (0..4)
        .map(|i| -0.5 * (1.0 + f64::from(i)).powi(2) / variance - 0.5 * (2.0 * PI * variance).ln())
        .sum();
    let posterior =
        Posterior::new(prior(4, Normal::new(0.0, 10.0).unwrap()), Plainly(4, likelihood)).unwrap();
    let shrunk = 4.0 * 100.0 / variance;
    let moments: [Moment<'_>; 2] = [
        ("E x3", shrunk, &|x| x[3]),
        ("Var x3", 100.0 * 0.01 / variance, &|x| (x[3] - shrunk).powi(2)),
    ];
    let smc = Smc::default().sample(&posterior, &options(12, 400)).unwrap();
    let tempering = ParallelTempering {
        temperatures: 16,
        ..ParallelTempering::default()
    };
    let tempering = tempering.sample(&posterior, &options(8, 1500)).unwrap();
    for run in [smc, tempering] {
        check_evidence(&run, evidence, 0.15);
        check_chains(&run, &moments);
    }
}

#[test]
fn the_evidence_under_a_cut_prior_is_that_of_a_grid() {
    // The likelihood's peak lies outside the prior, and half of the prior is impossible.
    let likelihood = |x: &[f64]| {
        if x[0] < 0.0 {
            f64::NEG_INFINITY
        } else {
            -0.5 * (((x[0] - 1.2) / 0.3).powi(2) + ((x[1] - x[0]) / 0.2).powi(2))
        }
    };
    let posterior =
        Posterior::new(prior(2, Uniform::new(-1.0, 1.0).unwrap()), Plainly(2, likelihood)).unwrap();
    let grid = Grid::new(400).sample(&posterior, &RunOptions::default()).unwrap();
    let mean = |index: usize| grid.summary().parameters[index].mean;
    let (first, second) = (mean(0), mean(1));
    let moments: [Moment<'_>; 2] = [("E x0", first, &|x| x[0]), ("E x1", second, &|x| x[1])];
    let smc = Smc::default().sample(&posterior, &options(16, 500)).unwrap();
    let tempering = ParallelTempering::default()
        .sample(&posterior, &options(10, 1000))
        .unwrap();
    for run in [smc, tempering] {
        check_evidence(&run, grid.log_evidence.unwrap(), 0.05);
        check_chains(&run, &moments);
    }
}

#[test]
fn separate_modes_get_their_weights() {
    // Normals of sd 0.2 at ∓4 on the diagonal with weights ¼ and ¾.
    let likelihood = |x: &[f64]| {
        let mode = |at: f64| -0.5 * ((x[0] - at).powi(2) + (x[1] - at).powi(2)) / 0.04;
        let (left, right) = (mode(-4.0) + 0.25f64.ln(), mode(4.0) + 0.75f64.ln());
        let largest = left.max(right);
        largest + ((left - largest).exp() + (right - largest).exp()).ln() - (2.0 * PI * 0.04).ln()
    };
    let prior = prior(2, Uniform::new(-10.0, 10.0).unwrap());
    let posterior = Posterior::new(prior, Plainly(2, likelihood)).unwrap();
    let moments: [Moment<'_>; 3] = [
        ("P(right)", 0.75, &|x| f64::from(x[0] > 0.0)),
        ("E |x1|", 4.0, &|x| x[1].abs()),
        ("E (|x1| − 4)²", 0.04, &|x| (x[1].abs() - 4.0).powi(2)),
    ];
    let smc = Smc::default().sample(&posterior, &options(16, 1000)).unwrap();
    let tempering = ParallelTempering::default()
        .sample(&posterior, &options(8, 2000))
        .unwrap();
    for run in [smc, tempering] {
        check_evidence(&run, -400f64.ln(), 0.1);
        check_chains(&run, &moments);
    }
    // A random walk stays where it started.
    let walks = MetropolisHastings::default()
        .sample(&posterior, &options(8, 2000))
        .unwrap();
    for chain in &walks.chains {
        let right = chain.draws.chunks_exact(2).filter(|x| x[0] > 0.0).count();
        assert!(right == 0 || right == chain.len());
    }
}

#[test]
fn what_speaks_against_a_ladder_or_particles_is_said() {
    // Two temperatures cannot bridge prior and posterior, and eight particles are none.
    let likelihood = |x: &[f64]| -0.5 * x.iter().map(|x| (x / 1e-3).powi(2)).sum::<f64>();
    let posterior = Posterior::new(prior(3, Normal::new(0.0, 1.0).unwrap()), Plainly(3, likelihood)).unwrap();
    let ladder = ParallelTempering {
        temperatures: 2,
        ..ParallelTempering::default()
    };
    let warnings = ladder.sample(&posterior, &options(2, 200)).unwrap().warnings;
    assert!(
        warnings.iter().any(|warning| warning.contains("of its swaps")),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("modes may be missing")),
        "{warnings:?}"
    );
    let warnings = Smc::default()
        .sample(&posterior, &options(6, 8))
        .unwrap()
        .warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("take more particles")),
        "{warnings:?}"
    );
}
