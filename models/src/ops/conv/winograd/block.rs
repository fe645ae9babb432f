//! Convolve a block of tiles: transform, multiply, transform back.

use std::ops::Range;

use super::{
    Tiling,
    multiply::multiply,
    transform::{self, FREQUENCIES, Four, LANES, OUT, SIDE, Six},
};
use crate::ops::{
    conv::{
        direct::Write,
        gemm::{COLUMNS, ROWS},
        shuffle::split_in_four,
    },
    shared::Parts,
    simd::dispatch_narrow,
};

/// Some lines of tiles.
pub(super) struct Block<'a> {
    pub tiling: &'a Tiling,
    pub lines: Range<usize>,
    pub source: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub to: Parts<'a, f32>,
    pub write: Write,
}

impl Block<'_> {
    fn across(&self) -> usize {
        self.tiling.tiles[1]
    }
    fn tiles(&self) -> usize {
        self.lines.len() * self.across()
    }
    pub(super) fn columns(&self) -> usize {
        self.tiles().div_ceil(COLUMNS)
    }
    /// Numbers from one frequency of the transformed inputs to the next; see `Tiling::weight_step`.
    pub(super) fn input_step(&self) -> usize {
        self.columns() * self.tiling.inner() * COLUMNS + COLUMNS
    }
    pub(super) fn inputs_len(&self) -> usize {
        FREQUENCIES * self.input_step()
    }
    /// Panels of outputs multiplied at a time, so that their products stay in the cache.
    pub(super) fn panels_at_once(&self) -> usize {
        let panel = FREQUENCIES * self.columns() * COLUMNS * ROWS;
        (super::PRODUCTS / panel).clamp(1, self.tiling.panels())
    }
    /// Numbers from one frequency of the products of some panels to the next.
    pub(super) fn product_step(&self, panels: usize) -> usize {
        panels * self.columns() * COLUMNS * ROWS + COLUMNS
    }
    /// Where a tile of a term is, at the first frequency.
    fn place(&self, inner: usize, tile: usize) -> usize {
        (tile / COLUMNS * self.tiling.inner() + inner) * COLUMNS + tile % COLUMNS
    }
    /// Numbers of a line of one phase: one tile more than there are, in whole registers.
    fn phase(&self) -> usize {
        self.across().next_multiple_of(LANES) + LANES
    }
    /// Working memory: products of some panels, or rows of the source by phases and a line.
    pub(super) fn work_len(&self, panels: usize) -> usize {
        let rows = self.lines.len().min(self.tiling.tiles[0]) * OUT + 2;
        let sources = (rows * OUT + OUT) * self.phase();
        sources.max(FREQUENCIES * self.product_step(panels))
    }
}

/// Convolves a block, in working memory of `inputs_len` and `work_len`.
pub(super) fn convolve(block: &Block<'_>, weights: &[f32], inputs: &mut [f32], work: &mut [f32]) {
    let tiling = block.tiling;
    transform_inputs(block, 0..tiling.inner(), Parts::of(inputs), work);
    let chunk = block.panels_at_once();
    for first in (0..tiling.panels()).step_by(chunk) {
        let panels = first..(first + chunk).min(tiling.panels());
        multiply(
            block,
            panels.len(),
            &weights[first * tiling.panel()..],
            inputs,
            work,
        );
        transform_outputs(block, panels, work);
    }
}

dispatch_narrow! {
    /// Transforms some terms of the inputs to (frequencies, columns, inner, COLUMNS), whose terms only it may hold.
    pub(super) fn transform_inputs(block: &Block<'_>, terms: Range<usize>, inputs: Parts<'_, f32>, work: &mut [f32]) = transform_inputs_body
}

#[inline(always)]
fn transform_inputs_body<const FMA: bool>(
    block: &Block<'_>,
    terms: Range<usize>,
    inputs: Parts<'_, f32>,
    work: &mut [f32],
) {
    let tiling = block.tiling;
    let axes = &tiling.walk.axes;
    let (volume, plane) = (tiling.walk.source(), axes[1].source * axes[2].source);
    let (line, rows) = work.split_at_mut(OUT * block.phase());
    for i in terms {
        let (tap, source) = ((i / tiling.sources) as isize, i % tiling.sources);
        let mut at = block.lines.start;
        while at < block.lines.end {
            let [sample, depth, first] = tiling.place(at);
            let count = (block.lines.end - at).min(tiling.tiles[0] - first);
            let tile = (at - block.lines.start) * block.across();
            let met = (depth * axes[0].step) as isize + axes[0].offset + tap * axes[0].slope;
            match tiling.walk.inside(0, met) {
                Some(met) => {
                    let start = (sample * tiling.sources + source) * volume + met * plane;
                    split_phases(
                        block,
                        &block.source[start..start + plane],
                        first,
                        count,
                        line,
                        rows,
                    );
                    for n in 0..count {
                        let rows = &rows[n * OUT * OUT * block.phase()..];
                        transform_line::<FMA>(block, rows, i, tile + n * block.across(), inputs);
                    }
                }
                None => {
                    for t in tile..tile + count * block.across() {
                        for f in 0..FREQUENCIES {
                            let start = f * block.input_step() + block.place(i, t);
                            // SAFETY: this task alone has its terms.
                            unsafe { put(inputs, start, &[0.0]) };
                        }
                    }
                }
            }
            at += count;
        }
    }
}

/// Copies the rows that `count` lines of tiles meet, with their edges, to (rows, OUT phases, tiles).
#[inline(always)]
fn split_phases(
    block: &Block<'_>,
    plane: &[f32],
    first: usize,
    count: usize,
    line: &mut [f32],
    rows: &mut [f32],
) {
    let tiling = block.tiling;
    let width = tiling.walk.axes[2].source;
    let (size, before) = (block.phase(), tiling.begin[1].unsigned_abs());
    let met = (first * OUT) as isize + tiling.begin[0];
    // Beyond the edges lie zeros, or numbers that every row of a periodic field writes over. Some tiles meet more
    // than any output does: that must only be finite.
    line.fill(0.0);
    for (r, phases) in rows
        .chunks_exact_mut(OUT * size)
        .take(count * OUT + 2)
        .enumerate()
    {
        let Some(row) = tiling.walk.inside(1, met + r as isize) else {
            phases.fill(0.0);
            continue;
        };
        let from = &plane[row * width..(row + 1) * width];
        copy(from, &mut line[before..]);
        if tiling.walk.wraps {
            for i in 0..before {
                line[i] = from[width - before + i];
            }
            for i in 0..2 {
                line[before + width + i] = from[i];
            }
        }
        let whole = size - LANES;
        for (g, from) in line[..OUT * whole]
            .as_chunks::<{ OUT * LANES }>()
            .0
            .iter()
            .enumerate()
        {
            for (p, part) in split_in_four(from).iter().enumerate() {
                phases[p * size + g * LANES..][..LANES].copy_from_slice(part);
            }
        }
        // The last tile ends two numbers into the next.
        phases[whole] = line[OUT * whole];
        phases[size + whole] = line[OUT * whole + 1];
    }
}

/// Copies in whole registers: lines are too short for the library's copy to pay.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    let to = &mut to[..from.len()];
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<LANES>(), to.as_chunks_mut::<LANES>());
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    if !from_rest.is_empty() {
        to_rest.copy_from_slice(from_rest);
    }
}

/// Transforms the tiles of a line, of which the first is `tile` in the block.
#[inline(always)]
fn transform_line<const FMA: bool>(
    block: &Block<'_>,
    rows: &[f32],
    inner: usize,
    tile: usize,
    inputs: Parts<'_, f32>,
) {
    let size = block.phase();
    for first in (0..block.across()).step_by(LANES) {
        let rows = &rows[first..];
        let mut six: Six = [[[0.0; LANES]; SIDE]; SIDE];
        for i in 0..SIDE {
            for j in 0..SIDE {
                six[i][j].copy_from_slice(&rows[(i * OUT + j % OUT) * size + j / OUT..][..LANES]);
            }
        }
        let six = transform::input::<FMA>(&six);
        let count = (block.across() - first).min(LANES);
        let tile = tile + first;
        // Usually all lanes, or half of them, fall into one column of tiles.
        let mut t = 0;
        while t < count {
            let start = block.place(inner, tile + t);
            let room = (COLUMNS - (tile + t) % COLUMNS).min(count - t);
            let n = [LANES, LANES / 2, 1][usize::from(room < LANES) + usize::from(room < LANES / 2)];
            for (f, lanes) in six.as_flattened().iter().enumerate() {
                let start = start + f * block.input_step();
                // SAFETY: this task alone has its terms, `inner` among them.
                unsafe {
                    match n {
                        LANES => put(inputs, start, lanes),
                        1 => put(inputs, start, &[lanes[t]]),
                        _ => put(
                            inputs,
                            start,
                            &[lanes[t], lanes[t + 1], lanes[t + 2], lanes[t + 3]],
                        ),
                    }
                }
            }
            t += n;
        }
    }
}

/// Writes neighbouring tiles of a term.
///
/// # Safety
/// Only one thread may hold the term that they belong to.
#[inline(always)]
unsafe fn put<const N: usize>(inputs: Parts<'_, f32>, start: usize, lanes: &[f32; N]) {
    // SAFETY: by the caller's promise.
    unsafe { inputs.part(start, N) }.copy_from_slice(lanes);
}

dispatch_narrow! {
    /// Transforms the products of some panels back and writes their outputs.
    pub(super) fn transform_outputs(block: &Block<'_>, panels: Range<usize>, products: &[f32]) = transform_outputs_body
}

#[inline(always)]
fn transform_outputs_body<const FMA: bool>(block: &Block<'_>, panels: Range<usize>, products: &[f32]) {
    let first = panels.start * ROWS;
    for row in first..(panels.end * ROWS).min(block.tiling.rows) {
        let products = &products[(row - first) * block.columns() * COLUMNS..];
        transform_row::<FMA>(block, row, products, block.product_step(panels.len()));
    }
}

/// Transforms the products of one row back and writes its outputs.
#[inline(always)]
fn transform_row<const FMA: bool>(block: &Block<'_>, row: usize, products: &[f32], step: usize) {
    let bias = block.bias.map_or(0.0, |bias| bias[row]);
    for first in (0..block.tiles()).step_by(LANES) {
        let products = &products[first..];
        let mut six: Six = [[[0.0; LANES]; SIDE]; SIDE];
        for i in 0..SIDE {
            for j in 0..SIDE {
                six[i][j].copy_from_slice(&products[(i * SIDE + j) * step..][..LANES]);
            }
        }
        let four: Four = transform::output::<FMA>(&six);
        let mut lines = [[0.0; OUT * LANES]; OUT];
        for i in 0..OUT {
            for t in 0..LANES {
                for j in 0..OUT {
                    lines[i][t * OUT + j] = four[i][j][t] + bias;
                }
            }
        }
        let end = block.tiles().min(first + LANES);
        let mut tile = first;
        while tile < end {
            let across = tile % block.across();
            let count = (end - tile).min(block.across() - across);
            for (i, line) in lines.iter().enumerate() {
                write_line(
                    block,
                    row,
                    tile / block.across(),
                    i,
                    across,
                    &line[(tile - first) * OUT..][..count * OUT],
                );
            }
            tile += count;
        }
    }
}

/// Writes a row of pixels of neighbouring tiles, as far as there are such outputs.
#[inline(always)]
fn write_line(block: &Block<'_>, row: usize, line: usize, i: usize, across: usize, values: &[f32]) {
    let tiling = block.tiling;
    let [sample, depth, down] = tiling.place(block.lines.start + line);
    let [depths, height, width] = tiling.walk.axes.map(|a| a.positions);
    let (h, w) = (down * OUT + i, across * OUT);
    if h >= height {
        return;
    }
    let len = values.len().min(width - w);
    let values = &values[..len];
    let start = (((sample * tiling.rows + row) * depths + depth) * height + h) * width + w;
    // SAFETY: of all threads, only this one has these lines of tiles.
    let to = unsafe { block.to.part(start, len) };
    match block.write {
        Write::Over => copy(values, to),
        Write::Add => {
            for (to, v) in to.iter_mut().zip(values) {
                *to += v;
            }
        }
    }
}
