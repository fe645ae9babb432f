//! Scale, shift and activate channels in one pass: how a time or a condition enters a network.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Axis, Dtype, HasShape},
    tensor::{Tape, WithEmptyTape},
    tensor_ops::{BroadcastTo, ReshapeTo, SelectTo, TryAdd, TryMul},
};

use super::activation::{self, Activation, contiguous, same_shape};
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Values},
};

/// `y[b,c,p] = silu((1 + scale[b,c]) · x[b,c,p] + shift[b,c])` with `silu(a) = a / (1 + exp(−a))`.
///
/// Shapes: `x` (batch, channels, positions); `scale_shift` (batch, 2 · channels, 1), scales first.
/// Feature-wise modulation: Perez et al. 2018, arXiv 1709.07871.
///
/// # Errors
/// `Shape` where the two do not fit: it names both.
///
/// ```
/// use armilla_models::{Cpu, Field, ops::modulated_silu};
/// let device = Cpu::default();
/// let x = Field::rows(&device, vec![1.0], 1)?;
/// let y = modulated_silu(x, Field::rows(&device, vec![1.0, -2.0], 1)?)?;
/// assert_eq!(y.to_vec(), [0.0]); // silu(2 · 1 − 2)
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn modulated_silu<D: Device, T: Tape<f32, D>>(
    x: Field<D, T>,
    scale_shift: Field<D, T>,
) -> Result<Field<D, T>> {
    fits("modulated_silu", &x, &scale_shift)?;
    let extent = x.extent();
    let y = D::modulated_silu(contiguous(x)?, contiguous(scale_shift)?)?;
    Ok(Field::of(y, extent))
}

/// The tangent of [`modulated_silu`] where `x` moves along `dx` and `scale_shift` along `d_scale_shift`; it can itself
/// be differentiated.
///
/// # Errors
/// `Shape` where they do not fit: it names both.
pub fn modulated_silu_tangent<D: Device, T: Tape<f32, D>>(
    [x, dx]: [Field<D, T>; 2],
    [scale_shift, d_scale_shift]: [Field<D, T>; 2],
) -> Result<Field<D, T>> {
    const NAME: &str = "modulated_silu_tangent";
    fits(NAME, &x, &scale_shift)?;
    same_shape(NAME, &x, &dx)?;
    same_shape(NAME, &scale_shift, &d_scale_shift)?;
    let extent = x.extent();
    let fields = [contiguous(x)?, contiguous(dx)?];
    let rows = [contiguous(scale_shift)?, contiguous(d_scale_shift)?];
    let [a, da] = composed_modulation(fields, rows).map_err(ModelError::device)?;
    Ok(Field::of(D::activate_tangent(a, da, Activation::Silu)?, extent))
}

fn fits<D: Device, T>(operation: &'static str, x: &Field<D, T>, rows: &Field<D, T>) -> Result<()> {
    let (a, b) = (x.values().shape(), rows.values().shape());
    if (a.0, 2 * a.1, 1) != *b {
        let what = format!("scales and shifts of {b:?} for a field of {a:?}");
        return Err(ModelError::shape(operation, what));
    }
    Ok(())
}

/// [`modulated_silu`] of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    scale_shift: Values<D, T, E>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let [scale, shift] = spread(scale_shift, x.shape())?;
    let a = x.with_empty_tape().try_mul(scale)?.try_add(shift)?.try_add(x)?;
    activation::composed(a, Activation::Silu)
}

/// [`modulated_silu_tangent`], likewise.
///
/// # Errors
/// Out of memory on the device.
pub fn composed_tangent<E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    fields: [Values<D, T, E>; 2],
    rows: [Values<D, T, E>; 2],
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let [a, da] = composed_modulation(fields, rows)?;
    activation::composed_tangent(a, da, Activation::Silu)
}

/// `a = (1 + scale) · x + shift` and its tangent `(1 + scale) · dx + d_scale · x + d_shift`.
fn composed_modulation<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    [x, dx]: [Values<D, T, E>; 2],
    [rows, d_rows]: [Values<D, T, E>; 2],
) -> std::result::Result<[Values<D, T, E>; 2], D::Err> {
    let [scale, shift] = spread(rows, x.shape())?;
    let [d_scale, d_shift] = spread(d_rows, x.shape())?;
    let moved = dx
        .with_empty_tape()
        .try_mul(scale.with_empty_tape())?
        .try_add(dx)?;
    let moved = moved
        .try_add(d_scale.try_mul(x.with_empty_tape())?)?
        .try_add(d_shift)?;
    let a = x.with_empty_tape().try_mul(scale)?.try_add(shift)?.try_add(x)?;
    Ok([a, moved])
}

/// Scales and shifts at every position. What was recorded goes with the scales.
fn spread<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    rows: Values<D, T, E>,
    shape: &(usize, usize, usize),
) -> std::result::Result<[Values<D, T, E>; 2], D::Err> {
    let parts = rows.try_reshape_like(&(shape.0, 2usize, shape.1))?;
    let other = parts.with_empty_tape();
    let spread = |parts: dfdx::tensor::Tensor<_, E, D, T>, n: usize| {
        // Not a slice: dfdx 0.13 forgets one of the gradients of two slices.
        let which = parts.device().try_tensor_from_vec(vec![n; shape.0], (shape.0,))?;
        let part = parts.try_select::<(usize, usize), _>(which)?;
        part.try_broadcast_like::<_, Axis<2>>(shape)
    };
    Ok([spread(parts, 0)?, spread(other, 1)?])
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::{Cpu, Trace};

    use super::*;
    use crate::ops::testing::{SAME, difference, gradient, probe, tensor};

    #[test]
    fn kernel_equals_composed_form_with_every_gradient() {
        for (batch, channels, positions) in [(2, 3, 16), (5, 1, 21), (1, 6, 1)] {
            let x = tensor((batch, channels, positions), 1);
            let rows = tensor((batch, 2 * channels, 1), 2);
            let (y, g) = probe(Cpu::modulated_silu(x.leaky_trace(), rows.leaky_trace()).unwrap());
            let (y2, g2) = probe(composed(x.leaky_trace(), rows.leaky_trace()).unwrap());
            assert!(difference(&y, &y2) < SAME);
            assert!(difference(&gradient(&g, &x), &gradient(&g2, &x)) < SAME);
            assert!(difference(&gradient(&g, &rows), &gradient(&g2, &rows)) < SAME);
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_named() {
        let device = Cpu::default();
        let x = Field::new(&device, vec![0.0; 12], 2, 3, [1, 1, 2]).unwrap();
        let error = modulated_silu(x, Field::rows(&device, vec![0.0; 6], 2).unwrap()).unwrap_err();
        assert!(error.to_string().contains("(2, 3, 1)") && error.to_string().contains("(2, 3, 2)"));
    }
}
