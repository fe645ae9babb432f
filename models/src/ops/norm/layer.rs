//! Normalise over the channels of each position.
//!
//! A task takes a block of neighbouring positions of one sample through all channels; each position is a lane with sums of its own.

use rayon::prelude::*;

use super::{
    Norm,
    cpu::{Means, add_rows},
};
use crate::ops::{
    activation::cpu::{derivatives, each_activation},
    shared::{Parts, with_scratch},
    simd::{dispatch, multiply_add},
};

/// Positions of a block.
const LANES: usize = 64;

/// A block of positions of one sample, with its means and 1 / √(σ² + ε).
struct Block<'a> {
    norm: &'a Norm<'a>,
    sample: usize,
    start: usize,
    len: usize,
    mean: [f32; LANES],
    reciprocal: [f32; LANES],
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
fn blocks_of<'a>(
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
    fn place(&self, c: usize) -> std::ops::Range<usize> {
        let start = self.row(c) * self.norm.shape[2] + self.start;
        start..start + self.len
    }

    /// Where its means lie.
    fn sets(&self) -> std::ops::Range<usize> {
        let start = self.sample * self.norm.shape[2] + self.start;
        start..start + self.len
    }

    fn channels(&self) -> usize {
        self.norm.shape[1]
    }

    fn set_variance(&mut self, variance: &[f32]) {
        for (r, v) in self.reciprocal.iter_mut().zip(variance) {
            *r = self.norm.reciprocal(*v);
        }
    }

    /// Means over channels of f(channel, x̂, inputs), lane by lane.
    #[inline(always)]
    fn means<const N: usize, const K: usize>(
        &self,
        x: &[f32],
        inputs: [&[f32]; N],
        f: impl Fn(usize, f32, [f32; N]) -> [f32; K],
    ) -> [[f64; LANES]; K] {
        let mut total = [[0.0; LANES]; K];
        for c in 0..self.channels() {
            let x = &x[self.place(c)];
            let inputs = inputs.map(|list| &list[self.place(c)]);
            for l in 0..self.len.min(LANES) {
                let term = f(
                    c,
                    (x[l] - self.mean[l]) * self.reciprocal[l],
                    inputs.map(|list| list[l]),
                );
                for (total, term) in total.iter_mut().zip(term) {
                    total[l] += term as f64;
                }
            }
        }
        total.map(|lanes| lanes.map(|sum| sum / self.channels() as f64))
    }
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
    let [means] = block.means(x, [], |_, x, []| [x]);
    block.mean = means.map(|v| v as f32);
    // Rounding the mean to f32 changes the variance by the square of 6e-8 of the mean.
    let [squares] = block.means(x, [], |_, x, []| [x * x]);
    for (l, (mean, variance)) in mean.iter_mut().zip(variance.iter_mut()).enumerate() {
        *mean = block.mean[l];
        let rounded = means[l] - block.mean[l] as f64;
        *variance = (squares[l] - rounded * rounded).max(0.0) as f32;
    }
    block.set_variance(variance);
    let f = norm.activation;
    each_activation!(f => {
        for c in 0..block.channels() {
            let (weight, bias) = (norm.weight[c], norm.bias[c]);
            let e = offset.map_or(0.0, |e| e[block.row(c)]);
            // SAFETY: a block's positions belong to it.
            let y = unsafe { y.take(block.place(c)) };
            for (l, (y, x)) in y.iter_mut().zip(&x[block.place(c)]).enumerate().take(LANES) {
                let normal = (x - block.mean[l]) * block.reciprocal[l];
                *y = derivatives::<FMA>(f, multiply_add::<FMA>(normal, weight, bias))[0] + e;
            }
        }
    })
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
fn add_blocks(sums: &mut [[f32; 3]], rows: usize) -> &[[f32; 3]] {
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
    fn sums_at(&self, c: usize) -> std::ops::Range<usize> {
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
    let norm = block.norm;
    let f = norm.activation;
    each_activation!(f => {
        let da = |c: usize, normal: f32, dy: f32| {
            derivatives::<FMA>(f, multiply_add::<FMA>(normal, norm.weight[c], norm.bias[c]))[1] * dy
        };
        let [first, second] = block.means(x, [dy], |c, x, [dy]| {
            let g = da(c, x, dy) * norm.weight[c];
            [g, g * x]
        });
        for c in 0..block.channels() {
            let mut total = [0.0f32; 3];
            // SAFETY: a block's positions, and its place among the sums, belong to it.
            let (dx, sums) = unsafe { (dx.take(block.place(c)), sums.take(block.sums_at(c))) };
            let (x, dy) = (&x[block.place(c)], &dy[block.place(c)]);
            for (l, ((dx, x), dy)) in dx.iter_mut().zip(x).zip(dy).enumerate().take(LANES) {
                let normal = (x - block.mean[l]) * block.reciprocal[l];
                let a = da(c, normal, *dy);
                for (total, v) in total.iter_mut().zip([a, a * normal, *dy]) {
                    *total += v;
                }
                let inside = norm.weight[c] * a - first[l] as f32 - normal * second[l] as f32;
                *dx += block.reciprocal[l] * inside;
            }
            sums[0] = total;
        }
    })
}

pub(super) fn tangent(
    norm: &Norm,
    x: &[f32],
    t: &[f32],
    (mean, variance): (&[f32], &[f32]),
    out: &mut [f32],
) {
    let out = Parts::of(out);
    blocks_of(norm, mean, variance).for_each(|block| tangent_block(&block, x, t, &out));
}

dispatch! {
    fn tangent_block(block: &Block, x: &[f32], t: &[f32], out: &Parts<f32>) = tangent_body
}

#[inline(always)]
fn tangent_body<const FMA: bool>(block: &Block, x: &[f32], t: &[f32], out: &Parts<f32>) {
    let [t0, t1] = block.means(x, [t], |_, x, [t]| [t, t * x]);
    for c in 0..block.channels() {
        // SAFETY: a block's positions belong to it.
        let out = unsafe { out.take(block.place(c)) };
        let (x, t) = (&x[block.place(c)], &t[block.place(c)]);
        for (l, ((out, x), t)) in out.iter_mut().zip(x).zip(t).enumerate().take(LANES) {
            let normal = (x - block.mean[l]) * block.reciprocal[l];
            let inside = t - t0[l] as f32 - normal * t1[l] as f32;
            *out = block.norm.weight[c] * block.reciprocal[l] * inside;
        }
    }
}

pub(super) fn tangent_backward(
    norm: &Norm,
    x: &[f32],
    t: &[f32],
    (mean, variance): (&[f32], &[f32]),
    g: &[f32],
    (dx, dt): (&mut [f32], &mut [f32]),
    d_weight: &mut [f32],
) {
    let [batch, channels, positions] = norm.shape;
    let rows = batch * channels;
    let gradients = (Parts::of(dx), Parts::of(dt));
    with_scratch(3 * rows * positions.div_ceil(LANES), |sums| {
        let sums = sums.as_chunks_mut::<3>().0;
        let parts = Parts::of(sums);
        blocks_of(norm, mean, variance)
            .for_each(|block| tangent_backward_block(&block, x, t, g, &gradients, &parts));
        add_rows(add_blocks(sums, rows), channels, 0, d_weight);
    });
}

dispatch! {
    fn tangent_backward_block(
        block: &Block, x: &[f32], t: &[f32], g: &[f32], gradients: &(Parts<f32>, Parts<f32>), sums: &Parts<[f32; 3]>,
    ) = tangent_backward_body
}

#[inline(always)]
fn tangent_backward_body<const FMA: bool>(
    block: &Block,
    x: &[f32],
    t: &[f32],
    g: &[f32],
    (dx, dt): &(Parts<f32>, Parts<f32>),
    sums: &Parts<[f32; 3]>,
) {
    let weight = block.norm.weight;
    let means = block.means(x, [t, g], |c, x, [t, g]| {
        let a = weight[c] * g;
        [t, t * x, a, a * x, a * t]
    });
    let mut lanes = [Means::default(); LANES];
    for (l, lane) in lanes.iter_mut().enumerate() {
        *lane = Means::of(std::array::from_fn(|k| means[k][l]));
    }
    for c in 0..block.channels() {
        let mut total = 0.0;
        // SAFETY: a block's positions, and its place among the sums, belong to it.
        let (dx, dt, sums) = unsafe {
            (
                dx.take(block.place(c)),
                dt.take(block.place(c)),
                sums.take(block.sums_at(c)),
            )
        };
        let (x, t, g) = (&x[block.place(c)], &t[block.place(c)], &g[block.place(c)]);
        for l in 0..block.len {
            let (m, r) = (lanes[l], block.reciprocal[l]);
            let normal = (x[l] - block.mean[l]) * r;
            let a = weight[c] * g[l];
            total += r * g[l] * (t[l] - m.t0 - normal * m.t1);
            dt[l] += r * (a - m.a0 - normal * m.a1);
            let [of_a, of_t, of_one, of_normal] = m.x_terms(r);
            dx[l] += of_a * a + of_t * t[l] + of_one + of_normal * normal;
        }
        sums[0] = [total, 0.0, 0.0];
    }
}
