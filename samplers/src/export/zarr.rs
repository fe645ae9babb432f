//! Write `InferenceData` as ArviZ reads it: a Zarr folder, which `xarray` opens too.
//!
//! The arrays are uncompressed Zarr version 2, one chunk each: JSON beside plain little-endian numbers, for which
//! no library is needed. `posterior` holds every parameter by chain and draw (`eta[0]`, `eta[1]`, … as one array
//! `eta`), `sample_stats` what accompanies the draws.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{invalid, run_of_draws};
use crate::error::SampleError;
use crate::run::checkpoint::{file_error, write_whole};
use crate::run::{Chain, Run, Step};

/// What folders of this module are recognised by.
const LIBRARY: &str = "armilla";

/// An array by chain, draw, and perhaps element.
struct Variable {
    name: String,
    kind: Kind,
    /// Elements of a vector; `None` for a scalar.
    elements: Option<usize>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Real,
    Whole,
    Truth,
}

impl Kind {
    fn dtype(self) -> &'static str {
        match self {
            Self::Real => "<f8",
            Self::Whole => "<i8",
            Self::Truth => "|b1",
        }
    }
}

/// Writes the folder `path`, which must not exist or be one that this function wrote. All chains are cut to the length of the
/// shortest, since an array is a rectangle.
///
/// # Errors
/// `SampleError::File` where something else is at `path`, or it cannot be written.
pub fn write(run: &Run, path: &Path) -> Result<(), SampleError> {
    let failed = |error| file_error(path, &error);
    if path.exists() && !is_ours(path) {
        return Err(invalid(
            path,
            "there is something that was not written by this program: choose another path",
        ));
    }
    let partial = path.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(failed)?;
    }
    let mut store = Store::new(partial.clone());
    store.group("", &json!({"creation_library": LIBRARY, "method": run.method}))?;
    let draws = run.chains.iter().map(Chain::len).min().unwrap_or(0);
    let chains = &run.chains;
    store.variables("posterior", chains.len(), draws, &posterior(run, draws))?;
    store.variables("sample_stats", chains.len(), draws, &sample_stats(chains, draws))?;
    store.finish()?;
    if path.exists() {
        fs::remove_dir_all(path).map_err(failed)?;
    }
    fs::rename(&partial, path).map_err(failed)
}

/// Whether an earlier `write` made the folder, so that it may be replaced.
fn is_ours(path: &Path) -> bool {
    let text = fs::read(path.join(".zattrs")).unwrap_or_default();
    let about: Value = serde_json::from_slice(&text).unwrap_or_default();
    about["creation_library"] == LIBRARY
}

/// The parameters, elements of a vector together.
fn posterior(run: &Run, draws: usize) -> Vec<Variable> {
    let mut groups: Vec<(String, Option<usize>, Vec<usize>)> = Vec::new();
    for (column, name) in run.names.iter().enumerate() {
        let element = name.strip_suffix(']').and_then(|name| name.rsplit_once('['));
        let element = element.and_then(|(stem, index)| Some((stem, index.parse::<usize>().ok()?)));
        match (element, groups.last_mut()) {
            (Some((stem, index)), Some((name, Some(elements), columns)))
                if name == stem && index == *elements =>
            {
                *elements += 1;
                columns.push(column);
            }
            (Some((stem, 0)), _) => groups.push((stem.to_owned(), Some(1), vec![column])),
            _ => groups.push((name.clone(), None, vec![column])),
        }
    }
    let variable = |(name, elements, columns): (String, Option<usize>, Vec<usize>)| {
        let mut bytes = Vec::new();
        for chain in &run.chains {
            for draw in chain.draws.chunks_exact(run.dim().max(1)).take(draws) {
                columns
                    .iter()
                    .for_each(|&column| bytes.extend(draw[column].to_le_bytes()));
            }
        }
        Variable {
            name,
            kind: Kind::Real,
            elements,
            bytes,
        }
    };
    groups.into_iter().map(variable).collect()
}

/// What accompanies the draws, by the names that ArviZ gives it.
fn sample_stats(chains: &[Chain], draws: usize) -> Vec<Variable> {
    let scalar = |name: &str, kind, bytes| Variable {
        name: name.to_owned(),
        kind,
        elements: None,
        bytes,
    };
    let reals = |name: &str, of: &dyn Fn(&Chain, usize) -> f64| {
        let all = chains
            .iter()
            .flat_map(|chain| (0..draws).map(move |draw| (chain, draw)));
        let bytes = all
            .flat_map(|(chain, draw)| of(chain, draw).to_le_bytes())
            .collect();
        scalar(name, Kind::Real, bytes)
    };
    let steps = || chains.iter().flat_map(|chain| chain.steps.iter().take(draws));
    let mut variables = vec![reals("lp", &|chain, draw| chain.log_density[draw])];
    if chains.iter().any(|chain| chain.log_weights.is_some()) {
        let log_weight = |chain: &Chain, draw: usize| chain.log_weights.as_ref().map_or(0.0, |all| all[draw]);
        variables.push(reals("log_weight", &log_weight));
    }
    if steps().count() == chains.len() * draws && draws > 0 {
        variables.push(reals("acceptance_rate", &|chain, draw| {
            chain.steps[draw].acceptance
        }));
        let diverging = steps().map(|step| u8::from(step.diverged)).collect();
        variables.push(scalar("diverging", Kind::Truth, diverging));
        let evaluations = steps().flat_map(|step| i64::from(step.evaluations).to_le_bytes());
        variables.push(scalar("n_steps", Kind::Whole, evaluations.collect()));
        if steps().all(|step| step.energy.is_some()) {
            let energy = |chain: &Chain, draw: usize| chain.steps[draw].energy.unwrap_or(f64::NAN);
            variables.push(reals("energy", &energy));
        }
        if chains.iter().all(|chain| chain.step_size.is_some()) {
            let step_size = |chain: &Chain, _| chain.step_size.unwrap_or(f64::NAN);
            variables.push(reals("step_size", &step_size));
        }
    }
    variables
}

/// A folder of arrays that remembers what it holds, for the summary that spares readers a walk through it.
struct Store {
    root: PathBuf,
    metadata: Map<String, Value>,
}

impl Store {
    fn new(root: PathBuf) -> Self {
        Self {
            root,
            metadata: Map::new(),
        }
    }

    /// Writes a JSON document at `key`, a path within the folder.
    fn document(&mut self, folder: &str, name: &str, value: Value) -> Result<(), SampleError> {
        let folder_path = self.root.join(folder);
        fs::create_dir_all(&folder_path).map_err(|error| file_error(&folder_path, &error))?;
        write_whole(&folder_path.join(name), value.to_string().as_bytes())?;
        let key = if folder.is_empty() {
            name.to_owned()
        } else {
            format!("{folder}/{name}")
        };
        self.metadata.insert(key, value);
        Ok(())
    }

    fn group(&mut self, folder: &str, attributes: &Value) -> Result<(), SampleError> {
        self.document(folder, ".zgroup", json!({"zarr_format": 2}))?;
        self.document(folder, ".zattrs", attributes.clone())
    }

    fn array(
        &mut self,
        folder: &str,
        kind: Kind,
        shape: &[usize],
        dimensions: &[String],
        bytes: &[u8],
    ) -> Result<(), SampleError> {
        // A chunk has no side of zero, even where the array has.
        let chunk: Vec<usize> = shape.iter().map(|&side| side.max(1)).collect();
        let array = json!({
            "zarr_format": 2, "shape": shape, "chunks": chunk, "dtype": kind.dtype(), "order": "C",
            "compressor": null, "fill_value": null, "filters": null,
        });
        self.document(folder, ".zarray", array)?;
        self.document(folder, ".zattrs", json!({"_ARRAY_DIMENSIONS": dimensions}))?;
        if bytes.is_empty() {
            return Ok(());
        }
        let key = vec!["0"; shape.len()].join(".");
        write_whole(&self.root.join(folder).join(key), bytes)
    }

    /// A group of variables with the coordinates that number their chains, draws and elements.
    fn variables(
        &mut self,
        group: &str,
        chains: usize,
        draws: usize,
        variables: &[Variable],
    ) -> Result<(), SampleError> {
        self.group(group, &json!({"created_by": "armilla"}))?;
        let count = |name: &str, length: usize, store: &mut Self| {
            let numbers: Vec<u8> = (0..length as i64).flat_map(i64::to_le_bytes).collect();
            let folder = format!("{group}/{name}");
            store.array(&folder, Kind::Whole, &[length], &[name.to_owned()], &numbers)
        };
        count("chain", chains, self)?;
        count("draw", draws, self)?;
        for variable in variables {
            let (mut shape, mut dimensions) =
                (vec![chains, draws], vec!["chain".to_owned(), "draw".to_owned()]);
            if let Some(elements) = variable.elements {
                let dimension = format!("{}_dim_0", variable.name);
                count(&dimension, elements, self)?;
                shape.push(elements);
                dimensions.push(dimension);
            }
            // A slash would make a folder of its own.
            let folder = format!("{group}/{}", variable.name.replace('/', "_"));
            self.array(&folder, variable.kind, &shape, &dimensions, &variable.bytes)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), SampleError> {
        let all = json!({"zarr_consolidated_format": 1, "metadata": self.metadata});
        write_whole(&self.root.join(".zmetadata"), all.to_string().as_bytes())
    }
}

/// Reads such a folder: `posterior`, and of `sample_stats` what a run holds. Arrays that were compressed or cut
/// into several chunks by another program are refused.
///
/// # Errors
/// `SampleError::File` where something is missing, or is not as this module writes it.
pub fn read(path: &Path) -> Result<Run, SampleError> {
    let posterior = path.join("posterior");
    let entries = fs::read_dir(&posterior).map_err(|error| file_error(&posterior, &error))?;
    let mut arrays = Vec::new();
    for entry in entries {
        let folder = entry.map_err(|error| file_error(&posterior, &error))?.path();
        if folder.is_dir() {
            let name = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let array = Array::read(&folder)?;
            if array.shape.len() > 1 {
                arrays.push((name, array));
            }
        }
    }
    // A folder has no order of its own.
    arrays.sort_by(|a, b| a.0.cmp(&b.0));
    let Some((chains, draws)) = arrays.first().map(|(_, array)| (array.shape[0], array.shape[1])) else {
        return Err(invalid(&posterior, "there is no parameter"));
    };
    let mut names = Vec::new();
    for (name, array) in &arrays {
        if array.shape[..2] != [chains, draws] || array.shape.len() > 3 {
            return Err(invalid(
                &posterior,
                format!("{name} has the shape {:?}", array.shape),
            ));
        }
        match array.shape.get(2) {
            Some(&elements) => names.extend((0..elements).map(|index| format!("{name}[{index}]"))),
            None => names.push(name.clone()),
        }
    }
    let statistic = |name: &str| -> Result<Option<Vec<f64>>, SampleError> {
        let folder = path.join("sample_stats").join(name);
        let array = folder.exists().then(|| Array::read(&folder)).transpose()?;
        Ok(array
            .filter(|array| array.shape == [chains, draws])
            .map(|array| array.numbers))
    };
    let lp = statistic("lp")?.unwrap_or_else(|| vec![f64::NAN; chains * draws]);
    let (log_weight, acceptance) = (statistic("log_weight")?, statistic("acceptance_rate")?);
    let (diverging, evaluations) = (statistic("diverging")?, statistic("n_steps")?);
    let (energy, step_size) = (statistic("energy")?, statistic("step_size")?);
    let chain = |chain: usize| {
        let part = |all: &Vec<f64>| all[chain * draws..(chain + 1) * draws].to_vec();
        let mut result = Chain {
            log_density: part(&lp),
            log_weights: log_weight.as_ref().map(part),
            step_size: step_size.as_ref().and_then(|all| all.get(chain * draws).copied()),
            ..Chain::default()
        };
        for at in chain * draws..(chain + 1) * draws {
            for (_, array) in &arrays {
                let elements = array.shape.get(2).copied().unwrap_or(1);
                result
                    .draws
                    .extend_from_slice(&array.numbers[at * elements..(at + 1) * elements]);
            }
            if let Some(acceptance) = &acceptance {
                result.steps.push(Step {
                    acceptance: acceptance[at],
                    diverged: diverging.as_ref().is_some_and(|all| all[at] != 0.0),
                    energy: energy.as_ref().map(|all| all[at]),
                    evaluations: evaluations.as_ref().map_or(0, |all| all[at] as u32),
                });
            }
        }
        result
    };
    Ok(run_of_draws(path, names, (0..chains).map(chain).collect()))
}

/// An array as numbers, whatever its kind.
struct Array {
    shape: Vec<usize>,
    numbers: Vec<f64>,
}

impl Array {
    fn read(folder: &Path) -> Result<Self, SampleError> {
        let path = folder.join(".zarray");
        let text = super::read_text(&path)?;
        let about: Value = serde_json::from_str(&text).map_err(|error| invalid(&path, error))?;
        let sides = |key: &str| -> Option<Vec<usize>> {
            let sides = about[key].as_array()?.iter();
            sides.map(|side| usize::try_from(side.as_u64()?).ok()).collect()
        };
        let shape = sides("shape").ok_or_else(|| invalid(&path, "it has no shape"))?;
        let whole = shape.iter().map(|&side| side.max(1)).collect::<Vec<_>>();
        if !about["compressor"].is_null() || sides("chunks") != Some(whole) {
            return Err(invalid(
                &path,
                "the array is compressed or in several chunks: write it without",
            ));
        }
        let kind = [Kind::Real, Kind::Whole, Kind::Truth]
            .into_iter()
            .find(|kind| about["dtype"] == kind.dtype());
        let kind = kind.ok_or_else(|| invalid(&path, format!("numbers of the kind {}", about["dtype"])))?;
        let length: usize = shape.iter().product();
        let chunk = folder.join(vec!["0"; shape.len()].join("."));
        let bytes = if length == 0 {
            Vec::new()
        } else {
            fs::read(&chunk).map_err(|error| file_error(&chunk, &error))?
        };
        let numbers: Vec<f64> = match kind {
            Kind::Truth => bytes.iter().map(|&byte| f64::from(byte)).collect(),
            // `as_chunks` leaves out what is no whole number; the length below finds that.
            Kind::Real => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&eight| f64::from_le_bytes(eight))
                .collect(),
            Kind::Whole => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&eight| i64::from_le_bytes(eight) as f64)
                .collect(),
        };
        if numbers.len() != length {
            return Err(invalid(
                &chunk,
                format!("{} numbers, not {length}: it was cut short", numbers.len()),
            ));
        }
        Ok(Self { shape, numbers })
    }
}
