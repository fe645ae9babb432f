//! Compare the kernels of the processor with the composed operations: values and every gradient.

use armilla_samplers::rng::{Purpose, stream};
use dfdx::{
    shapes::HasShape,
    tensor::{Cpu, NoneTape, OwnedTape, TensorFromVec},
    tensor_ops::{Backward, SumTo, TryAdd, TryMul},
};

use super::{
    Activation, Attention, Over, activation, attention, combine,
    conv::{
        self,
        geometry::{Extent, Geometry, Padding, Sizes},
    },
    norm,
    testing::{SAME, difference, numbers},
};
use crate::{
    device::{Device, values},
    field::Values,
    parameter::Parameter,
};

type Taped = Values<Cpu, OwnedTape<f32, Cpu>>;
type Shape = (usize, usize, usize);

const FUNCTIONS: [Activation; 6] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Silu,
    Activation::Gelu,
    Activation::Sigmoid,
    Activation::Tanh,
];

fn tensor(shape: Shape, seed: u64) -> Values<Cpu> {
    Cpu::default().tensor_from_vec(numbers(shape.0 * shape.1 * shape.2, seed), shape)
}

fn parameter(shape: Vec<usize>, seed: u64) -> Parameter<Cpu> {
    let mut stream = stream(seed, Purpose::Weights, 0);
    Parameter::uniform(&Cpu::default(), shape, 1, &mut stream).unwrap()
}

/// The value, and the gradients of `Σ y · probe` in inputs and weights.
fn results<const N: usize>(
    inputs: &[Values<Cpu>; N],
    weights: &[&Parameter<Cpu>],
    f: impl Fn([Taped; N]) -> Taped,
) -> Vec<Vec<f32>> {
    let y = f(std::array::from_fn(|i| inputs[i].retaped()));
    let value = values(&y).to_vec();
    let probe = tensor(*y.shape(), 99);
    let mut gradients = y.try_mul(probe).unwrap().sum::<(), _>().backward();
    let mut all = vec![value];
    for input in inputs {
        gradients.try_alloc_for(input).unwrap();
        all.push(gradients.get(input).as_vec());
    }
    for weight in weights {
        all.push(Cpu::take_gradient(&mut gradients, &weight.values).unwrap());
    }
    all
}

/// Both forms give the same values and gradients.
fn compare<const N: usize>(
    name: &str,
    shapes: [Shape; N],
    weights: &[&Parameter<Cpu>],
    kernel: impl Fn([Taped; N]) -> Taped,
    composed: impl Fn([Taped; N]) -> Taped,
) {
    let inputs: [Values<Cpu>; N] = std::array::from_fn(|i| tensor(shapes[i], 10 + i as u64));
    let found = results(&inputs, weights, kernel);
    let expected = results(&inputs, weights, composed);
    // A gradient that vanishes in theory is rounding in both: it is compared on the scale of the value.
    let scale = expected[0].iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let own = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(scale > 0.0, "{name} is zero");
        let difference = difference(found, expected) * own / own.max(0.1 * scale);
        assert!(
            difference < SAME,
            "{name}: {difference:.1e} of scale in {}",
            match part {
                0 => "the value".to_owned(),
                i if i <= N => format!("the gradient in input {}", i - 1),
                i => format!("the gradient in weight {}", i - 1 - N),
            }
        );
    }
}

/// Among them what goes by Winograd's transforms, which were seen to lose 3e-6 (Lavin & Gray 2016, arXiv 1509.09308).
const CONVOLUTIONS: [(Extent, Extent, Extent, Extent, usize, [usize; 2]); 11] = [
    // extent, kernel, stride, reach, groups, [channels, outputs]
    ([1, 9, 13], [1, 3, 3], [1, 1, 1], [0, 1, 1], 1, [3, 5]),
    ([1, 16, 16], [1, 3, 3], [1, 1, 1], [0, 1, 1], 1, [16, 24]),
    ([1, 8, 6], [1, 3, 3], [1, 1, 1], [0, 1, 1], 2, [4, 6]),
    ([1, 8, 10], [1, 4, 4], [1, 2, 2], [0, 1, 1], 1, [5, 4]),
    ([1, 8, 10], [1, 2, 2], [1, 2, 2], [0, 0, 0], 1, [3, 4]),
    ([1, 7, 7], [1, 7, 7], [1, 1, 1], [0, 3, 3], 1, [2, 9]),
    ([3, 4, 5], [3, 3, 3], [1, 1, 1], [1, 1, 1], 1, [4, 6]),
    ([4, 4, 4], [2, 2, 2], [2, 2, 2], [0, 0, 0], 2, [4, 2]),
    ([1, 5, 6], [1, 1, 1], [1, 1, 1], [0, 0, 0], 1, [7, 9]),
    ([1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0], 1, [33, 17]),
    ([1, 1, 12], [1, 1, 3], [1, 1, 2], [0, 0, 1], 1, [2, 3]),
];

#[test]
fn convolutions_there_and_back() {
    for (input, kernel, stride, reach, groups, [channels, outputs]) in CONVOLUTIONS {
        for (padding, batch) in [(Padding::Zeros, 1), (Padding::Circular, 3)] {
            let geometry = Geometry {
                kernel,
                stride,
                reach,
                padding,
                groups,
            };
            let sizes = Sizes {
                batch,
                channels,
                outputs,
                input,
                output: geometry.output(input).unwrap(),
                geometry,
            };
            let [fine, coarse] = [input, sizes.output].map(|e| e.iter().product::<usize>());
            let weight = parameter(vec![outputs, channels / groups, geometry.taps()], 1);
            let bias = parameter(vec![outputs], 2);
            compare(
                &format!("conv {sizes:?}"),
                [(batch, channels, fine)],
                &[&weight, &bias],
                |[x]| Cpu::conv(x, &weight, Some(&bias), &sizes).unwrap(),
                |[x]| {
                    let offset = Some(bias.taped());
                    conv::composed(x, weight.taped(), offset, &sizes, &weight.kept).unwrap()
                },
            );
            let bias = parameter(vec![channels], 3);
            compare(
                &format!("transposed {sizes:?}"),
                [(batch, outputs, coarse)],
                &[&weight, &bias],
                |[x]| Cpu::conv_transposed(x, &weight, Some(&bias), &sizes).unwrap(),
                |[x]| {
                    let offset = Some(bias.taped());
                    conv::composed_transposed(x, weight.taped(), offset, &sizes, &weight.kept).unwrap()
                },
            );
        }
    }
}

#[test]
fn norms_and_their_tangents() {
    for shape @ (batch, channels, _) in [(2, 4, 9), (3, 8, 1), (1, 6, 25)] {
        let [weight, bias] = [1, 2].map(|seed| parameter(vec![channels], seed));
        for over in [Over::Group(2), Over::Group(1), Over::Layer, Over::Batch] {
            if over == Over::Batch && batch * shape.2 < 4 {
                // Three numbers with mean zero and variance one: the gradient is a difference of large numbers.
                continue;
            }
            for f in FUNCTIONS {
                compare(
                    &format!("{over:?} {f:?} {shape:?}"),
                    [shape, (batch, channels, 1)],
                    &[&weight, &bias],
                    |[x, shift]| Cpu::normalise(x, &weight, &bias, Some(shift), over, f).unwrap(),
                    |[x, shift]| {
                        norm::composed(x, weight.taped(), bias.taped(), Some(shift), over, f).unwrap()
                    },
                );
            }
            compare(
                &format!("{over:?} without shift {shape:?}"),
                [shape],
                &[&weight, &bias],
                |[x]| Cpu::normalise(x, &weight, &bias, None, over, Activation::Silu).unwrap(),
                |[x]| norm::composed(x, weight.taped(), bias.taped(), None, over, Activation::Silu).unwrap(),
            );
            compare(
                &format!("tangent of {over:?} {shape:?}"),
                [shape; 2],
                &[&weight],
                |[x, dx]| Cpu::normalise_tangent(x, dx, &weight, over).unwrap(),
                |[x, dx]| norm::composed_tangent(x, dx, weight.taped(), over).unwrap(),
            );
        }
    }
}

#[test]
fn norms_with_given_moments() {
    let shape @ (batch, channels, _) = (2, 5, 6);
    let mean = parameter(vec![channels], 1);
    let mut variance = parameter(vec![channels], 2);
    variance.set(&[0.5, 0.9, 1.0, 2.0, 7.0]);
    let [weight, bias] = [3, 4].map(|seed| parameter(vec![channels], seed));
    let by = [&mean, &variance, &weight, &bias];
    for f in FUNCTIONS {
        compare(
            &format!("rescale {f:?}"),
            [shape, (batch, channels, 1)],
            &[&weight, &bias],
            |[x, shift]| Cpu::rescale(x, by, Some(shift), f).unwrap(),
            |[x, shift]| norm::composed_rescale(x, by, Some(shift), f).unwrap(),
        );
    }
}

#[test]
fn activations_and_their_tangents() {
    // Longer than a block of any kernel, and no multiple of a vector.
    let shape = (2, 3, 1237);
    for f in FUNCTIONS {
        compare(
            &format!("{f:?}"),
            [shape],
            &[],
            |[x]| Cpu::activate(x, f).unwrap(),
            |[x]| activation::composed(x, f).unwrap(),
        );
        compare(
            &format!("tangent of {f:?}"),
            [shape; 2],
            &[],
            |[x, dx]| Cpu::activate_tangent(x, dx, f).unwrap(),
            |[x, dx]| activation::composed_tangent(x, dx, f).unwrap(),
        );
    }
}

#[test]
fn attention_and_its_tangent() {
    for kind in [Attention::Linear, Attention::Full] {
        compare(
            &format!("{kind:?}"),
            [(2, 24, 10)],
            &[],
            |[x]| Cpu::attend(x, 2, kind).unwrap(),
            |[x]| attention::composed(x, 2, kind).unwrap(),
        );
        compare(
            &format!("tangent of {kind:?}"),
            [(2, 24, 10); 2],
            &[],
            |[x, dx]| Cpu::attend_tangent(x, dx, 2, kind).unwrap(),
            |[x, dx]| attention::composed_tangent(x, dx, 2, kind).unwrap(),
        );
    }
}

#[test]
fn sums_shifts_and_concatenation() {
    let shape = (3, 4, 7001);
    compare(
        "sum",
        [shape; 2],
        &[],
        |[a, b]| Cpu::sum(a, b).unwrap(),
        |[a, b]| a.try_add(b).unwrap(),
    );
    compare(
        "shift",
        [(3, 4, 7), (3, 4, 1)],
        &[],
        |[x, rows]| Cpu::shift(x, rows).unwrap(),
        |[x, rows]| combine::shift_composed(x, rows).unwrap(),
    );
    compare(
        "concat",
        [(3, 4, 7), (3, 2, 7)],
        &[],
        |[a, b]| Cpu::concat(a, b).unwrap(),
        |[a, b]| combine::concat_composed(a, b).unwrap(),
    );
}

#[test]
fn moments_of_channels() {
    let x: Values<Cpu, NoneTape> = tensor((3, 4, 11), 1);
    let [mean, variance] = Cpu::moments(&x).unwrap();
    let [expected_mean, expected_variance] = norm::composed_moments(&x).unwrap();
    assert!(difference(&mean, &expected_mean) < SAME);
    assert!(difference(&variance, &expected_variance) < SAME);
}
