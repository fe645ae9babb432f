//! Sum the gradient of a kernel over transformed tiles.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Tiling,
    transform::{self, FREQUENCIES, Four, LANES, Lanes, OUT, SIDE, Six},
};
use crate::ops::{
    conv::{
        gemm::{COLUMNS, ROWS, Tile, multiply},
        geometry::Sizes,
        shuffle::lines_last,
        walk::Walk,
        weights::Weights,
    },
    shared::with_scratch,
    simd::{dispatch, dispatch_narrow},
};

/// Channels of a task.
const CHANNELS: usize = 4 * COLUMNS;
/// Tiles that are transformed and multiplied at a time, about.
const TILES: usize = 32;
/// Fewer tasks than this, and the tiles are divided as well, if each gets `SHARE` of them.
const TASKS: usize = 8;
const SHARE: usize = 96;

/// Adds the gradient of the weights to `dw`. How the sums are divided depends on the sizes alone.
pub(in super::super) fn correlate(x: &[f32], dy: &[f32], sizes: &Sizes, dw: &mut [f32]) {
    let tiling = Tiling::new(Walk::forward(sizes), &Weights::forward(dw, sizes));
    let taps = sizes.geometry.kernel[0];
    let blocks = sizes.channels.div_ceil(CHANNELS);
    let tasks = blocks * taps;
    let groups = TASKS
        .div_ceil(tasks)
        .min(tiling.lines * tiling.tiles[1] / SHARE)
        .max(1);
    let size = FREQUENCIES * tiling.panels() * ROWS * CHANNELS;
    with_scratch(groups * tasks * size, |sums| {
        sums.par_chunks_exact_mut(size.max(1))
            .enumerate()
            .for_each(|(task, sums)| {
                let (group, task) = (task / tasks, task % tasks);
                let share = |i: usize| i * tiling.lines / groups;
                let first = task / taps * CHANNELS;
                let task = Task {
                    tiling: &tiling,
                    x,
                    dy,
                    tap: task % taps,
                    channels: first..sizes.channels.min(first + CHANNELS),
                    lines: share(group)..share(group + 1),
                };
                with_scratch(task.transformed_len(), |work| {
                    with_scratch(task.field_len(), |field| sum_tiles(&task, work, field, sums));
                });
            });
        let sums = Sums {
            all: sums,
            group: tasks * size,
            task: size,
            taps,
        };
        let row = sizes.channels * taps * 9;
        dw.par_chunks_exact_mut(row.max(1))
            .enumerate()
            .for_each(|(output, dw)| {
                finish(&sums, &tiling, output, dw);
            });
    });
}

/// Some channels at one depth of the kernel, over some lines of tiles.
struct Task<'a> {
    tiling: &'a Tiling,
    x: &'a [f32],
    dy: &'a [f32],
    tap: usize,
    channels: Range<usize>,
    lines: Range<usize>,
}

impl Task<'_> {
    fn across(&self) -> usize {
        self.tiling.tiles[1]
    }
    /// Lines of tiles taken at a time.
    fn lines_at_once(&self) -> usize {
        (TILES / self.across()).clamp(1, self.lines.len().max(1))
    }
    fn tiles_at_once(&self) -> usize {
        self.lines_at_once() * self.across()
    }
    /// Numbers from one transformed tile to the next, in inputs and outputs.
    fn steps(&self) -> [usize; 2] {
        [CHANNELS, (self.tiling.panels() * ROWS).next_multiple_of(LANES)]
    }
    /// Numbers from one frequency to the next: a line more than there are, see `Tiling::weight_step`.
    fn frequency_steps(&self) -> [usize; 2] {
        self.steps().map(|step| self.tiles_at_once() * step + COLUMNS)
    }
    fn transformed_len(&self) -> usize {
        FREQUENCIES * self.frequency_steps().iter().sum::<usize>()
    }
    /// Positions of a row that a line of tiles meets.
    fn row(&self) -> usize {
        self.across() * OUT + 2
    }
    fn field_len(&self) -> usize {
        (self.lines_at_once() * OUT + 2) * self.row() * LANES
    }
}

/// Writes Σ_tiles of the products of transformed outputs and inputs to (frequencies, panels, blocks, ROWS, COLUMNS).
fn sum_tiles(task: &Task<'_>, work: &mut [f32], field: &mut [f32], sums: &mut [f32]) {
    sums.fill(0.0);
    let (inputs, outputs) = work.split_at_mut(FREQUENCIES * task.frequency_steps()[0]);
    for start in task.lines.clone().step_by(task.lines_at_once()) {
        let lines = start..(start + task.lines_at_once()).min(task.lines.end);
        let count = lines.len() * task.across();
        transform_inputs(task, lines.clone(), field, inputs);
        transform_outputs(task, lines, field, outputs);
        multiply_tiles(task, count, inputs, outputs, sums);
    }
}

dispatch! {
    /// Adds the products of `count` tiles.
    fn multiply_tiles(task: &Task<'_>, count: usize, inputs: &[f32], outputs: &[f32], sums: &mut [f32]) = multiply_tiles_body
}

#[inline(always)]
fn multiply_tiles_body<const FMA: bool>(
    task: &Task<'_>,
    count: usize,
    inputs: &[f32],
    outputs: &[f32],
    sums: &mut [f32],
) {
    let [x_step, y_step] = task.steps();
    let [x_frequency, y_frequency] = task.frequency_steps();
    let blocks = task.channels.len().div_ceil(COLUMNS);
    let frequencies = sums.chunks_exact_mut(sums.len() / FREQUENCIES);
    let operands = inputs
        .chunks_exact(x_frequency)
        .zip(outputs.chunks_exact(y_frequency));
    for (sums, (x, y)) in frequencies.zip(operands) {
        let (x, y) = (&x[..count * x_step], &y[..count * y_step]);
        let tiles = sums.as_chunks_mut::<COLUMNS>().0.as_chunks_mut::<ROWS>().0;
        for (panel, tiles) in tiles.chunks_exact_mut(CHANNELS / COLUMNS).enumerate() {
            for (block, sum) in tiles.iter_mut().enumerate().take(blocks) {
                let (y, x) = (&y[panel * ROWS..], &x[block * COLUMNS..]);
                let tile: Tile = *sum;
                *sum = multiply::<FMA>(tile, count, (y, y_step), (x, x_step));
            }
        }
    }
}

dispatch_narrow! {
    /// Transforms what lines of tiles meet to (frequencies, tiles, channels).
    fn transform_inputs(task: &Task<'_>, lines: Range<usize>, field: &mut [f32], to: &mut [f32]) = transform_inputs_body
}

#[inline(always)]
fn transform_inputs_body<const FMA: bool>(
    task: &Task<'_>,
    lines: Range<usize>,
    field: &mut [f32],
    to: &mut [f32],
) {
    let tiling = task.tiling;
    let axes = &tiling.walk.axes;
    let (step, frequency) = (task.steps()[0], task.frequency_steps()[0]);
    let (volume, plane, width) = (
        tiling.walk.source(),
        axes[1].source * axes[2].source,
        axes[2].source,
    );
    let before = tiling.sides[1].met[0].before();
    let row_len = task.row() * LANES;
    let mut at = lines.start;
    while at < lines.end {
        let [sample, depth, first] = tiling.place(at);
        let count = (lines.end - at).min(tiling.tiles[0] - first);
        let met = (depth * axes[0].step) as isize + axes[0].offset + task.tap as isize;
        let slice = tiling.walk.inside(0, met);
        for c in (0..task.channels.len().next_multiple_of(COLUMNS)).step_by(LANES) {
            let channel = task.channels.start + c;
            let there = tiling.sources.saturating_sub(channel).min(LANES);
            for (r, row) in field.chunks_exact_mut(row_len).enumerate().take(count * OUT + 2) {
                let h = tiling
                    .walk
                    .inside(1, (first * OUT + r) as isize + tiling.sides[0].met[0].begin);
                let (Some(d), Some(h)) = (slice.filter(|_| there > 0), h) else {
                    row.fill(0.0);
                    continue;
                };
                let start = (sample * tiling.sources + channel) * volume + d * plane + h * width;
                let from = &task.x[start..];
                let len = width.min(task.row() - before);
                let (left, rest) = row.split_at_mut(before * LANES);
                let (middle, right) = rest.split_at_mut(len * LANES);
                lines_last(from, volume, there, len, middle, LANES);
                left.fill(0.0);
                right.fill(0.0);
                if tiling.walk.wraps {
                    lines_last(&from[width - before..], volume, there, before, left, LANES);
                    let after = width.min(right.len() / LANES);
                    lines_last(from, volume, there, after, right, LANES);
                }
            }
            for n in 0..count {
                for t in 0..task.across() {
                    let corner = (n * OUT * task.row() + t * OUT) * LANES;
                    let field = &field[corner..];
                    let mut six: Six = [[Lanes::all(0.0); SIDE]; SIDE];
                    for i in 0..SIDE {
                        let row = &field[i * row_len..][..SIDE * LANES];
                        for j in 0..SIDE {
                            six[i][j] = Lanes::load(&row[j * LANES..]);
                        }
                    }
                    let tile = (at - lines.start + n) * task.across() + t;
                    spread(
                        &transform::input::<FMA>(&six),
                        &mut to[tile * step + c..],
                        frequency,
                    );
                }
            }
        }
        at += count;
    }
}

dispatch_narrow! {
    /// Transforms the gradient of lines of tiles of outputs to (frequencies, tiles, outputs).
    fn transform_outputs(task: &Task<'_>, lines: Range<usize>, field: &mut [f32], to: &mut [f32]) = transform_outputs_body
}

#[inline(always)]
fn transform_outputs_body<const FMA: bool>(
    task: &Task<'_>,
    lines: Range<usize>,
    field: &mut [f32],
    to: &mut [f32],
) {
    let tiling = task.tiling;
    let [depths, height, width] = tiling.walk.axes.map(|a| a.positions);
    let (step, frequency) = (task.steps()[1], task.frequency_steps()[1]);
    let volume = depths * height * width;
    let row_len = task.across() * OUT * LANES;
    for line in lines.clone() {
        let [sample, depth, down] = tiling.place(line);
        for o in (0..step).step_by(LANES) {
            let there = tiling.rows.saturating_sub(o).min(LANES);
            for (r, row) in field.chunks_exact_mut(row_len).enumerate().take(OUT) {
                let h = down * OUT + r;
                if h >= height || there == 0 {
                    row.fill(0.0);
                    continue;
                }
                let start = (sample * tiling.rows + o) * volume + (depth * height + h) * width;
                let (inside, beyond) = row.split_at_mut(width * LANES);
                lines_last(&task.dy[start..], volume, there, width, inside, LANES);
                beyond.fill(0.0);
            }
            for t in 0..task.across() {
                let mut four: Four = [[Lanes::all(0.0); OUT]; OUT];
                for i in 0..OUT {
                    let row = &field[i * row_len + t * OUT * LANES..][..OUT * LANES];
                    for j in 0..OUT {
                        four[i][j] = Lanes::load(&row[j * LANES..]);
                    }
                }
                let tile = (line - lines.start) * task.across() + t;
                spread(
                    &transform::output_gradient::<FMA>(&four),
                    &mut to[tile * step + o..],
                    frequency,
                );
            }
        }
    }
}

/// Writes every number of a transformed tile to its frequency.
#[inline(always)]
fn spread(six: &Six, to: &mut [f32], frequency: usize) {
    for (f, lanes) in six.as_flattened().iter().enumerate() {
        lanes.store(&mut to[f * frequency..]);
    }
}

/// The sums of all tasks.
struct Sums<'a> {
    all: &'a [f32],
    group: usize,
    task: usize,
    taps: usize,
}

dispatch_narrow! {
    /// Adds the gradient of one output's weights.
    fn finish(sums: &Sums<'_>, tiling: &Tiling, output: usize, dw: &mut [f32]) = finish_body
}

#[inline(always)]
fn finish_body<const FMA: bool>(sums: &Sums<'_>, tiling: &Tiling, output: usize, dw: &mut [f32]) {
    let frequency = sums.task / FREQUENCIES;
    for tap in 0..sums.taps {
        for first in (0..tiling.sources).step_by(LANES) {
            let task = first / CHANNELS * sums.taps + tap;
            let (block, lane) = (first % CHANNELS / COLUMNS, first % COLUMNS);
            let tile = output / ROWS * (CHANNELS / COLUMNS) + block;
            let start = task * sums.task + (tile * ROWS + output % ROWS) * COLUMNS + lane;
            let mut six: Six = [[Lanes::all(0.0); SIDE]; SIDE];
            for group in sums.all[start..].chunks(sums.group) {
                for f in 0..FREQUENCIES {
                    let sum = &mut six[f / SIDE][f % SIDE];
                    *sum = sum.add::<FMA>(Lanes::load(&group[f * frequency..]));
                }
            }
            let mut nine = [[0.0; LANES]; 9];
            for (nine, three) in nine
                .iter_mut()
                .zip(transform::kernel_gradient::<FMA>(&six).as_flattened())
            {
                *nine = three.numbers();
            }
            for (l, c) in (first..tiling.sources.min(first + LANES)).enumerate() {
                let dw = &mut dw[(c * sums.taps + tap) * 9..][..9];
                for (dw, nine) in dw.iter_mut().zip(&nine) {
                    *dw += nine[l];
                }
            }
        }
    }
}
