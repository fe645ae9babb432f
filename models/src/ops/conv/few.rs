//! Convolve from or to few channels, by way of one plane for each tap.
//!
//! Products of matrices want many rows and columns. Where few channels meet a kernel of several taps, each pair of the
//! two is made a channel of its own: one that is moved before it is multiplied, or is moved and summed afterwards.

use rayon::prelude::*;

use super::{
    correlate::correlate,
    direct::{self, Write},
    geometry::{Geometry, Sizes},
    walk::Walk,
    weights::Weights,
};
use crate::ops::shared::{Parts, with_scratch};

/// Fewer channels than this are few, and no fewer are many.
const FEW: usize = 8;
/// Numbers of all planes at a time, about.
const PLANES: usize = 1 << 20;
/// Lines that a task moves, at least.
const LINES: usize = 16;

fn plain(sizes: &Sizes) -> bool {
    let g = &sizes.geometry;
    g.groups == 1 && g.stride == [1; 3] && g.taps() > 1
}

/// Whether a convolution leads from many channels to few.
pub(super) fn suits(sizes: &Sizes, sources: usize, rows: usize) -> bool {
    plain(sizes) && sources >= FEW && rows < FEW
}

/// Samples whose planes are held at a time.
fn samples(planes: usize, batch: usize) -> usize {
    (PLANES / planes.max(1)).clamp(1, batch.max(1))
}

/// Convolves along a walk: multiplies first, then moves and sums.
pub(super) fn convolve(
    walk: Walk,
    source: &[f32],
    weights: Weights<'_>,
    bias: Option<&[f32]>,
    to: Parts<'_, f32>,
    write: Write,
) {
    let (rows, sources, taps) = (weights.rows, weights.sources, walk.taps());
    let (planes, volume) = (rows * taps, walk.source());
    let once = samples(planes * volume, walk.batch);
    with_scratch(planes * sources, |pointwise| {
        for (i, to) in pointwise.iter_mut().enumerate() {
            let (row, tap, s) = (i / (taps * sources), i / sources % taps, i % sources);
            // Strides are one: all taps are met, in their order.
            *to = weights.values[row * weights.row_step + s * weights.source_step + tap];
        }
        with_scratch(once * planes * volume, |products| {
            for first in (0..walk.batch).step_by(once) {
                let batch = once.min(walk.batch - first);
                let sizes = flat(batch, sources, planes, walk.axes.map(|a| a.source));
                let (over, source) = (Parts::of(products), &source[first * sources * volume..]);
                let weights = Weights::forward(pointwise, &sizes);
                direct::convolve(Walk::forward(&sizes), source, weights, None, over, Write::Over);
                sum_planes(
                    &walk,
                    first * rows..(first + batch) * rows,
                    products,
                    &|channel, old| {
                        let bias = bias.map_or(0.0, |bias| bias[channel % rows]);
                        if write == Write::Add { old + bias } else { bias }
                    },
                    to,
                );
            }
        });
    });
}

/// Adds what each tap meets of its plane to what `begin` makes of a channel and its old numbers.
fn sum_planes(
    walk: &Walk,
    channels: std::ops::Range<usize>,
    planes: &[f32],
    begin: &(dyn Fn(usize, f32) -> f32 + Sync),
    to: Parts<'_, f32>,
) {
    let (taps, volume) = (walk.taps(), walk.source());
    let [depth, height, width] = walk.axes.map(|a| a.positions);
    let lines = depth * height;
    (0..channels.len() * lines)
        .into_par_iter()
        .with_min_len(LINES)
        .for_each(|i| {
            let (nth, line) = (i / lines, i % lines);
            let channel = channels.start + nth;
            // SAFETY: of all threads, only this one has this line.
            let to = unsafe { to.part((channel * lines + line) * width, width) };
            to.iter_mut().for_each(|v| *v = begin(channel, *v));
            for tap in 0..taps {
                let plane = &planes[(nth * taps + tap) * volume..][..volume];
                meet(walk, [line / height, line % height], tap, plane, to, |to, v| {
                    *to += v
                });
            }
        });
}

/// Adds the gradient of the weights where inputs or outputs are few; says whether they are.
pub(super) fn correlate_few(x: &[f32], dy: &[f32], sizes: &Sizes, dw: &mut [f32]) -> bool {
    let (channels, outputs, taps) = (sizes.channels, sizes.outputs, sizes.geometry.taps());
    if suits(sizes, outputs, channels) {
        correlate_planes(Walk::forward(sizes), (x, channels), (dy, outputs), dw);
        return true;
    }
    // Positions of outputs as seen from inputs, which a periodic field allows if there are as many.
    let turns = !Walk::forward(sizes).wraps || sizes.input == sizes.output;
    if !(suits(sizes, channels, outputs) && turns) {
        return false;
    }
    with_scratch(dw.len(), |turned| {
        turned.fill(0.0);
        correlate_planes(
            Walk::backward(sizes, [0; 3]),
            (dy, outputs),
            (x, channels),
            turned,
        );
        for (i, dw) in dw.iter_mut().enumerate() {
            let (o, c, tap) = (i / (channels * taps), i / taps % channels, i % taps);
            *dw += turned[(c * outputs + o) * taps + tap];
        }
    });
    true
}

/// Adds Σ_positions of `many` times what each tap meets of `few` to `dw` (many, few, taps): moves first, then multiplies.
fn correlate_planes(walk: Walk, few: (&[f32], usize), many: (&[f32], usize), dw: &mut [f32]) {
    let (taps, volume, positions) = (walk.taps(), walk.source(), walk.positions());
    let [_, height, width] = walk.axes.map(|a| a.positions);
    let planes = few.1 * taps;
    let once = samples(planes * positions, walk.batch);
    with_scratch(once * planes * positions, |moved| {
        for first in (0..walk.batch).step_by(once) {
            let batch = once.min(walk.batch - first);
            let moved = &mut moved[..batch * planes * positions];
            moved
                .par_chunks_exact_mut(width)
                .with_min_len(LINES)
                .enumerate()
                .for_each(|(i, to)| {
                    let (plane, line) = (i * width / positions, i % (positions / width));
                    let channel = &few.0[(first * few.1 + plane / taps) * volume..][..volume];
                    to.fill(0.0);
                    meet(
                        &walk,
                        [line / height, line % height],
                        plane % taps,
                        channel,
                        to,
                        |to, v| *to = v,
                    );
                });
            let sizes = flat(batch, planes, many.1, walk.axes.map(|a| a.positions));
            correlate(moved, &many.0[first * many.1 * positions..], &sizes, dw);
        }
    });
}

/// One weight for each pair of channel and output.
fn flat(batch: usize, channels: usize, outputs: usize, extent: [usize; 3]) -> Sizes {
    Sizes {
        batch,
        channels,
        outputs,
        input: extent,
        output: extent,
        geometry: Geometry::pointwise(),
    }
}

/// Calls `each` with the numbers of a line of positions and what a tap meets there, as far as that is anything.
#[inline(always)]
fn meet(
    walk: &Walk,
    [d, h]: [usize; 2],
    tap: usize,
    channel: &[f32],
    to: &mut [f32],
    each: impl Fn(&mut f32, f32),
) {
    let tap = walk.tap(tap);
    let met = |a: usize, position: usize| {
        position as isize + walk.axes[a].offset + tap[a] as isize * walk.axes[a].slope
    };
    let (Some(d), Some(h)) = (walk.inside(0, met(0, d)), walk.inside(1, met(1, h))) else {
        return;
    };
    let (width, shift) = (walk.axes[2].source, met(2, 0));
    let line = &channel[(d * walk.axes[1].source + h) * width..][..width];
    // Positions from `start` on to `end` meet the line itself.
    let start = (-shift).clamp(0, to.len() as isize) as usize;
    let end = (width as isize - shift).clamp(start as isize, to.len() as isize) as usize;
    if start < end {
        let from = &line[(start as isize + shift) as usize..];
        to[start..end]
            .iter_mut()
            .zip(from)
            .for_each(|(to, v)| each(to, *v));
    }
    if walk.wraps {
        for j in (0..start).chain(end..to.len()) {
            if let Some(w) = walk.inside(2, met(2, j)) {
                each(&mut to[j], line[w]);
            }
        }
    }
}
