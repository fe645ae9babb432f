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
use crate::{Error, Result};

/// List the datasets of an HDF5 file, or the tensors of a safetensors file and the network that they belong to.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla inspect maps.h5                 one line per dataset: maps (30, 64, 64) f32\n  \
    armilla inspect --verbose snap_033.hdf5 also chunks, filters, groups and attributes\n  \
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
