//! List what a file holds.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use armilla_models::checkpoint::{Checkpoint, TensorInfo};
use armilla_models::nets::Architecture;
use clap::Args;
use serde::Serialize;

use super::write_json;
use crate::data::hdf5::{Attributes, DatasetInfo, GroupInfo, Hdf5File};
use crate::data::{CamelsName, FieldFile, MapPaths, NpyFile, ParameterTable, read_info};
use crate::{Error, Result};

/// List what a file holds: the datasets of HDF5, an array or CAMELS file of NumPy, a table of parameters, or the tensors of
/// safetensors and the network that they belong to.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla inspect maps.h5                 one line per dataset: maps (30, 64, 64) f32\n  \
    armilla inspect --verbose snap_033.hdf5 also chunks, filters, groups and attributes\n  \
    armilla inspect Maps_T_SIMBA_LH_z=0.00.npy   shape, field, unit, suite, set and parameters\n  \
    armilla inspect params_LH_SIMBA.txt     simulations, parameters and their ranges\n  \
    armilla inspect unet.safetensors        one line per tensor, their total, and the network\n  \
    armilla inspect --json maps.h5          everything, for programs\n\n\
    Only headers are read, so that a file larger than memory is listed at once.\n\
    Shapes are slowest axis first; numbers are little-endian unless it says otherwise.")]
pub(super) struct Inspect {
    /// The file to look into.
    file: PathBuf,
    /// Also show chunks, filters, groups and attributes.
    #[arg(short, long, conflicts_with = "json")]
    verbose: bool,
    /// Print everything as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    datasets: Vec<DatasetInfo>,
    groups: Vec<GroupInfo>,
}

#[derive(Serialize)]
struct CheckpointReport<'a> {
    file: &'a Path,
    tensors: &'a [TensorInfo],
    metadata: &'a BTreeMap<String, String>,
    /// Learnt numbers of the network, or of all tensors where it is not known.
    parameters: usize,
    network: Option<&'a Architecture>,
}

impl Inspect {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
        if self.file.extension().is_some_and(|e| e == "safetensors") {
            return self.checkpoint(out);
        }
        if self.file.extension().is_some_and(|e| e == "npy") {
            return self.array(out);
        }
        if self.file.extension().is_some_and(|e| e == "txt" || e == "csv") {
            return self.table(out);
        }
        let file = Hdf5File::open(&self.file)?;
        let datasets = file.datasets()?;
        if self.json {
            let report = Report {
                file: self.file.clone(),
                datasets,
                groups: file.groups()?,
            };
            return write_json(out, &report);
        }
        for dataset in &datasets {
            if self.verbose {
                writeln!(out, "{dataset}{}", storage(dataset))?;
                write_attributes(out, &dataset.attributes)?;
            } else {
                writeln!(out, "{dataset}")?;
            }
        }
        if self.verbose {
            for group in file.groups()?.iter().filter(|g| !g.attributes.is_empty()) {
                writeln!(out, "{}/", group.path.escape_default())?;
                write_attributes(out, &group.attributes)?;
            }
        }
        Ok(())
    }
}

impl Inspect {
    fn array(&self, out: &mut dyn Write) -> Result<()> {
        let file = NpyFile::open(&self.file)?;
        let camels = CamelsName::parse(&self.file);
        // What is no map is still an array.
        let fields = match &camels {
            Some(_) => Some(FieldFile::open(&self.file, &MapPaths::default())?),
            None => None,
        };
        let unit = camels.as_ref().and_then(CamelsName::unit);
        let quantity = camels.as_ref().and_then(CamelsName::quantity);
        let parameters = match &fields {
            Some(fields) => fields.parameters(&MapPaths::default())?,
            None => None,
        };
        let names = parameters
            .as_ref()
            .map(|p| p.names.as_slice())
            .unwrap_or_default();
        let simulations = parameters.as_ref().map(|p| p.values.len() / p.names.len());
        if self.json {
            let report = serde_json::json!({
                "file": self.file,
                "shape": file.shape(),
                "dtype": file.dtype(),
                "field": camels.as_ref().map(|c| &c.field),
                "quantity": quantity,
                "unit": unit,
                "suite": camels.as_ref().map(|c| &c.suite),
                "set": camels.as_ref().map(|c| &c.set),
                "redshift": camels.as_ref().map(|c| c.redshift),
                "fields_per_simulation": camels.as_ref().map(CamelsName::fields_per_simulation),
                "simulations": simulations,
                "parameters": names,
            });
            return write_json(out, &report);
        }
        let shape: Vec<String> = file.shape().iter().map(usize::to_string).collect();
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        writeln!(
            out,
            "{} ({}) {}",
            name.escape_debug(),
            shape.join(", "),
            file.dtype()
        )?;
        let Some(camels) = camels else { return Ok(()) };
        let unit = match unit {
            None => String::new(),
            Some("") => " (a ratio)".into(),
            Some(unit) => format!(" in {unit}"),
        };
        writeln!(
            out,
            "{}{unit}; suite {}, set {}, z = {}; {} of each simulation",
            quantity.unwrap_or(&camels.field),
            camels.suite,
            camels.set,
            camels.redshift,
            camels.fields_per_simulation()
        )?;
        match (&parameters, simulations) {
            (Some(parameters), Some(simulations)) => writeln!(
                out,
                "{simulations} simulations in {}: {}",
                parameters.place,
                names.join(", ")
            )?,
            _ => writeln!(
                out,
                "no table of parameters beside it ({})",
                camels.table_names()[..3].join(", ")
            )?,
        }
        Ok(())
    }

    fn table(&self, out: &mut dyn Write) -> Result<()> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("Info_") {
            let info = read_info(&self.file)?;
            if self.json {
                return write_json(out, &info);
            }
            for p in info {
                let log = if p.logarithmic {
                    ", sampled in the logarithm"
                } else {
                    ""
                };
                writeln!(
                    out,
                    "{:12} {} to {}, fiducial {}{log}: {}",
                    p.name.escape_debug().to_string(),
                    p.low,
                    p.high,
                    p.fiducial,
                    p.description.escape_debug()
                )?;
            }
            return Ok(());
        }
        let table = ParameterTable::read(&self.file)?;
        let columns = table.names().len();
        let range = |i: usize| {
            let column = || table.values().iter().skip(i).step_by(columns).copied();
            let (low, high) = (
                column().fold(f64::INFINITY, f64::min),
                column().fold(f64::NEG_INFINITY, f64::max),
            );
            (low, high)
        };
        if self.json {
            let ranges: Vec<_> = (0..columns).map(range).collect();
            let report = serde_json::json!({
                "file": self.file,
                "simulations": table.rows(),
                "names": table.simulations(),
                "parameters": table.names(),
                "ranges": ranges,
            });
            return write_json(out, &report);
        }
        let named = match table.simulations() {
            Some([first, .., last]) => format!(", {} to {}", first.escape_debug(), last.escape_debug()),
            Some([one]) => format!(", {}", one.escape_debug()),
            _ => String::new(),
        };
        writeln!(out, "{} simulations{named}; {columns} parameters", table.rows())?;
        for (i, name) in table.names().iter().enumerate() {
            let (low, high) = range(i);
            let values = if low == high {
                format!("{low}")
            } else {
                format!("{low} to {high}")
            };
            writeln!(out, "{:12} {values}", name.escape_debug().to_string())?;
        }
        Ok(())
    }

    fn checkpoint(&self, out: &mut dyn Write) -> Result<()> {
        let checkpoint = Checkpoint::from_pytorch(&self.file)?;
        let network = checkpoint.architecture();
        let parameters = checkpoint.parameters();
        if self.json {
            let report = CheckpointReport {
                file: &self.file,
                tensors: checkpoint.tensors(),
                metadata: checkpoint.metadata(),
                parameters,
                network,
            };
            return write_json(out, &report);
        }
        let width = checkpoint.tensors().iter().map(|t| t.name.chars().count()).max();
        let width = width.unwrap_or(0).min(60);
        for tensor in checkpoint.tensors() {
            let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            let shape = format!("({})", shape.join(", "));
            let (name, dtype) = (
                tensor.name.escape_default().to_string(),
                tensor.dtype.to_lowercase(),
            );
            writeln!(
                out,
                "{name:width$}  {dtype:>4}  {shape:20}  {:>12}",
                grouped(tensor.count())
            )?;
        }
        if self.verbose {
            for (key, value) in checkpoint.metadata() {
                writeln!(out, "{} = {}", key.escape_default(), value.escape_default())?;
            }
        }
        writeln!(
            out,
            "{} tensors, {} numbers",
            checkpoint.tensors().len(),
            grouped(checkpoint.tensors().iter().map(TensorInfo::count).sum())
        )?;
        match network {
            Some(network) => {
                let sizes = serde_json::to_value(network).map_err(|e| Error::Invalid(e.to_string()))?;
                let sizes = sizes
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(key, _)| *key != "network");
                let sizes: Vec<String> = sizes.map(|(key, value)| format!("{key} {value}")).collect();
                writeln!(out, "{}: {} parameters", network.name(), grouped(parameters))?;
                writeln!(out, "{}", sizes.join(", "))?;
            }
            None => writeln!(
                out,
                "no network known here ({}): {} parameters",
                Architecture::NAMES.join(", "),
                grouped(parameters)
            )?,
        }
        Ok(())
    }
}

/// 31265503 as 31,265,503.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn storage(dataset: &DatasetInfo) -> String {
    let mut text = String::new();
    if let Some(chunks) = &dataset.chunks {
        let chunks: Vec<String> = chunks.iter().map(u64::to_string).collect();
        text += &format!("  chunks ({})", chunks.join(", "));
    }
    if !dataset.filters.is_empty() {
        let name = |f: &crate::data::hdf5::Filter| match &f.name {
            Some(name) => name.clone(),
            None => format!("filter {}", f.id),
        };
        let names: Vec<String> = dataset.filters.iter().map(name).collect();
        text += &format!("  {}", names.join(" + "));
    }
    text
}

fn write_attributes(out: &mut dyn Write, attributes: &Attributes) -> Result<()> {
    for (name, value) in attributes {
        writeln!(out, "  {} = {value}", name.escape_default())?;
    }
    Ok(())
}
