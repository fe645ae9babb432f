//! Weigh and add maps on the processor, one pass each way.

use dfdx::{
    shapes::HasShape,
    tensor::{Cpu, PutTape, SplitTape, Tape, TensorFromVec},
};
use rayon::prelude::*;

use crate::{
    device::{Maps, Rows, values},
    error::{ModelError, Result},
    ops::{add_gradient, take_gradient},
};

pub(crate) fn mix<T: Tape<f32, Cpu>>(x: Maps<Cpu, T>, weights: Rows<Cpu, T>) -> Result<Maps<Cpu, T>> {
    let (batch, channels, height, width) = *x.shape();
    let pixels = height * width;
    let (x, tape) = x.split_tape();
    let (weights, weights_tape) = weights.split_tape();
    let mut tape = tape.merge(weights_tape);
    let mut y = vec![0.0; batch * pixels];
    let samples = values(&x)
        .par_chunks_exact(channels * pixels)
        .zip(values(&weights).par_chunks_exact(channels));
    samples
        .clone()
        .zip(y.par_chunks_exact_mut(pixels))
        .for_each(|((x, w), y)| {
            for (x, w) in x.chunks_exact(pixels).zip(w) {
                y.iter_mut().zip(x).for_each(|(y, x)| *y += w * x);
            }
        });
    let y = x
        .device()
        .try_tensor_from_vec(y, (batch, 1, height, width))
        .map_err(ModelError::device)?;
    if T::OWNS_TAPE {
        let y_ghost = y.ghost();
        tape.add_backward_op(move |gradients| {
            let dy = take_gradient!(gradients, &y_ghost);
            let mut dx = vec![0.0; batch * channels * pixels];
            let mut dw = vec![0.0; batch * channels];
            let samples = values(&x)
                .par_chunks_exact(channels * pixels)
                .zip(values(&weights).par_chunks_exact(channels));
            let gradient_samples = dx
                .par_chunks_exact_mut(channels * pixels)
                .zip(dw.par_chunks_exact_mut(channels));
            samples
                .zip(dy.par_chunks_exact(pixels))
                .zip(gradient_samples)
                .for_each(|(((x, w), dy), (dx, dw))| {
                    let maps = x
                        .chunks_exact(pixels)
                        .zip(dx.chunks_exact_mut(pixels))
                        .zip(w.iter().zip(dw));
                    for ((x, dx), (w, dw)) in maps {
                        *dw = x.iter().zip(dy).map(|(x, d)| x * d).sum();
                        dx.iter_mut().zip(dy).for_each(|(dx, d)| *dx = w * d);
                    }
                });
            add_gradient!(gradients, &x, dx);
            add_gradient!(gradients, &weights, dw);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}
