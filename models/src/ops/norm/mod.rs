//! Bring numbers to mean zero and variance one, then scale, shift and bend them.

pub(crate) mod cpu;
mod layer;
mod layer_tangent;
mod rows;

use dfdx::{
    shapes::{Axes2, Axis, Dtype, HasShape},
    tensor::{Tape, WithEmptyTape},
    tensor_ops::{BroadcastTo, MeanTo, ReshapeTo, TryAdd, TryDiv, TryMul, TrySub},
};

use rayon::prelude::*;

use super::activation::{Activation, contiguous, same_shape};
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Flat, Values},
    parameter::Parameter,
};

/// Added to a variance before its root is divided by: PyTorch's.
pub const EPSILON: f32 = 1e-5;

/// Over what mean and variance are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Each of this many groups of channels of each field, with its positions (Wu & He 2018, arXiv 1803.08494).
    Group(usize),
    /// The channels at each position of each field (Ba et al. 2016, arXiv 1607.06450).
    Layer,
    /// All fields and positions, for each channel (Ioffe & Szegedy 2015, arXiv 1502.03167).
    Batch,
    /// Nothing: they are known, as those of a batch norm once it is trained.
    Given,
}

/// `f(weight[c] · (x − mean) / √(variance + 1e-5) + bias[c]) + shift[b,c]`.
///
/// Shapes: `x` (batch, channels, positions); `weight` and `bias` (channels); `shift` (batch, channels, 1).
///
/// # Errors
/// `Shape` where they do not fit: it names both.
pub fn normalise<D: Device, T: Tape<f32, D>>(
    x: Field<D, T>,
    weight: &Parameter<D>,
    bias: &Parameter<D>,
    shift: Option<Field<D, T>>,
    over: Over,
    f: Activation,
) -> Result<Field<D, T>> {
    fits(&x, weight, over)?;
    fits(&x, bias, over)?;
    if let Some(shift) = &shift {
        super::shift_fits("normalise", &x, shift)?;
    }
    let extent = x.extent();
    let shift = shift.map(contiguous).transpose()?;
    let y = D::normalise(contiguous(x)?, weight, bias, shift, over, f)?;
    Ok(Field::of(y, extent))
}

/// `weight[c] · d((x − mean)/√(variance + 1e-5))`: the tangent of [`normalise`] before shift and function; it can
/// itself be differentiated.
///
/// # Errors
/// `Shape` where `x` and `dx` differ or the weight does not fit.
pub fn normalise_tangent<D: Device, T: Tape<f32, D>>(
    x: Field<D, T>,
    dx: Field<D, T>,
    weight: &Parameter<D>,
    over: Over,
) -> Result<Field<D, T>> {
    fits(&x, weight, over)?;
    same_shape("normalise_tangent", &x, &dx)?;
    let extent = x.extent();
    let y = D::normalise_tangent(contiguous(x)?, contiguous(dx)?, weight, over)?;
    Ok(Field::of(y, extent))
}

/// `f(weight[c] · (x − mean[c]) / √(variance[c] + 1e-5) + bias[c]) + shift[b,c]` for given mean and variance: what a
/// batch norm does once it is trained. `by` holds mean, variance, weight and bias (channels each).
///
/// # Errors
/// `Shape` where they do not fit: it names both.
pub fn rescale<D: Device, T: Tape<f32, D>>(
    x: Field<D, T>,
    by: [&Parameter<D>; 4],
    shift: Option<Field<D, T>>,
    f: Activation,
) -> Result<Field<D, T>> {
    by.into_iter().try_for_each(|p| fits(&x, p, Over::Batch))?;
    if let Some(shift) = &shift {
        super::shift_fits("rescale", &x, shift)?;
    }
    let extent = x.extent();
    let shift = shift.map(contiguous).transpose()?;
    Ok(Field::of(D::rescale(contiguous(x)?, by, shift, f)?, extent))
}

/// `weight[c] / √(variance[c] + 1e-5) · dx`: the tangent of [`rescale`] before shift and function.
///
/// # Errors
/// `Shape` where they do not fit: it names both.
pub fn rescale_tangent<D: Device, T: Tape<f32, D>>(
    dx: Field<D, T>,
    [_, variance, weight, _]: [&Parameter<D>; 4],
) -> Result<Field<D, T>> {
    fits(&dx, weight, Over::Batch)?;
    let extent = dx.extent();
    let run = || -> std::result::Result<_, D::Err> {
        let scale = weight.taped::<T>().try_div(deviation::<D, T>(variance)?)?;
        let dx = dx.into_values();
        let shape = *dx.shape();
        dx.try_mul(scale.try_broadcast_like::<_, Axes2<0, 2>>(&shape)?)
    };
    Ok(Field::of(run().map_err(ModelError::device)?, extent))
}

/// √(variance + ε).
fn deviation<D: Device, T: Tape<f32, D>>(variance: &Parameter<D>) -> std::result::Result<Flat<D, T>, D::Err> {
    variance.taped::<T>().try_add(EPSILON)?.try_sqrt()
}

/// [`rescale`] of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed_rescale<D: Device, T: Tape<f32, D>>(
    x: Values<D, T>,
    [mean, variance, weight, bias]: [&Parameter<D>; 4],
    shift: Option<Values<D, T>>,
    f: Activation,
) -> std::result::Result<Values<D, T>, D::Err> {
    let scale = weight.taped::<T>().try_div(deviation::<D, T>(variance)?)?;
    let start = mean.taped::<T>().try_mul(scale.with_empty_tape())?;
    let start = bias.taped::<T>().try_sub(start)?;
    let y = super::activation::composed(affine(x, scale, start)?, f)?;
    match shift {
        Some(shift) => super::shift_composed(y, shift),
        None => Ok(y),
    }
}

fn fits<D: Device, T>(x: &Field<D, T>, weight: &Parameter<D>, over: Over) -> Result<()> {
    let channels = x.channels();
    if weight.count() != channels {
        let what = format!("a weight of {:?} for {channels} channels", weight.shape);
        return Err(ModelError::shape("normalise", what));
    }
    match over {
        Over::Group(groups) if groups == 0 || !channels.is_multiple_of(groups) => Err(ModelError::shape(
            "normalise",
            format!("{channels} channels cannot be divided into {groups} groups"),
        )),
        Over::Given => Err(ModelError::shape(
            "normalise",
            "mean and variance are given to `rescale`",
        )),
        _ => Ok(()),
    }
}

/// `y = f(γ_c (x − μ) / √(σ² + ε) + β_c) + e[b,c]` on `x` of shape (batch, channels, positions), with σ² biased.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// What shares μ and σ².
    pub over: Over,
    /// (batch, channels, positions).
    pub shape: [usize; 3],
    /// ε.
    pub epsilon: f32,
    /// f.
    pub activation: Activation,
    /// γ of each channel.
    pub weight: &'a [f32],
    /// β of each channel.
    pub bias: &'a [f32],
}

impl Norm<'_> {
    /// How many means there are: (batch, groups), (channels) or (batch, positions) of them.
    pub fn sets(&self) -> usize {
        let [batch, channels, positions] = self.shape;
        match self.over {
            Over::Group(groups) => batch * groups,
            Over::Batch | Over::Given => channels,
            Over::Layer => batch * positions,
        }
    }
}

/// (x − mean, √(variance + ε)), both of the shape of x.
macro_rules! centred {
    ($x:expr, $axes:ty) => {{
        let shape = *$x.shape();
        let mean = $x.with_empty_tape().try_mean::<_, $axes>()?;
        let centred = $x.try_sub(mean.try_broadcast_like::<_, $axes>(&shape)?)?;
        let variance = centred.with_empty_tape().try_square()?.try_mean::<_, $axes>()?;
        let scale = variance.try_add(E::from(EPSILON))?.try_sqrt()?;
        (centred, scale.try_broadcast_like::<_, $axes>(&shape)?)
    }};
}

/// x − mean, over √(variance + ε), times nothing yet.
macro_rules! standardised {
    ($x:expr, $axes:ty) => {{
        let (centred, scale) = centred!($x, $axes);
        centred.try_div(scale)?
    }};
}

/// (dx − mean dx − x̂ mean(x̂ dx)) / √(variance + ε).
macro_rules! standardised_tangent {
    ($x:expr, $dx:expr, $axes:ty) => {{
        let shape = *$x.shape();
        let (centred, scale) = centred!($x, $axes);
        let unit = centred.try_div(scale.with_empty_tape())?;
        let mean = $dx.with_empty_tape().try_mean::<_, $axes>()?;
        let along = unit
            .with_empty_tape()
            .try_mul($dx.with_empty_tape())?
            .try_mean::<_, $axes>()?;
        let along = along.try_broadcast_like::<_, $axes>(&shape)?;
        $dx.try_sub(mean.try_broadcast_like::<_, $axes>(&shape)?)?
            .try_sub(unit.try_mul(along)?)?
            .try_div(scale)?
    }};
}

/// [`normalise`] of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    weight: Flat<D, T, E>,
    bias: Flat<D, T, E>,
    shift: Option<Values<D, T, E>>,
    over: Over,
    f: Activation,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let shape = *x.shape();
    let unit = match over {
        Over::Group(groups) => {
            let grouped = x.try_reshape_like(&(shape.0, groups, shape.1 / groups * shape.2))?;
            standardised!(grouped, Axis<2>).try_reshape_like(&shape)?
        }
        Over::Layer => standardised!(x, Axis<1>),
        // Refused before: what is given is for `rescale`.
        Over::Batch | Over::Given => standardised!(x, Axes2<0, 2>),
    };
    let y = super::activation::composed(affine(unit, weight, bias)?, f)?;
    match shift {
        Some(shift) => super::shift_composed(y, shift),
        None => Ok(y),
    }
}

/// [`normalise_tangent`], likewise.
///
/// # Errors
/// Out of memory on the device.
pub fn composed_tangent<E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    dx: Values<D, T, E>,
    weight: Flat<D, T, E>,
    over: Over,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let shape = *x.shape();
    let unit = match over {
        Over::Group(groups) => {
            let grouped = (shape.0, groups, shape.1 / groups * shape.2);
            let (x, dx) = (x.try_reshape_like(&grouped)?, dx.try_reshape_like(&grouped)?);
            standardised_tangent!(x, dx, Axis<2>).try_reshape_like(&shape)?
        }
        Over::Layer => standardised_tangent!(x, dx, Axis<1>),
        Over::Batch | Over::Given => standardised_tangent!(x, dx, Axes2<0, 2>),
    };
    unit.try_mul(weight.try_broadcast_like::<_, Axes2<0, 2>>(&shape)?)
}

/// `weight[c] · x + bias[c]`.
pub(crate) fn affine<E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    weight: Flat<D, T, E>,
    bias: Flat<D, T, E>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let shape = *x.shape();
    x.try_mul(weight.try_broadcast_like::<_, Axes2<0, 2>>(&shape)?)?
        .try_add(bias.try_broadcast_like::<_, Axes2<0, 2>>(&shape)?)
}

/// Mean and unbiased variance of each channel, where the numbers are: what a device without shared memory wants.
///
/// # Errors
/// Out of memory on the device.
#[cfg(any(test, feature = "cuda"))]
pub(crate) fn composed_moments<D: Device, T>(x: &Values<D, T>) -> std::result::Result<[Vec<f32>; 2], D::Err> {
    let x = x.retaped::<dfdx::tensor::NoneTape>();
    let shape @ (batch, channels, positions) = *x.shape();
    let count = (batch * positions) as f32;
    let mean = x.with_empty_tape().try_mean::<(usize,), Axes2<0, 2>>()?;
    let centred = x.try_sub(mean.clone().try_broadcast_like::<_, Axes2<0, 2>>(&shape)?)?;
    let variance = centred.try_square()?.try_mean::<(usize,), Axes2<0, 2>>()?;
    let variance = variance.try_mul(count / (count - 1.0).max(1.0))?;
    let mut both = [vec![0.0; channels], vec![0.0; channels]];
    mean.copy_into(&mut both[0]);
    variance.copy_into(&mut both[1]);
    Ok(both)
}

/// Mean and unbiased variance of each channel of (batch, channels, positions), over batch and positions.
pub(crate) fn moments(x: &[f32], channels: usize, positions: usize) -> [Vec<f32>; 2] {
    let count = (x.len() / channels) as f64;
    let of_channel = |c: usize| {
        let numbers = || {
            x.chunks_exact(positions)
                .skip(c)
                .step_by(channels)
                .flatten()
                .map(|v| f64::from(*v))
        };
        let mean = numbers().sum::<f64>() / count;
        let squares = numbers().map(|v| (v - mean).powi(2)).sum::<f64>();
        (mean as f32, (squares / (count - 1.0).max(1.0)) as f32)
    };
    let (mean, variance) = (0..channels).into_par_iter().map(of_channel).unzip();
    [mean, variance]
}
