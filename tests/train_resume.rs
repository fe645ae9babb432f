//! Kills trainings and resumes them: they end with the same bytes as one that was left alone.
#![cfg(unix)]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Small, but long enough to be caught in the act: 20 validations, then a second stage.
const CONFIGURATION: &str = "\
network:
  unet: {channels: [4, 6], time_dim: 8, outputs: 4}
  coefficient_widths: [8]
training: {steps: 400, batch_size: 16, accumulate: 2, validate_every: 20, schedule: plateau}
flow_matching: {refine: {draws: 4, steps: 4000, batch_size: 64}}
";
/// A generative model: 20 validations, pictures at every fifth.
const DIFFUSION: &str = "\
method: diffusion
model: {base_channels: 4, channel_mults: [1, 2], time_dim: 8}
diffusion: {timesteps: 50, schedule: cosine}
training: {epochs: 20, batch_size: 16, accumulate: 2, lr: 0.001, early_stopping: 0, augment: torus}
figures: {every: 5, maps: 2, steps: 2}
";
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn armilla(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_armilla"));
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

struct Example {
    folder: tempfile::TempDir,
}

impl Example {
    fn new() -> Self {
        Self::of(CONFIGURATION)
    }

    fn of(configuration: &str) -> Self {
        let example = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let simulate = [
            "simulate",
            "--kind",
            "lognormal",
            "--size",
            "8",
            "--simulations",
            "30",
            "--out",
            &example.path("maps.h5"),
        ];
        assert!(armilla(&simulate).output().unwrap().status.success());
        fs::write(example.path("train.yaml"), configuration).unwrap();
        example
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn train(&self, out: &str, extra: &[&str]) -> Command {
        let (data, config, out) = (self.path("maps.h5"), self.path("train.yaml"), self.path(out));
        let mut command = armilla(&["train", "--data", &data, "--config", &config, "--out", &out]);
        command.args(extra);
        command
    }

    fn bytes(&self, out: &str) -> [Vec<u8>; 4] {
        [
            "checkpoint_last.safetensors",
            "checkpoint_best.safetensors",
            "history.jsonl",
            "model.json",
        ]
        .map(|name| fs::read(self.folder.path().join(out).join(name)).unwrap())
    }
}

/// Waits until `seen` is true, with `child` still at work.
fn wait_until(child: &mut Child, mut seen: impl FnMut() -> bool) {
    let start = Instant::now();
    while !seen() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it could be killed"
        );
        assert!(start.elapsed() < PATIENCE, "nothing happened");
        sleep(Duration::from_millis(1));
    }
}

fn validations(folder: &Path) -> usize {
    fs::read_to_string(folder.join("history.jsonl")).map_or(0, |text| text.lines().count())
}

fn success(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn killed_again_and_again_it_ends_in_the_same_bytes() {
    let example = Example::new();
    success(&example.train("whole", &[]).output().unwrap());
    let whole = example.bytes("whole");

    let folder = example.folder.path().join("killed");
    let is_writing = || {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        validations(&folder) > 8
            && entries
                .map(|e| e.file_name())
                .any(|n| n.to_string_lossy().contains("partial-"))
    };
    // Early; with steps behind the last state; while a state is being written; in the second stage.
    let moments: [&dyn Fn() -> bool; 4] = [
        &|| validations(&folder) >= 1,
        &|| validations(&folder) >= 6,
        &is_writing,
        &|| validations(&folder) >= 20,
    ];
    for (i, moment) in moments.iter().enumerate() {
        let extra: &[&str] = if i == 0 { &[] } else { &["--resume"] };
        // Nobody reads while it runs: a full pipe would stop it.
        let mut child = example
            .train("killed", extra)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until(&mut child, moment);
        sleep(Duration::from_millis([0, 7, 0, 3][i]));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(!folder.join("model.json").exists());
    }
    // It is not begun anew by mistake, nor gone on with as another.
    let refused = example.train("killed", &[]).output().unwrap();
    let words = text(&refused.stderr);
    assert!(
        words.contains("--resume") && words.contains("--overwrite"),
        "{words}"
    );
    let refused = example
        .train("killed", &["--resume", "--seed", "5"])
        .output()
        .unwrap();
    let words = text(&refused.stderr);
    assert!(
        words.contains("belongs to another training: its seed is 0"),
        "{words}"
    );

    let resumed = example.train("killed", &["--resume"]).output().unwrap();
    success(&resumed);
    assert!(text(&resumed.stderr).contains("resumed at step 400"));
    assert!(whole == example.bytes("killed"));
    let partial = |name: &str| name.contains("partial-");
    let left = fs::read_dir(&folder).unwrap().flatten().map(|e| e.file_name());
    assert!(
        !left
            .map(|n| n.to_string_lossy().into_owned())
            .any(|n| partial(&n))
    );
    // What is finished stays as it is.
    success(&example.train("killed", &["--resume"]).output().unwrap());
    assert!(whole == example.bytes("killed"));
}

#[test]
fn a_killed_generative_model_ends_in_the_same_bytes() {
    let example = Example::of(DIFFUSION);
    success(&example.train("whole", &[]).output().unwrap());
    let whole = example.bytes("whole");
    let folder = example.folder.path().join("killed");
    for (i, enough) in [1, 4, 11].into_iter().enumerate() {
        let extra: &[&str] = if i == 0 { &[] } else { &["--resume"] };
        let mut child = example
            .train("killed", extra)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until(&mut child, || validations(&folder) >= enough);
        sleep(Duration::from_millis(3 * i as u64));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(!folder.join("model.json").exists());
    }
    let resumed = example.train("killed", &["--resume"]).output().unwrap();
    success(&resumed);
    assert!(text(&resumed.stderr).contains("resumed at step"));
    assert!(whole == example.bytes("killed"));
    assert!(folder.join("figs/samples_epoch_0020.png").exists());
    let log = fs::read_to_string(folder.join("logs/training.log")).unwrap();
    assert!(log.contains("Resumed at step") && log.contains("Epoch 20/20"));
}

#[test]
fn ctrl_c_keeps_the_training_and_says_how_to_go_on() {
    let example = Example::new();
    let folder = example.folder.path().join("run");
    let mut child = example.train("run", &[]).spawn().unwrap();
    wait_until(&mut child, || validations(&folder) >= 2);
    let pid = child.id().to_string();
    success(&Command::new("kill").args(["-INT", &pid]).output().unwrap());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let words = text(&ended.stderr).lines().last().unwrap();
    assert!(
        words.starts_with("error: the training was interrupted at step") && words.contains("--resume"),
        "{words}"
    );
    let resumed = example.train("run", &["--resume", "--json"]).output().unwrap();
    success(&resumed);
    assert!(text(&resumed.stderr).contains("note: resumed at step"));
    success(&example.train("whole", &[]).output().unwrap());
    assert!(example.bytes("whole") == example.bytes("run"));
}

#[test]
fn what_a_killed_training_left_without_a_state_is_begun_anew() {
    let example = Example::new();
    let folder = example.folder.path().join("run");
    fs::create_dir(&folder).unwrap();
    for name in [
        "checkpoint_best.safetensors",
        "checkpoint_last.partial-1",
        "history.jsonl",
    ] {
        fs::write(folder.join(name), "half").unwrap();
    }
    let short = CONFIGURATION
        .replace("steps: 400", "steps: 20")
        .replace("steps: 4000", "steps: 20");
    fs::write(example.path("train.yaml"), short).unwrap();
    let begun = example.train("run", &["--resume"]).output().unwrap();
    success(&begun);
    assert!(text(&begun.stderr).contains("holds no training to resume"));
    success(&example.train("whole", &[]).output().unwrap());
    assert!(example.bytes("whole") == example.bytes("run"));
    assert!(!folder.join("checkpoint_last.partial-1").exists());
    fs::write(folder.join("notes.txt"), "somebody else's").unwrap();
    fs::remove_file(folder.join("model.json")).unwrap();
    fs::remove_file(folder.join("checkpoint_last.safetensors")).unwrap();
    let refused = example.train("run", &["--resume"]).output().unwrap();
    assert!(
        text(&refused.stderr).contains("not empty"),
        "{}",
        text(&refused.stderr)
    );
}
