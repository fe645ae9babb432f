//! Correlate inputs with the gradient of outputs: the gradient of the weights.

use rayon::prelude::*;

use super::{
    gemm::{COLUMNS, ROWS, Tile, multiply},
    geometry::{Padding, Sizes},
    shuffle::{LANES, lines_last},
};
use crate::ops::{
    shared::{Parts, with_scratch},
    simd::dispatch,
};

/// Channels of a task.
const CHANNELS: usize = 4 * COLUMNS;
/// Positions that are transposed and multiplied at a time, about: what tiles meet stays in a first-level cache.
const POSITIONS: usize = 128;
/// Outputs that stand together: whole panels in whole registers.
const TOGETHER: usize = 4 * ROWS;
/// Fewer tasks than this, and the lines are divided as well, if each gets `SHARE` positions.
const TASKS: usize = 8;
const SHARE: usize = 512;

/// Adds the gradient of the weights to `dw`. How the sums are divided depends on the sizes alone.
pub(super) fn correlate(x: &[f32], dy: &[f32], sizes: &Sizes, dw: &mut [f32]) {
    if sizes.geometry.groups > 1 {
        let dw = Parts::of(dw);
        (0..sizes.outputs)
            .into_par_iter()
            .for_each(|o| correlate_alone(x, dy, sizes, o, dw));
        return;
    }
    let lines = Lines::new(sizes);
    let tasks = sizes.channels.div_ceil(CHANNELS);
    let groups = TASKS
        .div_ceil(tasks)
        .min(lines.count * lines.width / SHARE)
        .max(1);
    let taps = sizes.geometry.taps();
    let size = taps * sizes.outputs.div_ceil(ROWS) * ROWS * CHANNELS;
    with_scratch(groups * tasks * size, |sums| {
        sums.par_chunks_exact_mut(size)
            .enumerate()
            .for_each(|(task, sums)| {
                let (group, task) = (task / tasks, task % tasks);
                let share = |i: usize| i * lines.count / groups;
                let task = Task {
                    x,
                    dy,
                    sizes,
                    lines: &lines,
                    first: task * CHANNELS,
                    share: share(group)..share(group + 1),
                };
                with_scratch(task.chunk() * lines.padded() * COLUMNS, |field| {
                    with_scratch(task.chunk() * lines.width * lines.outputs(), |last| {
                        correlate_task(&task, field, last, sums);
                    });
                });
            });
        let row = sizes.channels * taps;
        dw.par_chunks_exact_mut(row).enumerate().for_each(|(output, dw)| {
            let panels = sizes.outputs.div_ceil(ROWS);
            for (block, tap) in
                (0..sizes.channels.div_ceil(COLUMNS)).flat_map(|b| (0..taps).map(move |t| (b, t)))
            {
                let (task, block) = (block / (CHANNELS / COLUMNS), block % (CHANNELS / COLUMNS));
                let tile = (tap * (CHANNELS / COLUMNS) + block) * panels + output / ROWS;
                let start = task * size + (tile * ROWS + output % ROWS) * COLUMNS;
                let mut total = [0.0; COLUMNS];
                for group in sums[start..].chunks(tasks * size) {
                    for (total, sum) in total.iter_mut().zip(&group[..COLUMNS]) {
                        *total += sum;
                    }
                }
                let first = (task * CHANNELS + block * COLUMNS) * taps + tap;
                for (dw, total) in dw[first..].iter_mut().step_by(taps).zip(total) {
                    *dw += total;
                }
            }
        });
    });
}

/// All lines of outputs of a batch.
struct Lines {
    count: usize,
    height: usize,
    width: usize,
    sizes: Sizes,
}

impl Lines {
    fn new(sizes: &Sizes) -> Self {
        Self {
            count: sizes.batch * sizes.output[0] * sizes.output[1],
            height: sizes.output[1],
            width: sizes.output[2],
            sizes: *sizes,
        }
    }
    /// Numbers of a line of the field that a line of outputs meets.
    fn padded(&self) -> usize {
        let g = &self.sizes.geometry;
        (self.width - 1) * g.stride[2] + g.kernel[2]
    }
    /// Outputs in whole blocks of `TOGETHER`.
    fn outputs(&self) -> usize {
        self.sizes.outputs.next_multiple_of(TOGETHER)
    }
    /// Sample, depth and height of a line.
    fn place(&self, line: usize) -> [usize; 3] {
        let depth = self.sizes.output[0];
        [
            line / (depth * self.height),
            line / self.height % depth,
            line % self.height,
        ]
    }
}

/// Some channels, over some lines.
struct Task<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    sizes: &'a Sizes,
    lines: &'a Lines,
    first: usize,
    share: std::ops::Range<usize>,
}

impl Task<'_> {
    /// Lines taken at a time.
    fn chunk(&self) -> usize {
        (POSITIONS / self.lines.width).clamp(1, self.share.len().max(1))
    }
}

dispatch! {
    /// Writes Σ_positions of outputs times what each tap meets to (taps, blocks of channels, panels, ROWS, COLUMNS).
    fn correlate_task(task: &Task<'_>, field: &mut [f32], last: &mut [f32], sums: &mut [f32]) = correlate_task_body
}

#[inline(always)]
fn correlate_task_body<const FMA: bool>(
    task: &Task<'_>,
    field: &mut [f32],
    last: &mut [f32],
    sums: &mut [f32],
) {
    let (lines, sizes) = (task.lines, task.sizes);
    let [depths, downs, taps] = sizes.geometry.kernel;
    let stride = sizes.geometry.stride[2] * COLUMNS;
    let (width, padded) = (lines.width * TOGETHER, lines.padded() * COLUMNS);
    let blocks = (sizes.channels - task.first)
        .div_ceil(COLUMNS)
        .min(CHANNELS / COLUMNS);
    let panels = sizes.outputs.div_ceil(ROWS);
    sums.fill(0.0);
    let tiles = sums.as_chunks_mut::<COLUMNS>().0.as_chunks_mut::<ROWS>().0;
    for start in task.share.clone().step_by(task.chunk()) {
        let chunk = start..(start + task.chunk()).min(task.share.end);
        for (i, line) in chunk.clone().enumerate() {
            transpose_outputs(task, line, &mut last[i * width..], task.chunk() * width);
        }
        for row in 0..depths * downs {
            for block in 0..blocks {
                for (line, field) in chunk.clone().zip(field.chunks_exact_mut(padded)) {
                    channels_last(task, [row / downs, row % downs], block, line, field);
                }
                for tap in 0..taps {
                    let first = ((row * taps + tap) * (CHANNELS / COLUMNS) + block) * panels;
                    for (panel, sum) in tiles[first..first + panels].iter_mut().enumerate() {
                        let mut tile: Tile = *sum;
                        let (together, first) = (panel * ROWS / TOGETHER, panel * ROWS % TOGETHER);
                        let last = &last[together * task.chunk() * width..];
                        let operands = last.chunks_exact(width).zip(field.chunks_exact(padded));
                        for (last, field) in operands.take(chunk.len()) {
                            let (a, b) = (&last[first..], &field[tap * COLUMNS..]);
                            tile = multiply::<FMA>(tile, lines.width, (a, TOGETHER), (b, stride));
                        }
                        *sum = tile;
                    }
                }
            }
        }
    }
}

/// Copies a line of outputs to (positions, `TOGETHER`), each block `apart` from the next, zeros filling the last.
#[inline(always)]
fn transpose_outputs(task: &Task<'_>, line: usize, last: &mut [f32], apart: usize) {
    let (sizes, lines) = (task.sizes, task.lines);
    let [sample, d, h] = lines.place(line);
    let volume: usize = sizes.output.iter().product();
    let start = (d * lines.height + h) * lines.width;
    for o in (0..lines.outputs()).step_by(LANES) {
        let there = sizes.outputs.saturating_sub(o).min(LANES);
        let from = &task.dy[(sample * sizes.outputs + o.min(sizes.outputs - 1)) * volume + start..];
        let to = &mut last[o / TOGETHER * apart + o % TOGETHER..];
        lines_last(from, volume, there, lines.width, to, TOGETHER);
    }
}

/// Copies a block of channels of the line that a line of outputs meets to (padded, COLUMNS).
#[inline(always)]
fn channels_last(task: &Task<'_>, row: [usize; 2], block: usize, line: usize, field: &mut [f32]) {
    let (sizes, lines) = (task.sizes, task.lines);
    let [sample, d, h] = lines.place(line);
    let (Some(d), Some(h)) = (met(sizes, 0, d, row[0]), met(sizes, 1, h, row[1])) else {
        field.fill(0.0);
        return;
    };
    let volume: usize = sizes.input.iter().product();
    let (width, reach) = (sizes.input[2], sizes.geometry.reach[2]);
    let start = (d * sizes.input[1] + h) * width;
    let first = task.first + block * COLUMNS;
    let circular = sizes.geometry.padding == Padding::Circular;
    let before = reach.min(lines.padded());
    let len = width.min(lines.padded() - before);
    for j in (0..COLUMNS).step_by(LANES) {
        let there = sizes.channels.saturating_sub(first + j).min(LANES);
        let c = (first + j).min(sizes.channels - 1);
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
fn correlate_alone(x: &[f32], dy: &[f32], sizes: &Sizes, output: usize, dw: Parts<'_, f32>) {
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
