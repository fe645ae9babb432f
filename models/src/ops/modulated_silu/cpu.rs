//! Scale, shift and activate on the processor, one pass forward and one back.

use dfdx::{
    shapes::HasShape,
    tensor::{Cpu, PutTape, SplitTape, Tape, TensorFromVec},
};
use rayon::prelude::*;

use crate::{
    device::{Maps, Rows, values},
    error::{ModelError, Result},
    ops::{
        add_gradient,
        simd::{dispatch, multiply_add, sigmoid},
        take_gradient,
    },
};

pub(crate) fn modulated_silu<T: Tape<f32, Cpu>>(
    x: Maps<Cpu, T>,
    scale_shift: Rows<Cpu, T>,
) -> Result<Maps<Cpu, T>> {
    let shape = *x.shape();
    let (batch, channels, height, width) = shape;
    let pixels = height * width;
    let (x, tape) = x.split_tape();
    let (rows, rows_tape) = scale_shift.split_tape();
    let mut tape = tape.merge(rows_tape);
    let mut y = vec![0.0; batch * channels * pixels];
    x_chunks(&x, pixels)
        .zip(y.par_chunks_exact_mut(pixels))
        .enumerate()
        .for_each(|(bc, (x, y))| activate(x, modulation(values(&rows), bc, channels), y));
    let y = x
        .device()
        .try_tensor_from_vec(y, shape)
        .map_err(ModelError::device)?;
    if T::OWNS_TAPE {
        let y_ghost = y.ghost();
        tape.add_backward_op(move |gradients| {
            let mut dy = take_gradient!(gradients, &y_ghost);
            let mut d_rows = vec![0.0; batch * 2 * channels];
            let sums: Vec<[f32; 2]> = x_chunks(&x, pixels)
                .zip(dy.par_chunks_exact_mut(pixels))
                .enumerate()
                .map(|(bc, (x, dy))| backward(x, modulation(values(&rows), bc, channels), dy))
                .collect();
            for (bc, [d_scale, d_shift]) in sums.into_iter().enumerate() {
                let (b, c) = (bc / channels, bc % channels);
                d_rows[b * 2 * channels + c] = d_scale;
                d_rows[b * 2 * channels + channels + c] = d_shift;
            }
            add_gradient!(gradients, &rows, d_rows);
            add_gradient!(gradients, &x, dy);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

fn x_chunks(x: &Maps<Cpu>, pixels: usize) -> rayon::slice::ChunksExact<'_, f32> {
    values(x).par_chunks_exact(pixels)
}

/// (1 + scale, shift) of map `bc`.
fn modulation(rows: &[f32], bc: usize, channels: usize) -> [f32; 2] {
    let row = bc / channels * 2 * channels + bc % channels;
    [1.0 + rows[row], rows[row + channels]]
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
    /// Turns the gradient of y into that of x in place; returns those of scale and shift.
    fn backward(x: &[f32], modulation: [f32; 2], dy: &mut [f32]) -> [f32; 2] = backward_body
}

#[inline(always)]
fn backward_body<const FMA: bool>(x: &[f32], [gain, shift]: [f32; 2], dy: &mut [f32]) -> [f32; 2] {
    const LANES: usize = 8;
    let derivative = |x: f32, dy: f32| {
        let a = multiply_add::<FMA>(gain, x, shift);
        let s = sigmoid::<FMA>(a);
        dy * multiply_add::<FMA>(a * s, 1.0 - s, s)
    };
    let (mut scales, mut shifts) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (mut x_chunks, mut dy_chunks) = (x.chunks_exact(LANES), dy.chunks_exact_mut(LANES));
    for (x, dy) in (&mut x_chunks).zip(&mut dy_chunks) {
        for l in 0..LANES {
            let da = derivative(x[l], dy[l]);
            scales[l] = multiply_add::<FMA>(da, x[l], scales[l]);
            shifts[l] += da;
            dy[l] = da * gain;
        }
    }
    for (x, dy) in x_chunks.remainder().iter().zip(dy_chunks.into_remainder()) {
        let da = derivative(*x, *dy);
        scales[0] += da * x;
        shifts[0] += da;
        *dy = da * gain;
    }
    [scales.iter().sum(), shifts.iter().sum()]
}
