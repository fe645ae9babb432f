//! Add fields, shift their channels, and lay channels side by side.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Axis, Dtype, HasShape},
    tensor::Tape,
    tensor_ops::{BroadcastTo, ReshapeTo, TryAdd, TryConcatAlong},
};

use super::activation::{contiguous, same_shape};
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Values},
};

/// `a + b`.
///
/// # Errors
/// `Shape` where they differ in shape: it names both.
pub fn sum<D: Device, T: Tape<f32, D>>(a: Field<D, T>, b: Field<D, T>) -> Result<Field<D, T>> {
    same_shape("sum", &a, &b)?;
    let extent = a.extent();
    Ok(Field::of(D::sum(contiguous(a)?, contiguous(b)?)?, extent))
}

/// `x[b,c,p] + rows[b,c]`; `rows` has one position.
///
/// # Errors
/// `Shape` where they do not fit: it names both.
pub fn shift<D: Device, T: Tape<f32, D>>(x: Field<D, T>, rows: Field<D, T>) -> Result<Field<D, T>> {
    shift_fits("shift", &x, &rows)?;
    let extent = x.extent();
    Ok(Field::of(D::shift(contiguous(x)?, contiguous(rows)?)?, extent))
}

pub(crate) fn shift_fits<D: Device, T>(
    operation: &'static str,
    x: &Field<D, T>,
    rows: &Field<D, T>,
) -> Result<()> {
    let (a, b) = (x.values().shape(), rows.values().shape());
    if (a.0, a.1, 1) != *b {
        return Err(ModelError::shape(
            operation,
            format!("rows of {b:?} for a field of {a:?}"),
        ));
    }
    Ok(())
}

pub(crate) fn shift_composed<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    rows: Values<D, T, E>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let shape = *x.shape();
    let rows = rows.try_reshape_like(&(shape.0, shape.1))?;
    x.try_add(rows.try_broadcast_like::<_, Axis<2>>(&shape)?)
}

/// The channels of `a`, then those of `b`.
///
/// # Errors
/// `Shape` where batch or extent differ: it names both.
pub fn concat<D: Device, T: Tape<f32, D>>(a: Field<D, T>, b: Field<D, T>) -> Result<Field<D, T>> {
    if (a.batch(), a.extent()) != (b.batch(), b.extent()) {
        let shape = |f: &Field<D, T>| (f.batch(), f.channels(), f.extent());
        let what = format!("{:?} and {:?} do not lie side by side", shape(&a), shape(&b));
        return Err(ModelError::shape("concat", what));
    }
    let extent = a.extent();
    Ok(Field::of(D::concat(contiguous(a)?, contiguous(b)?)?, extent))
}

pub(crate) fn concat_composed<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    a: Values<D, T, E>,
    b: Values<D, T, E>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (batch, channels, positions) = *a.shape();
    let both = (batch, channels + b.shape().1, positions);
    (a, b).concat_along(Axis::<1>).try_reshape_like(&both)
}
