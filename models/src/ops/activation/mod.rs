//! Bend numbers one by one, with their first two derivatives.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Dtype, HasShape, Shape},
    tensor::{PutTape, SplitTape, Tape, Tensor, WithEmptyTape},
    tensor_ops::{ChooseFrom, ReshapeTo, TryAdd, TryGt, TryMul, TrySub},
};
use serde::{Deserialize, Serialize};

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
};

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x
    Identity,
    /// max(x, 0), with slope 0 at 0.
    Relu,
    /// x / (1 + exp(−x)) (Elfwing et al. 2017, arXiv 1702.03118).
    Silu,
    /// x Φ(x), with the normal distribution Φ itself, not its approximation by tanh (Hendrycks & Gimpel 2016,
    /// arXiv 1606.08415).
    Gelu,
    /// 1 / (1 + exp(−x))
    Sigmoid,
    /// tanh x
    Tanh,
}

/// `y = f(x)`, number by number.
///
/// # Errors
/// Out of memory on the device.
pub fn activate<D: Device, T: Tape<f32, D>>(x: Field<D, T>, f: Activation) -> Result<Field<D, T>> {
    if f == Activation::Identity {
        return Ok(x);
    }
    let extent = x.extent();
    Ok(Field::of(D::activate(contiguous(x)?, f)?, extent))
}

/// `f′(x) · dx`, the tangent of [`activate`]; it can itself be differentiated.
///
/// # Errors
/// `Shape` where `x` and `dx` differ.
pub fn activate_tangent<D: Device, T: Tape<f32, D>>(
    x: Field<D, T>,
    dx: Field<D, T>,
    f: Activation,
) -> Result<Field<D, T>> {
    same_shape("activate_tangent", &x, &dx)?;
    if f == Activation::Identity {
        return Ok(dx);
    }
    let extent = x.extent();
    Ok(Field::of(
        D::activate_tangent(contiguous(x)?, contiguous(dx)?, f)?,
        extent,
    ))
}

pub(crate) fn contiguous<D: Device, T: Tape<f32, D>>(x: Field<D, T>) -> Result<crate::field::Values<D, T>> {
    x.into_values().try_contiguous().map_err(ModelError::device)
}

pub(crate) fn same_shape<D: Device, T, U>(
    operation: &'static str,
    a: &Field<D, T>,
    b: &Field<D, U>,
) -> Result<()> {
    let shape = |shape: &(usize, usize, usize), extent| format!("({}, {}, {extent:?})", shape.0, shape.1);
    if a.values().shape() != b.values().shape() || a.extent() != b.extent() {
        let (a, b) = (
            shape(a.values().shape(), a.extent()),
            shape(b.values().shape(), b.extent()),
        );
        return Err(ModelError::shape(operation, format!("{a} and {b} differ")));
    }
    Ok(())
}

/// [`activate`] of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<S: Shape, E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Tensor<S, E, D, T>,
    f: Activation,
) -> std::result::Result<Tensor<S, E, D, T>, D::Err> {
    match f {
        Activation::Identity => Ok(x),
        Activation::Relu => x.try_relu(),
        Activation::Silu => x.with_empty_tape().try_mul(x.try_sigmoid()?),
        Activation::Gelu => x.with_empty_tape().try_mul(normal_cdf(x)?),
        Activation::Sigmoid => x.try_sigmoid(),
        Activation::Tanh => x.try_tanh(),
    }
}

/// [`activate_tangent`], likewise.
///
/// # Errors
/// Out of memory on the device.
pub fn composed_tangent<S: Shape, E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Tensor<S, E, D, T>,
    dx: Tensor<S, E, D, T>,
    f: Activation,
) -> std::result::Result<Tensor<S, E, D, T>, D::Err> {
    let slope = match f {
        Activation::Identity => return Ok(dx),
        Activation::Relu => {
            let none = dx.device().try_zeros_like(dx.shape())?.retaped::<T>();
            let (kept, tape) = x.try_gt(E::from(0.0))?.try_choose(dx, none)?.split_tape();
            return Ok(kept.put_tape(tape.merge(x.split_tape().1)));
        }
        Activation::Silu => {
            let s = x.with_empty_tape().try_sigmoid()?;
            // s + x s (1 − s)
            let rest = s.with_empty_tape().try_negate()?.try_add(E::from(1.0))?;
            s.with_empty_tape().try_add(x.try_mul(s)?.try_mul(rest)?)?
        }
        Activation::Gelu => {
            let density = x
                .with_empty_tape()
                .try_square()?
                .try_mul(E::from(-0.5))?
                .try_exp()?
                .try_mul(E::from((0.5 * std::f32::consts::FRAC_1_PI).sqrt()))?;
            normal_cdf(x.with_empty_tape())?.try_add(x.try_mul(density)?)?
        }
        Activation::Sigmoid => {
            let s = x.try_sigmoid()?;
            s.with_empty_tape().try_sub(s.try_square()?)?
        }
        Activation::Tanh => x.try_tanh()?.try_square()?.try_negate()?.try_add(E::from(1.0))?,
    };
    slope.try_mul(dx)
}

/// Φ(x), to 1.5e-7 (Abramowitz & Stegun 1964, 7.1.26).
fn normal_cdf<S: Shape, E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Tensor<S, E, D, T>,
) -> std::result::Result<Tensor<S, E, D, T>, D::Err> {
    let positive = x.try_gt(E::from(0.0))?;
    let size = x.try_abs()?.try_mul(E::from(std::f32::consts::FRAC_1_SQRT_2))?;
    let t = size
        .with_empty_tape()
        .try_mul(E::from(0.327_591_1))?
        .try_add(E::from(1.0))?
        .try_recip()?;
    let mut sum = t.with_empty_tape().try_mul(E::from(1.061_405_4))?;
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74] {
        sum = sum.try_add(E::from(c))?.try_mul(t.with_empty_tape())?;
    }
    let sum = sum.try_add(E::from(0.254_829_6))?.try_mul(t)?;
    // The half of what lies beyond |x|, on one side.
    let tail = sum
        .try_mul(size.try_square()?.try_negate()?.try_exp()?)?
        .try_mul(E::from(0.5))?;
    let rest = tail.with_empty_tape().try_negate()?.try_add(E::from(1.0))?;
    positive.try_choose(rest, tail)
}
