//! Follows the soft links of two files that h5py wrote, one in the oldest and one in the newest form.

use std::fs;
use std::path::{Path, PathBuf};

use armilla::data::hdf5::Hdf5File;
use armilla::data::{MapPaths, MapSet};

fn files() -> [PathBuf; 2] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    ["soft_links.h5", "soft_links_new.h5"].map(|name| folder.join(name))
}

#[test]
fn datasets_are_read_and_listed_by_their_links() {
    for path in files() {
        let file = Hdf5File::open(&path).unwrap();
        let listed: Vec<String> = file.datasets().unwrap().iter().map(|d| d.to_string()).collect();
        assert_eq!(
            listed,
            [
                "deep/er/Mcdm (4, 2, 2) f32",
                "deep/er/beside (4, 2, 2) f32 = deep/er/Mcdm",
                "labels (2, 1) f64",
                "maps (4, 2, 2) f32 = deep/er/Mcdm",
            ]
        );
        let expected: Vec<f32> = (1..=16).map(|i| i as f32).collect();
        for name in ["maps", "/maps", "group/Mcdm", "group/beside", "deep/er/beside"] {
            assert_eq!(
                file.dataset(name).unwrap().read::<f32>().unwrap(),
                expected,
                "{name}"
            );
        }
        assert_eq!(file.attributes("group").unwrap()["z"].as_f64(), Some(0.5));
        for name in ["nowhere", "a", "b"] {
            let message = file.dataset(name).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
            assert_eq!(message.lines().count(), 1);
        }
        let set = MapSet::open(&[&path], &MapPaths::default()).unwrap();
        assert_eq!((set.len(), set.theta(3)), (4, &[0.2][..]));
    }
}

#[test]
fn damaged_links_never_panic() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("damaged.h5");
    // A search over every byte is for whoever changes the walk.
    let step = if std::env::var_os("ARMILLA_LONG_TESTS").is_some() {
        1
    } else {
        13
    };
    for source in files() {
        let bytes = fs::read(source).unwrap();
        let survive = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            if let Ok(file) = Hdf5File::open(&path) {
                let _ = file.datasets();
                let _ = file.dataset("maps").map(|maps| maps.read::<f32>());
            }
        };
        for at in (0..bytes.len()).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[at] ^= [0xff, 0x80, 0x01, 0x10][at % 4];
            survive(&damaged);
        }
        for cut in (0..bytes.len()).step_by(61) {
            survive(&bytes[..cut]);
        }
    }
}
