//! Measure the spectra and pixel distributions of files of fields, and compare them.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::data::{FieldFile, MapPaths, Scheme};
use crate::stats::{PixelDistribution, ReducedChiSquared, SpectrumEstimator, reduced_chi_squared};
use crate::{Error, Result};

/// Pixels that are read at once: 128 MB.
const AT_ONCE: usize = 1 << 24;
/// Bins of the pixel distribution, and where they end: in decades about the mean for densities, in δ for contrasts.
const BINS: usize = 80;
const DECADES: f64 = 2.0;
const CONTRAST: f64 = 4.0;

/// Where the fields are, and how they are measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpectraSettings {
    /// The dataset; `maps` or `grids` where it is not given, or the only one that can be meant.
    pub dataset: Option<String>,
    /// The side of the box in Mpc/h; the attribute `box_size` where it is not given.
    pub box_size: Option<f64>,
    /// The mass assignment whose window is undone.
    pub corrected: Option<Scheme>,
}

/// The fields of one file.
#[derive(Debug, Clone, Serialize)]
pub struct FieldSpectra {
    /// The file.
    pub file: PathBuf,
    /// The dataset in it.
    pub dataset: String,
    /// How many fields.
    pub fields: usize,
    /// 2 for maps, 3 for grids.
    pub dimension: usize,
    /// Values along a side.
    pub size: usize,
    /// The side in Mpc/h.
    pub box_size: f64,
    /// Whether values are densities, and were divided by the mean of their field; else they are contrasts already.
    pub density: bool,
    /// The mean |k| of each ring in h/Mpc.
    pub wavenumbers: Vec<f64>,
    /// The modes in each ring.
    pub modes: Vec<usize>,
    /// The mean over fields of the power, in (Mpc/h)² or (Mpc/h)³.
    pub power: Vec<f64>,
    /// Its standard deviation over fields; none for one field.
    pub deviation: Option<Vec<f64>>,
    /// The distribution of log₁₀ ρ/ρ̄ for densities, of δ for contrasts.
    pub pixels: PixelDistribution,
    /// The power of each field, row after row.
    #[serde(skip)]
    pub each: Vec<f64>,
}

/// How a second file differs from a first one.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The second file.
    pub file: PathBuf,
    /// Its mean power divided by that of the first.
    pub ratio: Vec<f64>,
    /// The mean of r = P_ab/√(P_a P_b) over pairs of fields, where both files have the same number.
    pub correlation: Option<Vec<f64>>,
    /// The mean of T = √(P_b/P_a) over these.
    pub transfer: Option<Vec<f64>>,
    /// The reduced χ² of each spectrum of the second file under the distribution of those of the first, where that has
    /// four fields at least.
    pub chi_squared: Option<ReducedChiSquared>,
    /// Why it has none although the first file has fields enough.
    pub chi_squared_missing: Option<String>,
}

/// An open file of fields, and how wide they are.
struct Fields {
    file: FieldFile,
    box_size: f64,
}

impl Fields {
    fn open(path: &Path, settings: &SpectraSettings) -> Result<Self> {
        let paths = MapPaths {
            maps: settings.dataset.clone(),
            params: None,
        };
        let file = FieldFile::open_or_one(path, &paths)?;
        let fail = |what: String| Err(Error::file(path, what));
        if file.len() == 0 || file.shape()[0] < 2 {
            return fail(format!(
                "there is nothing to measure in {} fields of the shape {:?}",
                file.len(),
                file.shape()
            ));
        }
        let Some(box_size) = settings.box_size.or_else(|| file.box_size()) else {
            return fail("it does not say how wide the box is; give --box LENGTH in Mpc/h".to_owned());
        };
        Ok(Self { file, box_size })
    }

    fn count(&self) -> usize {
        self.file.len()
    }

    /// Values along a side.
    fn size(&self) -> usize {
        self.file.shape()[0]
    }

    fn values(&self) -> usize {
        self.file.shape().iter().product()
    }

    /// Fields that are read at once.
    fn step(&self) -> usize {
        (AT_ONCE / self.values()).max(1)
    }

    fn read(&self, first: usize) -> Result<Vec<f64>> {
        self.file
            .read_range(first..(first + self.step()).min(self.count()))
    }

    fn estimator(&self, settings: &SpectraSettings) -> Result<SpectrumEstimator> {
        let estimator = SpectrumEstimator::new(self.size(), self.box_size)?;
        Ok(match settings.corrected {
            Some(scheme) => estimator.corrected(scheme),
            None => estimator,
        })
    }

    /// Whether no value of any field is negative: densities, then.
    fn is_density(&self) -> Result<bool> {
        for first in (0..self.count()).step_by(self.step()) {
            if self.read(first)?.iter().any(|&x| x < 0.0) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// δ of a field: density / mean − 1, or the contrast itself.
fn contrast(field: &mut [f64], density: bool) -> Result<()> {
    if density {
        let mean = field.iter().sum::<f64>() / field.len() as f64;
        if !(mean > 0.0 && mean.is_finite()) {
            return Err(Error::Invalid(format!(
                "a field has the mean {mean}: it has no contrast"
            )));
        }
        field.iter_mut().for_each(|x| *x = *x / mean - 1.0);
    }
    Ok(())
}

/// Measures the fields of the file at `path`, a part of them at a time; `progress` hears how many more are done.
///
/// # Errors
///
/// A file without fields, one that does not say how wide its box is, and values that are not finite.
pub fn spectra(
    path: impl AsRef<Path>,
    settings: &SpectraSettings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<FieldSpectra> {
    let path = path.as_ref();
    let fields = Fields::open(path, settings)?;
    let estimator = fields.estimator(settings)?;
    let density = fields.is_density()?;
    let reach = if density { DECADES } else { CONTRAST };
    let edges: Vec<f64> = (0..=BINS)
        .map(|i| reach * (2.0 * i as f64 / BINS as f64 - 1.0))
        .collect();
    let count = fields.count();
    let share = 1.0 / count as f64;
    let mut pixels = PixelDistribution {
        density: vec![0.0; BINS],
        below: 0.0,
        above: 0.0,
        edges: edges.clone(),
    };
    let (mut each, mut rings) = (Vec::new(), None);
    for first in (0..count).step_by(fields.step()) {
        let mut values = fields.read(first)?;
        let one = |field: &mut [f64]| {
            contrast(field, density)?;
            let spectrum = estimator.power(field)?;
            if density {
                // An empty pixel is below every bin.
                field.iter_mut().for_each(|x| *x = (*x + 1.0).log10());
            }
            let pixels = PixelDistribution::new(field, &edges)?;
            progress(1);
            Ok((spectrum, pixels))
        };
        let measured = values.par_chunks_exact_mut(fields.values()).map(one);
        let measured: Result<Vec<_>> = measured.collect();
        for (spectrum, its) in measured.map_err(|e: Error| Error::file(path, e))? {
            each.extend_from_slice(&spectrum.power);
            rings.get_or_insert((spectrum.wavenumbers, spectrum.modes));
            for (sum, density) in pixels.density.iter_mut().zip(its.density) {
                *sum += share * density;
            }
            pixels.below += share * its.below;
            pixels.above += share * its.above;
        }
    }
    // There is a field at least.
    let (wavenumbers, modes) = rings.unwrap_or_default();
    let bins = modes.len();
    let mean_of = |of: &dyn Fn(&[f64]) -> f64| each.chunks_exact(bins).map(of).sum::<f64>() * share;
    let power: Vec<f64> = (0..bins).map(|i| mean_of(&|power| power[i])).collect();
    let deviation = (count > 1).then(|| {
        let square = |i: usize| mean_of(&|own| (own[i] - power[i]).powi(2));
        let of_rest = count as f64 / (count as f64 - 1.0);
        (0..bins).map(|i| (square(i) * of_rest).sqrt()).collect()
    });
    Ok(FieldSpectra {
        file: path.to_owned(),
        dataset: fields.file.dataset().to_owned(),
        fields: count,
        dimension: fields.file.shape().len(),
        size: fields.size(),
        box_size: fields.box_size,
        density,
        wavenumbers,
        modes,
        power,
        deviation,
        pixels,
        each,
    })
}

/// Compares the fields of a second file with those of a first.
///
/// # Errors
///
/// Fields of another kind or size, and what cannot be read.
pub fn compare(
    first: &FieldSpectra,
    second: &FieldSpectra,
    settings: &SpectraSettings,
) -> Result<Comparison> {
    let shape = |s: &FieldSpectra| (s.dimension, s.size);
    if shape(first) != shape(second) || (first.box_size / second.box_size - 1.0).abs() > 1e-6 {
        let text = |s: &FieldSpectra| {
            format!(
                "{} values along a side of {} Mpc/h in {} dimensions",
                s.size, s.box_size, s.dimension
            )
        };
        return Err(Error::file(
            &second.file,
            format!(
                "its fields have {}, those of {} {}",
                text(second),
                first.file.display(),
                text(first)
            ),
        ));
    }
    let bins = first.power.len();
    let ratio = second
        .power
        .iter()
        .zip(&first.power)
        .map(|(b, a)| b / a)
        .collect();
    let (mut correlation, mut transfer) = (None, None);
    if first.fields == second.fields {
        let (a, b) = (
            Fields::open(&first.file, settings)?,
            Fields::open(&second.file, settings)?,
        );
        let estimator = a.estimator(settings)?;
        let (mut r, mut t) = (vec![0.0; bins], vec![0.0; bins]);
        for start in (0..a.count()).step_by(a.step()) {
            let (mut left, mut right) = (a.read(start)?, b.read(start)?);
            let one = |(left, right): (&mut [f64], &mut [f64])| {
                contrast(left, first.density)?;
                contrast(right, second.density)?;
                estimator.cross(left, right)
            };
            let measured = left
                .par_chunks_exact_mut(a.values())
                .zip(right.par_chunks_exact_mut(a.values()));
            let measured: Vec<_> = measured.map(one).collect::<Result<_>>()?;
            for cross in measured {
                for (sum, value) in r.iter_mut().zip(cross.correlation()) {
                    *sum += value / a.count() as f64;
                }
                for (sum, value) in t.iter_mut().zip(cross.transfer()) {
                    *sum += value / a.count() as f64;
                }
            }
        }
        (correlation, transfer) = (Some(r), Some(t));
    }
    // What else is known of the files is worth showing without it.
    let (chi_squared, chi_squared_missing) = if first.fields < 4 {
        (None, None)
    } else {
        match reduced_chi_squared(&second.each, &first.each, bins) {
            Ok(chi) => (Some(chi), None),
            Err(e) => (None, Some(e.to_string())),
        }
    };
    Ok(Comparison {
        file: second.file.clone(),
        ratio,
        correlation,
        transfer,
        chi_squared,
        chi_squared_missing,
    })
}

impl FieldSpectra {
    /// Its fields, for the message of an error or a line of a table.
    pub fn describe(&self) -> String {
        let (count, size) = (self.fields, self.size);
        let kind = match (self.dimension, count) {
            (2, 1) => format!("map of {size}×{size}"),
            (2, _) => format!("maps of {size}×{size}"),
            (_, 1) => format!("grid of {size}×{size}×{size}"),
            _ => format!("grids of {size}×{size}×{size}"),
        };
        format!("{count} {kind}, {} Mpc/h wide", self.box_size)
    }
}
