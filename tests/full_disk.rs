//! Fills a small disk with what the commands write: they say so, and leave nothing behind.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use armilla::data::hdf5::{NewFile, Values};

const ARMILLA: &str = env!("CARGO_BIN_EXE_armilla");

/// Mounts a disk of 16 kB for itself, runs a command in it, and lists what is there then.
const SCRIPT: &str = r#"
    disk="$1"; shift
    mount -t tmpfs -o size=16k none "$disk" || exit 99
    cd "$disk"
    "$@"
    code=$?
    ls -A
    exit $code
"#;

fn on_a_small_disk(disk: &Path, arguments: &[&str]) -> Option<Output> {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(disk)
        .arg(ARMILLA)
        .args(arguments)
        .output()
        .ok()?;
    (output.status.code() != Some(99) && !String::from_utf8_lossy(&output.stderr).starts_with("unshare"))
        .then_some(output)
}

#[test]
fn a_full_disk_is_told_and_left_empty() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    if on_a_small_disk(&disk, &["--version"]).is_none() {
        eprintln!("SKIPPED: this system lets nobody mount a disk of their own");
        return;
    }
    let snap = folder.path().join("snap");
    let simulated = Command::new(ARMILLA)
        .args([
            "simulate",
            "--kind",
            "zeldovich",
            "--size",
            "8",
            "--simulations",
            "1",
            "--out",
        ])
        .arg(&snap)
        .output()
        .unwrap();
    assert!(simulated.status.success());
    let maps = folder.path().join("maps.h5");
    let values: Vec<f32> = (0..8 * 64 * 64)
        .map(|i| 2.0 + ((i * i) as f32 * 0.37).sin())
        .collect();
    let mut file = NewFile::new();
    file.dataset("maps", &[8, 64, 64], Values::F32(&values)).unwrap();
    file.write(&maps).unwrap();
    let (snap, maps) = (snap.to_str().unwrap(), maps.to_str().unwrap());
    for arguments in [
        &[
            "simulate",
            "--kind",
            "gaussian",
            "--size",
            "32",
            "--simulations",
            "4",
            "--out",
            "maps.h5",
        ][..],
        &[
            "simulate",
            "--kind",
            "zeldovich",
            "--size",
            "16",
            "--simulations",
            "2",
            "--out",
            "snap",
        ],
        &["project", snap, "--size", "64", "--out", "maps.h5"],
        &["spectrum", maps, maps, "--box", "25", "--out", "spectra"],
    ] {
        let output = on_a_small_disk(&disk, arguments).unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains("the disk is full"), "{arguments:?}: {message}");
        let left = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(left, "", "{arguments:?} left files");
    }
}
