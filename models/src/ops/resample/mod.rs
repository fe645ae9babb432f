//! Take fields to finer and coarser grids.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Axes2, Axis as AxisOf, HasShape},
    tensor::{Tape, Tensor},
    tensor_ops::{BroadcastTo, GatherTo, PermuteTo, ReshapeTo, SumTo, TryMul},
};

use super::activation::contiguous;
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Values},
    ops::conv::geometry::Extent,
};

/// A linear map over positions: each new one a weighted sum of a few old ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Resample {
    /// Extent of what goes in.
    pub input: Extent,
    /// Extent of what comes out.
    pub output: Extent,
    /// Where the terms of each new position begin, and where those of the last end.
    starts: Vec<u32>,
    /// Old position and weight.
    terms: Vec<(u32, f32)>,
    /// The same the other way: where the terms of each old position begin.
    back_starts: Vec<u32>,
    /// New position and weight, in order of new positions.
    back_terms: Vec<(u32, f32)>,
}

/// Old indices and weights of each new index along one axis.
type Axis = Vec<Vec<(usize, f64)>>;

impl Resample {
    /// Repeats each number `factor` times along each axis.
    ///
    /// # Errors
    /// `Shape` for an empty field or a factor of zero.
    pub fn nearest_up(input: Extent, factor: Extent) -> Result<Self> {
        Self::per_axis(input, factor, |size, factor| {
            (0..size * factor).map(|o| vec![(o / factor, 1.0)]).collect()
        })
    }

    /// Interpolates linearly along each axis: bilinear for images, trilinear for volumes.
    ///
    /// Number i stands for the middle of its cell, at (i + ½) / size of the way, and beyond the outermost middles the outermost
    /// numbers go on: PyTorch's `align_corners=False`.
    ///
    /// # Errors
    /// `Shape` for an empty field or a factor of zero.
    pub fn linear_up(input: Extent, factor: Extent) -> Result<Self> {
        Self::per_axis(input, factor, |size, factor| {
            (0..size * factor)
                .map(|o| {
                    let at = ((o as f64 + 0.5) / factor as f64 - 0.5).max(0.0);
                    let (low, part) = (at as usize, at.fract());
                    if part == 0.0 || low + 1 == size {
                        vec![(low, 1.0)]
                    } else {
                        vec![(low, 1.0 - part), (low + 1, part)]
                    }
                })
                .collect()
        })
    }

    /// Averages blocks of `kernel`, side by side; what is left at the far edges is dropped.
    ///
    /// # Errors
    /// `Shape` for a field smaller than a block, or a block of zero.
    pub fn average_pool(input: Extent, kernel: Extent) -> Result<Self> {
        pooled(input, kernel)?;
        Self::per_axis(input, kernel, |size, kernel| {
            (0..size / kernel)
                .map(|o| {
                    (0..kernel)
                        .map(|k| (o * kernel + k, 1.0 / kernel as f64))
                        .collect()
                })
                .collect()
        })
    }

    /// The product of one map along each axis.
    fn per_axis(input: Extent, factor: Extent, axis: impl Fn(usize, usize) -> Axis) -> Result<Self> {
        if input.contains(&0) || factor.contains(&0) {
            return Err(ModelError::shape(
                "resample",
                format!("a field of {input:?} by factors {factor:?} holds no number"),
            ));
        }
        let axes: [Axis; 3] = std::array::from_fn(|a| axis(input[a], factor[a]));
        let output = axes.each_ref().map(Vec::len);
        let (mut starts, mut terms) = (vec![0], Vec::new());
        for z in &axes[0] {
            for y in &axes[1] {
                for x in &axes[2] {
                    for (i, a) in z {
                        for (j, b) in y {
                            for (k, c) in x {
                                let from = (i * input[1] + j) * input[2] + k;
                                terms.push((from as u32, (a * b * c) as f32));
                            }
                        }
                    }
                    starts.push(terms.len() as u32);
                }
            }
        }
        let mut back = vec![Vec::new(); input.iter().product()];
        for (to, span) in starts.windows(2).enumerate() {
            for (from, weight) in &terms[span[0] as usize..span[1] as usize] {
                back[*from as usize].push((to as u32, *weight));
            }
        }
        let (mut back_starts, mut back_terms) = (vec![0], Vec::new());
        for list in back {
            back_terms.extend(list);
            back_starts.push(back_terms.len() as u32);
        }
        Ok(Self {
            input,
            output,
            starts,
            terms,
            back_starts,
            back_terms,
        })
    }
}

/// Each new position a weighted sum of old ones, in every channel.
///
/// # Errors
/// `Shape` where the map is for another extent: it names both.
pub fn resample<D: Device, T: Tape<f32, D>>(x: Field<D, T>, map: &Resample) -> Result<Field<D, T>> {
    if x.extent() != map.input {
        let what = format!("a map from {:?} for a field of {:?}", map.input, x.extent());
        return Err(ModelError::shape("resample", what));
    }
    let y = D::resample(contiguous(x)?, map)?;
    Ok(Field::of(y, map.output))
}

/// [`resample()`] of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<D: dfdx::tensor_ops::Device<f32>, T: Tape<f32, D>>(
    x: Values<D, T>,
    map: &Resample,
) -> std::result::Result<Values<D, T>, D::Err> {
    let (batch, channels, positions) = *x.shape();
    let (rows, to) = (batch * channels, map.starts.len() - 1);
    // As many terms for each new position: those that it lacks weigh nothing.
    let spans = || {
        map.starts
            .windows(2)
            .map(|span| &map.terms[span[0] as usize..span[1] as usize])
    };
    let most = spans().map(<[_]>::len).max().unwrap_or(1);
    let terms = || spans().flat_map(|terms| (0..most).map(|i| terms.get(i).copied().unwrap_or((0, 0.0))));
    let device = x.device().clone();
    let from = terms().map(|(from, _)| from as usize).collect();
    let from: Tensor<(usize,), usize, D> = device.try_tensor_from_vec(from, (to * most,))?;
    let weights = terms().map(|(_, weight)| weight).collect();
    let weights: Tensor<(usize,), f32, D> = device.try_tensor_from_vec(weights, (to * most,))?;
    let seen = x
        .try_reshape_like(&(rows, positions))?
        .try_permute::<_, Axes2<1, 0>>()?
        .try_gather::<(usize, usize), _>(from)?;
    let shape = *seen.shape();
    let weights = weights
        .retaped::<T>()
        .try_broadcast_like::<_, AxisOf<1>>(&shape)?;
    seen.try_mul(weights)?
        .try_reshape_like(&(to, most, rows))?
        .try_sum::<_, AxisOf<1>>()?
        .try_permute::<_, Axes2<1, 0>>()?
        .try_reshape_like(&(batch, channels, to))
}

/// The largest number of each block of `kernel`, side by side; what is left at the far edges is dropped. With `along`,
/// what another field of the same shape holds at those places: the tangent.
///
/// # Errors
/// `Shape` where a block does not fit, or `along` has another shape.
pub fn max_pool<D: Device, T: Tape<f32, D>, U: Tape<f32, D>>(
    x: &Field<D, T>,
    along: Field<D, U>,
    kernel: Extent,
) -> Result<Field<D, U>> {
    super::same_shape("max_pool", x, &along)?;
    let output = pooled(x.extent(), kernel)?;
    let mut chosen = vec![0; x.batch() * x.channels() * output.iter().product::<usize>()];
    cpu::choose_largest(&x.to_vec(), x.extent(), kernel, &mut chosen)?;
    let y = D::pick(contiguous(along)?, chosen, output.iter().product())?;
    Ok(Field::of(y, output))
}

/// What `x` holds at `chosen` places of each channel, as dfdx's operations do it: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed_pick<D: dfdx::tensor_ops::Device<f32>, T: Tape<f32, D>>(
    x: Values<D, T>,
    chosen: &[u32],
    to: usize,
) -> std::result::Result<Values<D, T>, D::Err> {
    let (batch, channels, positions) = *x.shape();
    let place = |(i, at): (usize, &u32)| i / to * positions + *at as usize;
    let places: Vec<usize> = chosen.iter().enumerate().map(place).collect();
    let count = places.len();
    let places: Tensor<(usize,), usize, D> = x.device().try_tensor_from_vec(places, (count,))?;
    x.try_reshape_like(&(batch * channels * positions,))?
        .try_gather::<(usize,), _>(places)?
        .try_reshape_like(&(batch, channels, to))
}

/// The extent of a field pooled in blocks of `kernel`.
///
/// # Errors
/// `Shape` for a field smaller than a block, or a block of zero.
pub fn pooled(input: Extent, kernel: Extent) -> Result<Extent> {
    if kernel.contains(&0) || input.iter().zip(kernel).any(|(size, kernel)| *size < kernel) {
        return Err(ModelError::shape(
            "pool",
            format!("a field of {input:?} does not fill blocks of {kernel:?}"),
        ));
    }
    Ok(std::array::from_fn(|axis| input[axis] / kernel[axis]))
}
