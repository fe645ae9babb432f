//! Convolve with kernels of three by three by fast products of tiles.
//!
//! Winograd's F(4×4, 3×3) (Lavin & Gray 2015, arXiv:1509.09308): a quarter of the multiplications. Tiles are
//! transformed, multiplied and transformed back in blocks that stay in the cache. A kernel that is deep as well is a
//! sum over its depths, taken before the transform back.
//!
//! With normal inputs and weights, the largest error against f64 was 5e-6 of the largest output for 512 channels and
//! 2e-6 for 64, forward and transposed, and 1e-6 for the gradient of the weights.

mod block;
mod gradient;
mod multiply;
mod transform;

use rayon::prelude::*;

pub(super) use gradient::correlate;

use self::{
    block::Block,
    transform::{FREQUENCIES, LANES, Lanes, OUT},
};
use super::{
    direct::Write,
    gemm::{COLUMNS, ROWS},
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
/// written to memory for so few, or, being four times as many as there were, to be kept.
const FEW_TILES: usize = 128;
const MANY_WEIGHTS: usize = 1 << 20;
/// Transformed inputs of a sample that are held for all depths of a kernel, at most: 64 MB.
const SAMPLE: usize = 1 << 24;
/// Tasks to divide outputs into, at least.
const TASKS: usize = 8;
/// Kernels that are transposed at a time.
const TOGETHER: usize = 8;
/// Terms that a task transforms.
const TERMS: usize = 16;

/// Whether a convolution is one that tiles can do, and would do faster.
pub(super) fn suits(sizes: &Sizes) -> bool {
    let g = &sizes.geometry;
    let three = g.kernel[1..] == [3, 3] && g.stride == [1; 3] && g.groups == 1;
    let near = g.reach[1] <= 2 && g.reach[2] <= 2;
    // A tile that is mostly beyond the edge is work for nothing.
    let wide = sizes.output[1].min(sizes.output[2]) > 2 && sizes.input[1].min(sizes.input[2]) > 2;
    three && near && wide && sizes.channels >= 8 && sizes.outputs >= 8
}

/// How a convolution is cut into tiles.
struct Tiling {
    walk: Walk,
    /// Tiles of a slice of outputs, down and across.
    tiles: [usize; 2],
    /// Rows of tiles of all samples and depths.
    lines: usize,
    /// Where the first tile begins in the source.
    begin: [isize; 2],
    /// Whether the kernel meets the source from its end.
    turned: bool,
    sources: usize,
    rows: usize,
}

impl Tiling {
    fn new(walk: Walk, sources: usize, rows: usize) -> Self {
        let [depth, height, width] = &walk.axes;
        let tiles = [height, width].map(|a| a.positions.div_ceil(OUT));
        Self {
            walk,
            tiles,
            lines: walk.batch * depth.positions * tiles[0],
            begin: [height, width].map(|a| a.offset.min(a.offset + 2 * a.slope)),
            turned: height.slope < 0,
            sources,
            rows,
        }
    }
    /// Terms of each sum: sources at every depth of the kernel.
    fn inner(&self) -> usize {
        self.walk.axes[0].taps * self.sources
    }
    fn panels(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }
    /// Numbers from one frequency of a panel of transformed weights to the next: a line more than there are, so that
    /// frequencies do not fall on the same lines of the cache.
    fn weight_step(&self) -> usize {
        self.inner() * ROWS + COLUMNS
    }
    /// Numbers of a panel of transformed weights.
    fn panel(&self) -> usize {
        FREQUENCIES * self.weight_step()
    }
    /// Sample, depth and row of a line of tiles.
    fn place(&self, line: usize) -> [usize; 3] {
        let depth = self.walk.axes[0].positions;
        [
            line / (depth * self.tiles[0]),
            line / self.tiles[0] % depth,
            line % self.tiles[0],
        ]
    }
    /// Whether several depths of the kernel meet the same tiles, and slices are whole columns of tiles.
    fn deep(&self) -> bool {
        let (depth, slice) = (&self.walk.axes[0], self.tiles[0] * self.tiles[1]);
        let held = FREQUENCIES * self.sources * depth.source * slice;
        depth.taps > 1 && slice.is_multiple_of(COLUMNS) && held <= SAMPLE
    }
    /// The tiling of the source itself, slice by slice.
    fn slices(&self) -> Self {
        let mut walk = self.walk;
        let depth = &mut walk.axes[0];
        (depth.positions, depth.extent, depth.taps) = (depth.source, depth.source, 1);
        (depth.offset, depth.first, depth.every) = (0, 0, 1);
        Self::new(walk, self.sources, self.rows)
    }
    /// Lines of tiles whose inputs fill `INPUTS`, such that little of the last panel is empty.
    fn lines_at_once(&self) -> usize {
        let most = (INPUTS / (FREQUENCIES * self.inner())).clamp(COLUMNS, 4 * COLUMNS);
        let filled = |n: &usize| {
            let tiles = n * self.tiles[1];
            tiles as f64 / tiles.next_multiple_of(COLUMNS) as f64
        };
        (1..=(most / self.tiles[1]).clamp(1, self.lines.max(1)))
            .max_by(|a, b| filled(a).total_cmp(&filled(b)))
            .unwrap_or(1)
    }
}

/// Convolves along a walk.
pub(super) fn convolve(
    walk: Walk,
    source: &[f32],
    (weights, keep): (&Weights<'_>, Option<&Packed>),
    bias: Option<&[f32]>,
    to: Parts<'_, f32>,
    write: Write,
) {
    let tiling = Tiling::new(walk, weights.sources, weights.rows);
    if tiling.deep() {
        return convolve_deep(&tiling, source, (weights, keep), bias, to, write);
    }
    let few = tiling.lines * tiling.tiles[1] <= FEW_TILES && tiling.panels() * tiling.panel() > MANY_WEIGHTS;
    let lines = if few { tiling.lines } else { tiling.lines_at_once() };
    let block = |at: usize| Block {
        tiling: &tiling,
        lines: at * lines..((at + 1) * lines).min(tiling.lines),
        source,
        bias,
        to,
        write,
    };
    if few {
        return convolve_few(&block(0), weights);
    }
    with_weights(&tiling, (weights, keep), |transformed| {
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
    let block = |tiling, lines| Block {
        tiling,
        lines,
        source,
        bias,
        to,
        write,
    };
    let sample = |tiling: &Tiling, i: usize| {
        let lines = tiling.lines / tiling.walk.batch;
        i * lines..(i + 1) * lines
    };
    let chunk = (tiling.panels() / TASKS).clamp(1, 4).max(tiling.panels().min(2));
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
                            multiply::multiply_deep(&to, &from, panels.len(), weights, inputs, work);
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
    let len = tiling.panels() * tiling.panel();
    let which = (weights, &tiling.walk);
    let keep = keep.filter(|_| len <= MANY_WEIGHTS);
    Packed::with(keep, For::Tiles, which, len, transform, |words| {
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

/// Convolves all tiles as one block, divided by outputs: each weight is used as soon as it is transformed.
fn convolve_few(block: &Block<'_>, weights: &Weights<'_>) {
    let tiling = block.tiling;
    let chunk = (tiling.panels() / TASKS).clamp(1, 4);
    with_scratch(block.inputs_len(), |inputs| {
        transform_all(block, inputs);
        (0..tiling.panels().div_ceil(chunk))
            .into_par_iter()
            .for_each(|task| {
                let panels = task * chunk..((task + 1) * chunk).min(tiling.panels());
                with_scratch(chunk * tiling.panel(), |transformed| {
                    for (panel, to) in panels.clone().zip(transformed.chunks_exact_mut(tiling.panel())) {
                        transform_weights(tiling, weights, panel, to);
                    }
                    with_scratch(block.work_len(chunk), |work| {
                        multiply::multiply(block, panels.len(), transformed, inputs, work);
                        block::transform_outputs(block, panels, work);
                    });
                });
            });
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
    let (begin, there) = (
        panel * ROWS * weights.row_step,
        ROWS.min(tiling.rows - panel * ROWS),
    );
    // Kernels that are neighbours in memory are transposed together.
    let together = if weights.source_step == 9 { TOGETHER } else { 1 };
    let mut nines = [[[0.0; LANES]; 9]; TOGETHER];
    for tap in 0..depth.taps {
        let first = begin + (depth.first + depth.every * tap) * 9;
        for start in (0..tiling.sources).step_by(together) {
            let count = together.min(tiling.sources - start);
            let from = &weights.values[first + start * weights.source_step..];
            lines_last(
                from,
                weights.row_step,
                there,
                9 * count,
                nines.as_flattened_mut().as_flattened_mut(),
                LANES,
            );
            for (s, nine) in (start..).zip(&nines[..count]) {
                let mut kernel = [[Lanes::all(0.0); 3]; 3];
                for i in 0..9 {
                    kernel[i / 3][i % 3] = Lanes::load(&nine[if tiling.turned { 8 - i } else { i }]);
                }
                let six = transform::kernel::<FMA>(&kernel);
                let to = &mut to[(tap * tiling.sources + s) * ROWS..];
                for (f, lanes) in six.as_flattened().iter().enumerate() {
                    // More lanes than rows: what comes next writes over those.
                    lanes.store(&mut to[f * tiling.weight_step()..]);
                }
            }
        }
    }
}
