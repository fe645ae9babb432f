//! Convolve fields of one, two or three dimensions, and carry them back to finer ones.

mod correlate;
pub(crate) mod cpu;
mod direct;
mod gemm;
pub mod geometry;
mod scratch;
mod shuffle;
mod walk;
mod winograd;

pub use cpu::set_exact;

use dfdx::{
    shapes::{Axes2, Axes3, Axes4, Axis, Dtype, HasShape},
    tensor::{Tape, Tensor},
    tensor_ops::{BroadcastTo, GatherTo, PermuteTo, ReshapeTo, TryAdd, TryConcatAlong, TryMatMul},
};

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Flat, Values},
    parameter::Parameter,
};
use geometry::{Extent, Geometry, Sizes};

/// `y[b,o,p] = bias[o] + Σ_{c,k} weight[o,c,k] · x[b,c,stride·p+k−reach]`, for each of the three dimensions.
///
/// Shapes: `x` (batch, channels, extent), `weight` (outputs, channels / groups, kernel) as in PyTorch, `bias` (outputs);
/// the result is (batch, outputs, `geometry.output(extent)`).
///
/// # Errors
/// `Shape` where weight, bias or extent do not fit: it names both.
pub fn conv<D: Device, T: Tape<f32, D>>(
    x: Field<D, T>,
    weight: &Parameter<D>,
    bias: Option<&Parameter<D>>,
    geometry: Geometry,
) -> Result<Field<D, T>> {
    let outputs = weight.shape.first().copied().unwrap_or(0);
    let sizes = Sizes {
        batch: x.batch(),
        channels: x.channels(),
        outputs,
        input: x.extent(),
        output: geometry.output(x.extent())?,
        geometry,
    };
    fits("conv", &sizes, weight, bias, outputs)?;
    let values = x.into_values().try_contiguous().map_err(ModelError::device)?;
    let y = D::conv(values, weight, bias, &sizes)?;
    Ok(Field::of(y, sizes.output))
}

/// The adjoint of [`conv`]: from a coarse field to a fine one, as PyTorch's transposed convolution.
///
/// Shapes: `x` (batch, channels, extent), `weight` (channels, outputs / groups, kernel), `bias` (outputs); the result
/// has the smallest extent that the convolution of `geometry` takes to that of `x`.
///
/// # Errors
/// `Shape` where weight, bias or extent do not fit: it names both.
pub fn conv_transposed<D: Device, T: Tape<f32, D>>(
    x: Field<D, T>,
    weight: &Parameter<D>,
    bias: Option<&Parameter<D>>,
    geometry: Geometry,
) -> Result<Field<D, T>> {
    let outputs = weight.shape.get(1).copied().unwrap_or(0) * geometry.groups;
    let fine = finer(x.extent(), geometry)?;
    // Described as the convolution that it is the adjoint of.
    let sizes = Sizes {
        batch: x.batch(),
        channels: outputs,
        outputs: x.channels(),
        input: fine,
        output: x.extent(),
        geometry,
    };
    fits("conv_transposed", &sizes, weight, bias, outputs)?;
    let values = x.into_values().try_contiguous().map_err(ModelError::device)?;
    let y = D::conv_transposed(values, weight, bias, &sizes)?;
    Ok(Field::of(y, fine))
}

fn finer(extent: Extent, geometry: Geometry) -> Result<Extent> {
    let mut fine = [0; 3];
    for (axis, fine) in fine.iter_mut().enumerate() {
        let far = extent[axis].saturating_sub(1) * geometry.stride[axis] + geometry.kernel[axis];
        *fine = far.saturating_sub(2 * geometry.reach[axis]);
    }
    match geometry.output(fine) {
        Ok(back) if back == extent => Ok(fine),
        _ => Err(ModelError::shape(
            "conv_transposed",
            format!("no field becomes one of {extent:?} by {geometry:?}"),
        )),
    }
}

fn fits<D: Device>(
    operation: &'static str,
    sizes: &Sizes,
    weight: &Parameter<D>,
    bias: Option<&Parameter<D>>,
    results: usize,
) -> Result<()> {
    let (channels, outputs, groups) = (sizes.channels, sizes.outputs, sizes.geometry.groups);
    let whole = groups > 0 && channels.is_multiple_of(groups) && outputs.is_multiple_of(groups);
    let wanted = outputs * (channels / groups.max(1)) * sizes.geometry.taps();
    if !whole || wanted == 0 || weight.count() != wanted {
        return Err(ModelError::shape(
            operation,
            format!(
                "a weight of {:?} does not take {} channels in {groups} groups by {:?}",
                weight.shape,
                if operation == "conv" { channels } else { outputs },
                sizes.geometry
            ),
        ));
    }
    match bias {
        Some(bias) if bias.count() != results => Err(ModelError::shape(
            operation,
            format!("a bias of {:?} for {results} outputs", bias.shape),
        )),
        _ => Ok(()),
    }
}

/// [`conv`] by gathering what each tap of the kernel sees, and one matrix product: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    weight: Flat<D, T, E>,
    bias: Option<Flat<D, T, E>>,
    sizes: &Sizes,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let groups = sizes.geometry.groups;
    let inner = sizes.channels / groups * sizes.geometry.taps();
    let weight = weight.try_reshape_like(&(groups, sizes.outputs / groups, inner))?;
    let seen = seen_by_taps(sizes);
    product(x, weight, bias, &seen, sizes.outputs)
}

/// [`conv_transposed`], likewise.
///
/// # Errors
/// Out of memory on the device.
pub fn composed_transposed<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    weight: Flat<D, T, E>,
    bias: Option<Flat<D, T, E>>,
    sizes: &Sizes,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (groups, taps) = (sizes.geometry.groups, sizes.geometry.taps());
    let (from, to) = (sizes.outputs / groups, sizes.channels / groups);
    let weight: Tensor<(usize, usize, usize), E, D, T> = weight
        .try_reshape_like(&(groups, from, to, taps))?
        .try_permute::<_, Axes4<0, 2, 1, 3>>()?
        .try_reshape_like(&(groups, to, from * taps))?;
    // What a fine position receives: the other way round, for each tap. A fine position that a tap reaches from two
    // coarse ones, around a periodic edge, has as many rounds.
    let fine: usize = sizes.input.iter().product();
    let mut rounds: Vec<Vec<Option<usize>>> = vec![vec![None; taps * fine]];
    let coarse: usize = sizes.output.iter().product();
    for (at, source) in seen_by_taps(sizes).into_iter().enumerate() {
        let Some(source) = source else { continue };
        let slot = at / coarse * fine + source;
        let free = rounds.iter().position(|round| round[slot].is_none());
        let round = free.unwrap_or_else(|| {
            rounds.push(vec![None; taps * fine]);
            rounds.len() - 1
        });
        rounds[round][slot] = Some(at % coarse);
    }
    use dfdx::tensor::WithEmptyTape;
    let (shared, shared_weight) = (x.with_empty_tape(), weight.with_empty_tape());
    let mut y = product(x, weight, bias, &rounds[0], sizes.channels)?;
    for round in &rounds[1..] {
        let more = (shared.with_empty_tape(), shared_weight.with_empty_tape());
        y = y.try_add(product(more.0, more.1, None, round, sizes.channels)?)?;
    }
    Ok(y)
}

/// `y[b,o,p] = bias[o] + Σ_{c,k} weight[g,o,(c,k)] · x[b,c,seen[k,p]]`.
fn product<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    weight: Tensor<(usize, usize, usize), E, D, T>,
    bias: Option<Flat<D, T, E>>,
    seen: &[Option<usize>],
    outputs: usize,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (batch, channels, positions) = *x.shape();
    let (groups, _, inner) = *weight.shape();
    let results = seen.len() / (inner / (channels / groups));
    let device = x.device().clone();
    // One row per number of a field, and a last row of zeros for what lies outside.
    let rows = x
        .try_reshape_like(&(batch, channels * positions))?
        .try_permute::<_, Axes2<1, 0>>()?
        .try_contiguous()?;
    let zeros = device.try_zeros_like(&(1usize, batch))?;
    let rows = (rows, zeros)
        .concat_along(Axis::<0>)
        .try_reshape_like(&(channels * positions + 1, batch))?;
    let outside = channels * positions;
    let index = (0..channels)
        .flat_map(|c| seen.iter().map(move |s| s.map_or(outside, |s| c * positions + s)))
        .collect();
    let index: Tensor<(usize,), usize, D> = device.try_tensor_from_vec(index, (channels * seen.len(),))?;
    let patches =
        rows.try_gather::<(usize, usize), _>(index)?
            .try_reshape_like(&(groups, inner, results * batch))?;
    let y = weight
        .try_matmul(patches)?
        .try_reshape_like(&(outputs, results, batch))?
        .try_permute::<_, Axes3<2, 0, 1>>()?
        .try_contiguous()?;
    match bias {
        Some(bias) => {
            let shape = *y.shape();
            y.try_add(bias.try_broadcast_like::<_, Axes2<0, 2>>(&shape)?)
        }
        None => Ok(y),
    }
}

/// For each tap and each position that comes out, the position that the tap sees there, if it is inside.
fn seen_by_taps(sizes: &Sizes) -> Vec<Option<usize>> {
    let Geometry {
        kernel,
        stride,
        reach,
        padding,
        ..
    } = sizes.geometry;
    let place = |i: usize, [_, h, w]: Extent| [i / (h * w), i / w % h, i % w];
    let outputs = sizes.output.iter().product::<usize>();
    let mut seen = Vec::with_capacity(sizes.geometry.taps() * outputs);
    for tap in (0..sizes.geometry.taps()).map(|t| place(t, kernel)) {
        for out in (0..outputs).map(|o| place(o, sizes.output)) {
            let mut at = Some(0);
            for axis in 0..3 {
                let far = out[axis] * stride[axis] + tap[axis];
                let n = sizes.input[axis];
                let inside = (reach[axis]..n + reach[axis]).contains(&far);
                at = match padding {
                    geometry::Padding::Zeros if !inside => None,
                    _ => at.map(|at| at * n + (far + n - reach[axis]) % n),
                };
            }
            seen.push(at);
        }
    }
    seen
}
