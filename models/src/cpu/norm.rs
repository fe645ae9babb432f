//! Record norms and their tangents.

use dfdx::{
    shapes::HasShape,
    tensor::{Cpu, SplitTape, Tape},
};

use super::{onto, onto_both, record, zeros};
use crate::{
    device::{values, values_mut},
    error::Result,
    field::Values,
    ops::{
        Activation, Over,
        combine::cpu::plus,
        norm::{self, EPSILON, Norm},
    },
    parameter::Parameter,
};

fn kernel<'a>(over: Over, x: &Values<Cpu>, f: Activation, weight: &'a [f32], bias: &'a [f32]) -> Norm<'a> {
    let (batch, channels, positions) = *x.shape();
    Norm {
        over,
        shape: [batch, channels, positions],
        epsilon: EPSILON,
        activation: f,
        weight,
        bias,
    }
}

/// A norm, fused with what follows it: `given` holds mean and variance where they are known.
pub(super) fn normalised<T: Tape<f32, Cpu>>(
    x: Values<Cpu, T>,
    [weight, bias]: [&Parameter<Cpu>; 2],
    shift: Option<Values<Cpu, T>>,
    over: Over,
    f: Activation,
    given: Option<[Vec<f32>; 2]>,
) -> Result<Values<Cpu, T>> {
    let (x, mut tape) = x.split_tape();
    let shift = shift.map(|shift| {
        let (shift, more) = shift.split_tape();
        tape = std::mem::take(&mut tape).merge(more);
        shift
    });
    let (weight, bias, learns) = (weight.values.clone(), bias.values.clone(), weight.learns());
    let norm = kernel(over, &x, f, values(&weight), values(&bias));
    let [mut mean, mut variance] = given.unwrap_or_else(|| [vec![0.0; norm.sets()], vec![0.0; norm.sets()]]);
    let mut y = zeros(x.device(), *x.shape())?;
    norm::cpu::forward(
        &norm,
        values(&x),
        shift.as_ref().map(values),
        &mut mean,
        &mut variance,
        values_mut(&mut y),
    );
    record(tape, y, move |gradients, dy| {
        let norm = kernel(over, &x, f, values(&weight), values(&bias));
        let mut of_weight = vec![0.0; norm.weight.len()];
        let mut of_bias = vec![0.0; norm.bias.len()];
        let mut of_shift = shift.as_ref().map(|s| vec![0.0; values(s).len()]);
        onto(gradients, &x, |dx| {
            let moments = (mean.as_slice(), variance.as_slice());
            let learnt = (of_weight.as_mut_slice(), of_bias.as_mut_slice());
            norm::cpu::backward(
                &norm,
                values(&x),
                moments,
                dy,
                dx,
                learnt,
                of_shift.as_deref_mut(),
            );
        })?;
        if let Some((shift, of_shift)) = shift.as_ref().zip(of_shift) {
            onto(gradients, shift, |d| plus(d, &of_shift))?;
        }
        if learns {
            onto(gradients, &weight, |d| plus(d, &of_weight))?;
            onto(gradients, &bias, |d| plus(d, &of_bias))?;
        }
        Ok(())
    })
}

/// The tangent of a norm.
pub(super) fn tangent<T: Tape<f32, Cpu>>(
    x: Values<Cpu, T>,
    dx: Values<Cpu, T>,
    weight: &Parameter<Cpu>,
    over: Over,
) -> Result<Values<Cpu, T>> {
    let (x, tape) = x.split_tape();
    let (t, more) = dx.split_tape();
    let (weight, learns) = (weight.values.clone(), weight.learns());
    // A tangent does not see the bias; the kernel wants one.
    let norm = kernel(over, &x, Activation::Identity, values(&weight), values(&weight));
    let (mut mean, mut variance) = (vec![0.0; norm.sets()], vec![0.0; norm.sets()]);
    let mut y = zeros(x.device(), *x.shape())?;
    norm::cpu::forward(
        &norm,
        values(&x),
        None,
        &mut mean,
        &mut variance,
        values_mut(&mut y),
    );
    norm::cpu::tangent(
        &norm,
        values(&x),
        values(&t),
        (&mean, &variance),
        values_mut(&mut y),
    );
    record(tape.merge(more), y, move |gradients, g| {
        let norm = kernel(over, &x, Activation::Identity, values(&weight), values(&weight));
        let mut of_weight = vec![0.0; norm.weight.len()];
        onto_both(gradients, [&x, &t], |dx, dt| {
            let moments = (mean.as_slice(), variance.as_slice());
            let (x, t) = (values(&x), values(&t));
            norm::cpu::tangent_backward(&norm, x, t, moments, g, (dx, dt), &mut of_weight);
        })?;
        if learns {
            onto(gradients, &weight, |d| plus(d, &of_weight))?;
        }
        Ok(())
    })
}
