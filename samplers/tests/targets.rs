//! Compare every sampler with targets whose moments are known, to five standard errors.

use armilla_samplers::diagnostics::{ess_mean, mcse_mean};
use armilla_samplers::prelude::*;

/// A likelihood given by a function of value and gradient.
struct Function {
    dim: usize,
    f: fn(&[f64], &mut [f64]) -> f64,
}

impl Likelihood for Function {
    fn dim(&self) -> usize {
        self.dim
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok((self.f)(x, &mut vec![0.0; self.dim]))
    }
}

impl DifferentiableLikelihood for Function {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        Ok((self.f)(x, gradient))
    }
}

fn posterior(
    prior: Result<Prior, SampleError>,
    dim: usize,
    f: fn(&[f64], &mut [f64]) -> f64,
) -> Posterior<Function> {
    Posterior::new(prior.unwrap(), Function { dim, f }).unwrap()
}

/// Two measurements of a + b and a − b/2 with a normal prior: a correlated normal posterior.
fn gaussian() -> Posterior<Function> {
    let prior = || {
        Prior::new()
            .with("a", Normal::new(1.0, 2.0)?)?
            .with("b", Normal::new(0.0, 1.0)?)
    };
    posterior(prior(), 2, |x, gradient| {
        let (u, v) = ((x[0] + x[1] - 1.5) / 0.3, (x[0] - 0.5 * x[1] - 2.0) / 0.8);
        gradient[0] = -u / 0.3 - v / 0.8;
        gradient[1] = -u / 0.3 + 0.5 * v / 0.8;
        -0.5 * (u * u + v * v)
    })
}

/// Its mean and covariance, from the normal equations.
fn gaussian_moments() -> ([f64; 2], [[f64; 2]; 2]) {
    let (p, q) = (1.0 / 0.09, 1.0 / 0.64);
    let precision = [[p + q + 0.25, p - 0.5 * q], [p - 0.5 * q, p + 0.25 * q + 1.0]];
    let right = [1.5 * p + 2.0 * q + 0.25, 1.5 * p - 0.5 * 2.0 * q];
    let determinant = precision[0][0] * precision[1][1] - precision[0][1] * precision[0][1];
    let covariance = [
        [precision[1][1] / determinant, -precision[0][1] / determinant],
        [-precision[0][1] / determinant, precision[0][0] / determinant],
    ];
    let mean = [0, 1].map(|i| covariance[i][0] * right[0] + covariance[i][1] * right[1]);
    (mean, covariance)
}

/// x^k e^(−x) under a log-uniform prior over 13 decades: a gamma distribution of shape k = 1.5.
fn gamma() -> Posterior<Function> {
    let prior = || Prior::new().with("x", LogUniform::new(1e-9, 1e4)?);
    posterior(prior(), 1, |x, gradient| {
        gradient[0] = 1.5 / x[0] - 1.0;
        1.5 * x[0].ln() - x[0]
    })
}

/// b ~ Normal(a²/2, 0.5) with a ~ Normal(0, 1): a banana. E b = ½, Var b = ½ + ¼, Cov(a², b) = 1.
fn banana() -> Posterior<Function> {
    let prior = || {
        Prior::new()
            .with("a", Normal::new(0.0, 1.0)?)?
            .with("b", Uniform::new(-20.0, 60.0)?)
    };
    posterior(prior(), 2, |x, gradient| {
        let u = (x[1] - 0.5 * x[0] * x[0]) / 0.5;
        gradient[0] = u / 0.5 * x[0];
        gradient[1] = -u / 0.5;
        -0.5 * u * u
    })
}

/// A likelihood of exp(−3x) on [0, 1]: the mass leans on the edge, where only the right Jacobian holds it.
fn truncated() -> Posterior<Function> {
    let prior = || Prior::new().with("x", Uniform::new(0.0, 1.0)?);
    posterior(prior(), 1, |x, gradient| {
        gradient[0] = -3.0;
        -3.0 * x[0]
    })
}

type Expectation = (&'static str, fn(&[f64]) -> f64, f64);

/// Compares means over the draws with what they should be. Returns the largest error in standard errors.
fn compare(target: &str, run: &Run, expectations: &[Expectation]) -> f64 {
    let mut worst: f64 = 0.0;
    for (name, f, expected) in expectations {
        let of_chain = |chain: &armilla_samplers::run::Chain| {
            chain.draws.chunks_exact(run.dim()).map(f).collect::<Vec<f64>>()
        };
        let chains: Vec<Vec<f64>> = run.chains.iter().map(of_chain).collect();
        let all = chains.concat();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let error = mcse_mean(&chains).unwrap();
        let ess = ess_mean(&chains).unwrap();
        let off = (mean - expected) / error;
        println!(
            "{target} by {}: E[{name}] = {mean:.4} for {expected:.4}, {off:+.2} se, ESS {ess:.0}",
            run.method
        );
        assert!(
            ess > 200.0,
            "{target} by {}: {name} has an ESS of {ess}",
            run.method
        );
        assert!(
            off.abs() < 5.0,
            "{target} by {}: E[{name}] is {mean} for {expected}, {off} se",
            run.method
        );
        worst = worst.max(off.abs());
    }
    worst
}

fn chains(target: &str, posterior: &Posterior<Function>, draws: usize, expectations: &[Expectation]) {
    let samplers: [Box<dyn Sampler<Posterior<Function>>>; 2] =
        [Box::new(Hmc::default()), Box::new(MetropolisHastings::default())];
    for sampler in samplers {
        let run = sampler
            .sample(
                posterior,
                &RunOptions {
                    seed: 3,
                    draws,
                    ..RunOptions::default()
                },
            )
            .unwrap();
        compare(target, &run, expectations);
        println!("{}", run.summary());
    }
}

#[test]
fn correlated_gaussian() {
    let (mean, covariance) = gaussian_moments();
    let summary = Grid {
        refine: true,
        ..Grid::new(60)
    }
    .sample(&gaussian(), &RunOptions::default())
    .unwrap()
    .summary();
    for (i, parameter) in summary.parameters.iter().enumerate() {
        // The box is cut where the prior has 0.01% of its mass, far out in the posterior.
        assert!((parameter.mean - mean[i]).abs() < 1e-6, "{summary}");
        assert!(
            (parameter.sd / covariance[i][i].sqrt() - 1.0).abs() < 1e-4,
            "{summary}"
        );
    }
    let run = Map::default()
        .sample(&gaussian(), &RunOptions::default())
        .unwrap();
    let estimate = run.estimate.as_ref().unwrap();
    for i in 0..2 {
        assert!((estimate.x[i] - mean[i]).abs() < 1e-3 * covariance[i][i].sqrt());
    }
    // Of a Gaussian, the Laplace approximation is exact.
    let centred: [Expectation; 3] = [
        ("a", |x| x[0], mean[0]),
        ("b", |x| x[1], mean[1]),
        ("ab", |x| x[0] * x[1], covariance[0][1] + mean[0] * mean[1]),
    ];
    compare("Gaussian", &run, &centred);
    let squares: [Expectation; 2] = [
        ("a²", |x| x[0] * x[0], covariance[0][0] + mean[0] * mean[0]),
        ("b²", |x| x[1] * x[1], covariance[1][1] + mean[1] * mean[1]),
    ];
    compare("Gaussian", &run, &squares);
    chains(
        "Gaussian",
        &gaussian(),
        4000,
        &[centred.to_vec(), squares.to_vec()].concat(),
    );
}

#[test]
fn skewed_gamma() {
    let moments: [Expectation; 3] = [
        ("x", |x| x[0], 1.5),
        ("x²", |x| x[0] * x[0], 1.5 * 2.5),
        // ψ(3/2) = 2 − γ − 2 ln 2.
        ("ln x", |x| x[0].ln(), 0.036_489_973_978_576_5),
    ];
    chains("gamma", &gamma(), 4000, &moments);
    let grid = Grid::new(3000)
        .sample(&gamma(), &RunOptions::default())
        .unwrap()
        .summary();
    assert!((grid.parameters[0].mean - 1.5).abs() < 1e-6, "{grid}");
    assert!((grid.parameters[0].sd - 1.5f64.sqrt()).abs() < 1e-6, "{grid}");
    // ∫ x^k e^−x dx/x over ln(1e13): Γ(3/2) = √π/2.
    let evidence = (std::f64::consts::PI.sqrt() / 2.0).ln() - (13.0 * 10f64.ln()).ln();
    assert!((grid.log_evidence.unwrap() - evidence).abs() < 1e-6);
}

#[test]
fn banana_shaped() {
    let moments: [Expectation; 5] = [
        ("a", |x| x[0], 0.0),
        ("a²", |x| x[0] * x[0], 1.0),
        ("b", |x| x[1], 0.5),
        ("b²", |x| x[1] * x[1], 1.0),
        ("a²b", |x| x[0] * x[0] * x[1], 1.5),
    ];
    let options = RunOptions {
        seed: 3,
        draws: 20_000,
        ..RunOptions::default()
    };
    // The arms are several times stiffer than the belly: steps that suit the belly cannot enter them.
    let hmc = Hmc {
        target_acceptance: 0.95,
        ..Hmc::default()
    };
    compare("banana", &hmc.sample(&banana(), &options).unwrap(), &moments);
    compare(
        "banana",
        &MetropolisHastings::default().sample(&banana(), &options).unwrap(),
        &moments,
    );
    // At the default acceptance this shows: as divergences, which the summary does not keep to itself.
    let coarse = Hmc::default().sample(&banana(), &options).unwrap().summary();
    assert!(
        coarse
            .warnings
            .iter()
            .any(|warning| warning.contains("divergence")),
        "{coarse}"
    );
}

#[test]
fn leaning_on_an_edge() {
    // ∫ x e^−3x / ∫ e^−3x on [0, 1], and the same for x².
    let e = (-3f64).exp();
    let mass = (1.0 - e) / 3.0;
    let mean = ((1.0 - 4.0 * e) / 9.0) / mass;
    let square = ((2.0 - 17.0 * e) / 27.0) / mass;
    chains(
        "edge",
        &truncated(),
        4000,
        &[("x", |x| x[0], mean), ("x²", |x| x[0] * x[0], square)],
    );
}

#[test]
fn two_parameters_cost_few_gradients() {
    let options = RunOptions {
        warmup: 200,
        draws: 500,
        ..RunOptions::default()
    };
    let run = Hmc::default().sample(&gaussian(), &options).unwrap();
    let summary = run.summary();
    // A diagonal metric cannot undo the correlation of −0.77: 10 gradients buy about one independent draw.
    let effective: f64 = summary
        .parameters
        .iter()
        .filter_map(|parameter| parameter.ess)
        .fold(f64::MAX, f64::min);
    println!(
        "{:.1} gradients per effective draw\n{summary}",
        summary.evaluations.gradients as f64 / effective
    );
    assert!(summary.evaluations.gradients < 25 * effective as u64, "{summary}");
    assert!(summary.warnings.is_empty(), "{summary}");
}
