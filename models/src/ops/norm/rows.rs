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

/// Numbers summed in f32, in lanes, before f64 takes over.
const BLOCK: usize = 512;
const LANES: usize = 16;

/// Σ t, Σ t · (x − mean).
#[inline(always)]
fn sums<const FMA: bool>(x: &[f32], mean: f32, t: &[f32]) -> [f64; 2] {
    let mut total = [0.0; 2];
    for (x, t) in x.chunks(BLOCK).zip(t.chunks(BLOCK)) {
        let (mut first, mut second) = ([0.0f32; LANES], [0.0f32; LANES]);
        let (x, t) = (x.as_chunks::<LANES>(), t.as_chunks::<LANES>());
        for (x, t) in x.0.iter().zip(t.0) {
            for l in 0..LANES {
                first[l] += t[l];
                second[l] = multiply_add::<FMA>(t[l], x[l] - mean, second[l]);
            }
        }
        for (l, (x, t)) in x.1.iter().zip(t.1).enumerate() {
            first[l] += t;
            second[l] = multiply_add::<FMA>(*t, x - mean, second[l]);
        }
        for l in 0..LANES {
            total[0] += first[l] as f64;
            total[1] += second[l] as f64;
        }
    }
    total
}

/// Σ (x − mean), Σ (x − mean)².
#[inline(always)]
fn deviations<const FMA: bool>(x: &[f32], mean: f32) -> [f64; 2] {
    let mut total = [0.0; 2];
    for x in x.chunks(BLOCK) {
        let (mut first, mut second) = ([0.0f32; LANES], [0.0f32; LANES]);
        let x = x.as_chunks::<LANES>();
        for x in x.0 {
            for l in 0..LANES {
                let d = x[l] - mean;
                first[l] += d;
                second[l] = multiply_add::<FMA>(d, d, second[l]);
            }
        }
        for (l, x) in x.1.iter().enumerate() {
            let d = x - mean;
            first[l] += d;
            second[l] = multiply_add::<FMA>(d, d, second[l]);
        }
        for l in 0..LANES {
            total[0] += first[l] as f64;
            total[1] += second[l] as f64;
        }
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
    let near = (deviations::<FMA>(x, 0.0)[0] / n) as f32;
    let [first, second] = deviations::<FMA>(x, near);
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
    let [first, second] = along_body::<FMA>(x, row, da);
    [first, second, sums::<FMA>(dy, 0.0, dy)[0]]
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
    let [t0, t1] = sums::<FMA>(x, row.mean, t);
    [t0, t1 * row.reciprocal as f64]
}

dispatch! {
    /// Σ t, Σ t x̂, Σ g, Σ g x̂, Σ g t.
    pub(super) fn tangent_sums(x: &[f32], row: Row, t: &[f32], g: &[f32]) -> [f64; 5] = tangent_sums_body
}

#[inline(always)]
fn tangent_sums_body<const FMA: bool>(x: &[f32], row: Row, t: &[f32], g: &[f32]) -> [f64; 5] {
    let [t0, t1] = along_body::<FMA>(x, row, t);
    let [g0, g1] = along_body::<FMA>(x, row, g);
    [t0, t1, g0, g1, sums::<FMA>(g, 0.0, t)[1]]
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
