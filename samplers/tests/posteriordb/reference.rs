//! Load the data and the reference draws of the eight posteriors, where they are.

use std::path::PathBuf;

use armilla_samplers::model::{Model, ModelPosterior};
use serde_json::Value;

use super::models::*;

/// Data and reference draws of one posterior.
pub struct Reference {
    /// The columns of the draws.
    pub names: Vec<String>,
    /// Draws in physical units.
    pub draws: Vec<Vec<f64>>,
    data: Value,
}

impl Reference {
    /// Nothing, and a visible message, where there are no reference data.
    pub fn load(name: &str) -> Option<Self> {
        let Some(root) = data() else {
            eprintln!("skipped: no reference data; set ARMILLA_REFERENCE_DATA to their folder");
            return None;
        };
        let folder = root.join("posteriordb").join(name);
        if !folder.is_dir() {
            eprintln!("skipped: no reference data in {}", folder.display());
            return None;
        }
        let json = |file| -> Value {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let info = json("info.json");
        let names: Vec<String> = serde_json::from_value(info["parameters"].clone()).unwrap();
        let numbers = read_npy(&std::fs::read(folder.join("draws.npy")).unwrap());
        let draws = numbers.chunks_exact(names.len()).map(<[f64]>::to_vec).collect();
        Some(Self {
            names,
            draws,
            data: json("data.json"),
        })
    }

    /// Column `index` of the draws.
    pub fn column(&self, index: usize) -> Vec<f64> {
        self.draws.iter().map(|draw| draw[index]).collect()
    }

    fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> T {
        serde_json::from_value(self.data[key].clone()).unwrap()
    }
}

/// The numbers of an npy file, version 1, little-endian f8 or f4 in C order.
fn read_npy(bytes: &[u8]) -> Vec<f64> {
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (header, numbers) = bytes[10..].split_at(header);
    let header = String::from_utf8_lossy(header);
    assert!(header.contains("'fortran_order': False"), "{header}");
    if header.contains("'<f4'") {
        let (numbers, _) = numbers.as_chunks();
        return numbers
            .iter()
            .map(|&number| f64::from(f32::from_le_bytes(number)))
            .collect();
    }
    assert!(header.contains("'<f8'"), "{header}");
    let (numbers, _) = numbers.as_chunks();
    numbers.iter().map(|&number| f64::from_le_bytes(number)).collect()
}

/// The folder of the reference data: named, or beside the repository.
pub fn data() -> Option<PathBuf> {
    if let Some(root) = std::env::var_os("ARMILLA_REFERENCE_DATA") {
        return Some(PathBuf::from(root));
    }
    // The package that this file is compiled into is the repository's, or one in it.
    let roots = ["../shared/data", "../../shared/data"];
    let mut roots = roots
        .iter()
        .map(|root| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(root));
    roots.find(|root| root.is_dir())
}

type Loaded<M> = Option<(Reference, ModelPosterior<M>)>;

fn load<M: Model>(name: &str, model: impl FnOnce(&Reference) -> M) -> Loaded<M> {
    let reference = Reference::load(name)?;
    let posterior = model(&reference).posterior().unwrap();
    Some((reference, posterior))
}

pub fn eight_schools() -> Loaded<EightSchools> {
    let name = "eight_schools-eight_schools_noncentered";
    load(name, |data| EightSchools {
        y: data.get("y"),
        sigma: data.get("sigma"),
    })
}

pub fn blr() -> Loaded<Blr> {
    load("sblri-blr", |data| Blr {
        x: data.get("X"),
        y: data.get("y"),
    })
}

pub fn ark() -> Loaded<ArK> {
    load("arK-arK", |data| ArK {
        y: data.get("y"),
        k: data.get("K"),
    })
}

pub fn kid_iq() -> Loaded<KidIq> {
    let model = |data: &Reference| KidIq {
        kid_score: data.get("kid_score"),
        mom_iq: data.get("mom_iq"),
    };
    load("kidiq-kidscore_momiq", model)
}

pub fn garch() -> Loaded<Garch> {
    load("garch-garch11", |data| Garch {
        y: data.get("y"),
        sigma1: data.get("sigma1"),
    })
}

pub fn gauss_mix() -> Loaded<GaussMix> {
    load("low_dim_gauss_mix-low_dim_gauss_mix", |data| GaussMix {
        y: data.get("y"),
    })
}

pub fn gaussian_process() -> Loaded<GaussianProcess> {
    load("gp_pois_regr-gp_regr", |data| GaussianProcess {
        x: data.get("x"),
        y: data.get("y"),
    })
}

pub fn mesquite() -> Loaded<Mesquite> {
    load("mesquite-logmesquite_logvas", |data| Mesquite {
        weight: data.get("weight"),
        diam1: data.get("diam1"),
        diam2: data.get("diam2"),
        canopy_height: data.get("canopy_height"),
        total_height: data.get("total_height"),
        density: data.get("density"),
        group: data.get("group"),
    })
}

/// The first observation of the two moons of sbibm, and draws of its posterior.
pub fn two_moons() -> Option<([f64; 2], Vec<Vec<f64>>)> {
    let folder = data()?.join("sbibm/two_moons/observation_1");
    let read = |file| Some(read_npy(&std::fs::read(folder.join(file)).ok()?));
    let observation = read("observation.npy")?;
    let draws = read("reference_posterior.npy")?;
    let draws = draws.chunks_exact(2).map(<[f64]>::to_vec).collect();
    Some(([observation[0], observation[1]], draws))
}
