//! Reduce and change one row of positions: the loops of the norms over groups and batches.

use crate::ops::{
    activation::{
        Activation,
        cpu::{derivatives, each_activation},
    },
    simd::{dispatch, multiply_add},
};

/// What all numbers of a row share: x̂ = (x − mean) · reciprocal, and its affine form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub mean: f32,
    /// 1 / √(σ² + ε).
    pub reciprocal: f32,
    pub weight: f32,
    pub bias: f32,
    pub activation: Activation,
}

/// Σ f(inputs) of K numbers: f32 in lanes over a short block, f64 across blocks.
#[inline(always)]
fn sums<const N: usize, const K: usize>(inputs: [&[f32]; N], f: impl Fn([f32; N]) -> [f32; K]) -> [f64; K] {
    const LANES: usize = 16;
    const BLOCK: usize = 32 * LANES;
    let mut total = [0.0; K];
    let n = inputs[0].len();
    let mut start = 0;
    while start < n {
        let end = n.min(start + BLOCK);
        let chunks = inputs.map(|x| x[start..end].as_chunks::<LANES>());
        let mut lanes = [[0.0f32; LANES]; K];
        for j in 0..chunks[0].0.len() {
            let chunk = chunks.map(|c| c.0[j]);
            for l in 0..LANES {
                let term = f(chunk.map(|c| c[l]));
                for (lanes, term) in lanes.iter_mut().zip(term) {
                    lanes[l] += term;
                }
            }
        }
        for j in 0..chunks[0].1.len() {
            let term = f(chunks.map(|c| c.1[j]));
            for (lanes, term) in lanes.iter_mut().zip(term) {
                lanes[j] += term;
            }
        }
        for (total, lanes) in total.iter_mut().zip(lanes) {
            *total += lanes.iter().map(|v| *v as f64).sum::<f64>();
        }
        start = end;
    }
    total
}

dispatch! {
    /// Mean of a row, and its sum of squared deviations from that mean.
    pub(super) fn moments(x: &[f32]) -> [f64; 2] = moments_body
}

#[inline(always)]
fn moments_body<const FMA: bool>(x: &[f32]) -> [f64; 2] {
    let n = x.len() as f64;
    let mean = sums([x], |[x]| [x])[0] / n;
    let near = mean as f32;
    let [first, second] = sums([x], |[x]| [x - near, (x - near) * (x - near)]);
    // What rounding the mean to f32 left out (Chan et al. 1983's corrected two-pass form).
    [near as f64 + first / n, second - first * first / n]
}

dispatch! {
    /// y = f(weight · x̂ + bias) + offset.
    pub(super) fn apply(x: &[f32], row: Row, offset: f32, y: &mut [f32]) = apply_body
}

#[inline(always)]
fn apply_body<const FMA: bool>(x: &[f32], row: Row, offset: f32, y: &mut [f32]) {
    let (f, mean, bias) = (row.activation, row.mean, row.bias);
    let gain = row.weight * row.reciprocal;
    each_activation!(f => {
        for (y, x) in y.iter_mut().zip(x) {
            *y = derivatives::<FMA>(f, multiply_add::<FMA>(x - mean, gain, bias))[0] + offset;
        }
    })
}

dispatch! {
    /// da = f′(a) · dy, where a = weight · x̂ + bias is what was activated; Σ da, Σ da x̂, Σ dy.
    pub(super) fn backward_sums(x: &[f32], dy: &[f32], row: Row, da: &mut [f32]) -> [f64; 3] = backward_sums_body
}

#[inline(always)]
fn backward_sums_body<const FMA: bool>(x: &[f32], dy: &[f32], row: Row, da: &mut [f32]) -> [f64; 3] {
    let (f, mean, bias) = (row.activation, row.mean, row.bias);
    let gain = row.weight * row.reciprocal;
    each_activation!(f => {
        for ((da, x), dy) in da.iter_mut().zip(x).zip(dy) {
            *da = derivatives::<FMA>(f, multiply_add::<FMA>(x - mean, gain, bias))[1] * dy;
        }
    });
    let [first, second, third] = sums([x, dy, da], |[x, dy, da]| [da, da * (x - mean), dy]);
    [first, second * row.reciprocal as f64, third]
}

dispatch! {
    /// out += a · u + b + c · x̂.
    pub(super) fn combine(x: &[f32], row: Row, u: &[f32], abc: [f32; 3], out: &mut [f32]) = combine_body
}

#[inline(always)]
fn combine_body<const FMA: bool>(x: &[f32], row: Row, u: &[f32], [a, b, c]: [f32; 3], out: &mut [f32]) {
    let (mean, c) = (row.mean, c * row.reciprocal);
    for ((out, x), u) in out.iter_mut().zip(x).zip(u) {
        *out += multiply_add::<FMA>(a, *u, multiply_add::<FMA>(c, x - mean, b));
    }
}

dispatch! {
    /// Σ t, Σ t x̂.
    pub(super) fn along(x: &[f32], row: Row, t: &[f32]) -> [f64; 2] = along_body
}

#[inline(always)]
fn along_body<const FMA: bool>(x: &[f32], row: Row, t: &[f32]) -> [f64; 2] {
    let [t0, t1] = sums([x, t], |[x, t]| [t, t * (x - row.mean)]);
    [t0, t1 * row.reciprocal as f64]
}

dispatch! {
    /// Σ t, Σ t x̂, Σ g, Σ g x̂, Σ g t.
    pub(super) fn tangent_sums(x: &[f32], row: Row, t: &[f32], g: &[f32]) -> [f64; 5] = tangent_sums_body
}

#[inline(always)]
fn tangent_sums_body<const FMA: bool>(x: &[f32], row: Row, t: &[f32], g: &[f32]) -> [f64; 5] {
    let (mean, r) = (row.mean, row.reciprocal as f64);
    let [t0, t1, g0, g1, gt] = sums([x, t, g], |[x, t, g]| {
        [t, t * (x - mean), g, g * (x - mean), g * t]
    });
    [t0, t1 * r, g0, g1 * r, gt]
}

dispatch! {
    /// out = a · t + b + c · x̂.
    pub(super) fn write(x: &[f32], row: Row, t: &[f32], abc: [f32; 3], out: &mut [f32]) = write_body
}

#[inline(always)]
fn write_body<const FMA: bool>(x: &[f32], row: Row, t: &[f32], [a, b, c]: [f32; 3], out: &mut [f32]) {
    let (mean, c) = (row.mean, c * row.reciprocal);
    for ((out, x), t) in out.iter_mut().zip(x).zip(t) {
        *out = multiply_add::<FMA>(a, *t, multiply_add::<FMA>(c, x - mean, b));
    }
}
