//! Convolve a block of tiles: transform, multiply, transform back.

use std::ops::Range;

use super::{
    Tiling,
    multiply::multiply,
    transform::{self, FREQUENCIES, Four, LANES, Lanes, OUT, SIDE, Six},
};
use crate::ops::{
    conv::{
        direct::Write,
        gemm::{COLUMNS, ROWS},
    },
    shared::Parts,
    simd::dispatch_narrow,
};

/// Lines of tiles that are transformed at a time: so many that their tiles fill whole registers.
const LINES: usize = LANES;

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
    /// Numbers from one line of half transformed inputs to the next: what its tiles meet, in whole registers wherever
    /// the line begins.
    fn half(&self) -> usize {
        (self.across() * OUT + 2).next_multiple_of(LANES) + LANES
    }
    /// Working memory: products of some panels, or half transformed inputs and a line of zeros.
    pub(super) fn work_len(&self, panels: usize) -> usize {
        let halves = SIDE * LINES * self.half() + self.tiling.walk.axes[2].source;
        halves.max(FREQUENCIES * self.product_step(panels))
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
    let (halves, zeros) = work.split_at_mut(SIDE * LINES * block.half());
    let zeros = &mut zeros[..block.tiling.walk.axes[2].source];
    zeros.fill(0.0);
    for term in terms {
        for first in block.lines.clone().step_by(LINES) {
            let lines = first..(first + LINES).min(block.lines.end);
            for (n, line) in lines.clone().enumerate() {
                transform_down::<FMA>(block, rows_met(block, term, line, zeros), n, halves);
            }
            transform_across::<FMA>(block, term, lines, halves, inputs);
        }
    }
}

/// The six rows that a line of tiles meets in a term: zeros beyond the edges.
#[inline(always)]
fn rows_met<'a>(block: &Block<'a>, term: usize, line: usize, zeros: &'a [f32]) -> [&'a [f32]; SIDE] {
    let tiling = block.tiling;
    let (walk, axes) = (&tiling.walk, &tiling.walk.axes);
    let (volume, width) = (walk.source(), axes[2].source);
    let (tap, source) = ((term / tiling.sources) as isize, term % tiling.sources);
    let [sample, depth, down] = tiling.place(line);
    let met = (depth * axes[0].step) as isize + axes[0].offset + tap * axes[0].slope;
    let mut rows = [zeros; SIDE];
    if let Some(d) = walk.inside(0, met) {
        let start = (sample * tiling.sources + source) * volume + d * axes[1].source * width;
        for (r, row) in rows.iter_mut().enumerate() {
            if let Some(h) = walk.inside(1, (down * OUT + r) as isize + tiling.begin[0]) {
                *row = &block.source[start + h * width..][..width];
            }
        }
    }
    rows
}

/// Transforms the columns of a line of tiles, the `n`th of `halves`: (SIDE, LINES, numbers met).
#[inline(always)]
fn transform_down<const FMA: bool>(block: &Block<'_>, rows: [&[f32]; SIDE], n: usize, halves: &mut [f32]) {
    let (size, width) = (block.half(), rows[0].len());
    let before = block.tiling.begin[1].unsigned_abs();
    let whole = width - width % LANES;
    for w in (0..width).step_by(LANES) {
        let mut six = [Lanes::all(0.0); SIDE];
        for i in 0..SIDE {
            six[i] = match w < whole {
                true => Lanes::load(&rows[i][w..]),
                false => Lanes::load_some(&rows[i][w..]),
            };
        }
        let six = transform::input_one_way::<FMA>(six);
        for i in 0..SIDE {
            six[i].store(&mut halves[(i * LINES + n) * size + before + w..]);
        }
    }
    for half in halves.chunks_exact_mut(size).skip(n).step_by(LINES) {
        // Beyond the edges lie zeros, or numbers of the other side. Some tiles meet more than any output does: that
        // must only be finite.
        for v in &mut half[before + width..] {
            *v = 0.0;
        }
        for w in 0..before {
            half[w] = if block.tiling.walk.wraps {
                half[width + w]
            } else {
                0.0
            };
        }
        if block.tiling.walk.wraps {
            for w in 0..2 {
                half[before + width + w] = half[before + w];
            }
        }
    }
}

/// Transforms the rows of some lines of tiles, half transformed, to where they belong in the block.
#[inline(always)]
fn transform_across<const FMA: bool>(
    block: &Block<'_>,
    term: usize,
    lines: Range<usize>,
    halves: &[f32],
    inputs: Parts<'_, f32>,
) {
    let (size, across) = (block.half(), block.across());
    let first = (lines.start - block.lines.start) * across;
    let (mut line, mut column) = (0, 0);
    for tile in (0..lines.len() * across).step_by(LANES) {
        let mut places = [0; LANES];
        for place in &mut places {
            *place = line * size + column * OUT;
            // The last one as often as lanes are left.
            if column + 1 < across {
                column += 1;
            } else if line + 1 < lines.len() {
                (line, column) = (line + 1, 0);
            }
        }
        let next = places.map(|place| place + OUT);
        let start = block.place(term, first + tile);
        for i in 0..SIDE {
            let half = &halves[i * LINES * size..][..LINES * size];
            let [a, b, c, d] = Lanes::of_fours::<FMA>(half, &places);
            let [e, f, ..] = Lanes::of_fours::<FMA>(half, &next);
            let six = transform::input_one_way::<FMA>([a, b, c, d, e, f]);
            for (j, lanes) in six.iter().enumerate() {
                let start = start + (i * SIDE + j) * block.input_step();
                // SAFETY: this task alone has its terms, `term` among them.
                lanes.store(unsafe { inputs.part(start, LANES) });
            }
        }
    }
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
    let bias = Lanes::all(block.bias.map_or(0.0, |bias| bias[row]));
    for first in (0..block.tiles()).step_by(LANES) {
        let products = &products[first..];
        let mut six: Six = [[Lanes::all(0.0); SIDE]; SIDE];
        for i in 0..SIDE {
            for j in 0..SIDE {
                six[i][j] = Lanes::load(&products[(i * SIDE + j) * step..]);
            }
        }
        let four: Four = transform::output::<FMA>(&six);
        let mut lines = [[0.0; OUT * LANES]; OUT];
        for i in 0..OUT {
            let mut fours = four[i];
            for four in &mut fours {
                *four = four.add::<FMA>(bias);
            }
            Lanes::store_fours::<FMA>(fours, &mut lines[i]);
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
    // SAFETY: of all threads, only this one has this row of these lines of tiles.
    let to = unsafe { block.to.part(start, len) };
    match block.write {
        Write::Over => {
            // In whole registers: lines are too short for the library's copy to pay.
            let ((from, from_rest), (to, to_rest)) =
                (values.as_chunks::<LANES>(), to.as_chunks_mut::<LANES>());
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
            if !from_rest.is_empty() {
                to_rest.copy_from_slice(from_rest);
            }
        }
        Write::Add => {
            for (to, v) in to.iter_mut().zip(values) {
                *to += v;
            }
        }
    }
}
