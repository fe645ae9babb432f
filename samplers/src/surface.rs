//! Hold a posterior evaluated on a grid, and reduce it to marginals, an evidence or weighted draws.

use serde::Serialize;

use crate::run::{Chain, Evaluations, Run, StopReason};

/// One parameter of a grid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axis {
    /// The name of the parameter.
    pub name: String,
    /// The ends of the cells: one more than there are cells.
    pub edges: Vec<f64>,
    /// Where each cell is evaluated: its middle, in ln x on a logarithmic axis.
    pub centres: Vec<f64>,
    /// The extent of each cell in x; on a logarithmic axis x Δ ln x, for which quadrature is even in ln x.
    pub widths: Vec<f64>,
}

impl Axis {
    pub(crate) fn new(name: &str, (low, high): (f64, f64), points: usize, logarithmic: bool) -> Self {
        let (from, to) = if logarithmic {
            (low.ln(), high.ln())
        } else {
            (low, high)
        };
        let step = (to - from) / points as f64;
        let at = |cells: f64| {
            if logarithmic {
                (from + cells * step).exp()
            } else {
                from + cells * step
            }
        };
        let mut edges: Vec<f64> = (0..=points).map(|i| at(i as f64)).collect();
        // The ends are as given, not as rounded.
        (edges[0], edges[points]) = (low, high);
        let centres: Vec<f64> = (0..points).map(|i| at(i as f64 + 0.5)).collect();
        let widths = centres
            .iter()
            .map(|centre| if logarithmic { centre * step } else { step })
            .collect();
        Self {
            name: name.to_owned(),
            edges,
            centres,
            widths,
        }
    }

    /// Writes the centre of `cell` to `x`; the last axis runs fastest.
    pub(crate) fn centre_into(axes: &[Self], mut cell: usize, x: &mut Vec<f64>) {
        x.clear();
        x.resize(axes.len(), 0.0);
        for (axis, x) in axes.iter().zip(x).rev() {
            *x = axis.centres[cell % axis.centres.len()];
            cell /= axis.centres.len();
        }
    }
}

/// A posterior on a grid. Cells are in row-major order: the last axis runs fastest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Surface {
    /// The axes, in the order of the parameters.
    pub axes: Vec<Axis>,
    /// ln p(data | x) of each cell.
    pub log_likelihood: Vec<f64>,
    /// ln p(data | x) + ln p(x) of each cell, p(x) being the prior of the parameters on axes.
    pub log_density: Vec<f64>,
    /// The names of all parameters.
    pub names: Vec<String>,
    /// The numbers of those that have no axis.
    pub off_axis: Vec<usize>,
    /// Evaluated cells × parameters without an axis: where these are.
    pub off_values: Vec<f64>,
    /// The log prior of those in each evaluated cell.
    pub(crate) off_log_prior: Vec<f64>,
    /// Whether the likelihood was maximised over some of them: then the cells hold no posterior.
    pub profiled: bool,
    /// How many cells, from the first, were evaluated: all, unless the run was cut short.
    pub evaluated: usize,
    /// Evaluations spent; where it was cut short, on the cells before that.
    pub evaluations: Evaluations,
    /// Why it ended.
    pub stop: StopReason,
    /// What speaks against the result.
    pub warnings: Vec<String>,
}

impl Surface {
    pub(crate) fn new(axes: Vec<Axis>, cells: usize, names: Vec<String>) -> Self {
        Self {
            axes,
            names,
            off_axis: Vec::new(),
            off_values: Vec::new(),
            off_log_prior: Vec::new(),
            profiled: false,
            log_likelihood: vec![f64::NEG_INFINITY; cells],
            log_density: vec![f64::NEG_INFINITY; cells],
            evaluated: cells,
            evaluations: Evaluations::default(),
            stop: StopReason::Completed,
            warnings: Vec::new(),
        }
    }

    pub(crate) fn centre_into(&self, cell: usize, x: &mut Vec<f64>) {
        Axis::centre_into(&self.axes, cell, x);
    }

    /// The index on axis `axis` of cell `cell`.
    fn index_on(&self, axis: usize, cell: usize) -> usize {
        let faster: usize = self.axes[axis + 1..]
            .iter()
            .map(|axis| axis.centres.len())
            .product();
        cell / faster % self.axes[axis].centres.len()
    }

    /// ln(posterior mass × evidence) of every cell.
    fn log_masses(&self) -> Vec<f64> {
        let ln_width = |cell: usize| {
            let of_axis = |axis: usize| self.axes[axis].widths[self.index_on(axis, cell)].ln();
            (0..self.axes.len()).map(of_axis).sum::<f64>()
        };
        self.log_density
            .iter()
            .enumerate()
            .map(|(cell, density)| density + ln_width(cell))
            .collect()
    }

    /// The masses of all cells, with sum one, and the logarithm of what they were divided by.
    fn normalised(&self) -> (Vec<f64>, f64) {
        let mut masses = self.log_masses();
        let largest = masses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        masses.iter_mut().for_each(|mass| *mass = (*mass - largest).exp());
        let sum: f64 = masses.iter().sum();
        masses.iter_mut().for_each(|mass| *mass /= sum);
        (masses, largest + sum.ln())
    }

    /// The posterior mass of each cell of one axis.
    pub(crate) fn masses(&self, axis: usize) -> Vec<f64> {
        let mut sums = vec![0.0; self.axes[axis].centres.len()];
        for (cell, mass) in self.normalised().0.into_iter().enumerate() {
            sums[self.index_on(axis, cell)] += mass;
        }
        sums
    }

    /// The marginal posterior density, per unit of x, of each cell of axis `axis`.
    ///
    /// # Panics
    /// Where there is no such axis.
    pub fn marginal(&self, axis: usize) -> Vec<f64> {
        self.masses(axis)
            .iter()
            .zip(&self.axes[axis].widths)
            .map(|(mass, width)| mass / width)
            .collect()
    }

    /// The joint marginal density of two axes: rows for `first`, columns for `second`.
    ///
    /// # Panics
    /// Where there is no such axis.
    pub fn marginal_pair(&self, first: usize, second: usize) -> Vec<f64> {
        let (rows, columns) = (&self.axes[first].widths, &self.axes[second].widths);
        let mut density = vec![0.0; rows.len() * columns.len()];
        for (cell, mass) in self.normalised().0.into_iter().enumerate() {
            let (row, column) = (self.index_on(first, cell), self.index_on(second, cell));
            density[row * columns.len() + column] += mass / (rows[row] * columns[column]);
        }
        density
    }

    /// ln ∫ p(data | x) p(x) dx over the box, given the parameters that are fixed; `None` where not all of it
    /// was evaluated, and for a profile.
    pub fn log_evidence(&self) -> Option<f64> {
        (!self.profiled && self.evaluated == self.log_density.len()).then(|| self.normalised().1)
    }

    /// For each of `fractions`, the log density above which the cells hold at least that fraction of the
    /// mass: the levels of highest-density regions.
    pub fn levels(&self, fractions: &[f64]) -> Vec<f64> {
        let masses = self.normalised().0;
        fractions
            .iter()
            .map(|&fraction| level(&self.log_density, &masses, fraction))
            .collect()
    }

    /// The same for the joint marginal density of two axes, as `marginal_pair` gives it.
    ///
    /// # Panics
    /// Where there is no such axis.
    pub fn pair_levels(&self, first: usize, second: usize, fractions: &[f64]) -> Vec<f64> {
        let density = self.marginal_pair(first, second);
        let (rows, columns) = (&self.axes[first].widths, &self.axes[second].widths);
        let areas = rows
            .iter()
            .flat_map(|row| columns.iter().map(move |column| row * column));
        let masses: Vec<f64> = density.iter().zip(areas).map(|(d, area)| d * area).collect();
        fractions
            .iter()
            .map(|&fraction| level(&density, &masses, fraction))
            .collect()
    }

    /// The highest-density region of axis `axis` that holds at least `fraction` of the mass: one interval, or
    /// several where there are several peaks, to the width of a cell.
    ///
    /// # Panics
    /// Where there is no such axis.
    pub fn intervals(&self, axis: usize, fraction: f64) -> Vec<(f64, f64)> {
        let (density, edges) = (self.marginal(axis), &self.axes[axis].edges);
        let least = level(&density, &self.masses(axis), fraction);
        let mut intervals: Vec<(f64, f64)> = Vec::new();
        for (cell, _) in density.iter().enumerate().filter(|(_, d)| **d >= least) {
            let (from, to) = (edges[cell], edges[cell + 1]);
            match intervals.last_mut() {
                Some((_, end)) if *end == from => *end = to,
                _ => intervals.push((from, to)),
            }
        }
        intervals
    }

    /// The centre of the cell with the greatest log likelihood: a number for each axis.
    pub fn best(&self) -> Vec<f64> {
        let cells = self.log_likelihood.iter().enumerate();
        let best = cells
            .max_by(|a, b| a.1.total_cmp(b.1))
            .map_or(0, |(cell, _)| cell);
        let mut x = Vec::new();
        self.centre_into(best, &mut x);
        x
    }

    /// The evaluated cells as weighted draws of all parameters.
    pub fn run(&self) -> Run {
        let (dim, off) = (self.names.len(), self.off_axis.len());
        let on: Vec<usize> = (0..dim).filter(|index| !self.off_axis.contains(index)).collect();
        let (mut draws, mut centre) = (vec![0.0; self.evaluated * dim], Vec::new());
        let mut log_density = Vec::with_capacity(self.evaluated);
        for (cell, x) in draws.chunks_exact_mut(dim).enumerate() {
            self.centre_into(cell, &mut centre);
            on.iter()
                .zip(&centre)
                .for_each(|(&index, &value)| x[index] = value);
            let values = &self.off_values[cell * off..(cell + 1) * off];
            self.off_axis
                .iter()
                .zip(values)
                .for_each(|(&index, &value)| x[index] = value);
            log_density.push(self.log_density[cell] + self.off_log_prior[cell]);
        }
        let mut log_weights = self.log_masses();
        log_weights.truncate(self.evaluated);
        let chain = Chain {
            draws,
            log_density,
            log_weights: Some(log_weights),
            ..Chain::default()
        };
        let profile =
            "cells weighted by the likelihood maximised over some parameters, and the prior of the others";
        Run {
            stop: self.stop.clone(),
            evaluations: self.evaluations,
            approximation: self.profiled.then(|| profile.to_owned()),
            log_evidence: self.log_evidence(),
            warnings: self.warnings.clone(),
            ..Run::of_chains("grid".into(), self.names.clone(), vec![chain])
        }
    }
}

/// The density above which cells hold at least `fraction` of the mass; infinite where that is nothing.
fn level(density: &[f64], masses: &[f64], fraction: f64) -> f64 {
    let mut order: Vec<usize> = (0..density.len()).collect();
    order.sort_by(|&a, &b| density[b].total_cmp(&density[a]));
    let (mut held, mut least) = (0.0, f64::INFINITY);
    for cell in order {
        if held >= fraction {
            break;
        }
        held += masses[cell];
        least = density[cell];
    }
    least
}
