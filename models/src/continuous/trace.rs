//! Take the trace of a Jacobian from derivatives along directions: exactly, or by probing it at random.

use armilla_samplers::rng::{Purpose, Stream, stream};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::{
    error::{ModelError, Result},
    likelihoods::NoiseKey,
    predictor::DifferentiablePredictor,
};

/// Larger counts of probes are mistakes.
const MOST: usize = 1 << 16;
/// Numbers of all directions that are followed together.
const AT_ONCE: usize = 1 << 20;
/// What is left of a vector after others were taken out of it, relative to what it was: less is rounding in the single
/// precision of a network.
const ROUNDING: f64 = 1e-6;

/// Where the streams of the probes begin: far from those of the noise that rows are drawn from under the same key.
const STREAMS: u64 = 1 << 60;

/// How to take the trace of the Jacobian of a velocity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// From one derivative for each of the numbers of an example: for few numbers.
    Exact,
    /// `εᵀ J ε` in the mean over probes of random signs (Hutchinson 1990; Grathwohl et al. 2019, arXiv 1810.01367).
    Rademacher {
        /// How many.
        probes: usize,
    },
    /// The same with probes of the normal distribution, whose spread is larger.
    Gaussian {
        /// How many.
        probes: usize,
    },
    /// Exactly on the directions that a third of the probes find to matter most, by signs on the rest (Meyer et al.
    /// 2021, arXiv 2010.09649): for Jacobians of which few directions make most. It takes two passes for each time.
    HutchPlusPlus {
        /// Products with the Jacobian in all, three at least.
        probes: usize,
    },
}

impl Trace {
    /// Looks whether the number of probes makes sense.
    ///
    /// # Errors
    /// `Invalid`, naming what is allowed.
    pub fn check(self) -> Result<()> {
        let (probes, least) = match self {
            Self::Exact => return Ok(()),
            Self::Rademacher { probes } | Self::Gaussian { probes } => (probes, 1),
            Self::HutchPlusPlus { probes } => (probes, 3),
        };
        if (least..=MOST).contains(&probes) {
            return Ok(());
        }
        Err(ModelError::Invalid(format!(
            "{self:?}: between {least} and {MOST} probes are needed"
        )))
    }

    /// How many of the probes find directions, and how many measure.
    fn shares(self) -> [usize; 2] {
        match self {
            Self::Exact => [0, 0],
            Self::Rademacher { probes } | Self::Gaussian { probes } => [0, probes],
            // A third finds, the directions found take a third, and what is left measures the rest.
            Self::HutchPlusPlus { probes } => [probes / 3, probes - 2 * (probes / 3)],
        }
    }

    /// One probe's number.
    pub(super) fn number(self, stream: &mut Stream) -> f64 {
        match self {
            Self::Gaussian { .. } => StandardNormal.sample(stream),
            _ if stream.random() => 1.0,
            _ => -1.0,
        }
    }
}

/// The probes of rows, which stay the same along a solution: the estimate is then a smooth function of time.
pub(super) struct Probes {
    trace: Trace,
    numbers: usize,
    /// How many find directions, and how many measure.
    shares: [usize; 2],
    /// Rows × those that find, then those that measure × numbers.
    values: Vec<f64>,
}

impl Probes {
    /// Those of row `i` follow from the key and `i` alone.
    pub(super) fn draw(trace: Trace, rows: usize, numbers: usize, key: NoiseKey) -> Result<Self> {
        trace.check()?;
        let shares = trace.shares();
        let each = (shares[0] + shares[1]) * numbers;
        let row = |row: usize| {
            let mut stream = stream(key, Purpose::Noise, STREAMS + row as u64);
            (0..each).map(move |_| trace.number(&mut stream))
        };
        Ok(Self {
            trace,
            numbers,
            shares,
            values: (0..rows).flat_map(row).collect(),
        })
    }

    /// Estimates for each row.
    pub(super) fn estimates(&self) -> usize {
        self.shares[1].max(1)
    }

    fn probe(&self, row: usize, i: usize) -> &[f64] {
        let each = self.shares[0] + self.shares[1];
        &self.values[(row * each + i) * self.numbers..][..self.numbers]
    }

    /// The prediction for each row of `x`, and (rows × estimates) of the trace of its Jacobian.
    pub(super) fn traces<P>(&self, predictor: &P, x: &[f64], t: f64) -> Result<[Vec<f64>; 2]>
    where
        P: DifferentiablePredictor + ?Sized,
    {
        let n = self.numbers;
        let estimates = self.estimates();
        let mut traces = vec![0.0; x.len() / n * estimates];
        let prediction = match self.trace {
            Trace::Exact => along(
                predictor,
                x,
                t,
                n,
                |_, i, direction| direction[i] = 1.0,
                |row, i, product| traces[row] += product[i],
            )?,
            Trace::HutchPlusPlus { .. } => {
                let [finding, measuring] = self.shares;
                let mut found = vec![0.0; x.len() * finding];
                let prediction = along(
                    predictor,
                    x,
                    t,
                    finding,
                    |row, i, direction| direction.copy_from_slice(self.probe(row, i)),
                    |row, i, product| {
                        found[(row * finding + i) * n..][..n].copy_from_slice(product);
                    },
                )?;
                found
                    .chunks_exact_mut(n * finding)
                    .for_each(|q| orthonormalise(q, n));
                let direction = |row: usize, i: usize, direction: &mut [f64]| {
                    let q = &found[row * finding * n..][..finding * n];
                    if i < finding {
                        direction.copy_from_slice(&q[i * n..][..n]);
                    } else {
                        direction.copy_from_slice(self.probe(row, i));
                        q.chunks_exact(n).for_each(|q| take_out(direction, q));
                    }
                };
                let mut again = vec![0.0; n];
                along(
                    predictor,
                    x,
                    t,
                    finding + measuring,
                    direction,
                    |row, i, product| {
                        again.fill(0.0);
                        direction(row, i, &mut again);
                        let part = dot(&again, product);
                        let traces = &mut traces[row * estimates..][..estimates];
                        match i.checked_sub(finding) {
                            Some(i) => traces[i] += part,
                            None => traces.iter_mut().for_each(|t| *t += part),
                        }
                    },
                )?;
                prediction
            }
            Trace::Rademacher { .. } | Trace::Gaussian { .. } => along(
                predictor,
                x,
                t,
                estimates,
                |row, i, direction| direction.copy_from_slice(self.probe(row, i)),
                |row, i, product| traces[row * estimates + i] = dot(self.probe(row, i), product),
            )?,
        };
        Ok([prediction, traces])
    }
}

/// The prediction for each row of `x`; `product` hears of its derivative along each of `count` directions, which
/// `direction` writes over zeros. All directions of all rows go through together, as many as fit.
fn along<P: DifferentiablePredictor + ?Sized>(
    predictor: &P,
    x: &[f64],
    t: f64,
    count: usize,
    direction: impl Fn(usize, usize, &mut [f64]),
    mut product: impl FnMut(usize, usize, &[f64]),
) -> Result<Vec<f64>> {
    let n = predictor.numbers();
    let pairs = x.len() / n * count;
    let mut prediction = Vec::with_capacity(x.len());
    for first in (0..pairs).step_by((AT_ONCE / n).max(1)) {
        let pairs = first..pairs.min(first + (AT_ONCE / n).max(1));
        let mut points = Vec::with_capacity(pairs.len() * n);
        let mut directions = vec![0.0; pairs.len() * n];
        for (pair, to) in pairs.clone().zip(directions.chunks_exact_mut(n)) {
            points.extend_from_slice(&x[pair / count * n..][..n]);
            direction(pair / count, pair % count, to);
        }
        let [values, products] = predictor.predict_along(&points, &directions, t)?;
        let both = values.chunks_exact(n).zip(products.chunks_exact(n));
        for (pair, (value, derivative)) in pairs.zip(both) {
            if pair % count == 0 {
                prediction.extend_from_slice(value);
            }
            product(pair / count, pair % count, derivative);
        }
    }
    Ok(prediction)
}

/// Makes vectors of `n` numbers orthonormal, one after the other; zeros where one lies among those before it.
fn orthonormalise(vectors: &mut [f64], n: usize) {
    for i in 0..vectors.len() / n {
        let (before, rest) = vectors.split_at_mut(i * n);
        let vector = &mut rest[..n];
        let size = dot(vector, vector).sqrt();
        // Twice is enough (Parlett 1980).
        for _ in 0..2 {
            before.chunks_exact(n).for_each(|q| take_out(vector, q));
        }
        let left = dot(vector, vector).sqrt();
        let scale = if left > ROUNDING * size { 1.0 / left } else { 0.0 };
        vector.iter_mut().for_each(|v| *v *= scale);
    }
}

/// Takes the part along the unit vector `q` out of `vector`.
fn take_out(vector: &mut [f64], q: &[f64]) {
    let part = dot(vector, q);
    vector.iter_mut().zip(q).for_each(|(v, q)| *v -= part * q);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
