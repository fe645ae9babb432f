//! Convolve a block of tiles: transform, multiply, transform back.

use std::ops::Range;

use super::{
    multiply::multiply,
    tiling::{Met, Tiling},
    transform::{self, Four, LANES, Lanes, OUT, Places, SIDE, Six},
};
use crate::ops::{
    conv::{
        direct::Write,
        gemm::{COLUMNS, ROWS},
    },
    shared::Parts,
    simd::dispatch_narrow,
};

/// Side of the transformed tile of a kernel of two by two.
const FIVE: usize = SIDE - 1;
/// Lines of tiles that are transformed at a time: so many that their tiles fill whole registers.
const LINES: usize = LANES;

/// Some lines of tiles.
pub(super) struct Block<'a> {
    pub tiling: &'a Tiling,
    /// Sample, depth and row of each line.
    pub places: Vec<[usize; 3]>,
    pub source: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub to: Parts<'a, f32>,
    pub write: Write,
}

impl<'a> Block<'a> {
    pub(super) fn new(
        tiling: &'a Tiling,
        lines: Range<usize>,
        source: &'a [f32],
        bias: Option<&'a [f32]>,
        (to, write): (Parts<'a, f32>, Write),
    ) -> Self {
        Self {
            tiling,
            places: lines.map(|line| tiling.place(line)).collect(),
            source,
            bias,
            to,
            write,
        }
    }
    fn across(&self) -> usize {
        self.tiling.tiles[1]
    }
    fn tiles(&self) -> usize {
        self.places.len() * self.across()
    }
    pub(super) fn columns(&self) -> usize {
        self.tiles().div_ceil(COLUMNS)
    }
    /// Numbers from one frequency of the transformed inputs to the next; see `Tiling::weight_step`.
    pub(super) fn input_step(&self) -> usize {
        self.columns() * self.tiling.inner() * COLUMNS + COLUMNS
    }
    pub(super) fn inputs_len(&self) -> usize {
        self.tiling.frequencies() * self.input_step()
    }
    /// Panels of outputs multiplied at a time, so that their products stay in the cache.
    pub(super) fn panels_at_once(&self) -> usize {
        let panel = self.tiling.frequencies() * self.columns() * COLUMNS * ROWS;
        self.tiling
            .whole((super::PRODUCTS / panel).clamp(1, self.tiling.panels()))
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
        halves.max(self.tiling.frequencies() * self.product_step(panels))
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
            panels.clone(),
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
    match block.tiling.side() {
        SIDE => transform_terms::<FMA, SIDE>(block, terms, inputs, work),
        _ => transform_terms::<FMA, FIVE>(block, terms, inputs, work),
    }
}

/// Transforms terms to tiles with `SIDES` frequencies each way.
#[inline(always)]
fn transform_terms<const FMA: bool, const SIDES: usize>(
    block: &Block<'_>,
    terms: Range<usize>,
    inputs: Parts<'_, f32>,
    work: &mut [f32],
) {
    let (halves, zeros) = work.split_at_mut(SIDE * LINES * block.half());
    let zeros = &mut zeros[..block.tiling.walk.axes[2].source];
    zeros.fill(0.0);
    for (i, places) in block.places.chunks(LINES).enumerate() {
        let groups = groups(block, places.len());
        let first = i * LINES * block.across();
        for term in terms.clone() {
            let (tap, phases, source) = block.tiling.term(term);
            let met = [0, 1].map(|side| block.tiling.sides[side].met[phases[side]]);
            for (n, place) in places.iter().enumerate() {
                let rows = rows_met(block, (tap, source), met[0], *place, zeros);
                transform_down::<FMA, SIDES>(block, rows, met[1], n, halves);
            }
            transform_across::<FMA, SIDES>(block, (term, first), &groups, halves, inputs);
        }
    }
}

/// Where the tiles of some lines begin in a row of `halves`, as many at a time as fill a register; at the end the last one
/// as often as lanes are left.
fn groups(block: &Block<'_>, lines: usize) -> Vec<Places> {
    let (size, across) = (block.half(), block.across());
    let tiles = lines * across;
    let place = |tile: usize| tile / across * size + tile % across * OUT;
    let group = |first: usize| Places::new(std::array::from_fn(|lane| place((first + lane).min(tiles - 1))));
    (0..tiles).step_by(LANES).map(group).collect()
}

/// The rows that a line of tiles meets in a source, at one depth of the kernel: zeros beyond the edges.
#[inline(always)]
fn rows_met<'a>(
    block: &Block<'a>,
    (tap, source): (usize, usize),
    met: Met,
    [sample, depth, down]: [usize; 3],
    zeros: &'a [f32],
) -> [&'a [f32]; SIDE] {
    let tiling = block.tiling;
    let (walk, axes) = (&tiling.walk, &tiling.walk.axes);
    let (volume, width) = (walk.source(), axes[2].source);
    let deep = (depth * axes[0].step) as isize + axes[0].offset + tap as isize * axes[0].slope;
    let mut rows = [zeros; SIDE];
    if let Some(d) = walk.inside(0, deep) {
        let start = (sample * tiling.sources + source) * volume + d * axes[1].source * width;
        for (r, row) in rows.iter_mut().enumerate() {
            let at = ((down * OUT + r) as isize + met.begin) * met.step as isize;
            if let Some(h) = walk.inside(1, at + met.first as isize) {
                *row = &block.source[start + h * width..][..width];
            }
        }
    }
    rows
}

/// Transforms the columns of a line of tiles, the `n`th of `halves`: (SIDE, LINES, numbers met).
#[inline(always)]
fn transform_down<const FMA: bool, const SIDES: usize>(
    block: &Block<'_>,
    rows: [&[f32]; SIDE],
    met: Met,
    n: usize,
    halves: &mut [f32],
) {
    let (size, width, before) = (block.half(), met.count, met.before());
    let whole = rows[0].len() / met.step / LANES * LANES;
    for w in (0..width).step_by(LANES) {
        let mut six = [Lanes::all(0.0); SIDE];
        for i in 0..SIDE {
            let from = &rows[i][w * met.step..];
            six[i] = match (w < whole, met.step) {
                (true, 1) => Lanes::load(from),
                (true, _) => Lanes::of_pairs::<FMA>(from, met.first),
                (false, _) => Lanes::load_some(from, met.first, met.step),
            };
        }
        let six = transform::input_one_way::<FMA>(six);
        for i in 0..SIDES {
            six[i].store(&mut halves[(i * LINES + n) * size + before + w..]);
        }
    }
    for half in halves.chunks_exact_mut(size).skip(n).step_by(LINES).take(SIDES) {
        // Beyond the edges lie zeros, or numbers of the other side. Some tiles meet more than any output does, but no
        // more than a register: that must only be finite.
        Lanes::all(0.0).store(&mut half[before + width..]);
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

/// Transforms the rows of groups of tiles, half transformed, to where they belong in the block from tile `first` on.
#[inline(always)]
fn transform_across<const FMA: bool, const SIDES: usize>(
    block: &Block<'_>,
    (term, first): (usize, usize),
    groups: &[Places],
    halves: &[f32],
    inputs: Parts<'_, f32>,
) {
    // Found once: for all that a compiler knows, what is written could change it.
    let (size, step) = (block.half(), block.input_step());
    for (i, places) in groups.iter().enumerate() {
        let start = block.place(term, first + i * LANES);
        for i in 0..SIDES {
            let half = &halves[i * LINES * size..][..LINES * size];
            let [a, b, c, d] = Lanes::of_fours::<FMA>(half, places);
            let [e, f, ..] = Lanes::of_fours::<FMA>(&half[OUT..], places);
            let six = transform::input_one_way::<FMA>([a, b, c, d, e, f]);
            for (j, lanes) in six[..SIDES].iter().enumerate() {
                // SAFETY: this task alone has its terms, `term` among them.
                lanes.store(unsafe { inputs.part(start + (i * SIDES + j) * step, LANES) });
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
    let (tiling, size) = (block.tiling, block.columns() * COLUMNS);
    let step = block.product_step(panels.len());
    let fan = tiling.sides[1].fan;
    for panel in panels.clone().step_by(fan) {
        let (rows, phases) = tiling.rows(panel);
        for (r, row) in rows.enumerate() {
            let products = &products[((panel - panels.start) * ROWS + r) * size..];
            let row = (row, phases[0]);
            match (tiling.side(), fan) {
                (SIDE, 1) => transform_row::<FMA, SIDE, 1>(block, row, products, step),
                (SIDE, _) => transform_row::<FMA, SIDE, 2>(block, row, products, step),
                (_, 1) => transform_row::<FMA, FIVE, 1>(block, row, products, step),
                (_, _) => transform_row::<FMA, FIVE, 2>(block, row, products, step),
            }
        }
    }
}

/// Transforms the products of a row, at a phase down and at all phases across, back and writes its outputs.
#[inline(always)]
fn transform_row<const FMA: bool, const SIDES: usize, const FAN: usize>(
    block: &Block<'_>,
    (row, down): (usize, usize),
    products: &[f32],
    step: usize,
) {
    let bias = Lanes::all(block.bias.map_or(0.0, |bias| bias[row]));
    // Found once, as above.
    let (tiling, across, next) = (block.tiling, block.across(), ROWS * block.columns() * COLUMNS);
    let ([deep, height, width], fan) = (tiling.walk.axes, tiling.sides[0].fan);
    let (mut line, mut column) = (0, 0);
    for first in (0..block.tiles()).step_by(LANES) {
        let mut lines = [[[0.0; OUT * LANES]; OUT]; FAN];
        for (phase, lines) in lines.iter_mut().enumerate() {
            let products = &products[phase * next + first..];
            let mut six: Six = [[Lanes::all(0.0); SIDE]; SIDE];
            for i in 0..SIDES {
                for j in 0..SIDES {
                    six[i][j] = Lanes::load(&products[(i * SIDES + j) * step..]);
                }
            }
            let four: Four = transform::output::<FMA>(&six);
            for i in 0..OUT {
                let mut fours = four[i];
                for four in &mut fours {
                    *four = four.add::<FMA>(bias);
                }
                Lanes::store_fours::<FMA>(fours, &mut lines[i]);
            }
        }
        let mut mixed = [[[0.0; FAN]; OUT * LANES]; OUT];
        if FAN > 1 {
            for (i, mixed) in mixed.iter_mut().enumerate() {
                for (w, mixed) in mixed.iter_mut().enumerate() {
                    for (phase, v) in mixed.iter_mut().enumerate() {
                        *v = lines[phase][i][w];
                    }
                }
            }
        }
        let end = block.tiles().min(first + LANES);
        let mut tile = first;
        while tile < end {
            let count = (end - tile).min(across - column);
            let [sample, depth, top] = block.places[line];
            let slice = (sample * tiling.rows + row) * deep.extent + depth * deep.spread + deep.phase;
            for i in 0..OUT {
                let (h, w) = ((top * OUT + i) * fan + down, column * OUT * FAN);
                if h >= height.extent {
                    break;
                }
                let values = match FAN {
                    1 => &lines[0][i][..],
                    _ => mixed[i].as_flattened(),
                };
                let len = (count * OUT * FAN).min(width.extent - w);
                let values = &values[(tile - first) * OUT * FAN..][..len];
                // SAFETY: of all threads, only this one has this row of these lines of tiles, at this phase down.
                let to = unsafe { block.to.part((slice * height.extent + h) * width.extent + w, len) };
                write_line(block.write, values, to);
            }
            tile += count;
            column += count;
            if column == across {
                (line, column) = (line + 1, 0);
            }
        }
    }
}

/// Writes numbers of a row.
#[inline(always)]
fn write_line(write: Write, values: &[f32], to: &mut [f32]) {
    match write {
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
