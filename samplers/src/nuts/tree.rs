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
        if self.branches.len() <= max_depth || self.sum.len() != dim {
            self.branches.resize(max_depth + 1, Branch::default());
            for branch in &mut self.branches {
                branch.first.resize(dim, 0.0);
                branch.last.resize(dim, 0.0);
                branch.sum.resize(dim, 0.0);
            }
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
    #[inline]
    fn begin(&mut self, point: &Moving, weight: f64, energy_error: f64) {
        self.first.copy_from_slice(&point.momentum);
        self.sum.copy_from_slice(&point.momentum);
        self.draw.copy_from(&point.at);
        self.weight = weight;
        self.energy_error = energy_error;
    }

    /// Adds a second point, and says whether the two have not turned.
    #[inline]
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
    #[inline]
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

#[inline]
fn add(sum: &mut [f64], more: &[f64]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// Whether a path of two stretches, each given by its first momentum, its last and the sum of all, has not
/// turned back: both ends still move along the sum (Betancourt 2017, appendix A.4.2). So must each stretch
/// together with the nearest point of the other: a path of a whole period, or of half of one, has stretches
/// that turn exactly at their joint and escape the first check (as in Stan since 2.21).
#[inline]
fn goes_on([a_first, a_last, a_sum]: [&[f64]; 3], [b_first, b_last, b_sum]: [&[f64]; 3]) -> bool {
    let ([a_first, a_last, a_sum], a_rest) = pairs([a_first, a_last, a_sum]);
    let ([b_first, b_last, b_sum], b_rest) = pairs([b_first, b_last, b_sum]);
    let n = a_sum.len();
    let (a_first, a_last) = (&a_first[..n], &a_last[..n]);
    let (b_first, b_last, b_sum) = (&b_first[..n], &b_last[..n], &b_sum[..n]);
    let mut along = [[0.0; 2]; 6];
    for i in 0..n {
        for lane in 0..2 {
            let whole = a_sum[i][lane] + b_sum[i][lane];
            let into_b = a_sum[i][lane] + b_first[i][lane];
            let from_a = a_last[i][lane] + b_sum[i][lane];
            along[0][lane] += whole * a_first[i][lane];
            along[1][lane] += whole * b_last[i][lane];
            along[2][lane] += into_b * a_first[i][lane];
            along[3][lane] += into_b * b_first[i][lane];
            along[4][lane] += from_a * a_last[i][lane];
            along[5][lane] += from_a * b_last[i][lane];
        }
    }
    let ([a_first, a_last, a_sum], [b_first, b_last, b_sum]) = (a_rest, b_rest);
    let (whole, into_b, from_a) = (a_sum + b_sum, a_sum + b_first, a_last + b_sum);
    let rest = [
        whole * a_first,
        whole * b_last,
        into_b * a_first,
        into_b * b_first,
        from_a * a_last,
        from_a * b_last,
    ];
    let sums = along
        .iter()
        .zip(rest)
        .map(|([even, odd], rest)| even + odd + rest);
    sums.fold(true, |all, along| all & (along > 0.0))
}

/// Three vectors in pairs, which a processor takes at once, and what is left over of each, or nothing.
#[inline]
fn pairs(vectors: [&[f64]; 3]) -> ([&[[f64; 2]]; 3], [f64; 3]) {
    let split = vectors.map(|vector| vector.as_chunks::<2>());
    let rest = split.map(|(_, rest)| rest.first().copied().unwrap_or(0.0));
    (split.map(|(pairs, _)| pairs), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::density::Density;
    use crate::hmc::leapfrog::tests::Quartic;
    use crate::rng::{Purpose, stream};

    /// Two stretches of momenta, given point by point.
    fn judged(a: &[&[f64]], b: &[&[f64]]) -> bool {
        let sum = |stretch: &[&[f64]]| {
            let mut sum = vec![0.0; stretch[0].len()];
            stretch.iter().for_each(|momentum| add(&mut sum, momentum));
            sum
        };
        let (a_sum, b_sum) = (sum(a), sum(b));
        goes_on([a[0], a[a.len() - 1], &a_sum], [b[0], b[b.len() - 1], &b_sum])
    }

    /// Momenta on a circle, one every `angle`.
    fn circle(angle: f64, points: std::ops::Range<i32>) -> Vec<Vec<f64>> {
        let momentum = |i: i32| vec![(angle * f64::from(i)).cos(), (angle * f64::from(i)).sin(), 0.0];
        points.map(momentum).collect()
    }

    #[test]
    fn paths_turn_after_half_a_circle() {
        for (angle, expected) in [(0.1, true), (0.4, true), (0.5, false), (0.7, false)] {
            let (a, b) = (circle(angle, 0..4), circle(angle, 4..8));
            let (a, b): (Vec<&[f64]>, Vec<&[f64]>) = (
                a.iter().map(Vec::as_slice).collect(),
                b.iter().map(Vec::as_slice).collect(),
            );
            // Between the ends lie seven angles: each is off the sum's direction by half of them.
            assert_eq!(
                judged(&a, &b),
                expected && 3.5 * angle < std::f64::consts::FRAC_PI_2,
                "{angle}"
            );
        }
    }

    #[test]
    fn stretches_that_turn_at_their_joint_are_noticed() {
        // Each end moves along the sum of all, yet the first stretch has turned by the first point of the
        // second.
        let (a, b): ([&[f64]; 2], [&[f64]; 2]) = ([&[1.0, 0.1], &[0.5, 0.0]], [&[-3.0, 0.0], &[9.0, 0.0]]);
        assert!(!judged(&a, &b));
        // And the other way round in time.
        let (a, b): ([&[f64]; 2], [&[f64]; 2]) = ([&[9.0, 0.0], &[-3.0, 0.0]], [&[0.5, 0.0], &[1.0, 0.1]]);
        assert!(!judged(&a, &b));
        let (a, b): ([&[f64]; 2], [&[f64]; 2]) = ([&[1.0, 0.1], &[0.5, 0.0]], [&[3.0, 0.0], &[9.0, 0.0]]);
        assert!(judged(&a, &b));
    }

    #[test]
    fn every_criterion_agrees_with_its_plain_form_in_any_dimension() {
        let mut rng = stream(3, Purpose::Chain, 0);
        let mut counts = [0; 2];
        for trial in 0..3000 {
            let dim = 1 + trial % 7;
            let mut vector = || -> Vec<f64> {
                // Mostly forward, so that neither answer is rare.
                (0..dim).map(|_| rng.random::<f64>() - 0.25).collect()
            };
            let [af, al, asum, bf, bl, bsum] = std::array::from_fn(|_| vector());
            let along = |u: &[f64], v: &[f64], end: &[f64]| {
                (0..dim).map(|i| (u[i] + v[i]) * end[i]).sum::<f64>() > 0.0
            };
            let expected = along(&asum, &bsum, &af)
                && along(&asum, &bsum, &bl)
                && along(&asum, &bf, &af)
                && along(&asum, &bf, &bf)
                && along(&bsum, &al, &al)
                && along(&bsum, &al, &bl);
            counts[usize::from(expected)] += 1;
            assert_eq!(goes_on([&af, &al, &asum], [&bf, &bl, &bsum]), expected);
        }
        assert!(counts[0] > 300 && counts[1] > 300, "{counts:?}");
    }

    #[test]
    fn a_tree_of_depth_n_has_walked_two_to_the_n_points_less_one() {
        let density = Quartic::new();
        let target = Counted::new(&density);
        let metric = Metric::Diagonal(vec![1.0; 2]);
        let mut at = Position::new(&target, vec![0.8, -0.3]).unwrap();
        let (mut rng, mut tree) = (stream(1, Purpose::Chain, 0), Tree::default());
        tree.plant(&metric, &at, 5, &mut rng);
        // Steps this small do not turn.
        for depth in 0..5 {
            let forward = depth % 2 == 0;
            let grown = tree.double(&target, &metric, 1e-3, forward, depth, &mut rng);
            assert_eq!(grown.unwrap(), Growth::Whole);
            assert!(tree.accept_half(&mut at, forward, &mut rng));
            assert_eq!(tree.leapfrogs(), (2 << depth) - 1);
            // All points weigh the same where nothing is lost, and the momenta hardly change.
            assert!((tree.weight / f64::from(2 << depth) - 1.0).abs() < 1e-3);
            for i in 0..2 {
                let mean = tree.sum[i] / f64::from(2 << depth);
                assert!((mean - tree.ends[0].momentum[i]).abs() < 0.1);
            }
            assert!((tree.acceptance() - 1.0).abs() < 1e-3);
        }
        assert_eq!(density.log_density(&at.z).unwrap(), at.log_density);
        assert!((tree.energy() - tree.first_energy).abs() < 1e-3);
    }
}
