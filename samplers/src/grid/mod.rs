//! Evaluate the posterior on every cell of a regular grid.

mod fill;
mod pass;
#[cfg(test)]
mod tests;

use crate::density::Density;
use crate::error::SampleError;
use crate::likelihood::Likelihood;
use crate::optimise::{NelderMead, Optimiser};
use crate::posterior::Posterior;
use crate::run::{Run, RunOptions};
use crate::sampler::Sampler;
use crate::surface::{Axis, Surface};

/// More cells than this need tens of gigabytes and more patience than a sampler.
const MOST_CELLS: usize = 10_000_000;
/// The mass of an unbounded prior left out beyond each end of the box.
const TAIL: f64 = 1e-4;

/// A grid over the box of the prior, or one of your own: every cell becomes a draw at its centre, with
/// the posterior mass of the cell as its weight. Exact up to the size of the cells, for a few parameters.
///
/// Cells are even in x, or in ln x where the prior is. A parameter may also be held at a value, or the
/// likelihood maximised over it in every cell, which makes a profile likelihood. Of `RunOptions` neither
/// seed nor warm-up nor draws matter. A run that is cut short keeps the cells it has.
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Measured;
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 2 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
///         Ok(-0.5 * (x[0] + x[1] - 3.0).powi(2) - 0.5 * (x[1] / 0.1).powi(2))
///     }
/// }
/// let prior = Prior::new().with("mu", Uniform::new(-7.0, 13.0)?)?.with("bias", Uniform::new(-1.0, 1.0)?)?;
/// let posterior = Posterior::new(prior, Measured)?;
/// let surface = Grid::new(100).evaluate(&posterior, &RunOptions::default())?;
/// assert!((surface.run().summary().parameters[0].mean - 3.0).abs() < 1e-6);
/// // The same with a bias that is known, and along the line of the best bias.
/// let known = Grid::new(100).fixing("bias", 0.5).evaluate(&posterior, &RunOptions::default())?;
/// assert!((known.run().summary().parameters[0].mean - 2.5).abs() < 1e-6);
/// let profile = Grid::new(100).profiling("bias").evaluate(&posterior, &RunOptions::default())?;
/// assert!((profile.run().summary().parameters[0].mean - 3.0).abs() < 1e-3);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Grid<O = NelderMead> {
    /// Cells on each axis.
    pub points: usize,
    /// The box in physical units, one pair per axis; by default the support of the prior, cut at 0.01%
    /// where it is unbounded.
    pub bounds: Option<Vec<(f64, f64)>>,
    /// The parameters that have no axis. The others have one each, in their order.
    pub off_axis: Vec<(String, OffAxis)>,
    /// Whether to look again, at the part of the box that holds the mass, until there are cells enough in it.
    pub refine: bool,
    /// Cells handed to the likelihood at once.
    pub batch_size: usize,
    /// What maximises over profiled parameters. It needs a gradient where it says so.
    pub profiler: O,
}

/// What becomes of a parameter that has no axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OffAxis {
    /// It is held at a value, in physical units.
    Fixed(f64),
    /// In every cell it takes the value at which the likelihood is greatest, sought from the optimum over all
    /// parameters.
    Profiled,
}

impl Grid {
    /// `points` cells on each axis of the prior's box.
    pub fn new(points: usize) -> Self {
        Self {
            points,
            bounds: None,
            off_axis: Vec::new(),
            refine: false,
            batch_size: 64,
            profiler: NelderMead::default(),
        }
    }
}

impl<O> Grid<O> {
    /// Holds a parameter at `x` in physical units.
    #[must_use]
    pub fn fixing(mut self, name: &str, x: f64) -> Self {
        self.off_axis.push((name.to_owned(), OffAxis::Fixed(x)));
        self
    }

    /// Maximises the likelihood over a parameter.
    #[must_use]
    pub fn profiling(mut self, name: &str) -> Self {
        self.off_axis.push((name.to_owned(), OffAxis::Profiled));
        self
    }

    /// Maximises by `profiler` instead of [`NelderMead`].
    pub fn with_profiler<P>(self, profiler: P) -> Grid<P> {
        Grid {
            points: self.points,
            bounds: self.bounds,
            off_axis: self.off_axis,
            refine: self.refine,
            batch_size: self.batch_size,
            profiler,
        }
    }

    /// Evaluates the posterior on every cell.
    ///
    /// # Errors
    /// `SampleError::Invalid` where there are too many cells or the box is no box, `NoStart` where no cell
    /// has a finite density, `Eval` where the first cells failed, `File` where the run's folder cannot be
    /// used.
    pub fn evaluate<L: Likelihood>(
        &self,
        posterior: &Posterior<L>,
        run: &RunOptions,
    ) -> Result<Surface, SampleError>
    where
        O: Optimiser<L>,
    {
        self.profiler.check()?;
        let layout = Layout::new(self, posterior)?;
        fill::evaluate(self, &layout, posterior, run)
    }
}

impl<L: Likelihood, O: Optimiser<L>> Sampler<Posterior<L>> for Grid<O> {
    fn sample(&self, target: &Posterior<L>, run: &RunOptions) -> Result<Run, SampleError> {
        Ok(self.evaluate(target, run)?.run())
    }
}

/// Which parameters are where, checked.
struct Layout {
    points: usize,
    /// The box of the first pass, a pair for each axis.
    bounds: Vec<(f64, f64)>,
    /// The parameters on axes, by their number, and whether their axis is logarithmic.
    on: Vec<usize>,
    logarithmic: Vec<bool>,
    /// The parameters off axes, and those of them that are profiled.
    off: Vec<usize>,
    profiled: Vec<usize>,
    /// All parameters, with the values of those that are fixed.
    x: Vec<f64>,
}

impl Layout {
    fn new<O, L: Likelihood>(grid: &Grid<O>, posterior: &Posterior<L>) -> Result<Self, SampleError> {
        let invalid = |message: String| Err(SampleError::Invalid(message));
        if grid.points == 0 || grid.batch_size == 0 {
            return invalid("a grid needs at least one point per axis and per batch".into());
        }
        let (names, prior) = (posterior.names(), posterior.prior());
        if prior.quantiles(0.5).iter().any(|median| median.is_nan()) {
            return invalid(format!(
                "a grid needs parameters that are independent beforehand, and there are vectors among {}: take \
                 another sampler",
                names.join(", ")
            ));
        }
        // Where nothing is known of a parameter, it is at its centre.
        let mut x = vec![0.0; names.len()];
        posterior.to_physical(&vec![0.0; posterior.dim()], &mut x);
        let (mut off, mut profiled) = (Vec::new(), Vec::new());
        let (support, logarithmic) = (prior.support(), prior.is_logarithmic());
        for (name, treatment) in &grid.off_axis {
            let Some(index) = names.iter().position(|other| other == name) else {
                return invalid(format!(
                    "{name} has no axis, but there is no such parameter: there are {}",
                    names.join(", ")
                ));
            };
            if off.contains(&index) {
                return invalid(format!("{name} is taken off its axis twice"));
            }
            off.push(index);
            match *treatment {
                OffAxis::Profiled => profiled.push(index),
                OffAxis::Fixed(value) => {
                    x[index] = value;
                    if !posterior.to_real_line(&x)[index].is_finite() {
                        let (least, greatest) = support[index];
                        return invalid(format!(
                            "{name} is fixed at {value}: give a number between {least} and {greatest}"
                        ));
                    }
                }
            }
        }
        off.sort_unstable();
        profiled.sort_unstable();
        let on: Vec<usize> = (0..names.len()).filter(|index| !off.contains(index)).collect();
        if on.is_empty() {
            return invalid("no parameter has an axis: take some out of `off_axis`".into());
        }
        let power = u32::try_from(on.len()).unwrap_or(u32::MAX);
        let cells = grid.points.checked_pow(power);
        if cells.is_none_or(|cells| cells > MOST_CELLS) {
            return invalid(format!(
                "{} points on {} axes are more than {MOST_CELLS} cells: take fewer, or another sampler",
                grid.points,
                on.len()
            ));
        }
        let all = prior.bounds(TAIL);
        let all = on.iter().map(|&index| all[index]).collect();
        let bounds: Vec<(f64, f64)> = grid.bounds.clone().unwrap_or(all);
        if bounds.len() != on.len() {
            let (given, axes) = (bounds.len(), on.len());
            return invalid(format!("bounds for {given} axes given, there are {axes}"));
        }
        for (&(low, high), &index) in bounds.iter().zip(&on) {
            let (name, (least, greatest)) = (&names[index], support[index]);
            if !(low.is_finite() && high.is_finite() && low < high && least <= low && high <= greatest) {
                return invalid(format!(
                    "bounds {low} to {high} for {name}: give two numbers in order between {least} and {greatest}"
                ));
            }
            if logarithmic[index] && low <= 0.0 {
                return invalid(format!(
                    "bounds {low} to {high} for {name}: its axis is logarithmic, give bounds above 0"
                ));
            }
        }
        Ok(Self {
            points: grid.points,
            bounds,
            logarithmic: on.iter().map(|&index| logarithmic[index]).collect(),
            on,
            off,
            profiled,
            x,
        })
    }

    /// Cells in all.
    fn cells(&self) -> usize {
        // Checked to be less than `MOST_CELLS`.
        self.on.iter().map(|_| self.points).product()
    }

    fn axes(&self, names: &[String], bounds: &[(f64, f64)]) -> Vec<Axis> {
        let parameters = self.on.iter().zip(&self.logarithmic).zip(bounds);
        parameters
            .map(|((&index, &logarithmic), &bounds)| {
                Axis::new(&names[index], bounds, self.points, logarithmic)
            })
            .collect()
    }

    /// All parameters at the centre of a cell; those that are profiled at the centre of their prior.
    fn x(&self, axes: &[Axis], cell: usize) -> Vec<f64> {
        let (mut x, mut centre) = (self.x.clone(), Vec::new());
        Axis::centre_into(axes, cell, &mut centre);
        self.on
            .iter()
            .zip(centre)
            .for_each(|(&index, centre)| x[index] = centre);
        x
    }
}
