//! Convolve on the processor, without unrolled patches.
//!
//! A map is copied once with its border; in that copy, a row wider than the map, a step of the kernel is
//! one fixed offset. So the convolution is a sum of shifted one-dimensional products over the whole map:
//! blocks of `LANES` pixels by `BLOCK` outputs stay in registers. The border columns give numbers that are
//! not copied out.

use dfdx::{
    shapes::HasShape,
    tensor::{Cpu, PutTape, SplitTape, Tape, TensorFromVec},
};
use rayon::prelude::*;

use super::{Geometry, Padding};
use crate::{
    device::{Flat, Maps, values},
    error::{ModelError, Result},
    ops::{
        add_gradient,
        simd::{dispatch, multiply_add},
        take_gradient,
    },
};

/// Pixels in a register block: three AVX2 registers.
const LANES: usize = 24;
/// Outputs in a register block.
const BLOCK: usize = 4;
/// Samples are summed in this many groups for the weight gradient: fixed, so that the result does not
/// depend on the number of threads.
const GROUPS: usize = 8;

/// Sizes of one convolution, and of a map with its border.
#[derive(Clone, Copy)]
struct Sizes {
    channels: usize,
    outputs: usize,
    height: usize,
    width: usize,
    geometry: Geometry,
}

impl Sizes {
    fn pixels(&self) -> usize {
        self.height * self.width
    }
    /// Width of a row with its border.
    fn row(&self) -> usize {
        self.width + self.geometry.kernel - 1
    }
    /// Numbers of a channel with its border.
    fn plane(&self) -> usize {
        (self.height + self.geometry.kernel - 1) * self.row()
    }
    /// Pixels computed: whole rows, rounded up to whole blocks.
    fn computed(&self) -> usize {
        (self.height * self.row()).next_multiple_of(LANES)
    }
    /// Length of a bordered copy: the last block may read past the last plane.
    fn bordered(&self, channels: usize) -> usize {
        channels * self.plane() + LANES + self.row() * self.geometry.kernel
    }
    /// Where each step of the kernel lies from the pixel.
    fn offsets(&self) -> Vec<usize> {
        let k = self.geometry.kernel;
        (0..k * k).map(|o| o / k * self.row() + o % k).collect()
    }
    /// The convolution that carries gradients back: outputs and channels swapped.
    fn transposed(&self) -> Self {
        Self {
            channels: self.outputs,
            outputs: self.channels,
            ..*self
        }
    }
}

pub(crate) fn conv2d<T: Tape<f32, Cpu>>(
    x: Maps<Cpu, T>,
    weight: Flat<Cpu, T>,
    bias: Flat<Cpu, T>,
    geometry: Geometry,
) -> Result<Maps<Cpu, T>> {
    let (batch, channels, height, width) = *x.shape();
    let outputs = bias.shape().0;
    let sizes = Sizes {
        channels,
        outputs,
        height,
        width,
        geometry,
    };
    let (x, tape) = x.split_tape();
    let (weight, weight_tape) = weight.split_tape();
    let (bias, bias_tape) = bias.split_tape();
    let mut tape = tape.merge(weight_tape).merge(bias_tape);
    let mut y = vec![0.0; batch * outputs * sizes.pixels()];
    forward(values(&x), values(&weight), Some(values(&bias)), sizes, &mut y);
    let y = x
        .device()
        .try_tensor_from_vec(y, (batch, outputs, height, width))
        .map_err(ModelError::device)?;
    if T::OWNS_TAPE {
        let y_ghost = y.ghost();
        tape.add_backward_op(move |gradients| {
            let dy = take_gradient!(gradients, &y_ghost);
            let (dw, db) = backward_weight(values(&x), &dy, sizes);
            add_gradient!(gradients, &weight, dw);
            add_gradient!(gradients, &bias, db);
            let dx = gradients.get_or_alloc_mut(&x)?;
            forward(
                &dy,
                &flipped(values(&weight), sizes),
                None,
                sizes.transposed(),
                dx,
            );
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// Adds the convolution of every sample to `y`.
fn forward(x: &[f32], weight: &[f32], bias: Option<&[f32]>, sizes: Sizes, y: &mut [f32]) {
    let packed = pack(weight, sizes);
    let offsets = sizes.offsets();
    x.par_chunks_exact(sizes.channels * sizes.pixels())
        .zip(y.par_chunks_exact_mut(sizes.outputs * sizes.pixels()))
        .for_each_init(
            || {
                (
                    vec![0.0; sizes.bordered(sizes.channels)],
                    vec![0.0; BLOCK * sizes.computed()],
                )
            },
            |(bordered, block), (x, y)| {
                add_border(x, bordered, sizes.channels, sizes);
                for (o, y) in y.chunks_mut(BLOCK * sizes.pixels()).enumerate() {
                    let step = sizes.channels * offsets.len() * BLOCK;
                    convolve_block(
                        bordered,
                        &packed[o * step..(o + 1) * step],
                        &offsets,
                        block,
                        sizes,
                    );
                    for (b, y) in y.chunks_exact_mut(sizes.pixels()).enumerate() {
                        let shift = bias.map_or(0.0, |bias| bias[o * BLOCK + b]);
                        let rows = block[b * sizes.computed()..].chunks(sizes.row());
                        for (y, row) in y.chunks_exact_mut(sizes.width).zip(rows) {
                            for (y, v) in y.iter_mut().zip(row) {
                                *y += v + shift;
                            }
                        }
                    }
                }
            },
        );
}

/// Copies every channel into its bordered plane.
fn add_border(x: &[f32], bordered: &mut [f32], channels: usize, sizes: Sizes) {
    let (r, row) = (sizes.geometry.kernel / 2, sizes.row());
    let (height, width) = (sizes.height, sizes.width);
    for c in 0..channels {
        let x = &x[c * height * width..][..height * width];
        let plane = &mut bordered[c * sizes.plane()..][..sizes.plane()];
        for (i, line) in plane.chunks_exact_mut(row).enumerate() {
            let inside = (r..height + r).contains(&i);
            if sizes.geometry.padding == Padding::Zeros && !inside {
                line.fill(0.0);
                continue;
            }
            let source = &x[(i + height - r) % height * width..][..width];
            line[r..r + width].copy_from_slice(source);
            match sizes.geometry.padding {
                Padding::Circular => {
                    line[..r].copy_from_slice(&source[width - r..]);
                    line[r + width..].copy_from_slice(&source[..r]);
                }
                Padding::Zeros => {
                    line[..r].fill(0.0);
                    line[r + width..].fill(0.0);
                }
            }
        }
    }
}

/// Reorders (outputs, channels, k²) to (blocks, channels, k², BLOCK), zeros filling the last block.
fn pack(weight: &[f32], sizes: Sizes) -> Vec<f32> {
    let steps = sizes.geometry.kernel * sizes.geometry.kernel;
    let inner = sizes.channels * steps;
    let mut packed = vec![0.0; sizes.outputs.div_ceil(BLOCK) * inner * BLOCK];
    for (o, weight) in weight.chunks_exact(inner).enumerate() {
        for (i, w) in weight.iter().enumerate() {
            packed[(o / BLOCK * inner + i) * BLOCK + o % BLOCK] = *w;
        }
    }
    packed
}

/// The weight of the transposed convolution: outputs and channels swapped, the kernel turned by 180°.
fn flipped(weight: &[f32], sizes: Sizes) -> Vec<f32> {
    let steps = sizes.geometry.kernel * sizes.geometry.kernel;
    let mut turned = vec![0.0; weight.len()];
    for (oc, kernel) in weight.chunks_exact(steps).enumerate() {
        let (o, c) = (oc / sizes.channels, oc % sizes.channels);
        for (s, w) in kernel.iter().enumerate() {
            turned[(c * sizes.outputs + o) * steps + steps - 1 - s] = *w;
        }
    }
    turned
}

dispatch! {
    /// One block of outputs over all pixels, into (BLOCK, computed).
    fn convolve_block(x: &[f32], weight: &[f32], offsets: &[usize], out: &mut [f32], sizes: Sizes) = convolve_block_body
}

#[inline(always)]
fn convolve_block_body<const FMA: bool>(
    x: &[f32],
    weight: &[f32],
    offsets: &[usize],
    out: &mut [f32],
    sizes: Sizes,
) {
    let (plane, computed) = (sizes.plane(), sizes.computed());
    for p in (0..computed).step_by(LANES) {
        let mut sum = [[0.0f32; LANES]; BLOCK];
        let mut weights = weight.chunks_exact(BLOCK);
        for c in 0..sizes.channels {
            let x = &x[c * plane + p..];
            for (&offset, w) in offsets.iter().zip(&mut weights) {
                let x = &x[offset..offset + LANES];
                for b in 0..BLOCK {
                    for l in 0..LANES {
                        sum[b][l] = multiply_add::<FMA>(w[b], x[l], sum[b][l]);
                    }
                }
            }
        }
        for b in 0..BLOCK {
            out[b * computed + p..][..LANES].copy_from_slice(&sum[b]);
        }
    }
}

/// Gradients of weight and bias, summed over samples in a fixed order.
fn backward_weight(x: &[f32], dy: &[f32], sizes: Sizes) -> (Vec<f32>, Vec<f32>) {
    let samples = x.len() / (sizes.channels * sizes.pixels());
    let offsets = sizes.offsets();
    let weights = sizes.outputs * sizes.channels * offsets.len();
    let group = samples.div_ceil(GROUPS).max(1);
    let partial: Vec<(Vec<f32>, Vec<f32>)> = x
        .par_chunks(group * sizes.channels * sizes.pixels())
        .zip(dy.par_chunks(group * sizes.outputs * sizes.pixels()))
        .map(|(x, dy)| {
            let mut bordered = vec![0.0; sizes.bordered(sizes.channels)];
            // Outputs laid out in rows as wide as the bordered map's, zeros in the border columns.
            let mut spread = vec![0.0; sizes.outputs.next_multiple_of(BLOCK) * sizes.computed()];
            let (mut dw, mut db) = (vec![0.0; weights], vec![0.0; sizes.outputs]);
            let samples = x.chunks_exact(sizes.channels * sizes.pixels());
            for (x, dy) in samples.zip(dy.chunks_exact(sizes.outputs * sizes.pixels())) {
                add_border(x, &mut bordered, sizes.channels, sizes);
                for (o, dy) in dy.chunks_exact(sizes.pixels()).enumerate() {
                    db[o] += dy.iter().sum::<f32>();
                    let rows = spread[o * sizes.computed()..].chunks_mut(sizes.row());
                    for (row, dy) in rows.zip(dy.chunks_exact(sizes.width)) {
                        row[..sizes.width].copy_from_slice(dy);
                    }
                }
                correlate(&bordered, &spread, &offsets, &mut dw, sizes);
            }
            (dw, db)
        })
        .collect();
    let (mut dw, mut db) = (vec![0.0; weights], vec![0.0; sizes.outputs]);
    for (w, b) in &partial {
        dw.iter_mut().zip(w).for_each(|(s, v)| *s += v);
        db.iter_mut().zip(b).for_each(|(s, v)| *s += v);
    }
    (dw, db)
}

dispatch! {
    /// Adds Σ_pixels dy · shifted x to the weight gradient.
    fn correlate(x: &[f32], dy: &[f32], offsets: &[usize], dw: &mut [f32], sizes: Sizes) = correlate_body
}

#[inline(always)]
fn correlate_body<const FMA: bool>(x: &[f32], dy: &[f32], offsets: &[usize], dw: &mut [f32], sizes: Sizes) {
    let kernel = sizes.geometry.kernel;
    for first in (0..sizes.outputs).step_by(BLOCK) {
        for c in 0..sizes.channels {
            let mut done = 0;
            while done < offsets.len() {
                // Steps in one row of the kernel are neighbours: three at once where the row has them.
                let left_in_row = kernel - done % kernel;
                let dw = &mut dw[(first * sizes.channels + c) * offsets.len() + done..];
                if left_in_row >= 3 {
                    add_sums(
                        dw,
                        correlate_steps::<FMA, 3>(x, dy, offsets[done], first, c, sizes),
                        first,
                        sizes,
                    );
                    done += 3;
                } else {
                    add_sums(
                        dw,
                        correlate_steps::<FMA, 1>(x, dy, offsets[done], first, c, sizes),
                        first,
                        sizes,
                    );
                    done += 1;
                }
            }
        }
    }
}

/// BLOCK outputs by STEPS neighbouring kernel steps at once, eight pixels a register.
#[inline(always)]
fn correlate_steps<const FMA: bool, const STEPS: usize>(
    x: &[f32],
    dy: &[f32],
    offset: usize,
    first: usize,
    channel: usize,
    sizes: Sizes,
) -> [[f32; STEPS]; BLOCK] {
    const WIDTH: usize = 8;
    let computed = sizes.computed();
    let x = &x[channel * sizes.plane() + offset..];
    let [a, b, c, d]: [&[[f32; WIDTH]]; BLOCK] = std::array::from_fn(|b| {
        dy[(first + b) * computed..(first + b + 1) * computed]
            .as_chunks()
            .0
    });
    let mut sum = [[[0.0f32; WIDTH]; STEPS]; BLOCK];
    // Iterators and one window into x: a bounds check for each operand would spill the sums.
    for (p, ((a, b), (c, d))) in a.iter().zip(b).zip(c.iter().zip(d)).enumerate() {
        let x = &x[p * WIDTH..p * WIDTH + WIDTH + STEPS - 1];
        let dy = [a, b, c, d];
        for b in 0..BLOCK {
            for s in 0..STEPS {
                for l in 0..WIDTH {
                    sum[b][s][l] = multiply_add::<FMA>(dy[b][l], x[s + l], sum[b][s][l]);
                }
            }
        }
    }
    sum.map(|steps| steps.map(|lanes| lanes.iter().sum()))
}

/// Adds what a block of outputs, from `first` on, gives to neighbouring weights.
#[inline(always)]
fn add_sums<const STEPS: usize>(dw: &mut [f32], sums: [[f32; STEPS]; BLOCK], first: usize, sizes: Sizes) {
    let step = sizes.channels * sizes.geometry.kernel * sizes.geometry.kernel;
    for (dw, sums) in dw.chunks_mut(step).zip(sums).take(sizes.outputs - first) {
        for (dw, sum) in dw.iter_mut().zip(sums) {
            *dw += sum;
        }
    }
}
