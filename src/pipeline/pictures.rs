//! Draw an inference.

use armilla_samplers::surface::Surface as Cells;

use super::{Inference, Method, Observation, OutFolder, TrainedFlow};
use crate::Result;
use crate::plot::{
    self, Corner, Curve, Histograms, Loss, ParameterRow, Posterior, Surface, corner, likelihood_surface,
    loss, posterior_histogram,
};

/// Maps generated at the estimate.
const SAMPLES: usize = 4;

/// What the colours of a map mean.
pub(super) fn label(flow: &TrainedFlow) -> &'static str {
    match flow
        .card()
        .origin
        .as_ref()
        .map(|origin| origin.simulator.as_str())
    {
        Some("lognormal") => "1 + δ",
        Some("gaussian") => "δ",
        _ => "value",
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
    /// plot.
    ///
    /// # Errors
    ///
    /// What cannot be drawn or written.
    pub fn draw(&self, flow: &TrainedFlow, observation: &Observation, folder: &mut OutFolder) -> Result<()> {
        self.draw_summary(flow, observation, folder)?;
        if !self.report.method.is_optimiser() && self.report.method != Method::Grid {
            let values = columns(self);
            let weights = self.weights();
            let plot = Corner {
                names: &self.run.names,
                posteriors: &[Posterior {
                    label: self.report.method.title(),
                    values: &values,
                    weights: weights.as_deref(),
                }],
                truth: observation.truth.as_deref(),
                bounds: Some(&bounds(flow)),
            };
            corner(
                &plot,
                folder.file(&format!("corner_idx{}.png", observation.index)),
            )?;
        }
        Ok(())
    }

    /// Draw the one picture that the method is known by; a maximum likelihood has a second one of its way there.
    pub(super) fn draw_summary(
        &self,
        flow: &TrainedFlow,
        observation: &Observation,
        folder: &mut OutFolder,
    ) -> Result<()> {
        let n = observation.index;
        let title = |what: &str| format!("{what}, map {n}");
        match self.report.method {
            Method::Mle | Method::Map => {
                self.draw_estimate(flow, observation, &title(self.report.method.title()), folder)?;
                let history = self
                    .run
                    .estimate
                    .as_ref()
                    .map(|e| e.history.clone())
                    .unwrap_or_default();
                if history.iter().any(|value| value.is_finite()) {
                    let plot = Loss {
                        title: &title(self.report.method.title()),
                        curves: &[Curve {
                            label: "best start",
                            values: &history,
                        }],
                        step: "iteration",
                        quantity: "−ln p(map | θ)",
                    };
                    loss(
                        &plot,
                        folder.file(&format!("{}_loss_idx{n}.png", self.report.method.name())),
                    )?;
                }
            }
            Method::Grid => {
                let picture = folder.file(&format!("grid_likelihood_idx{n}.png"));
                match &self.surface {
                    Some(cells) if cells.axes.len() > 1 => {
                        draw_surface(
                            cells,
                            observation.truth.as_deref(),
                            &title(self.report.method.title()),
                            picture,
                        )?;
                    }
                    _ => self.draw_histograms(observation, &title(self.report.method.title()), picture)?,
                }
            }
            _ => {
                let picture = folder.file(&format!("mcmc_posterior_idx{n}.png"));
                self.draw_histograms(observation, &title(self.report.method.title()), picture)?;
            }
        }
        Ok(())
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
    ) -> Result<()> {
        let estimate: Vec<f64> = self.report.parameters.iter().map(|p| p.estimate).collect();
        let side = flow.card().side;
        let generated = flow.generate(&estimate, SAMPLES, self.report.seed)?;
        let samples: Vec<&[f32]> = generated.chunks_exact(side * side).collect();
        let rows: Vec<ParameterRow<'_>> = self
            .report
            .parameters
            .iter()
            .map(|p| ParameterRow {
                name: &p.summary.name,
                truth: p.truth,
                estimate: p.estimate,
                sd: Some(p.summary.sd).filter(|sd| sd.is_finite()),
            })
            .collect();
        let plot = plot::Inference {
            title,
            observation: &observation.map,
            samples: &samples,
            side,
            box_size: flow.card().origin.as_ref().map(|origin| origin.box_size),
            label: label(flow),
            parameters: &rows,
        };
        plot::inference(
            &plot,
            folder.file(&format!(
                "inference_{}_idx{}.png",
                self.report.method.name(),
                observation.index
            )),
        )
    }

    fn draw_histograms(
        &self,
        observation: &Observation,
        title: &str,
        picture: std::path::PathBuf,
    ) -> Result<()> {
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
        posterior_histogram(&plot, picture)
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
fn draw_surface(
    cells: &Cells,
    truth: Option<&[f64]>,
    title: &str,
    picture: std::path::PathBuf,
) -> Result<()> {
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
