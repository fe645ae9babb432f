//! Grow a path by doubling it, without new memory for its points.

use rand::RngExt;

use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::hmc::leapfrog::{DIVERGENCE, Leap, Moving, Position};
use crate::hmc::metric::Metric;
use crate::rng::Stream;

/// Weights are relative to the first point's, as plain numbers: the exponential that the acceptance needs is
/// the weight too. A point e^700 times as probable as the first counts as no more than that, lest sums
/// overflow. In a chain that has converged this does not happen once in e^700 draws.
const MOST_LOG_WEIGHT: f64 = 700.0;

/// What became of the new half of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// It is as large as the old half.
    Whole,
    /// It turned back within itself.
    Turned,
    /// It left the support.
    Outside,
    /// It met a failed evaluation, or its energy ran away.
    Diverged,
}

/// A stretch of the path, in the order in which it was walked, and a draw from it.
#[derive(Debug, Clone, Default)]
struct Branch {
    /// The momenta of its ends: the one next to the older part, and the far one.
    first: Vec<f64>,
    last: Vec<f64>,
    /// The sum of all momenta.
    sum: Vec<f64>,
    weight: f64,
    draw: Position,
    /// Of the draw, less the first point's.
    energy_error: f64,
}

/// The whole path, and memory for the branches it grows by.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    /// Its ends in time: the backward one and the forward one.
    ends: [Moving; 2],
    /// The momentum that the growing end had before.
    joint: Vec<f64>,
    sum: Vec<f64>,
    weight: f64,
    first_energy: f64,
    energy_error: f64,
    accepted: f64,
    leapfrogs: u32,
    /// Branches yet to be joined, the largest first.
    branches: Vec<Branch>,
}

impl Tree {
    /// A tree of one point, with a new momentum.
    pub(super) fn plant(&mut self, metric: &Metric, at: &Position, max_depth: usize, rng: &mut Stream) {
        let dim = at.z.len();
        if self.branches.len() < max_depth + 1 {
            self.branches.resize(max_depth + 1, Branch::default());
        }
        for branch in &mut self.branches {
            branch.first.resize(dim, 0.0);
            branch.last.resize(dim, 0.0);
            branch.sum.resize(dim, 0.0);
        }
        let [backward, forward] = &mut self.ends;
        forward.start(metric, at);
        forward.refresh(rng);
        backward.copy_from(forward);
        self.sum.clone_from(&forward.momentum);
        self.weight = 1.0;
        self.first_energy = forward.energy();
        self.energy_error = 0.0;
        self.accepted = 0.0;
        self.leapfrogs = 0;
    }

    /// The mean over all new points of the probability that Metropolis would have gone there.
    pub(super) fn acceptance(&self) -> f64 {
        self.accepted / f64::from(self.leapfrogs)
    }

    /// The energy of the draw.
    pub(super) fn energy(&self) -> f64 {
        self.first_energy + self.energy_error
    }

    pub(super) fn leapfrogs(&self) -> u32 {
        self.leapfrogs
    }

    /// One more point at an end: its weight and energy error, or why there is none.
    fn leap<T: DifferentiableDensity + ?Sized>(
        &mut self,
        target: &Counted<'_, T>,
        metric: &Metric,
        step: f64,
        forward: bool,
    ) -> Result<Result<(f64, f64), Growth>, EvalError> {
        let end = &mut self.ends[usize::from(forward)];
        self.leapfrogs += 1;
        match end.leapfrog(target, metric, step)? {
            Leap::Inside => {}
            Leap::Outside => return Ok(Err(Growth::Outside)),
            Leap::Failed => return Ok(Err(Growth::Diverged)),
        }
        let error = end.energy() - self.first_energy;
        if error.is_nan() || error > DIVERGENCE {
            return Ok(Err(Growth::Diverged));
        }
        let weight = (-error).min(MOST_LOG_WEIGHT).exp();
        self.accepted += weight.min(1.0);
        Ok(Ok((weight, error)))
    }

    /// Grows a new half of 2^`depth` points at one end, which becomes the first branch.
    ///
    /// # Errors
    /// `Fatal` errors of the target.
    pub(super) fn double<T: DifferentiableDensity + ?Sized>(
        &mut self,
        target: &Counted<'_, T>,
        metric: &Metric,
        step_size: f64,
        forward: bool,
        depth: usize,
        rng: &mut Stream,
    ) -> Result<Growth, EvalError> {
        let end = usize::from(forward);
        self.joint.clone_from(&self.ends[end].momentum);
        let step = if forward { step_size } else { -step_size };
        if depth == 0 {
            let (weight, error) = match self.leap(target, metric, step, forward)? {
                Ok(point) => point,
                Err(growth) => return Ok(growth),
            };
            let branch = &mut self.branches[0];
            branch.begin(&self.ends[end], weight, error);
            branch.last.copy_from_slice(&self.ends[end].momentum);
            return Ok(Growth::Whole);
        }
        // As a binary counter: every pair of points is a branch, and equal branches are joined at once.
        let mut top = 0;
        for pair in 0..1_usize << (depth - 1) {
            let (weight, error) = match self.leap(target, metric, step, forward)? {
                Ok(point) => point,
                Err(growth) => return Ok(growth),
            };
            self.branches[top].begin(&self.ends[end], weight, error);
            let (weight, error) = match self.leap(target, metric, step, forward)? {
                Ok(point) => point,
                Err(growth) => return Ok(growth),
            };
            if !self.branches[top].add(&self.ends[end], weight, error, rng) {
                return Ok(Growth::Turned);
            }
            top += 1;
            for _ in 0..pair.trailing_ones() {
                top -= 1;
                let (older, newer) = self.branches.split_at_mut(top);
                if !older[top - 1].join(&mut newer[0], rng) {
                    return Ok(Growth::Turned);
                }
            }
        }
        Ok(Growth::Whole)
    }

    /// Makes the new half part of the tree, perhaps draws from it, and says whether the tree may grow on.
    pub(super) fn accept_half(&mut self, at: &mut Position, forward: bool, rng: &mut Stream) -> bool {
        let half = &mut self.branches[0];
        // Draws from the new half are preferred: as likely as they can be without changing the distribution.
        if rng.random::<f64>() * self.weight < half.weight {
            std::mem::swap(at, &mut half.draw);
            self.energy_error = half.energy_error;
        }
        self.weight += half.weight;
        let far = &self.ends[usize::from(!forward)].momentum;
        let goes_on = goes_on(
            [far, &self.joint, &self.sum],
            [&half.first, &half.last, &half.sum],
        );
        add(&mut self.sum, &half.sum);
        goes_on
    }
}

impl Branch {
    /// Becomes a single point.
    fn begin(&mut self, point: &Moving, weight: f64, energy_error: f64) {
        self.first.copy_from_slice(&point.momentum);
        self.sum.copy_from_slice(&point.momentum);
        self.draw.copy_from(&point.at);
        self.weight = weight;
        self.energy_error = energy_error;
    }

    /// Adds a second point, and says whether the two have not turned.
    fn add(&mut self, point: &Moving, weight: f64, energy_error: f64, rng: &mut Stream) -> bool {
        self.last.copy_from_slice(&point.momentum);
        self.weight += weight;
        if rng.random::<f64>() * self.weight < weight {
            self.draw.copy_from(&point.at);
            self.energy_error = energy_error;
        }
        add(&mut self.sum, &self.last);
        let (mut first, mut last) = (0.0, 0.0);
        for ((sum, a), b) in self.sum.iter().zip(&self.first).zip(&self.last) {
            first += sum * a;
            last += sum * b;
        }
        first > 0.0 && last > 0.0
    }

    /// Adds what was walked next, and says whether the two have not turned.
    fn join(&mut self, next: &mut Self, rng: &mut Stream) -> bool {
        let goes_on = goes_on(
            [&self.first, &self.last, &self.sum],
            [&next.first, &next.last, &next.sum],
        );
        self.weight += next.weight;
        if rng.random::<f64>() * self.weight < next.weight {
            std::mem::swap(&mut self.draw, &mut next.draw);
            self.energy_error = next.energy_error;
        }
        std::mem::swap(&mut self.last, &mut next.last);
        add(&mut self.sum, &next.sum);
        goes_on
    }
}

fn add(sum: &mut [f64], more: &[f64]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// Whether a path of two stretches, each given by its first momentum, its last and the sum of all, has not
/// turned back: both ends still move along the sum (Betancourt 2017, appendix A.4.2). So must each stretch
/// together with the nearest point of the other: a path of a whole period, or of half of one, has stretches
/// that turn exactly at their joint and escape the first check (as in Stan since 2.21).
fn goes_on([a_first, a_last, a_sum]: [&[f64]; 3], [b_first, b_last, b_sum]: [&[f64]; 3]) -> bool {
    let n = a_sum.len();
    let (a_first, a_last) = (&a_first[..n], &a_last[..n]);
    let (b_first, b_last, b_sum) = (&b_first[..n], &b_last[..n], &b_sum[..n]);
    let mut along = [0.0; 6];
    for i in 0..n {
        let whole = a_sum[i] + b_sum[i];
        let into_b = a_sum[i] + b_first[i];
        let from_a = a_last[i] + b_sum[i];
        along[0] += whole * a_first[i];
        along[1] += whole * b_last[i];
        along[2] += into_b * a_first[i];
        along[3] += into_b * b_first[i];
        along[4] += from_a * a_last[i];
        along[5] += from_a * b_last[i];
    }
    along.iter().all(|&along| along > 0.0)
}
