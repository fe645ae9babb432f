//! Hold every sampler to the same promises.

mod samplers;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use armilla_samplers::prelude::*;

use samplers::{Named, samplers};

/// A correlated normal likelihood that can be made to fail.
struct Toy {
    evaluations: AtomicUsize,
    failure: Failure,
}

#[derive(Clone, Copy, PartialEq)]
enum Failure {
    Never,
    /// Every point is NaN.
    Nan,
    /// Every point gives a recoverable error.
    Recoverable,
    /// Points with a > 0.6 give a recoverable error, those with b > 3.5 NaN.
    Partly,
    /// Everything fails for good after so many evaluations.
    FatalAfter(usize),
}

fn toy(failure: Failure) -> Posterior<Toy> {
    let prior = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
    let prior = prior.with("b", LogUniform::new(0.25, 4.0).unwrap()).unwrap();
    Posterior::new(
        prior,
        Toy {
            evaluations: AtomicUsize::new(0),
            failure,
        },
    )
    .unwrap()
}

impl Likelihood for Toy {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.value_and_gradient(x, &mut [0.0; 2])
    }
}

impl DifferentiableLikelihood for Toy {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let count = self.evaluations.fetch_add(1, Ordering::Relaxed);
        let recoverable = || Err(EvalError::Recoverable(format!("no value at a = {}", x[0])));
        match self.failure {
            Failure::Nan => return Ok(f64::NAN),
            Failure::Recoverable => return recoverable(),
            Failure::Partly if x[0] > 0.6 => return recoverable(),
            Failure::Partly if x[1] > 3.5 => return Ok(f64::NAN),
            Failure::FatalAfter(most) if count >= most => {
                return Err(EvalError::Fatal("the device is gone".into()));
            }
            _ => {}
        }
        let (u, v) = ((x[0] - 0.5) / 0.1, (x[1] - 2.0) / 0.5);
        gradient[0] = -(u - 0.6 * v) / 0.64 / 0.1;
        gradient[1] = -(v - 0.6 * u) / 0.64 / 0.5;
        Ok(-0.5 * (u * u - 1.2 * u * v + v * v) / 0.64)
    }
}

fn options() -> RunOptions {
    RunOptions {
        seed: 11,
        chains: 3,
        warmup: 120,
        draws: 80,
        ..RunOptions::default()
    }
}

/// All numbers of a run as bits, in which NaN equals itself.
fn bits(run: &Run) -> Vec<u64> {
    let chains = run.chains.iter().flat_map(|chain| {
        let weights = chain.log_weights.iter().flatten();
        chain
            .draws
            .iter()
            .chain(&chain.log_density)
            .chain(weights)
            .chain(&chain.step_size)
    });
    let estimate = run
        .estimate
        .iter()
        .flat_map(|estimate| estimate.x.iter().chain(&estimate.history));
    chains.chain(estimate).map(|x| x.to_bits()).collect()
}

#[test]
fn the_same_seed_gives_the_same_bits_whatever_the_number_of_threads() {
    for (name, sampler) in samplers() {
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| sampler.sample(&toy(Failure::Partly), &options()).unwrap())
        };
        let one = with_threads(1);
        assert!(!one.is_empty() && one.names == ["a", "b"], "{name}");
        for threads in [1, 2, 5] {
            let other = with_threads(threads);
            assert!(bits(&one) == bits(&other), "{name} differs on {threads} threads");
            assert_eq!(one.evaluations, other.evaluations, "{name}");
            assert_eq!(one.summary().to_string(), other.summary().to_string(), "{name}");
        }
    }
}

#[test]
fn another_seed_gives_other_draws() {
    for (name, sampler) in samplers().into_iter().filter(|(name, _)| !name.contains("grid")) {
        let of_seed = |seed| {
            sampler
                .sample(&toy(Failure::Never), &RunOptions { seed, ..options() })
                .unwrap()
        };
        assert!(of_seed(1).chains[0].draws != of_seed(2).chains[0].draws, "{name}");
        let run = of_seed(1);
        assert!(run.chains[0].draws != run.chains[1].draws, "{name}");
    }
}

#[test]
fn runs_are_well_formed_and_count_their_evaluations() {
    for (name, sampler) in samplers() {
        let posterior = toy(Failure::Never);
        let run = sampler.sample(&posterior, &options()).unwrap();
        assert_eq!(run.stop, StopReason::Completed, "{name}");
        let spent = run.evaluations.values + run.evaluations.gradients;
        assert_eq!(
            spent,
            posterior.likelihood().evaluations.load(Ordering::Relaxed) as u64,
            "{name}"
        );
        for chain in &run.chains {
            assert_eq!(chain.draws.len(), 2 * chain.len(), "{name}");
            assert!(
                chain
                    .log_weights
                    .as_ref()
                    .is_none_or(|weights| weights.len() == chain.len()),
                "{name}"
            );
        }
        assert_eq!(run.draws().count(), run.len(), "{name}");
        assert!(run.draws().all(|x| posterior.prior().contains(x)), "{name}");
        assert!((run.weights().iter().sum::<f64>() - 1.0).abs() < 1e-12, "{name}");
        if run.approximation.is_none() {
            for (x, log_density) in run
                .draws()
                .zip(run.chains.iter().flat_map(|chain| &chain.log_density))
            {
                let expected = posterior.log_density_physical(x).unwrap();
                assert!(
                    (log_density - expected).abs() < 1e-9 * (1.0 + expected.abs()),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn a_likelihood_that_is_never_a_number_has_no_start() {
    for failure in [Failure::Nan, Failure::Recoverable] {
        for (name, sampler) in samplers() {
            let error = sampler.sample(&toy(failure), &options()).unwrap_err();
            let SampleError::NoStart { last, .. } = &error else {
                panic!("{name}: {error}")
            };
            assert!(last.contains("a = "), "{name} does not name the point: {last}");
        }
    }
}

#[test]
fn failing_points_are_rejected_and_told() {
    for (name, sampler) in samplers() {
        let run = sampler
            .sample(
                &toy(Failure::Partly),
                &RunOptions {
                    draws: 400,
                    ..options()
                },
            )
            .unwrap();
        let weights = run.weights();
        if let Some(estimate) = &run.estimate {
            // The peak is where nothing fails; a prior even in ln b moves it by a hundredth in a.
            let (a, b) = (estimate.x[0], estimate.x[1]);
            assert!(
                (a - 0.5).abs() < 0.03 && (b - 2.0).abs() < 0.2,
                "{name}: {estimate:?}"
            );
            assert!(estimate.converged, "{name}: {estimate:?}");
            assert!(
                estimate
                    .starts
                    .iter()
                    .flatten()
                    .chain(&estimate.history)
                    .all(|value| value.is_finite()),
                "{name}: {estimate:?}"
            );
            let failed = estimate.starts.iter().filter(|start| start.is_none()).count();
            let warned = run
                .warnings
                .iter()
                .any(|warning| warning.contains("starts failed"));
            assert_eq!(warned, failed > 0, "{name}");
        }
        if run.approximation.is_none() {
            let failed = run
                .draws()
                .zip(weights)
                .filter(|(x, weight)| *weight > 0.0 && (x[0] > 0.6 || x[1] > 3.5));
            assert_eq!(failed.count(), 0, "{name}");
            let warnings = run.summary().warnings.join("\n");
            assert!(
                warnings.contains("failed") || warnings.contains("followed"),
                "{name}: {warnings}"
            );
        }
    }
}

#[test]
fn a_fatal_error_ends_the_run_and_keeps_what_was_drawn() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (name, sampler) in samplers() {
        let whole = sampler.sample(&toy(Failure::Never), &options()).unwrap();
        let spent = (whole.evaluations.values + whole.evaluations.gradients) as usize;
        // Chains and starts run one after the other on one thread, those of an ensemble together: three quarters
        // of the evaluations end a later one of the former, and the latter after their warm-up. A variational fit
        // and chains in lock-step draw at the end.
        let until = if name.contains("advi") || name.starts_with("chees") {
            spent - 50
        } else {
            spent * 3 / 4
        };
        let posterior = toy(Failure::FatalAfter(until));
        let run = pool.install(|| sampler.sample(&posterior, &options()));
        let run = run.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            matches!(&run.stop, StopReason::Fatal { message, .. } if message.contains("gone")),
            "{name}"
        );
        assert!(
            run.summary()
                .warnings
                .iter()
                .any(|warning| warning.contains("cut short")),
            "{name}"
        );
        match &run.estimate {
            Some(estimate) => assert!(!estimate.converged && !estimate.history.is_empty(), "{name}"),
            None => {
                // A grid that fails while it is refined falls back on its first pass, which is whole.
                let refined = name.starts_with("refined");
                assert!(!run.is_empty() && (refined || run.len() < whole.len()), "{name}");
                assert!(refined || run.log_evidence.is_none(), "{name}");
                let kept = &run.chains[0].draws;
                assert!(
                    name.contains("grid") || whole.chains[0].draws.starts_with(kept),
                    "{name}"
                );
            }
        }
        let error = sampler
            .sample(&toy(Failure::FatalAfter(0)), &options())
            .unwrap_err();
        assert!(
            matches!(error, SampleError::Eval(EvalError::Fatal(_))),
            "{name}: {error}"
        );
    }
}

#[test]
fn no_draws_and_no_warmup_are_fine() {
    for (name, sampler) in samplers() {
        let none = RunOptions {
            warmup: 0,
            draws: 0,
            ..options()
        };
        let run = sampler.sample(&toy(Failure::Never), &none).unwrap();
        assert!(run.is_empty() || name.contains("grid"), "{name}");
        let summary = run.summary();
        assert!(summary.to_string().contains("parameter"), "{name}");
        let cold = RunOptions {
            warmup: 0,
            draws: 3,
            ..options()
        };
        assert!(
            !sampler.sample(&toy(Failure::Never), &cold).unwrap().is_empty(),
            "{name}"
        );
    }
}

#[test]
fn bad_settings_are_refused_in_words() {
    let mut bad: Vec<Named<Posterior<Toy>>> = vec![
        (
            "target_acceptance",
            Box::new(Hmc {
                target_acceptance: 1.0,
                ..Hmc::default()
            }),
        ),
        (
            "path_length",
            Box::new(Hmc {
                path_length: f64::NAN,
                ..Hmc::default()
            }),
        ),
        (
            "max_leapfrogs",
            Box::new(Hmc {
                max_leapfrogs: 0,
                ..Hmc::default()
            }),
        ),
        (
            "target_acceptance",
            Box::new(Nuts {
                target_acceptance: f64::NAN,
                ..Nuts::default()
            }),
        ),
        (
            "max_depth",
            Box::new(Nuts {
                max_depth: 0,
                ..Nuts::default()
            }),
        ),
        (
            "max_depth",
            Box::new(Nuts {
                max_depth: 64,
                ..Nuts::default()
            }),
        ),
        (
            "target_acceptance",
            Box::new(MetropolisHastings {
                target_acceptance: Some(0.0),
                thinning: None,
            }),
        ),
        (
            "thinning",
            Box::new(MetropolisHastings {
                target_acceptance: None,
                thinning: Some(0),
            }),
        ),
        (
            "thinning",
            Box::new(Mala {
                thinning: Some(0),
                ..Mala::default()
            }),
        ),
        (
            "target_acceptance",
            Box::new(Mala {
                target_acceptance: f64::NAN,
                ..Mala::default()
            }),
        ),
        (
            "path_length",
            Box::new(Mclmc {
                path_length: 0.0,
                ..Mclmc::default()
            }),
        ),
        (
            "max_leapfrogs",
            Box::new(Mclmc {
                max_leapfrogs: 0,
                ..Mclmc::default()
            }),
        ),
        (
            "target_acceptance",
            Box::new(ChEesHmc {
                target_acceptance: -0.1,
                ..ChEesHmc::default()
            }),
        ),
        (
            "max_leapfrogs",
            Box::new(ChEesHmc {
                max_leapfrogs: 0,
                ..ChEesHmc::default()
            }),
        ),
        ("at least one point", Box::new(Grid::new(0))),
        (
            "even number",
            Box::new(Ensemble {
                walkers: Some(7),
                ..Ensemble::default()
            }),
        ),
        (
            "6 or more",
            Box::new(Ensemble {
                walkers: Some(4),
                ..Ensemble::default()
            }),
        ),
        (
            "ask for fewer",
            Box::new(Ensemble {
                walkers: Some(usize::MAX - 1),
                ..Ensemble::default()
            }),
        ),
        (
            "moves",
            Box::new(Ensemble {
                moves: vec![(Move::Stretch, -1.0), (Move::Snooker, 2.0)],
                ..Ensemble::default()
            }),
        ),
        (
            "moves",
            Box::new(Ensemble {
                moves: Vec::new(),
                ..Ensemble::default()
            }),
        ),
        (
            "batch_size",
            Box::new(Ensemble {
                batch_size: Some(0),
                ..Ensemble::default()
            }),
        ),
        (
            "effective",
            Box::new(Smc {
                effective: 1.0,
                ..Smc::default()
            }),
        ),
        (
            "batch_size",
            Box::new(Smc {
                batch_size: 0,
                ..Smc::default()
            }),
        ),
        (
            "temperatures",
            Box::new(ParallelTempering {
                temperatures: 1,
                ..ParallelTempering::default()
            }),
        ),
        (
            "thinning",
            Box::new(ParallelTempering {
                thinning: Some(0),
                ..ParallelTempering::default()
            }),
        ),
        ("more than", Box::new(Grid::new(10_000))),
        (
            "starts",
            Box::new(Mle {
                starts: 0,
                ..Mle::default()
            }),
        ),
        (
            "learning_rate",
            Box::new(Map::new(Adam {
                learning_rate: -1.0,
                ..Adam::default()
            })),
        ),
        (
            "memory",
            Box::new(Mle::new(Lbfgs {
                iterations: 5,
                memory: 0,
            })),
        ),
        (
            "size",
            Box::new(Mle::new(NelderMead {
                size: 0.0,
                ..NelderMead::default()
            })),
        ),
        (
            "draws_per_step",
            Box::new(Advi {
                draws_per_step: 0,
                ..Advi::default()
            }),
        ),
        (
            "learning_rate",
            Box::new(Advi {
                learning_rate: 2.0,
                ..Advi::default()
            }),
        ),
    ];
    let huge_memory = Lbfgs {
        memory: usize::MAX,
        ..Lbfgs::default()
    };
    bad.push(("memory", Box::new(Map::new(huge_memory))));
    bad.push((
        "starts",
        Box::new(Map {
            starts: usize::MAX,
            ..Map::default()
        }),
    ));
    for (word, sampler) in bad {
        let error = sampler.sample(&toy(Failure::Never), &options()).unwrap_err();
        assert!(
            matches!(&error, SampleError::Invalid(message) if message.contains(word)),
            "{word}: {error}"
        );
    }
    for (name, sampler) in samplers().into_iter().filter(|(name, _)| !name.contains("grid")) {
        let error = sampler
            .sample(
                &toy(Failure::Never),
                &RunOptions {
                    chains: 0,
                    ..options()
                },
            )
            .unwrap_err();
        assert!(error.to_string().contains("chains is 0"), "{name}");
    }
}

#[test]
fn more_draws_than_memory_holds_are_refused() {
    let most = usize::MAX;
    let too_much = [
        (4, 0, most),
        (4, most, 10),
        (4, most - 10, 10),
        (most, 10, 0),
        (1 << 11, 10, 1 << 20),
        (2, 10, most / 2),
    ];
    for (name, sampler) in samplers().into_iter().filter(|(name, _)| !name.contains("grid")) {
        for (chains, warmup, draws) in too_much {
            let run = RunOptions {
                chains,
                warmup,
                draws,
                ..options()
            };
            let error = sampler.sample(&toy(Failure::Never), &run).unwrap_err();
            assert!(
                matches!(&error, SampleError::Invalid(message) if message.contains("ask for fewer")),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn without_warmup_paths_are_as_long_as_allowed() {
    // A likelihood of a thousandth of the prior's width needs many small steps.
    struct Narrow;
    impl Likelihood for Narrow {
        fn dim(&self) -> usize {
            1
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-0.5 * (x[0] / 0.001).powi(2))
        }
    }
    impl DifferentiableLikelihood for Narrow {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            gradient[0] = -x[0] / 1e-6;
            self.log_likelihood(x)
        }
    }
    let prior = Prior::new().with("a", Normal::new(0.0, 1.0).unwrap()).unwrap();
    let run = RunOptions {
        warmup: 0,
        draws: 100,
        chains: 1,
        ..options()
    };
    let run = Hmc::default()
        .sample(&Posterior::new(prior, Narrow).unwrap(), &run)
        .unwrap();
    // 64 leapfrogs a draw, and at most 61 gradients before the first.
    assert!(run.evaluations.gradients > 6_000, "{:?}", run.evaluations);
}

#[test]
fn progress_reaches_its_total() {
    for failure in [Failure::Never, Failure::Partly] {
        for (name, sampler) in samplers() {
            let reports = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&reports);
            let observer: Observer = Arc::new(move |event| {
                if let Event::Step(progress) = event {
                    seen.lock().unwrap().push(*progress);
                }
            });
            let run = RunOptions {
                observer: Some(observer),
                ..options()
            };
            sampler.sample(&toy(failure), &run).unwrap();
            let reports = reports.lock().unwrap();
            let workers = reports[0].workers;
            for worker in 0..workers {
                let of_chain = reports.iter().filter(|report| report.worker == worker);
                let steps: Vec<usize> = of_chain.clone().map(|report| report.step).collect();
                let total = of_chain.map(|report| report.total).next().unwrap();
                assert_eq!(steps.iter().max(), Some(&total), "{name}");
                // The cells of a grid are done in any order, some optimisers end early, temperatures come in leaps.
                let early = ["grid", "lbfgs", "nelder", "advi", "smc"];
                if !early.iter().any(|word| name.contains(word)) {
                    assert!(steps.into_iter().eq(1..=total), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_likelihood_behind_a_pointer_samples_as_well() {
    let posterior = toy(Failure::Never);
    let direct = Hmc::default().sample(&posterior, &options()).unwrap();
    let likelihood: Box<dyn DifferentiableLikelihood> = Box::new(Toy {
        evaluations: AtomicUsize::new(0),
        failure: Failure::Never,
    });
    let boxed = Posterior::new(posterior.prior().clone(), likelihood).unwrap();
    assert!(bits(&direct) == bits(&Hmc::default().sample(&boxed, &options()).unwrap()));
    let density: &dyn DifferentiableDensity = &boxed;
    assert!(bits(&direct) == bits(&Hmc::default().sample(density, &options()).unwrap()));
}

#[test]
fn a_run_cut_short_goes_on_to_the_same_bits() {
    for (name, sampler) in samplers() {
        let whole = sampler.sample(&toy(Failure::Partly), &options()).unwrap();
        for most in [1, 100, 333] {
            let folder = tempfile::tempdir().unwrap();
            let checkpoint = Some(Checkpoint {
                every: std::time::Duration::ZERO,
                ..Checkpoint::new(folder.path())
            });
            let (steps, interrupt) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
            let flag = Arc::clone(&interrupt);
            let observer: Observer = Arc::new(move |event| {
                if matches!(event, Event::Step(_)) && steps.fetch_add(1, Ordering::Relaxed) + 1 >= most {
                    flag.store(true, Ordering::Relaxed);
                }
            });
            let cut = RunOptions {
                checkpoint,
                interrupt: Some(interrupt),
                observer: Some(observer),
                ..options()
            };
            let cut = sampler.sample(&toy(Failure::Partly), &cut).unwrap();
            assert!(
                matches!(cut.stop, StopReason::Interrupted | StopReason::Completed),
                "{name}: {:?}",
                cut.stop
            );
            let resumed = RunOptions {
                checkpoint: Some(Checkpoint::new(folder.path())),
                ..options()
            };
            let resumed = sampler.sample(&toy(Failure::Partly), &resumed).unwrap();
            assert!(
                bits(&resumed) == bits(&whole),
                "{name} resumed after {most} steps differs"
            );
            assert_eq!(resumed.evaluations, whole.evaluations, "{name}");
            assert_eq!(resumed.stop, StopReason::Completed, "{name}");
            assert_eq!(
                format!("{:?}", resumed.summary()),
                format!("{:?}", whole.summary()),
                "{name}"
            );
        }
    }
}
