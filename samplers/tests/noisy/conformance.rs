//! Hold samplers of noisy posteriors to the promises of all samplers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use armilla_samplers::prelude::*;

use super::target::{Failure, Noisy};

type Named = (&'static str, Box<dyn Sampler<NoisyPosterior<Noisy>> + Sync>);

fn samplers() -> Vec<Named> {
    let repeated = Penalty {
        repeats: 4,
        ..Penalty::default()
    };
    let plain = Sgld {
        step_size: 0.05,
        preconditioned: false,
        ..Sgld::default()
    };
    vec![
        ("pseudo-marginal", Box::new(PseudoMarginal::default())),
        ("correlated", Box::new(CorrelatedPseudoMarginal::default())),
        ("penalty", Box::new(Penalty::default())),
        ("repeated penalty", Box::new(repeated)),
        ("sgld", Box::new(Sgld::default())),
        ("plain sgld", Box::new(plain)),
    ]
}

/// Bounded parameters, so that the way to the real line matters. Estimates tell their error where told to.
fn toy(tells: bool, failure: Failure) -> NoisyPosterior<Noisy> {
    let prior = Prior::new().with("a", Uniform::new(-0.5, 1.5).unwrap()).unwrap();
    let prior = prior.with("b", LogUniform::new(0.05, 4.0).unwrap()).unwrap();
    let likelihood = Noisy {
        tells,
        failure,
        ..Noisy::new(0.7)
    };
    NoisyPosterior::new(prior, likelihood).unwrap()
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

fn sample(sampler: &dyn Sampler<NoisyPosterior<Noisy>>, failure: Failure, options: &RunOptions) -> Run {
    sampler.sample(&toy(true, failure), options).unwrap()
}

fn bits(run: &Run) -> Vec<u64> {
    let chains = run.chains.iter().flat_map(|chain| {
        let weights = chain.log_weights.iter().flatten();
        let numbers = chain.draws.iter().chain(&chain.log_density).chain(weights);
        numbers.chain(&chain.step_size)
    });
    chains.map(|x| x.to_bits()).collect()
}

fn spent(run: &Run) -> usize {
    (run.evaluations.values + run.evaluations.gradients) as usize
}

#[test]
fn the_seed_alone_decides() {
    for (name, sampler) in samplers() {
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap()
                .install(|| sample(&*sampler, Failure::Partly, &options()))
        };
        let one = with_threads(1);
        for threads in [1, 2, 5] {
            let other = with_threads(threads);
            assert!(bits(&one) == bits(&other), "{name} differs on {threads} threads");
            assert_eq!(one.evaluations, other.evaluations, "{name}");
        }
        let other = sample(
            &*sampler,
            Failure::Partly,
            &RunOptions {
                seed: 12,
                ..options()
            },
        );
        assert!(one.chains[0].draws != other.chains[0].draws, "{name}");
        assert!(one.chains[0].draws != one.chains[1].draws, "{name}");
    }
}

#[test]
fn runs_are_well_formed_and_count_their_evaluations() {
    for (name, sampler) in samplers() {
        for tells in [true, false] {
            let posterior = toy(tells, Failure::Never);
            let run = match sampler.sample(&posterior, &options()) {
                Err(error) if name == "penalty" && !tells => {
                    assert!(error.to_string().contains("set repeats to 8"), "{error}");
                    continue;
                }
                run => run.unwrap(),
            };
            assert_eq!(
                (run.stop.clone(), run.len()),
                (StopReason::Completed, 240),
                "{name}"
            );
            let counted = posterior.likelihood().evaluations.load(Ordering::Relaxed);
            assert_eq!(spent(&run), counted, "{name}");
            assert!(run.draws().all(|x| posterior.prior().contains(x)), "{name}");
            let weighted = run.chains.iter().all(|chain| {
                let weights = chain.log_weights.as_ref();
                weights.is_some_and(|weights| weights.len() == 80 && weights[0] > weights[79])
            });
            assert_eq!(weighted, name.contains("sgld"), "{name}");
            assert_eq!(run.approximation.is_some(), name.contains("sgld"), "{name}");
            // A log density is the truth and noise of 0.7, of which the accepted estimates have the best.
            let exact = NoisyPosterior::new(posterior.prior().clone(), Noisy::new(0.0)).unwrap();
            let exact = exact.frozen(NoiseKey::new(0)).unwrap();
            for (x, log_density) in run
                .draws()
                .zip(run.chains.iter().flat_map(|chain| &chain.log_density))
            {
                let noise = log_density - exact.log_density_physical(x).unwrap();
                assert!(noise.abs() < 6.0 * 0.7, "{name}: {noise}");
            }
        }
    }
}

#[test]
fn failures_are_told() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (name, sampler) in samplers() {
        for failure in [Failure::Nan, Failure::Recoverable] {
            let error = sampler.sample(&toy(true, failure), &options()).unwrap_err();
            let SampleError::NoStart { last, .. } = &error else {
                panic!("{name}: {error}")
            };
            assert!(last.contains("a = "), "{name} does not name the point: {last}");
        }
        let longer = RunOptions {
            draws: 400,
            ..options()
        };
        let run = sample(&*sampler, Failure::Partly, &longer);
        assert!(run.draws().all(|x| x[0] <= 0.9 && x[1] <= 0.9), "{name}");
        let warnings = run.summary().warnings.join("\n");
        assert!(warnings.contains("failed"), "{name}: {warnings}");
        // On one thread half the evaluations end the second chain.
        let whole = sample(&*sampler, Failure::Never, &options());
        let half = Failure::FatalAfter(spent(&whole) / 2);
        let run = pool.install(|| sample(&*sampler, half, &options()));
        assert!(
            matches!(&run.stop, StopReason::Fatal { chain: 1, message } if message.contains("gone")),
            "{name}: {:?}",
            run.stop
        );
        assert!(!run.is_empty() && run.len() < whole.len(), "{name}");
        assert!(whole.chains[0].draws.starts_with(&run.chains[0].draws), "{name}");
        let error = sampler
            .sample(&toy(true, Failure::FatalAfter(0)), &options())
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
        for (warmup, draws) in [(0, 0), (0, 3), (3, 0), (1, 1)] {
            let few = RunOptions {
                warmup,
                draws,
                ..options()
            };
            let run = sample(&*sampler, Failure::Never, &few);
            assert_eq!(run.len(), 3 * draws, "{name}");
            assert!(run.summary().to_string().contains("parameter"), "{name}");
        }
    }
}

#[test]
fn bad_settings_are_refused_in_words() {
    let correlated = |correlation| {
        Box::new(CorrelatedPseudoMarginal {
            correlation,
            ..CorrelatedPseudoMarginal::default()
        })
    };
    let penalty = |repeats| {
        Box::new(Penalty {
            repeats,
            ..Penalty::default()
        })
    };
    let sgld = |step_size, delay, decay| {
        Box::new(Sgld {
            step_size,
            delay,
            decay,
            preconditioned: true,
        })
    };
    let bad: Vec<Named> = vec![
        (
            "target_acceptance",
            Box::new(PseudoMarginal {
                target_acceptance: Some(1.0),
                thinning: None,
            }),
        ),
        (
            "thinning",
            Box::new(PseudoMarginal {
                target_acceptance: None,
                thinning: Some(0),
            }),
        ),
        ("correlation", correlated(1.0)),
        ("correlation", correlated(-0.1)),
        ("correlation", correlated(f64::NAN)),
        ("repeats", penalty(0)),
        ("repeats", penalty(3)),
        ("repeats", penalty(usize::MAX)),
        ("step_size", sgld(0.0, 1.0, 0.5)),
        ("delay", sgld(0.1, f64::INFINITY, 0.5)),
        ("decay", sgld(0.1, 1.0, 1.5)),
    ];
    for (word, sampler) in bad {
        let error = sampler
            .sample(&toy(true, Failure::Never), &options())
            .unwrap_err();
        assert!(
            matches!(&error, SampleError::Invalid(message) if message.contains(word)),
            "{word}: {error}"
        );
    }
    let one = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
    let error = NoisyPosterior::new(one, Noisy::new(0.0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the prior has 1 parameters (a), the likelihood takes 2"
    );
}

#[test]
fn progress_is_told_step_by_step() {
    for (name, sampler) in samplers() {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&reports);
        let observer: Observer = Arc::new(move |event| {
            if let Event::Step(progress) = event {
                log.lock().unwrap().push(*progress);
            }
        });
        let told = RunOptions {
            observer: Some(observer),
            ..options()
        };
        sample(&*sampler, Failure::Never, &told);
        let reports = reports.lock().unwrap();
        for worker in 0..3 {
            let of_chain: Vec<_> = reports.iter().filter(|report| report.worker == worker).collect();
            let steps = of_chain.iter().map(|report| report.step);
            assert!(steps.eq(1..=200), "{name}");
            assert_eq!(
                of_chain.iter().filter(|report| report.warmup).count(),
                119,
                "{name}"
            );
        }
    }
}

#[test]
fn a_run_cut_short_goes_on_to_the_same_bits() {
    for (name, sampler) in samplers() {
        let whole = sample(&*sampler, Failure::Partly, &options());
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
                checkpoint: checkpoint.clone(),
                interrupt: Some(interrupt),
                observer: Some(observer),
                ..options()
            };
            assert_eq!(
                sample(&*sampler, Failure::Partly, &cut).stop,
                StopReason::Interrupted,
                "{name}"
            );
            let resumed = RunOptions {
                checkpoint: checkpoint.clone(),
                ..options()
            };
            // Another target is recognised for what it is.
            let other = Noisy {
                sigma: 0.9,
                ..toy(true, Failure::Partly).likelihood().clone()
            };
            let other = NoisyPosterior::new(toy(true, Failure::Never).prior().clone(), other).unwrap();
            let error = sampler.sample(&other, &resumed).unwrap_err();
            assert!(error.to_string().contains("another target"), "{name}: {error}");
            let run = sample(&*sampler, Failure::Partly, &resumed);
            assert!(
                bits(&run) == bits(&whole),
                "{name} resumed after {most} steps differs"
            );
            assert_eq!(run.evaluations, whole.evaluations, "{name}");
            assert_eq!(
                format!("{:?}", run.summary()),
                format!("{:?}", whole.summary()),
                "{name}"
            );
        }
    }
}
