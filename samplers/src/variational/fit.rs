//! Climb the evidence lower bound, then draw.

use rand::RngExt;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::normal::Normal;
use super::{Advi, Family};
use crate::density::{Counted, Density, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::likelihood::Points;
use crate::optimise::Momenta;
use crate::rng::Stream;
use crate::run::engine::Process;
use crate::run::markov::find_start;
use crate::run::{Chain, RunOptions};

/// The ELBO is judged by its mean over so many steps.
const WINDOW: usize = 100;
/// A window that gains less than this many nats, or than twice its standard error, is level.
const LEAST_GAIN: f64 = 0.01;
const STANDARD_ERRORS: f64 = 2.0;
/// After so many halvings the learning rate is 1/32 of the first: iterates then stray by some thousandths of
/// a standard deviation, and are averaged over this many windows.
const HALVINGS: usize = 5;
const AVERAGED: usize = 2;
/// Adam's memory of squares: shorter than for other ends, since gradients fall by orders of magnitude.
const MEMORY: f64 = 0.99;
/// Gradients in the frame of the fit are of order one near the end.
const MAX_NORM: f64 = 100.0;
/// The shape moves more slowly than the mean, by this factor, so that a mean which is two deviations off does
/// not lose ground while the deviations shrink.
const SHAPE_RATE: f64 = 0.5;
/// Steps without a single density in a row are too many.
const MOST_EMPTY: usize = 100;
/// Gradients asked for at once; the batches of a step run in parallel.
const BATCH: usize = 4;

pub(super) struct Fit<'a> {
    pub(super) advi: &'a Advi,
}

/// Means of the ELBO over windows.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Window {
    count: usize,
    mean: f64,
    scatter: f64,
}

impl Window {
    fn push(&mut self, elbo: f64) {
        self.count += 1;
        let before = elbo - self.mean;
        self.mean += before / self.count as f64;
        self.scatter += before * (elbo - self.mean);
    }

    /// The squared standard error of the mean.
    fn error(&self) -> f64 {
        let count = self.count as f64;
        self.scatter / (count - 1.0).max(1.0) / count
    }
}

/// A fit between two steps, or between two draws.
#[derive(Serialize, Deserialize)]
pub(super) struct Fitting {
    normal: Normal,
    momenta: Momenta,
    step: usize,
    draws: usize,
    /// Whether the shape moves too. At first only the mean does: a shape that fitted a narrow target from
    /// afar would leave the mean steps too short to get there.
    shaped: bool,
    halvings: usize,
    window: Window,
    /// The window before, under the same learning rate.
    before: Option<Window>,
    /// The mean of the last iterates, and how many they are.
    average: Option<(Normal, usize)>,
    empty: usize,
    ended: Option<End>,
    /// Where it began, to recognise the target by.
    start: Vec<f64>,
    log_density: f64,
}

/// How the climb came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum End {
    Level,
    OutOfIterations,
    Lost,
}

impl Fitting {
    /// What speaks against the fit.
    pub(super) fn warning(&self, advi: &Advi) -> Option<String> {
        match self.ended? {
            End::Level => None,
            End::OutOfIterations => Some(format!(
                "the evidence bound had not settled after {} iterations: allow more",
                advi.iterations
            )),
            End::Lost => Some("no density was found about the fit: it was given up".into()),
        }
    }

    /// Judges a full window: goes on, halves the learning rate, or ends.
    fn judge(&mut self) {
        let window = std::mem::take(&mut self.window);
        if self
            .average
            .as_ref()
            .is_some_and(|(_, count)| *count >= AVERAGED * WINDOW)
        {
            self.ended = Some(End::Level);
            return;
        }
        let level = self.before.as_ref().is_some_and(|before| {
            let error = (before.error() + window.error()).sqrt();
            window.mean - before.mean < LEAST_GAIN.max(STANDARD_ERRORS * error)
        });
        self.before = Some(window);
        if level && !self.shaped {
            self.shaped = true;
            self.before = None;
            self.momenta = Momenta::new(self.normal.numbers(), MEMORY);
        } else if level && self.halvings < HALVINGS {
            self.halvings += 1;
            self.before = None;
        } else if level && self.average.is_none() {
            self.average = Some((self.normal.clone(), 1));
        }
    }

    fn end(&mut self, end: End) {
        self.ended = Some(end);
        if let Some((average, _)) = self.average.take() {
            self.normal = average;
        }
    }
}

impl<T: DifferentiableDensity + ?Sized> Process<T> for Fit<'_> {
    type State = Fitting;

    fn method(&self) -> String {
        let family = match self.advi.family {
            Family::MeanField => "mean-field",
            Family::FullRank => "full-rank",
        };
        format!("variational inference ({family} ADVI)")
    }

    fn settings(&self) -> String {
        format!("{:?}", self.advi)
    }

    fn workers(&self, options: &RunOptions) -> (usize, usize) {
        (1, options.chains)
    }

    fn start(
        &self,
        target: &Counted<'_, T>,
        options: &RunOptions,
        worker: usize,
        _rng: &mut Stream,
    ) -> Result<Fitting, SampleError> {
        let (start, log_density) = find_start(target, options.seed, worker, |z| {
            let log_density = target.log_density(&z)?;
            Ok(((z, log_density), log_density))
        })?;
        let normal = Normal::new(self.advi.family, start.clone());
        Ok(Fitting {
            momenta: Momenta::new(normal.numbers(), MEMORY),
            normal,
            step: 0,
            draws: 0,
            shaped: false,
            halvings: 0,
            window: Window::default(),
            before: None,
            average: None,
            empty: 0,
            ended: None,
            start,
            log_density,
        })
    }

    fn advance(
        &self,
        target: &Counted<'_, T>,
        _options: &RunOptions,
        fitting: &mut Fitting,
        rng: &mut Stream,
        chains: &mut [Chain],
    ) -> Result<(), EvalError> {
        if fitting.ended.is_none() {
            self.climb(target, fitting, rng)
        } else {
            draw(target, fitting, rng, chains)
        }
    }

    /// A climb that ends early has made all its steps.
    fn progress(&self, options: &RunOptions, fitting: &Fitting) -> (usize, usize, bool) {
        let (steps, climbing) = match fitting.ended {
            None => (fitting.step, true),
            Some(_) => (self.advi.iterations, false),
        };
        (
            steps + fitting.draws,
            self.advi.iterations + options.draws,
            climbing,
        )
    }

    fn position<'s>(&self, fitting: &'s Fitting) -> Option<(&'s [f64], f64)> {
        Some((&fitting.start, fitting.log_density))
    }
}

fn noise(dim: usize, rng: &mut Stream) -> Vec<f64> {
    (0..dim).map(|_| rng.sample(StandardNormal)).collect()
}

/// Values, and gradients, at several points; `None` where a point failed or has no density.
type Slopes = Vec<Option<(f64, Vec<f64>)>>;

fn slopes<T: DifferentiableDensity + ?Sized>(
    target: &Counted<'_, T>,
    points: &[Vec<f64>],
) -> Result<Slopes, EvalError> {
    let dim = target.dim();
    let zs = points.concat();
    let (mut values, mut gradients) = (vec![0.0; points.len()], vec![0.0; zs.len()]);
    match target.value_and_gradient_batch(Points::new(&zs, dim)?, &mut values, &mut gradients) {
        Ok(()) => {}
        // One by one, to see which.
        Err(EvalError::Recoverable(_)) => {
            let each = points
                .iter()
                .zip(&mut values)
                .zip(gradients.chunks_exact_mut(dim));
            for ((z, value), gradient) in each {
                *value = match target.value_and_gradient(z, gradient) {
                    Err(EvalError::Recoverable(_)) => f64::NEG_INFINITY,
                    other => other?,
                };
            }
        }
        Err(fatal) => return Err(fatal),
    }
    let pairs = values.into_iter().zip(gradients.chunks_exact(dim));
    Ok(pairs
        .map(|(value, gradient)| value.is_finite().then(|| (value, gradient.to_vec())))
        .collect())
}

impl Fit<'_> {
    /// One step up the ELBO.
    fn climb<T: DifferentiableDensity + ?Sized>(
        &self,
        target: &Counted<'_, T>,
        fitting: &mut Fitting,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        let dim = fitting.normal.dim();
        let noises: Vec<Vec<f64>> = (0..self.advi.draws_per_step).map(|_| noise(dim, rng)).collect();
        let points: Vec<Vec<f64>> = noises.iter().map(|noise| fitting.normal.point(noise)).collect();
        let batches: Vec<Result<Slopes, EvalError>> = points
            .par_chunks(BATCH)
            .map(|points| slopes(target, points))
            .collect();
        let mut found = Vec::with_capacity(points.len());
        for batch in batches {
            found.extend(batch?);
        }
        fitting.step += 1;
        let mut gradient = vec![0.0; fitting.normal.numbers()];
        let (mut elbo, mut count) = (0.0, 0.0);
        for (slope, noise) in found.iter().zip(&noises) {
            if let Some((value, of_z)) = slope {
                fitting.normal.add_gradient(of_z, noise, &mut gradient);
                elbo += value - fitting.normal.ln_density(noise);
                count += 1.0;
            }
        }
        if count == 0.0 {
            // It is wider than where there is anything.
            fitting.normal.shrink(0.5);
            fitting.empty += 1;
            if fitting.empty == MOST_EMPTY {
                fitting.end(End::Lost);
            }
        } else {
            fitting.empty = 0;
            // Momenta go downhill.
            gradient.iter_mut().for_each(|gradient| *gradient /= -count);
            let rate = self.advi.learning_rate * 0.5f64.powi(fitting.halvings as i32);
            let mut step = vec![0.0; gradient.len()];
            fitting.momenta.descend(&mut step, &gradient, rate, MAX_NORM);
            let shape = if fitting.shaped { SHAPE_RATE } else { 0.0 };
            step[dim..].iter_mut().for_each(|step| *step *= shape);
            // A row of the triangle moves by as much as its diagonal, however long it is.
            let shorter = (dim as f64).sqrt().recip();
            step[2 * dim..].iter_mut().for_each(|step| *step *= shorter);
            fitting.normal.advance(&step);
            if let Some((average, weight)) = &mut fitting.average {
                average.average(*weight as f64, &fitting.normal);
                *weight += 1;
            }
            fitting.window.push(elbo / count);
            if fitting.window.count == WINDOW {
                fitting.judge();
            }
        }
        if let Some(end) = fitting.ended {
            fitting.end(end);
        } else if fitting.step == self.advi.iterations {
            fitting.end(End::OutOfIterations);
        }
        Ok(())
    }
}

/// One draw for each chain, with its log importance ratio for a weight.
fn draw<T: Density + ?Sized>(
    target: &Counted<'_, T>,
    fitting: &mut Fitting,
    rng: &mut Stream,
    chains: &mut [Chain],
) -> Result<(), EvalError> {
    let normal = &fitting.normal;
    let noises: Vec<Vec<f64>> = chains.iter().map(|_| noise(normal.dim(), rng)).collect();
    let points: Vec<Vec<f64>> = noises.iter().map(|noise| normal.point(noise)).collect();
    let zs = points.concat();
    let mut values = vec![0.0; points.len()];
    match target.log_density_batch(Points::new(&zs, normal.dim())?, &mut values) {
        Ok(()) => {}
        Err(EvalError::Recoverable(_)) => {
            for (z, value) in points.iter().zip(&mut values) {
                *value = match target.log_density(z) {
                    Err(EvalError::Recoverable(_)) => f64::NEG_INFINITY,
                    other => other?,
                };
            }
        }
        Err(fatal) => return Err(fatal),
    }
    for (index, chain) in chains.iter_mut().enumerate() {
        let (z, value) = (&points[index], values[index]);
        let from = chain.draws.len();
        chain.draws.resize(from + target.names().len(), 0.0);
        target.to_physical(z, &mut chain.draws[from..]);
        chain.log_density.push(value - target.ln_jacobian(z));
        let ratio = value - normal.ln_density(&noises[index]);
        chain.log_weights.get_or_insert_default().push(ratio);
    }
    fitting.draws += 1;
    Ok(())
}
