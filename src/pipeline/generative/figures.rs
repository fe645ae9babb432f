//! Draw what a model generates while it is trained, beside maps that it was not shown.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plot::{FieldPanel, Fields, Spectra, SpectrumCurve, fields, spectra};
use crate::stats::{SpectrumEstimator, density_contrast};
use crate::{Error, Result};

/// The folder of the pictures in a run.
pub(super) const FOLDER: &str = "figs";
/// How the pictures of an epoch are called, before its number.
const NAMES: [&str; 2] = ["samples_epoch_", "power_spectrum_epoch_"];

/// Which pictures are drawn during a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FigureSettings {
    /// Epochs between pictures; 0 for none.
    pub every: usize,
    /// Validation maps that are compared with generated ones.
    pub maps: usize,
    /// Steps of the solver, where the model needs any: fewer than for a good map.
    pub steps: usize,
    /// The side of the maps in Mpc/h, where the data do not say it: spectra need it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub box_size: Option<f64>,
}

impl Default for FigureSettings {
    fn default() -> Self {
        Self {
            every: 10,
            maps: 16,
            steps: 20,
            box_size: None,
        }
    }
}

/// More maps than this do not fit into a row.
const IN_ROW: usize = 4;

/// Maps and what is generated at their parameters.
pub(super) struct Comparison<'a> {
    /// The maps, one after the other.
    pub simulated: &'a [f32],
    /// As many generated ones.
    pub generated: &'a [f32],
    /// Pixels along a side.
    pub side: usize,
    /// How many maps follow each other at the same parameters.
    pub each: usize,
    /// A title for each of these.
    pub titles: &'a [String],
    /// Their side in Mpc/h, where it is known.
    pub box_size: Option<f64>,
    /// What the colours mean.
    pub label: &'a str,
}

/// The picture `name` of an epoch.
fn place(folder: &Path, name: &str, epoch: usize) -> PathBuf {
    folder.join(format!("{name}{epoch:04}.png"))
}

/// Removes the pictures of an earlier training in `folder`.
pub(super) fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if NAMES.iter().any(|ours| name.starts_with(ours)) {
            // One that cannot be removed is overwritten, or stays as a picture of another training.
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Comparison<'_> {
    /// Draw both pictures of `epoch`.
    ///
    /// # Errors
    ///
    /// Pixels that are not finite, and files that cannot be written.
    pub fn draw(&self, folder: &Path, epoch: usize) -> Result<()> {
        fs::create_dir_all(folder)
            .map_err(|e| Error::file(folder, format!("the folder cannot be made: {e}")))?;
        if let Some(i) = self.generated.iter().position(|x| !x.is_finite()) {
            return Err(Error::Invalid(format!(
                "a generated pixel is {}",
                self.generated[i]
            )));
        }
        self.samples(&place(folder, NAMES[0], epoch))?;
        self.spectra(&place(folder, NAMES[1], epoch))
    }

    /// A row of maps at different parameters, and below each a generated one.
    fn samples(&self, path: &Path) -> Result<()> {
        let pixels = self.side * self.side;
        let shown = self.titles.len().min(IN_ROW);
        let row = |maps: &'_ [f32], kind: &str| -> Vec<(String, Vec<f32>)> {
            let each = maps
                .chunks_exact(pixels)
                .step_by(self.each)
                .zip(self.titles)
                .take(shown);
            each.map(|(map, title)| (format!("{kind}, {title}"), map.to_vec()))
                .collect()
        };
        let rows = [row(self.simulated, "simulated"), row(self.generated, "generated")].concat();
        let panels: Vec<FieldPanel<'_>> = rows
            .iter()
            .map(|(title, map)| FieldPanel { title, map })
            .collect();
        let plot = Fields {
            panels: &panels,
            side: self.side,
            box_size: self.box_size,
            label: self.label,
        };
        fields(&plot, path)
    }

    /// The mean power of both.
    fn spectra(&self, path: &Path) -> Result<()> {
        let Some(box_size) = self.box_size else {
            return Err(Error::Invalid(
                "the data do not say how wide a map is, which a spectrum needs: set figures.box_size"
                    .to_owned(),
            ));
        };
        let estimator = SpectrumEstimator::new(self.side, box_size)?;
        let density = self.simulated.iter().all(|x| *x >= 0.0);
        let simulated = power(&estimator, self.simulated, self.side, density)?;
        let generated = power(&estimator, self.generated, self.side, density)?;
        let curves = [simulated.curve("simulated"), generated.curve("generated")];
        spectra(
            &Spectra {
                curves: &curves,
                dimension: 2,
            },
            path,
        )
    }
}

/// Mean and scatter of the power of maps.
struct Power {
    wavenumbers: Vec<f64>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Power {
    fn curve<'a>(&'a self, label: &'a str) -> SpectrumCurve<'a> {
        SpectrumCurve {
            label,
            wavenumbers: &self.wavenumbers,
            power: &self.mean,
            deviation: Some(&self.deviation),
        }
    }
}

fn power(estimator: &SpectrumEstimator, maps: &[f32], side: usize, density: bool) -> Result<Power> {
    let mut wavenumbers = Vec::new();
    let (mut sum, mut squares, mut count) = (Vec::new(), Vec::new(), 0.0);
    for map in maps.chunks_exact(side * side) {
        let map: Vec<f64> = map.iter().copied().map(f64::from).collect();
        let contrast = if density { density_contrast(&map)? } else { map };
        let spectrum = estimator.power(&contrast)?;
        sum.resize(spectrum.power.len(), 0.0);
        squares.resize(spectrum.power.len(), 0.0);
        for ((sum, square), p) in sum.iter_mut().zip(&mut squares).zip(&spectrum.power) {
            *sum += p;
            *square += p * p;
        }
        wavenumbers = spectrum.wavenumbers;
        count += 1.0;
    }
    let mean: Vec<f64> = sum.iter().map(|s| s / count).collect();
    let deviation = squares.iter().zip(&mean);
    Ok(Power {
        wavenumbers,
        deviation: deviation
            .map(|(s, m)| (s / count - m * m).max(0.0).sqrt())
            .collect(),
        mean,
    })
}
