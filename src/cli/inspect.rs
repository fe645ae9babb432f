//! List what a file holds.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::write_json;
use crate::Result;
use crate::data::hdf5::{Attributes, DatasetInfo, GroupInfo, Hdf5File};

/// List the datasets of an HDF5 file: path, shape and element type.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla inspect maps.h5                 one line per dataset: maps (30, 64, 64) f32\n  \
    armilla inspect --verbose snap_033.hdf5 also chunks, filters, groups and attributes\n  \
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

impl Inspect {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
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
