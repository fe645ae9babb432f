//! Weigh and add channels on the processor, one pass each way.

use rayon::prelude::*;

/// y = Σ weights · x for fields of `positions`.
pub(crate) fn forward(x: &[f32], weights: &[f32], channels: usize, positions: usize, y: &mut [f32]) {
    x.par_chunks_exact(channels * positions)
        .zip(weights.par_chunks_exact(channels))
        .zip(y.par_chunks_exact_mut(positions))
        .for_each(|((x, w), y)| {
            y.fill(0.0);
            for (x, w) in x.chunks_exact(positions).zip(w) {
                y.iter_mut().zip(x).for_each(|(y, x)| *y += w * x);
            }
        });
}

/// Adds the gradients in `x` and `weights` to `dx` and `dw`.
pub(crate) fn backward(
    (x, weights): (&[f32], &[f32]),
    dy: &[f32],
    channels: usize,
    (dx, dw): (&mut [f32], &mut [f32]),
) {
    let positions = x.len() / weights.len();
    let samples = x
        .par_chunks_exact(channels * positions)
        .zip(weights.par_chunks_exact(channels));
    let gradients = dx
        .par_chunks_exact_mut(channels * positions)
        .zip(dw.par_chunks_exact_mut(channels));
    samples
        .zip(dy.par_chunks_exact(positions))
        .zip(gradients)
        .for_each(|(((x, w), dy), (dx, dw))| {
            let fields = x
                .chunks_exact(positions)
                .zip(dx.chunks_exact_mut(positions))
                .zip(w.iter().zip(dw));
            for ((x, dx), (w, dw)) in fields {
                *dw += x.iter().zip(dy).map(|(x, d)| x * d).sum::<f32>();
                dx.iter_mut().zip(dy).for_each(|(dx, d)| *dx += w * d);
            }
        });
}
