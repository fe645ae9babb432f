//! Correlate inputs with the gradient of outputs: the gradient of the weights.

use rayon::prelude::*;

use super::{
    gemm::{COLUMNS, ROWS, Tile, multiply},
    geometry::{Padding, Sizes},
    scratch::{self, Shared},
    shuffle::{LANES, lines_last},
};
use crate::ops::simd::dispatch;

/// Positions that are transposed and summed at a time, about.
const CHUNK: usize = 256;
/// Fewer tasks than this, and the outputs are divided as well.
const TASKS: usize = 16;

/// Adds the gradient of the weights to `dw`. Every weight is summed by one thread, in a fixed order.
pub(super) fn correlate(x: &[f32], dy: &[f32], sizes: &Sizes, dw: &mut [f32]) {
    let dw = Shared::new(dw);
    if sizes.geometry.groups > 1 {
        (0..sizes.outputs)
            .into_par_iter()
            .for_each(|o| correlate_alone(x, dy, sizes, o, dw));
        return;
    }
    let lines = Lines::new(sizes);
    let step = (sizes.outputs.div_ceil(ROWS) * ROWS).next_multiple_of(LANES);
    scratch::with(lines.count * lines.width * step, |last| {
        // Outputs last: the products take them in order, position by position.
        last.par_chunks_mut((lines.width * step).max(1))
            .enumerate()
            .for_each(|(line, last)| {
                transpose_outputs(dy, sizes, &lines, line, step, last);
            });
        let [kd, kh, _] = sizes.geometry.kernel;
        let blocks = sizes.channels.div_ceil(COLUMNS);
        let panels = sizes.outputs.div_ceil(ROWS);
        let parts = (TASKS / (blocks * kd * kh)).clamp(1, panels.div_ceil(8));
        (0..blocks * kd * kh * parts).into_par_iter().for_each(|task| {
            let (rest, part) = (task / parts, task % parts);
            let share = |i: usize| i * panels / parts;
            let task = Task {
                x,
                last,
                step,
                sizes,
                lines: &lines,
                first: rest / (kd * kh) * COLUMNS,
                row: [rest / kh % kd, rest % kh],
                panels: share(part)..share(part + 1),
                dw,
            };
            let chunk = task.chunk();
            let tiles = task.panels.len() * sizes.geometry.kernel[2];
            scratch::with(chunk * lines.padded() * COLUMNS, |field| {
                scratch::with(tiles * ROWS * COLUMNS, |sums| correlate_task(&task, field, sums));
            });
        });
    });
}

/// All lines of outputs of a batch.
struct Lines {
    count: usize,
    width: usize,
    sizes: Sizes,
}

impl Lines {
    fn new(sizes: &Sizes) -> Self {
        Self {
            count: sizes.batch * sizes.output[0] * sizes.output[1],
            width: sizes.output[2],
            sizes: *sizes,
        }
    }
    /// Numbers of a line of the field that a line of outputs meets.
    fn padded(&self) -> usize {
        let g = &self.sizes.geometry;
        (self.width - 1) * g.stride[2] + g.kernel[2]
    }
    /// Sample, depth and height of a line.
    fn place(&self, line: usize) -> [usize; 3] {
        let [d, h, _] = self.sizes.output;
        [line / (d * h), line / h % d, line % h]
    }
}

/// One row of taps, one block of channels, some panels of outputs.
struct Task<'a> {
    x: &'a [f32],
    last: &'a [f32],
    step: usize,
    sizes: &'a Sizes,
    lines: &'a Lines,
    first: usize,
    row: [usize; 2],
    panels: std::ops::Range<usize>,
    dw: Shared<'a>,
}

impl Task<'_> {
    fn chunk(&self) -> usize {
        CHUNK.div_ceil(self.lines.width).min(self.lines.count)
    }
}

#[inline(always)]
fn transpose_outputs(dy: &[f32], sizes: &Sizes, lines: &Lines, line: usize, step: usize, last: &mut [f32]) {
    let [sample, d, h] = lines.place(line);
    let volume: usize = sizes.output.iter().product();
    let start = (d * sizes.output[1] + h) * lines.width;
    for o in (0..step).step_by(LANES) {
        let there = sizes.outputs.saturating_sub(o).min(LANES);
        let from = &dy[(sample * sizes.outputs + o.min(sizes.outputs - 1)) * volume + start..];
        lines_last(from, volume, there, lines.width, &mut last[o..], step);
    }
}

dispatch! {
    fn correlate_task(task: &Task<'_>, field: &mut [f32], sums: &mut [f32]) = correlate_task_body
}

#[inline(always)]
fn correlate_task_body<const FMA: bool>(task: &Task<'_>, field: &mut [f32], sums: &mut [f32]) {
    let (lines, taps) = (task.lines, task.sizes.geometry.kernel[2]);
    let stride = task.sizes.geometry.stride[2] * COLUMNS;
    let (width, padded) = (lines.width, lines.padded() * COLUMNS);
    sums.fill(0.0);
    let tiles = sums.as_chunks_mut::<COLUMNS>().0.as_chunks_mut::<ROWS>().0;
    for start in (0..lines.count).step_by(task.chunk()) {
        let chunk = start..(start + task.chunk()).min(lines.count);
        for (line, field) in chunk.clone().zip(field.chunks_exact_mut(padded)) {
            channels_last(task, line, field);
        }
        for (i, panel) in task.panels.clone().enumerate() {
            for tap in 0..taps {
                let mut tile: Tile = [[0.0; COLUMNS]; ROWS];
                for (line, field) in chunk.clone().zip(field.chunks_exact(padded)) {
                    let a = &task.last[line * width * task.step..][..width * task.step];
                    let field = &field[tap * COLUMNS..];
                    tile = multiply::<FMA>(tile, &a[panel * ROWS..], task.step, field, stride);
                }
                let sum = &mut tiles[i * taps + tap];
                for (sum, tile) in sum.as_flattened_mut().iter_mut().zip(tile.as_flattened()) {
                    *sum += tile;
                }
            }
        }
    }
    let sizes = task.sizes;
    let first_tap = (task.row[0] * sizes.geometry.kernel[1] + task.row[1]) * taps;
    for (i, tile) in tiles.iter().enumerate() {
        let (panel, tap) = (task.panels.start + i / taps, i % taps);
        for (o, row) in (panel * ROWS..sizes.outputs).zip(tile) {
            for (c, sum) in (task.first..sizes.channels).zip(row) {
                let at = (o * sizes.channels + c) * sizes.geometry.taps() + first_tap + tap;
                // SAFETY: of all tasks, only this one has this tap of this channel and output.
                unsafe { task.dw.part(at, 1)[0] += sum };
            }
        }
    }
}

/// Copies a block of channels of the line that a line of outputs meets to (padded, COLUMNS).
#[inline(always)]
fn channels_last(task: &Task<'_>, line: usize, field: &mut [f32]) {
    let (sizes, lines) = (task.sizes, task.lines);
    let [sample, d, h] = lines.place(line);
    let (Some(d), Some(h)) = (met(sizes, 0, d, task.row[0]), met(sizes, 1, h, task.row[1])) else {
        field.fill(0.0);
        return;
    };
    let volume: usize = sizes.input.iter().product();
    let (width, reach) = (sizes.input[2], sizes.geometry.reach[2]);
    let start = (d * sizes.input[1] + h) * width;
    let circular = sizes.geometry.padding == Padding::Circular;
    let before = reach.min(lines.padded());
    let len = width.min(lines.padded() - before);
    for j in (0..COLUMNS).step_by(LANES) {
        let there = sizes.channels.saturating_sub(task.first + j).min(LANES);
        let c = (task.first + j).min(sizes.channels - 1);
        let from = &task.x[(sample * sizes.channels + c) * volume + start..];
        let field = &mut field[j..];
        // What lies before the line, the line, and what lies after it.
        let after = lines.padded() - before - len;
        let edges = if circular { there } else { 0 };
        if before > 0 {
            let first = if circular { width - reach } else { 0 };
            lines_last(&from[first..], volume, edges, before, field, COLUMNS);
        }
        if len > 0 {
            lines_last(from, volume, there, len, &mut field[before * COLUMNS..], COLUMNS);
        }
        if after > 0 {
            lines_last(
                from,
                volume,
                edges,
                after,
                &mut field[(before + len) * COLUMNS..],
                COLUMNS,
            );
        }
    }
}

/// The number of the field that a tap meets at a position.
#[inline(always)]
fn met(sizes: &Sizes, axis: usize, position: usize, tap: usize) -> Option<usize> {
    let (reach, extent) = (sizes.geometry.reach[axis], sizes.input[axis]);
    let at = position * sizes.geometry.stride[axis] + tap;
    match sizes.geometry.padding {
        Padding::Circular => Some((at + extent - reach) % extent),
        Padding::Zeros => at.checked_sub(reach).filter(|at| *at < extent),
    }
}

/// The gradient of one output's weights, where an output sees few channels.
fn correlate_alone(x: &[f32], dy: &[f32], sizes: &Sizes, output: usize, dw: Shared<'_>) {
    let g = &sizes.geometry;
    let channels = sizes.channels / g.groups;
    let first = output / (sizes.outputs / g.groups) * channels;
    let [kd, kh, kw] = g.kernel;
    let [depth, height, width] = sizes.output;
    let volume = |e: [usize; 3]| e.iter().product::<usize>();
    // SAFETY: of all threads, only this one has this output.
    let dw = unsafe { dw.part(output * channels * g.taps(), channels * g.taps()) };
    for (i, dw) in dw.iter_mut().enumerate() {
        let (c, tap) = (first + i / g.taps(), i % g.taps());
        let [td, th, tw] = [tap / (kh * kw), tap / kw % kh, tap % kw];
        debug_assert!(td < kd);
        let mut sum = 0.0;
        for sample in 0..sizes.batch {
            let x = &x[(sample * sizes.channels + c) * volume(sizes.input)..];
            let dy = &dy[(sample * sizes.outputs + output) * volume(sizes.output)..];
            for line in 0..depth * height {
                let (Some(d), Some(h)) = (met(sizes, 0, line / height, td), met(sizes, 1, line % height, th))
                else {
                    continue;
                };
                let x = &x[(d * sizes.input[1] + h) * sizes.input[2]..][..sizes.input[2]];
                let dy = &dy[line * width..][..width];
                sum += line_product(x, dy, sizes, tw);
            }
        }
        *dw += sum;
    }
}

/// Σ over a line of dy times what a tap meets.
fn line_product(x: &[f32], dy: &[f32], sizes: &Sizes, tap: usize) -> f32 {
    let (stride, reach) = (sizes.geometry.stride[2], sizes.geometry.reach[2]);
    // Positions from `start` on to `end` meet the line itself.
    let start = reach.saturating_sub(tap).div_ceil(stride).min(dy.len());
    let end = (x.len() + reach)
        .saturating_sub(tap)
        .div_ceil(stride)
        .clamp(start, dy.len());
    let mut sum = 0.0;
    if start < end {
        let x = &x[start * stride + tap - reach..];
        let dy = &dy[start..end];
        sum += if stride == 1 {
            dot(x, dy)
        } else {
            x.iter().step_by(stride).zip(dy).map(|(x, dy)| x * dy).sum()
        };
    }
    if sizes.geometry.padding == Padding::Circular {
        for (j, dy) in dy.iter().enumerate().filter(|(j, _)| !(start..end).contains(j)) {
            sum += dy * x[(j * stride + tap + x.len() - reach) % x.len()];
        }
    }
    sum
}

/// A product of vectors in eight sums, so that it vectorises.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    let len = x.len().min(y.len());
    let (x, y) = (&x[..len], &y[..len]);
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    let mut sums = [0.0f32; 8];
    for (x, y) in x.iter().zip(y) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f32>()
}
