//! Runs the program as its users do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use armilla::data::hdf5::{Hdf5File, NewFile, Values};
use armilla::pipeline::{DemoSettings, InferSettings, Method, TrainConfig, TrainedFlow, demo};
use armilla::simulators::Slab;
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

/// The one line of an error: exit code 2, nothing on standard output.
fn error_line(arguments: &[&str]) -> String {
    let output = armilla(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim_end().to_owned()
}

/// A file of maps and parameters, as a simulator writes it, with one more dataset inside a group.
fn example(path: &Path) {
    let mut file = NewFile::new();
    let names = ["Omega_m", "sigma_8"].map(str::to_owned);
    file.dataset("maps", &[4, 3, 3], Values::F32(&[1.5; 36])).unwrap();
    file.dataset("params", &[2, 2], Values::F64(&[0.3, 0.8, 0.2, 0.9]))
        .unwrap();
    file.dataset("extra/deep/ids", &[3], Values::I64(&[1, 2, 3]))
        .unwrap();
    file.attribute("params", "names", names.as_slice()).unwrap();
    file.attribute("maps", "box_size", 25.0).unwrap();
    file.attribute("/", "version", 1).unwrap();
    file.write(path).unwrap();
}

#[test]
fn inspect_prints_one_line_per_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    example(&path);
    let path = path.to_str().unwrap();
    let output = armilla(&["inspect", path]);
    assert!(output.status.success());
    assert_eq!(
        text(&output.stdout),
        "extra/deep/ids (3) i64\nmaps (4, 3, 3) f32\nparams (2, 2) f64\n"
    );
    assert!(output.stderr.is_empty());

    let verbose = armilla(&["inspect", "--verbose", path]);
    let stdout = text(&verbose.stdout);
    for line in [
        "maps (4, 3, 3) f32",
        "  box_size = 25",
        "  names = [\"Omega_m\", \"sigma_8\"]",
        "  version = 1",
    ] {
        assert!(stdout.lines().any(|l| l == line), "{line}\n{stdout}");
    }
}

/// A NumPy file of `maps` maps of 8×8 under a name of CAMELS, and its table, in `folder`.
fn camels(folder: &Path, suite: &str, simulations: usize, first: f64) -> String {
    let path = folder.join(format!("Maps_T_{suite}_LH_z=0.00.npy"));
    let count = 15 * simulations;
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 8, 8), }}").into_bytes();
    while (header.len() + 11) % 64 != 0 {
        header.push(b' ');
    }
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    for pixel in 0..count * 64 {
        let (simulation, place) = (pixel / 64 / 15, pixel % 64);
        let x =
            1e4 * (1.5 + (pixel as f64 * 0.7).sin() + simulation as f64 * 0.1 * (place as f64).cos().abs());
        bytes.extend((x as f32).to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    let rows: String = (0..simulations)
        .map(|i| {
            let x = first + 0.2 * i as f64 / simulations as f64;
            format!("LH_{i} {x} {} 1.0 1.0 1.0 1.0 {i}\n", 0.6 + x / 2.0)
        })
        .collect();
    let table = format!("#Name Omega_m sigma_8 A_SN1 A_AGN1 A_SN2 A_AGN2 seed\n{rows}");
    fs::write(folder.join(format!("params_LH_{suite}.txt")), table).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn camels_files_are_inspected_trained_on_and_inferred() {
    let folder = tempfile::tempdir().unwrap();
    let first = camels(folder.path(), "IllustrisTNG", 6, 0.1);
    let second = camels(folder.path(), "SIMBA", 5, 0.305);
    let output = armilla(&["inspect", &first]);
    assert_success(&output);
    for words in [
        "(90, 8, 8) f32",
        "gas temperature in K",
        "suite IllustrisTNG, set LH, z = 0; 15 of each",
        "6 simulations in",
        "A_AGN2",
    ] {
        assert!(
            text(&output.stdout).contains(words),
            "{words}: {}",
            text(&output.stdout)
        );
    }
    let inspected = json(&armilla(&["inspect", "--json", &first]));
    assert_eq!(
        (&inspected["unit"], &inspected["simulations"]),
        (&"K".into(), &6.into())
    );
    let table = folder.path().join("params_LH_SIMBA.txt");
    let output = armilla(&["inspect", table.to_str().unwrap()]);
    for words in [
        "5 simulations, LH_0 to LH_4; 6 parameters",
        "Omega_m      0.305 to ",
    ] {
        assert!(
            text(&output.stdout).contains(words),
            "{words}: {}",
            text(&output.stdout)
        );
    }

    // Both files as one set, without a word about parameters.
    let [config, run, out] = ["tiny.yaml", "run", "out"].map(|name| folder.path().join(name));
    fs::write(&config, format!("{TINY}pixels: {{scale: minmax}}\n")).unwrap();
    let (config, run, out) = (
        config.to_str().unwrap(),
        run.to_str().unwrap(),
        out.to_str().unwrap(),
    );
    let train = [
        "train", "--data", &first, &second, "--config", config, "--out", run,
    ];
    let output = armilla(&train);
    assert_success(&output);
    let next = text(&output.stdout);
    let card: Value = serde_json::from_slice(&fs::read(Path::new(run).join("model.json")).unwrap()).unwrap();
    assert_eq!(
        (&card["data"]["simulations"], &card["unit"]),
        (&11.into(), &"K".into())
    );
    assert_eq!(card["data"]["files"][1]["name"], "Maps_T_SIMBA_LH_z=0.00.npy");
    assert_eq!(card["parameters"][5]["name"], "A_AGN2");
    assert_eq!(card["parameters"][2]["logarithmic"], true);
    // What it says comes next can be done.
    let words: Vec<&str> = next.lines().last().unwrap().split_whitespace().collect();
    let after = |option: &str| words[words.iter().position(|w| *w == option).unwrap() + 1];
    let (data, index) = (after("--data"), after("--index"));
    let mut arguments = infer_arguments(run, data, index, "mle", out);
    arguments.push("--json");
    let report = json(&armilla(&arguments));
    assert_eq!(report["parameters"][0]["name"], "Omega_m");
    assert!(report["parameters"][0]["true"].is_f64());
    let warned = |report: &Value| {
        let warnings = report["warnings"].as_array().unwrap();
        warnings
            .iter()
            .any(|w| w.as_str().unwrap().contains("training part"))
    };
    assert!(!warned(&report), "{report}");

    // A table of another length.
    fs::write(&table, "0.3 0.8 1 1 1 1\n").unwrap();
    let line = error_line(&["inspect", &second]);
    assert!(line.contains("75 maps") && line.contains("1 rows"), "{line}");
    // A table by name, and files of the same simulations.
    let again = folder.path().join("Maps_T_Other_LH_z=0.00.npy");
    fs::copy(&first, &again).unwrap();
    let named = folder.path().join("params_LH_IllustrisTNG.txt");
    let line = error_line(&[
        "train",
        "--data",
        &first,
        again.to_str().unwrap(),
        "--params",
        named.to_str().unwrap(),
        "--out",
        folder.path().join("other").to_str().unwrap(),
    ]);
    assert!(line.contains("shares simulations"), "{line}");
}

/// A checkpoint as PyTorch's would be: names, shapes and metadata, with weights of zero.
fn checkpoint(path: &Path) {
    use armilla::models::{
        Cpu, Module,
        checkpoint::save,
        nets::{Architecture, AttentionUnetConfig, Network},
    };
    let config = AttentionUnetConfig {
        dim: 8,
        dim_mults: vec![1, 2],
        ..Default::default()
    };
    let network = Network::new(&Cpu::default(), &Architecture::AttentionUnet(config), 1).unwrap();
    save(path, &network.weights().prefixed("model")).unwrap();
}

#[test]
fn inspect_recognises_the_network_of_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unet.safetensors");
    checkpoint(&path);
    let file = path.to_str().unwrap();
    let output = armilla(&["inspect", file]);
    let stdout = text(&output.stdout);
    let line = stdout
        .lines()
        .find(|l| l.starts_with("model.final_conv.1.weight"));
    assert!(
        line.is_some_and(|l| l.contains("f32") && l.contains("(1, 8, 1, 1)")),
        "{stdout}"
    );
    assert!(
        stdout.contains("AttentionUnet: ") && stdout.contains("dim_mults [1,2]"),
        "{stdout}"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&armilla(&["inspect", "--json", file]).stdout).unwrap();
    assert_eq!(json["network"]["network"], "attention_unet");
    let total: u64 = json["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| {
            t["shape"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_u64().unwrap())
                .product::<u64>()
        })
        .sum();
    assert_eq!(json["parameters"], total);

    let whole = fs::read(&path).unwrap();
    for length in [0, 4, 20, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let message = error_line(&["inspect", file]);
        assert!(
            message.contains("not a whole safetensors file"),
            "{length}: {message}"
        );
    }
    let mut lying = whole.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(&path, lying).unwrap();
    assert!(error_line(&["inspect", file]).contains("header of"));
}

#[test]
fn inspect_json_is_alone_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    example(&path);
    let output = armilla(&["inspect", "--json", path.to_str().unwrap()]);
    assert!(output.status.success() && output.stderr.is_empty());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["datasets"][1]["path"], "maps");
    assert_eq!(json["datasets"][1]["shape"], serde_json::json!([4, 3, 3]));
    assert_eq!(json["datasets"][1]["dtype"], "f32");
    assert_eq!(json["datasets"][2]["attributes"]["names"][1], "sigma_8");
    assert_eq!(json["groups"][0]["attributes"]["version"], 1);
}

#[test]
fn errors_are_one_line_and_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    example(&path);
    let bytes = fs::read(&path).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cut = write("cut.h5", &bytes[..bytes.len() / 2]);
    let words = write("words.h5", b"these are words and no data");
    let numpy = write("array.npy", b"\x93NUMPY\x01\0v\0{'descr'");
    let empty = write("empty.h5", b"");
    for (file, words) in [
        (cut.as_str(), "truncated"),
        (&words, "not an HDF5 file"),
        (&numpy, "NumPy"),
        (&empty, "empty"),
        (folder.path().to_str().unwrap(), "folder"),
        ("/no/such/file.h5", "no such file"),
    ] {
        for json in [&["inspect", file][..], &["inspect", "--json", file]] {
            let line = error_line(json);
            assert!(line.contains(words) && line.contains(file), "{line}");
        }
    }
}

#[test]
fn wrong_arguments_are_one_line_and_exit_2() {
    assert!(error_line(&[]).contains("armilla --help"));
    assert!(error_line(&["inspct"]).contains("inspect"));
    assert!(error_line(&["inspect"]).contains("armilla inspect --help"));
    assert!(error_line(&["inspect", "a", "b"]).contains("'b'"));
    assert!(error_line(&["inspect", "a", "--jsn"]).contains("--json"));
    assert!(error_line(&["inspect", "a", "--json", "--verbose"]).contains("--verbose"));
}

#[test]
fn help_teaches() {
    let output = armilla(&["inspect", "--help"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("armilla inspect maps.h5"));
    assert!(armilla(&["--version"]).status.success());
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    example(&path);
    for arguments in [vec!["inspect"], vec!["inspect", "--json"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_armilla"))
            .args(&arguments)
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

/// A network and a training that take no time and mean nothing.
const TINY: &str = "\
network:
  unet: {channels: [4, 6], time_dim: 8, outputs: 4}
  coefficient_widths: [8]
training: {steps: 20, batch_size: 16, validate_every: 5, warmup_steps: 5}
flow_matching: {refine: {draws: 1, steps: 20, batch_size: 16}}
";

/// What several tests start from: maps, a configuration and a run.
struct Example {
    folder: tempfile::TempDir,
}

impl Example {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

fn simulate(kind: &str, out: &str, seed: &str) -> Output {
    armilla(&[
        "simulate",
        "--kind",
        kind,
        "--size",
        "8",
        "--simulations",
        "30",
        "--maps-per-simulation",
        "2",
        "--seed",
        seed,
        "--out",
        out,
    ])
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn shared() -> &'static Example {
    static EXAMPLE: OnceLock<Example> = OnceLock::new();
    EXAMPLE.get_or_init(|| {
        let example = Example {
            folder: tempfile::tempdir().unwrap(),
        };
        let [maps, config, run] = ["maps.h5", "tiny.yaml", "run"].map(|name| example.path(name));
        assert_success(&simulate("lognormal", &maps, "1"));
        fs::write(&config, TINY).unwrap();
        let train = [
            "train",
            "--data",
            &maps,
            "--config",
            &config,
            "--out",
            &run,
            "--hold-out",
            "3",
        ];
        assert_success(&armilla(&train));
        example
    })
}

/// A copy of the shared run in `folder`, to be damaged.
fn copy_of_run(folder: &Path) -> PathBuf {
    let copy = folder.join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(shared().path("run")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    copy
}

fn infer_arguments<'a>(
    run: &'a str,
    data: &'a str,
    index: &'a str,
    method: &'a str,
    out: &'a str,
) -> Vec<&'a str> {
    let mut arguments = vec![
        "infer",
        "--run",
        run,
        "--data",
        data,
        "--index",
        index,
        "--method",
        method,
        "--out",
        out,
        "--times",
        "8",
        "--noises",
        "2",
        "--grid-points",
        "12",
    ];
    if !["mle", "map", "grid"].contains(&method) {
        arguments.extend(["--warmup", "60", "--draws", "50", "--chains", "2"]);
    }
    arguments
}

/// JSON that is alone on standard output.
fn json(output: &Output) -> Value {
    assert_success(output);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn simulate_gives_the_same_bytes_for_the_same_seed() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, c] =
        ["a.h5", "b.h5", "c.h5"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    assert_success(&simulate("gaussian", &a, "4"));
    assert_success(&simulate("gaussian", &b, "4"));
    assert_success(&simulate("gaussian", &c, "5"));
    assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
    assert_ne!(fs::read(&a).unwrap(), fs::read(&c).unwrap());
    let file = Hdf5File::open(&a).unwrap();
    let listed: Vec<String> = file.datasets().unwrap().iter().map(|d| d.to_string()).collect();
    assert_eq!(listed, ["maps (60, 8, 8) f32", "params (30, 2) f64"]);
    let attributes = file.dataset("params").unwrap().info().attributes.clone();
    assert_eq!(attributes["names"].to_texts().unwrap(), ["Omega_m", "sigma_8"]);
    assert_eq!(attributes["lower"].to_f64s().unwrap(), [0.1, 0.6]);

    let output = armilla(&[
        "simulate",
        "--size",
        "4",
        "--simulations",
        "3",
        "--out",
        &a,
        "--json",
    ]);
    let written = json(&output);
    assert_eq!(
        (&written["simulations"], &written["kind"]),
        (&3.into(), &"lognormal".into())
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn every_method_infers_from_a_run() {
    let example = shared();
    let (run, maps) = (example.path("run"), example.path("maps.h5"));
    for file in [
        "model.json",
        "checkpoint_best.safetensors",
        "checkpoint_last.safetensors",
        "history.jsonl",
        "training_history.png",
    ] {
        assert!(Path::new(&run).join(file).exists(), "{file}");
    }
    let folder = tempfile::tempdir().unwrap();
    let chains = [
        "mcmc_posterior_idx3",
        "corner_idx3",
        "trace_idx3",
        "rank_idx3",
        "autocorrelation_idx3",
    ];
    for (method, pictures) in [
        ("mle", &["inference_mle_idx3", "mle_loss_idx3"][..]),
        ("map", &["inference_map_idx3", "map_loss_idx3"]),
        ("mh", &chains),
        ("hmc", &chains),
        ("nuts", &chains),
        ("mclmc", &chains),
        ("mala", &chains),
        ("chees", &chains),
        ("ensemble", &chains),
        ("smc", &chains[..2]),
        ("tempering", &chains),
        ("advi", &chains[..2]),
        ("grid", &["grid_likelihood_idx3"]),
    ] {
        let out = folder.path().join(method);
        let mut arguments = infer_arguments(&run, &maps, "3", method, out.to_str().unwrap());
        let output = armilla(&arguments);
        assert_success(&output);
        let table = text(&output.stdout);
        assert!(
            ["Omega_m", "sigma_8", "estimated", "error"]
                .iter()
                .all(|w| table.contains(w)),
            "{table}"
        );
        let pictures = pictures
            .iter()
            .flat_map(|name| ["png", "svg"].map(|format| format!("{name}.{format}")));
        let others = ["posterior.json", "draws.csv", "report.html"].map(str::to_owned);
        let mut wanted: Vec<String> = pictures.chain(others).collect();
        wanted.sort();
        let mut written: Vec<String> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        written.sort();
        assert_eq!(written, wanted, "{method}");
        let page = fs::read_to_string(out.join("report.html")).unwrap();
        let command = format!("--method {method} --out");
        let images = page.matches("data:image/svg+xml;base64,").count();
        assert_eq!(images, wanted.len() / 2 - 1, "{method}");
        assert!(page.contains("Omega_m") && page.contains(&command), "{method}");
        assert!(
            !page.contains("http:") && !page.contains("https:") && !page.contains("<script"),
            "{method}"
        );

        arguments.push("--json");
        let report = json(&armilla(&arguments));
        let written: Value = serde_json::from_slice(&fs::read(out.join("posterior.json")).unwrap()).unwrap();
        for key in [
            "method",
            "likelihood",
            "warnings",
            "evaluations",
            "seconds",
            "seed",
            "parameters",
        ] {
            assert!(
                !written[key].is_null() && !report[key].is_null(),
                "{method}: {key}"
            );
        }
        assert_eq!(written["parameters"], report["parameters"]);
        let parameter = written["parameters"][0].as_object().unwrap();
        for key in [
            "name", "true", "mean", "sd", "q05", "q16", "q50", "q84", "q95", "rhat", "ess",
        ] {
            assert!(parameter.contains_key(key), "{method}: {key}");
        }
        let draws = fs::read_to_string(out.join("draws.csv")).unwrap();
        let expected = match method {
            "mle" | "map" => 4000,
            "grid" => 144,
            // A chain for each walker.
            "ensemble" => 1600,
            _ => 100,
        };
        assert!(
            draws.starts_with("chain,Omega_m,sigma_8,log_density,log_weight,"),
            "{draws}"
        );
        assert_eq!(draws.lines().count(), expected + 1, "{method}");
    }
    let out = folder.path().join("score");
    let mut arguments = infer_arguments(&run, &maps, "3", "grid", out.to_str().unwrap());
    arguments.retain(|a| !["--times", "8"].contains(a));
    arguments.extend([
        "--likelihood",
        "reconstruction",
        "--temperature",
        "0.5",
        "--times",
        "0.2,0.6",
        "--json",
    ]);
    let report = json(&armilla(&arguments));
    assert_eq!(report["likelihood"]["times"], serde_json::json!([0.2, 0.6]));
    assert!(report["warnings"].to_string().contains("unnormalised"));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let example = shared();
    let folder = tempfile::tempdir().unwrap();
    let (maps, config) = (example.path("maps.h5"), example.path("tiny.yaml"));
    let with_threads = |threads: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_armilla"));
        let output = command
            .env("RAYON_NUM_THREADS", threads)
            .args(arguments)
            .output()
            .unwrap();
        assert_success(&output);
    };
    let mut results = Vec::new();
    for threads in ["1", "2", "2"] {
        let run = folder.path().join(format!("run{}", results.len()));
        let posterior = run.with_extension("posterior");
        let (run_name, posterior_name) = (run.to_str().unwrap(), posterior.to_str().unwrap());
        with_threads(
            threads,
            &[
                "train", "--data", &maps, "--config", &config, "--seed", "9", "--out", run_name,
            ],
        );
        with_threads(
            threads,
            &infer_arguments(run_name, &maps, "3", "hmc", posterior_name),
        );
        let json = fs::read(posterior.join("posterior.json")).unwrap();
        let mut report: Value = serde_json::from_slice(&json).unwrap();
        report.as_object_mut().unwrap().remove("seconds");
        let bytes = |path: PathBuf| fs::read(path).unwrap();
        results.push((
            bytes(run.join("checkpoint_best.safetensors")),
            bytes(run.join("checkpoint_last.safetensors")),
            bytes(run.join("model.json")),
            bytes(run.join("history.jsonl")),
            bytes(posterior.join("draws.csv")),
            report,
        ));
    }
    assert!(results[0] == results[1] && results[1] == results[2]);
}

#[test]
fn gaussian_fields_train_without_a_logarithm() {
    let folder = tempfile::tempdir().unwrap();
    let [maps, run] = ["maps.h5", "run"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    assert_success(&simulate("gaussian", &maps, "1"));
    let train = [
        "train",
        "--data",
        &maps,
        "--config",
        &shared().path("tiny.yaml"),
        "--out",
        &run,
        "--json",
    ];
    let trained = json(&armilla(&train));
    assert_eq!(trained["history"].as_array().unwrap().len(), 5);
    let flow = TrainedFlow::load(&run).unwrap();
    assert!(!flow.card().transform.takes_log());
    assert_eq!(flow.generate(&[0.3, 0.8], 2, 1).unwrap().len(), 2 * 64);
    // A finished training is lost only to those who say so.
    assert!(error_line_at_the_end(&train).contains("finished"));
    assert_success(&armilla(&[&train[..], &["--overwrite"]].concat()));
}

#[test]
fn bad_training_is_one_line_and_leaves_nothing() {
    let example = shared();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (maps, tiny) = (example.path("maps.h5"), example.path("tiny.yaml"));
    let bytes = fs::read(&maps).unwrap();
    let cut = write("cut.h5", &bytes[..bytes.len() / 2]);
    let words = write("words.h5", b"these are words and no data");
    let typo = write("typo.yaml", b"training: {batchsize: 3}");
    let diverges = write(
        "diverges.yaml",
        TINY.replace("{steps: 20", "{learning_rate: 1.0e+38, steps: 20")
            .as_bytes(),
    );
    let split = write("split.yaml", b"split: {train: 0.5}");
    let network = write("network.yaml", b"network: {unet: {channels: [4, 4, 4, 4, 4]}}");
    let nan = folder.path().join("nan.h5").to_str().unwrap().to_owned();
    let mut pixels = [1.0f32; 64];
    pixels[21] = f32::NAN;
    let mut file = NewFile::new();
    file.dataset("maps", &[4, 4, 4], Values::F32(&pixels)).unwrap();
    file.dataset("params", &[4, 1], Values::F64(&[0.1, 0.2, 0.3, 0.4]))
        .unwrap();
    file.write(&nan).unwrap();
    let out = folder.path().join("new/run");
    let out_name = out.to_str().unwrap();
    for (data, extra, wanted) in [
        (
            "/no/such/file.h5",
            &[][..],
            &["/no/such/file.h5", "no such file"][..],
        ),
        (&words, &[], &["words.h5", "not an HDF5 file"]),
        (&cut, &[], &["cut.h5", "truncated"]),
        (&nan, &[], &["nan.h5", "map 1", "NaN", "pixel (1, 1)"]),
        (&maps, &["--maps", "map"], &["map", "maps"]),
        (&maps, &["--params", "parms"], &["params"]),
        (
            &maps,
            &["--prior", "Omega_m=0.2:0.5"],
            &["simulation", "Omega_m", "0.2 to 0.5"],
        ),
        (&maps, &["--prior", "omega_m=0.2:0.5"], &["omega_m", "Omega_m"]),
        (&maps, &["--prior", "Omega_m"], &["NAME=LOW:HIGH"]),
        (&maps, &["--hold-out", "60"], &["60"]),
        (&maps, &["--config", "/no/such.yaml"], &["/no/such.yaml"]),
        (
            &maps,
            &["--config", &typo],
            &["typo.yaml", "`batchsize`", "`batch_size`"],
        ),
        (&maps, &["--config", &split], &["fractions"]),
        (&maps, &["--config", &network], &["8"]),
        (&maps, &["--config", &diverges], &["learning rate"]),
    ] {
        let mut arguments = vec!["train", "--data", data, "--out", out_name];
        arguments.extend(extra);
        if !extra.contains(&"--config") {
            arguments.extend(["--config", &tiny]);
        }
        let line = error_line_at_the_end(&arguments);
        assert!(wanted.iter().all(|word| line.contains(word)), "{line}");
        assert!(!folder.path().join("new").exists(), "{line}");
    }
    // Somebody else's folder.
    let others = folder.path().to_str().unwrap();
    let mut arguments = vec!["train", "--data", &maps, "--config", &tiny, "--out", others];
    assert!(error_line(&arguments).contains("--overwrite"));
    assert!(!folder.path().join("model.json").exists());
    arguments.push("--overwrite");
    assert_success(&armilla(&arguments));
    assert!(folder.path().join("model.json").exists());
    // A finished training.
    arguments.pop();
    assert!(error_line(&arguments).contains("finished"));
}

/// As [`error_line`], for a command that may have reported progress before.
fn error_line_at_the_end(arguments: &[&str]) -> String {
    let output = armilla(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let stderr = text(&output.stderr);
    assert_eq!(
        stderr.lines().filter(|line| line.starts_with("error: ")).count(),
        1,
        "{stderr}"
    );
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("error: "), "{stderr}");
    last.to_owned()
}

#[test]
fn bad_inference_is_one_line_and_leaves_nothing() {
    let example = shared();
    let (run, maps) = (example.path("run"), example.path("maps.h5"));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/posterior");
    let out_name = out.to_str().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write_maps = |name: &str, pixel: f32, omega_m: f64, side: usize| {
        let mut pixels = vec![1.0f32; 3 * side * side];
        pixels[side * side + 2] = pixel;
        let mut file = NewFile::new();
        file.dataset("maps", &[3, side, side], Values::F32(&pixels))
            .unwrap();
        let params = [0.3, 0.8, omega_m, 0.8, 0.3, 0.8];
        file.dataset("params", &[3, 2], Values::F64(&params)).unwrap();
        file.write(folder.path().join(name)).unwrap();
        at(name)
    };
    let nan = write_maps("nan.h5", f32::NAN, 0.3, 8);
    let negative = write_maps("negative.h5", -1.0, 0.3, 8);
    let outside = write_maps("outside.h5", 1.0, 0.7, 8);
    let large = write_maps("large.h5", 1.0, 0.3, 16);
    fs::write(at("words.h5"), "these are words and no data").unwrap();
    let words = at("words.h5");
    let nothing = at("nothing");
    fs::create_dir(&nothing).unwrap();

    let check = |run: &str, data: &str, index: &str, extra: &[&str], wanted: &[&str]| {
        let mut arguments = infer_arguments(run, data, index, "mle", out_name);
        arguments.extend(extra);
        let line = error_line(&arguments);
        assert!(wanted.iter().all(|word| line.contains(word)), "{line}");
        assert!(!folder.path().join("new").exists(), "{line}");
    };
    check(&run, "/no/such.h5", "0", &[], &["/no/such.h5", "no such file"]);
    check(&run, &words, "0", &[], &["not an HDF5 file"]);
    check(&run, &maps, "60", &[], &["no map 60", "60, numbered from 0"]);
    check(&run, &maps, "0", &["--maps", "mapps"], &["mapps", "maps"]);
    check(&run, &maps, "0", &["--params", "parms"], &["parms", "params"]);
    check(&run, &nan, "1", &[], &["map 1", "NaN"]);
    check(&run, &negative, "1", &[], &["-1"]);
    check(
        &run,
        &outside,
        "1",
        &[],
        &["Omega_m = 0.7", "simulation 1", "0.1 to 0.5"],
    );
    check(&run, &large, "1", &[], &["16×16", "8×8"]);
    check(&run, &maps, "0", &["--temperature", "2"], &["--temperature"]);
    check(&run, &maps, "0", &["--starts", "0"], &["starts"]);
    check(&run, &maps, "0", &["--noises", "0"], &["noise"]);
    check(
        "/no/such/run",
        &maps,
        "0",
        &[],
        &["/no/such/run", "armilla train"],
    );
    check(&nothing, &maps, "0", &[], &["nothing", "model.json"]);

    let copy = copy_of_run(folder.path());
    let copy_name = copy.to_str().unwrap();
    let (model, best) = (copy.join("model.json"), copy.join("checkpoint_best.safetensors"));
    let card = fs::read_to_string(&model).unwrap();
    let weights = fs::read(&best).unwrap();
    let mut wider: Value = serde_json::from_str(&card).unwrap();
    wider["network"]["coefficient_widths"] = serde_json::json!([9]);
    fs::write(&model, wider.to_string()).unwrap();
    check(
        copy_name,
        &maps,
        "0",
        &[],
        &["checkpoint_best", "another architecture", "coefficients", "9]"],
    );
    for (text, wanted) in [
        (card.replace("\"format\": 3", "\"format\": 9"), "format 9"),
        (card[..card.len() / 2].to_owned(), "model.json"),
        (card.replace("\"side\"", "\"sides\""), "`side`"),
    ] {
        fs::write(&model, text).unwrap();
        check(copy_name, &maps, "0", &[], &["model.json", wanted]);
    }
    fs::write(&model, &card).unwrap();
    fs::write(&best, &weights[..weights.len() / 2]).unwrap();
    check(
        copy_name,
        &maps,
        "0",
        &[],
        &["checkpoint_best", "whole safetensors"],
    );
    fs::remove_file(&best).unwrap();
    check(copy_name, &maps, "0", &[], &["checkpoint_best", "missing"]);
}

#[test]
fn a_map_without_parameters_is_inferred() {
    let example = shared();
    let folder = tempfile::tempdir().unwrap();
    let [data, out] = ["map.h5", "out"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let mut file = NewFile::new();
    let pixels: Vec<f32> = (0..64)
        .map(|i| 1.0 + (f64::from(i) * 0.7).sin() as f32 * 0.3)
        .collect();
    file.dataset("maps", &[1, 8, 8], Values::F32(&pixels)).unwrap();
    file.write(&data).unwrap();
    let run = example.path("run");
    let mut arguments = infer_arguments(&run, &data, "0", "grid", &out);
    arguments.push("--json");
    let report = json(&armilla(&arguments));
    assert!(report["parameters"][0]["true"].is_null());
}

#[test]
fn the_demo_compares_all_methods_with_the_exact_posterior() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut config = TrainConfig::parse(TINY, 60).unwrap();
    config.split = DemoSettings::default().config.split;
    let settings = DemoSettings {
        slab: Slab {
            size: 8,
            ..Slab::default()
        },
        simulations: 60,
        config,
        ..DemoSettings::default()
    };
    demo(&settings, &out, |_| ()).unwrap();
    let report: Value = serde_json::from_slice(&fs::read(out.join("demo.json")).unwrap()).unwrap();
    for method in ["exact", "mle", "mh", "hmc", "grid"] {
        for (i, name) in ["Omega_m", "sigma_8"].iter().enumerate() {
            let parameter = &report[method]["parameters"][i];
            assert_eq!(parameter["name"], *name);
            assert!(
                ["true", "mean", "sd"].iter().all(|key| parameter[key].is_f64()),
                "{method}: {parameter}"
            );
        }
    }
    for file in [
        "maps.h5",
        "run/model.json",
        "corner.png",
        "corner.svg",
        "field.png",
        "report.html",
        "inference_mle_idx3.png",
        "mle_loss_idx3.png",
        "mcmc_posterior_idx3.png",
        "grid_likelihood_idx3.png",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    // The map of the demo was never trained on, and is there for another inference.
    let flow = TrainedFlow::load(out.join("run")).unwrap();
    assert!(flow.card().simulations().unwrap().test.contains(&3));
    assert!(InferSettings::new(Method::Hmc, 0).chains > 1);

    // A demo that fails leaves nothing.
    let other = folder.path().join("other");
    let beyond = DemoSettings {
        index: 60,
        ..settings
    };
    let message = demo(&beyond, &other, |_| ()).unwrap_err().to_string();
    assert!(message.contains("60"), "{message}");
    assert!(!other.exists());
}

#[test]
fn help_of_every_command_has_examples() {
    for command in ["simulate", "train", "generate", "infer", "demo"] {
        let output = armilla(&[command, "--help"]);
        assert_success(&output);
        let help = text(&output.stdout);
        assert!(
            help.contains("Examples:") && help.contains("--json") && help.contains("--seed"),
            "{help}"
        );
    }
}

#[test]
fn a_device_that_is_not_there_is_told() {
    let train = ["train", "--data", "none.h5", "--out", "none"];
    let infer = "infer --run none --data none.h5 --index 0 --method map --out none";
    for (device, wanted) in [("gpu", "auto, cpu, cuda or cuda:N"), ("cuda:99", "cuda:99")] {
        for mut arguments in [train.to_vec(), infer.split(' ').collect()] {
            arguments.extend(["--device", device]);
            let line = error_line(&arguments);
            assert!(line.contains(wanted), "{line}");
        }
    }
}
