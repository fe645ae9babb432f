//! Convolve fields of one, two or three dimensions, and carry them back to finer ones.

mod arithmetic;
mod composed;
mod correlate;
pub(crate) mod cpu;
mod direct;
mod few;
mod gemm;
pub mod geometry;
mod lanes;
mod packed;
mod planes;
mod shifted;
mod shuffle;
#[cfg(test)]
mod testing;
mod walk;
mod weights;
mod winograd;

pub use arithmetic::Arithmetic;
pub use composed::{Kept, composed, composed_transposed};
pub(crate) use packed::Packed;

use dfdx::{tensor::Tape, tensor_ops::ReshapeTo};

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
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
