//! Draw an inference.

use std::path::{Path, PathBuf};

use armilla_samplers::surface::Surface as Cells;

use super::{Inference, Method, Observation, OutFolder, TrainedFlow};
use crate::Result;
use crate::data::{CamelsName, Origin, SetFile};
use crate::plot::{
    self, Corner, Curve, Histograms, Loss, Posterior, Surface, autocorrelation, corner, likelihood_surface,
    loss, posterior_histogram, rank, trace,
};

/// Maps generated at the estimate.
const SAMPLES: usize = 4;

/// More parameters than this make no corner plot that can be read.
const IN_CORNER: usize = 12;

/// A picture that was drawn, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// What it shows, in a sentence.
    pub caption: String,
    /// Where its SVG is; its PNG has the same name.
    pub svg: PathBuf,
}

/// Draw a picture as PNG and as SVG.
pub(super) fn both(
    folder: &mut OutFolder,
    name: &str,
    caption: &str,
    draw: impl Fn(&Path) -> Result<()>,
) -> Result<Figure> {
    let [png, svg] = ["png", "svg"].map(|format| folder.file(&format!("{name}.{format}")));
    draw(&png)?;
    draw(&svg)?;
    Ok(Figure {
        caption: caption.to_owned(),
        svg,
    })
}

/// What the colours of a map mean.
pub(super) fn label(flow: &TrainedFlow) -> String {
    let card = flow.card();
    quantity(card.origin.as_ref(), card.unit.as_deref(), &card.data.files)
}

/// What the pixels of a map are, as far as its origin, their unit and the names of the files tell.
pub(super) fn quantity(origin: Option<&Origin>, unit: Option<&str>, files: &[SetFile]) -> String {
    // Behind the name of the simulator there may be that of the model that took its place.
    match origin.and_then(|origin| origin.simulator.split_whitespace().next()) {
        Some("lognormal") => return "1 + δ".to_owned(),
        Some("gaussian") => return "δ".to_owned(),
        _ => {}
    }
    let of_file = |file: &SetFile| CamelsName::parse(&file.name)?.quantity();
    let mut of_files = files.iter().map(of_file);
    let first = of_files.next().flatten();
    in_unit(first.filter(|_| of_files.all(|other| other == first)), unit)
}

/// A physical quantity and its unit, as far as they are known; a ratio has an empty one.
fn in_unit(quantity: Option<&str>, unit: Option<&str>) -> String {
    // As one writes it; the letters of files are those of a keyboard.
    let unit = unit
        .filter(|unit| !unit.is_empty())
        .map(|unit| unit.replace("Msun", "M☉").replace("^2", "²").replace("^3", "³"));
    match (quantity, unit) {
        (Some(quantity), Some(unit)) => format!("{quantity}, {unit}"),
        (Some(quantity), None) => quantity.to_owned(),
        (None, Some(unit)) => unit,
        (None, None) => "value".to_owned(),
    }
}

/// For each parameter, its value in every draw.
pub(super) fn columns(inference: &Inference) -> Vec<Vec<f64>> {
    (0..inference.run.dim())
        .map(|i| inference.run.parameter(i).concat())
        .collect()
}

impl Inference {
    /// Draw what belongs to the method, with the number of the map in the names of the pictures; chains also as a corner
    /// plot, and with what tells whether they have converged.
    ///
    /// # Errors
    ///
    /// What cannot be drawn or written.
    pub fn draw(
        &self,
        flow: &TrainedFlow,
        observation: &Observation,
        folder: &mut OutFolder,
    ) -> Result<Vec<Figure>> {
        let mut figures = self.draw_summary(flow, observation, folder)?;
        let n = observation.index;
        let method = self.report.method;
        if !method.is_optimiser() && method != Method::Grid {
            let shown = self.run.dim().min(IN_CORNER);
            let values = columns(self);
            let weights = self.weights();
            let plot = Corner {
                names: &self.run.names[..shown],
                posteriors: &[Posterior {
                    label: method.title(),
                    values: &values[..shown],
                    weights: weights.as_deref(),
                }],
                truth: observation.truth.as_ref().map(|truth| &truth[..shown]),
                bounds: Some(&bounds(flow)[..shown]),
            };
            let caption = match self.run.dim() {
                all if all > shown => {
                    format!("The first {shown} of {all} parameters in pairs: 68 % and 95 % credible regions.")
                }
                _ => "The parameters in pairs: 68 % and 95 % credible regions.".to_owned(),
            };
            figures.push(both(folder, &format!("corner_idx{n}"), &caption, |path| {
                corner(&plot, path)
            })?);
        }
        // Where there is an R̂ there are Markov chains, long enough to be judged.
        if self.report.parameters.iter().any(|p| p.summary.rhat.is_some()) {
            let title = format!("{}, map {n}", method.title());
            let run = &self.run;
            figures.extend([
                both(
                    folder,
                    &format!("trace_idx{n}"),
                    "The draws in order: good chains look alike and wander nowhere.",
                    |path| trace(run, &title, path),
                )?,
                both(
                    folder,
                    &format!("rank_idx{n}"),
                    "The ranks of each chain's draws among all: level where the chains agree.",
                    |path| rank(run, &title, path),
                )?,
                both(
                    folder,
                    &format!("autocorrelation_idx{n}"),
                    "How long the chains remember; τ draws are worth one.",
                    |path| autocorrelation(run, &title, path),
                )?,
            ]);
        }
        Ok(figures)
    }

    /// Draw the one picture that the method is known by; a maximum likelihood has a second one of its way there.
    pub(super) fn draw_summary(
        &self,
        flow: &TrainedFlow,
        observation: &Observation,
        folder: &mut OutFolder,
    ) -> Result<Vec<Figure>> {
        let n = observation.index;
        let method = self.report.method;
        let title = format!("{}, map {n}", method.title());
        match method {
            Method::Mle | Method::Map => {
                let mut figures = vec![self.draw_estimate(flow, observation, &title, folder)?];
                let history: &[f64] = self.run.estimate.as_ref().map_or(&[], |e| &e.history);
                if history.iter().any(|value| value.is_finite()) {
                    let plot = Loss {
                        title: &title,
                        curves: &[Curve {
                            label: "best start",
                            values: history,
                        }],
                        step: "iteration",
                        quantity: "−ln p(map | θ)",
                    };
                    figures.push(both(
                        folder,
                        &format!("{}_loss_idx{n}", method.name()),
                        "What the optimiser made smaller, from the best of its starts.",
                        |path| loss(&plot, path),
                    )?);
                }
                Ok(figures)
            }
            Method::Grid => {
                let name = format!("grid_likelihood_idx{n}");
                let figure = match &self.surface {
                    Some(cells) if cells.axes.len() > 1 => both(
                        folder,
                        &name,
                        "The log density over the grid with the regions that hold 68 % and 95 % of the posterior.",
                        |path| draw_surface(cells, observation.truth.as_deref(), &title, path),
                    ),
                    _ => self.draw_histograms(observation, &title, &name, folder),
                };
                Ok(vec![figure?])
            }
            _ => {
                let name = format!("mcmc_posterior_idx{n}");
                Ok(vec![self.draw_histograms(observation, &title, &name, folder)?])
            }
        }
    }

    /// The weights of the draws, where they differ.
    fn weights(&self) -> Option<Vec<f64>> {
        let weighted = self.run.chains.iter().any(|chain| chain.log_weights.is_some());
        weighted.then(|| self.run.weights())
    }

    fn draw_estimate(
        &self,
        flow: &TrainedFlow,
        observation: &Observation,
        title: &str,
        folder: &mut OutFolder,
    ) -> Result<Figure> {
        let estimate: Vec<f64> = self.report.parameters.iter().map(|p| p.estimate).collect();
        let side = flow.card().side;
        let generated = flow.generate(&estimate, SAMPLES, self.report.seed)?;
        let samples: Vec<&[f32]> = generated.chunks_exact(side * side).collect();
        let plot = plot::Inference {
            title,
            observation: &observation.map,
            samples: &samples,
            side,
            box_size: flow.card().origin.as_ref().map(|origin| origin.box_size),
            label: &label(flow),
            parameters: &self.report.parameter_rows(),
        };
        let name = format!("inference_{}_idx{}", self.report.method.name(), observation.index);
        both(
            folder,
            &name,
            "The observation, maps that the model generates at the estimate, and the parameters.",
            |path| plot::inference(&plot, path),
        )
    }

    fn draw_histograms(
        &self,
        observation: &Observation,
        title: &str,
        name: &str,
        folder: &mut OutFolder,
    ) -> Result<Figure> {
        let values = columns(self);
        let weights = self.weights();
        let estimate: Vec<f64> = self.report.parameters.iter().map(|p| p.estimate).collect();
        let plot = Histograms {
            title,
            names: &self.run.names,
            values: &values,
            weights: weights.as_deref(),
            truth: observation.truth.as_deref(),
            estimate: Some(&estimate),
        };
        let caption = "The draws of each parameter, with the estimate and, where it is known, the truth.";
        both(folder, name, caption, |path| posterior_histogram(&plot, path))
    }
}

/// The bounds of the prior, as corner plots take them.
pub(super) fn bounds(flow: &TrainedFlow) -> Vec<(f64, f64)> {
    flow.card()
        .parameters
        .0
        .iter()
        .map(|range| (range.low, range.high))
        .collect()
}

/// The first two parameters of a grid, the others integrated over.
fn draw_surface(cells: &Cells, truth: Option<&[f64]>, title: &str, picture: &Path) -> Result<()> {
    let (nx, ny) = (cells.axes[0].centres.len(), cells.axes[1].centres.len());
    // Rows of the picture are values of the second parameter, cells are ordered by the first.
    let log_density: Vec<f64> = if cells.axes.len() == 2 {
        (0..nx * ny)
            .map(|k| cells.log_density[k % nx * ny + k / nx])
            .collect()
    } else {
        cells
            .marginal_pair(1, 0)
            .iter()
            .map(|density| density.ln())
            .collect()
    };
    // An axis with even steps in the logarithm is drawn as such.
    let even = |axis: &armilla_samplers::surface::Axis| {
        let (first, last) = (axis.widths[0], axis.widths[axis.widths.len() - 1]);
        (last - first).abs() <= 1e-9 * first.abs()
    };
    let shown: Vec<(String, Vec<f64>, Option<f64>)> = (0..2)
        .map(|i| {
            let (axis, truth) = (&cells.axes[i], truth.map(|truth| truth[i]));
            if even(axis) {
                (axis.name.clone(), axis.centres.clone(), truth)
            } else {
                let logarithms = axis.centres.iter().map(|x| x.ln()).collect();
                (format!("ln {}", axis.name), logarithms, truth.map(f64::ln))
            }
        })
        .collect();
    let plot = Surface {
        title,
        names: [&shown[0].0, &shown[1].0],
        x: &shown[0].1,
        y: &shown[1].1,
        log_density: &log_density,
        truth: shown[0].2.zip(shown[1].2).map(|(x, y)| [x, y]),
    };
    likelihood_surface(&plot, picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_mean_a_quantity_in_its_unit() {
        let area = Some("(Msun/h)/(Mpc/h)^2");
        assert_eq!(
            in_unit(Some("dark matter density"), area),
            "dark matter density, (M☉/h)/(Mpc/h)²"
        );
        assert_eq!(in_unit(None, area), "(M☉/h)/(Mpc/h)²");
        assert_eq!(in_unit(Some("gas metallicity"), Some("")), "gas metallicity");
        assert_eq!(in_unit(None, Some("")), "value");
        let file = |name: &str| SetFile {
            name: name.to_owned(),
            simulations: 1,
        };
        let of = |names: &[&str]| {
            let files: Vec<SetFile> = names.iter().map(|name| file(name)).collect();
            quantity(None, area, &files)
        };
        let maps = "Maps_Mcdm_SIMBA_LH_z=0.00.npy";
        assert_eq!(of(&[maps, maps]), "dark matter density, (M☉/h)/(Mpc/h)²");
        assert_eq!(of(&[maps, "Maps_Mgas_SIMBA_LH_z=0.00.npy"]), "(M☉/h)/(Mpc/h)²");
    }
}
