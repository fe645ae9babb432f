//! Runs the program as its users do.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use armilla::data::hdf5::{NewFile, Values};
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
    let bytes = std::fs::read(&path).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
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
