//! Reads files that h5py wrote and compares them with what h5py said they hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use armilla::data::hdf5::Hdf5File;
use armilla::data::{
    CamelsName, FieldFile, MapPaths, MapSet, NpyFile, ParameterTable, camels_names, camels_range, read_info,
};
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
    let folder = root().join("hdf5");
    if folder.join("expected.json").is_file() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no reference files at {}", folder.display());
    None
}

fn root() -> PathBuf {
    match std::env::var_os("ARMILLA_REFERENCE_DATA") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    }
}

/// The folder of the tables of CAMELS, or nothing, said aloud.
fn camels() -> Option<PathBuf> {
    let folder = root().join("camels");
    if folder.is_dir() {
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
const UNDERSTOOD: &[u16] = if cfg!(feature = "libhdf5") {
    &[1, 2, 3, 6, 32000, 32001]
} else {
    &[1, 2, 3, 6, 32000]
};

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
                    for words in ["(Blosc)", "C library", "--features libhdf5"] {
                        assert!(message.contains(words), "{message}");
                    }
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

#[cfg(feature = "libhdf5")]
#[test]
fn reference_files_read_the_same_through_the_c_library() {
    use armilla::data::hdf5::Reader;
    let Some(folder) = folder() else { return };
    let mut checked = 0;
    for (name, datasets) in listing(&folder) {
        if !name.ends_with(".h5") && !name.ends_with(".hdf5") {
            continue;
        }
        let open = |reader| Hdf5File::open_with(folder.join(&name), reader).unwrap();
        let (ours, theirs) = (open(Reader::Rust), open(Reader::C));
        for path in datasets.keys() {
            let (a, b) = (ours.dataset(path).unwrap(), theirs.dataset(path).unwrap());
            assert_eq!(
                a.read::<f64>().unwrap(),
                b.read::<f64>().unwrap(),
                "{name} {path}"
            );
            assert_eq!(
                a.read::<f32>().unwrap(),
                b.read::<f32>().unwrap(),
                "{name} {path}"
            );
            let rows = a.rows();
            let some = rows / 3..rows - rows / 4;
            assert_eq!(
                a.read_rows::<f64>(some.clone()).unwrap(),
                b.read_rows::<f64>(some).unwrap()
            );
            checked += 1;
        }
        // What nobody listed, integers among it.
        for info in ours.datasets().unwrap() {
            let (a, b) = (
                ours.dataset(&info.path).unwrap(),
                theirs.dataset(&info.path).unwrap(),
            );
            assert_eq!(
                a.read::<f64>().unwrap(),
                b.read::<f64>().unwrap(),
                "{name} {info}"
            );
        }
    }
    assert!(checked >= 12, "only {checked} datasets were compared");
    // The other maps are those of the contiguous file, however they are stored.
    let maps = |name: &str| {
        let file = Hdf5File::open(folder.join(name)).unwrap();
        file.dataset("maps").unwrap().read::<f32>().unwrap()
    };
    assert_eq!(maps("maps_blosc_zstd.h5"), maps("maps_contiguous.h5"));
}

#[test]
fn reference_files_of_numpy_hold_the_same_maps() {
    let Some(folder) = folder() else { return };
    let path = folder.join("Maps_Mcdm_synthetic_LH_z=0.00.npy");
    let file = NpyFile::open(&path).unwrap();
    let hdf5 = Hdf5File::open(folder.join("maps_contiguous.h5")).unwrap();
    let expected: Vec<f32> = hdf5.dataset("maps").unwrap().read().unwrap();
    assert_eq!((file.shape(), file.dtype().as_str()), (&[30, 64, 64][..], "f32"));
    assert_eq!(file.read_rows::<f32>(0..30).unwrap(), expected);
    assert_eq!(
        file.read_rows::<f64>(7..9).unwrap(),
        expected[7 * 4096..9 * 4096]
            .iter()
            .map(|&x| f64::from(x))
            .collect::<Vec<_>>()
    );

    // With the table beside it, that is a set of two simulations.
    let set = MapSet::open(&[&path], &MapPaths::default()).unwrap();
    assert_eq!(
        (set.len(), set.simulations(), set.maps_per_simulation()),
        (30, 2, 15)
    );
    assert_eq!(set.names(), camels_names(6));
    assert_eq!(
        set.theta(14),
        [0.41625, 0.65925, 1.57451, 3.42275, 1.77854, 1.93676]
    );
    assert_eq!(set.theta(15)[0], 0.33740);
    assert_eq!(set.unit(), Some("(Msun/h)/(Mpc/h)^2"));
    assert_eq!(set.read_maps(&[29, 3]).unwrap()[..4096], expected[29 * 4096..]);
    let origin = set.origin().unwrap();
    assert_eq!((origin.simulator.as_str(), origin.box_size), ("synthetic", 25.0));

    // A table of another number of rows: the message has both numbers.
    let scratch = tempfile::tempdir().unwrap();
    let table = scratch.path().join("three.txt");
    fs::write(&table, "0.1 0.8\n0.2 0.8\n0.3 0.8\n").unwrap();
    let paths = MapPaths {
        params: Some(table.to_str().unwrap().into()),
        ..MapPaths::default()
    };
    let message = MapSet::open(&[&path], &paths).unwrap_err().to_string();
    for words in ["30 maps, 15 of each simulation", "3 rows", "three.txt"] {
        assert!(message.contains(words), "{message}");
    }
    let alone = scratch.path().join("Maps_Mcdm_synthetic_LH_z=0.00.npy");
    fs::copy(&path, &alone).unwrap();
    let message = MapSet::open(&[&alone], &MapPaths::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("params_LH_synthetic.txt") && message.contains("--params"),
        "{message}"
    );
    // A table also serves HDF5 files.
    let paths = MapPaths {
        maps: Some("maps".into()),
        params: Some(folder.join("params_LH_synthetic.txt").to_str().unwrap().into()),
    };
    let set = MapSet::open(&[folder.join("maps_lzf.h5")], &paths).unwrap();
    assert_eq!(set.theta(29)[5], 1.72508);
}

#[test]
fn reference_files_tell_their_maps_and_parameters() {
    let Some(folder) = folder() else { return };
    let path = folder.join("maps_nested_f64_bigendian.h5");
    let set = MapSet::open(&[&path], &MapPaths::default()).unwrap();
    assert_eq!((set.len(), set.simulations(), set.side()), (30, 2, 64));
    let plain = MapSet::read(folder.join("maps_contiguous.h5"), &MapPaths::default()).unwrap();
    assert_eq!(set.params(), plain.params());
    assert_eq!(set.map(17).unwrap(), plain.map(17).unwrap());
    // A snapshot has no maps; what it has is listed.
    let message = FieldFile::open(folder.join("snapshot_090.hdf5"), &MapPaths::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("shape of maps") && message.contains("PartType1/Coordinates"),
        "{message}"
    );
}

#[test]
fn reference_files_of_camels_name_their_parameters() {
    let Some(folder) = camels() else { return };
    let table = |set: &str| {
        ParameterTable::read(folder.join(format!("CosmoAstroSeed_IllustrisTNG_L25n256_{set}.txt"))).unwrap()
    };
    let lh = table("LH");
    assert_eq!((lh.names(), lh.rows()), (&camels_names(6)[..], 1000));
    assert_eq!(lh.row(1), [0.30260, 0.93940, 3.42001, 3.96137, 1.03311, 1.16070]);
    assert_eq!(lh.simulations().unwrap()[999], "LH_999");
    let cv = table("CV");
    assert_eq!((cv.names(), cv.rows()), (lh.names(), 27));
    assert!((0..27).all(|i| cv.row(i) == [0.3, 0.8, 1.0, 1.0, 1.0, 1.0]));
    let one = table("1P");
    assert_eq!(one.names().len(), 28);
    assert_eq!(one.names()[..3], ["Omega_m", "sigma_8", "WindEnergyIn1e51erg"]);
    assert_eq!(one.names()[27], "QuasarThresholdPower");
    assert_eq!(one.simulations().unwrap()[0], "1P_p1_n2");
    assert_eq!((one.row(0)[0], one.row(0)[27]), (0.1, 2.0));

    let info = read_info(folder.join("Info_IllustrisTNG_L25n256_6params.txt")).unwrap();
    for (p, name) in info.iter().zip(camels_names(6)) {
        assert_eq!(p.name, name);
        assert_eq!(camels_range(&name), Some(([p.low, p.high], p.logarithmic)));
        assert!((p.low..=p.high).contains(&p.fiducial));
    }
    assert_eq!(info.len(), 6);
    // Every simulation lies where the file says.
    for i in 0..lh.rows() {
        assert!(
            lh.row(i)
                .iter()
                .zip(&info)
                .all(|(x, p)| (p.low..=p.high).contains(x))
        );
    }
    for (name, shape) in [
        ("SFRH_IllustrisTNG.npy", [1000, 100]),
        ("Pk_galaxies_IllustrisTNG_LH_33_kmax=20.0.npy", [1000, 79]),
    ] {
        let file = NpyFile::open(folder.join(name)).unwrap();
        assert_eq!(file.shape(), shape);
        let rows: Vec<f32> = file.read_rows(0..1000).unwrap();
        assert!(rows.iter().all(|x| x.is_finite()));
        assert_eq!(CamelsName::parse(name), None);
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
