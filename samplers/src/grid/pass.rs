//! Hold the cells of one look at the box, and tell where their mass is.

use serde::{Deserialize, Serialize};

use super::Layout;
use crate::density::Density;
use crate::likelihood::Likelihood;
use crate::posterior::Posterior;
use crate::surface::{Axis, Surface};

/// Cells below this fraction of the fullest on their axis are left out when the box is refined.
const NEGLIGIBLE: f64 = 1e-6;
/// An axis is too coarse if its mass sits in fewer cells than this, as counted by 1 / Σ mass².
const FEWEST_CELLS: f64 = 3.0;
/// More mass than this in an outermost cell means that the box cuts the posterior.
const CUT_MASS: f64 = 0.01;
/// A box is worth another look if it is smaller than this on some axis.
const SMALLER: f64 = 0.8;

/// One look at a box, as far as it has come.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Pass {
    pub(super) bounds: Vec<(f64, f64)>,
    /// ln p(data | x) of the cells so far.
    pub(super) values: Vec<f64>,
    /// The profiled parameters of the cells so far.
    pub(super) profiled: Vec<f64>,
    /// How many cells failed, and the first reason.
    pub(super) skipped: usize,
    pub(super) reason: Option<String>,
    /// In how many cells the optimiser ran out of iterations.
    pub(super) unfinished: usize,
}

impl Pass {
    pub(super) fn new(bounds: Vec<(f64, f64)>) -> Self {
        Self {
            bounds,
            values: Vec::new(),
            profiled: Vec::new(),
            skipped: 0,
            reason: None,
            unfinished: 0,
        }
    }

    /// All parameters in a cell that was evaluated.
    pub(super) fn x(&self, layout: &Layout, axes: &[Axis], cell: usize) -> Vec<f64> {
        let mut x = layout.x(axes, cell);
        let width = layout.profiled.len();
        let profiled = &self.profiled[cell * width..(cell + 1) * width];
        layout
            .profiled
            .iter()
            .zip(profiled)
            .for_each(|(&index, &value)| x[index] = value);
        x
    }

    /// Adds the prior. Cells that were not evaluated have none.
    pub(super) fn surface<L: Likelihood>(&self, layout: &Layout, posterior: &Posterior<L>) -> Surface {
        let axes = layout.axes(posterior.names(), &self.bounds);
        let cells = layout.cells();
        let mut surface = Surface::new(axes, cells, posterior.names().to_vec());
        surface.evaluated = self.values.len();
        surface.off_axis = layout.off.clone();
        surface.profiled = !layout.profiled.is_empty();
        // No vectors: a factor for each parameter.
        let factors: Vec<_> = posterior.prior().factors().collect();
        let (mut count, mut reason) = (self.skipped, self.reason.clone());
        for (cell, &value) in self.values.iter().enumerate() {
            let x = self.x(layout, &surface.axes, cell);
            let of_rest = |index: &usize| factors[*index].ln_density(&x[*index..=*index]);
            let rest: f64 = layout.off.iter().map(of_rest).sum();
            let mut log_likelihood = value;
            match posterior.checked_prior(&x) {
                // Outside the support there is no mass, and no difference of infinities.
                Ok(f64::NEG_INFINITY) => {}
                Ok(log_prior) => surface.log_density[cell] = value + (log_prior - rest),
                Err(error) => {
                    // A cell whose likelihood failed as well has been counted.
                    count += usize::from(value > f64::NEG_INFINITY);
                    log_likelihood = f64::NEG_INFINITY;
                    reason.get_or_insert_with(|| error.to_string());
                }
            }
            surface.log_likelihood[cell] = log_likelihood;
            surface
                .off_values
                .extend(layout.off.iter().map(|&index| x[index]));
            surface.off_log_prior.push(rest);
        }
        if let Some(message) = reason {
            surface.warnings.push(format!(
                "{count} of {cells} cells failed and count for nothing: {message}"
            ));
        }
        if self.unfinished > 0 {
            surface.warnings.push(format!(
                "in {} of {cells} cells the profile may lie higher: allow more iterations",
                self.unfinished
            ));
        }
        surface
    }
}

/// A smaller box worth another look. On the second look and later ones, that is for axes that are too coarse.
pub(super) fn smaller_box(surface: &Surface, first: bool) -> Option<Vec<(f64, f64)>> {
    let coarse = |index: usize| cells_held(&surface.masses(index)) < FEWEST_CELLS;
    if !(first || (0..surface.axes.len()).any(coarse)) {
        return None;
    }
    let bounds = holding_mass(surface);
    // In units of the axis, whatever that is even in.
    let smaller = |(axis, &(low, high)): (&Axis, &(f64, f64))| {
        let inside = axis.centres.iter().filter(|centre| (low..high).contains(centre));
        (inside.count() as f64) < SMALLER * axis.centres.len() as f64
    };
    let worth = surface.axes.iter().zip(&bounds).any(smaller);
    worth.then_some(bounds)
}

/// The number of cells that the mass sits in.
fn cells_held(masses: &[f64]) -> f64 {
    1.0 / masses.iter().map(|mass| mass * mass).sum::<f64>()
}

/// The box around all cells that hold any mass worth the name, with a cell to spare on either side.
fn holding_mass(surface: &Surface) -> Vec<(f64, f64)> {
    let range = |(index, axis): (usize, &Axis)| {
        let masses = surface.masses(index);
        let least = NEGLIGIBLE * masses.iter().copied().fold(0.0, f64::max);
        let first = masses.iter().position(|&mass| mass > least).unwrap_or(0);
        let last = masses
            .iter()
            .rposition(|&mass| mass > least)
            .unwrap_or(masses.len() - 1);
        (
            axis.edges[first.saturating_sub(1)],
            axis.edges[(last + 2).min(masses.len())],
        )
    };
    surface.axes.iter().enumerate().map(range).collect()
}

/// Says where the grid is too coarse, and where its box cuts the posterior.
pub(super) fn judge<L: Likelihood>(layout: &Layout, posterior: &Posterior<L>, surface: &mut Surface) {
    let support = posterior.prior().support();
    let mut warnings = Vec::new();
    for (index, axis) in surface.axes.iter().enumerate() {
        let masses = surface.masses(index);
        let (name, cells) = (&axis.name, masses.len());
        if cells_held(&masses) < FEWEST_CELLS {
            let message = "the mass is in fewer than 3 cells: take more points or set `refine`";
            warnings.push(format!("{name} is too coarse: {message}"));
        }
        let (least, greatest) = support[layout.on[index]];
        let cut = |edge: f64, bound: f64, mass: f64| edge != bound && mass > CUT_MASS;
        if cut(axis.edges[0], least, masses[0]) || cut(axis.edges[cells], greatest, masses[cells - 1]) {
            warnings.push(format!("{name} has mass at the edge of the grid's box: widen it"));
        }
    }
    surface.warnings.extend(warnings);
}
