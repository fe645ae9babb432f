//! Weigh the channels of a field and add them up.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Axis, Dtype, HasShape},
    tensor::Tape,
    tensor_ops::{BroadcastTo, ReshapeTo, SumTo, TryMul},
};

use super::{activation::contiguous, combine::shift_fits};
use crate::{
    device::Device,
    error::Result,
    field::{Field, Values},
};

/// `y[b,0,p] = Σ_c weights[b,c] · x[b,c,p]`; `weights` has one position.
///
/// # Errors
/// `Shape` where the two do not fit: it names both.
///
/// ```
/// use armilla_models::{Cpu, Field, ops::mix};
/// let device = Cpu::default();
/// let x = Field::new(&device, vec![1.0, 2.0], 1, 2, [1; 3])?;
/// let y = mix(x, Field::rows(&device, vec![10.0, 1.0], 1)?)?;
/// assert_eq!(y.to_vec(), [12.0]);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn mix<D: Device, T: Tape<f32, D>>(x: Field<D, T>, weights: Field<D, T>) -> Result<Field<D, T>> {
    shift_fits("mix", &x, &weights)?;
    let extent = x.extent();
    Ok(Field::of(D::mix(contiguous(x)?, contiguous(weights)?)?, extent))
}

/// [`mix`] of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    weights: Values<D, T, E>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let shape = *x.shape();
    let weights = weights.try_reshape_like(&(shape.0, shape.1))?;
    let weighed = x.try_mul(weights.try_broadcast_like::<_, Axis<2>>(&shape)?)?;
    weighed
        .try_sum::<(usize, usize), Axis<1>>()?
        .try_reshape_like(&(shape.0, 1, shape.2))
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::{Cpu, Trace};

    use super::*;
    use crate::ops::testing::{SAME, difference, gradient, probe, tensor};

    #[test]
    fn kernel_equals_composed_form_with_every_gradient() {
        let (x, rows) = (tensor((3, 5, 24), 1), tensor((3, 5, 1), 2));
        let (y, g) = probe(Cpu::mix(x.leaky_trace(), rows.leaky_trace()).unwrap());
        let (y2, g2) = probe(composed(x.leaky_trace(), rows.leaky_trace()).unwrap());
        assert!(difference(&y, &y2) < SAME);
        assert!(difference(&gradient(&g, &x), &gradient(&g2, &x)) < SAME);
        assert!(difference(&gradient(&g, &rows), &gradient(&g2, &rows)) < SAME);
    }

    #[test]
    fn rows_can_weigh_themselves() {
        let x = tensor((3, 5, 1), 1);
        let (_, g) = probe(Cpu::mix(x.leaky_trace(), x.leaky_trace()).unwrap());
        // Of Σ x² in each row: 2 x, times what the row counts. (dfdx's own product refuses a tensor with itself.)
        let counts = tensor((3, 1, 1), 77).as_vec();
        let rows = x.as_vec();
        let expected = rows
            .chunks(5)
            .zip(counts)
            .flat_map(|(x, n)| x.iter().map(move |x| 2.0 * x * n));
        assert!(difference(&gradient(&g, &x), &expected.collect::<Vec<_>>()) < SAME);
    }

    #[test]
    fn weights_that_do_not_fit_are_named() {
        let device = Cpu::default();
        let x = Field::new(&device, vec![0.0; 12], 2, 3, [1, 1, 2]).unwrap();
        let error = mix(x, Field::rows(&device, vec![0.0; 4], 2).unwrap()).unwrap_err();
        assert!(error.to_string().contains("(2, 2, 1)") && error.to_string().contains("(2, 3, 2)"));
    }
}
