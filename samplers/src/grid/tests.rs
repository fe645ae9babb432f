//! Hold the grid to known answers.

use super::*;
use crate::distribution::{LogUniform, Normal, Support, Uniform, Univariate};
use crate::error::EvalError;
use crate::likelihood::DifferentiableLikelihood;
use crate::number::Number;
use crate::optimise::Lbfgs;
use crate::prior::Prior;
use crate::run::StopReason;

/// A normal in a with mean 0.3 and standard deviation 0.05, a flat likelihood in b.
struct Toy;
impl Likelihood for Toy {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(-0.5 * ((x[0] - 0.3) / 0.05).powi(2))
    }
}

fn posterior() -> Posterior<Toy> {
    let prior = Prior::new().with("a", Uniform::new(-1.0, 1.0).unwrap()).unwrap();
    Posterior::new(prior.with("b", LogUniform::new(0.1, 10.0).unwrap()).unwrap(), Toy).unwrap()
}

#[test]
fn quadrature_meets_the_closed_form() {
    let surface = Grid::new(100)
        .evaluate(&posterior(), &RunOptions::default())
        .unwrap();
    // ∫ exp(−½ ((a − 0.3)/0.05)²) da / 2; the midpoint rule is exact for smooth peaks inside the box.
    let evidence = (0.05 * std::f64::consts::TAU.sqrt() / 2.0).ln();
    assert!((surface.log_evidence().unwrap() - evidence).abs() < 1e-10);
    let summary = surface.run().summary();
    let (a, b) = (&summary.parameters[0], &summary.parameters[1]);
    assert!((a.mean - 0.3).abs() < 1e-10 && (a.sd - 0.05).abs() < 1e-10);
    // Quantiles are linear between cells of 0.02, 0.4 standard deviations wide.
    assert!((a.q84 - (0.3 + 0.05 * 0.994_457_883)).abs() < 0.002 && (a.q50 - 0.3).abs() < 1e-10);
    // The prior of b: median 1, mean (10 − 0.1) / ln 100.
    assert!((b.q50 - 1.0).abs() < 0.01 && (b.mean - 9.9 / 100f64.ln()).abs() < 0.01);
    assert_eq!((a.rhat, a.ess, summary.evaluations.values), (None, None, 10_000));
    assert!(summary.warnings.is_empty(), "{:?}", summary.warnings);
}

#[test]
fn marginals_are_densities() {
    let surface = Grid::new(80)
        .evaluate(&posterior(), &RunOptions::default())
        .unwrap();
    let a = surface.marginal(0);
    let peak = a.iter().copied().fold(0.0, f64::max);
    let at_peak = 1.0 / (0.05 * std::f64::consts::TAU.sqrt());
    assert!((peak / at_peak - 1.0).abs() < 0.04);
    let mass: f64 = a.iter().zip(&surface.axes[0].widths).map(|(p, w)| p * w).sum();
    assert!((mass - 1.0).abs() < 1e-12);
    let pair = surface.marginal_pair(0, 1);
    let transposed = surface.marginal_pair(1, 0);
    let (i, j) = (50, 7);
    let product = a[i] * surface.marginal(1)[j];
    assert!((pair[i * 80 + j] / product - 1.0).abs() < 1e-10);
    assert_eq!(pair[i * 80 + j], transposed[j * 80 + i]);
    let best = surface.best();
    assert!((best[0] - 0.3).abs() < 0.0126);
}

#[test]
fn refinement_looks_where_the_mass_is() {
    let coarse = Grid::new(10)
        .evaluate(&posterior(), &RunOptions::default())
        .unwrap();
    assert!(coarse.warnings[0].contains("a is too coarse"));
    let grid = Grid {
        refine: true,
        ..Grid::new(24)
    };
    let fine = grid.evaluate(&posterior(), &RunOptions::default()).unwrap();
    assert!(fine.axes[0].edges[0] > -0.3 && fine.axes[0].edges[24] < 0.9);
    assert!((fine.axes[1].edges[0] - 0.1).abs() < 1e-12 && fine.warnings.is_empty());
    let a = &fine.run().summary().parameters[0];
    assert!((a.mean - 0.3).abs() < 1e-5 && (a.sd - 0.05).abs() < 1e-5, "{a:?}");
    assert_eq!(fine.evaluations.values, 2 * 24 * 24);
}

#[test]
fn what_is_told_after_a_fatal_error_does_not_depend_on_the_threads() {
    /// Cells above a quarter are skipped; that at a half is fatal.
    struct Fragile;
    impl Likelihood for Fragile {
        fn dim(&self) -> usize {
            1
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            // Late, so that later chunks are under way by then.
            if (0.5..0.51).contains(&x[0]) {
                std::thread::sleep(std::time::Duration::from_millis(20));
                return Err(EvalError::Fatal("gone".into()));
            }
            Ok(if x[0] > 0.25 { f64::NAN } else { 0.0 })
        }
    }
    let prior = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
    let posterior = Posterior::new(prior, Fragile).unwrap();
    let grid = Grid {
        batch_size: 1,
        ..Grid::new(100)
    };
    let with_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| grid.evaluate(&posterior, &RunOptions::default()).unwrap())
    };
    for threads in [1, 4] {
        let surface = with_threads(threads);
        assert_eq!(surface.evaluated, 50);
        assert_eq!(surface.evaluations.values, 50);
        assert!(
            surface.warnings[0].starts_with("25 of 100 cells failed"),
            "{:?}",
            surface.warnings
        );
    }
}

#[test]
fn a_logarithmic_axis_does_not_reach_zero() {
    #[derive(Debug, Clone, Copy)]
    struct FromZero(Uniform);
    impl Univariate for FromZero {
        type Number = f64;
        fn ln_density<X: Number + From<f64>>(&self, x: X) -> X {
            self.0.ln_density(x)
        }
        fn quantile(&self, p: f64) -> f64 {
            self.0.quantile(p)
        }
        fn support(&self) -> Support {
            Support::Decades(0.0, 1.0)
        }
    }
    let prior = Prior::new().with("a", Uniform::new(-1.0, 1.0).unwrap()).unwrap();
    let prior = prior
        .with("b", FromZero(Uniform::new(0.0, 1.0).unwrap()))
        .unwrap();
    let posterior = Posterior::new(prior, Toy).unwrap();
    let error = Grid::new(5)
        .evaluate(&posterior, &RunOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("its axis is logarithmic"), "{error}");
    let above = Grid {
        bounds: Some(vec![(-1.0, 1.0), (0.1, 1.0)]),
        ..Grid::new(5)
    };
    assert!(above.evaluate(&posterior, &RunOptions::default()).is_ok());
}

#[test]
fn boxes_that_make_no_sense_or_cut_are_told() {
    let evaluate = |grid: &Grid| grid.evaluate(&posterior(), &RunOptions::default());
    let with = |bounds: Vec<(f64, f64)>| Grid {
        bounds: Some(bounds),
        ..Grid::new(20)
    };
    assert!(evaluate(&Grid::new(0)).is_err() && evaluate(&Grid::new(100_000)).is_err());
    assert!(evaluate(&with(vec![(0.0, 1.0)])).is_err());
    assert!(evaluate(&with(vec![(0.0, 2.0), (1.0, 2.0)])).is_err());
    assert!(evaluate(&with(vec![(0.5, 0.1), (1.0, 2.0)])).is_err());
    let cut = evaluate(&with(vec![(0.3, 0.6), (0.1, 10.0)])).unwrap();
    assert_eq!(
        cut.warnings,
        ["a has mass at the edge of the grid's box: widen it"]
    );
    let normal = Prior::new().with("a", Normal::new(0.0, 1.0).unwrap()).unwrap();
    let normal = normal.with("b", Normal::new(0.0, 1.0).unwrap()).unwrap();
    let surface = Grid::new(50).evaluate(&Posterior::new(normal, Toy).unwrap(), &RunOptions::default());
    assert!((surface.unwrap().axes[1].edges[50] - 3.719_016_485).abs() < 1e-8);
}

/// A correlated normal in (a, b) of unit scales with correlation 0.6 about (0.2, −0.1), under uniform priors.
struct Joint;
const RHO: f64 = 0.6;
impl Likelihood for Joint {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.value_and_gradient(x, &mut [0.0; 2])
    }
}
impl DifferentiableLikelihood for Joint {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let (u, v, d) = (x[0] - 0.2, x[1] + 0.1, 1.0 - RHO * RHO);
        gradient[0] = -(u - RHO * v) / d;
        gradient[1] = -(v - RHO * u) / d;
        Ok(-0.5 * (u * u - 2.0 * RHO * u * v + v * v) / d)
    }
}

fn joint() -> Posterior<Joint> {
    let prior = Prior::new()
        .with("a", Uniform::new(-10.0, 10.0).unwrap())
        .unwrap();
    Posterior::new(
        prior.with("b", Uniform::new(-10.0, 10.0).unwrap()).unwrap(),
        Joint,
    )
    .unwrap()
}

#[test]
fn a_parameter_is_fixed_at_its_value() {
    let surface = Grid::new(200)
        .fixing("b", 1.0)
        .evaluate(&joint(), &RunOptions::default())
        .unwrap();
    let run = surface.run();
    let summary = run.summary();
    let (a, b) = (&summary.parameters[0], &summary.parameters[1]);
    // Given b, a is normal about 0.2 + ρ (b + 0.1) with variance 1 − ρ².
    assert!((a.mean - (0.2 + RHO * 1.1)).abs() < 1e-10 && (a.sd - 0.8).abs() < 1e-10);
    assert!((b.mean - 1.0).abs() < 1e-12 && b.sd < 1e-12);
    // p(data | b): the likelihood integrated over the prior of a alone.
    let evidence = (0.8 * std::f64::consts::TAU.sqrt() / 20.0).ln() - 0.5 * 1.1f64.powi(2);
    assert!((run.log_evidence.unwrap() - evidence).abs() < 1e-10);
    assert_eq!((run.names, surface.axes.len()), (vec!["a".into(), "b".into()], 1));
}

#[test]
fn a_profile_follows_the_ridge() {
    let profile = |surface: Surface| {
        let run = surface.run();
        assert!(run.approximation.is_some() && run.log_evidence.is_none());
        assert!(run.warnings.is_empty(), "{:?}", run.warnings);
        for (x, log_likelihood) in run.draws().zip(&surface.log_likelihood) {
            // Far out the ridge leaves the box.
            let (u, v) = (x[0] - 0.2, x[1] + 0.1);
            if u.abs() < 8.0 {
                assert!((v - RHO * u).abs() < 5e-3, "{x:?}");
                assert!(
                    (log_likelihood + 0.5 * u * u).abs() < 1e-4,
                    "{x:?}: {log_likelihood}"
                );
            }
        }
        run.evaluations
    };
    let (grid, options) = (Grid::new(40).profiling("b"), RunOptions::default());
    let by_values = profile(grid.evaluate(&joint(), &options).unwrap());
    assert!(by_values.values > 0 && by_values.gradients == 0);
    let by_gradients = grid.with_profiler(Lbfgs::default());
    let by_gradients = profile(by_gradients.evaluate(&joint(), &options).unwrap());
    assert!(by_gradients.gradients > 0 && by_gradients.gradients < by_values.values);
}

#[test]
fn several_looks_find_a_needle() {
    /// A standard deviation of a hundred-thousandth of the box.
    struct Needle;
    impl Likelihood for Needle {
        fn dim(&self) -> usize {
            1
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-0.5 * ((x[0] - 0.3) / 1e-5).powi(2))
        }
    }
    let prior = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
    let posterior = Posterior::new(prior, Needle).unwrap();
    let grid = Grid {
        refine: true,
        ..Grid::new(24)
    };
    let surface = grid.evaluate(&posterior, &RunOptions::default()).unwrap();
    let a = &surface.run().summary().parameters[0];
    assert!((a.mean - 0.3).abs() < 1e-9 && (a.sd - 1e-5).abs() < 1e-9, "{a:?}");
    assert!(surface.warnings.is_empty(), "{:?}", surface.warnings);
    assert!(surface.evaluations.values > 3 * 24 && surface.evaluations.values <= 8 * 24);
}

#[test]
fn highest_density_regions_hold_their_mass() {
    let surface = Grid::new(400).evaluate(&joint(), &RunOptions::default()).unwrap();
    let cell = 0.05;
    // 95.45% of a normal lie within two standard deviations.
    let interval = surface.intervals(0, 0.954_499_736);
    assert_eq!(interval.len(), 1);
    assert!(
        (interval[0].0 + 1.8).abs() <= cell && (interval[0].1 - 2.2).abs() <= cell,
        "{interval:?}"
    );
    // In two dimensions a fraction p lies within ln L > ln L_max + ln(1 − p).
    let peak = surface
        .log_density
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    let levels = surface.levels(&[0.5, 0.9]);
    // A cell at the level's radius moves it by r times its width, at most.
    assert!(
        (levels[0] - peak - 0.5f64.ln()).abs() < 2.0 * cell,
        "{levels:?} {peak}"
    );
    assert!(
        (levels[1] - peak - 0.1f64.ln()).abs() < 3.0 * cell,
        "{levels:?} {peak}"
    );
    let of_pair = surface.pair_levels(0, 1, &[0.5]);
    let top = surface.marginal_pair(0, 1).into_iter().fold(0.0, f64::max);
    assert!((of_pair[0] / top - 0.5).abs() < cell);
}

#[test]
fn two_peaks_are_two_intervals() {
    struct Two;
    impl Likelihood for Two {
        fn dim(&self) -> usize {
            1
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-0.5 * ((x[0].abs() - 0.5) / 0.05).powi(2))
        }
    }
    let prior = Prior::new().with("a", Uniform::new(-1.0, 1.0).unwrap()).unwrap();
    let posterior = Posterior::new(prior, Two).unwrap();
    let surface = Grid::new(400)
        .evaluate(&posterior, &RunOptions::default())
        .unwrap();
    let intervals = surface.intervals(0, 0.954_499_736);
    assert_eq!(intervals.len(), 2);
    let expected = [(-0.6, -0.4), (0.4, 0.6)];
    for ((from, to), (low, high)) in intervals.into_iter().zip(expected) {
        assert!(
            (from - low).abs() <= 0.011 && (to - high).abs() <= 0.011,
            "{from} {to}"
        );
    }
}

#[test]
fn parameters_off_their_axes_are_checked() {
    let evaluate = |grid: &Grid| {
        let error = grid.evaluate(&joint(), &RunOptions::default()).unwrap_err();
        error.to_string()
    };
    assert!(evaluate(&Grid::new(5).fixing("c", 0.0)).contains("there are a, b"));
    assert!(evaluate(&Grid::new(5).fixing("a", 10.0)).contains("between -10 and 10"));
    assert!(evaluate(&Grid::new(5).fixing("a", f64::NAN)).contains("between -10 and 10"));
    assert!(evaluate(&Grid::new(5).fixing("a", 0.0).profiling("a")).contains("twice"));
    assert!(evaluate(&Grid::new(5).fixing("a", 0.0).profiling("b")).contains("no parameter has an axis"));
}

#[test]
fn a_limit_of_no_time_leaves_nothing_and_no_error() {
    let options = RunOptions {
        time_limit: Some(std::time::Duration::ZERO),
        ..RunOptions::default()
    };
    let surface = Grid::new(5).evaluate(&joint(), &options).unwrap();
    assert_eq!(
        (surface.evaluated, surface.stop.clone()),
        (0, StopReason::TimeLimit)
    );
    assert!(surface.run().is_empty() && surface.log_evidence().is_none());
}

#[test]
fn no_cell_is_evaluated_twice_by_a_run_that_is_resumed() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use crate::run::{Checkpoint, Event, Observer};

    struct Tallied(AtomicUsize);
    impl Likelihood for Tallied {
        fn dim(&self) -> usize {
            2
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Joint.log_likelihood(x)
        }
    }
    let posterior = Posterior::new(joint().prior().clone(), Tallied(AtomicUsize::new(0))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let grid = Grid {
        batch_size: 16,
        refine: true,
        ..Grid::new(40)
    };
    let (mut stops, mut whole) = (0, None);
    while whole.is_none() {
        let interrupt = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupt);
        let observer: Observer = Arc::new(move |event| {
            if matches!(event, Event::Step(_)) {
                flag.store(true, Ordering::Relaxed);
            }
        });
        let options = RunOptions {
            checkpoint: Some(Checkpoint::new(folder.path())),
            interrupt: Some(interrupt),
            observer: Some(observer),
            ..RunOptions::default()
        };
        let surface = grid.evaluate(&posterior, &options).unwrap();
        stops += 1;
        whole = (surface.stop == StopReason::Completed).then_some(surface);
    }
    let whole = whole.unwrap();
    assert!(stops > 5, "{stops}");
    // Whoever resumes asks for one cell, to see whether the posterior is the same.
    let asked = posterior.likelihood().0.load(Ordering::Relaxed);
    assert_eq!(asked, 2 * 1600 + stops - 1);
    let at_once = grid.evaluate(&joint(), &RunOptions::default()).unwrap();
    assert_eq!(whole.log_density, at_once.log_density);
    assert_eq!(whole.evaluations.values, 2 * 1600);
}

#[test]
fn the_cells_of_another_posterior_are_not_taken_over() {
    struct Shifted;
    impl Likelihood for Shifted {
        fn dim(&self) -> usize {
            2
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Joint.log_likelihood(&[x[0] - 0.1, x[1]])
        }
    }
    for grid in [Grid::new(10), Grid::new(10).profiling("b")] {
        let folder = tempfile::tempdir().unwrap();
        let options = RunOptions {
            checkpoint: Some(crate::run::Checkpoint::new(folder.path())),
            ..RunOptions::default()
        };
        let first = grid.evaluate(&joint(), &options).unwrap();
        assert_eq!(
            grid.evaluate(&joint(), &options).unwrap().log_density,
            first.log_density
        );
        let other = Posterior::new(joint().prior().clone(), Shifted).unwrap();
        let error = grid.evaluate(&other, &options).unwrap_err().to_string();
        assert!(error.contains("begun on another target"), "{error}");
    }
}
