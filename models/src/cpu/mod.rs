//! Run the operations on the processor: kernels on slices, recorded on dfdx's tape.

mod conv;
mod norm;

use dfdx::{
    shapes::{HasShape, Shape},
    tensor::{Cpu, CpuError, Gradients, PutTape, SplitTape, Tape, Tensor, TensorFromVec},
};

use crate::{
    device::{Device, values, values_mut},
    error::{ModelError, Result},
    field::{Flat, Values},
    ops::{
        Activation, Attention, Direction, HostMap, Over, Resample, activation,
        attention::{self, Heads},
        combine::{self, cpu::plus},
        conv::{
            Arithmetic,
            geometry::{Extent, Sizes},
        },
        host::untaped,
        mix, modulated_silu,
        norm::moments,
        pixel_shuffle, resample, shared, take_gradient,
    },
    parameter::Parameter,
};

type Grads = Gradients<f32, Cpu>;

/// Records how the gradient of `y` goes back; nothing is kept where no tape is.
fn record<S: Shape, T: Tape<f32, Cpu>>(
    tape: T,
    y: Tensor<S, f32, Cpu>,
    back: impl FnOnce(&mut Grads, &[f32]) -> std::result::Result<(), CpuError> + 'static,
) -> Result<Tensor<S, f32, Cpu, T>> {
    let mut tape = tape;
    if T::OWNS_TAPE {
        let ghost = y.ghost();
        tape.add_backward_op(move |gradients| {
            let dy = take_gradient!(gradients, &ghost);
            back(gradients, &dy)
        });
    }
    Ok(y.put_tape(tape))
}

/// Zeros, to be filled. An allocator that keeps freed memory, as that of the program does, spares a quarter of a training
/// step: the system clears new memory page by page. dfdx's own cache is off unless it is enabled, and nothing here does.
fn zeros<S: Shape>(device: &Cpu, shape: S) -> Result<Tensor<S, f32, Cpu>> {
    let numbers =
        shared::zeros(shape.num_elements()).ok_or_else(|| ModelError::device(CpuError::OutOfMemory))?;
    device
        .try_tensor_from_vec(numbers, shape)
        .map_err(ModelError::device)
}

/// Lends the gradient of a tensor to what adds to it.
fn onto<S: Shape>(
    gradients: &mut Grads,
    of: &Tensor<S, f32, Cpu>,
    add: impl FnOnce(&mut [f32]),
) -> std::result::Result<(), CpuError> {
    add(gradients.get_or_alloc_mut(of)?);
    Ok(())
}

/// Lends the gradients of two tensors, which may be the same one.
fn onto_both<S: Shape>(
    gradients: &mut Grads,
    [a, b]: [&Tensor<S, f32, Cpu>; 2],
    add: impl FnOnce(&mut [f32], &mut [f32]),
) -> std::result::Result<(), CpuError> {
    let mut of_a = take_gradient!(gradients, a);
    let of_b = gradients.get_or_alloc_mut(b)?;
    if of_b.is_empty() && !of_a.is_empty() {
        // One tensor in both places: its gradient was just taken.
        let mut other = vec![0.0; of_a.len()];
        add(&mut of_a, &mut other);
        plus(&mut of_a, &other);
    } else {
        add(&mut of_a, of_b);
    }
    **gradients.get_or_alloc_mut(a)? = of_a;
    Ok(())
}

/// The numbers of fields and weights.
fn lists<'a>(fields: &'a [Values<Cpu>], weights: &'a [(Flat<Cpu>, bool)]) -> Vec<&'a [f32]> {
    let fields = fields.iter().map(values);
    fields.chain(weights.iter().map(|(w, _)| values(w))).collect()
}

impl Device for Cpu {
    fn host<T: Tape<f32, Self>>(
        fields: Vec<Values<Self, T>>,
        weights: &[&Parameter<Self>],
        map: impl HostMap,
        shape: (usize, usize, usize),
    ) -> Result<Values<Self, T>> {
        let (fields, tape) = untaped(fields);
        let weights: Vec<_> = weights.iter().map(|w| (w.values.clone(), w.learns())).collect();
        let mut y = zeros(&Cpu::default(), shape)?;
        map.forward(&lists(&fields, &weights), values_mut(&mut y));
        record(tape, y, move |gradients, dy| {
            let mut of = Vec::new();
            for field in &fields {
                of.push(take_gradient!(gradients, field));
            }
            for (weight, learns) in &weights {
                of.push(match learns {
                    true => take_gradient!(gradients, weight),
                    false => vec![0.0; values(weight).len()],
                });
            }
            map.backward(&lists(&fields, &weights), dy, &mut of);
            let of_weights = of.split_off(fields.len());
            for (field, of) in fields.iter().zip(of) {
                **gradients.get_or_alloc_mut(field)? = of;
            }
            for ((weight, learns), of) in weights.iter().zip(of_weights) {
                if *learns {
                    **gradients.get_or_alloc_mut(weight)? = of;
                }
            }
            Ok(())
        })
    }

    fn conv<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        weight: &Parameter<Self>,
        bias: Option<&Parameter<Self>>,
        sizes: &Sizes,
    ) -> Result<Values<Self, T>> {
        conv::convolve(x, weight, bias, *sizes, false)
    }

    fn conv_transposed<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        weight: &Parameter<Self>,
        bias: Option<&Parameter<Self>>,
        sizes: &Sizes,
    ) -> Result<Values<Self, T>> {
        conv::convolve(x, weight, bias, *sizes, true)
    }

    fn arithmetic(wanted: Arithmetic) -> Arithmetic {
        wanted.available()
    }

    fn activate<T: Tape<f32, Self>>(x: Values<Self, T>, f: Activation) -> Result<Values<Self, T>> {
        let (x, tape) = x.split_tape();
        let mut y = zeros(x.device(), *x.shape())?;
        activation::cpu::value(values(&x), f, values_mut(&mut y));
        record(tape, y, move |gradients, dy| {
            onto(gradients, &x, |dx| {
                activation::cpu::backward(values(&x), dy, f, dx)
            })
        })
    }

    fn activate_tangent<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        dx: Values<Self, T>,
        f: Activation,
    ) -> Result<Values<Self, T>> {
        let (x, tape) = x.split_tape();
        let (t, more) = dx.split_tape();
        let mut y = zeros(x.device(), *x.shape())?;
        activation::cpu::tangent(values(&x), values(&t), f, values_mut(&mut y));
        record(tape.merge(more), y, move |gradients, g| {
            onto_both(gradients, [&x, &t], |dx, dt| {
                activation::cpu::tangent_backward(values(&x), values(&t), g, f, dx, dt);
            })
        })
    }

    fn normalise<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        weight: &Parameter<Self>,
        bias: &Parameter<Self>,
        shift: Option<Values<Self, T>>,
        over: Over,
        f: Activation,
    ) -> Result<Values<Self, T>> {
        norm::normalised(x, [weight, bias], shift, over, f, None)
    }

    fn rescale<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        [mean, variance, weight, bias]: [&Parameter<Self>; 4],
        shift: Option<Values<Self, T>>,
        f: Activation,
    ) -> Result<Values<Self, T>> {
        let given = [mean.to_vec(), variance.to_vec()];
        norm::normalised(x, [weight, bias], shift, Over::Given, f, Some(given))
    }

    fn normalise_tangent<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        dx: Values<Self, T>,
        weight: &Parameter<Self>,
        over: Over,
    ) -> Result<Values<Self, T>> {
        norm::tangent(x, dx, weight, over)
    }

    fn attend<T: Tape<f32, Self>>(
        qkv: Values<Self, T>,
        heads: usize,
        kind: Attention,
    ) -> Result<Values<Self, T>> {
        let (qkv, tape) = qkv.split_tape();
        let (batch, channels, positions) = *qkv.shape();
        let sizes = Heads {
            batch,
            heads,
            dim: channels / 3 / heads,
            positions,
        };
        let mut y = zeros(qkv.device(), (batch, channels / 3, positions))?;
        attention::cpu::forward(kind, sizes, values(&qkv), values_mut(&mut y));
        record(tape, y, move |gradients, dy| {
            onto(gradients, &qkv, |d| {
                attention::cpu::backward(kind, sizes, values(&qkv), dy, d)
            })
        })
    }

    fn resample<T: Tape<f32, Self>>(x: Values<Self, T>, map: &Resample) -> Result<Values<Self, T>> {
        let (x, tape) = x.split_tape();
        let shape = (x.shape().0, x.shape().1, map.output.iter().product::<usize>());
        let mut y = zeros(x.device(), shape)?;
        resample::cpu::forward(map, values(&x), values_mut(&mut y));
        let (x, map) = (x.ghost(), map.clone());
        record(tape, y, move |gradients, dy| {
            resample::cpu::transpose(&map, dy, gradients.get_or_alloc_mut(&x)?);
            Ok(())
        })
    }

    fn pick<T: Tape<f32, Self>>(x: Values<Self, T>, chosen: Vec<u32>, to: usize) -> Result<Values<Self, T>> {
        let (x, tape) = x.split_tape();
        let (batch, channels, positions) = *x.shape();
        let mut y = zeros(x.device(), (batch, channels, to))?;
        resample::cpu::gather(values(&x), &chosen, [positions, to], values_mut(&mut y));
        let x = x.ghost();
        record(tape, y, move |gradients, dy| {
            let dx = gradients.get_or_alloc_mut(&x)?;
            resample::cpu::scatter(dy, &chosen, [positions, to], dx);
            Ok(())
        })
    }

    fn sum<T: Tape<f32, Self>>(a: Values<Self, T>, b: Values<Self, T>) -> Result<Values<Self, T>> {
        let (a, tape) = a.split_tape();
        let (b, more) = b.split_tape();
        let mut y = zeros(a.device(), *a.shape())?;
        combine::cpu::sum(values(&a), values(&b), values_mut(&mut y));
        // Gradients are looked up by name alone: the numbers need not be kept.
        let (a, b) = (a.ghost(), b.ghost());
        record(tape.merge(more), y, move |gradients, dy| {
            plus(gradients.get_or_alloc_mut(&a)?, dy);
            plus(gradients.get_or_alloc_mut(&b)?, dy);
            Ok(())
        })
    }

    fn concat<T: Tape<f32, Self>>(a: Values<Self, T>, b: Values<Self, T>) -> Result<Values<Self, T>> {
        let (a, tape) = a.split_tape();
        let (b, more) = b.split_tape();
        let (batch, channels, positions) = *a.shape();
        let all = channels + b.shape().1;
        let [of_a, of_all] = [channels, all].map(|channels| channels * positions);
        let mut y = zeros(a.device(), (batch, all, positions))?;
        combine::cpu::concat(values(&a), values(&b), [of_a, of_all - of_a], values_mut(&mut y));
        let (a, b) = (a.ghost(), b.ghost());
        record(tape.merge(more), y, move |gradients, dy| {
            combine::cpu::plus_part(gradients.get_or_alloc_mut(&a)?, dy, of_all, 0);
            combine::cpu::plus_part(gradients.get_or_alloc_mut(&b)?, dy, of_all, of_a);
            Ok(())
        })
    }

    fn modulated_silu<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        scale_shift: Values<Self, T>,
    ) -> Result<Values<Self, T>> {
        let (x, tape) = x.split_tape();
        let (rows, more) = scale_shift.split_tape();
        let (_, channels, positions) = *x.shape();
        let mut y = zeros(x.device(), *x.shape())?;
        modulated_silu::cpu::forward(values(&x), values(&rows), channels, positions, values_mut(&mut y));
        record(tape.merge(more), y, move |gradients, dy| {
            let mut of_rows = Vec::new();
            onto(gradients, &x, |dx| {
                let at = (values(&x), values(&rows));
                of_rows = modulated_silu::cpu::backward(at, dy, channels, positions, dx);
            })?;
            onto(gradients, &rows, |d| plus(d, &of_rows))
        })
    }

    fn pixel_shuffle<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        extent: Extent,
        direction: Direction,
    ) -> Result<Values<Self, T>> {
        let (x, tape) = x.split_tape();
        let (batch, channels, positions) = *x.shape();
        let [channels, positions] = direction.sizes(channels, positions);
        let fine = direction.fine(extent);
        let mut y = zeros(x.device(), (batch, channels, positions))?;
        pixel_shuffle::cpu::shuffle(
            values(&x),
            fine,
            direction,
            |to, from| *to = from,
            values_mut(&mut y),
        );
        let x = x.ghost();
        record(tape, y, move |gradients, dy| {
            let dx = gradients.get_or_alloc_mut(&x)?;
            pixel_shuffle::cpu::shuffle(dy, fine, direction.inverse(), |to, from| *to += from, dx);
            Ok(())
        })
    }

    fn mix<T: Tape<f32, Self>>(x: Values<Self, T>, weights: Values<Self, T>) -> Result<Values<Self, T>> {
        let (x, tape) = x.split_tape();
        let (weights, more) = weights.split_tape();
        let (batch, channels, positions) = *x.shape();
        let mut y = zeros(x.device(), (batch, 1, positions))?;
        mix::cpu::forward(
            values(&x),
            values(&weights),
            channels,
            positions,
            values_mut(&mut y),
        );
        record(tape.merge(more), y, move |gradients, dy| {
            onto_both(gradients, [&x, &weights], |dx, dw| {
                mix::cpu::backward((values(&x), values(&weights)), dy, channels, (dx, dw));
            })
        })
    }

    fn moments<T>(x: &Values<Self, T>) -> Result<[Vec<f32>; 2]> {
        Ok(moments(values(x), x.shape().1, x.shape().2))
    }
}
