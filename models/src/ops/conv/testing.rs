//! Convolutions of every kind, and their sums in f64.

use super::{
    Arithmetic,
    cpu::{How, backward_input, backward_weight, forward},
    geometry::{Geometry, Padding, Sizes},
};
use crate::ops::testing::numbers;

/// Every product of a convolution, as a place in the input, the weights and the output.
fn each_product(sizes: &Sizes, mut visit: impl FnMut(usize, usize, usize)) {
    let g = &sizes.geometry;
    let (channels, outputs) = (sizes.channels / g.groups, sizes.outputs / g.groups);
    let [kd, kh, kw] = g.kernel;
    let [od, oh, ow] = sizes.output;
    let met = |a: usize, q: usize, t: usize| {
        let at = (q * g.stride[a] + t) as isize - g.reach[a] as isize;
        let extent = sizes.input[a] as isize;
        match g.padding {
            Padding::Circular => Some(at.rem_euclid(extent) as usize),
            Padding::Zeros => (0..extent).contains(&at).then_some(at as usize),
        }
    };
    for b in 0..sizes.batch {
        for o in 0..sizes.outputs {
            for q in 0..od * oh * ow {
                for t in 0..kd * kh * kw {
                    let (Some(d), Some(h), Some(w)) = (
                        met(0, q / (oh * ow), t / (kh * kw)),
                        met(1, q / ow % oh, t / kw % kh),
                        met(2, q % ow, t % kw),
                    ) else {
                        continue;
                    };
                    for c in 0..channels {
                        let channel = b * sizes.channels + o / outputs * channels + c;
                        visit(
                            ((channel * sizes.input[0] + d) * sizes.input[1] + h) * sizes.input[2] + w,
                            (o * channels + c) * kd * kh * kw + t,
                            (b * sizes.outputs + o) * od * oh * ow + q,
                        );
                    }
                }
            }
        }
    }
}

pub(super) struct Case {
    pub sizes: Sizes,
    pub x: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub dy: Vec<f32>,
    pub arithmetic: Arithmetic,
}

impl Case {
    pub fn new(batch: usize, channels: usize, outputs: usize, input: [usize; 3], geometry: Geometry) -> Self {
        let output = geometry.output(input).unwrap();
        let sizes = Sizes {
            batch,
            channels,
            outputs,
            input,
            output,
            geometry,
        };
        let volume = |e: [usize; 3]| e.iter().product::<usize>();
        Self {
            sizes,
            x: normal(batch * channels * volume(input), 1),
            weight: normal(outputs * channels / geometry.groups * geometry.taps(), 2),
            bias: normal(outputs.max(channels), 3),
            dy: normal(batch * outputs * volume(output), 4),
            arithmetic: Arithmetic::Full,
        }
    }

    pub fn how(&self) -> How<'static> {
        How {
            arithmetic: self.arithmetic,
            keep: None,
        }
    }
    pub fn forward(&self) -> Vec<f32> {
        let mut y = vec![f32::NAN; self.dy.len()];
        forward(
            &self.x,
            &self.weight,
            Some(&self.bias[..self.sizes.outputs]),
            &self.sizes,
            self.how(),
            &mut y,
        );
        y
    }
    pub fn backward_input(&self, add: bool) -> Vec<f32> {
        let mut dx = vec![if add { 1.0 } else { f32::NAN }; self.x.len()];
        let bias = &self.bias[..self.sizes.channels];
        backward_input(
            &self.dy,
            &self.weight,
            Some(bias),
            &self.sizes,
            self.how(),
            &mut dx,
            add,
        );
        dx
    }
    pub fn backward_weight(&self) -> Vec<f32> {
        let mut dw = vec![1.0; self.weight.len()];
        backward_weight(&self.x, &self.dy, &self.sizes, self.arithmetic, &mut dw);
        dw
    }

    /// Outputs, and the gradients of inputs and of weights (onto ones), in f64.
    fn sums(&self) -> [Vec<f64>; 3] {
        let (s, bias) = (&self.sizes, |i: usize| f64::from(self.bias[i]));
        let (outputs, channels) = (
            self.dy.len() / s.batch / s.outputs,
            self.x.len() / s.batch / s.channels,
        );
        let mut y: Vec<f64> = (0..self.dy.len())
            .map(|i| bias(i / outputs % s.outputs))
            .collect();
        let mut dx: Vec<f64> = (0..self.x.len())
            .map(|i| bias(i / channels % s.channels))
            .collect();
        let mut dw = vec![1.0; self.weight.len()];
        each_product(s, |i, w, o| {
            let [x, weight, dy] = [self.x[i], self.weight[w], self.dy[o]].map(f64::from);
            y[o] += weight * x;
            dx[i] += weight * dy;
            dw[w] += x * dy;
        });
        [y, dx, dw]
    }

    /// Largest error over scale of outputs, and of the gradient of inputs, alone and added to ones.
    pub fn errors_of(&self, y: &[f32], over: &[f32], added: &[f32]) -> f64 {
        let [exact_y, exact_dx, _] = self.sums();
        let added: Vec<f32> = added.iter().map(|v| v - 1.0).collect();
        let back = error(over, &exact_dx).max(error(&added, &exact_dx));
        error(y, &exact_y).max(back)
    }

    /// Largest errors over scale of the three directions, against sums in f64.
    pub fn errors(&self) -> [f64; 3] {
        let [y, dx, dw] = self.sums();
        let added: Vec<f32> = self.backward_input(true).iter().map(|v| v - 1.0).collect();
        let over = self.backward_input(false);
        [
            error(&self.forward(), &y),
            error(&over, &dx).max(error(&added, &dx)),
            error(&self.backward_weight(), &dw),
        ]
    }
}

/// Normal numbers.
pub(super) fn normal(count: usize, seed: u64) -> Vec<f32> {
    let uniform = numbers(2 * count, seed);
    let (pairs, _) = uniform.as_chunks::<2>();
    let normal = |[a, b]: &[f32; 2]| {
        let radius = (-2.0 * (0.5 * (1.0 + a)).max(1e-12).ln()).sqrt();
        radius * (std::f32::consts::PI * b).cos()
    };
    pairs.iter().map(normal).collect()
}

pub(super) fn error(value: &[f32], exact: &[f64]) -> f64 {
    let scale = exact.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
    let worst = |m: f64, (a, b): (&f32, &f64)| {
        let d = (f64::from(*a) - b).abs();
        if d.is_nan() { f64::INFINITY } else { m.max(d) }
    };
    value.iter().zip(exact).fold(0.0, worst) / scale
}

pub(super) fn geometry(
    kernel: [usize; 3],
    stride: [usize; 3],
    reach: [usize; 3],
    padding: Padding,
    groups: usize,
) -> Geometry {
    Geometry {
        kernel,
        stride,
        reach,
        padding,
        groups,
    }
}

/// All kinds of walks, on small fields.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(3, 5, 7, [1, 1, 1], Geometry::pointwise()),
        Case::new(2, 20, 13, [1, 5, 7], Geometry::pointwise()),
        Case::new(1, 3, 4, [2, 3, 5], Geometry::pointwise()),
    ];
    for padding in [Padding::Circular, Padding::Zeros] {
        let g = |kernel, stride, reach, groups| geometry(kernel, stride, reach, padding, groups);
        let plane = |k: usize, s: usize, r: usize, groups| g([1, k, k], [1, s, s], [0, r, r], groups);
        for (batch, c, o, h, w, shape) in [
            (1, 1, 1, 3, 3, plane(3, 1, 1, 1)),
            (2, 17, 6, 5, 7, plane(3, 1, 1, 1)),
            (3, 1, 9, 6, 20, plane(3, 1, 1, 1)),
            (2, 9, 2, 7, 18, plane(5, 1, 1, 1)),
            (1, 2, 8, 7, 18, plane(5, 1, 1, 1)),
            (2, 8, 3, 4, 3, plane(3, 1, 2, 1)),
            (1, 8, 9, 19, 18, plane(3, 1, 1, 1)),
            (3, 4, 16, 8, 8, plane(3, 1, 1, 1)),
            (2, 3, 5, 9, 6, plane(3, 1, 0, 1)),
            (2, 3, 5, 9, 33, plane(3, 1, 2, 1)),
            (1, 2, 3, 4, 5, plane(5, 1, 2, 1)),
            (2, 3, 2, 7, 9, plane(7, 1, 3, 1)),
            (2, 5, 4, 8, 12, plane(4, 2, 1, 1)),
            (1, 3, 4, 36, 40, plane(4, 2, 1, 1)),
            (1, 5, 4, 7, 9, plane(4, 2, 1, 1)),
            (2, 3, 7, 9, 11, plane(3, 2, 1, 1)),
            (1, 3, 7, 8, 10, plane(2, 2, 0, 1)),
            (1, 3, 2, 9, 10, plane(1, 3, 0, 1)),
            (2, 3, 2, 11, 10, plane(5, 3, 2, 1)),
            (2, 6, 4, 6, 5, plane(3, 1, 1, 2)),
            (2, 5, 5, 6, 37, plane(3, 1, 1, 5)),
            (1, 4, 8, 8, 10, plane(4, 2, 1, 4)),
        ] {
            cases.push(Case::new(batch, c, o, [1, h, w], shape));
        }
        cases.push(Case::new(
            1,
            4,
            3,
            [3, 5, 6],
            g([3, 3, 3], [1, 1, 1], [1, 1, 1], 1),
        ));
        cases.push(Case::new(
            2,
            17,
            8,
            [4, 8, 8],
            g([3, 3, 3], [1, 1, 1], [1, 1, 1], 1),
        ));
        cases.push(Case::new(
            2,
            2,
            3,
            [5, 4, 6],
            g([2, 4, 3], [1, 2, 3], [1, 1, 0], 1),
        ));
        cases.push(Case::new(
            1,
            4,
            4,
            [4, 4, 4],
            g([4, 4, 4], [2, 2, 2], [1, 1, 1], 2),
        ));
        // Every second line, of which there is only one.
        cases.push(Case::new(
            1,
            9,
            8,
            [1, 1, 12],
            g([1, 1, 3], [1, 2, 1], [0, 0, 1], 1),
        ));
        cases.push(Case::new(
            2,
            3,
            3,
            [1, 1, 21],
            g([1, 1, 3], [1, 1, 1], [0, 0, 1], 1),
        ));
    }
    for padding in [Padding::Circular, Padding::Zeros] {
        for (batch, c, o, [h, w], reach) in [
            (1, 8, 8, [8, 8], 1),
            (2, 9, 13, [7, 9], 1),
            (3, 16, 8, [16, 33], 1),
            (1, 8, 10, [3, 70], 1),
            (5, 20, 8, [10, 6], 1),
            (2, 8, 9, [9, 12], 0),
            (2, 9, 8, [9, 12], 2),
            (1, 70, 66, [12, 12], 1),
            (1, 180, 170, [3, 3], 1),
            (2, 8, 8, [64, 64], 1),
        ] {
            let g = geometry([1, 3, 3], [1; 3], [0, reach, reach], padding, 1);
            cases.push(Case::new(batch, c, o, [1, h, w], g));
        }
        for (batch, c, o, extent, kernel, stride, reach) in [
            (1, 8, 8, [1, 12, 12], [1, 4, 4], [1, 2, 2], [0, 1, 1]),
            (2, 9, 13, [1, 16, 32], [1, 4, 4], [1, 2, 2], [0, 1, 1]),
            (1, 20, 8, [1, 9, 23], [1, 4, 4], [1, 2, 2], [0, 1, 1]),
            (2, 8, 10, [1, 14, 40], [1, 4, 4], [1, 2, 2], [0, 0, 2]),
            (1, 8, 9, [1, 18, 17], [1, 4, 2], [1, 2, 1], [0, 1, 0]),
            (2, 9, 8, [1, 7, 9], [1, 2, 2], [1, 1, 1], [0, 1, 0]),
            (1, 70, 66, [1, 16, 16], [1, 4, 4], [1, 2, 2], [0, 1, 1]),
            (1, 110, 110, [1, 28, 28], [1, 4, 4], [1, 2, 2], [0, 1, 1]),
            // Enough channels for tiles forward as well, and odd sizes.
            (2, 64, 65, [1, 21, 27], [1, 4, 4], [1, 2, 2], [0, 1, 1]),
            (1, 66, 64, [1, 26, 30], [1, 4, 4], [1, 2, 2], [0, 0, 2]),
            (1, 65, 67, [1, 14, 13], [1, 2, 2], [1, 1, 1], [0, 0, 1]),
            // Depths that move by more than one.
            (3, 12, 11, [5, 19, 31], [2, 3, 3], [2, 1, 1], [0, 1, 0]),
            (1, 9, 11, [5, 15, 32], [2, 3, 3], [2, 1, 1], [0, 1, 1]),
            (1, 8, 9, [4, 18, 10], [1, 3, 3], [2, 1, 1], [2, 0, 1]),
            (1, 8, 9, [5, 29, 9], [1, 4, 4], [2, 2, 2], [0, 1, 1]),
            (1, 9, 11, [6, 10, 12], [4, 4, 4], [2, 2, 2], [1, 1, 1]),
            (2, 8, 9, [4, 32, 32], [2, 4, 4], [1, 2, 2], [0, 1, 1]),
        ] {
            cases.push(Case::new(
                batch,
                c,
                o,
                extent,
                geometry(kernel, stride, reach, padding, 1),
            ));
        }
        cases.push(Case::new(
            2,
            12,
            9,
            [5, 9, 10],
            geometry([3; 3], [1; 3], [1; 3], padding, 1),
        ));
        cases.push(Case::new(
            2,
            9,
            11,
            [3, 14, 16],
            geometry([3; 3], [1; 3], [1; 3], padding, 1),
        ));
        cases.push(Case::new(
            1,
            8,
            8,
            [4, 16, 15],
            geometry([2, 3, 3], [1; 3], [0, 1, 1], padding, 1),
        ));
        cases.push(Case::new(
            1,
            8,
            9,
            [5, 8, 8],
            geometry([2, 3, 3], [1; 3], [0, 1, 1], padding, 1),
        ));
    }
    // A phase of the transpose that has no positions.
    for (c, o, extent, kernel, stride, reach) in [
        (8, 9, [1, 12, 12], [4, 3, 3], [2, 1, 1], [2, 1, 1]),
        (13, 14, [1, 1, 12], [1, 4, 4], [1, 2, 2], [0, 2, 1]),
    ] {
        let g = geometry(kernel, stride, reach, Padding::Zeros, 1);
        cases.push(Case::new(2, c, o, extent, g));
    }
    cases
}

/// A walk of a random kind, where there is one for what was drawn.
pub(super) fn random_case(seed: u64) -> Option<Case> {
    let drawn = numbers(16, seed);
    let mut at = 0;
    let mut of = |list: &[usize]| {
        at += 1;
        list[((0.5 + 0.5 * drawn[at - 1]) * list.len() as f32) as usize % list.len()]
    };
    let (kernels, strides) = ([4, 4, 4, 3, 2, 5], [2, 2, 2, 1, 1, 2]);
    let kind = of(&[0, 1, 2, 3, 4, 5]);
    let like = of(&[0, 0, 0, 1]);
    let other = (kind + like) % 6;
    let kernel = [of(&[1, 1, 2, 3, 4]), kernels[kind], kernels[other]];
    let stride = [of(&[1, 1, 2, 3]), strides[kind], strides[other]];
    let reach = [of(&[0, 1, 2]), of(&[0, 1, 1, 1, 2, 3]), of(&[0, 1, 1, 1, 2, 3])];
    let depth = if kernel[0] == 1 {
        1
    } else {
        1 + of(&[0, 1, 2, 3, 4])
    };
    let side: [usize; 2] = [0; 2].map(|_| 1 + of(&[0, 2, 7, 8, 10, 11, 12, 15, 18, 19, 23, 25, 31, 34]));
    let padding = [Padding::Circular, Padding::Zeros][of(&[0, 1])];
    let g = geometry(kernel, stride, reach, padding, 1);
    let extent = [depth, side[0], side[1]];
    let [channels, outputs] = [0; 2].map(|_| of(&[8, 9, 13, 14, 65]));
    let all = g.output(extent).ok()?.iter().product::<usize>();
    let batch = of(&[1, 2, 3]);
    let few = batch * all * channels * outputs * g.taps() < 20_000_000;
    few.then(|| Case::new(batch, channels, outputs, extent, g))
}
