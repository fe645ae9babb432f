//! Convolve with kernels of three by three by fast products of tiles.
//!
//! Winograd's F(4×4, 3×3) (Lavin & Gray 2015, arXiv:1509.09308): a quarter of the multiplications. Tiles are
//! transformed, multiplied and transformed back in blocks that stay in the cache. A kernel that is deep as well is a
//! sum over its depths, taken before the transform back.

mod block;
mod gradient;
mod transform;

use rayon::prelude::*;

pub(super) use gradient::correlate;

use self::{
    block::Block,
    transform::{FREQUENCIES, LANES, OUT, SIDE},
};
use super::{
    direct::{Weights, Write},
    gemm::{COLUMNS, ROWS},
    geometry::Sizes,
    scratch::{self, Shared},
    walk::Walk,
};
use crate::ops::simd::dispatch;

/// Transformed inputs that a core holds at a time: about half of a second-level cache of 512 KB.
const INPUTS: usize = 80 * 1024;
/// Products that a core holds at a time.
const PRODUCTS: usize = 32 * 1024;

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
    /// Numbers from one frequency of the transformed weights to the next: a line more than there are, so that
    /// frequencies do not fall on the same lines of the cache.
    fn weight_step(&self) -> usize {
        self.panels() * self.inner() * ROWS + COLUMNS
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
    weights: Weights<'_>,
    bias: Option<&[f32]>,
    to: Shared<'_>,
    write: Write,
) {
    let tiling = Tiling::new(walk, weights.sources, weights.rows);
    scratch::with(FREQUENCIES * tiling.weight_step(), |transformed| {
        let shared = Shared::new(transformed);
        (0..tiling.panels()).into_par_iter().for_each(|panel| {
            transform_weights(&tiling, &weights, panel, shared);
        });
        let lines = tiling.lines_at_once();
        (0..tiling.lines.div_ceil(lines))
            .into_par_iter()
            .for_each(|block| {
                let block = Block {
                    tiling: &tiling,
                    lines: block * lines..((block + 1) * lines).min(tiling.lines),
                    source,
                    weights: transformed,
                    bias,
                    to,
                    write,
                };
                scratch::with(block.inputs_len(), |inputs| {
                    scratch::with(block.work_len(), |work| block::convolve(&block, inputs, work));
                });
            });
    });
}

dispatch! {
    /// Transforms a panel of weights to (frequencies, panels, inner, ROWS).
    fn transform_weights(tiling: &Tiling, weights: &Weights<'_>, panel: usize, to: Shared<'_>) = transform_weights_body
}

#[inline(always)]
fn transform_weights_body<const FMA: bool>(
    tiling: &Tiling,
    weights: &Weights<'_>,
    panel: usize,
    to: Shared<'_>,
) {
    let depth = &tiling.walk.axes[0];
    let size = tiling.inner() * ROWS;
    for tap in 0..depth.taps {
        let first = (depth.first + depth.every * tap) * 9;
        for s in 0..tiling.sources {
            let mut kernel = [[[0.0; LANES]; 3]; 3];
            for (lane, row) in (panel * ROWS..tiling.rows.min(panel * ROWS + ROWS)).enumerate() {
                let start = row * weights.row_step + s * weights.source_step + first;
                let nine = &weights.values[start..start + 9];
                for (i, w) in nine.iter().enumerate() {
                    let i = if tiling.turned { 8 - i } else { i };
                    kernel[i / 3][i % 3][lane] = *w;
                }
            }
            let six = transform::kernel::<FMA>(&kernel);
            for f in 0..FREQUENCIES {
                let start = f * tiling.weight_step() + panel * size + (tap * tiling.sources + s) * ROWS;
                // SAFETY: of all threads, only this one has this panel.
                let to = unsafe { to.part(start, ROWS) };
                to.copy_from_slice(&six[f / SIDE][f % SIDE][..ROWS]);
            }
        }
    }
}
