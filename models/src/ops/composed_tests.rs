//! Compare the gradients of the composed operations with finite differences in double precision.

use dfdx::{
    shapes::HasShape,
    tensor::{Cpu, NoneTape, OwnedTape, Tape, Tensor, TensorFromVec, WithEmptyTape},
    tensor_ops::{Backward, SumTo, TryAdd, TryMul},
};

use super::{
    Activation, Attention, Over, activation, attention, combine,
    conv::{
        self,
        geometry::{Extent, Geometry, Padding, Sizes},
    },
    mix, modulated_silu, norm,
    pixel_shuffle::{self, Direction},
    testing::numbers,
};

type Double<T> = Tensor<(usize, usize, usize), f64, Cpu, T>;
/// Central differences of step 1e-4 in double precision; constants rounded to single precision move both sides alike.
const STEP: f64 = 1e-4;
const SAME: f64 = 1e-6;

fn tensor(shape: (usize, usize, usize), seed: u64) -> Double<NoneTape> {
    let values = numbers(shape.0 * shape.1 * shape.2, seed);
    Cpu::default().tensor_from_vec(values.into_iter().map(f64::from).collect(), shape)
}

/// Checks the gradients of `Σ f(inputs) · probe` in every input.
fn check<const N: usize>(
    name: &str,
    shapes: [(usize, usize, usize); N],
    f: impl Fn([Double<OwnedTape<f64, Cpu>>; N]) -> Double<OwnedTape<f64, Cpu>>,
) {
    let inputs: [Double<NoneTape>; N] = std::array::from_fn(|i| tensor(shapes[i], 10 + i as u64));
    let value = |inputs: &[Double<NoneTape>; N]| {
        let y = f(std::array::from_fn(|i| inputs[i].retaped()));
        let probe = tensor(*y.shape(), 99);
        y.try_mul(probe).unwrap().sum::<(), _>()
    };
    let mut gradients = value(&inputs).backward();
    for (i, input) in inputs.iter().enumerate() {
        // What the result does not depend on has no gradient.
        gradients.try_alloc_for(input).unwrap();
        let found = gradients.get(input).as_vec();
        let scale = found.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
        // An odd step meets every tap, channel and parity.
        for at in (0..found.len()).step_by((found.len() / 40) | 1) {
            let moved = |step: f64| {
                let mut all = inputs.clone();
                let mut values = input.as_vec();
                values[at] += step;
                all[i] = Cpu::default().tensor_from_vec(values, *input.shape());
                value(&all).as_vec()[0]
            };
            let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let difference = (expected - found[at]).abs() / scale;
            assert!(
                difference < SAME,
                "{name}, input {i}, number {at}: {} for {expected}",
                found[at]
            );
        }
    }
}

fn flat<T: Tape<f64, Cpu>>(x: Double<T>) -> Tensor<(usize,), f64, Cpu, T> {
    use dfdx::tensor_ops::ReshapeTo;
    let count = x.shape().0 * x.shape().1 * x.shape().2;
    x.reshape_like(&(count,))
}

const FUNCTIONS: [Activation; 6] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Silu,
    Activation::Gelu,
    Activation::Sigmoid,
    Activation::Tanh,
];

#[test]
fn activations_and_their_tangents() {
    for f in FUNCTIONS {
        let shape = (2, 3, 4);
        check(&format!("{f:?}"), [shape], |[x]| {
            activation::composed(x, f).unwrap()
        });
        check(&format!("tangent of {f:?}"), [shape; 2], |[x, dx]| {
            activation::composed_tangent(x, dx, f).unwrap()
        });
    }
}

#[test]
fn norms_and_their_tangents() {
    let shape = (2, 4, 3);
    for over in [Over::Group(2), Over::Layer, Over::Batch] {
        check(
            &format!("{over:?}"),
            [shape, (1, 4, 1), (1, 4, 1), (2, 4, 1)],
            |[x, w, b, shift]| {
                norm::composed(x, flat(w), flat(b), Some(shift), over, Activation::Silu).unwrap()
            },
        );
        check(
            &format!("tangent of {over:?}"),
            [shape, shape, (1, 4, 1)],
            |[x, dx, w]| norm::composed_tangent(x, dx, flat(w), over).unwrap(),
        );
    }
}

#[test]
fn attention_and_its_tangent() {
    let shape = (2, 12, 3);
    for kind in [Attention::Linear, Attention::Full] {
        check(&format!("{kind:?}"), [shape], |[x]| {
            attention::composed(x, 2, kind).unwrap()
        });
        check(&format!("tangent of {kind:?}"), [shape; 2], |[x, dx]| {
            attention::composed_tangent(x, dx, 2, kind).unwrap()
        });
        // Gradients of several uses add up.
        check(&format!("{kind:?} with its tangent"), [shape; 2], |[x, dx]| {
            let tangent = attention::composed_tangent(x.with_empty_tape(), dx, 2, kind).unwrap();
            tangent.try_add(attention::composed(x, 2, kind).unwrap()).unwrap()
        });
    }
}

#[test]
fn convolutions() {
    let cases: [(Extent, Extent, Extent, Extent, usize); 5] = [
        ([1, 4, 5], [1, 3, 3], [1, 1, 1], [0, 1, 1], 1),
        ([1, 4, 6], [1, 4, 4], [1, 2, 2], [0, 1, 1], 1),
        ([3, 3, 4], [3, 3, 3], [1, 1, 1], [1, 1, 1], 2),
        ([1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0], 1),
        ([1, 1, 6], [1, 1, 3], [1, 1, 2], [0, 0, 1], 1),
    ];
    for (input, kernel, stride, reach, groups) in cases {
        for padding in [Padding::Zeros, Padding::Circular] {
            let geometry = Geometry {
                kernel,
                stride,
                reach,
                padding,
                groups,
            };
            let output = geometry.output(input).unwrap();
            let (channels, outputs) = (4, 2);
            let sizes = Sizes {
                batch: 2,
                channels,
                outputs,
                input,
                output,
                geometry,
            };
            let weight = (outputs, channels / groups, geometry.taps());
            let kept = conv::Kept::default();
            let (fine, coarse): (usize, usize) = (input.iter().product(), output.iter().product());
            check(
                &format!("conv {sizes:?}"),
                [(2, channels, fine), weight, (1, outputs, 1)],
                |[x, w, b]| conv::composed(x, flat(w), Some(flat(b)), &sizes, &kept).unwrap(),
            );
            check(
                &format!("transposed {sizes:?}"),
                [(2, outputs, coarse), weight, (1, channels, 1)],
                |[x, w, b]| conv::composed_transposed(x, flat(w), Some(flat(b)), &sizes, &kept).unwrap(),
            );
            // The transposed one is the adjoint: ⟨conv x, y⟩ = ⟨x, convᵀ y⟩.
            let (x, y, w) = (
                tensor((2, channels, fine), 1),
                tensor((2, outputs, coarse), 2),
                tensor(weight, 3),
            );
            let there = conv::composed(x.clone(), flat(w.clone()), None, &sizes, &kept).unwrap();
            let back = conv::composed_transposed(y.clone(), flat(w), None, &sizes, &kept).unwrap();
            let inner =
                |a: Double<NoneTape>, b: Double<NoneTape>| a.try_mul(b).unwrap().sum::<(), _>().as_vec()[0];
            let (a, b) = (inner(there, y), inner(x, back));
            assert!((a - b).abs() < 1e-12 * (1.0 + a.abs()), "{sizes:?}: {a} {b}");
        }
    }
}

#[test]
fn shifts_and_concatenation() {
    check("shift", [(2, 3, 4), (2, 3, 1)], |[x, r]| {
        combine::shift_composed(x, r).unwrap()
    });
    check("concat", [(2, 3, 4), (2, 1, 4)], |[a, b]| {
        combine::concat_composed(a, b).unwrap()
    });
}

#[test]
fn resampling_and_pooling_by_kernel_and_composed() {
    use super::{Resample, resample, testing};
    use crate::device::Device;
    const SAME: f32 = 1e-6;
    let extent = [2, 3, 4];
    let maps = [
        Resample::nearest_up(extent, [1, 2, 3]),
        Resample::linear_up(extent, [2, 2, 2]),
        Resample::average_pool(extent, [2, 1, 2]),
    ];
    let x = testing::tensor((2, 3, 24), 1);
    type Taped = Tensor<(usize, usize, usize), f32, Cpu, OwnedTape<f32, Cpu>>;
    let both = |kernel: &dyn Fn(Taped) -> Taped, composed: &dyn Fn(Taped) -> Taped, name: &str| {
        let run = |f: &dyn Fn(Taped) -> Taped| {
            let y = f(x.retaped());
            let probe = testing::tensor(*y.shape(), 2);
            (
                y.as_vec(),
                y.try_mul(probe)
                    .unwrap()
                    .sum::<(), _>()
                    .backward()
                    .get(&x)
                    .as_vec(),
            )
        };
        let ((y, dx), (y2, dx2)) = (run(kernel), run(composed));
        assert!(testing::difference(&y, &y2) < SAME, "{name}");
        assert!(testing::difference(&dx, &dx2) < SAME, "{name}, backward");
    };
    for map in maps.map(|m| m.unwrap()) {
        both(
            &|x| Cpu::resample(x, &map).unwrap(),
            &|x| resample::composed(x, &map).unwrap(),
            &format!("{map:?}"),
        );
    }
    let chosen: Vec<u32> = (0..6 * 5).map(|i| (i * 7 % 24) as u32).collect();
    both(
        &|x| Cpu::pick(x, chosen.clone(), 5).unwrap(),
        &|x| resample::composed_pick(x, &chosen, 5).unwrap(),
        "pick",
    );
}

#[test]
fn modulation_and_its_tangent() {
    let (field, rows) = ((2, 3, 4), (2, 6, 1));
    check("modulated silu", [field, rows], |[x, r]| {
        modulated_silu::composed(x, r).unwrap()
    });
    check(
        "tangent of modulated silu",
        [field, field, rows, rows],
        |[x, dx, r, dr]| modulated_silu::composed_tangent([x, dx], [r, dr]).unwrap(),
    );
}

#[test]
fn mixtures_and_shuffles() {
    check("mix", [(2, 3, 4), (2, 3, 1)], |[x, w]| {
        mix::composed(x, w).unwrap()
    });
    check("down", [(2, 2, 8)], |[x]| {
        pixel_shuffle::composed(x, [1, 2, 4], Direction::Down).unwrap()
    });
    check("up", [(2, 4, 6)], |[x]| {
        pixel_shuffle::composed(x, [1, 2, 3], Direction::Up).unwrap()
    });
}
