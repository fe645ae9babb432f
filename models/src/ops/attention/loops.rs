//! Go over rows of scores: the loops of attention that are no products of matrices.

use crate::ops::simd::{dispatch, exp, multiply_add};

/// Positions that linear attention takes at once: a tile of a head's channels stays in the cache.
pub(super) const TILE: usize = 256;
const LANES: usize = 16;

dispatch! {
    /// The largest of all.
    pub(super) fn largest(x: &[f32]) -> f32 = largest_body
}

#[inline(always)]
fn largest_body<const FMA: bool>(x: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            most[l] = if x[l] > most[l] { x[l] } else { most[l] };
        }
    }
    most.iter().chain(rest).fold(f32::NEG_INFINITY, |m, x| m.max(*x))
}

dispatch! {
    /// out = factor · exp(x − most); Σ exp(x − most) · factor.
    pub(super) fn exponentials(x: &[f32], most: f32, factor: f32, out: &mut [f32]) -> f32 = exponentials_body
}

#[inline(always)]
fn exponentials_body<const FMA: bool>(x: &[f32], most: f32, factor: f32, out: &mut [f32]) -> f32 {
    for (out, x) in out.iter_mut().zip(x) {
        *out = factor * exp::<FMA>(x - most);
    }
    total(out)
}

#[inline(always)]
fn total(x: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            sums[l] += x[l];
        }
    }
    sums.iter().chain(rest).sum()
}

dispatch! {
    /// x becomes softmax(scale · x).
    pub(super) fn softmax(x: &mut [f32], scale: f32) = softmax_body
}

#[inline(always)]
fn softmax_body<const FMA: bool>(x: &mut [f32], scale: f32) {
    let most = largest_body::<FMA>(x);
    for x in x.iter_mut() {
        *x = exp::<FMA>(scale * (*x - most));
    }
    let share = 1.0 / total(x);
    for x in x {
        *x *= share;
    }
}

dispatch! {
    /// da becomes scale · a · (da − Σ a da).
    pub(super) fn softmax_backward(a: &[f32], da: &mut [f32], scale: f32) = softmax_backward_body
}

#[inline(always)]
fn softmax_backward_body<const FMA: bool>(a: &[f32], da: &mut [f32], scale: f32) {
    let mut sums = [0.0f32; LANES];
    let (a_chunks, da_chunks) = (a.as_chunks::<LANES>(), da.as_chunks::<LANES>());
    for (a, da) in a_chunks.0.iter().zip(da_chunks.0) {
        for l in 0..LANES {
            sums[l] = multiply_add::<FMA>(a[l], da[l], sums[l]);
        }
    }
    let rest: f32 = a_chunks.1.iter().zip(da_chunks.1).map(|(a, da)| a * da).sum();
    let inner = sums.iter().sum::<f32>() + rest;
    for (da, a) in da.iter_mut().zip(a) {
        *da = scale * a * (*da - inner);
    }
}

dispatch! {
    /// out += scale · a · (da − inner).
    pub(super) fn add_weighted(a: &[f32], da: &[f32], inner: f32, scale: f32, out: &mut [f32]) = add_weighted_body
}

#[inline(always)]
fn add_weighted_body<const FMA: bool>(a: &[f32], da: &[f32], inner: f32, scale: f32, out: &mut [f32]) {
    for ((out, a), da) in out.iter_mut().zip(a).zip(da) {
        *out = multiply_add::<FMA>(scale * a, da - inner, *out);
    }
}

dispatch! {
    /// scale · softmax over channels of x (channels, positions), rows `stride` apart, into rows of `TILE`.
    pub(super) fn softmax_channels(x: &[f32], stride: usize, sizes: [usize; 2], scale: f32, out: &mut [f32]) = softmax_channels_body
}

#[inline(always)]
fn softmax_channels_body<const FMA: bool>(
    x: &[f32],
    stride: usize,
    [dim, len]: [usize; 2],
    scale: f32,
    out: &mut [f32],
) {
    let (mut most, mut sums) = ([f32::NEG_INFINITY; TILE], [0.0f32; TILE]);
    for d in 0..dim {
        for (most, x) in most.iter_mut().zip(&x[d * stride..][..len]) {
            *most = if *x > *most { *x } else { *most };
        }
    }
    for d in 0..dim {
        let out = &mut out[d * TILE..][..len];
        for (((out, x), most), sum) in out
            .iter_mut()
            .zip(&x[d * stride..][..len])
            .zip(&most)
            .zip(&mut sums)
        {
            *out = exp::<FMA>(x - most);
            *sum += *out;
        }
    }
    for sum in &mut sums[..len] {
        *sum = scale / *sum;
    }
    for d in 0..dim {
        for (out, share) in out[d * TILE..][..len].iter_mut().zip(&sums) {
            *out *= share;
        }
    }
}

dispatch! {
    /// out += a · (da − Σ a da / scale), sums over channels, for a = scale · softmax and `inverse` = 1 / scale.
    pub(super) fn softmax_channels_backward(
        a: &[f32], da: &[f32], sizes: [usize; 2], inverse: f32, out: &mut [f32], stride: usize,
    ) = softmax_channels_backward_body
}

#[inline(always)]
fn softmax_channels_backward_body<const FMA: bool>(
    a: &[f32],
    da: &[f32],
    [dim, len]: [usize; 2],
    inverse: f32,
    out: &mut [f32],
    stride: usize,
) {
    let mut inner = [0.0f32; TILE];
    for d in 0..dim {
        for ((inner, a), da) in inner
            .iter_mut()
            .zip(&a[d * TILE..][..len])
            .zip(&da[d * TILE..][..len])
        {
            *inner = multiply_add::<FMA>(inverse * a, *da, *inner);
        }
    }
    for d in 0..dim {
        let row = out[d * stride..][..len].iter_mut().zip(&a[d * TILE..][..len]);
        for (((out, a), da), inner) in row.zip(&da[d * TILE..][..len]).zip(&inner) {
            *out = multiply_add::<FMA>(*a, da - inner, *out);
        }
    }
}
