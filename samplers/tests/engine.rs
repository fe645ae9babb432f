//! Stop, kill, break and resume runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use armilla_samplers::prelude::*;

/// A normal likelihood that takes its time, and may panic at a point of its choice.
struct Slow {
    microseconds: u64,
    panics_after: usize,
    evaluations: AtomicUsize,
}

fn slow(microseconds: u64) -> Posterior<Slow> {
    breaking(microseconds, usize::MAX)
}

fn breaking(microseconds: u64, panics_after: usize) -> Posterior<Slow> {
    let prior = Prior::new()
        .with("a", Normal::new(0.0, 3.0).unwrap())
        .and_then(|prior| prior.with("b", LogUniform::new(0.1, 10.0).unwrap()))
        .unwrap();
    let likelihood = Slow {
        microseconds,
        panics_after,
        evaluations: AtomicUsize::new(0),
    };
    Posterior::new(prior, likelihood).unwrap()
}

impl Likelihood for Slow {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        let until = Instant::now() + Duration::from_micros(self.microseconds);
        if self.evaluations.fetch_add(1, Ordering::Relaxed) >= self.panics_after {
            panic!("index out of bounds");
        }
        while Instant::now() < until {}
        Ok(-0.5 * (x[0] - x[1]).powi(2) - 0.5 * (x[1] - 2.0).powi(2) / 0.25)
    }
}

impl DifferentiableLikelihood for Slow {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        gradient[0] = x[1] - x[0];
        gradient[1] = x[0] - x[1] - (x[1] - 2.0) / 0.25;
        self.log_likelihood(x)
    }
}

fn options() -> RunOptions {
    RunOptions {
        seed: 3,
        chains: 2,
        warmup: 150,
        draws: 150,
        ..RunOptions::default()
    }
}

fn kept_in(folder: &Path) -> RunOptions {
    RunOptions {
        checkpoint: Some(Checkpoint {
            folder: folder.to_owned(),
            every: Duration::from_millis(1),
        }),
        ..options()
    }
}

fn draws(run: &Run) -> Vec<&[f64]> {
    run.draws().collect()
}

/// Not a test of its own: what `a_killed_run_goes_on_to_the_same_bits` starts and kills.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os("ARMILLA_TEST_VICTIM") else {
        return;
    };
    let run = Hmc::default()
        .sample(&slow(40), &kept_in(Path::new(&folder)))
        .unwrap();
    assert_eq!(run.stop, StopReason::Completed);
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut killed = 0;
    for attempt in 0_u64.. {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim"])
            .env("ARMILLA_TEST_VICTIM", folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // The times have no meaning; they hit warm-up and draws, within a checkpoint and between two.
        std::thread::sleep(Duration::from_millis(20 + attempt * 37 % 90));
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        // SIGKILL: the process has no say in it.
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
        assert!(killed < 200, "the run makes no progress");
    }
    assert!(killed > 0);
    let resumed = Hmc::default().sample(&slow(0), &kept_in(folder.path())).unwrap();
    let whole = Hmc::default().sample(&slow(0), &options()).unwrap();
    assert!(draws(&resumed) == draws(&whole), "after {killed} kills");
    assert_eq!(resumed.evaluations, whole.evaluations);
    assert_eq!(resumed.summary(), whole.summary());
}

#[test]
fn more_draws_can_be_asked_for_later() {
    let folder = tempfile::tempdir().unwrap();
    let first = MetropolisHastings::default()
        .sample(&slow(0), &kept_in(folder.path()))
        .unwrap();
    let more = RunOptions {
        draws: 400,
        ..kept_in(folder.path())
    };
    let longer = MetropolisHastings::default().sample(&slow(0), &more).unwrap();
    let whole = RunOptions {
        draws: 400,
        ..options()
    };
    let whole = MetropolisHastings::default().sample(&slow(0), &whole).unwrap();
    assert!(draws(&longer) == draws(&whole));
    assert_eq!(longer.evaluations, whole.evaluations);
    assert!(whole.chains[0].draws.starts_with(&first.chains[0].draws));
    // Fewer are not taken back.
    let again = MetropolisHastings::default()
        .sample(&slow(0), &kept_in(folder.path()))
        .unwrap();
    assert!(draws(&again) == draws(&whole));
}

#[test]
fn a_folder_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sampler = MetropolisHastings::default();
    sampler.sample(&slow(0), &kept_in(folder.path())).unwrap();
    let refused = |options: RunOptions| sampler.sample(&slow(0), &options).unwrap_err().to_string();
    let other_seed = refused(RunOptions {
        seed: 4,
        ..kept_in(folder.path())
    });
    assert!(other_seed.contains("seed 3, not 4"), "{other_seed}");
    let warmup = refused(RunOptions {
        warmup: 10,
        ..kept_in(folder.path())
    });
    assert!(warmup.contains("warmup 150, not 10"), "{warmup}");
    let hmc = Hmc::default()
        .sample(&slow(0), &kept_in(folder.path()))
        .unwrap_err();
    assert!(hmc.to_string().contains("method Metropolis–Hastings"), "{hmc}");
    let settings = MetropolisHastings {
        thinning: Some(9),
        ..sampler
    };
    let settings = settings.sample(&slow(0), &kept_in(folder.path())).unwrap_err();
    assert!(settings.to_string().contains("thinning: Some(9)"), "{settings}");

    // The same parameters, another likelihood.
    struct Other;
    impl Likelihood for Other {
        fn dim(&self) -> usize {
            2
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-x[0] * x[0])
        }
    }
    let other = Posterior::new(slow(0).prior().clone(), Other).unwrap();
    let error = sampler
        .sample(&other, &kept_in(folder.path()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("begun on another target"), "{error}");
}

#[test]
fn damaged_files_are_named() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("worker-1.state", |folder| {
            let path = folder.join("worker-1.state");
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("chain-0.csv", |folder| {
            let path = folder.join("chain-0.csv");
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("chain-1.csv", |folder| {
            fs::remove_file(folder.join("chain-1.csv")).unwrap()
        }),
        ("line 3: not a draw", |folder| {
            let path = folder.join("chain-0.csv");
            let text = fs::read_to_string(&path).unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines[2] = lines[2].replace('.', "x");
            fs::write(&path, lines.join("\n") + "\n").unwrap();
        }),
        ("run.json", |folder| {
            fs::write(folder.join("run.json"), "{").unwrap()
        }),
    ];
    for (word, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        Hmc::default().sample(&slow(0), &kept_in(folder.path())).unwrap();
        damage(folder.path());
        let error = Hmc::default()
            .sample(&slow(0), &kept_in(folder.path()))
            .unwrap_err();
        assert!(
            matches!(&error, SampleError::File(text) if text.contains(word)),
            "{word}: {error}"
        );
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Hmc::default()
        .sample(&slow(0), &kept_in(file.path()))
        .unwrap_err();
    assert!(matches!(error, SampleError::File(_)), "{error}");
}

#[test]
fn two_runs_do_not_write_to_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(None));
    let (found, path) = (Arc::clone(&seen), folder.path().to_owned());
    let observer: Observer = Arc::new(move |_| {
        let mut found = found.lock().unwrap();
        if found.is_none() {
            *found = Some(Hmc::default().sample(&slow(0), &kept_in(&path)));
        }
    });
    let options = RunOptions {
        observer: Some(observer),
        ..kept_in(folder.path())
    };
    Hmc::default().sample(&slow(0), &options).unwrap();
    let error = seen.lock().unwrap().take().unwrap().unwrap_err();
    assert!(error.to_string().contains("another run is writing"), "{error}");
}

#[test]
fn a_panic_in_the_likelihood_loses_no_draw() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let run = pool.install(|| {
        MetropolisHastings::default()
            .sample(&breaking(0, 1000), &options())
            .unwrap()
    });
    assert!(
        matches!(&run.stop, StopReason::Fatal { chain: 1, message } if message.contains("panicked: index out of bounds")),
        "{:?}",
        run.stop
    );
    assert_eq!(run.chains[0].len(), 150);
    assert!(
        run.summary()
            .warnings
            .iter()
            .any(|warning| warning.contains("cut short"))
    );
    let error = MetropolisHastings::default()
        .sample(&breaking(0, 0), &options())
        .unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[test]
fn a_run_stops_when_its_time_is_up() {
    let options = RunOptions {
        draws: 10_000_000,
        time_limit: Some(Duration::from_millis(200)),
        ..options()
    };
    // More chains than threads: they take turns.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let run = pool.install(|| Hmc::default().sample(&slow(0), &options).unwrap());
    assert_eq!(run.stop, StopReason::TimeLimit);
    assert!(run.chains.iter().all(|chain| !chain.is_empty()));
    assert!(run.summary().parameters[0].rhat.is_some());
    assert!(
        run.summary()
            .warnings
            .iter()
            .any(|warning| warning.contains("time"))
    );
}

#[test]
fn a_run_stops_when_it_has_converged_whatever_the_number_of_threads() {
    let converged = Converged {
        ess: 1000.0,
        ..Converged::default()
    };
    let judged = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&judged);
    let options = RunOptions {
        chains: 4,
        draws: 100_000,
        until: Some(converged),
        observer: Some(Arc::new(move |event| {
            if let Event::Judged { draws, rhat, ess } = *event {
                seen.lock().unwrap().push((draws, rhat, ess));
            }
        })),
        ..options()
    };
    let with_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| Hmc::default().sample(&slow(0), &options).unwrap())
    };
    let run = with_threads(1);
    assert_eq!(run.stop, StopReason::Converged);
    assert!(run.len() < 20_000, "{}", run.len());
    for parameter in run.summary().parameters {
        assert!(parameter.rhat.unwrap() < 1.01 && parameter.ess.unwrap() > 1000.0);
    }
    let (draws_of_last, rhat, ess) = *judged.lock().unwrap().last().unwrap();
    assert_eq!(draws_of_last * 4, run.len());
    assert!(rhat < 1.01 && ess > 1000.0);
    assert!(draws(&run) == draws(&with_threads(3)));

    // The same, cut after the first judgement, and resumed.
    let folder = tempfile::tempdir().unwrap();
    let kept = RunOptions {
        checkpoint: kept_in(folder.path()).checkpoint,
        ..options.clone()
    };
    let cut = RunOptions {
        draws: 110,
        ..kept.clone()
    };
    assert_eq!(
        Hmc::default().sample(&slow(0), &cut).unwrap().stop,
        StopReason::Completed
    );
    assert!(draws(&Hmc::default().sample(&slow(0), &kept).unwrap()) == draws(&run));
}
