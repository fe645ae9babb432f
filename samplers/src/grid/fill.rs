//! Fill a grid block by block, so that it can be stopped, kept and resumed.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::pass::{Pass, judge, smaller_box};
use super::{Grid, Layout};
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::likelihood::{Likelihood, Points};
use crate::optimise::{Ground, Objective, Optimiser, walk};
use crate::posterior::{Posterior, Terms};
use crate::rng::Stream;
use crate::run::engine::{self, Process};
use crate::run::{Chain, Evaluations, RunOptions, StopReason};
use crate::surface::{Axis, Surface};

/// Batches for each thread in one block: some, so that no thread waits long for another.
const BATCHES_PER_THREAD: usize = 2;
/// Each look narrows an axis by the number of points on it: more looks than this are of no use.
const MOST_PASSES: usize = 8;

struct Filler<'a, L, O> {
    grid: &'a Grid<O>,
    layout: &'a Layout,
    posterior: &'a Posterior<L>,
}

/// A grid between two blocks.
#[derive(Serialize, Deserialize)]
struct Filling {
    /// The last look that was finished.
    whole: Option<Pass>,
    /// The look under way; none when all are done.
    current: Option<Pass>,
    passes: usize,
    /// What was spent on all cells, in the order of the cells: not on those behind one that failed for good.
    spent: Evaluations,
    /// Where on the real line profiles are begun.
    from: Vec<f64>,
    /// A cell with its log density, both on the real line, to recognise the posterior by.
    known: Option<(Vec<f64>, f64)>,
}

/// What came of one batch.
#[derive(Default)]
struct Filled {
    values: Vec<f64>,
    profiled: Vec<f64>,
    spent: Evaluations,
    skipped: usize,
    reason: Option<String>,
    unfinished: usize,
}

impl Filled {
    /// A cell that failed counts for nothing.
    fn skip(&mut self, reason: &str) -> f64 {
        self.skipped += 1;
        self.reason.get_or_insert_with(|| reason.to_owned());
        f64::NEG_INFINITY
    }
}

pub(super) fn evaluate<L: Likelihood, O: Optimiser<L>>(
    grid: &Grid<O>,
    layout: &Layout,
    posterior: &Posterior<L>,
    options: &RunOptions,
) -> Result<Surface, SampleError> {
    let filler = Filler {
        grid,
        layout,
        posterior,
    };
    let outcome = engine::run(&filler, posterior, options)?;
    let (run, mut states) = (outcome.run, outcome.states);
    let fatal = |stop: StopReason| match stop {
        StopReason::Fatal { message, .. } => SampleError::Eval(EvalError::Fatal(message)),
        // The engine leaves a worker out only where it failed for good.
        _ => SampleError::Invalid("the grid was not begun".into()),
    };
    let Some(Filling {
        whole,
        current,
        spent,
        ..
    }) = states.pop()
    else {
        return Err(fatal(run.stop));
    };
    // A whole coarse grid is worth more than part of a fine one.
    let pass = match (whole, current) {
        (Some(pass), _) | (None, Some(pass)) => pass,
        // A look is under way until one is finished.
        (None, None) => return Err(fatal(run.stop)),
    };
    let mut surface = pass.surface(layout, posterior);
    surface.evaluations = spent;
    if surface.evaluated == 0 && matches!(run.stop, StopReason::Fatal { .. }) {
        return Err(fatal(run.stop));
    }
    surface.stop = run.stop;
    let any = surface.log_density.iter().any(|density| density.is_finite());
    if !any && surface.evaluated == layout.cells() {
        let last = pass.reason.or_else(|| surface.warnings.first().cloned());
        return Err(SampleError::NoStart {
            tries: surface.evaluated,
            last: last.unwrap_or_else(|| "a log density of -inf".to_owned()),
        });
    }
    if any {
        judge(layout, posterior, &mut surface);
    }
    Ok(surface)
}

impl<L: Likelihood, O: Optimiser<L>> Process<Posterior<L>> for Filler<'_, L, O> {
    type State = Filling;

    fn method(&self) -> String {
        "grid".into()
    }

    fn settings(&self) -> String {
        let Grid {
            points,
            off_axis,
            refine,
            batch_size,
            profiler,
            ..
        } = self.grid;
        let bounds = &self.layout.bounds;
        format!(
            "{points} points within {bounds:?}, {off_axis:?} by {profiler:?}, refine {refine}, batches of \
             {batch_size}"
        )
    }

    fn workers(&self, _options: &RunOptions) -> (usize, usize) {
        (1, 0)
    }

    fn start(
        &self,
        _target: &Counted<'_, Posterior<L>>,
        _options: &RunOptions,
        _worker: usize,
        _rng: &mut Stream,
    ) -> Result<Filling, SampleError> {
        let mut filling = Filling {
            whole: None,
            current: Some(Pass::new(self.layout.bounds.clone())),
            passes: 1,
            spent: Evaluations::default(),
            from: self.posterior.to_real_line(&self.layout.x),
            known: None,
        };
        if !self.layout.profiled.is_empty() {
            let fixed =
                |index: &usize| self.layout.off.contains(index) && !self.layout.profiled.contains(index);
            let free: Vec<usize> = (0..filling.from.len()).filter(|index| !fixed(index)).collect();
            let start = free.iter().map(|&index| filling.from[index]).collect();
            let objective = Objective::holding(self.posterior, Terms::Likelihood, free, filling.from.clone());
            let counted = Counted::new(&objective);
            match walk(&self.grid.profiler, &Ground::new(&counted), start) {
                Ok((trace, _)) => {
                    if let Some((_, best)) = trace.best {
                        filling.from = objective.whole(&best);
                    }
                }
                Err(EvalError::Recoverable(_)) => {}
                Err(fatal) => return Err(fatal.into()),
            }
            filling.spent += counted.evaluations();
        }
        Ok(filling)
    }

    /// A block is as large as there are threads for it: no cell depends on which block it is in.
    fn advance(
        &self,
        _target: &Counted<'_, Posterior<L>>,
        _options: &RunOptions,
        filling: &mut Filling,
        _rng: &mut Stream,
        _chains: &mut [Chain],
    ) -> Result<(), EvalError> {
        let Filling {
            whole,
            current,
            passes,
            spent,
            from,
            known,
        } = filling;
        let Some(pass) = current else {
            return Ok(());
        };
        let axes = self.layout.axes(self.posterior.names(), &pass.bounds);
        // A profile is work enough for a batch of its own.
        let profiling = !self.layout.profiled.is_empty();
        let size = if profiling { 1 } else { self.grid.batch_size };
        let cells = self.layout.cells();
        let mut batches = Vec::new();
        let mut first = pass.values.len();
        while first < cells && batches.len() < BATCHES_PER_THREAD * rayon::current_num_threads() {
            let end = cells.min(first.saturating_add(size));
            batches.push(first..end);
            first = end;
        }
        let fill = |cells: std::ops::Range<usize>| {
            if profiling {
                self.profile(&axes, cells.start, from)
            } else {
                self.fill(&axes, cells)
            }
        };
        let outcomes: Vec<Result<Filled, EvalError>> = batches.into_par_iter().map(fill).collect();
        for outcome in outcomes {
            // What came of later batches depends on the threads.
            let filled = outcome?;
            pass.values.extend(filled.values);
            pass.profiled.extend(filled.profiled);
            pass.skipped += filled.skipped;
            pass.reason = pass.reason.take().or(filled.reason);
            pass.unfinished += filled.unfinished;
            *spent += filled.spent;
        }
        if known.is_none() {
            *known = self.known(&axes, pass);
        }
        if pass.values.len() < cells {
            return Ok(());
        }
        let surface = pass.surface(self.layout, self.posterior);
        let any = surface.log_density.iter().any(|density| density.is_finite());
        if !any && whole.is_some() {
            // Nothing where the last look saw something: that one stays.
            *current = None;
            return Ok(());
        }
        let again = self.grid.refine && any && *passes < MOST_PASSES;
        let inner = if again {
            smaller_box(&surface, *passes == 1)
        } else {
            None
        };
        *whole = current.take();
        if let Some(bounds) = inner {
            *passes += 1;
            *current = Some(Pass::new(bounds));
        }
        Ok(())
    }

    fn progress(&self, _options: &RunOptions, filling: &Filling) -> (usize, usize, bool) {
        let cells = self.layout.cells();
        let done = filling.current.as_ref().map_or(cells, |pass| pass.values.len());
        (done, cells, false)
    }

    fn position<'s>(&self, filling: &'s Filling) -> Option<(&'s [f64], f64)> {
        filling
            .known
            .as_ref()
            .map(|(z, log_density)| (z.as_slice(), *log_density))
    }
}

impl<L: Likelihood, O: Optimiser<L>> Filler<'_, L, O> {
    /// The first cell that has a density.
    fn known(&self, axes: &[Axis], pass: &Pass) -> Option<(Vec<f64>, f64)> {
        let cell = pass.values.iter().position(|value| value.is_finite())?;
        let x = pass.x(self.layout, axes, cell);
        let z = self.posterior.to_real_line(&x);
        let log_density = pass.values[cell] + self.posterior.log_prior(&x) + self.posterior.ln_jacobian(&z);
        log_density.is_finite().then_some((z, log_density))
    }

    /// The likelihood in several cells.
    fn fill(&self, axes: &[Axis], cells: std::ops::Range<usize>) -> Result<Filled, EvalError> {
        let dim = self.layout.x.len();
        let mut filled = Filled {
            values: vec![0.0; cells.len()],
            ..Filled::default()
        };
        let xs: Vec<f64> = cells.flat_map(|cell| self.layout.x(axes, cell)).collect();
        let points = Points::new(&xs, dim)?;
        filled.spent.values = self.ask(points, &mut filled.values)?;
        let mut values = std::mem::take(&mut filled.values);
        for (x, value) in points.iter().zip(&mut values) {
            if let Err(error) = self.posterior.checked("likelihood", x, *value) {
                *value = filled.skip(&error.to_string());
            }
        }
        filled.values = values;
        Ok(filled)
    }

    /// The batch at once, or point by point where one of them fails, which then becomes NaN. Tells how many
    /// evaluations that took.
    fn ask(&self, points: Points<'_>, out: &mut [f64]) -> Result<u64, EvalError> {
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

    /// The likelihood in a cell, maximised over what is profiled.
    fn profile(&self, axes: &[Axis], cell: usize, from: &[f64]) -> Result<Filled, EvalError> {
        let mut filled = Filled::default();
        let profiled = &self.layout.profiled;
        let mut x = self.layout.x(axes, cell);
        let mut held = self.posterior.to_real_line(&x);
        profiled.iter().for_each(|&index| held[index] = from[index]);
        let start = profiled.iter().map(|&index| from[index]).collect();
        let objective = Objective::holding(self.posterior, Terms::Likelihood, profiled.clone(), held);
        let counted = Counted::new(&objective);
        let value = match walk(&self.grid.profiler, &Ground::new(&counted), start) {
            Ok((trace, ended)) => {
                filled.unfinished = usize::from(!ended);
                // A walk begins at a value that is finite.
                let (value, z) = trace.best.unwrap_or((f64::INFINITY, Vec::new()));
                if value.is_finite() {
                    x = objective.physical(&z);
                }
                -value
            }
            Err(EvalError::Recoverable(message)) => filled.skip(&message),
            Err(fatal) => return Err(fatal),
        };
        filled.values.push(value);
        filled.profiled.extend(profiled.iter().map(|&index| x[index]));
        filled.spent = counted.evaluations();
        Ok(filled)
    }
}
