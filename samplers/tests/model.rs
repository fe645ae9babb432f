//! Hold densities written with `model!` to what they promise.

use armilla_samplers::distribution::*;
use armilla_samplers::prelude::*;

/// Monte Carlo means are this many standard errors from what they estimate, at most.
const STANDARD_ERRORS: f64 = 5.0;
const DRAWS: usize = 4000;

model! {
    /// Measurements of one thing by several instruments.
    struct Instruments { y: Vec<f64>, sd: Vec<f64>, counts: Vec<u64> }

    level ~ Normal(1, 2);
    offset: ordered[2] ~ Normal(0, 1);
    share ~ Dirichlet([1.0, 2.0, 3.0]);
    late: above(1) ~ Exponential(1);
    walk[t in 0..3] ~ Normal(if t == 0 { level } else { walk[t - 1] }, 0.5);
    y[i in 0..y.len()] ~ Normal(level, sd[i]);
    counts ~ Poisson(late);
    keep sum = level + share[0] * 2;
}

fn instruments(sd: usize) -> Instruments {
    Instruments {
        y: vec![1.0, 2.0, 0.5],
        sd: vec![0.3; sd],
        counts: vec![2, 3],
    }
}

#[test]
fn names_and_dimensions_are_those_of_the_statements() {
    let posterior = instruments(3).posterior().unwrap();
    let names = [
        "level",
        "offset[0]",
        "offset[1]",
        "share[0]",
        "share[1]",
        "share[2]",
        "late",
        "walk[0]",
        "walk[1]",
        "walk[2]",
        "sum",
    ];
    assert_eq!(posterior.names(), names);
    assert_eq!(posterior.parameters(), &names[..10]);
    // A simplex of three has two numbers on the real line.
    assert_eq!(posterior.dim(), 9);
    assert_eq!(
        posterior.observations(),
        ["y[0]", "y[1]", "y[2]", "counts[0]", "counts[1]"]
    );
}

#[test]
fn the_real_line_and_back() {
    let posterior = instruments(3).posterior().unwrap();
    let z: Vec<f64> = (0..9).map(|i| 0.3 * f64::from(i) - 1.0).collect();
    let mut x = [0.0; 11];
    posterior.to_physical(&z, &mut x);
    assert!(x[1] < x[2] && x[6] > 1.0 && (x[3] + x[4] + x[5] - 1.0).abs() < 1e-14);
    assert!((x[10] - x[0] - 2.0 * x[3]).abs() < 1e-14);
    for (back, z) in posterior.to_real_line(&x).unwrap().iter().zip(&z) {
        assert!((back - z).abs() < 1e-12);
    }
    let mut gradient = [0.0; 9];
    let value = posterior.value_and_gradient(&z, &mut gradient).unwrap();
    assert_eq!(posterior.log_density(&z).unwrap(), value);
    for k in 0..9 {
        let at = |step: f64| {
            let mut z = z.clone();
            z[k] += step;
            posterior.log_density(&z).unwrap()
        };
        let numerical = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((numerical - gradient[k]).abs() < 1e-6 * numerical.abs().max(1.0));
    }
}

#[test]
fn data_that_do_not_fit_are_refused() {
    let error = instruments(2).posterior().unwrap_err().to_string();
    assert!(error.contains("there is no sd[2]: sd has 2 elements"), "{error}");
    assert!(instruments(2).prior_draws(0, 1).is_err());
}

#[test]
fn wrong_lengths_are_errors() {
    let posterior = instruments(3).posterior().unwrap();
    assert!(matches!(
        posterior.log_density(&[0.0; 3]),
        Err(EvalError::Fatal(_))
    ));
    assert!(matches!(
        posterior.value_and_gradient(&[0.0; 9], &mut [0.0; 2]),
        Err(EvalError::Fatal(_))
    ));
    assert!(posterior.to_real_line(&[0.0; 3]).is_err());
}

model! {
    /// A scale that may be no scale.
    struct Careless { y: Vec<f64> }

    scale ~ Normal(1, 1);
    y ~ Normal(0, scale);
}

#[test]
fn a_nan_names_its_statement_and_can_be_recovered_from() {
    let posterior = Careless { y: vec![0.1, 0.2] }.posterior().unwrap();
    assert!(posterior.log_density(&[1.0]).is_ok());
    match posterior.log_density(&[-1.0]) {
        Err(EvalError::Recoverable(why)) => {
            assert_eq!(why, "the log density of y[0] is NaN at scale = -1");
        }
        other => panic!("{other:?}"),
    }
}

model! {
    /// An index that runs out of data, where no error can be returned.
    struct Panics { y: Vec<f64> }

    level ~ Flat();
    let sum: f64 = (0..3).map(|i| y[i]).sum();
    y[0] ~ Normal(level, sum);
}

#[test]
fn a_panic_is_an_error() {
    let error = Panics { y: vec![1.0] }.posterior().unwrap_err().to_string();
    assert!(
        error.contains("index out of bounds: the len is 1 but the index is 1"),
        "{error}"
    );
}

#[test]
fn improper_priors_have_no_draws() {
    let error = Panics { y: vec![1.0; 3] }
        .prior_draws(0, 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("level cannot be drawn from Flat"), "{error}");
}

/// Whether the mean of a column is this one.
fn has_mean(draws: &NamedDraws, name: &str, mean: f64) {
    let column = draws.column(name).unwrap();
    let n = column.len() as f64;
    let found = column.iter().sum::<f64>() / n;
    let variance = column.iter().map(|x| (x - found).powi(2)).sum::<f64>() / n;
    assert!(
        (found - mean).abs() < STANDARD_ERRORS * (variance / n).sqrt(),
        "{name}: {found} for {mean}"
    );
}

#[test]
fn prior_draws_have_the_means_of_the_prior() {
    let draws = instruments(3).prior_draws(3, DRAWS).unwrap();
    assert_eq!((draws.len(), draws.names.len()), (DRAWS, 16));
    has_mean(&draws, "level", 1.0);
    // The expected larger of two standard normal numbers.
    has_mean(&draws, "offset[1]", std::f64::consts::PI.sqrt().recip());
    has_mean(&draws, "share[2]", 0.5);
    // An exponential distribution has no memory.
    has_mean(&draws, "late", 2.0);
    has_mean(&draws, "walk[2]", 1.0);
    has_mean(&draws, "sum", 1.0 + 2.0 / 6.0);
    has_mean(&draws, "y[1]", 1.0);
    has_mean(&draws, "counts[0]", 2.0);
    assert_eq!(draws, instruments(3).prior_draws(3, DRAWS).unwrap());
}

model! {
    /// Two clusters, in unequal numbers.
    struct Clusters { y: Vec<f64> }

    far ~ Normal(4, 0.1);
    y ~ 0.25 * Normal(-2, 1) + 0.25 * Normal(0, 1) + 0.5 * Normal(far, 1);
}

#[test]
fn mixtures_have_their_density_and_draws() {
    let model = Clusters { y: vec![0.3] };
    has_mean(&model.prior_draws(1, DRAWS).unwrap(), "y[0]", -0.5 + 2.0);
    let posterior = model.posterior().unwrap();
    let normal = |mean| Normal::new(mean, 1.0).unwrap().ln_density(0.3).exp();
    let expected = (0.25 * normal(-2.0) + 0.25 * normal(0.0) + 0.5 * normal(4.1)).ln()
        + Normal::new(4.0, 0.1).unwrap().ln_density(4.1);
    assert!((posterior.log_density(&[4.1]).unwrap() - expected).abs() < 1e-13);
}

#[test]
fn predictive_draws_follow_the_draws_of_a_run() {
    let posterior = Careless { y: vec![1.0, -2.0] }.posterior().unwrap();
    let options = RunOptions {
        warmup: 300,
        draws: 500,
        ..RunOptions::default()
    };
    let run = Hmc::default().sample(&posterior, &options).unwrap();
    let predicted = posterior.predictive(&run, 5).unwrap();
    assert_eq!((predicted.len(), &predicted.names[1][..]), (2000, "y[1]"));
    // Each observation over its own scale is standard normal.
    let ratio = predicted
        .draws()
        .zip(run.draws())
        .map(|(y, x)| (y[0] / x[0]).powi(2))
        .sum::<f64>()
        / 2000.0;
    assert!(
        (ratio - 1.0).abs() < STANDARD_ERRORS * (2.0f64 / 2000.0).sqrt(),
        "{ratio}"
    );
    let other = instruments(3).posterior().unwrap();
    assert!(other.predictive(&run, 5).is_err());
}

#[test]
fn gradients_are_checked_by_the_names_of_the_unknowns() {
    model! {
        struct Kept {}
        a ~ Normal(0, 1);
        keep twice = 2 * a;
    }
    model! {
        struct Shares {}
        share ~ Dirichlet(vec![1.0, 2.0, 3.0]);
    }
    let names = |check: GradientCheck| {
        assert!(check.passed(), "{check}");
        check.names
    };
    let kept = Kept {}.posterior().unwrap();
    assert_eq!(names(check_gradient(&kept, 2, 0).unwrap()), ["a"]);
    let shares = Shares {}.posterior().unwrap();
    assert_eq!(names(check_gradient(&shares, 2, 0).unwrap()), ["z[0]", "z[1]"]);
}
