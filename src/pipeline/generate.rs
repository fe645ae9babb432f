//! Draw new maps from a run of any method, and keep them with their parameters.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use armilla_models::DeviceChoice;
use armilla_models::generate::Solver;
use serde::Serialize;

use super::generative::{GenerativeModel, SamplingKeys};
use super::pictures::{both, quantity};
use super::trained::{GENERATION_STEPS, Head, read_description};
use super::{OutFolder, PriorBox, TrainedFlow};
use crate::atomic::cannot_write;
use crate::data::{MapSet, Origin, UnitBox};
use crate::plot::{FieldPanel, Fields, fields};
use crate::suggest::closest;
use crate::{Error, Result};

/// A trained run of any method.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a program holds one
pub enum AnyRun {
    /// A surrogate, whose likelihood is built too.
    Surrogate(TrainedFlow),
    /// A generative model.
    Generative(GenerativeModel),
}

/// What is to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateSettings {
    /// Parameters in physical units, in the order of the run; maps are drawn at each of them.
    pub thetas: Vec<Vec<f64>>,
    /// Maps at each of them.
    pub count: usize,
    /// How; what is left out follows from the run.
    pub sampling: SamplingKeys,
    /// Where the network runs.
    pub device: DeviceChoice,
    /// The only source of randomness.
    pub seed: u64,
}

/// Maps that were drawn, and how.
#[derive(Debug, Clone)]
pub struct GeneratedMaps {
    /// The maps and their parameters.
    pub set: MapSet,
    /// How.
    pub report: GenerateReport,
}

/// How maps were drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GenerateReport {
    /// How the run was trained.
    pub method: String,
    /// The solver; none where maps are drawn exactly.
    pub sampler: Option<String>,
    /// Its steps; none for one that chooses them itself.
    pub steps: Option<usize>,
    /// Guidance.
    pub guidance: Option<f64>,
    /// How often the network was asked about all maps of a parameter vector.
    pub evaluations: usize,
    /// The names of the parameters.
    pub parameters: Vec<String>,
    /// The parameters, in physical units.
    pub thetas: Vec<Vec<f64>>,
    /// Maps at each of them.
    pub count: usize,
    /// The seed.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
}

/// More maps than this are not drawn in one picture.
const SHOWN: usize = 16;

impl AnyRun {
    /// Read the run in the folder `path`.
    ///
    /// # Errors
    ///
    /// A folder that is no run, and what is damaged in it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (model, text) = read_description(path)?;
        let head = Head::of(&text).map_err(|e| Error::file(&model, e))?;
        Ok(match head.method {
            Some(_) => Self::Generative(GenerativeModel::load(path)?),
            None => Self::Surrogate(TrainedFlow::load(path)?),
        })
    }

    /// The parameters and their prior.
    pub fn parameters(&self) -> &PriorBox {
        match self {
            Self::Surrogate(flow) => &flow.card().parameters,
            Self::Generative(model) => &model.card().parameters,
        }
    }

    /// Parameters from text: `0.3,0.8`, or `Omega_m=0.3,sigma_8=0.8` in any order.
    ///
    /// # Errors
    ///
    /// Other than one number for each parameter, names that the run does not have, and values outside its prior.
    pub fn parse_parameters(&self, text: &str) -> Result<Vec<f64>> {
        let names = self.parameters().names();
        let wrong = |what: String| {
            Error::Invalid(format!(
                "the parameters `{text}` {what}: the run takes {}, as numbers in this order or as NAME=VALUE",
                names.join(", ")
            ))
        };
        let mut theta = vec![None; names.len()];
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        for (i, part) in parts.iter().enumerate() {
            let (place, value) = match part.split_once('=') {
                None => (i, *part),
                Some((name, value)) => {
                    let name = name.trim();
                    let place = names.iter().position(|n| n == name);
                    let hint = closest(name, names.iter().map(String::as_str));
                    let hint = hint.map_or(String::new(), |name| format!(" (did you mean `{name}`?)"));
                    (place.ok_or_else(|| wrong(format!("name `{name}`{hint}")))?, value)
                }
            };
            let value: f64 = value
                .trim()
                .parse()
                .map_err(|_| wrong(format!("have `{value}`, which is no number")))?;
            match theta.get_mut(place) {
                Some(slot @ None) => *slot = Some(value),
                Some(Some(_)) => return Err(wrong(format!("give {} twice", names[place]))),
                None => return Err(wrong(format!("are {}", parts.len()))),
            }
        }
        let missing = theta.iter().position(Option::is_none);
        if let Some(missing) = missing {
            return Err(wrong(format!("lack {}", names[missing])));
        }
        let theta: Vec<f64> = theta.into_iter().flatten().collect();
        self.parameters().check(&theta, "the map to generate")?;
        Ok(theta)
    }

    /// Draw new maps.
    ///
    /// # Errors
    ///
    /// Parameters outside the prior, no map, solvers and guidance that the run cannot use, and maps that are not finite.
    pub fn generate(&self, settings: &GenerateSettings) -> Result<GeneratedMaps> {
        let start = Instant::now();
        let GenerateSettings { thetas, count, .. } = settings;
        if *count == 0 || thetas.is_empty() {
            return Err(Error::Invalid(
                "there is no map to generate: the count must be 1 at least".to_owned(),
            ));
        }
        self.check_room(*count, thetas.len())?;
        let (maps, drawn) = match self {
            Self::Surrogate(flow) => surrogate(flow, settings)?,
            Self::Generative(model) => {
                let sampling = model.sampling(&settings.sampling)?;
                let made = model.generate(settings.device, thetas, *count, sampling, settings.seed)?;
                let drawn = Drawn {
                    method: model.card().config.method.name(),
                    sampler: sampling.map(|s| s.solver.to_string()),
                    steps: sampling.filter(|s| s.solver != Solver::Dopri5).map(|s| s.steps),
                    guidance: sampling.map(|s| s.guidance),
                    evaluations: made.evaluations,
                };
                (made.maps, drawn)
            }
        };
        let set = self.set(maps, thetas, drawn.method)?;
        let report = GenerateReport {
            method: drawn.method.to_owned(),
            sampler: drawn.sampler,
            steps: drawn.steps,
            guidance: drawn.guidance,
            evaluations: drawn.evaluations,
            parameters: set.names().to_vec(),
            thetas: thetas.clone(),
            count: *count,
            seed: settings.seed,
            seconds: start.elapsed().as_secs_f64(),
        };
        Ok(GeneratedMaps { set, report })
    }

    /// Looks whether `count` maps at each of `points` points fit into memory.
    fn check_room(&self, count: usize, points: usize) -> Result<()> {
        let side = match self {
            Self::Surrogate(flow) => flow.card().side,
            Self::Generative(model) => model.card().side,
        };
        let pixels = [points, side, side]
            .iter()
            .try_fold(count, |n, m| n.checked_mul(*m));
        if pixels.is_some_and(|pixels| Vec::<f32>::new().try_reserve_exact(pixels).is_ok()) {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{count} maps of {side}×{side} at each of {points} points do not fit into memory: lower the count and draw again with other seeds"
        )))
    }

    /// The maps with all that is known of them.
    fn set(&self, maps: Vec<f32>, thetas: &[Vec<f64>], method: &str) -> Result<MapSet> {
        let (side, origin, unit) = match self {
            Self::Surrogate(flow) => (flow.card().side, &flow.card().origin, &flow.card().unit),
            Self::Generative(model) => (model.card().side, &model.card().origin, &model.card().unit),
        };
        let bounds = self.parameters().bounds();
        let [low, high] = [0, 1].map(|end| bounds.iter().map(|b| b[end]).collect());
        let mut set = MapSet::new(maps, side, thetas.concat(), self.parameters().names())?
            .with_bounds(UnitBox::new(low, high)?)?;
        if let Some(origin) = origin {
            set = set.with_origin(Origin {
                simulator: format!("{} by {method}", origin.simulator),
                ..origin.clone()
            });
        }
        Ok(match unit {
            Some(unit) => set.with_unit(unit),
            None => set,
        })
    }
}

/// How it was done.
struct Drawn {
    method: &'static str,
    sampler: Option<String>,
    steps: Option<usize>,
    guidance: Option<f64>,
    evaluations: usize,
}

/// Maps of a surrogate, which has a solver of its own.
fn surrogate(flow: &TrainedFlow, settings: &GenerateSettings) -> Result<(Vec<f32>, Drawn)> {
    let said = &settings.sampling;
    if said.method.as_deref().is_some_and(|method| method != "heun") {
        return Err(Error::Invalid(
            "a surrogate is sampled by heun alone: leave --sampler out, or train with a method".to_owned(),
        ));
    }
    if let DeviceChoice::Cuda(_) = settings.device {
        return Err(Error::Invalid(
            "a surrogate is drawn from on the processor: leave --device out, or say cpu".to_owned(),
        ));
    }
    for (given, name) in [(said.guidance.is_some(), "guidance"), (said.eta.is_some(), "eta")] {
        if given {
            return Err(Error::Invalid(format!(
                "a surrogate knows no {name}: leave it out"
            )));
        }
    }
    let steps = said.steps.unwrap_or(GENERATION_STEPS);
    let mut maps = Vec::new();
    for (i, theta) in settings.thetas.iter().enumerate() {
        let key = settings.seed.wrapping_add((i as u64) << 48);
        maps.extend(flow.generate_in(theta, settings.count, steps, key)?);
    }
    let drawn = Drawn {
        method: "surrogate",
        sampler: Some("heun".to_owned()),
        steps: Some(steps),
        guidance: None,
        // Two a step, and one for the last way to the data.
        evaluations: 2 * steps + 1,
    };
    Ok((maps, drawn))
}

impl GeneratedMaps {
    /// Write the maps to the HDF5 file `path`, and a picture of the first ones beside it as PNG and SVG: all of them or
    /// none.
    ///
    /// # Errors
    ///
    /// A name that is none of an HDF5 file, and what cannot be written.
    pub fn write(&self, path: &Path) -> Result<Vec<PathBuf>> {
        check_name(path)?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let mut folder = OutFolder::create(parent.unwrap_or(Path::new(".")))?;
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // Nothing that was there before is replaced until all is written.
        let mut staged = OutFolder::create(folder.path().join(format!(".{file}.part")))?;
        self.draw(&stem, &mut staged)?;
        self.set.write(staged.file(&file))?;
        for name in [format!("{stem}.png"), format!("{stem}.svg"), file] {
            let to = folder.file(&name);
            fs::rename(staged.path().join(&name), &to).map_err(|e| Error::file(&to, cannot_write(&e)))?;
        }
        Ok(folder.keep())
    }

    fn draw(&self, name: &str, folder: &mut OutFolder) -> Result<()> {
        let (set, report) = (&self.set, &self.report);
        let points = report.thetas.len();
        // The same number of each point, as far as they fit.
        let each = (SHOWN / points.min(SHOWN)).min(report.count);
        let mut shown = Vec::new();
        for point in 0..points.min(SHOWN) {
            for i in 0..each {
                let title = match points {
                    1 => format!("{}", i + 1),
                    _ => format!("point {}, {}", point + 1, i + 1),
                };
                shown.push((title, set.map(point * report.count + i)?));
            }
        }
        let panels: Vec<FieldPanel<'_>> = shown
            .iter()
            .map(|(title, map)| FieldPanel { title, map })
            .collect();
        let plot = Fields {
            panels: &panels,
            side: set.side(),
            box_size: set.origin().map(|origin| origin.box_size),
            label: &quantity(set.origin(), set.unit(), set.files()),
        };
        both(folder, name, "Maps drawn from the model.", |path| {
            fields(&plot, path)
        })?;
        Ok(())
    }
}

/// Looks whether maps can be written to `path`.
///
/// # Errors
///
/// A name that is none of an HDF5 file.
pub fn check_name(path: &Path) -> Result<()> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    if matches!(extension.as_deref(), Some("h5" | "hdf5")) {
        return Ok(());
    }
    Err(Error::file(
        path,
        "maps are written as HDF5: name a file that ends in .h5",
    ))
}

/// Looks whether maps and their pictures can be written to `path`, before they are drawn.
///
/// # Errors
///
/// A name that is none of an HDF5 file, a folder, a place below a file, and, unless they may be replaced, files that are
/// there.
pub fn check_out(path: &Path, overwrite: bool) -> Result<()> {
    check_name(path)?;
    if path.is_dir() {
        return Err(Error::file(path, "this is a folder; name a file to write"));
    }
    let above = path.ancestors().skip(1).find(|folder| folder.exists());
    if let Some(file) = above.filter(|above| !above.is_dir()) {
        return Err(Error::file(file, "this is a file; name a folder to write into"));
    }
    let files = [
        path.to_owned(),
        path.with_extension("png"),
        path.with_extension("svg"),
    ];
    match files.iter().find(|file| file.exists()) {
        Some(file) if !overwrite => Err(Error::file(
            file,
            "there is such a file; name another, or add --overwrite to replace it",
        )),
        _ => Ok(()),
    }
}
