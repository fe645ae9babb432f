//! Trains generative models by every method as users do, and draws from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use armilla::data::{MapPaths, MapSet};
use armilla::pipeline::generative::{GenerativeConfig, GenerativeMethod};
use serde_json::Value;

fn armilla(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_armilla"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn success(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn json(output: &Output) -> Value {
    success(output);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one line of an error: exit code 2, nothing on standard output.
fn error_line(arguments: &[&str]) -> String {
    let output = armilla(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let stderr = text(&output.stderr);
    assert!(
        stderr.starts_with("error: ") && stderr.lines().count() == 1,
        "{stderr}"
    );
    stderr.trim_end().to_owned()
}

/// A folder with lognormal maps.
struct Example {
    folder: tempfile::TempDir,
}

impl Example {
    fn new(size: usize) -> Self {
        let example = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let (maps, size) = (example.path("maps.h5"), size.to_string());
        let simulate = ["simulate", "--kind", "lognormal", "--size", &size];
        let simulations = [
            "--simulations",
            "20",
            "--maps-per-simulation",
            "3",
            "--out",
            &maps,
        ];
        success(&armilla(&[&simulate[..], &simulations[..]].concat()));
        example
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn train(&self, config: &str, run: &str, extra: &[&str]) -> Output {
        let (data, file, out) = (self.path("maps.h5"), self.path("train.yaml"), self.path(run));
        fs::write(&file, config).unwrap();
        let arguments = ["train", "--data", &data, "--config", &file, "--out", &out];
        armilla(&[&arguments[..], extra].concat())
    }

    fn generate(&self, run: &str, extra: &[&str]) -> Output {
        let (run, out) = (self.path(run), self.path("samples.h5"));
        let to = ["--out", &out, "--overwrite"];
        let arguments = [&["generate", "--run", &run, "--params", "0.3,0.8"][..], &to].concat();
        armilla(&[&arguments[..], extra].concat())
    }

    fn samples(&self) -> MapSet {
        MapSet::read(self.path("samples.h5"), &MapPaths::default()).unwrap()
    }
}

/// Two epochs of a tiny model; `method` and what else is said.
fn tiny(method: &str) -> String {
    format!(
        "{method}\ntraining: {{epochs: 2, batch_size: 16, lr: 0.001, warmup_epochs: 1, patience: 10}}\n\
         figures: {{every: 2, maps: 4, steps: 2}}\n"
    )
}

const UNET: &str = "model: {base_channels: 4, channel_mults: [1, 2], time_dim: 8}";

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_method_trains_and_generates() {
    let example = Example::new(8);
    let methods = [
        ("flow", format!("method: flow\n{UNET}"), Some("heun")),
        (
            "rectified",
            format!("method: rectified\n{UNET}\nrectified: {{rounds: 1, pairs: 32, steps: 2}}"),
            Some("heun"),
        ),
        (
            "diffusion",
            format!("{UNET}\ndiffusion: {{timesteps: 20, schedule: cosine}}"),
            Some("ddim"),
        ),
        // Begun where there is all but no signal, it would leave the range of a logarithm after two epochs.
        (
            "score",
            format!("method: score\n{UNET}\npixels: {{log: false}}"),
            Some("edm"),
        ),
        (
            "realnvp",
            "method: realnvp\nrealnvp: {layers: 2, widths: [8]}".to_owned(),
            None,
        ),
        (
            "glow",
            "method: glow\nglow: {levels: 2, steps: 1, hidden: 4}".to_owned(),
            None,
        ),
        (
            "spline",
            "method: spline\nspline: {layers: 2, widths: [8], bins: 4}".to_owned(),
            None,
        ),
        (
            "maf",
            "method: maf\nmaf: {layers: 2, widths: [16]}".to_owned(),
            None,
        ),
        (
            "ffjord",
            "method: ffjord\nmodel: {widths: [16]}\nffjord: {steps: 2}".to_owned(),
            Some("dopri5"),
        ),
    ];
    assert_eq!(methods.len(), GenerativeMethod::ALL.len());
    for (method, config, sampler) in methods {
        let trained = example.train(&tiny(&config), method, &["--seed", "3"]);
        success(&trained);
        let report = text(&trained.stderr);
        for words in [
            "Epoch 1/2 [WARMUP]",
            "  Train Loss: ",
            "  Plateau:    0/2 bad epochs",
            "✓ New best model!",
        ] {
            assert!(report.contains(words), "{method}: {report}");
        }
        assert!(
            text(&trained.stdout).contains("next: armilla generate --run"),
            "{method}"
        );
        let run = example.folder.path().join(method);
        let card: Value = serde_json::from_slice(&fs::read(run.join("model.json")).unwrap()).unwrap();
        assert_eq!((&card["method"], &card["format"]), (&method.into(), &4.into()));
        assert_eq!(card["parameters"][0]["name"], "Omega_m");
        for name in [
            "checkpoint_best.safetensors",
            "checkpoint_last.safetensors",
            "history.jsonl",
            "training_history.png",
            "logs/training.log",
        ] {
            assert!(run.join(name).exists(), "{method}: {name} of {:?}", names(&run));
        }
        let log = fs::read_to_string(run.join("logs/training.log")).unwrap();
        assert!(log.contains("Epoch 2/2"), "{method}: {log}");
        // What a score model generates after two epochs may have no mean to divide by, which it then says.
        if method == "score" {
            let drawn = run.join("figs/samples_epoch_0002.png").exists();
            assert!(drawn != log.contains("No picture of epoch 2"), "{log}");
        } else {
            assert!(!log.contains("No picture"), "{method}: {log}");
            for name in ["samples_epoch_0002.png", "power_spectrum_epoch_0002.png"] {
                assert!(run.join("figs").join(name).exists(), "{method}: {name}");
            }
        }

        let made = json(&example.generate(method, &["--count", "3", "--json"]));
        assert_eq!((&made["method"], &made["count"]), (&method.into(), &3.into()));
        assert_eq!(made["sampler"].as_str(), sampler, "{method}");
        let set = example.samples();
        assert_eq!((set.len(), set.side(), set.params()), (3, 8, &[0.3, 0.8][..]));
        // Physical units: a density, where the logarithm was learnt.
        let density = |x: &f32| *x > 0.0 || method == "score";
        assert!(set.read_maps(&[0, 1, 2]).unwrap().iter().all(density));
        let first = fs::read(example.path("samples.h5")).unwrap();
        success(&example.generate(method, &["--count", "3"]));
        assert!(first == fs::read(example.path("samples.h5")).unwrap(), "{method}");
    }
}

#[test]
fn a_diffusion_that_is_no_good_yet_stays_in_the_range_of_the_data() {
    let example = Example::new(8);
    // In its first level there is next to no signal: what follows from a wrong noise is wrong by 150 times as much.
    let config = format!(
        "method: diffusion\n{UNET}\ndiffusion: {{timesteps: 1000, beta_start: 1.0e-4, beta_end: 0.02, schedule: linear}}\n\
         sampling: {{method: ddim, ddim_timesteps: 10}}"
    );
    success(&example.train(&tiny(&config), "run", &[]));
    let ends = |set: &MapSet| {
        let pixels = set.read_maps(&(0..set.len()).collect::<Vec<_>>()).unwrap();
        let fold = |of: fn(f32, f32) -> f32| pixels.iter().copied().reduce(of).unwrap();
        [fold(f32::min), fold(f32::max)]
    };
    let data = ends(&MapSet::read(example.path("maps.h5"), &MapPaths::default()).unwrap());
    for sampler in ["ddim", "ddpm"] {
        success(&example.generate("run", &["--count", "4", "--sampler", sampler, "--steps", "10"]));
        let made = ends(&example.samples());
        assert!(
            made[0] > 0.999 * data[0] && made[1] < 1.001 * data[1],
            "{sampler}: {made:?} {data:?}"
        );
    }
}

#[test]
fn what_is_generated_is_read_by_others() {
    let example = Example::new(8);
    let config = tiny(&format!(
        "method: flow\n{UNET}\nflow: {{unconditional: 0.2}}\nsampling: {{steps: 3}}"
    ));
    success(&example.train(&config, "run", &[]));
    for sampler in [
        "euler", "midpoint", "heun", "rk4", "dopri5", "ddpm", "ddim", "edm", "dpm++", "em", "pc",
    ] {
        let made = json(&example.generate(
            "run",
            &["--count", "2", "--sampler", sampler, "--steps", "3", "--json"],
        ));
        assert_eq!(made["sampler"], sampler);
        assert!(made["evaluations"].as_u64().unwrap() >= 3, "{made}");
        assert_eq!(made["steps"].is_null(), sampler == "dopri5", "{made}");
    }
    let output = example.generate(
        "run",
        &[
            "--count",
            "4",
            "--guidance",
            "1.5",
            "--params",
            "sigma_8=0.9,Omega_m=0.2",
        ],
    );
    success(&output);
    let set = example.samples();
    assert_eq!((set.len(), set.simulations()), (8, 2));
    assert_eq!(set.params(), [0.3, 0.8, 0.2, 0.9]);
    assert!(set.bounds().is_some() && set.origin().unwrap().simulator.contains("by flow"));
    for picture in ["samples.png", "samples.svg"] {
        assert!(Path::new(&example.path(picture)).exists());
    }
    let (maps, samples) = (example.path("maps.h5"), example.path("samples.h5"));
    success(&armilla(&["spectrum", &maps, &samples]));

    // Another round begins where the last one ended, with its configuration, transform and prior.
    let again = [
        "train",
        "--data",
        &maps,
        "--from",
        &example.path("run"),
        "--out",
        &example.path("again"),
        "--json",
    ];
    let again = json(&armilla(&again));
    let first: Value = serde_json::from_str(
        fs::read_to_string(example.path("run/history.jsonl"))
            .unwrap()
            .lines()
            .next()
            .unwrap(),
    )
    .unwrap();
    let [before, after] =
        [&first, &again["history"][0]].map(|epoch| epoch["validation_loss"].as_f64().unwrap());
    assert!(after < before, "{after} {before}");
    let card: Value = serde_json::from_slice(&fs::read(example.path("again/model.json")).unwrap()).unwrap();
    assert_eq!(card["round_before"]["simulations"], 20);

    // The network is known by its weights.
    let best = example.path("run/checkpoint_best.safetensors");
    let seen = json(&armilla(&["inspect", "--json", &best]));
    assert_eq!(seen["network"]["network"], "simple_unet");
    assert_eq!(seen["network"]["cond_dim"], 3);
}

#[test]
fn a_surrogate_generates_too() {
    let example = Example::new(8);
    let config = "method: surrogate\nnetwork: {unet: {channels: [4, 6], time_dim: 8, outputs: 4}, coefficient_widths: [8]}\n\
                  training: {steps: 20, batch_size: 16}\nflow_matching: {refine: {steps: 10, draws: 1}}\n";
    success(&example.train(config, "run", &[]));
    let made = json(&example.generate("run", &["--count", "2", "--steps", "4", "--json"]));
    assert_eq!(
        (&made["method"], &made["sampler"]),
        (&"surrogate".into(), &"heun".into())
    );
    assert_eq!(example.samples().len(), 2);
    let (run, out) = (example.path("run"), example.path("other.h5"));
    let line = error_line(&[
        "generate",
        "--run",
        &run,
        "--params",
        "0.3,0.8",
        "--sampler",
        "ddim",
        "--out",
        &out,
    ]);
    assert!(line.contains("surrogate") && line.contains("heun"), "{line}");
}

#[test]
fn mistakes_are_told_and_leave_nothing_behind() {
    let example = Example::new(8);
    success(&example.train(&tiny(&format!("method: flow\n{UNET}")), "flow", &[]));
    let spline = "method: spline\nspline: {layers: 2, widths: [8], bins: 4}";
    success(&example.train(&tiny(spline), "spline", &[]));
    let other = example.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(
        Path::new(&other).join("model.json"),
        "{\"format\": 99, \"method\": \"flow\"}",
    )
    .unwrap();
    let (flow, spline, out) = (
        example.path("flow"),
        example.path("spline"),
        example.path("new/samples.h5"),
    );
    let before = names(example.folder.path());
    for (run, extra, words) in [
        (
            &flow,
            &["--params", "0.3,0.8", "--sampler", "heum"][..],
            &["heum", "heun", "dpm++"][..],
        ),
        (&flow, &["--params", "0.3,2.8"], &["sigma_8 = 2.8", "prior"]),
        (&flow, &["--params", "0.3"], &["lack sigma_8", "Omega_m, sigma_8"]),
        (
            &flow,
            &["--params", "Omega_n=0.3,sigma_8=0.8"],
            &["did you mean `Omega_m`"],
        ),
        (&flow, &["--params", "0.3,0.8", "--count", "0"], &["count", "1"]),
        (&flow, &["--params", "0.3,0.8", "--steps", "0"], &["1 step"]),
        (
            &flow,
            &["--params", "0.3,0.8", "--guidance", "2"],
            &["guidance", "unconditional"],
        ),
        (&flow, &["--params", "0.3,0.8", "--eta", "0.5"], &["eta", "ddim"]),
        (
            &spline,
            &["--params", "0.3,0.8", "--sampler", "heun"],
            &["spline", "exactly", "--sampler"],
        ),
        (&other, &["--params", "0.3,0.8"], &["format 99", "reads 4"]),
        (
            &example.path("maps"),
            &["--params", "0.3,0.8"],
            &["no such run folder"],
        ),
    ] {
        let arguments = [&["generate", "--run", run, "--out", &out][..], extra].concat();
        let line = error_line(&arguments);
        assert!(words.iter().all(|word| line.contains(word)), "{extra:?}: {line}");
        assert_eq!(names(example.folder.path()), before, "{extra:?}");
    }
    let picture = example.path("samples.png");
    let line = error_line(&[
        "generate", "--run", &flow, "--params", "0.3,0.8", "--out", &picture,
    ]);
    assert!(line.contains(".h5"), "{line}");
    // What is in the way is told before anything is drawn.
    let (there, below) = (example.path("there.h5"), example.path("there.h5/samples.h5"));
    fs::write(&there, "mine").unwrap();
    for (out, count, words) in [
        (&there, "1", "--overwrite"),
        (&below, "1", "this is a file"),
        (
            &example.path("fresh.h5"),
            "9223372036854775807",
            "fit into memory",
        ),
    ] {
        let line = error_line(&[
            "generate", "--run", &flow, "--params", "0.3,0.8", "--count", count, "--out", out,
        ]);
        assert!(line.contains(words), "{line}");
    }
    assert_eq!(fs::read(&there).unwrap(), b"mine");
    // Another round is one of the same model.
    let file = example.path("again.yaml");
    for (config, words) in [
        (format!("method: flow\n{UNET}\npixels: {{log: false}}"), "pixels"),
        (format!("method: diffusion\n{UNET}"), "the path"),
    ] {
        fs::write(&file, config).unwrap();
        let (maps, again) = (example.path("maps.h5"), example.path("again"));
        let line = error_line(&[
            "train", "--data", &maps, "--from", &flow, "--config", &file, "--out", &again,
        ]);
        assert!(line.contains(words), "{line}");
    }

    // What it cannot do yet, it says.
    let (maps, posterior) = (example.path("maps.h5"), example.path("posterior"));
    let infer = [
        "infer", "--run", &flow, "--data", &maps, "--index", "0", "--method", "mle",
    ];
    let line = error_line(&[&infer[..], &["--out", &posterior]].concat());
    for words in ["method flow", "likelihoods", "not built yet", "surrogate"] {
        assert!(line.contains(words), "{line}");
    }
    for (config, words) in [
        ("method: flaw", &["`flaw`", "surrogate, flow"][..]),
        ("method: flow\nmodel: {from: ResNet}", &["ResNet", "SimpleUNet"]),
        (
            "method: flow\nmodel: {channel_mults: [1, 2, 4, 8, 8]}",
            &["SimpleUnet", "32"],
        ),
        ("method: glow\nglow: {levels: 4}", &["glow", "16"]),
        (
            "method: score\nscore: {objective: sliced}\nmodel: {from: SimpleUNet, base_channels: 4}",
            &["batch norms"],
        ),
    ] {
        let file = example.path("wrong.yaml");
        fs::write(&file, config).unwrap();
        let line = error_line(&[
            "train",
            "--data",
            &maps,
            "--config",
            &file,
            "--out",
            &example.path("wrong"),
        ]);
        assert!(words.iter().all(|word| line.contains(word)), "{config}: {line}");
        assert!(!Path::new(&example.path("wrong")).exists(), "{config}");
    }
}

/// The configuration `text` for one epoch of a small model, without pictures.
fn shrunk(text: &str) -> String {
    let mut config: serde_norway::Value = serde_norway::from_str(text).unwrap();
    let yaml = |text: &str| -> serde_norway::Value { serde_norway::from_str(text).unwrap() };
    config["figures"] = yaml("{every: 0}");
    for (key, small) in [
        ("base_channels", "8"),
        ("channel_mults", "[1, 2]"),
        ("widths", "[8]"),
        ("layers", "2"),
        ("hidden", "4"),
        ("epochs", "1"),
        ("warmup_epochs", "0"),
        ("batch_size", "16"),
    ] {
        for (_, section) in config.as_mapping_mut().unwrap() {
            if let Some(value) = section.get_mut(key) {
                *value = yaml(small);
            }
        }
    }
    serde_norway::to_string(&config).unwrap()
}

#[test]
fn every_configuration_in_the_examples_is_one() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/configs");
    let example = Example::new(8);
    let mut seen = Vec::new();
    for name in names(&folder) {
        let text = fs::read_to_string(folder.join(&name)).unwrap();
        assert!(GenerativeConfig::is_meant(&text).unwrap(), "{name}");
        let config = GenerativeConfig::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        seen.push(config.method);
        // One epoch of it, made small, on small maps: what it says of the training is meant.
        let small = shrunk(&text);
        let trained = example.train(&small, &name, &[]);
        assert!(
            trained.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&trained.stderr)
        );
    }
    assert!(
        GenerativeMethod::ALL.iter().all(|method| seen.contains(method)),
        "{seen:?}"
    );
}
