//! Add fields and lay channels side by side on the processor.

use rayon::prelude::*;

/// Numbers of a task.
const BLOCK: usize = 1 << 14;

/// y = a + b.
pub(crate) fn sum(a: &[f32], b: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(BLOCK)
        .zip(a.par_chunks(BLOCK))
        .zip(b.par_chunks(BLOCK))
        .for_each(|((y, a), b)| y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = a + b));
}

/// to += from.
pub(crate) fn plus(to: &mut [f32], from: &[f32]) {
    to.par_chunks_mut(BLOCK)
        .zip(from.par_chunks(BLOCK))
        .for_each(|(to, from)| to.iter_mut().zip(from).for_each(|(a, b)| *a += b));
}

/// Lays examples of `a` and `b`, of `sizes` numbers each, side by side; neither is empty.
pub(crate) fn concat(a: &[f32], b: &[f32], sizes: [usize; 2], y: &mut [f32]) {
    let [of_a, of_b] = sizes;
    y.par_chunks_exact_mut(of_a + of_b)
        .zip(a.par_chunks_exact(of_a).zip(b.par_chunks_exact(of_b)))
        .for_each(|(y, (a, b))| {
            let (to_a, to_b) = y.split_at_mut(of_a);
            to_a.copy_from_slice(a);
            to_b.copy_from_slice(b);
        });
}

/// Adds to `to` the part of each example of `from`, of `size` numbers, that begins at `start`.
pub(crate) fn plus_part(to: &mut [f32], from: &[f32], size: usize, start: usize) {
    let examples = (from.len() / size.max(1)).max(1);
    let part = to.len() / examples;
    to.par_chunks_exact_mut(part.max(1))
        .zip(from.par_chunks_exact(size.max(1)))
        .for_each(|(to, from)| to.iter_mut().zip(&from[start..]).for_each(|(a, b)| *a += b));
}
