//! Add maps: the joint of every residual and skip connection.

pub(crate) mod cpu;

use dfdx::{
    shapes::HasShape,
    tensor::{Merge, Tape},
    tensor_ops::{ReshapeTo, TryAdd},
};

use crate::{
    device::{Device, Maps},
    error::{ModelError, Result},
};

/// `a + b` for maps of one shape.
///
/// # Errors
/// `Shape` where the shapes differ.
///
/// ```
/// use armilla_models::ops::add;
/// use dfdx::prelude::*;
/// let device = Cpu::default();
/// let a = device.tensor_from_vec(vec![1.0, 2.0], (1, 2, 1, 1));
/// assert_eq!(add(a.clone(), a)?.as_vec(), vec![2.0, 4.0]);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn add<D: Device, T: Tape<f32, D>>(a: Maps<D, T>, b: Maps<D, T>) -> Result<Maps<D, T>> {
    if a.shape() != b.shape() {
        return Err(ModelError::shape(
            "add",
            format!("maps {:?} and {:?}", a.shape(), b.shape()),
        ));
    }
    let a = a.try_contiguous().map_err(ModelError::device)?;
    D::add(a, b.try_contiguous().map_err(ModelError::device)?)
}

/// The same by dfdx: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<D: Device, T: Tape<f32, D> + Merge<T>>(a: Maps<D, T>, b: Maps<D, T>) -> Result<Maps<D, T>> {
    a.try_add(b).map_err(ModelError::device)
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::Trace;

    use super::*;
    use crate::ops::testing::{gradient, probe, tensor};

    #[test]
    fn kernel_equals_composed_form_with_every_gradient() {
        let (a, b) = (tensor((2, 3, 4, 5), 1), tensor((2, 3, 4, 5), 2));
        let (y, g) = probe(add(a.leaky_trace(), b.leaky_trace()).unwrap());
        let (y2, g2) = probe(composed(a.leaky_trace(), b.leaky_trace()).unwrap());
        assert_eq!(y, y2);
        assert_eq!(gradient(&g, &a), gradient(&g2, &a));
        assert_eq!(gradient(&g, &b), gradient(&g2, &b));
        // A tensor added to itself gets its gradient twice.
        let (_, g) = probe(add(a.leaky_trace(), a.leaky_trace()).unwrap());
        let twice: Vec<f32> = gradient(&g2, &a).iter().map(|g| 2.0 * g).collect();
        assert_eq!(gradient(&g, &a), twice);
    }
}
