//! Hold the demo's posteriors to the exact ones, over eight seeds. Minutes long:
//! `cargo test --release --test demo -- --ignored`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs the demo and returns what it wrote.
fn demo(seed: u64, out: &Path) -> Value {
    let status = Command::new(env!("CARGO_BIN_EXE_armilla"))
        .args(["demo", "--seed", &seed.to_string(), "--out"])
        .arg(out)
        .output()
        .expect("the program starts");
    assert!(
        status.status.success(),
        "seed {seed}: {}",
        String::from_utf8_lossy(&status.stderr)
    );
    let text = std::fs::read_to_string(out.join("demo.json")).expect("demo.json is there");
    serde_json::from_str(&text).expect("demo.json is JSON")
}

/// For each parameter of `method`: |mean − exact mean| / exact sd, and sd / exact sd.
fn against_exact(report: &Value, method: &str) -> Vec<[f64; 2]> {
    let number = |method: &str, i: usize, key: &str| -> f64 {
        let value = &report[method]["parameters"][i][key];
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{method} {i} {key}: {value}"))
    };
    (0..2)
        .map(|i| {
            let (mean, sd) = (number("exact", i, "mean"), number("exact", i, "sd"));
            [
                (number(method, i, "mean") - mean).abs() / sd,
                number(method, i, "sd") / sd,
            ]
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    0.5 * (values[(n - 1) / 2] + values[n / 2])
}

#[test]
#[ignore = "a training: one to two minutes"]
fn one_demo_makes_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = demo(1, folder.path());
    for method in ["mh", "hmc", "grid"] {
        for [bias, ratio] in against_exact(&report, method) {
            // One field at one seed: twice what the medians are held to.
            assert!(
                bias <= 1.0 && (0.6..=1.6).contains(&ratio),
                "{method}: bias {bias}, sd ratio {ratio}"
            );
        }
    }
    for name in [
        "maps.h5",
        "run/model.json",
        "run/checkpoint_best.safetensors",
        "run/checkpoint_last.safetensors",
        "run/training_history.png",
        "corner.png",
        "inference_mle_idx3.png",
        "mle_loss_idx3.png",
        "mcmc_posterior_idx3.png",
        "grid_likelihood_idx3.png",
    ] {
        assert!(folder.path().join(name).is_file(), "{name} is missing");
    }
}

#[test]
#[ignore = "eight trainings: ten minutes"]
fn over_eight_seeds_the_surrogate_has_the_exact_posterior() {
    let folder = tempfile::tempdir().expect("a folder");
    let reports: Vec<Value> = (1..=8)
        .map(|seed| demo(seed, &folder.path().join(seed.to_string())))
        .collect();
    for method in ["mh", "hmc", "grid"] {
        let all: Vec<[f64; 2]> = reports.iter().flat_map(|r| against_exact(r, method)).collect();
        let (bias, ratio) = (
            median(all.iter().map(|v| v[0]).collect()),
            median(all.iter().map(|v| v[1]).collect()),
        );
        println!("{method}: median bias {bias:.3} exact sd, median sd ratio {ratio:.3}");
        assert!(
            bias <= 0.5 && (0.75..=1.33).contains(&ratio),
            "{method}: bias {bias}, sd ratio {ratio}"
        );
    }
}
