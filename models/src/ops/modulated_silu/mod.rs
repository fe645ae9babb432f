//! Scale, shift and activate maps in one pass: how a time or a condition enters a network.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Axes2, HasShape},
    tensor::{Tape, WithEmptyTape},
    tensor_ops::{BroadcastTo, ReshapeTo, SelectTo, TryAdd, TryMul},
};

use crate::{
    device::{Device, Maps, Rows},
    error::{ModelError, Result},
    ops::not_empty,
};

/// `y[b,c,i,j] = silu((1 + scale[b,c]) · x[b,c,i,j] + shift[b,c])` with `silu(a) = a / (1 + exp(−a))`.
///
/// Shapes: `x` (batch, channels, height, width); `scale_shift` (batch, 2 · channels), scales first.
/// Feature-wise modulation: Perez et al. 2018, arXiv 1709.07871.
///
/// # Errors
/// `Shape` where the two do not fit.
///
/// ```
/// use armilla_models::ops::modulated_silu;
/// use dfdx::prelude::*;
/// let device = Cpu::default();
/// let x = device.tensor_from_vec(vec![1.0f32], (1, 1, 1, 1));
/// let y = modulated_silu(x, device.tensor_from_vec(vec![1.0, -2.0], (1, 2)))?;
/// assert_eq!(y.as_vec(), vec![0.0]); // silu(2 · 1 − 2)
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn modulated_silu<D: Device, T: Tape<f32, D>>(
    x: Maps<D, T>,
    scale_shift: Rows<D, T>,
) -> Result<Maps<D, T>> {
    not_empty("modulated_silu", *x.shape(), 1)?;
    let ((batch, channels, ..), rows) = (*x.shape(), *scale_shift.shape());
    if rows != (batch, 2 * channels) {
        return Err(ModelError::shape(
            "modulated_silu",
            format!("scale and shift of shape {rows:?} for {batch} maps of {channels} channels"),
        ));
    }
    let x = x.try_contiguous().map_err(ModelError::device)?;
    D::modulated_silu(x, scale_shift.try_contiguous().map_err(ModelError::device)?)
}

/// The same of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<D: Device, T: Tape<f32, D>>(x: Maps<D, T>, scale_shift: Rows<D, T>) -> Result<Maps<D, T>> {
    let shape = *x.shape();
    let (batch, channels, ..) = shape;
    let run = || -> std::result::Result<_, D::Err> {
        let parts = scale_shift.try_reshape_like(&(batch, 2usize, channels))?;
        let pick = |n: usize| -> std::result::Result<_, D::Err> {
            x.device().try_tensor_from_vec(vec![n; batch], (batch,))
        };
        let other = parts.with_empty_tape();
        let scale = parts.try_select::<(usize, usize), _>(pick(0)?)?;
        let shift = other.try_select::<(usize, usize), _>(pick(1)?)?;
        let scale = scale.try_broadcast_like::<_, Axes2<2, 3>>(&shape)?;
        let shift = shift.try_broadcast_like::<_, Axes2<2, 3>>(&shape)?;
        let a = x.with_empty_tape().try_mul(scale)?.try_add(shift)?.try_add(x)?;
        a.with_empty_tape().try_mul(a.try_sigmoid()?)
    };
    run().map_err(ModelError::device)
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::{OwnedTape, Trace};

    use super::*;
    use crate::ops::testing::{SAME, difference, gradient, probe, tensor};

    #[test]
    fn kernel_equals_composed_form_with_every_gradient() {
        for (batch, channels, height, width) in [(2, 3, 4, 4), (5, 1, 3, 7), (1, 6, 1, 1)] {
            let (x, rows) = (
                tensor((batch, channels, height, width), 1),
                tensor((batch, 2 * channels), 2),
            );
            let traced = || (x.leaky_trace(), rows.retaped::<OwnedTape<f32, _>>());
            let (a, r) = traced();
            let (y, g) = probe(modulated_silu(a, r).unwrap());
            let (a, r) = traced();
            let (y2, g2) = probe(composed(a, r).unwrap());
            assert!(difference(&y, &y2) < SAME);
            assert!(difference(&gradient(&g, &x), &gradient(&g2, &x)) < SAME);
            assert!(difference(&gradient(&g, &rows), &gradient(&g2, &rows)) < SAME);
        }
    }
}
