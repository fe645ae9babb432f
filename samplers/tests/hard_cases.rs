//! Hold the library to what is rare: heavy tails, constants, single precision, single draws, foreign folders.

use armilla_samplers::prelude::*;

/// A measurement of one number, with its error.
struct Measured(f64, f64);

impl Likelihood for Measured {
    fn dim(&self) -> usize {
        1
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(-0.5 * ((x[0] - self.0) / self.1).powi(2))
    }
}

impl DifferentiableLikelihood for Measured {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        gradient[0] = (self.0 - x[0]) / self.1.powi(2);
        self.log_likelihood(x)
    }
}

/// A likelihood that knows nothing of so many numbers.
struct Ignorant(usize);

impl Likelihood for Ignorant {
    fn dim(&self) -> usize {
        self.0
    }
    fn log_likelihood(&self, _x: &[f64]) -> Result<f64, EvalError> {
        Ok(0.0)
    }
}

impl DifferentiableLikelihood for Ignorant {
    fn value_and_gradient(&self, _x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        gradient.fill(0.0);
        Ok(0.0)
    }
}

fn normal<L: Likelihood>(likelihood: L) -> Posterior<L> {
    let prior = Prior::new().with("x", Normal::new(0.0, 1.0).unwrap()).unwrap();
    Posterior::new(prior, likelihood).unwrap()
}

#[test]
fn draws_from_heavy_tails_are_not_cut_off() {
    // A posterior 300 scales off the centre of its prior.
    let prior = Prior::new().with("x", Cauchy::new(0.0, 1.0).unwrap()).unwrap();
    let posterior = Posterior::new(prior, Measured(300.0, 20.0)).unwrap();
    // ∫ by the trapezoidal rule, exact for what is so smooth.
    let density = |i: i32| {
        posterior
            .log_density_physical(&[300.0 + f64::from(i)])
            .unwrap()
            .exp()
    };
    let evidence = (-200..=200).map(density).sum::<f64>().ln();
    let options = RunOptions {
        draws: 4000,
        ..RunOptions::default()
    };
    let run = Smc::default().sample(&posterior, &options).unwrap();
    let (found, error) = (run.log_evidence.unwrap(), run.log_evidence_error.unwrap());
    assert!(
        (found - evidence).abs() < 5.0 * error,
        "{found} ± {error} for {evidence}"
    );
}

model! {
    /// Normal numbers of unknown mean, of which twice the mean is kept.
    pub struct Kept {
        /// The numbers.
        y: Vec<f64>
    }
    mu ~ Normal(0, 1);
    keep twice = 2 * mu;
    y[j in 0..y.len()] ~ Normal(mu, 1);
}

#[test]
fn gradients_are_checked_where_draws_have_more_numbers_than_z() {
    let prior = Prior::new().with_vector("w", Dirichlet::new([1.0, 2.0, 3.0]).unwrap());
    let fractions = Posterior::new(prior.unwrap(), Ignorant(3)).unwrap();
    let check = check_gradient(&fractions, 2, 1).unwrap();
    assert!(check.passed() && check.names == ["z[0]", "z[1]"], "{check}");
    assert!(check.points[0].place.contains("w[2] = "), "{check}");
    let kept = Kept { y: vec![1.0, 2.0] }.posterior().unwrap();
    let check = check_gradient(&kept, 2, 1).unwrap();
    assert!(
        check.passed() && check.points[0].place.contains("twice = "),
        "{check}"
    );
}

#[test]
fn constants_are_not_judged() {
    // The first number of the factor of a correlation is 1.
    let prior = Prior::new().with_vector("L", LkjCholesky::new(2, 2.0).unwrap());
    let posterior = Posterior::new(prior.unwrap(), Ignorant(3)).unwrap();
    let options = RunOptions {
        draws: 3000,
        until: Some(Converged::default()),
        ..RunOptions::default()
    };
    let run = Nuts::default().sample(&posterior, &options).unwrap();
    assert_eq!(run.stop, StopReason::Converged);
    let summary = run.summary();
    assert!(summary.parameters[0].rhat.is_none() && summary.parameters[0].mean == 1.0);
    assert_eq!(summary.warnings, Vec::<String>::new());
    // A chain that is stuck is another matter: nothing varies.
    let mut stuck = run;
    stuck.chains.truncate(1);
    let first = stuck.chains[0].draws[..3].to_vec();
    for draw in stuck.chains[0].draws.chunks_exact_mut(3) {
        draw.copy_from_slice(&first);
    }
    let warnings = stuck.summary().warnings.join("\n");
    for name in ["L[0]", "L[1]", "L[2]"] {
        assert!(
            warnings.contains(&format!("{name} cannot be judged")),
            "{warnings}"
        );
    }
}

#[test]
fn runs_are_recognised_in_single_precision() {
    /// Its value comes in single precision where a gradient is asked for.
    struct Single;
    impl Likelihood for Single {
        fn dim(&self) -> usize {
            1
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-0.5 * (x[0] - 3.0).powi(2) - 1234.5)
        }
    }
    impl DifferentiableLikelihood for Single {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            gradient[0] = 3.0 - x[0];
            Ok(f64::from(self.log_likelihood(x)? as f32))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for draws in [20, 40] {
        let options = RunOptions {
            warmup: 50,
            draws,
            checkpoint: Some(Checkpoint::new(folder.path())),
            ..RunOptions::default()
        };
        let run = Nuts::default().sample(&normal(Single), &options).unwrap();
        assert_eq!(run.len(), 4 * draws);
    }
}

#[test]
fn a_folder_of_others_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.zarr");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join(".zgroup"), r#"{"zarr_format": 2}"#).unwrap();
    let run = Grid::new(5)
        .sample(&normal(Ignorant(1)), &RunOptions::default())
        .unwrap();
    let error = armilla_samplers::export::zarr::write(&run, &path)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("not written by this program") && path.join(".zgroup").exists(),
        "{error}"
    );
}

#[test]
fn vectors_that_cannot_be_drawn_are_no_prior() {
    assert!(Ordered::new(Flat::<f64>::of(), 2).is_err());
    assert!(Ordered::new(Poisson::new(3.0).unwrap(), 2).is_err());
    let error = Prior::new()
        .with_vector("o", Ordered::of(Flat::<f64>::of(), 2))
        .unwrap_err();
    assert!(
        error.to_string().starts_with("o ~ Ordered") && error.to_string().contains("normalised"),
        "{error}"
    );
}

#[test]
fn a_single_draw_proves_no_fit() {
    let options = RunOptions {
        chains: 1,
        draws: 1,
        ..RunOptions::default()
    };
    let run = Advi::default()
        .sample(&normal(Measured(1.0, 0.5)), &options)
        .unwrap();
    let fit = run.variational.as_ref().unwrap();
    assert!(
        fit.pareto_k == Some(f64::INFINITY) && fit.elbo_se.is_nan(),
        "{fit:?}"
    );
    assert_eq!(run.log_evidence, None);
    assert!(
        run.warnings
            .iter()
            .any(|warning| warning.contains("too few draws")),
        "{:?}",
        run.warnings
    );
}

#[test]
fn messages_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let sample = |path: &std::path::Path| {
        let options = RunOptions {
            warmup: 10,
            draws: 10,
            checkpoint: Some(Checkpoint::new(path)),
            ..RunOptions::default()
        };
        let run = Mala::default().sample(&normal(Measured(0.0, 1.0)), &options);
        run.map_err(|error| error.to_string())
    };
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = sample(&file).unwrap_err();
    assert!(
        error.ends_with("file: this is a file: give a folder to keep the run in"),
        "{error}"
    );
    let run = folder.path().join("run");
    sample(&run).unwrap();
    std::fs::remove_file(run.join("chain-1.csv")).unwrap();
    let error = sample(&run).unwrap_err();
    assert!(
        error.contains("chain-1.csv") && error.ends_with("delete the folder"),
        "{error}"
    );
    std::fs::write(run.join("run.json"), "{").unwrap();
    let error = sample(&run).unwrap_err();
    assert!(
        error.contains("run.json: no record of a run") && error.ends_with("delete the folder"),
        "{error}"
    );
    // Cells of a grid are no draws from the prior.
    let error = Grid::new(5)
        .sample(&normal(Measured(f64::NAN, 1.0)), &RunOptions::default())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no point with a finite log density among 5 tries"),
        "{error}"
    );
}

#[test]
fn an_evidence_without_error_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Grid::new(5)
        .sample(&normal(Ignorant(1)), &RunOptions::default())
        .unwrap();
    run.log_evidence_error = Some(f64::INFINITY);
    let path = folder.path().join("run.json");
    armilla_samplers::export::json::write(&run, &path).unwrap();
    assert_eq!(armilla_samplers::export::json::read(&path).unwrap(), run);
}

#[test]
fn numbers_without_end_or_beginning_are_refused() {
    let endless = Advi {
        iterations: usize::MAX,
        ..Advi::default()
    };
    let error = endless
        .sample(&normal(Measured(0.0, 1.0)), &RunOptions::default())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("iterations is {}", usize::MAX)),
        "{error}"
    );
    let error = Prior::empirical_box(["a"], Points::new(&[], 1).unwrap(), 0.0).unwrap_err();
    assert!(error.to_string().contains("no draws"), "{error}");
}

#[test]
fn a_panic_of_a_resumed_target_is_an_error() {
    use std::sync::atomic::{AtomicBool, Ordering};
    struct Breaks(AtomicBool);
    impl Likelihood for Breaks {
        fn dim(&self) -> usize {
            1
        }
        fn log_likelihood(&self, _x: &[f64]) -> Result<f64, EvalError> {
            assert!(!self.0.load(Ordering::Relaxed), "out of order");
            Ok(0.0)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let options = RunOptions {
        warmup: 10,
        draws: 10,
        checkpoint: Some(Checkpoint::new(folder.path())),
        ..RunOptions::default()
    };
    let posterior = normal(Breaks(AtomicBool::new(false)));
    MetropolisHastings::default()
        .sample(&posterior, &options)
        .unwrap();
    posterior.likelihood().0.store(true, Ordering::Relaxed);
    let error = MetropolisHastings::default()
        .sample(&posterior, &options)
        .unwrap_err();
    assert!(error.to_string().contains("panicked: out of order"), "{error}");
}
