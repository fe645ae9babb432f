//! Evaluate the posterior on every cell of a regular grid.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::density::Density;
use crate::error::{EvalError, SampleError};
use crate::likelihood::{Likelihood, Points};
use crate::posterior::Posterior;
use crate::run::{Run, RunOptions, StopReason};
use crate::sampler::Sampler;
use crate::surface::{Axis, Surface};

/// More cells than this need tens of gigabytes and more patience than a sampler.
const MOST_CELLS: usize = 10_000_000;
/// The mass of an unbounded prior left out beyond each end of the box.
const TAIL: f64 = 1e-4;
/// Cells below this fraction of the fullest on their axis are left out when the box is refined.
const NEGLIGIBLE: f64 = 1e-6;
/// An axis is too coarse if its mass sits in fewer cells than this, as counted by 1 / Σ mass².
const FEWEST_CELLS: f64 = 3.0;
/// More mass than this in an outermost cell means that the box cuts the posterior.
const CUT_MASS: f64 = 0.01;

/// A grid over the box of the prior, or one of your own: every cell becomes a draw at its centre, with
/// the posterior mass of the cell as its weight. Exact up to the size of the cells, for a few parameters.
///
/// Cells are even in x, or in ln x where the prior is. Of `RunOptions` only `progress` matters.
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Measured;
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-0.5 * (x[0] - 3.0).powi(2)) }
/// }
/// let posterior = Posterior::new(Prior::new().with("mu", Uniform::new(-7.0, 13.0)?)?, Measured)?;
/// let surface = Grid::new(100).evaluate(&posterior, &RunOptions::default())?;
/// assert!((surface.run().summary().parameters[0].mean - 3.0).abs() < 1e-6);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Cells on each axis.
    pub points: usize,
    /// The box in physical units, one pair per parameter; by default the support of the prior, cut at
    /// 0.01% where it is unbounded.
    pub bounds: Option<Vec<(f64, f64)>>,
    /// Whether to look a second time, at the part of the box that holds the mass.
    pub refine: bool,
    /// Cells handed to the likelihood at once.
    pub batch_size: usize,
}

impl Grid {
    /// `points` cells on each axis of the prior's box.
    pub fn new(points: usize) -> Self {
        Self {
            points,
            bounds: None,
            refine: false,
            batch_size: 64,
        }
    }

    /// Evaluates the posterior on every cell.
    ///
    /// # Errors
    /// `SampleError::Invalid` where there are too many cells or the box is no box, `NoStart` where no cell
    /// has a finite density, `Eval` where the first cells failed.
    pub fn evaluate<L: Likelihood>(
        &self,
        posterior: &Posterior<L>,
        run: &RunOptions,
    ) -> Result<Surface, SampleError> {
        let bounds = self.check(posterior)?;
        let mut surface = self.pass(posterior, run, &bounds)?;
        if self.refine && surface.stop == StopReason::Completed {
            let inner = holding_mass(&surface);
            if inner != bounds {
                // A whole coarse grid is worth more than part of a fine one.
                let coarse = surface.evaluations.values;
                match self.pass(posterior, run, &inner) {
                    Ok(fine) if fine.stop == StopReason::Completed => {
                        surface = fine;
                        surface.evaluations.values += coarse;
                    }
                    Ok(cut) => {
                        surface.stop = cut.stop;
                        surface.evaluations.values += cut.evaluations.values;
                    }
                    Err(error) => {
                        surface.stop = StopReason::Fatal {
                            chain: 0,
                            message: error.to_string(),
                        }
                    }
                }
            }
        }
        judge(posterior, &mut surface);
        Ok(surface)
    }

    fn check<L: Likelihood>(&self, posterior: &Posterior<L>) -> Result<Vec<(f64, f64)>, SampleError> {
        let invalid = |message: String| Err(SampleError::Invalid(message));
        let (points, dim) = (self.points, posterior.dim());
        if points == 0 || self.batch_size == 0 {
            return invalid("a grid needs at least one point per axis and per batch".into());
        }
        let power = u32::try_from(dim).unwrap_or(u32::MAX);
        if points.checked_pow(power).is_none_or(|cells| cells > MOST_CELLS) {
            return invalid(format!(
                "{points} points on {dim} axes are more than {MOST_CELLS} cells: take fewer, or another sampler"
            ));
        }
        let prior = posterior.prior();
        if prior.quantiles(0.5).iter().any(|median| median.is_nan()) {
            let names = prior.names().join(", ");
            return invalid(format!(
                "a grid needs parameters that are independent beforehand, and there are vectors among {names}: \
                 take another sampler"
            ));
        }
        let support = prior.bounds(TAIL);
        let bounds = self.bounds.as_ref().unwrap_or(&support);
        if bounds.len() != dim {
            return invalid(format!("bounds for {} axes given, there are {dim}", bounds.len()));
        }
        let kinds = prior.support().into_iter().zip(prior.is_logarithmic());
        let parameters = bounds.iter().zip(kinds).zip(posterior.names());
        for ((&(low, high), ((least, greatest), logarithmic)), name) in parameters {
            if !(low.is_finite() && high.is_finite() && low < high && least <= low && high <= greatest) {
                return invalid(format!(
                    "bounds {low} to {high} for {name}: give two numbers in order between {least} and {greatest}"
                ));
            }
            if logarithmic && low <= 0.0 {
                return invalid(format!(
                    "bounds {low} to {high} for {name}: its axis is logarithmic, give bounds above 0"
                ));
            }
        }
        Ok(bounds.clone())
    }

    fn pass<L: Likelihood>(
        &self,
        posterior: &Posterior<L>,
        run: &RunOptions,
        bounds: &[(f64, f64)],
    ) -> Result<Surface, SampleError> {
        let parameters = posterior
            .prior()
            .is_logarithmic()
            .into_iter()
            .zip(posterior.names())
            .zip(bounds);
        let axes: Vec<Axis> = parameters
            .map(|((logarithmic, name), &bounds)| Axis::new(name, bounds, self.points, logarithmic))
            .collect();
        let cells = axes.iter().map(|axis| axis.centres.len()).product();
        let mut surface = Surface::new(axes, cells);

        let chunks = Chunks {
            posterior,
            run,
            cells,
            done: AtomicUsize::new(0),
            failed_from: AtomicUsize::new(usize::MAX),
        };
        let axes = &surface.axes;
        let mut outcomes: Vec<Result<Filled, String>> = surface
            .log_likelihood
            .par_chunks_mut(self.batch_size)
            .enumerate()
            .map(|(index, out)| chunks.evaluate(axes, index * self.batch_size, out))
            .collect();
        if let Some(index) = outcomes.iter().position(|outcome| outcome.is_err()) {
            let message = outcomes[index].as_ref().err().cloned().unwrap_or_default();
            // What came of later chunks depends on the threads.
            outcomes.truncate(index);
            surface.evaluated = index * self.batch_size;
            if surface.evaluated == 0 {
                return Err(SampleError::Eval(EvalError::Fatal(message)));
            }
            surface.log_likelihood[surface.evaluated..].fill(f64::NEG_INFINITY);
            surface.stop = StopReason::Fatal { chain: 0, message };
        }
        let filled = || outcomes.iter().flatten();
        surface.evaluations.values = filled().map(|filled| filled.evaluations).sum();
        let skipped: Vec<&(usize, String)> = filled().filter_map(|filled| filled.skipped.as_ref()).collect();
        let mut count: usize = skipped.iter().map(|(count, _)| count).sum();
        let mut reason = skipped.first().map(|(_, message)| message.clone());
        let mut x = Vec::new();
        for cell in 0..surface.evaluated {
            surface.centre_into(cell, &mut x);
            match posterior.checked_prior(&x) {
                Ok(log_prior) => surface.log_density[cell] = surface.log_likelihood[cell] + log_prior,
                Err(error) => {
                    // A cell whose likelihood failed as well has been counted.
                    count += usize::from(surface.log_likelihood[cell] > f64::NEG_INFINITY);
                    surface.log_likelihood[cell] = f64::NEG_INFINITY;
                    reason.get_or_insert_with(|| error.to_string());
                }
            }
        }
        let mut last = "a log density of -inf".to_owned();
        if let Some(message) = reason {
            surface.warnings.push(format!(
                "{count} of {cells} cells failed and count for nothing: {message}"
            ));
            last = message;
        }
        if !surface
            .log_density
            .iter()
            .any(|log_density| log_density.is_finite())
        {
            return Err(SampleError::NoStart {
                tries: surface.evaluated,
                last,
            });
        }
        Ok(surface)
    }
}

/// What came of one chunk.
#[derive(Default)]
struct Filled {
    evaluations: u64,
    /// How many cells failed, and the first reason.
    skipped: Option<(usize, String)>,
}

/// What the worker threads share.
struct Chunks<'a, L> {
    posterior: &'a Posterior<L>,
    run: &'a RunOptions,
    cells: usize,
    done: AtomicUsize,
    /// The lowest cell whose chunk failed for good. Chunks above are in vain; those below are not, so what
    /// is kept does not depend on the threads.
    failed_from: AtomicUsize,
}

impl<L: Likelihood> Chunks<'_, L> {
    /// Fills one chunk; tells what came of it, or what was fatal.
    fn evaluate(&self, axes: &[Axis], first: usize, out: &mut [f64]) -> Result<Filled, String> {
        if first > self.failed_from.load(Ordering::Relaxed) {
            return Ok(Filled::default());
        }
        let (mut xs, mut x) = (Vec::new(), Vec::new());
        for cell in first..first + out.len() {
            Axis::centre_into(axes, cell, &mut x);
            xs.extend_from_slice(&x);
        }
        let outcome = Points::new(&xs, axes.len()).and_then(|points| self.fill(points, out));
        let evaluations = match outcome {
            Ok(evaluations) => evaluations,
            Err(EvalError::Fatal(message) | EvalError::Recoverable(message)) => {
                self.failed_from.fetch_min(first, Ordering::Relaxed);
                return Err(message);
            }
        };
        let done = self.done.fetch_add(out.len(), Ordering::Relaxed) + out.len();
        self.run.report(0, done, self.cells);

        let mut skipped = None;
        for (x, value) in xs.chunks_exact(axes.len()).zip(out) {
            if let Err(error) = self.posterior.checked("likelihood", x, *value) {
                *value = f64::NEG_INFINITY;
                skipped.get_or_insert_with(|| (0, error.to_string())).0 += 1;
            }
        }
        Ok(Filled { evaluations, skipped })
    }

    /// The batch at once, or point by point where one of them fails, which then becomes NaN. Tells how many
    /// evaluations that took.
    fn fill(&self, points: Points<'_>, out: &mut [f64]) -> Result<u64, EvalError> {
        let evaluations = points.len() as u64;
        match self.posterior.likelihood().log_likelihood_batch(points, out) {
            Err(EvalError::Recoverable(_)) => {}
            other => return other.map(|()| evaluations),
        }
        for (x, value) in points.iter().zip(out) {
            *value = match self.posterior.likelihood().log_likelihood(x) {
                Err(EvalError::Recoverable(_)) => f64::NAN,
                other => other?,
            };
        }
        Ok(2 * evaluations)
    }
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
fn judge<L: Likelihood>(posterior: &Posterior<L>, surface: &mut Surface) {
    let mut warnings = Vec::new();
    for (index, (least, greatest)) in posterior.prior().support().into_iter().enumerate() {
        let (axis, masses) = (&surface.axes[index], surface.masses(index));
        let (name, cells) = (&axis.name, masses.len());
        let held = 1.0 / masses.iter().map(|mass| mass * mass).sum::<f64>();
        if held < FEWEST_CELLS {
            let message = "the mass is in fewer than 3 cells: take more points or set `refine`";
            warnings.push(format!("{name} is too coarse: {message}"));
        }
        let cut = |edge: f64, bound: f64, mass: f64| edge != bound && mass > CUT_MASS;
        if cut(axis.edges[0], least, masses[0]) || cut(axis.edges[cells], greatest, masses[cells - 1]) {
            warnings.push(format!("{name} has mass at the edge of the grid's box: widen it"));
        }
    }
    surface.warnings.extend(warnings);
}

impl<L: Likelihood> Sampler<Posterior<L>> for Grid {
    fn sample(&self, target: &Posterior<L>, run: &RunOptions) -> Result<Run, SampleError> {
        Ok(self.evaluate(target, run)?.run())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::{Support, Univariate};
    use crate::number::Number;
    use crate::prior::{LogUniform, Normal, Prior, Uniform};

    /// A normal in a with mean 0.3 and standard deviation 0.05, a flat likelihood in b.
    struct Toy;
    impl Likelihood for Toy {
        fn dim(&self) -> usize {
            2
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-0.5 * ((x[0] - 0.3) / 0.05).powi(2))
        }
    }

    fn posterior() -> Posterior<Toy> {
        let prior = Prior::new().with("a", Uniform::new(-1.0, 1.0).unwrap()).unwrap();
        Posterior::new(prior.with("b", LogUniform::new(0.1, 10.0).unwrap()).unwrap(), Toy).unwrap()
    }

    #[test]
    fn quadrature_meets_the_closed_form() {
        let surface = Grid::new(100)
            .evaluate(&posterior(), &RunOptions::default())
            .unwrap();
        // ∫ exp(−½ ((a − 0.3)/0.05)²) da / 2; the midpoint rule is exact for smooth peaks inside the box.
        let evidence = (0.05 * std::f64::consts::TAU.sqrt() / 2.0).ln();
        assert!((surface.log_evidence().unwrap() - evidence).abs() < 1e-10);
        let summary = surface.run().summary();
        let (a, b) = (&summary.parameters[0], &summary.parameters[1]);
        assert!((a.mean - 0.3).abs() < 1e-10 && (a.sd - 0.05).abs() < 1e-10);
        // Quantiles are linear between cells of 0.02, 0.4 standard deviations wide.
        assert!((a.q84 - (0.3 + 0.05 * 0.994_457_883)).abs() < 0.002 && (a.q50 - 0.3).abs() < 1e-10);
        // The prior of b: median 1, mean (10 − 0.1) / ln 100.
        assert!((b.q50 - 1.0).abs() < 0.01 && (b.mean - 9.9 / 100f64.ln()).abs() < 0.01);
        assert_eq!((a.rhat, a.ess, summary.evaluations.values), (None, None, 10_000));
        assert!(summary.warnings.is_empty(), "{:?}", summary.warnings);
    }

    #[test]
    fn marginals_are_densities() {
        let surface = Grid::new(80)
            .evaluate(&posterior(), &RunOptions::default())
            .unwrap();
        let a = surface.marginal(0);
        let peak = a.iter().copied().fold(0.0, f64::max);
        let at_peak = 1.0 / (0.05 * std::f64::consts::TAU.sqrt());
        assert!((peak / at_peak - 1.0).abs() < 0.04);
        let mass: f64 = a.iter().zip(&surface.axes[0].widths).map(|(p, w)| p * w).sum();
        assert!((mass - 1.0).abs() < 1e-12);
        let pair = surface.marginal_pair(0, 1);
        let transposed = surface.marginal_pair(1, 0);
        let (i, j) = (50, 7);
        let product = a[i] * surface.marginal(1)[j];
        assert!((pair[i * 80 + j] / product - 1.0).abs() < 1e-10);
        assert_eq!(pair[i * 80 + j], transposed[j * 80 + i]);
        let best = surface.best();
        assert!((best[0] - 0.3).abs() < 0.0126);
    }

    #[test]
    fn refinement_looks_where_the_mass_is() {
        let coarse = Grid::new(10)
            .evaluate(&posterior(), &RunOptions::default())
            .unwrap();
        assert!(coarse.warnings[0].contains("a is too coarse"));
        let grid = Grid {
            refine: true,
            ..Grid::new(24)
        };
        let fine = grid.evaluate(&posterior(), &RunOptions::default()).unwrap();
        assert!(fine.axes[0].edges[0] > -0.3 && fine.axes[0].edges[24] < 0.9);
        assert!((fine.axes[1].edges[0] - 0.1).abs() < 1e-12 && fine.warnings.is_empty());
        let a = &fine.run().summary().parameters[0];
        assert!((a.mean - 0.3).abs() < 1e-5 && (a.sd - 0.05).abs() < 1e-5, "{a:?}");
        assert_eq!(fine.evaluations.values, 2 * 24 * 24);
    }

    #[test]
    fn what_is_told_after_a_fatal_error_does_not_depend_on_the_threads() {
        /// Cells above a quarter are skipped; that at a half is fatal.
        struct Fragile;
        impl Likelihood for Fragile {
            fn dim(&self) -> usize {
                1
            }
            fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
                // Late, so that later chunks are under way by then.
                if (0.5..0.51).contains(&x[0]) {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    return Err(EvalError::Fatal("gone".into()));
                }
                Ok(if x[0] > 0.25 { f64::NAN } else { 0.0 })
            }
        }
        let prior = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
        let posterior = Posterior::new(prior, Fragile).unwrap();
        let grid = Grid {
            batch_size: 1,
            ..Grid::new(100)
        };
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap()
                .install(|| grid.evaluate(&posterior, &RunOptions::default()).unwrap())
        };
        for threads in [1, 4] {
            let surface = with_threads(threads);
            assert_eq!(surface.evaluated, 50);
            assert_eq!(surface.evaluations.values, 50);
            assert!(
                surface.warnings[0].starts_with("25 of 100 cells failed"),
                "{:?}",
                surface.warnings
            );
        }
    }

    #[test]
    fn a_logarithmic_axis_does_not_reach_zero() {
        #[derive(Debug, Clone, Copy)]
        struct FromZero(Uniform);
        impl Univariate for FromZero {
            type Number = f64;
            fn ln_density<X: Number + From<f64>>(&self, x: X) -> X {
                self.0.ln_density(x)
            }
            fn quantile(&self, p: f64) -> f64 {
                self.0.quantile(p)
            }
            fn support(&self) -> Support {
                Support::Decades(0.0, 1.0)
            }
        }
        let prior = Prior::new().with("a", Uniform::new(-1.0, 1.0).unwrap()).unwrap();
        let prior = prior
            .with("b", FromZero(Uniform::new(0.0, 1.0).unwrap()))
            .unwrap();
        let posterior = Posterior::new(prior, Toy).unwrap();
        let error = Grid::new(5)
            .evaluate(&posterior, &RunOptions::default())
            .unwrap_err();
        assert!(error.to_string().contains("its axis is logarithmic"), "{error}");
        let above = Grid {
            bounds: Some(vec![(-1.0, 1.0), (0.1, 1.0)]),
            ..Grid::new(5)
        };
        assert!(above.evaluate(&posterior, &RunOptions::default()).is_ok());
    }

    #[test]
    fn boxes_that_make_no_sense_or_cut_are_told() {
        let evaluate = |grid: &Grid| grid.evaluate(&posterior(), &RunOptions::default());
        let with = |bounds: Vec<(f64, f64)>| Grid {
            bounds: Some(bounds),
            ..Grid::new(20)
        };
        assert!(evaluate(&Grid::new(0)).is_err() && evaluate(&Grid::new(100_000)).is_err());
        assert!(evaluate(&with(vec![(0.0, 1.0)])).is_err());
        assert!(evaluate(&with(vec![(0.0, 2.0), (1.0, 2.0)])).is_err());
        assert!(evaluate(&with(vec![(0.5, 0.1), (1.0, 2.0)])).is_err());
        let cut = evaluate(&with(vec![(0.3, 0.6), (0.1, 10.0)])).unwrap();
        assert_eq!(
            cut.warnings,
            ["a has mass at the edge of the grid's box: widen it"]
        );
        let normal = Prior::new().with("a", Normal::new(0.0, 1.0).unwrap()).unwrap();
        let normal = normal.with("b", Normal::new(0.0, 1.0).unwrap()).unwrap();
        let surface = Grid::new(50).evaluate(&Posterior::new(normal, Toy).unwrap(), &RunOptions::default());
        assert!((surface.unwrap().axes[1].edges[50] - 3.719_016_485).abs() < 1e-8);
    }
}
