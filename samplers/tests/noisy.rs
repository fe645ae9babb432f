//! Measure what noise on the log likelihood does to each sampler that takes it, and hold them to the promises.

#[path = "noisy/conformance.rs"]
mod conformance;
#[path = "noisy/target.rs"]
mod target;

use std::f64::consts::SQRT_2;

use armilla_samplers::prelude::*;
use armilla_samplers::rng::{Purpose, stream};
use rand::RngExt;
use rand_distr::StandardNormal;

use target::{COVARIANCE, MEAN, Noisy, gaussian_prior, truth, variances};

/// Statistical comparisons fail beyond this many standard errors.
const LIMIT: f64 = 5.0;
const SIGMAS: [f64; 4] = [0.0, 0.5, 1.0, 2.0];
const QUICK: RunOptionsOf = RunOptionsOf {
    chains: 24,
    draws: 600,
};

/// What differs between the quick tests and the long ones.
#[derive(Clone, Copy)]
struct RunOptionsOf {
    chains: usize,
    draws: usize,
}

impl RunOptionsOf {
    fn options(self) -> RunOptions {
        RunOptions {
            seed: 5,
            chains: self.chains,
            warmup: 400,
            draws: self.draws,
            ..RunOptions::default()
        }
    }
}

type Moments = [f64; 5];
type Method = dyn Sampler<NoisyPosterior<Noisy>>;

/// The means of a and b, their variances and covariance (about the true means), each with its standard error
/// from the scatter over chains.
fn measure(chains: &[(Vec<f64>, Option<Vec<f64>>)]) -> (Moments, Moments) {
    let of_chain = |(draws, log_weights): &(Vec<f64>, Option<Vec<f64>>)| {
        let mut sums = [0.0; 5];
        let mut total = 0.0;
        for (i, x) in draws.chunks_exact(2).enumerate() {
            let weight = log_weights.as_ref().map_or(1.0, |weights| weights[i].exp());
            let (a, b) = (x[0] - MEAN[0], x[1] - MEAN[1]);
            total += weight;
            for (sum, f) in sums.iter_mut().zip([x[0], x[1], a * a, b * b, a * b]) {
                *sum += weight * f;
            }
        }
        sums.map(|sum| sum / total)
    };
    let each: Vec<Moments> = chains.iter().map(of_chain).collect();
    let n = each.len() as f64;
    let (mut means, mut errors) = ([0.0; 5], [0.0; 5]);
    for i in 0..5 {
        means[i] = each.iter().map(|moments| moments[i]).sum::<f64>() / n;
        let scatter: f64 = each.iter().map(|moments| (moments[i] - means[i]).powi(2)).sum();
        errors[i] = (scatter / (n * (n - 1.0))).sqrt();
    }
    (means, errors)
}

fn measure_run(run: &Run) -> (Moments, Moments) {
    let chains = run.chains.iter();
    let chains: Vec<_> = chains
        .map(|chain| (chain.draws.clone(), chain.log_weights.clone()))
        .collect();
    measure(&chains)
}

/// The distance to what is expected in standard errors, of the moment where it is largest.
fn worst((means, errors): &(Moments, Moments), expected: &Moments) -> f64 {
    let each = means
        .iter()
        .zip(expected)
        .zip(errors)
        .map(|((mean, expected), error)| (mean - expected) / error);
    each.fold(
        0.0,
        |worst: f64, off| if off.abs() > worst.abs() { off } else { worst },
    )
}

/// One line of the table.
fn show(method: &str, sigma: f64, measured: &(Moments, Moments), acceptance: Option<f64>) -> f64 {
    let off = worst(measured, &truth());
    let (means, errors) = measured;
    let shift = (means[0] - MEAN[0]) / COVARIANCE[0][0].sqrt();
    println!(
        "{sigma:>5} {method:28} {off:>+8.1} {shift:>+10.3} ± {:.3} {:>9.3} ± {:.3} {:>8.3}",
        errors[0] / COVARIANCE[0][0].sqrt(),
        means[2] / COVARIANCE[0][0],
        errors[2] / COVARIANCE[0][0],
        acceptance.unwrap_or(f64::NAN)
    );
    off
}

fn heading() {
    println!(
        "    σ method                       worst/se    shift/sd           variance ratio    acceptance"
    );
}

fn run(sampler: &Method, likelihood: Noisy, size: RunOptionsOf) -> Run {
    let posterior = NoisyPosterior::new(gaussian_prior(), likelihood).unwrap();
    let run = sampler.sample(&posterior, &size.options()).unwrap();
    assert_eq!(run.stop, StopReason::Completed);
    run
}

fn acceptance(run: &Run) -> Option<f64> {
    run.summary().acceptance
}

fn exact_methods_are_right(size: RunOptionsOf) {
    let repeated = Penalty {
        repeats: 8,
        ..Penalty::default()
    };
    let methods: [(&str, bool, Box<Method>); 4] = [
        ("pseudo-marginal", false, Box::new(PseudoMarginal::default())),
        (
            "correlated pseudo-marginal",
            false,
            Box::new(CorrelatedPseudoMarginal::default()),
        ),
        ("penalty, told variance", true, Box::new(Penalty::default())),
        ("penalty, 8 repeats", false, Box::new(repeated)),
    ];
    heading();
    for sigma in SIGMAS {
        for (method, tells, sampler) in &methods {
            let run = run(
                &**sampler,
                Noisy {
                    tells: *tells,
                    ..Noisy::new(sigma)
                },
                size,
            );
            let measured = measure_run(&run);
            let off = show(method, sigma, &measured, acceptance(&run));
            assert!(off.abs() < LIMIT, "{method} at σ = {sigma} is off by {off} se");
            // No chain stands still, and errors are small enough to see a bias.
            assert!(
                measured.1[2] < 0.25 * COVARIANCE[0][0],
                "{method} {sigma}: {measured:?}"
            );
        }
    }
}

#[test]
fn methods_for_noise_are_right_under_noise() {
    exact_methods_are_right(QUICK);
}

#[test]
#[ignore = "takes a minute"]
fn methods_for_noise_are_right_under_noise_at_length() {
    exact_methods_are_right(RunOptionsOf {
        chains: 48,
        draws: 12_000,
    });
}

/// Metropolis that estimates both densities anew at each step and takes the noise for truth.
fn refreshing(sigma: f64, size: RunOptionsOf) -> (Moments, Moments) {
    let posterior = Noisy::new(sigma);
    let prior = gaussian_prior();
    let log_density =
        |x: &[f64], key| posterior.estimate(x, key).unwrap().log_likelihood + prior.ln_density(x);
    let chain = |index: usize| {
        let mut rng = stream(5, Purpose::Chain, index as u64);
        let (mut x, mut draws) = (MEAN, Vec::new());
        for _ in 0..2 * size.draws {
            let proposal = x.map(|x| x + 0.7 * rng.sample::<f64, _>(StandardNormal));
            let keys = [NoiseKey::draw(&mut rng), NoiseKey::draw(&mut rng)];
            let log_ratio = log_density(&proposal, keys[0]) - log_density(&x, keys[1]);
            if rng.random::<f64>() < log_ratio.exp() {
                x = proposal;
            }
            draws.extend(x);
        }
        (draws, None)
    };
    measure(&(0..size.chains).map(chain).collect::<Vec<_>>())
}

#[test]
fn taking_fresh_noise_for_truth_makes_draws_too_wide() {
    heading();
    for sigma in SIGMAS {
        let measured = refreshing(sigma, RunOptionsOf { draws: 2400, ..QUICK });
        let off = show("refreshed without penalty", sigma, &measured, None);
        assert_eq!(off.abs() < LIMIT, sigma == 0.0, "{sigma}: {off}");
        let ratio = measured.0[2] / COVARIANCE[0][0];
        assert!(sigma < 1.0 || ratio > 1.2, "{sigma}: {ratio}");
    }
}

#[test]
fn noise_that_varies_shifts_pseudo_marginal_draws_as_theory_says() {
    // Noise of variance 1.5 + 1.5 a on the logarithm: exp(estimate) is too large by exp((1.5 + 1.5 a) / 2),
    // which shifts a Gaussian by its covariance times (0.75, 0).
    let size = RunOptionsOf { draws: 5000, ..QUICK };
    let likelihood = || Noisy {
        slope: 1.5,
        tells: true,
        ..Noisy::new(1.5f64.sqrt())
    };
    let mut shifted = truth();
    (0..2).for_each(|i| shifted[i] += 0.75 * COVARIANCE[i][0]);
    let (da, db) = (shifted[0] - MEAN[0], shifted[1] - MEAN[1]);
    for (moment, add) in shifted[2..].iter_mut().zip([da * da, db * db, da * db]) {
        *moment += add;
    }
    let methods: [(&str, &Method, Moments); 3] = [
        ("pseudo-marginal", &PseudoMarginal::default(), shifted),
        (
            "correlated pseudo-marginal",
            &CorrelatedPseudoMarginal::default(),
            shifted,
        ),
        ("penalty", &Penalty::default(), truth()),
    ];
    heading();
    for (method, sampler, expected) in methods {
        let run = run(sampler, likelihood(), size);
        let measured = measure_run(&run);
        let from_truth = show(method, 1.5f64.sqrt(), &measured, acceptance(&run));
        let off = worst(&measured, &expected);
        assert!(off.abs() < LIMIT, "{method} is off its theory by {off} se");
        assert_eq!(
            from_truth.abs() > LIMIT,
            method != "penalty",
            "{method}: {from_truth}"
        );
        let warned = run
            .warnings
            .iter()
            .any(|warning| warning.contains("as large at every point"));
        assert_eq!(warned, method != "penalty", "{method}: {:?}", run.warnings);
    }
}

#[test]
fn too_much_noise_is_told() {
    let warned = |sampler: &Method, likelihood, words: &str| {
        let run = run(
            sampler,
            likelihood,
            RunOptionsOf {
                chains: 4,
                draws: 300,
            },
        );
        run.summary()
            .warnings
            .iter()
            .any(|warning| warning.contains(words))
    };
    for tells in [true, false] {
        for (sigma, expected) in [(0.8, false), (2.5, true)] {
            let likelihood = Noisy {
                tells,
                ..Noisy::new(sigma)
            };
            let stuck = warned(
                &PseudoMarginal::default(),
                likelihood.clone(),
                "a chain stayed at one point for",
            );
            assert_eq!(stuck, expected, "pseudo-marginal, {tells} {sigma}");
            // What moves little is no noise to the ratio.
            let correlated = CorrelatedPseudoMarginal::default();
            assert!(
                !warned(&correlated, likelihood.clone(), "a chain stayed"),
                "{tells} {sigma}"
            );
            if tells {
                assert_eq!(
                    warned(&Penalty::default(), likelihood, "rejected for it"),
                    expected,
                    "{sigma}"
                );
            }
        }
    }
    let few = Penalty {
        repeats: 4,
        ..Penalty::default()
    };
    assert!(warned(&few, Noisy::new(2.5), "4 repeats are too few"));
}

#[test]
fn sgld_is_as_wide_as_its_step_says() {
    heading();
    // Without preconditioner z moves by M = 1 − ε A / 2, and noise of covariance ε + ε² σ² k kᵀ / 4 comes
    // with it: the variance is that sequence's limit.
    let step = 0.05;
    let plain = Sgld {
        step_size: step,
        decay: 0.0,
        preconditioned: false,
        ..Sgld::default()
    };
    for sigma in [0.0, 2.0] {
        let size = RunOptionsOf {
            draws: 12_000,
            ..QUICK
        };
        let run = run(&plain, Noisy::new(sigma), size);
        let measured = measure_run(&run);
        show("SGLD, fixed step", sigma, &measured, None);
        let [a, b, covariance] = variances(step, sigma);
        let expected = [MEAN[0], MEAN[1], a, b, covariance];
        let off = worst(&measured, &expected);
        assert!(
            off.abs() < LIMIT,
            "{sigma}: {off} se off the theory: {measured:?}, {expected:?}"
        );
        assert!(
            worst(&measured, &truth()).abs() > LIMIT,
            "the bias cannot be seen at {sigma}"
        );
        assert!(
            run.summary()
                .approximation
                .is_some_and(|words| words.contains("0.05"))
        );
    }
    // As it comes: near the truth, and nearer with smaller steps.
    for sigma in SIGMAS {
        let ratio = |step_size, draws| {
            let sgld = Sgld {
                step_size,
                ..Sgld::default()
            };
            let run = run(&sgld, Noisy::new(sigma), RunOptionsOf { draws, ..QUICK });
            let measured = measure_run(&run);
            show(&format!("SGLD, step {step_size}"), sigma, &measured, None);
            let shift = (measured.0[0] - MEAN[0]) / measured.1[0];
            assert!(shift.abs() < LIMIT, "the mean of a Gaussian has no bias: {shift}");
            measured.0[2] / COVARIANCE[0][0]
        };
        let (coarse, fine) = (ratio(0.6, 1500), ratio(0.1, 4000));
        assert!(coarse > 0.9 && coarse < 1.5, "{sigma}: {coarse}");
        assert!(fine > 0.85 && fine < 1.15, "{sigma}: {fine}");
    }
}

#[test]
fn freezing_trades_noise_for_bias() {
    heading();
    for sigma in SIGMAS {
        let likelihood = Noisy::new(sigma);
        let key = NoiseKey::new(8);
        let posterior = NoisyPosterior::new(gaussian_prior(), likelihood.clone()).unwrap();
        let frozen = posterior.frozen(key).unwrap();
        let run = Hmc::default().sample(&frozen, &QUICK.options()).unwrap();
        let measured = measure_run(&run);
        let from_truth = show("frozen, by HMC", sigma, &measured, acceptance(&run));
        // The posterior under this very key, by quadrature.
        let mut sums = [0.0; 6];
        let h = 0.02;
        for i in -200..=200 {
            for j in -200..=200 {
                let (a, b) = (h * f64::from(i), h * f64::from(j));
                let x = [MEAN[0] + a, MEAN[1] + b];
                let weight = frozen.log_density_physical(&x).unwrap().exp();
                for (sum, f) in sums.iter_mut().zip([x[0], x[1], a * a, b * b, a * b, 1.0]) {
                    *sum += weight * f;
                }
            }
        }
        let expected = [0, 1, 2, 3, 4].map(|i| sums[i] / sums[5]);
        let off = worst(&measured, &expected);
        assert!(off.abs() < LIMIT, "{sigma}: {off} se off the quadrature");
        assert_eq!(from_truth.abs() > LIMIT, sigma > 0.0, "{sigma}: {from_truth}");
    }
}

#[test]
fn bounded_parameters_are_sampled_as_well() {
    // x^1.5 e^(−x) under a log-uniform prior: a gamma distribution of shape 1.5, so mean and variance are 1.5.
    #[derive(Clone)]
    struct Gamma;
    impl StochasticLikelihood for Gamma {
        fn dim(&self) -> usize {
            1
        }
        fn unbiased(&self) -> Unbiased {
            Unbiased::LogLikelihood
        }
        fn estimate(&self, x: &[f64], key: NoiseKey) -> Result<LogEstimate, EvalError> {
            self.estimate_with(x, &key.normals(1))
        }
    }
    impl CorrelatedLikelihood for Gamma {
        fn noise_dim(&self) -> usize {
            1
        }
        fn estimate_with(&self, x: &[f64], u: &[f64]) -> Result<LogEstimate, EvalError> {
            Ok(LogEstimate {
                log_likelihood: 1.5 * x[0].ln() - x[0] + 0.5 * u[0],
                standard_error: Some(0.5),
            })
        }
    }
    let prior = Prior::new()
        .with("x", LogUniform::new(1e-9, 1e4).unwrap())
        .unwrap();
    let posterior = NoisyPosterior::new(prior, Gamma).unwrap();
    let samplers: [Box<dyn Sampler<NoisyPosterior<Gamma>>>; 3] = [
        Box::new(PseudoMarginal::default()),
        Box::new(CorrelatedPseudoMarginal::default()),
        Box::new(Penalty::default()),
    ];
    let options = RunOptions {
        draws: 3000,
        ..QUICK.options()
    };
    for sampler in samplers {
        let run = sampler.sample(&posterior, &options).unwrap();
        let moment = |power: i32| {
            let of_chain = |chain: &armilla_samplers::run::Chain| {
                let sum: f64 = chain.draws.iter().map(|x| (x - 1.5).powi(power)).sum();
                sum / chain.len() as f64
            };
            let each: Vec<f64> = run.chains.iter().map(of_chain).collect();
            let n = each.len() as f64;
            let mean = each.iter().sum::<f64>() / n;
            let scatter: f64 = each.iter().map(|x| (x - mean).powi(2)).sum();
            (mean, (scatter / (n * (n - 1.0))).sqrt())
        };
        for (power, expected) in [(1, 0.0), (2, 1.5)] {
            let (mean, error) = moment(power);
            let off = (mean - expected) / error;
            println!(
                "{}: moment {power} is {mean:.4} for {expected}, {off:+.2} se",
                run.method
            );
            assert!(
                off.abs() < LIMIT,
                "{}: moment {power} is off by {off} se",
                run.method
            );
            assert!(error < 0.1 * SQRT_2, "{}: {error}", run.method);
        }
    }
}
