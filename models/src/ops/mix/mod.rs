//! Weigh the maps of a batch and add them up.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Axes2, Axis, HasShape},
    tensor::{Merge, Tape},
    tensor_ops::{BroadcastTo, ReshapeTo, SumTo, TryMul},
};

use crate::{
    device::{Device, Maps, Rows},
    error::{ModelError, Result},
    ops::not_empty,
};

/// `y[b,0,i,j] = Σ_c weights[b,c] · x[b,c,i,j]`.
///
/// Shapes: `x` (batch, channels, height, width), `weights` (batch, channels); the result has one channel.
///
/// # Errors
/// `Shape` where the two do not fit.
///
/// ```
/// use armilla_models::ops::mix;
/// use dfdx::prelude::*;
/// let device = Cpu::default();
/// let x = device.tensor_from_vec(vec![1.0, 2.0], (1, 2, 1, 1));
/// let y = mix(x, device.tensor_from_vec(vec![10.0, 1.0], (1, 2)))?;
/// assert_eq!(y.as_vec(), vec![12.0]);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn mix<D: Device, T: Tape<f32, D>>(x: Maps<D, T>, weights: Rows<D, T>) -> Result<Maps<D, T>> {
    not_empty("mix", *x.shape(), 1)?;
    let ((batch, channels, ..), rows) = (*x.shape(), *weights.shape());
    if rows != (batch, channels) {
        return Err(ModelError::shape(
            "mix",
            format!("weights {rows:?} for {batch} × {channels} maps"),
        ));
    }
    let x = x.try_contiguous().map_err(ModelError::device)?;
    D::mix(x, weights.try_contiguous().map_err(ModelError::device)?)
}

/// The same of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<D: Device, T: Tape<f32, D> + Merge<T>>(
    x: Maps<D, T>,
    weights: Rows<D, T>,
) -> Result<Maps<D, T>> {
    let shape = *x.shape();
    let run = || -> std::result::Result<_, D::Err> {
        let weights = weights.try_broadcast_like::<_, Axes2<2, 3>>(&shape)?;
        let sum = x.try_mul(weights)?.try_sum::<(usize, usize, usize), Axis<1>>()?;
        sum.try_reshape_like(&(shape.0, 1, shape.2, shape.3))
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
        let (x, rows) = (tensor((3, 5, 4, 6), 1), tensor((3, 5), 2));
        let (y, g) = probe(mix(x.leaky_trace(), rows.retaped::<OwnedTape<f32, _>>()).unwrap());
        let (y2, g2) = probe(composed(x.leaky_trace(), rows.retaped::<OwnedTape<f32, _>>()).unwrap());
        assert!(difference(&y, &y2) < SAME);
        assert!(difference(&gradient(&g, &x), &gradient(&g2, &x)) < SAME);
        assert!(difference(&gradient(&g, &rows), &gradient(&g2, &rows)) < SAME);
    }
}
