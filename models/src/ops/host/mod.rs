//! Run a map with a derivative written by hand: plain functions on lists of numbers, on the host, whatever the device.
//!
//! For maps of few operations a number that no composition expresses well: the bins of a spline, for one. On the
//! processor nothing is copied; another device copies the lists to the host and back.

use dfdx::{
    shapes::{HasShape, Rank0, Shape},
    tensor::{Gradients, OwnedTape, PutTape, SplitTape, Tape, Tensor},
    tensor_ops::{Backward, ReshapeTo, SumTo, TryAdd, TryMul},
};

use super::activation::contiguous;
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Flat, Values},
    ops::conv::geometry::Extent,
    parameter::Parameter,
};

/// A map of lists of numbers with its derivative. It gives the same bits for any number of threads.
pub trait HostMap: Send + Sync + 'static {
    /// Writes the result over `y`.
    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]);

    /// Adds to `gradients`, one list for each input, what the gradient `dy` in the result is in that input.
    fn backward(&self, inputs: &[&[f32]], dy: &[f32], gradients: &mut [Vec<f32>]);
}

/// `map` of different `fields` and of `weights`, which it sees in this order, as a field of `channels` and `extent`.
///
/// # Errors
/// `Device` where memory is short.
pub fn host<D: Device, T: Tape<f32, D>>(
    fields: Vec<Field<D, T>>,
    weights: &[&Parameter<D>],
    map: impl HostMap,
    channels: usize,
    extent: Extent,
) -> Result<Field<D, T>> {
    let Some(batch) = fields.first().map(Field::batch) else {
        return Err(ModelError::shape("host", "a map of no field"));
    };
    let shape = (batch, channels, extent.iter().product());
    let fields = fields.into_iter().map(contiguous).collect::<Result<_>>()?;
    Ok(Field::of(D::host(fields, weights, map, shape)?, extent))
}

/// Fields without their tapes, which are joined.
pub(crate) fn untaped<D: Device, T: Tape<f32, D>>(fields: Vec<Values<D, T>>) -> (Vec<Values<D>>, T) {
    let mut tape = T::default();
    let split = |x: Values<D, T>| {
        let (x, more) = x.split_tape();
        tape = std::mem::take(&mut tape).merge(more);
        x
    };
    (fields.into_iter().map(split).collect(), tape)
}

/// [`host`] by way of copies: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<D: Device, T: Tape<f32, D>>(
    fields: Vec<Values<D, T>>,
    weights: &[&Parameter<D>],
    map: impl HostMap,
    shape: (usize, usize, usize),
) -> std::result::Result<Values<D, T>, D::Err> {
    let (fields, mut tape) = untaped(fields);
    let weights: Vec<(Flat<D>, bool)> = weights.iter().map(|w| (w.values.clone(), w.learns())).collect();
    let copies = fields.iter().map(to_host);
    let lists: Vec<Vec<f32>> = copies.chain(weights.iter().map(|(w, _)| to_host(w))).collect();
    let mut y = vec![0.0; shape.0 * shape.1 * shape.2];
    map.forward(&borrowed(&lists), &mut y);
    let y = fields[0].device().try_tensor_from_vec(y, shape)?;
    if T::OWNS_TAPE {
        let ghost = y.ghost();
        tape.add_backward_op(move |gradients| {
            gradients.try_alloc_for(&ghost)?;
            let dy = to_host(&gradients.get(&ghost));
            let mut of: Vec<Vec<f32>> = lists.iter().map(|list| vec![0.0; list.len()]).collect();
            map.backward(&borrowed(&lists), &dy, &mut of);
            let of_weights = of.split_off(fields.len());
            for (field, of) in fields.iter().zip(of) {
                add(gradients, field, of)?;
            }
            for ((weight, learns), of) in weights.iter().zip(of_weights) {
                if *learns {
                    add(gradients, weight, of)?;
                }
            }
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

fn borrowed(lists: &[Vec<f32>]) -> Vec<&[f32]> {
    lists.iter().map(Vec::as_slice).collect()
}

fn to_host<S: Shape, D: Device>(tensor: &Tensor<S, f32, D>) -> Vec<f32> {
    let mut host = vec![0.0; tensor.shape().num_elements()];
    tensor.copy_into(&mut host);
    host
}

/// Adds `more` to a gradient. dfdx lets nobody write into one; but the gradient of Σ x · g in x is g, and two gradients
/// can be exchanged.
fn add<S: Shape, D: Device>(
    gradients: &mut Gradients<f32, D>,
    of: &Tensor<S, f32, D>,
    more: Vec<f32>,
) -> std::result::Result<(), D::Err> {
    gradients.try_alloc_for(of)?;
    let count = (more.len(),);
    let there = gradients.get(of).try_reshape_like(&count)?;
    let g = of.device().try_tensor_from_vec(more, count)?.try_add(there)?;
    let x = of.retaped::<OwnedTape<f32, D>>().try_reshape_like(&count)?;
    let mut made = x.try_mul(g)?.try_sum::<Rank0, _>()?.try_backward()?;
    std::mem::swap(gradients.get_or_alloc_mut(of)?, made.get_or_alloc_mut(of)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::{Cpu, Trace};

    use super::*;
    use crate::ops::testing::{SAME, difference, gradient, numbers, probe, tensor};

    /// y = a² b + w a.
    struct Bilinear;

    impl HostMap for Bilinear {
        fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
            let [a, b, w] = [0, 1, 2].map(|i| inputs[i]);
            for (i, y) in y.iter_mut().enumerate() {
                *y = a[i] * a[i] * b[i] + w[i % w.len()] * a[i];
            }
        }
        fn backward(&self, inputs: &[&[f32]], dy: &[f32], gradients: &mut [Vec<f32>]) {
            let [a, b, w] = [0, 1, 2].map(|i| inputs[i]);
            for (i, dy) in dy.iter().enumerate() {
                gradients[0][i] += dy * (2.0 * a[i] * b[i] + w[i % w.len()]);
                gradients[1][i] += dy * a[i] * a[i];
                gradients[2][i % w.len()] += dy * a[i];
            }
        }
    }

    #[test]
    fn copies_equal_the_processor_and_dfdx_with_every_gradient() {
        let device = Cpu::default();
        let (a, b) = (tensor((3, 4, 1), 1), tensor((3, 4, 1), 2));
        let w = Parameter::new(&device, vec![4], numbers(4, 3)).unwrap();
        let shape = *a.shape();
        // The first input is used twice more, before and after: gradients are added to what is there.
        let around = |y: Values<Cpu, OwnedTape<f32, Cpu>>| y.try_add(a.clone()).unwrap();
        let run = |copied: bool| {
            let fields = vec![a.leaky_trace(), b.leaky_trace()];
            let y = match copied {
                true => composed(fields, &[&w], Bilinear, shape).unwrap(),
                false => Cpu::host(fields, &[&w], Bilinear, shape).unwrap(),
            };
            probe(around(y))
        };
        let [(y, g), (y2, g2)] = [run(true), run(false)];
        let spread: Values<Cpu, OwnedTape<f32, Cpu>> = {
            use dfdx::{shapes::Axis, tensor_ops::BroadcastTo};
            let rows: Tensor<(usize, usize), f32, Cpu, _> =
                w.taped().try_broadcast_like::<_, Axis<0>>(&(3, 4)).unwrap();
            rows.try_reshape_like(&shape).unwrap()
        };
        let square = a
            .leaky_trace()
            .try_square()
            .unwrap()
            .try_mul(b.leaky_trace())
            .unwrap();
        let (y3, g3) = probe(around(
            square.try_add(spread.try_mul(a.clone()).unwrap()).unwrap(),
        ));
        for (y, g) in [(y, g), (y2, g2)] {
            assert!(difference(&y, &y3) < SAME);
            assert!(difference(&gradient(&g, &a), &gradient(&g3, &a)) < SAME);
            assert!(difference(&gradient(&g, &b), &gradient(&g3, &b)) < SAME);
            assert!(difference(&gradient(&g, &w.values), &gradient(&g3, &w.values)) < SAME);
        }
    }

    #[test]
    fn a_frozen_weight_gets_no_gradient() {
        let device = Cpu::default();
        let a = tensor((3, 4, 1), 1);
        let mut w = Parameter::new(&device, vec![4], numbers(4, 3)).unwrap();
        w.freeze(true);
        let fields = || vec![a.leaky_trace(), tensor((3, 4, 1), 2).retaped()];
        for y in [
            composed(fields(), &[&w], Bilinear, (3, 4, 1)).unwrap(),
            Cpu::host(fields(), &[&w], Bilinear, (3, 4, 1)).unwrap(),
        ] {
            let (_, mut g) = probe(y);
            g.try_alloc_for(&w.values).unwrap();
            assert!(gradient(&g, &w.values).iter().all(|v| *v == 0.0));
            assert!(gradient(&g, &a).iter().any(|v| *v != 0.0));
        }
    }
}
