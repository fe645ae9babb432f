//! Record convolutions.

use dfdx::tensor::{Cpu, SplitTape, Tape};

use super::{onto, record, zeros};
use crate::{
    device::{values, values_mut},
    error::Result,
    field::Values,
    ops::{
        combine::cpu::plus,
        conv::{
            Arithmetic,
            cpu::{self, How},
            geometry::Sizes,
        },
        shared::with_scratch,
    },
    parameter::Parameter,
};

/// How a weight is to be used.
fn how<T: Tape<f32, Cpu>>(weight: &Parameter<Cpu>) -> How<'_> {
    How {
        arithmetic: match weight.arithmetic {
            // Gradients are those of what was computed.
            Arithmetic::Reduced if T::OWNS_TAPE => Arithmetic::Full,
            other => other,
        },
        // A weight that learns changes before it is used again.
        keep: (!T::OWNS_TAPE && !weight.learns()).then_some(&weight.packed),
    }
}

/// The convolution of `sizes`, or with `transposed` its adjoint.
pub(super) fn convolve<T: Tape<f32, Cpu>>(
    x: Values<Cpu, T>,
    weight: &Parameter<Cpu>,
    bias: Option<&Parameter<Cpu>>,
    sizes: Sizes,
    transposed: bool,
) -> Result<Values<Cpu, T>> {
    let (x, tape) = x.split_tape();
    let (channels, extent) = match transposed {
        false => (sizes.outputs, sizes.output),
        true => (sizes.channels, sizes.input),
    };
    let mut y = zeros(
        x.device(),
        (sizes.batch, channels, extent.iter().product::<usize>()),
    )?;
    let (from, to, how) = (values(&x), values_mut(&mut y), how::<T>(weight));
    let (w, offset) = (values(&weight.values), bias.map(|b| values(&b.values)));
    match transposed {
        false => cpu::forward(from, w, offset, &sizes, how, to),
        true => cpu::backward_input(from, w, offset, &sizes, how, to, false),
    }
    let (how, learns, weight) = (how.unkept(), weight.learns(), weight.values.clone());
    let bias = bias.filter(|b| b.learns()).map(|b| b.values.clone());
    record(tape, y, move |gradients, dy| {
        if let Some(bias) = &bias {
            onto(gradients, bias, |d| cpu::backward_bias(dy, sizes.batch, d))?;
        }
        if learns {
            // What goes into the adjoint is what the convolution gives out.
            let (fine, coarse) = match transposed {
                false => (values(&x), dy),
                true => (dy, values(&x)),
            };
            onto(gradients, &weight, |d| {
                cpu::backward_weight(fine, coarse, &sizes, how.arithmetic, d)
            })?;
        }
        if transposed {
            return with_scratch(values(&x).len(), |of_x| {
                cpu::forward(dy, values(&weight), None, &sizes, how, of_x);
                onto(gradients, &x, |dx| plus(dx, of_x))
            });
        }
        onto(gradients, &x, |dx| {
            cpu::backward_input(dy, values(&weight), None, &sizes, how, dx, true);
        })
    })
}
