//! Convolve with kernels of three by three, or of two by two, by fast products of tiles.
//!
//! Winograd's F(4×4, 3×3) (Lavin & Gray 2015, arXiv:1509.09308): a quarter of the multiplications. Tiles are
//! transformed, multiplied and transformed back in blocks that stay in the cache. A kernel that is deep as well is a
//! sum over its depths, taken before the transform back.
//!
//! A kernel of four by four that moves by two is a sum of four kernels of two by two, each of which meets every second
//! number of every second line; its transpose is four such kernels side by side. F(4×4, 2×2) has the points of
//! F(4×4, 3×3) without ∞, where a kernel whose last weights are zero has nothing: 1 / 2.6 of the multiplications.
//!
//! With normal inputs and weights, the largest error against f64 was 5e-6 of the largest output for 512 channels and
//! 2e-6 for 64, forward and transposed, and 1e-6 for the gradient of the weights; 1.2e-5 for 512 channels of a kernel
//! that moves by two, of which there are 2048 products at a frequency, and 2e-6 transposed.

mod block;
mod gradient;
mod multiply;
mod tiling;
mod transform;

use rayon::prelude::*;

pub(super) use gradient::correlate;
pub(super) use tiling::Tiling;

use self::{
    block::Block,
    tiling::PHASES,
    transform::{LANES, Lanes},
};
use super::{
    direct::Write,
    gemm::ROWS,
    geometry::Sizes,
    packed::{For, Packed},
    shuffle::lines_last,
    walk::Walk,
    weights::Weights,
};
use crate::ops::{
    shared::{Parts, numbers, numbers_mut, with_scratch},
    simd::dispatch_narrow,
};

/// Transformed inputs that a core holds at a time: about half of a second-level cache of 512 KB.
const INPUTS: usize = 80 * 1024;
/// Products that a core holds at a time.
const PRODUCTS: usize = 32 * 1024;

/// Up to so many tiles are one block, if the transformed weights are more than `MANY_WEIGHTS`: too many to be
/// written to memory for so few.
const FEW_TILES: usize = 128;
const MANY_WEIGHTS: usize = 1 << 20;
/// More transformed weights than this are not kept, being up to nine times as many as there were: 16 MB.
const KEPT: usize = 1 << 22;
/// Transformed inputs of a sample that are held for all depths of a kernel, at most: 64 MB.
const SAMPLE: usize = 1 << 24;
/// Tasks to divide outputs into, at least.
const TASKS: usize = 8;
/// Kernels that are transposed at a time, and numbers of each, at most.
const TOGETHER: usize = 8;
const KERNEL: usize = 16;
/// Terms that a task transforms.
const TERMS: usize = 16;

/// Whether the gradient of the weights can be had from tiles.
pub(super) fn correlates(sizes: &Sizes, weight: &[f32]) -> bool {
    let g = &sizes.geometry;
    let three = g.kernel[1..] == [3, 3] && g.stride == [1; 3];
    let weights = Weights::forward(weight, sizes);
    three && Tiling::new(Walk::forward(sizes), &weights).suits(&weights)
}

/// Convolves tile by tile.
pub(super) fn convolve(
    tiling: &Tiling,
    source: &[f32],
    (weights, keep): (&Weights<'_>, Option<&Packed>),
    bias: Option<&[f32]>,
    to: Parts<'_, f32>,
    write: Write,
) {
    let keep = keep.filter(|_| tiling.weights() <= KEPT);
    if tiling.deep() {
        return convolve_deep(tiling, source, (weights, keep), bias, to, write);
    }
    let few = tiling.lines * tiling.tiles[1] <= FEW_TILES && tiling.weights() > MANY_WEIGHTS;
    let lines = if few { tiling.lines } else { tiling.lines_at_once() };
    let block = |at: usize| {
        let lines = at * lines..((at + 1) * lines).min(tiling.lines);
        Block::new(tiling, lines, source, bias, (to, write))
    };
    if few {
        return convolve_few(&block(0), (weights, keep));
    }
    with_weights(tiling, (weights, keep), |transformed| {
        (0..tiling.lines.div_ceil(lines)).into_par_iter().for_each(|at| {
            let block = block(at);
            with_scratch(block.inputs_len(), |inputs| {
                with_scratch(block.work_len(block.panels_at_once()), |work| {
                    block::convolve(&block, transformed, inputs, work);
                });
            });
        });
    });
}

/// Convolves with a deep kernel, sample by sample: each slice is transformed once for all depths that meet it.
fn convolve_deep(
    tiling: &Tiling,
    source: &[f32],
    weights: (&Weights<'_>, Option<&Packed>),
    bias: Option<&[f32]>,
    to: Parts<'_, f32>,
    write: Write,
) {
    let slices = tiling.slices();
    let block = |tiling, lines| Block::new(tiling, lines, source, bias, (to, write));
    let sample = |tiling: &Tiling, i: usize| {
        let lines = tiling.lines / tiling.walk.batch;
        i * lines..(i + 1) * lines
    };
    let chunk = tiling.whole((tiling.panels() / TASKS).clamp(1, 4).max(tiling.panels().min(2)));
    with_weights(tiling, weights, |transformed| {
        for i in 0..tiling.walk.batch {
            let from = block(&slices, sample(&slices, i));
            let to = block(tiling, sample(tiling, i));
            with_scratch(from.inputs_len(), |inputs| {
                transform_all(&from, inputs);
                (0..tiling.panels().div_ceil(chunk))
                    .into_par_iter()
                    .for_each(|task| {
                        let panels = task * chunk..((task + 1) * chunk).min(tiling.panels());
                        let weights = &transformed[panels.start * tiling.panel()..];
                        with_scratch(to.work_len(chunk), |work| {
                            multiply::multiply_deep(&to, &from, panels.clone(), weights, inputs, work);
                            block::transform_outputs(&to, panels, work);
                        });
                    });
            });
        }
    });
}

/// Calls `work` with the panels of transformed weights; `keep` keeps them.
fn with_weights(
    tiling: &Tiling,
    (weights, keep): (&Weights<'_>, Option<&Packed>),
    work: impl FnOnce(&[f32]),
) {
    let transform = |words: &mut [u32]| {
        numbers_mut(words)
            .par_chunks_exact_mut(tiling.panel())
            .enumerate()
            .for_each(|(panel, to)| transform_weights(tiling, weights, panel, to));
    };
    let which = (weights, &tiling.walk);
    Packed::with(keep, For::Tiles, which, tiling.weights(), transform, |words| {
        work(numbers(words))
    });
}

/// Transforms all terms of a block.
fn transform_all(block: &Block<'_>, inputs: &mut [f32]) {
    let (shared, inner) = (Parts::of(inputs), block.tiling.inner());
    (0..inner.div_ceil(TERMS)).into_par_iter().for_each(|task| {
        let terms = task * TERMS..((task + 1) * TERMS).min(inner);
        with_scratch(block.work_len(0), |work| {
            block::transform_inputs(block, terms, shared, work)
        });
    });
}

/// Convolves all tiles as one block, divided by outputs: each weight is used as soon as it is transformed, if it is not
/// kept.
fn convolve_few(block: &Block<'_>, (weights, keep): (&Weights<'_>, Option<&Packed>)) {
    let tiling = block.tiling;
    let chunk = tiling.whole((tiling.panels() / TASKS).clamp(1, 4));
    let multiply = |inputs: &[f32], kept: Option<&[f32]>| {
        (0..tiling.panels().div_ceil(chunk))
            .into_par_iter()
            .for_each(|task| {
                let panels = task * chunk..((task + 1) * chunk).min(tiling.panels());
                let len = if kept.is_some() { 0 } else { chunk * tiling.panel() };
                with_scratch(len, |made| {
                    for (panel, to) in panels.clone().zip(made.chunks_exact_mut(tiling.panel())) {
                        transform_weights(tiling, weights, panel, to);
                    }
                    let transformed = kept.map_or(&*made, |kept| &kept[panels.start * tiling.panel()..]);
                    with_scratch(block.work_len(chunk), |work| {
                        multiply::multiply(block, panels.clone(), transformed, inputs, work);
                        block::transform_outputs(block, panels, work);
                    });
                });
            });
    };
    with_scratch(block.inputs_len(), |inputs| {
        transform_all(block, inputs);
        match keep {
            Some(_) => with_weights(tiling, (weights, keep), |kept| multiply(inputs, Some(kept))),
            None => multiply(inputs, None),
        }
    });
}

dispatch_narrow! {
    /// Transforms a panel of weights to (frequencies, inner, ROWS).
    fn transform_weights(tiling: &Tiling, weights: &Weights<'_>, panel: usize, to: &mut [f32]) = transform_weights_body
}

#[inline(always)]
fn transform_weights_body<const FMA: bool>(
    tiling: &Tiling,
    weights: &Weights<'_>,
    panel: usize,
    to: &mut [f32],
) {
    let depth = &tiling.walk.axes[0];
    let plane = weights.kernel[1] * weights.kernel[2];
    let (rows, outputs) = tiling.rows(panel);
    // Where each phase of the source has its kernel.
    let phases = tiling.terms() / tiling.sources;
    let mut places = [[None; 9]; PHASES * PHASES];
    for (phase, places) in places.iter_mut().enumerate().take(phases) {
        let (_, phase, _) = tiling.term(phase * tiling.sources);
        for (at, place) in places.iter_mut().enumerate() {
            let [h, w] = [(0, at / 3), (1, at % 3)]
                .map(|(side, i)| tiling.sides[side].in_kernel(outputs[side], phase[side], i));
            *place = h.zip(w).map(|(h, w)| h * weights.kernel[2] + w);
        }
    }
    // Kernels that are neighbours in memory are transposed together.
    let together = if weights.source_step == plane { TOGETHER } else { 1 };
    let mut lines = [[0.0; LANES]; TOGETHER * KERNEL];
    for tap in 0..depth.taps {
        let first = rows.start * weights.row_step + (depth.first + depth.every * tap) * plane;
        for start in (0..tiling.sources).step_by(together) {
            let count = together.min(tiling.sources - start);
            let from = &weights.values[first + start * weights.source_step..];
            let to_lines = lines.as_flattened_mut();
            lines_last(from, weights.row_step, rows.len(), plane * count, to_lines, LANES);
            for (s, line) in (start..).zip(lines.chunks_exact(plane).take(count)) {
                for (phase, places) in places[..phases].iter().enumerate() {
                    let mut kernel = [[Lanes::all(0.0); 3]; 3];
                    for at in 0..9 {
                        if let Some(place) = places[at] {
                            kernel[at / 3][at % 3] = Lanes::load(&line[place]);
                        }
                    }
                    let six = transform::kernel::<FMA>(&kernel);
                    let to = &mut to[((tap * phases + phase) * tiling.sources + s) * ROWS..];
                    for i in 0..tiling.side() {
                        for j in 0..tiling.side() {
                            let to = &mut to[(i * tiling.side() + j) * tiling.weight_step()..];
                            to[..ROWS].copy_from_slice(&six[i][j].numbers()[..ROWS]);
                        }
                    }
                }
            }
        }
    }
}
