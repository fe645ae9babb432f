//! Holds snapshots, catalogues, projections and spectra to what h5py, NumPy and Pylians' conventions say they are, and
//! runs the commands on them as users do.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use armilla::data::hdf5::{Hdf5File, NewFile, Values};
use armilla::data::{Axis, Catalogue, Deposit, Header, NewSnapshot, Scheme, Snapshot, Species};
use armilla::pipeline::{ProjectSettings, find_simulations, project};
use armilla::stats::{SpectrumEstimator, density_contrast};
use serde_json::Value;

/// What the issue asks of projections and spectra.
const REFERENCE: f64 = 1e-6;

/// The folder of reference files, or nothing, said aloud, where there is none.
fn folder() -> Option<PathBuf> {
    let root = match std::env::var_os("ARMILLA_REFERENCE_DATA") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    let folder = root.join("hdf5");
    if folder.join("expected.json").is_file() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no reference files at {}", folder.display());
    None
}

/// The arrays of 8-byte floats or integers in a file of `numpy.savez` or `numpy.savez_compressed`.
fn npz(path: &Path) -> BTreeMap<String, Vec<f64>> {
    let bytes = fs::read(path).unwrap();
    let number = |at: usize, size: usize| {
        let mut value = [0u8; 8];
        value[..size].copy_from_slice(&bytes[at..at + size]);
        u64::from_le_bytes(value) as usize
    };
    let mut arrays = BTreeMap::new();
    let mut at = 0;
    while bytes[at..].starts_with(b"PK\x03\x04") {
        let (method, name, extra) = (number(at + 8, 2), number(at + 26, 2), number(at + 28, 2));
        let start = at + 30 + name + extra;
        // NumPy always writes the sizes as 64 bits, into the extra field: first the whole, then the packed.
        let packed = match number(at + 18, 4) {
            0xffff_ffff => number(at + 30 + name + 12, 8),
            size => size,
        };
        let body = &bytes[start..start + packed];
        let mut array = Vec::new();
        match method {
            0 => array.extend_from_slice(body),
            8 => {
                let mut unpacked = flate2::read::DeflateDecoder::new(body);
                unpacked.read_to_end(&mut array).unwrap();
            }
            other => panic!("method {other}"),
        }
        let header = u16::from_le_bytes([array[8], array[9]]) as usize;
        let text = std::str::from_utf8(&array[10..10 + header]).unwrap();
        let values = array[10 + header..].as_chunks::<8>().0.iter().map(|&eight| {
            if text.contains("'<f8'") {
                f64::from_le_bytes(eight)
            } else {
                assert!(text.contains("'<i8'"), "{text}");
                i64::from_le_bytes(eight) as f64
            }
        });
        let key = std::str::from_utf8(&bytes[at + 30..at + 30 + name]).unwrap();
        arrays.insert(key.trim_end_matches(".npy").to_owned(), values.collect());
        at = start + packed;
    }
    arrays
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= REFERENCE * largest, "{i}: {a} {b}");
    }
}

#[test]
fn reference_files_of_snapshots_project_as_numpy_does() {
    let Some(folder) = folder() else { return };
    let expected = npz(&folder.join("snapshot_090_projected_32.npz"));
    let snapshot = Snapshot::open(folder.join("snapshot_090.hdf5")).unwrap();
    let header = snapshot.header();
    assert_eq!((header.box_size, header.redshift), (25.0, 0.0));
    assert_eq!(header.masses[1], 0.05e10);
    assert_eq!((header.omega_m, header.hubble), (Some(0.309), Some(0.6711)));
    assert_eq!(snapshot.species(), [Species::DarkMatter]);
    for (scheme, name) in [(Scheme::Ngp, "ngp"), (Scheme::Cic, "cic")] {
        let mut map = Deposit::slabs(32, 25.0, Axis::Z, 25.0, scheme).unwrap();
        let take = &mut |positions: &[f64], _: armilla::data::Masses<'_>| {
            map.add(positions, armilla::data::Masses::Same(1.0))
        };
        snapshot.read(Species::DarkMatter, take).unwrap();
        close(&map.finish(), &expected[name]);
    }
    // A grid summed along z is the projection of the whole box.
    let mut grid = Deposit::grid(32, 25.0, Scheme::Cic).unwrap();
    let take = &mut |positions: &[f64], masses: armilla::data::Masses<'_>| grid.add(positions, masses);
    snapshot.read(Species::DarkMatter, take).unwrap();
    let summed: Vec<f64> = grid
        .finish()
        .chunks(32)
        .map(|z| z.iter().sum::<f64>() / 0.05e10)
        .collect();
    close(&summed, &expected["cic"]);
}

#[test]
fn reference_files_of_old_snapshots_have_a_mass_for_each_particle() {
    let Some(folder) = folder() else { return };
    let snapshot = Snapshot::open(folder.join("snap_033.hdf5")).unwrap();
    let file = Hdf5File::open(folder.join("snap_033.hdf5")).unwrap();
    let masses: Vec<f64> = file.dataset("PartType1/Masses").unwrap().read().unwrap();
    let mut map = Deposit::slabs(16, 25.0, Axis::X, 5.0, Scheme::Tsc).unwrap();
    let mut count = 0;
    snapshot
        .read(Species::DarkMatter, &mut |positions, masses| {
            count += positions.len() / 3;
            map.add(positions, masses)
        })
        .unwrap();
    assert_eq!(count as u64, snapshot.count(Species::DarkMatter));
    let total: f64 = map.finish().iter().sum();
    assert!((total / (1e10 * masses.iter().sum::<f64>()) - 1.0).abs() < REFERENCE);
    let message = snapshot
        .read(Species::Stars, &mut |_, _| Ok(()))
        .unwrap_err()
        .to_string();
    assert!(message.contains("only dm"), "{message}");
}

#[test]
fn reference_files_of_catalogues_are_read_by_name() {
    let Some(folder) = folder() else { return };
    let path = folder.join("groups_090.hdf5");
    let catalogue = Catalogue::open(&path).unwrap();
    assert_eq!(
        catalogue.names(),
        ["GroupMass", "GroupPos", "SubhaloMassType", "SubhaloPos"]
    );
    let file = Hdf5File::open(&path).unwrap();
    let plain = |name: &str| file.dataset(name).unwrap().read::<f64>().unwrap();
    let masses = catalogue.read("GroupMass").unwrap();
    assert_eq!((masses.width, masses.unit), (1, Some("Msun/h")));
    let scaled: Vec<f64> = plain("Group/GroupMass").iter().map(|m| m * 1e10).collect();
    assert_eq!(masses.values, scaled);
    let positions = catalogue.read("SubhaloPos").unwrap();
    assert_eq!((positions.width, positions.values.len()), (3, 600));
    assert!(positions.values.iter().all(|x| (0.0..=25.0).contains(x)));
    assert_eq!(catalogue.read("SubhaloMassType").unwrap().component(4).len(), 200);
    let message = catalogue.read("GroupMas").unwrap_err().to_string();
    assert!(message.contains("did you mean `GroupMass`?"), "{message}");
}

#[test]
fn reference_files_of_maps_have_the_spectrum_that_numpy_measures() {
    let Some(folder) = folder() else { return };
    let expected = npz(&folder.join("maps_first_power_spectrum.npz"));
    let file = Hdf5File::open(folder.join("maps_contiguous.h5")).unwrap();
    let map: Vec<f64> = file.dataset("maps").unwrap().read_rows(0..1).unwrap();
    let contrast = density_contrast(&map).unwrap();
    let spectrum = SpectrumEstimator::new(64, 25.0)
        .unwrap()
        .power(&contrast)
        .unwrap();
    close(&spectrum.wavenumbers, &expected["k"]);
    let modes: Vec<f64> = spectrum.modes.iter().map(|&n| n as f64).collect();
    assert_eq!(modes, expected["modes"]);
    for (found, expected) in spectrum.power.iter().zip(&expected["P"]) {
        assert!((found / expected - 1.0).abs() < REFERENCE);
    }
}

/// A snapshot of `files` files in the old layout, of single precision, with a header that `change` may spoil.
fn old_snapshot(folder: &Path, files: usize, change: impl Fn(usize, &mut BTreeMap<&str, Vec<i64>>)) {
    fs::create_dir_all(folder).unwrap();
    for part in 0..files {
        let count = 10 + part;
        let total: i64 = (0..files as i64).map(|part| 10 + part).sum();
        let positions: Vec<f32> = (0..3 * count).map(|i| (i * 37 % 1000) as f32).collect();
        let stars = [1e3f32, 2e3, 3e3];
        let masses: Vec<f32> = (0..count).map(|i| i as f32).collect();
        let mut numbers = BTreeMap::from([
            (
                "NumPart_ThisFile",
                vec![0, count as i64, 0, 0, i64::from(part == 0), 0],
            ),
            ("NumPart_Total", vec![0, total, 0, 0, 1, 0]),
            ("NumFilesPerSnapshot", vec![files as i64]),
        ]);
        change(part, &mut numbers);
        let mut file = NewFile::new();
        file.group("Header").unwrap();
        for (name, values) in &numbers {
            file.attribute("Header", name, values.as_slice()).unwrap();
        }
        file.attribute("Header", "BoxSize", 1000.0).unwrap();
        file.attribute("Header", "MassTable", [0.0; 6].as_slice())
            .unwrap();
        file.dataset("PartType1/Coordinates", &[count, 3], Values::F32(&positions))
            .unwrap();
        file.dataset("PartType1/Masses", &[count], Values::F32(&masses))
            .unwrap();
        if part == 0 {
            file.dataset("PartType4/Coordinates", &[1, 3], Values::F32(&stars))
                .unwrap();
            file.dataset("PartType4/Masses", &[1], Values::F32(&[7.0]))
                .unwrap();
        }
        let name = if files == 1 {
            "snap_033.hdf5".to_owned()
        } else {
            format!("snap_033.{part}.hdf5")
        };
        file.write(folder.join(name)).unwrap();
    }
}

#[test]
fn snapshots_of_several_files_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("snapdir_033");
    old_snapshot(&parts, 3, |_, _| ());
    for path in [
        parts.clone(),
        parts.join("snap_033.1.hdf5"),
        folder.path().to_owned(),
    ] {
        let snapshot = Snapshot::open(path).unwrap();
        assert_eq!(snapshot.count(Species::DarkMatter), 33);
        assert_eq!(snapshot.species(), [Species::DarkMatter, Species::Stars]);
        let (mut first, mut mass) = (Vec::new(), 0.0);
        for species in snapshot.species() {
            snapshot
                .read(species, &mut |positions, masses| {
                    first.push(positions[0]);
                    let armilla::data::Masses::Each(masses) = masses else {
                        panic!("a mass for each")
                    };
                    mass += masses.iter().sum::<f64>();
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(first, [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(mass, 1e10 * (45.0 + 55.0 + 66.0 + 7.0));
    }
    fs::remove_file(parts.join("snap_033.2.hdf5")).unwrap();
    let message = Snapshot::open(&parts).unwrap_err().to_string();
    assert!(
        message.contains("snap_033.2.hdf5") && message.contains("3"),
        "{message}"
    );
}

#[test]
fn headers_that_lie_are_told() {
    for (name, values, words) in [
        ("NumPart_Total", vec![0, 99, 0, 0, 1, 0], "99"),
        ("NumPart_Total", vec![-1; 6], "NumPart_Total"),
        ("NumPart_ThisFile", vec![0, 10], "hold"),
        ("NumFilesPerSnapshot", vec![0], "0 files"),
        ("NumFilesPerSnapshot", vec![2], "number before .hdf5"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        old_snapshot(folder.path(), 1, |_, numbers| {
            numbers.insert(name, values.clone());
        });
        let message = Snapshot::open(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains(words) && message.lines().count() == 1,
            "{message}"
        );
    }
    // A count that the datasets do not have is told where they are read.
    let folder = tempfile::tempdir().unwrap();
    old_snapshot(folder.path(), 1, |_, numbers| {
        numbers.insert("NumPart_ThisFile", vec![0, 12, 0, 0, 1, 0]);
        numbers.insert("NumPart_Total", vec![0, 12, 0, 0, 1, 0]);
    });
    let snapshot = Snapshot::open(folder.path()).unwrap();
    let message = snapshot
        .read(Species::DarkMatter, &mut |_, _| Ok(()))
        .unwrap_err()
        .to_string();
    assert!(message.contains("12 particles"), "{message}");
    // No snapshot at all, and no particle at all.
    let mut empty = NewFile::new();
    empty.dataset("maps", &[1], Values::F64(&[1.0])).unwrap();
    let path = folder.path().join("maps.h5");
    empty.write(&path).unwrap();
    assert!(
        Snapshot::open(&path)
            .unwrap_err()
            .to_string()
            .contains("no snapshot")
    );
}

#[test]
fn new_snapshots_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshot_090.hdf5");
    let header = Header {
        box_size: 50.0,
        masses: [0.0, 2e9, 0.0, 0.0, 0.0, 0.0],
        counts: [0, 2, 0, 0, 0, 0],
        redshift: 3.0,
        omega_m: Some(0.3),
        omega_lambda: Some(0.7),
        hubble: None,
    };
    let snapshot = NewSnapshot {
        header: &header,
        species: Species::DarkMatter,
        positions: &[1.0, 2.0, 3.0, 49.5, 0.0, 25.0],
        velocities: &[100.0; 6],
    };
    snapshot.write(&path).unwrap();
    let back = Snapshot::open(&path).unwrap();
    assert_eq!(back.header(), &header);
    back.read(Species::DarkMatter, &mut |positions, masses| {
        assert_eq!(positions, [1.0, 2.0, 3.0, 49.5, 0.0, 25.0]);
        assert_eq!(masses, armilla::data::Masses::Same(2e9));
        Ok(())
    })
    .unwrap();
    // Gadget's velocities are v/√a.
    let file = Hdf5File::open(&path).unwrap();
    let velocities: Vec<f32> = file.dataset("PartType1/Velocities").unwrap().read().unwrap();
    assert_eq!(velocities, [200.0; 6]);
    let wrong = NewSnapshot {
        positions: &[1.0; 3],
        ..snapshot
    };
    assert!(wrong.write(&path).is_err());
}

fn armilla(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_armilla"))
        .args(arguments)
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = armilla(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn particles_become_maps_that_train_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (snap, maps, grids) = (at("snap"), at("maps.h5"), at("grids.h5"));
    let simulate = [
        "simulate",
        "--kind",
        "zeldovich",
        "--size",
        "12",
        "--simulations",
        "11",
        "--json",
        "--out",
    ];
    let said = json(&[&simulate[..], &[&snap]].concat());
    assert_eq!(
        (&said["simulations"], &said["kind"]),
        (&11.into(), &"zeldovich".into())
    );
    // A second time the folder is not empty, and stays as it is.
    let again = armilla(&[&simulate[..], &[&snap]].concat());
    assert_eq!(again.status.code(), Some(2));
    assert!(Path::new(&snap).join("LH_10/snapshot_090.hdf5").exists());

    let said = json(&[
        "project", &snap, "--size", "8", "--scheme", "pcs", "--out", &maps, "--json",
    ]);
    assert_eq!(said["shape"], serde_json::json!([11 * 15, 8, 8]));
    assert_eq!(said["parameters"], serde_json::json!(["Omega_m", "sigma_8"]));
    let file = Hdf5File::open(&maps).unwrap();
    let info = file.dataset("maps").unwrap().info().attributes.clone();
    assert_eq!(info["unit"].as_text(), Some("(Msun/h)/(Mpc/h)^2"));
    assert_eq!(
        (info["box_size"].as_f64(), info["depth"].as_f64()),
        (Some(200.0), Some(40.0))
    );
    // Simulation 10 is the last, not the third; the mean density of its maps is that of its parameters.
    let parameters: Vec<f64> = file.dataset("params").unwrap().read().unwrap();
    let table = fs::read_to_string(said_table(&snap)).unwrap();
    let last: Vec<f64> = table
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .skip(1)
        .map(|x| x.parse().unwrap())
        .collect();
    assert_eq!(parameters[20..], last[..2]);
    let values: Vec<f64> = file.dataset("maps").unwrap().read_rows(150..155).unwrap();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((mean / (last[0] * 2.775e11 * 40.0) - 1.0).abs() < 1e-3);

    json(&[
        "project", &snap, "--grid", "--size", "8", "--counts", "--out", &grids, "--json",
    ]);
    let said = json(&["spectrum", &grids, &grids, "--correct", "cic", "--json"]);
    assert_eq!(
        (&said["spectra"][0]["dimension"], &said["spectra"][0]["fields"]),
        (&3.into(), &11.into())
    );
    let all_one = |values: &Value| {
        values
            .as_array()
            .unwrap()
            .iter()
            .all(|r| (r.as_f64().unwrap() - 1.0).abs() < 1e-9)
    };
    assert!(all_one(&said["comparisons"][0]["ratio"]) && all_one(&said["comparisons"][0]["correlation"]));

    // The same particles in a table that lacks a simulation, and in boxes that differ.
    fs::write(said_table(&snap), "#Name Omega_m seed\nLH_0 0.3 1\n").unwrap();
    let output = armilla(&["project", &snap, "--out", &maps]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && message.contains("LH_1"),
        "{message}"
    );
}

fn said_table(folder: &str) -> PathBuf {
    let mut entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries
        .find(|path| path.extension().is_some_and(|e| e == "txt"))
        .unwrap()
}

#[test]
fn the_same_seed_gives_the_same_files_on_any_threads() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |threads: &str| {
        let (snap, maps) = (
            folder.path().join(threads),
            folder.path().join(format!("{threads}.h5")),
        );
        for arguments in [
            vec![
                "simulate",
                "--kind",
                "zeldovich",
                "--size",
                "8",
                "--simulations",
                "3",
                "--out",
                snap.to_str().unwrap(),
            ],
            vec![
                "project",
                snap.to_str().unwrap(),
                "--size",
                "8",
                "--out",
                maps.to_str().unwrap(),
            ],
        ] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_armilla"));
            let output = command
                .args(&arguments)
                .env("RAYON_NUM_THREADS", threads)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        (
            fs::read(snap.join("LH_2/snapshot_090.hdf5")).unwrap(),
            fs::read(maps).unwrap(),
        )
    };
    assert!(bytes("1") == bytes("3"));
}

#[test]
fn spectrum_prints_a_table_and_draws_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    let values: Vec<f32> = (0..6 * 64).map(|i| 2.0 + ((i * i) as f32 * 0.37).sin()).collect();
    let mut file = NewFile::new();
    file.dataset("fields/rho", &[6, 8, 8], Values::F32(&values))
        .unwrap();
    file.write(&path).unwrap();
    let (path, out) = (path.to_str().unwrap(), folder.path().join("out"));
    let message = armilla(&["spectrum", path]);
    assert!(String::from_utf8_lossy(&message.stderr).contains("--box"));
    let output = armilla(&[
        "spectrum",
        path,
        path,
        "--box",
        "25",
        "--out",
        out.to_str().unwrap(),
    ]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        stdout.starts_with("P1: ") && stdout.contains("6 maps of 8×8, 25 Mpc/h wide"),
        "{stdout}"
    );
    assert!(stdout.contains("reduced χ² of P2 under P1"), "{stdout}");
    assert!(
        fs::read(out.join("spectrum.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    let report: Value = serde_json::from_slice(&fs::read(out.join("spectrum.json")).unwrap()).unwrap();
    let pixels = &report["spectra"][0]["pixels"]["density"];
    let inside: f64 = pixels
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_f64().unwrap() * 0.05)
        .sum();
    assert!((inside - 1.0).abs() < 1e-9);
}

#[test]
fn projections_know_their_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    old_snapshot(&folder.path().join("LH_3"), 1, |_, _| ());
    let simulations = find_simulations(&[folder.path().join("LH_3/snap_033.hdf5")], None).unwrap();
    assert_eq!(
        (simulations[0].name.as_str(), &simulations[0].table),
        ("LH_3", &None)
    );
    assert_eq!(
        find_simulations(&[folder.path().join("LH_3")], None).unwrap(),
        simulations
    );
    let settings = ProjectSettings {
        size: 4,
        axes: vec![Axis::Z],
        depth: Some(1.0),
        counts: true,
        ..ProjectSettings::default()
    };
    // Dark matter and the star, unless one is named.
    let sum = |settings: &ProjectSettings| {
        let projection = project(&simulations, settings, &|_| ()).unwrap();
        projection.fields.iter().sum::<f32>()
    };
    assert!((sum(&settings) - 11.0).abs() < 1e-4);
    let stars = ProjectSettings {
        species: vec![Species::Stars],
        ..settings.clone()
    };
    assert!((sum(&stars) - 1.0).abs() < 1e-5);
    let deep = ProjectSettings {
        depth: Some(2.0),
        ..settings
    };
    let message =
        |settings: &ProjectSettings| project(&simulations, settings, &|_| ()).unwrap_err().to_string();
    assert!(message(&deep).contains("depth of 2"), "{}", message(&deep));
    let none = ProjectSettings {
        axes: Vec::new(),
        ..deep
    };
    assert!(message(&none).contains("name an axis"), "{}", message(&none));
}

#[test]
fn each_folder_has_a_table_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let sets: Vec<PathBuf> = ["a", "b"].map(|name| folder.path().join(name)).to_vec();
    for (set, value) in sets.iter().zip(["0.1", "0.2"]) {
        old_snapshot(&set.join("LH_0"), 1, |_, _| ());
        let table = format!("#Name Omega_m\nLH_0 {value}\n");
        fs::write(set.join("CosmoAstroSeed_x.txt"), table).unwrap();
    }
    let settings = ProjectSettings {
        size: 4,
        axes: vec![Axis::X],
        depth: Some(1.0),
        ..ProjectSettings::default()
    };
    let parameters = |inputs: &[PathBuf], table: Option<&Path>| {
        let simulations = find_simulations(inputs, table)?;
        Ok::<_, armilla::Error>(project(&simulations, &settings, &|_| ())?.parameters)
    };
    let names = vec!["Omega_m".to_owned()];
    let found = parameters(&sets, None).unwrap();
    assert_eq!(found, Some((names.clone(), vec![0.1, 0.2])));
    let named = sets[1].join("CosmoAstroSeed_x.txt");
    let found = parameters(&sets, Some(&named)).unwrap();
    assert_eq!(found, Some((names, vec![0.2, 0.2])));
    // Tables of other parameters, and one for some only.
    let message = |inputs: &[PathBuf]| parameters(inputs, None).unwrap_err().to_string();
    fs::write(&named, "#Name sigma_8\nLH_0 0.2\n").unwrap();
    assert!(
        message(&sets).contains("its parameters are sigma_8"),
        "{}",
        message(&sets)
    );
    fs::remove_file(&named).unwrap();
    let without = message(&sets);
    assert!(
        without.contains("LH_0/snap_033.hdf5") && without.contains("--params"),
        "{without}"
    );
    assert_eq!(parameters(&sets[1..], None).unwrap(), None);
}

#[test]
fn damaged_snapshots_are_not_absent() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("LH_0/snap_033.hdf5");
    old_snapshot(&folder.path().join("LH_0"), 1, |_, _| ());
    let whole = fs::read(&snapshot).unwrap();
    fs::write(&snapshot, &whole[..whole.len() / 2]).unwrap();
    // The folder of the snapshot, and that of the simulations.
    for input in [folder.path().join("LH_0"), folder.path().to_owned()] {
        let simulations = find_simulations(&[input], None).unwrap();
        assert_eq!(simulations[0].snapshot, snapshot);
        let message = project(&simulations, &ProjectSettings::default(), &|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("snap_033.hdf5") && message.contains("truncated"),
            "{message}"
        );
    }
}

#[test]
fn a_square_array_is_one_map_to_be_measured_and_no_set() {
    use armilla::data::{FieldFile, MapPaths};
    use armilla::pipeline::spectra::{SpectraSettings, spectra};

    let folder = tempfile::tempdir().unwrap();
    let values: Vec<f32> = (0..64).map(|i| 2.0 + ((i * i) as f32 * 0.37).sin()).collect();
    let mut file = NewFile::new();
    file.dataset("maps", &[8, 8], Values::F32(&values)).unwrap();
    file.attribute("maps", "box_size", 20.0).unwrap();
    let one = folder.path().join("one.h5");
    file.write(&one).unwrap();
    let mut set = NewFile::new();
    set.dataset("maps", &[1, 8, 8], Values::F32(&values)).unwrap();
    set.attribute("maps", "box_size", 20.0).unwrap();
    let of_set = folder.path().join("set.h5");
    set.write(&of_set).unwrap();
    let measure = |path: &Path| spectra(path, &SpectraSettings::default(), &|_| ()).unwrap();
    let (alone, first) = (measure(&one), measure(&of_set));
    assert_eq!((alone.fields, alone.size, alone.box_size), (1, 8, 20.0));
    assert_eq!(alone.each, first.each);
    assert_eq!(alone.dataset, "maps");
    let message = FieldFile::open(&one, &MapPaths::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("(maps, N, N)"), "{message}");
}

#[test]
fn without_a_chi_squared_the_rest_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("same.h5");
    let map: Vec<f32> = (0..64).map(|i| 2.0 + ((i * i) as f32 * 0.37).sin()).collect();
    let mut file = NewFile::new();
    let all = map.repeat(5);
    file.dataset("maps", &[5, 8, 8], Values::F32(&all)).unwrap();
    file.attribute("maps", "box_size", 25.0).unwrap();
    file.write(&path).unwrap();
    let path = path.to_str().unwrap();
    let output = armilla(&["spectrum", path, path]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("/P1"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        stdout.contains("no reduced χ² of P2 under P1: number 0 is the same in all true summaries"),
        "{stdout}"
    );
    let said = json(&["spectrum", path, path, "--json"]);
    assert!(said["comparisons"][0]["chi_squared"].is_null());
}

#[test]
fn what_once_broke_a_reader_is_an_error() {
    use armilla::data::{MapPaths, MapSet};

    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/hdf5");
    // Names were made for 10¹⁹ parameters before their shape was doubted.
    let wide = corpus.join("params_too_wide.h5");
    let message = MapSet::open(&[&wide], &MapPaths::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`params`") && message.contains("are not allowed"),
        "{message}"
    );
    // Room for 1.4 GB was made before the end of the file was looked at.
    let beyond = corpus.join("chunk_beyond_the_end.h5");
    let maps = Hdf5File::open(&beyond).unwrap().dataset("maps").unwrap();
    let message = maps.read::<f32>().unwrap_err().to_string();
    assert!(message.contains("beyond the end of the file"), "{message}");
    // 10¹² particles that were never written take 4 kB, and a day to read.
    let snapshot = Snapshot::open(corpus.join("snapshot_unwritten.h5")).unwrap();
    assert_eq!(snapshot.count(Species::DarkMatter), 1_000_000_000_000);
    let message = snapshot
        .read(Species::DarkMatter, &mut |_, _| panic!("nothing is to be read"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("mostly unwritten"), "{message}");
}
