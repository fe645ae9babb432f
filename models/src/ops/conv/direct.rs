//! Convolve as a product of matrices, whose patches are packed as they are needed.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    gemm::{COLUMNS, ROWS, Tile, add_products},
    shuffle::fetch,
    walk::{List, Segment, Walk},
    weights::{TAPS, Weights},
};
use crate::ops::{
    shared::{Parts, with_scratch},
    simd::dispatch,
};

/// Numbers of packed patches that a core holds at a time: half of a second-level cache of 512 KB.
const PATCHES: usize = 64 * 1024;
/// Panels of positions that share a pass over the weights, at most.
const PANELS: usize = 8;
/// Terms of a sum that are packed and multiplied at a time: the block of patches then takes a quarter of a
/// second-level cache.
const TERMS: usize = 256;
/// How many sources ahead numbers are asked for.
const AHEAD: usize = 8;
/// Fewer blocks of positions than this, and the outputs are divided as well.
const TASKS: usize = 16;

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
    to: Parts<'a, f32>,
    write: Write,
}

impl Product<'_> {
    /// Terms of each sum: sources at every tap.
    fn inner(&self) -> usize {
        self.walk.taps() * self.weights.sources
    }
    /// Terms that are multiplied at a time.
    fn terms(&self) -> usize {
        self.inner().div_ceil(self.inner().div_ceil(TERMS).max(1))
    }
    /// Numbers of a panel of patches: those, and a row to spare.
    fn panel(&self) -> usize {
        (self.terms() + 1) * COLUMNS
    }
}

/// Convolves along a walk.
pub(super) fn convolve(
    walk: Walk,
    source: &[f32],
    weights: Weights<'_>,
    bias: Option<&[f32]>,
    to: Parts<'_, f32>,
    write: Write,
) {
    let inner = walk.taps() * weights.sources;
    let panels = (walk.batch * walk.positions()).div_ceil(COLUMNS);
    with_scratch(weights.groups * weights.panels() * inner * ROWS, |packed| {
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
        let block = (PATCHES / (product.terms() * COLUMNS).max(1))
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
                let rows = share(part)..share(part + 1);
                let sums = if product.terms() < inner {
                    rows.len() * block * ROWS * COLUMNS
                } else {
                    0
                };
                with_scratch(sums, |sums| {
                    with_scratch(block * product.panel(), |patches| {
                        product_block(&product, group, rows, columns, patches, sums);
                    });
                });
            });
    });
}

dispatch! {
    /// Convolves a range of row panels of a group at a range of panels of positions.
    fn product_block(product: &Product<'_>, group: usize, rows: Range<usize>, columns: Range<usize>, patches: &mut [f32], sums: &mut [f32]) = product_block_body
}

#[inline(always)]
fn product_block_body<const FMA: bool>(
    product: &Product<'_>,
    group: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    patches: &mut [f32],
    sums: &mut [f32],
) {
    let Product { walk, weights, .. } = product;
    let (inner, size) = (product.inner(), product.panel());
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
    let sums = sums.as_chunks_mut::<COLUMNS>().0.as_chunks_mut::<ROWS>().0;
    let packed = &product.packed[group * weights.panels() * inner * ROWS..];
    let mut start = 0;
    loop {
        let terms = start..(start + product.terms()).min(inner);
        pack_patches(product, group, &segments[..columns.len()], terms.clone(), patches);
        // Panels inside: their outputs are neighbours in memory, rows are not.
        for (nth, row) in rows.clone().enumerate() {
            let a = &packed[(row * inner + start) * ROWS..][..terms.len() * ROWS];
            for (i, patches) in patches.chunks_exact(size).take(columns.len()).enumerate() {
                let b = &patches[..terms.len() * COLUMNS];
                let place = nth * columns.len() + i;
                let mut tile = if start == 0 {
                    [[0.0; COLUMNS]; ROWS]
                } else {
                    sums[place]
                };
                if terms.end == inner && (walk.axes[2].spread > 1 || product.write == Write::Add) {
                    prepare(product, group, row * ROWS, targets[i].as_slice());
                }
                add_products(&mut tile, a, b);
                if terms.end == inner {
                    store(product, group, row * ROWS, targets[i].as_slice(), &tile);
                } else {
                    sums[place] = tile;
                }
            }
        }
        start = terms.end;
        if start >= inner {
            break;
        }
    }
}

const NOWHERE: usize = usize::MAX;

/// Where a run is copied from and to, for the first source.
#[derive(Clone, Copy, Default)]
struct Move {
    to: u32,
    len: u32,
    /// `NOWHERE` for zeros.
    from: usize,
}

/// Packs what some terms, each a source at a tap, meet at the positions of each panel to (terms, COLUMNS).
#[inline(always)]
fn pack_patches(
    product: &Product<'_>,
    group: usize,
    panels: &[List<Segment>],
    terms: Range<usize>,
    patches: &mut [f32],
) {
    let Product { walk, weights, .. } = product;
    let (sources, channels) = (weights.sources, weights.sources * weights.groups);
    let (volume, step) = (walk.source(), walk.axes[2].step);
    for first in (0..walk.taps()).step_by(TAPS) {
        let count = TAPS.min(walk.taps() - first);
        let begin = first * sources;
        // Which sources have terms of these taps.
        let from = terms.start.saturating_sub(begin) / count;
        let end = terms.end.saturating_sub(begin).div_ceil(count).min(sources);
        if from >= end {
            continue;
        }
        let mut moves = [Move::default(); TAPS * PANELS * COLUMNS];
        let mut ends = [0; TAPS + 1];
        for i in 0..count {
            let mut n = ends[i];
            for (panel, segments) in panels.iter().enumerate() {
                for run in walk
                    .runs(segments.as_slice(), walk.tap(first + i), channels)
                    .as_slice()
                {
                    moves[n] = Move {
                        to: (panel * product.panel() + run.at) as u32,
                        len: run.len as u32,
                        from: run.source.unwrap_or(NOWHERE),
                    };
                    n += 1;
                }
            }
            ends[i + 1] = n;
        }
        for s in from..end {
            let source = &product.source[(group * sources + s) * volume..];
            for i in 0..count {
                let term = begin + s * count + i;
                if !terms.contains(&term) {
                    continue;
                }
                let row = (term - terms.start) * COLUMNS;
                // Panels inside: they are neighbours in memory, sources are not.
                for m in &moves[ends[i]..ends[i + 1]] {
                    // A run may write beyond its end: what comes next writes over it.
                    copy_run(m, step, source, &mut patches[m.to as usize + row..]);
                    if i == 0 {
                        fetch(source, m.from.saturating_add(AHEAD * volume));
                    }
                }
            }
        }
    }
}

/// Copies a run, whole registers where the source allows.
#[inline(always)]
fn copy_run(run: &Move, step: usize, source: &[f32], to: &mut [f32]) {
    let from = run.from;
    if from == NOWHERE {
        to[..COLUMNS].fill(0.0);
    } else if step == 1
        && let Some(source) = source.get(from..from + COLUMNS)
    {
        to[..COLUMNS].copy_from_slice(source);
    } else if step == 2
        && let Some(source) = source.get(from..from + 2 * COLUMNS)
    {
        let to = &mut to[..COLUMNS];
        for i in 0..COLUMNS {
            to[i] = source[2 * i];
        }
    } else {
        for (to, from) in to[..run.len as usize]
            .iter_mut()
            .zip(source[from..].iter().step_by(step))
        {
            *to = *from;
        }
    }
}

/// Asks for the outputs that a tile will be added to or written between.
#[inline(always)]
fn prepare(product: &Product<'_>, group: usize, first: usize, targets: &[Target]) {
    let Product { walk, weights, .. } = product;
    let [target, ..] = targets else { return };
    let extent = walk.extent();
    for row in 0..ROWS.min(weights.rows - first) {
        let start = target.start + (group * weights.rows + first + row) * extent;
        for line in 0..walk.axes[2].spread.min(2) {
            product.to.fetch(start + line * COLUMNS);
        }
    }
}

/// Writes a tile to its outputs.
#[inline(always)]
fn store(product: &Product<'_>, group: usize, first: usize, targets: &[Target], tile: &Tile) {
    let Product { walk, weights, .. } = product;
    let (extent, spread) = (walk.extent(), walk.axes[2].spread);
    let one = targets.len() == 1 && targets[0].len == COLUMNS;
    let whole = spread == 1 && one;
    // Every second number of lines of even length: both of each pair are there.
    let phase = walk.axes[2].phase;
    let pairs = spread == 2 && one && walk.axes[2].extent.is_multiple_of(2);
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
        if pairs {
            // SAFETY: as above; those between are positions of another walk, which is not under way.
            let to = unsafe {
                product
                    .to
                    .part(targets[0].start - phase + channel * extent, 2 * COLUMNS)
            };
            if let Some(to) = to.first_chunk_mut::<{ 2 * COLUMNS }>() {
                write_spread(row, bias, product.write, phase == 1, to);
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
    let mut sum = if write == Write::Add { *to } else { [0.0; COLUMNS] };
    for j in 0..COLUMNS {
        sum[j] += row[j] + bias;
    }
    *to = sum;
}

/// Writes over every second number, or adds to it, and leaves those between as they are.
#[inline(always)]
fn write_spread(row: &[f32; COLUMNS], bias: f32, write: Write, odd: bool, to: &mut [f32; 2 * COLUMNS]) {
    let old = *to;
    let mut new = [0.0; 2 * COLUMNS];
    for j in 0..COLUMNS {
        let (mine, other) = if odd {
            (old[2 * j + 1], old[2 * j])
        } else {
            (old[2 * j], old[2 * j + 1])
        };
        let sum = row[j] + bias + if write == Write::Add { mine } else { 0.0 };
        (new[2 * j], new[2 * j + 1]) = if odd { (other, sum) } else { (sum, other) };
    }
    *to = new;
}
