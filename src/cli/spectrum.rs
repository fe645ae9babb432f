//! Measure the spectra of files of fields, and compare them.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{progress, write_json};
use crate::data::Scheme;
use crate::pipeline::OutFolder;
use crate::pipeline::spectra::{Comparison, FieldSpectra, SpectraSettings, compare, spectra};
use crate::plot;
use crate::{Error, Result};

/// Measure the power spectra of maps or grids, and compare those of several files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla spectrum maps.h5                               a table: k, modes, P and its scatter over fields\n  \
    armilla spectrum true.h5 generated.h5 --out spectra    also ratios, χ² and a picture\n  \
    armilla spectrum grid.h5 --correct cic                 undo the window of the mass assignment\n  \
    armilla spectrum snapshot_maps.h5 --maps Mcdm --box 25\n\n\
    P(k) = (L/N²)^d ⟨|δ̂|²⟩ of δ = field/mean − 1 in rings of the width k_F = 2π/L, as Pylians' Pk_plane (d = 2) and \
    Pk (d = 3); k in h/Mpc, P in (Mpc/h)^d. Fields with negative values are taken to be δ. Files are compared with \
    the first one: the ratio of mean spectra, the correlation and transfer function of fields in pairs where there are \
    as many, and the reduced χ² of each spectrum, 1 on average where both files are from one distribution. The folder \
    gets spectrum.png and spectrum.json, which also has the distributions of pixels.")]
pub(super) struct Spectrum {
    /// Files of maps (n, N, N) or grids (n, N, N, N).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The dataset [default: maps, grids, or the only one that fits].
    #[arg(long, value_name = "PATH")]
    maps: Option<String>,
    /// The side of the fields in Mpc/h [default: what the file says].
    #[arg(long = "box", value_name = "LENGTH")]
    side: Option<f64>,
    /// Undo the window of this mass assignment.
    #[arg(long, value_enum, value_name = "SCHEME")]
    correct: Option<Scheme>,
    /// A folder for the picture and the numbers.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print everything as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    spectra: Vec<FieldSpectra>,
    comparisons: Vec<Comparison>,
}

impl Spectrum {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
        let settings = SpectraSettings {
            dataset: self.maps.clone(),
            box_size: self.side,
            corrected: self.correct,
        };
        let bar = progress::bar(self.files.len() as u64, "measuring", true);
        let mut measured = Vec::new();
        for file in &self.files {
            measured.push(spectra(file, &settings, &|_| ())?);
            bar.inc(1);
        }
        let others = measured[1..].iter();
        let comparisons = others.map(|other| compare(&measured[0], other, &settings));
        let comparisons: Vec<Comparison> = comparisons.collect::<Result<_>>()?;
        bar.finish_and_clear();
        let report = Report {
            spectra: measured,
            comparisons,
        };
        if let Some(folder) = &self.out {
            let mut folder = OutFolder::create(folder)?;
            report.draw(&folder.file("spectrum.png"))?;
            let path = folder.file("spectrum.json");
            crate::atomic::write_atomically(&path, |file| {
                serde_json::to_writer_pretty(file, &report).map_err(|e| Error::file(&path, e))
            })?;
            folder.keep();
        }
        if self.json {
            return write_json(out, &report);
        }
        report.print(out)
    }
}

impl Report {
    fn print(&self, out: &mut dyn Write) -> Result<()> {
        for (i, file) in self.spectra.iter().enumerate() {
            writeln!(out, "P{}: {}, {}", i + 1, file.file.display(), file.describe())?;
        }
        let first = &self.spectra[0];
        write!(out, "{:>10}{:>9}{:>13}", "k [h/Mpc]", "modes", "P1")?;
        if first.deviation.is_some() {
            write!(out, "{:>13}", "scatter")?;
        }
        for (i, comparison) in self.comparisons.iter().enumerate() {
            write!(out, "{:>13}{:>10}", format!("P{}", i + 2), "/P1")?;
            if comparison.correlation.is_some() {
                write!(out, "{:>9}", "r")?;
            }
        }
        writeln!(out)?;
        for ring in 0..first.power.len() {
            let (k, modes) = (first.wavenumbers[ring], first.modes[ring]);
            write!(out, "{k:>10.5}{modes:>9}{:>13.5e}", first.power[ring])?;
            if let Some(deviation) = &first.deviation {
                write!(out, "{:>13.3e}", deviation[ring])?;
            }
            for (comparison, other) in self.comparisons.iter().zip(&self.spectra[1..]) {
                write!(
                    out,
                    "{:>13.5e}{:>10.4}",
                    other.power[ring], comparison.ratio[ring]
                )?;
                if let Some(correlation) = &comparison.correlation {
                    write!(out, "{:>9.4}", correlation[ring])?;
                }
            }
            writeln!(out)?;
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        for (i, comparison) in self.comparisons.iter().enumerate() {
            if let Some(why) = &comparison.chi_squared_missing {
                writeln!(out, "no reduced χ² of P{} under P1: {why}", i + 2)?;
            }
            if let Some(chi) = &comparison.chi_squared {
                write!(out, "reduced χ² of P{} under P1: ", i + 2)?;
                match &chi.full {
                    Some(full) => write!(out, "{:.3} with the full covariance", mean(full))?,
                    None => write!(out, "too few fields for the full covariance")?,
                }
                writeln!(out, ", {:.3} with its diagonal", mean(&chi.diagonal))?;
            }
        }
        Ok(())
    }

    fn draw(&self, path: &std::path::Path) -> Result<()> {
        let name = |s: &FieldSpectra| {
            s.file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let names: Vec<String> = self.spectra.iter().map(name).collect();
        let curves: Vec<plot::SpectrumCurve<'_>> = self
            .spectra
            .iter()
            .zip(&names)
            .map(|(s, label)| plot::SpectrumCurve {
                label,
                wavenumbers: &s.wavenumbers,
                power: &s.power,
                deviation: s.deviation.as_deref(),
            })
            .collect();
        let first = &self.spectra[0];
        let spectra = plot::Spectra {
            curves: &curves,
            dimension: first.dimension,
        };
        plot::spectra(&spectra, path)
    }
}
