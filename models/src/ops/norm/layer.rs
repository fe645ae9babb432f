//! Normalise over the channels of each position.
//!
//! A task takes a block of neighbouring positions of one sample through all channels; each position is a lane with sums of its own.

#![allow(clippy::needless_range_loop)] // several lists go along one index, and a count in constants vectorises

use rayon::prelude::*;

use super::{Norm, cpu::add_rows};
use crate::ops::{
    activation::cpu::{derivatives, each_activation},
    shared::{Parts, with_scratch},
    simd::{dispatch, multiply_add},
};

/// Positions of a block.
pub(super) const LANES: usize = 64;

type Lanes = [f32; LANES];
/// Sums of lanes.
type Wide = [f64; LANES];
pub(super) const ONES: Lanes = [1.0; LANES];

/// A block of positions of one sample, with its means and 1 / √(σ² + ε).
pub(super) struct Block<'a> {
    pub norm: &'a Norm<'a>,
    sample: usize,
    start: usize,
    pub len: usize,
    pub mean: Lanes,
    pub reciprocal: Lanes,
}

/// All blocks, without their means.
fn blocks<'a>(norm: &'a Norm<'a>) -> impl IndexedParallelIterator<Item = Block<'a>> {
    let [batch, _, positions] = norm.shape;
    let each = positions.div_ceil(LANES);
    (0..batch * each).into_par_iter().map(move |i| {
        let start = i % each * LANES;
        Block {
            norm,
            sample: i / each,
            start,
            len: LANES.min(positions - start),
            mean: [0.0; LANES],
            reciprocal: [1.0; LANES],
        }
    })
}

/// All blocks with theirs.
pub(super) fn blocks_of<'a>(
    norm: &'a Norm<'a>,
    mean: &'a [f32],
    variance: &'a [f32],
) -> impl IndexedParallelIterator<Item = Block<'a>> {
    blocks(norm).map(move |mut block| {
        let sets = block.sets();
        block.mean[..block.len].copy_from_slice(&mean[sets.clone()]);
        block.set_variance(&variance[sets]);
        block
    })
}

impl Block<'_> {
    /// The block's row of channel `c`.
    fn row(&self, c: usize) -> usize {
        self.sample * self.norm.shape[1] + c
    }

    /// Where its numbers of channel `c` lie.
    pub fn place(&self, c: usize) -> std::ops::Range<usize> {
        let start = self.row(c) * self.norm.shape[2] + self.start;
        start..start + self.len
    }

    /// Where its means lie.
    fn sets(&self) -> std::ops::Range<usize> {
        let start = self.sample * self.norm.shape[2] + self.start;
        start..start + self.len
    }

    pub fn channels(&self) -> usize {
        self.norm.shape[1]
    }

    fn set_variance(&mut self, variance: &[f32]) {
        for (r, v) in self.reciprocal.iter_mut().zip(variance) {
            *r = self.norm.reciprocal(*v);
        }
    }

    /// The block's numbers of channel `c`, zeros where it is short.
    #[inline(always)]
    pub fn load(&self, list: &[f32], c: usize) -> Lanes {
        let mut lanes = [0.0; LANES];
        let from = &list[self.place(c)];
        match from.first_chunk::<LANES>() {
            Some(full) => lanes = *full,
            None => lanes[..from.len()].copy_from_slice(from),
        }
        lanes
    }

    /// x̂ of channel `c`.
    #[inline(always)]
    pub fn normal(&self, x: &[f32], c: usize) -> Lanes {
        let mut x = self.load(x, c);
        for l in 0..LANES {
            x[l] = (x[l] - self.mean[l]) * self.reciprocal[l];
        }
        x
    }

    /// f′(weight · x̂ + bias) · dy of channel `c`.
    #[inline(always)]
    fn slope<const FMA: bool>(&self, normal: &Lanes, dy: &[f32], c: usize) -> Lanes {
        let (weight, bias, f) = (self.norm.weight[c], self.norm.bias[c], self.norm.activation);
        let mut da = self.load(dy, c);
        each_activation!(f => {
            for l in 0..LANES {
                da[l] *= derivatives::<FMA>(f, multiply_add::<FMA>(normal[l], weight, bias))[1];
            }
        });
        da
    }

    /// Sums over channels to means.
    pub fn means<const K: usize>(&self, sums: [Wide; K]) -> [Wide; K] {
        sums.map(|lanes| lanes.map(|sum| sum / self.norm.shape[1] as f64))
    }
}

/// Adds weight · a · b.
#[inline(always)]
pub(super) fn add_product(total: &mut Wide, weight: f32, a: &Lanes, b: &Lanes) {
    for l in 0..LANES {
        total[l] += (weight * a[l] * b[l]) as f64;
    }
}

pub(super) fn narrow(lanes: &Wide) -> Lanes {
    lanes.map(|v| v as f32)
}

pub(super) fn forward(
    norm: &Norm,
    x: &[f32],
    offset: Option<&[f32]>,
    mean: &mut [f32],
    variance: &mut [f32],
    y: &mut [f32],
) {
    let (y, mean, variance) = (Parts::of(y), Parts::of(mean), Parts::of(variance));
    blocks(norm).for_each(|mut block| {
        // SAFETY: a block's positions belong to it.
        let (mean, variance) = unsafe { (mean.take(block.sets()), variance.take(block.sets())) };
        forward_block(&mut block, x, offset, mean, variance, &y);
    });
}

dispatch! {
    fn forward_block(
        block: &mut Block, x: &[f32], offset: Option<&[f32]>, mean: &mut [f32], variance: &mut [f32], y: &Parts<f32>,
    ) = forward_body
}

#[inline(always)]
fn forward_body<const FMA: bool>(
    block: &mut Block,
    x: &[f32],
    offset: Option<&[f32]>,
    mean: &mut [f32],
    variance: &mut [f32],
    y: &Parts<f32>,
) {
    let norm = block.norm;
    let mut sums = [[0.0; LANES]];
    for c in 0..block.channels() {
        add_product(&mut sums[0], 1.0, &block.load(x, c), &ONES);
    }
    let [means] = block.means(sums);
    block.mean = narrow(&means);
    let mut sums = [[0.0; LANES]];
    for c in 0..block.channels() {
        let apart = block.normal(x, c);
        add_product(&mut sums[0], 1.0, &apart, &apart);
    }
    let [squares] = block.means(sums);
    for (l, (mean, variance)) in mean.iter_mut().zip(variance.iter_mut()).enumerate() {
        // What rounding the mean to f32 added.
        let rounded = means[l] - block.mean[l] as f64;
        *mean = block.mean[l];
        *variance = (squares[l] - rounded * rounded).max(0.0) as f32;
    }
    block.set_variance(variance);
    let f = norm.activation;
    for c in 0..block.channels() {
        let (weight, bias) = (norm.weight[c], norm.bias[c]);
        let e = offset.map_or(0.0, |e| e[block.row(c)]);
        let mut lanes = block.normal(x, c);
        each_activation!(f => {
            for lane in &mut lanes {
                *lane = derivatives::<FMA>(f, multiply_add::<FMA>(*lane, weight, bias))[0] + e;
            }
        });
        // SAFETY: a block's positions belong to it.
        let y = unsafe { y.take(block.place(c)) };
        y.copy_from_slice(&lanes[..block.len]);
    }
}

pub(super) fn backward(
    norm: &Norm,
    x: &[f32],
    (mean, variance): (&[f32], &[f32]),
    dy: &[f32],
    dx: &mut [f32],
    (d_weight, d_bias): (&mut [f32], &mut [f32]),
    d_offset: Option<&mut [f32]>,
) {
    let [batch, channels, positions] = norm.shape;
    let rows = batch * channels;
    let dx = Parts::of(dx);
    with_scratch(3 * rows * positions.div_ceil(LANES), |sums| {
        let sums = sums.as_chunks_mut::<3>().0;
        let parts = Parts::of(sums);
        blocks_of(norm, mean, variance).for_each(|block| backward_block(&block, x, dy, &dx, &parts));
        let sums = add_blocks(sums, rows);
        add_rows(sums, channels, 0, d_bias);
        add_rows(sums, channels, 1, d_weight);
        if let Some(d_offset) = d_offset {
            for (d, sums) in d_offset.iter_mut().zip(sums) {
                *d += sums[2];
            }
        }
    });
}

/// Sums over the blocks of each row: block `k` of row `bc` is at `k · rows + bc`.
pub(super) fn add_blocks(sums: &mut [[f32; 3]], rows: usize) -> &[[f32; 3]] {
    let (first, rest) = sums.split_at_mut(rows);
    for (bc, out) in first.iter_mut().enumerate() {
        let mut total = out.map(|v| v as f64);
        for more in rest.get(bc..).into_iter().flatten().step_by(rows) {
            for (total, v) in total.iter_mut().zip(more) {
                *total += *v as f64;
            }
        }
        *out = total.map(|v| v as f32);
    }
    first
}

impl Block<'_> {
    /// Where the sums of channel `c` over this block go.
    pub fn sums_at(&self, c: usize) -> std::ops::Range<usize> {
        let rows = self.norm.shape[0] * self.channels();
        let at = self.start / LANES * rows + self.row(c);
        at..at + 1
    }
}

dispatch! {
    fn backward_block(
        block: &Block, x: &[f32], dy: &[f32], dx: &Parts<f32>, sums: &Parts<[f32; 3]>,
    ) = backward_body
}

#[inline(always)]
fn backward_body<const FMA: bool>(
    block: &Block,
    x: &[f32],
    dy: &[f32],
    dx: &Parts<f32>,
    sums: &Parts<[f32; 3]>,
) {
    let weight = block.norm.weight;
    let mut means = [[0.0; LANES]; 2];
    for c in 0..block.channels() {
        let normal = block.normal(x, c);
        let da = block.slope::<FMA>(&normal, dy, c);
        add_product(&mut means[0], weight[c], &da, &ONES);
        add_product(&mut means[1], weight[c], &da, &normal);
    }
    let [first, second] = block.means(means).each_ref().map(narrow);
    for c in 0..block.channels() {
        let normal = block.normal(x, c);
        let da = block.slope::<FMA>(&normal, dy, c);
        // SAFETY: a block's positions, and its place among the sums, belong to it.
        let (dx, sums) = unsafe { (dx.take(block.place(c)), sums.take(block.sums_at(c))) };
        let mut inside = [0.0; LANES];
        let mut products = [0.0; LANES];
        for l in 0..LANES {
            inside[l] = block.reciprocal[l] * (weight[c] * da[l] - first[l] - normal[l] * second[l]);
            products[l] = da[l] * normal[l];
        }
        for (dx, inside) in dx.iter_mut().zip(inside) {
            *dx += inside;
        }
        sums[0] = [sum(&da), sum(&products), sum(&block.load(dy, c))];
    }
}

/// Σ of lanes: those beyond the block hold dy = 0, and so nothing.
#[inline(always)]
fn sum(lanes: &Lanes) -> f32 {
    let mut total = [0.0f32; 8];
    for lanes in lanes.as_chunks::<8>().0 {
        for l in 0..8 {
            total[l] += lanes[l];
        }
    }
    total.iter().sum()
}
