//! Differentiate norms over channels along a direction, and that derivative in reverse.

#![allow(clippy::needless_range_loop)] // as in `layer`

use rayon::prelude::*;

use super::{
    Norm,
    cpu::{Means, add_rows},
    layer::{Block, LANES, ONES, add_blocks, add_product, blocks_of, narrow},
};
use crate::ops::{
    shared::{Parts, with_scratch},
    simd::dispatch,
};

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
    let mut means = [[0.0; LANES]; 2];
    for c in 0..block.channels() {
        let t = block.load(t, c);
        add_product(&mut means[0], 1.0, &t, &ONES);
        add_product(&mut means[1], 1.0, &t, &block.normal(x, c));
    }
    let [t0, t1] = block.means(means).each_ref().map(narrow);
    for c in 0..block.channels() {
        let (normal, mut t, weight) = (block.normal(x, c), block.load(t, c), block.norm.weight[c]);
        for l in 0..LANES {
            t[l] = weight * block.reciprocal[l] * (t[l] - t0[l] - normal[l] * t1[l]);
        }
        // SAFETY: a block's positions belong to it.
        unsafe { out.take(block.place(c)) }.copy_from_slice(&t[..block.len]);
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
    let mut means = [[0.0; LANES]; 5];
    for c in 0..block.channels() {
        let (normal, t, g) = (block.normal(x, c), block.load(t, c), block.load(g, c));
        add_product(&mut means[0], 1.0, &t, &ONES);
        add_product(&mut means[1], 1.0, &t, &normal);
        add_product(&mut means[2], weight[c], &g, &ONES);
        add_product(&mut means[3], weight[c], &g, &normal);
        add_product(&mut means[4], weight[c], &g, &t);
    }
    let means = block.means(means);
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
