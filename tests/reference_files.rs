//! Reads files that h5py wrote and compares them with what h5py said they hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use armilla::data::hdf5::Hdf5File;
use serde::Deserialize;

/// Sums of 10⁵ positive floats in another order than NumPy's pairwise one.
const SUM_TOLERANCE: f64 = 1e-10;

#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    dtype: String,
    sum: f64,
    first: f64,
    last: f64,
}

type Listing = BTreeMap<String, BTreeMap<String, Expected>>;

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

fn listing(folder: &Path) -> Listing {
    serde_json::from_str(&fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap()
}

/// NumPy's name of an element type in the words of this crate.
fn short(numpy: &str) -> &str {
    match numpy {
        "float32" | "<f4" => "f32",
        "float64" | "<f8" => "f64",
        ">f4" => "f32 (big-endian)",
        ">f8" => "f64 (big-endian)",
        other => other,
    }
}

/// Filters that this build undoes.
const UNDERSTOOD: [u16; 5] = [1, 2, 3, 6, 32000];

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= SUM_TOLERANCE * b.abs()
}

#[test]
fn reference_files_hold_what_h5py_says() {
    let Some(folder) = folder() else { return };
    let mut checked = 0;
    for (name, datasets) in listing(&folder) {
        if !name.ends_with(".h5") && !name.ends_with(".hdf5") {
            eprintln!("SKIPPED: {name} is not an HDF5 file");
            continue;
        }
        let file = Hdf5File::open(folder.join(&name)).unwrap();
        let found = file.datasets().unwrap();
        for (path, expected) in datasets {
            let info = found.iter().find(|d| d.path == path).unwrap();
            let shape: Vec<u64> = expected.shape.iter().map(|&n| n as u64).collect();
            assert_eq!(info.shape, shape, "{name} {path}");
            assert_eq!(info.dtype, short(&expected.dtype), "{name} {path}");
            let dataset = file.dataset(&path).unwrap();
            assert_eq!(dataset.shape(), expected.shape);
            if let Some(filter) = info.filters.iter().find(|f| !UNDERSTOOD.contains(&f.id)) {
                for message in [
                    dataset.read::<f32>().unwrap_err().to_string(),
                    dataset.read_rows::<f64>(1..2).unwrap_err().to_string(),
                ] {
                    assert!(message.contains(&format!("filter {}", filter.id)), "{message}");
                    assert!(message.contains("C library"), "{message}");
                    assert_eq!(message.lines().count(), 1);
                }
                eprintln!("SKIPPED: {name} {path} needs the C library, and the error says so");
                continue;
            }
            let whole: Vec<f64> = dataset.read().unwrap();
            assert_eq!(whole.len(), expected.shape.iter().product::<usize>());
            assert!(
                close(whole.iter().sum(), expected.sum),
                "{name} {path}: sum {} not {}",
                whole.iter().sum::<f64>(),
                expected.sum
            );
            assert_eq!(whole[0], expected.first, "{name} {path}");
            assert_eq!(whole[whole.len() - 1], expected.last, "{name} {path}");
            // The same in single precision, and by slices of every length that tiles badly.
            let single: Vec<f32> = dataset.read().unwrap();
            assert!(whole.iter().zip(&single).all(|(&a, &b)| a as f32 == b));
            let rows = dataset.rows();
            for step in [1, 4, 7, rows] {
                let mut joined = Vec::new();
                let mut start = 0;
                while start < rows {
                    let end = (start + step).min(rows);
                    joined.extend(dataset.read_rows::<f64>(start..end).unwrap());
                    start = end;
                }
                assert_eq!(joined, whole, "{name} {path} by {step}");
            }
            assert_eq!(dataset.read_rows::<f32>(rows..rows).unwrap(), [0f32; 0]);
            let message = dataset.read_rows::<f32>(rows..rows + 1).unwrap_err().to_string();
            assert!(message.contains(&format!("it has {rows}")), "{message}");
            checked += 1;
        }
    }
    assert!(checked > 0, "no dataset was compared");
}

#[test]
fn reference_files_of_any_kind_list_and_read() {
    let Some(folder) = folder() else { return };
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "h5" && e != "hdf5") {
            continue;
        }
        let file = Hdf5File::open(&path).unwrap();
        let datasets = file.datasets().unwrap();
        assert!(!datasets.is_empty(), "{}", path.display());
        for info in datasets {
            if info.filters.iter().any(|f| !UNDERSTOOD.contains(&f.id)) {
                continue;
            }
            let dataset = file.dataset(&info.path).unwrap();
            let count = info.shape.iter().product::<u64>() as usize;
            assert_eq!(dataset.read::<f64>().unwrap().len(), count, "{info}");
        }
        file.attributes("/").unwrap();
    }
}

#[test]
fn reference_files_name_the_closest_dataset() {
    let Some(folder) = folder() else { return };
    for (name, datasets) in listing(&folder) {
        if !name.ends_with(".h5") {
            continue;
        }
        let file = Hdf5File::open(folder.join(&name)).unwrap();
        for path in datasets.keys() {
            let message = file.dataset(&format!("{path}x")).unwrap_err().to_string();
            assert!(message.contains(&format!("did you mean `{path}`?")), "{message}");
        }
    }
}

/// Opens, lists and reads all; any error is fine, a panic or an abort is not.
fn survive(path: &Path) -> armilla::Result<()> {
    let file = Hdf5File::open(path)?;
    file.attributes("/")?;
    for info in file.datasets()? {
        let _ = info.to_string();
        let dataset = file.dataset(&info.path)?;
        let _ = dataset.read_rows::<f32>(0..dataset.rows().min(2));
        dataset.read::<f64>()?;
    }
    Ok(())
}

#[test]
fn reference_files_cut_short_give_errors() {
    let Some(folder) = folder() else { return };
    let scratch = tempfile::tempdir().unwrap();
    for (name, _) in listing(&folder) {
        if !name.ends_with(".h5") {
            continue;
        }
        let bytes = fs::read(folder.join(&name)).unwrap();
        let path = scratch.path().join(&name);
        let powers = (0..).map(|k| 1usize << k).take_while(|&n| n < bytes.len());
        for length in powers.chain([0, bytes.len() - 1]) {
            fs::write(&path, &bytes[..length]).unwrap();
            let message = survive(&path).unwrap_err().to_string();
            assert_eq!(message.lines().count(), 1, "{name} at {length}: {message}");
        }
    }
}

#[test]
fn reference_files_with_flipped_bytes_never_panic() {
    let Some(folder) = folder() else { return };
    let scratch = tempfile::tempdir().unwrap();
    // A long search over every byte is for whoever changes the reader.
    let step = if std::env::var_os("ARMILLA_LONG_TESTS").is_some() {
        1
    } else {
        13
    };
    for entry in fs::read_dir(&folder).unwrap() {
        let source = entry.unwrap().path();
        if source.extension().is_none_or(|e| e != "h5" && e != "hdf5") {
            continue;
        }
        let bytes = fs::read(&source).unwrap();
        let path = scratch.path().join("damaged.h5");
        // Metadata lies at the front of these files, and somewhere at the back of the chunked ones.
        let front = (0..2048).step_by(step);
        let back = (bytes.len().saturating_sub(2048)..bytes.len()).step_by(4 * step);
        for (i, at) in front.chain(back).enumerate() {
            let mut damaged = bytes.clone();
            damaged[at] ^= [0xff, 0x80, 0x01, 0x10][i % 4];
            fs::write(&path, &damaged).unwrap();
            if let Err(error) = survive(&path) {
                assert_eq!(error.to_string().lines().count(), 1, "{error}");
            }
        }
    }
}
