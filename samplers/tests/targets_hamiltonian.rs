//! Compare samplers that follow the gradient's flow with targets of known moments.

use armilla_samplers::diagnostics::{ess_mean, mcse_mean};
use armilla_samplers::prelude::*;
use rand::{Rng, RngExt};

/// A density on the real line, its gradient, and a box in which chains start.
struct Target<F> {
    names: Vec<String>,
    start: (f64, f64),
    density: F,
}

fn target<F: Fn(&[f64], &mut [f64]) -> f64 + Send + Sync>(dim: usize, density: F) -> Target<F> {
    Target {
        names: (0..dim).map(|i| format!("z[{i}]")).collect(),
        start: (-1.0, 1.0),
        density,
    }
}

impl<F: Fn(&[f64], &mut [f64]) -> f64 + Send + Sync> Density for Target<F> {
    fn dim(&self) -> usize {
        self.names.len()
    }
    fn names(&self) -> &[String] {
        &self.names
    }
    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        self.value_and_gradient(z, &mut vec![0.0; z.len()])
    }
    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        x.copy_from_slice(z);
    }
    fn ln_jacobian(&self, _z: &[f64]) -> f64 {
        0.0
    }
    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        let (low, high) = self.start;
        (0..self.dim())
            .map(|_| low + (high - low) * rng.random::<f64>())
            .collect()
    }
}

impl<F: Fn(&[f64], &mut [f64]) -> f64 + Send + Sync> DifferentiableDensity for Target<F> {
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        Ok((self.density)(z, gradient))
    }
}

type Expectation = (&'static str, fn(&[f64]) -> f64, f64);

/// Means over the draws are within 5 standard errors of what they should be.
fn compare(name: &str, run: &Run, expectations: &[Expectation]) {
    for (quantity, f, expected) in expectations {
        let of_chain = |chain: &armilla_samplers::run::Chain| -> Vec<f64> {
            chain.draws.chunks_exact(run.dim()).map(f).collect()
        };
        let chains: Vec<Vec<f64>> = run.chains.iter().map(of_chain).collect();
        let all = chains.concat();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let off = (mean - expected) / mcse_mean(&chains).unwrap();
        let ess = ess_mean(&chains).unwrap();
        println!("{name}: E[{quantity}] = {mean:.4} for {expected:.4}, {off:+.2} se, ESS {ess:.0}");
        assert!(ess > 200.0, "{name}: {quantity} has an ESS of {ess}");
        assert!(
            off.abs() < 5.0,
            "{name}: E[{quantity}] is {mean} for {expected}, {off} se"
        );
    }
}

fn samplers<T: DifferentiableDensity>(acceptance: f64) -> Vec<(&'static str, Box<dyn Sampler<T>>)> {
    let (nuts, hmc) = (Nuts::default(), Hmc::default());
    let metric = MetricKind::Dense;
    let target_acceptance = acceptance;
    vec![
        (
            "nuts",
            Box::new(Nuts {
                target_acceptance,
                ..nuts
            }),
        ),
        (
            "dense nuts",
            Box::new(Nuts {
                target_acceptance,
                metric,
                ..nuts
            }),
        ),
        (
            "nuts of low rank",
            Box::new(Nuts {
                target_acceptance,
                metric: MetricKind::LowRank,
                ..nuts
            }),
        ),
        (
            "hmc",
            Box::new(Hmc {
                target_acceptance,
                ..hmc
            }),
        ),
        (
            "dense hmc",
            Box::new(Hmc {
                target_acceptance,
                metric,
                ..hmc
            }),
        ),
    ]
}

fn all<T: DifferentiableDensity>(
    name: &str,
    target: &T,
    acceptance: f64,
    options: &RunOptions,
    truth: &[Expectation],
) {
    for (sampler, method) in samplers(acceptance) {
        compare(
            &format!("{name} by {sampler}"),
            &method.sample(target, options).unwrap(),
            truth,
        );
    }
}

fn options(draws: usize) -> RunOptions {
    RunOptions {
        seed: 5,
        warmup: 500,
        draws,
        ..RunOptions::default()
    }
}

/// Sds of 0.01 and 100 with a correlation of −0.9.
#[test]
fn correlated_gaussian_of_unequal_scales() {
    let gaussian = target(2, |z, gradient| {
        let (u, v) = (z[0] / 0.01 - 3.0, z[1] / 100.0);
        let (by_u, by_v) = ((u + 0.9 * v) / 0.19, (v + 0.9 * u) / 0.19);
        (gradient[0], gradient[1]) = (-by_u / 0.01, -by_v / 100.0);
        -0.5 * (u * by_u + v * by_v)
    });
    let truth: [Expectation; 5] = [
        ("a", |z| z[0] / 0.01, 3.0),
        ("b", |z| z[1] / 100.0, 0.0),
        ("a²", |z| (z[0] / 0.01 - 3.0).powi(2), 1.0),
        ("b²", |z| (z[1] / 100.0).powi(2), 1.0),
        ("ab", |z| (z[0] / 0.01 - 3.0) * z[1] / 100.0, -0.9),
    ];
    all("Gaussian", &gaussian, 0.8, &options(4000), &truth);
}

/// ln x, where x has a gamma distribution of shape 1.5.
#[test]
fn skewed_gamma() {
    let gamma = target(1, |z, gradient| {
        gradient[0] = 1.5 - z[0].exp();
        1.5 * z[0] - z[0].exp()
    });
    let truth: [Expectation; 3] = [
        ("x", |z| z[0].exp(), 1.5),
        ("x²", |z| (2.0 * z[0]).exp(), 1.5 * 2.5),
        // ψ(3/2) = 2 − γ − 2 ln 2.
        ("ln x", |z| z[0], 0.036_489_973_978_576_5),
    ];
    all("gamma", &gamma, 0.8, &options(5000), &truth);
}

/// b ~ Normal(a²/2, 0.5) with a ~ Normal(0, 1).
#[test]
fn banana_shaped() {
    let banana = target(2, |z, gradient| {
        let u = (z[1] - 0.5 * z[0] * z[0]) / 0.5;
        (gradient[0], gradient[1]) = (u / 0.5 * z[0] - z[0], -u / 0.5);
        -0.5 * (u * u + z[0] * z[0])
    });
    let truth: [Expectation; 5] = [
        ("a", |z| z[0], 0.0),
        ("a²", |z| z[0] * z[0], 1.0),
        ("b", |z| z[1], 0.5),
        ("b²", |z| z[1] * z[1], 1.0),
        ("a²b", |z| z[0] * z[0] * z[1], 1.5),
    ];
    all("banana", &banana, 0.95, &options(15_000), &truth);
}

/// x ~ Normal(0, e^v) with v ~ Normal(0, 1): scales that change over the posterior.
#[test]
fn funnel() {
    let funnel = target(3, |z, gradient| {
        let precision = (-z[0]).exp();
        let squares = z[1] * z[1] + z[2] * z[2];
        gradient[0] = -z[0] - 1.0 + 0.5 * precision * squares;
        (gradient[1], gradient[2]) = (-precision * z[1], -precision * z[2]);
        -0.5 * z[0] * z[0] - z[0] - 0.5 * precision * squares
    });
    let truth: [Expectation; 4] = [
        ("v", |z| z[0], 0.0),
        ("v²", |z| z[0] * z[0], 1.0),
        ("x", |z| z[1], 0.0),
        // The median of |x| e^(−v/2), which is half normal.
        (
            "|x| < 0.6745 e^(v/2)",
            |z| f64::from(u8::from(z[1].abs() < 0.674_489_75 * (0.5 * z[0]).exp())),
            0.5,
        ),
    ];
    all("funnel", &funnel, 0.95, &options(15_000), &truth);
}

/// On the positive half of the line: outside there is no density, and no gradient.
#[test]
fn an_edge_is_no_divergence() {
    let half = Target {
        start: (0.1, 1.0),
        ..target(1, |z, gradient| {
            gradient[0] = -z[0];
            if z[0] > 0.0 {
                -0.5 * z[0] * z[0]
            } else {
                f64::NEG_INFINITY
            }
        })
    };
    let truth: [Expectation; 2] = [
        ("z", |z| z[0], (2.0 / std::f64::consts::PI).sqrt()),
        ("z²", |z| z[0] * z[0], 1.0),
    ];
    all("half normal", &half, 0.8, &options(5000), &truth);
    let run = Nuts::default().sample(&half, &options(5000)).unwrap();
    assert_eq!(
        run.chains.iter().map(|chain| chain.divergences()).sum::<usize>(),
        0
    );
    assert!(run.draws().all(|z| z[0] > 0.0));
}

/// A narrow direction keeps the step size at a hundredth of what the wide one would take.
#[test]
fn trees_cut_before_they_turn_are_told() {
    let narrow = target(2, |z, gradient| {
        let (u, v) = (z[0] + z[1], (z[0] - z[1]) / 0.01);
        (gradient[0], gradient[1]) = (-u - v / 0.01, -u + v / 0.01);
        -0.5 * (u * u + v * v)
    });
    let cut = Nuts {
        max_depth: 3,
        ..Nuts::default()
    };
    let told = |nuts: Nuts| {
        let run = nuts.sample(&narrow, &options(200)).unwrap();
        run.warnings
            .iter()
            .any(|warning| warning.contains("reached max_depth 3"))
    };
    assert!(told(cut));
    assert!(!told(Nuts {
        metric: MetricKind::Dense,
        ..cut
    }));
}

/// What is accepted is what was aimed at, and a short warm-up is enough.
#[test]
fn the_acceptance_is_the_one_aimed_at() {
    let gaussian = target(10, |z, gradient| {
        gradient.iter_mut().zip(z).for_each(|(g, z)| *g = -z);
        -0.5 * z.iter().map(|z| z * z).sum::<f64>()
    });
    for (name, sampler) in samplers(0.8) {
        let run = sampler.sample(&gaussian, &options(1000)).unwrap();
        let acceptance = run
            .chains
            .iter()
            .filter_map(|chain| chain.acceptance())
            .sum::<f64>()
            / 4.0;
        println!("{name}: {acceptance:.3}");
        assert!((acceptance - 0.8).abs() < 0.03, "{name} accepts {acceptance}");
    }
}
