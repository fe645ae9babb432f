//! Convolve as a product of matrices, whose patches are packed as they are needed.

use rayon::prelude::*;

use super::{
    gemm::{COLUMNS, ROWS, Tile, multiply_packed},
    geometry::Sizes,
    scratch::{self, Shared},
    walk::{List, Run, Segment, Walk},
};
use crate::ops::simd::dispatch;

/// Numbers of packed patches that a core holds at a time: half of a second-level cache of 512 KB.
const PATCHES: usize = 64 * 1024;
/// Panels of positions that share a pass over the weights, at most.
const PANELS: usize = 8;
/// Fewer blocks of positions than this, and the outputs are divided as well.
const TASKS: usize = 16;

/// Weights, as one direction of a convolution sees them: rows by sources by the taps of a walk.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub values: &'a [f32],
    kernel: [usize; 3],
    groups: usize,
    /// Rows and sources of a group, and how far apart the weights of neighbours are.
    pub rows: usize,
    pub row_step: usize,
    pub sources: usize,
    pub source_step: usize,
}

impl<'a> Weights<'a> {
    /// From channels to outputs.
    pub(super) fn forward(values: &'a [f32], sizes: &Sizes) -> Self {
        let (groups, taps) = (sizes.geometry.groups, sizes.geometry.taps());
        let (rows, sources) = (sizes.outputs / groups, sizes.channels / groups);
        Self {
            values,
            kernel: sizes.geometry.kernel,
            groups,
            rows,
            row_step: sources * taps,
            sources,
            source_step: taps,
        }
    }

    /// From outputs to channels.
    pub(super) fn backward(values: &'a [f32], sizes: &Sizes) -> Self {
        let forward = Self::forward(values, sizes);
        Self {
            rows: forward.sources,
            row_step: forward.source_step,
            sources: forward.rows,
            source_step: forward.row_step,
            ..forward
        }
    }

    /// Panels of a group.
    fn panels(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Packs to (groups, panels, taps of the walk, sources, ROWS), zeros filling the last panel.
    fn pack(&self, walk: &Walk, packed: &mut [f32]) {
        let taps = walk.taps();
        let size = taps * self.sources * ROWS;
        packed
            .par_chunks_exact_mut(size.max(1))
            .enumerate()
            .for_each(|(p, packed)| {
                let (group, first) = (p / self.panels(), p % self.panels() * ROWS);
                let values =
                    &self.values[group * self.rows * self.sources * self.kernel.iter().product::<usize>()..];
                if first + ROWS > self.rows {
                    packed.fill(0.0);
                }
                let there = ROWS.min(self.rows - first);
                for (tap, packed) in packed.chunks_exact_mut(self.sources * ROWS).enumerate() {
                    let start = first * self.row_step + walk.in_kernel(tap, self.kernel);
                    for (s, packed) in packed.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
                        let from = &values[start + s * self.source_step..];
                        for (i, to) in packed.iter_mut().enumerate().take(there) {
                            *to = from[i * self.row_step];
                        }
                    }
                }
            });
    }
}

/// What happens to the numbers that are already there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Over,
    Add,
}

/// Where neighbouring positions lie in the first channel of the destination.
#[derive(Debug, Clone, Copy, Default)]
struct Target {
    start: usize,
    len: usize,
}

/// All that a block of positions needs to know.
struct Product<'a> {
    walk: Walk,
    source: &'a [f32],
    weights: Weights<'a>,
    packed: &'a [f32],
    bias: Option<&'a [f32]>,
    to: Shared<'a>,
    write: Write,
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
    let inner = walk.taps() * weights.sources;
    let panels = (walk.batch * walk.positions()).div_ceil(COLUMNS);
    scratch::with(weights.groups * weights.panels() * inner * ROWS, |packed| {
        weights.pack(&walk, packed);
        let product = Product {
            walk,
            source,
            weights,
            packed,
            bias,
            to,
            write,
        };
        let block = (PATCHES / (inner * COLUMNS).max(1))
            .clamp(1, PANELS)
            .min(panels.div_ceil(TASKS).max(1));
        let blocks = panels.div_ceil(block);
        // Each part of the outputs packs the patches anew: worth it only while there are many outputs.
        let parts = (TASKS / blocks).clamp(1, weights.panels().div_ceil(16));
        (0..blocks * weights.groups * parts)
            .into_par_iter()
            .for_each(|task| {
                let (block_of, rest) = (task / (weights.groups * parts), task % (weights.groups * parts));
                let (group, part) = (rest / parts, rest % parts);
                let share = |i: usize| i * weights.panels() / parts;
                let columns = block_of * block..((block_of + 1) * block).min(panels);
                scratch::with(block * (inner + 1) * COLUMNS, |patches| {
                    product_block(&product, group, share(part)..share(part + 1), columns, patches);
                });
            });
    });
}

dispatch! {
    /// Convolves a range of row panels of a group at a range of panels of positions.
    fn product_block(product: &Product<'_>, group: usize, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>, patches: &mut [f32]) = product_block_body
}

#[inline(always)]
fn product_block_body<const FMA: bool>(
    product: &Product<'_>,
    group: usize,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    patches: &mut [f32],
) {
    let Product { walk, weights, .. } = product;
    let inner = walk.taps() * weights.sources;
    let panel_size = (inner + 1) * COLUMNS;
    let mut segments = [List::<Segment>::new(); PANELS];
    let mut targets = [List::<Target>::new(); PANELS];
    for (i, column) in columns.clone().enumerate() {
        segments[i] = walk.segments(column);
        for segment in segments[i].as_slice() {
            targets[i].push(Target {
                start: walk.destination(segment, weights.rows * weights.groups),
                len: segment.len,
            });
        }
    }
    pack_patches(product, group, &segments[..columns.len()], patches, panel_size);
    for row in rows {
        let a = &product.packed[(group * weights.panels() + row) * inner * ROWS..][..inner * ROWS];
        for (patches, targets) in patches.chunks_exact(panel_size).zip(&targets[..columns.len()]) {
            let b = &patches[..inner * COLUMNS];
            let tile = multiply_packed::<FMA>([[0.0; COLUMNS]; ROWS], a, b);
            store(product, group, row * ROWS, targets.as_slice(), &tile);
        }
    }
}

/// Packs what all taps meet at the positions of each panel to (taps, sources, COLUMNS), and a row to spare.
#[inline(always)]
fn pack_patches(
    product: &Product<'_>,
    group: usize,
    panels: &[List<Segment>],
    patches: &mut [f32],
    size: usize,
) {
    let Product { walk, weights, .. } = product;
    let channels = weights.sources * weights.groups;
    let (volume, step) = (walk.source(), walk.axes[2].step);
    let mut runs = [List::<Run>::new(); PANELS];
    for tap in 0..walk.taps() {
        for (runs, segments) in runs.iter_mut().zip(panels) {
            *runs = walk.runs(segments.as_slice(), walk.tap(tap), channels);
        }
        // Panels inside: they are neighbours in memory, sources are not.
        for s in 0..weights.sources {
            let source = &product.source[(group * weights.sources + s) * volume..];
            let row = (tap * weights.sources + s) * COLUMNS;
            for (runs, panel) in runs.iter().zip(patches.chunks_exact_mut(size)).take(panels.len()) {
                // A run may write beyond its end: what comes next writes over it.
                let row = &mut panel[row..];
                for run in runs.as_slice() {
                    copy_run(run, step, source, row);
                }
            }
        }
    }
}

/// Copies a run to its place in a row, whole registers where the source allows.
#[inline(always)]
fn copy_run(run: &Run, step: usize, source: &[f32], row: &mut [f32]) {
    let to = &mut row[run.at..];
    let Some(from) = run.source else {
        to[..COLUMNS].fill(0.0);
        return;
    };
    let source = &source[from..];
    match step {
        1 if source.len() >= COLUMNS => to[..COLUMNS].copy_from_slice(&source[..COLUMNS]),
        2 if source.len() >= 2 * COLUMNS => {
            let (to, source) = (&mut to[..COLUMNS], &source[..2 * COLUMNS]);
            for i in 0..COLUMNS {
                to[i] = source[2 * i];
            }
        }
        _ => {
            for (to, from) in to[..run.len].iter_mut().zip(source.iter().step_by(step)) {
                *to = *from;
            }
        }
    }
}

/// Writes a tile to its outputs.
#[inline(always)]
fn store(product: &Product<'_>, group: usize, first: usize, targets: &[Target], tile: &Tile) {
    let Product { walk, weights, .. } = product;
    let (extent, spread) = (walk.extent(), walk.axes[2].spread);
    let whole = spread == 1 && targets.len() == 1 && targets[0].len == COLUMNS;
    for (i, row) in tile.iter().enumerate().take(weights.rows - first) {
        let channel = group * weights.rows + first + i;
        let bias = product.bias.map_or(0.0, |bias| bias[channel]);
        if whole {
            // SAFETY: of all threads, only this one has these positions of this channel.
            let to = unsafe { product.to.part(targets[0].start + channel * extent, COLUMNS) };
            if let Some(to) = to.first_chunk_mut::<COLUMNS>() {
                write_whole(row, bias, product.write, to);
            }
            continue;
        }
        let mut at = 0;
        for target in targets {
            // SAFETY: as above.
            let to = unsafe {
                product
                    .to
                    .part(target.start + channel * extent, (target.len - 1) * spread + 1)
            };
            let row = &row[at..at + target.len];
            at += target.len;
            for (to, v) in to.chunks_mut(spread).zip(row) {
                let old = if product.write == Write::Add { to[0] } else { 0.0 };
                to[0] = old + v + bias;
            }
        }
    }
}

#[inline(always)]
fn write_whole(row: &[f32; COLUMNS], bias: f32, write: Write, to: &mut [f32; COLUMNS]) {
    if write == Write::Add {
        for j in 0..COLUMNS {
            to[j] += row[j] + bias;
        }
    } else {
        for j in 0..COLUMNS {
            to[j] = row[j] + bias;
        }
    }
}
