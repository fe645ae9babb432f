//! Keep what every solver needs: the predictor, the times, the noise, and the count of evaluations.

use std::ops::Range;

use armilla_samplers::rng::{Purpose, Stream, stream};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::{
    error::{ModelError, Result},
    likelihoods::NoiseKey,
    path::{Path, Point, Target},
    predictor::Predictor,
};

/// Indices of the rows' streams: for the noise that a walk begins in, and for that on the way.
const STREAMS: [u64; 2] = [1 << 61, 1 << 62];

/// How far from an end a walk stays where a prediction says nothing there.
const MARGIN: f64 = 1e-3;

/// A prediction says nothing near the data where its errors are multiplied by more than this.
const AMPLIFIED: f64 = 1e6;

/// The noise levels σ/α that count: beyond, data of about unit variance are all noise or without noise (Karras et al.
/// 2022, arXiv 2206.00364: 0.002 to 80, for data of half the deviation).
const LEVELS: [f64; 2] = [0.002, 160.0];

/// A walk of a batch from noise to data.
pub(super) struct Walk<'a> {
    predictor: &'a dyn Predictor,
    /// Steps that the solver takes.
    pub(super) steps: usize,
    /// How often the predictor was asked.
    pub(super) evaluations: usize,
    /// One for each row.
    streams: Vec<Stream>,
    rows: Range<usize>,
    key: NoiseKey,
}

/// Standard normal numbers for `rows`.
pub(super) fn starting_noise(rows: Range<usize>, numbers: usize, key: NoiseKey) -> Vec<f64> {
    let mut noise = vec![0.0; rows.len() * numbers];
    if numbers > 0 {
        noise.par_chunks_mut(numbers).zip(rows).for_each(|(row, i)| {
            let mut stream = stream(key, Purpose::Noise, STREAMS[0] + i as u64);
            row.iter_mut()
                .for_each(|z| *z = StandardNormal.sample(&mut stream));
        });
    }
    noise
}

impl<'a> Walk<'a> {
    /// A walk of a batch of `len` numbers, whose first row is number `first`.
    pub(super) fn new(
        predictor: &'a dyn Predictor,
        len: usize,
        first: usize,
        steps: usize,
        key: NoiseKey,
    ) -> Result<Self> {
        let n = predictor.numbers();
        if n == 0 || !len.is_multiple_of(n) {
            let what = format!("{len} numbers do not make rows of {n}");
            return Err(ModelError::shape("generate", what));
        }
        predictor.path().check()?;
        if steps == 0 {
            let what = "no example comes in 0 steps: take at least one";
            return Err(ModelError::Invalid(what.into()));
        }
        Ok(Self {
            predictor,
            steps,
            evaluations: 0,
            streams: Vec::new(),
            rows: first..first + len / n,
            key,
        })
    }

    /// The path's coefficients at `t`.
    pub(super) fn at(&self, t: f64) -> Point {
        self.predictor.path().at(t)
    }

    /// What the predictor gives.
    pub(super) fn target(&self) -> Target {
        self.predictor.target()
    }

    /// The noise times its deviation at `t`.
    pub(super) fn begin(&self, mut noise: Vec<f64>, t: f64) -> Vec<f64> {
        let scale = self.at(t).sigma;
        noise.iter_mut().for_each(|z| *z *= scale);
        noise
    }

    /// Where a walk starts, next to 1, and where it ends, next to 0.
    pub(super) fn ends(&self) -> [f64; 2] {
        let [end, _] = self.predictor.path().range();
        let point = self.at(end);
        let says = [Target::Data, Target::Velocity].into_iter().all(|to| {
            let [a, b] = point.conversion(self.target(), to);
            a.abs() < AMPLIFIED && b.abs() < AMPLIFIED
        });
        [self.start(), if says { end } else { end + MARGIN }]
    }

    /// The latest time that a walk can start at: the last of a path, or for predictions of which data follow only times
    /// σ/α, that of the largest level that counts. Beyond, a small error of the noise is an error many times the data.
    fn start(&self) -> f64 {
        let path = self.predictor.path();
        let amplified = match (self.target(), path) {
            (Target::Velocity, Path::Linear | Path::Trigonometric) | (Target::Data | Target::V, _) => false,
            (Target::Noise | Target::Score | Target::Velocity, _) => true,
        };
        let above = |t: f64| {
            let point = self.at(t);
            point.sigma > LEVELS[1] * point.alpha
        };
        match path {
            _ if !amplified || !above(1.0) => 1.0,
            Path::Chain(chain) => {
                let levels = chain.steps();
                let time = |i: usize| i as f64 / levels as f64;
                (1..levels)
                    .rev()
                    .map(time)
                    .find(|t| !above(*t))
                    .unwrap_or(time(1))
            }
            _ => path.time_of(-2.0 * LEVELS[1].ln()),
        }
    }

    /// Times from the start to 0: those of a chain, or any. Step i is `place` of the way from 0, of i/steps; on a chain no two
    /// are one level.
    ///
    /// Asked for more steps than a chain has levels below the start, there is one for each.
    pub(super) fn grid(&self, place: impl Fn(f64) -> f64) -> Result<Vec<f64>> {
        if let Path::Chain(chain) = self.predictor.path() {
            let levels = chain.steps();
            if self.steps > levels {
                return Err(ModelError::Invalid(format!(
                    "a chain of {levels} timesteps is walked in at most as many steps, not {}",
                    self.steps
                )));
            }
            let first = (self.start() * levels as f64).round();
            let steps = self.steps.min(first as usize);
            let level = |i: usize| (place(i as f64 / steps as f64) * first).round().max(i as f64);
            return Ok((0..=steps).rev().map(|i| level(i) / levels as f64).collect());
        }
        let [start, end] = self.ends();
        let time = |i: usize| (start * place(i as f64 / self.steps as f64)).max(end);
        Ok((1..=self.steps).rev().map(time).chain([0.0]).collect())
    }

    /// Points for `steps` noise levels σ/α, from the largest to the smallest worth a step; level i is
    /// `between(largest, smallest, i/(steps − 1))`.
    pub(super) fn levels(&self, between: impl Fn(f64, f64, f64) -> f64) -> Vec<Point> {
        let [start, end] = self.ends().map(|t| self.at(t));
        let level = |p: &Point| p.sigma / p.alpha;
        let [low, high] = LEVELS;
        let first = level(&start).min(high);
        let last = level(&end).max(low).min(first);
        (0..self.steps)
            .map(|i| self.at_level(between(first, last, i as f64 / (self.steps - 1).max(1) as f64)))
            .collect()
    }

    /// The point with the noise level σ/α, in the range of the walk.
    pub(super) fn at_level(&self, level: f64) -> Point {
        let [start, end] = self.ends();
        // ln(α²/σ²)
        let t = self.predictor.path().time_of(-2.0 * level.ln());
        self.at(t.clamp(end, start))
    }

    /// The prediction for each row of `x` at `t`.
    pub(super) fn predict(&mut self, x: &[f64], t: f64) -> Result<Vec<f64>> {
        self.evaluations += 1;
        let values = self.predictor.predict(x, t)?;
        match values.iter().position(|p| !p.is_finite()) {
            None => Ok(values),
            Some(i) => Err(ModelError::Solver(format!(
                "the prediction of number {i} at t = {t} is {} (evaluation {}; the number there is {}): take more steps, or \
                 another sampler",
                values[i], self.evaluations, x[i]
            ))),
        }
    }

    /// The prediction as another target.
    pub(super) fn predict_as(&mut self, to: Target, x: &[f64], t: f64) -> Result<Vec<f64>> {
        let mut values = self.predict(x, t)?;
        self.at(t).convert([self.target(), to], x, &mut values);
        Ok(values)
    }

    /// Adds noise of deviation `scale` to each row of `x`, from the row's own stream.
    pub(super) fn add_noise(&mut self, x: &mut [f64], scale: f64) {
        if scale == 0.0 {
            return;
        }
        if self.streams.is_empty() {
            let stream = |i: usize| stream(self.key, Purpose::Noise, STREAMS[1] + i as u64);
            self.streams = self.rows.clone().map(stream).collect();
        }
        let rows = x.par_chunks_mut(self.predictor.numbers());
        rows.zip(&mut self.streams).for_each(|(row, stream)| {
            for x in row {
                let z: f64 = StandardNormal.sample(stream);
                *x += scale * z;
            }
        });
    }
}

/// `α_t/α_s` and the variance that is added on the way from the point `s` to `t`, further from data.
pub(super) fn transition(s: &Point, t: &Point) -> [f64; 2] {
    let ratio = t.alpha / s.alpha;
    let left = ratio * s.sigma;
    [ratio, (t.sigma * t.sigma - left * left).max(0.0)]
}

/// Equal steps.
pub(super) fn evenly(way: f64) -> f64 {
    way
}

/// Shorter steps to data, as Song et al. (2021) choose them for images: of a Gaussian whose variance is 0.03 to 3 times that of
/// all data, fifty steps of DDIM on the linear chain then keep 0.91 to 0.94, in place of 0.72 to 0.94.
pub(super) fn quadratically(way: f64) -> f64 {
    way * way
}
