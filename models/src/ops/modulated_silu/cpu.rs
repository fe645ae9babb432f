//! Scale, shift and activate on the processor, one pass forward and one back.

use rayon::prelude::*;

use crate::ops::simd::{dispatch, multiply_add, sigmoid};

/// y = silu((1 + scale) · x + shift).
pub(crate) fn forward(x: &[f32], rows: &[f32], channels: usize, positions: usize, y: &mut [f32]) {
    x.par_chunks_exact(positions)
        .zip(y.par_chunks_exact_mut(positions))
        .enumerate()
        .for_each(|(bc, (x, y))| activate(x, modulation(rows, bc, channels), y));
}

/// Adds the gradient in `x` to `dx`; returns that in the rows.
pub(crate) fn backward(
    (x, rows): (&[f32], &[f32]),
    dy: &[f32],
    channels: usize,
    positions: usize,
    dx: &mut [f32],
) -> Vec<f32> {
    let sums: Vec<[f32; 2]> = x
        .par_chunks_exact(positions)
        .zip(dy.par_chunks_exact(positions))
        .zip(dx.par_chunks_exact_mut(positions))
        .enumerate()
        .map(|(bc, ((x, dy), dx))| backward_channel(x, modulation(rows, bc, channels), dy, dx))
        .collect();
    let mut of_rows = vec![0.0; rows.len()];
    for (bc, [of_scale, of_shift]) in sums.into_iter().enumerate() {
        let scale = place(bc, channels);
        of_rows[scale] = of_scale;
        of_rows[scale + channels] = of_shift;
    }
    of_rows
}

/// Where the scale of channel `bc` of all is in the rows; its shift is `channels` further.
fn place(bc: usize, channels: usize) -> usize {
    bc / channels * 2 * channels + bc % channels
}

/// (1 + scale, shift) of channel `bc` of all.
fn modulation(rows: &[f32], bc: usize, channels: usize) -> [f32; 2] {
    let scale = place(bc, channels);
    [1.0 + rows[scale], rows[scale + channels]]
}

dispatch! {
    fn activate(x: &[f32], modulation: [f32; 2], y: &mut [f32]) = activate_body
}

#[inline(always)]
fn activate_body<const FMA: bool>(x: &[f32], [gain, shift]: [f32; 2], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        let a = multiply_add::<FMA>(gain, *x, shift);
        *y = a * sigmoid::<FMA>(a);
    }
}

dispatch! {
    /// Adds the gradient of x to `dx`; returns those of scale and shift.
    fn backward_channel(x: &[f32], modulation: [f32; 2], dy: &[f32], dx: &mut [f32]) -> [f32; 2] = backward_body
}

#[inline(always)]
fn backward_body<const FMA: bool>(
    x: &[f32],
    [gain, shift]: [f32; 2],
    dy: &[f32],
    dx: &mut [f32],
) -> [f32; 2] {
    const LANES: usize = 8;
    let derivative = |x: f32, dy: f32| {
        let a = multiply_add::<FMA>(gain, x, shift);
        let s = sigmoid::<FMA>(a);
        dy * multiply_add::<FMA>(a * s, 1.0 - s, s)
    };
    let (mut scales, mut shifts) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (x, dy, dx) = (
        x.as_chunks::<LANES>(),
        dy.as_chunks::<LANES>(),
        dx.as_chunks_mut::<LANES>(),
    );
    for ((x, dy), dx) in x.0.iter().zip(dy.0).zip(dx.0) {
        for l in 0..LANES {
            let da = derivative(x[l], dy[l]);
            scales[l] = multiply_add::<FMA>(da, x[l], scales[l]);
            shifts[l] += da;
            dx[l] = multiply_add::<FMA>(da, gain, dx[l]);
        }
    }
    for ((x, dy), dx) in x.1.iter().zip(dy.1).zip(dx.1) {
        let da = derivative(*x, *dy);
        scales[0] += da * x;
        shifts[0] += da;
        *dx += da * gain;
    }
    [scales.iter().sum(), shifts.iter().sum()]
}
