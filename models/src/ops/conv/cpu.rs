//! Convolve on the processor, forward and back.

use crate::ops::shared::{Parts, with_scratch};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::{
    correlate::correlate,
    direct::{self, Write},
    few,
    geometry::{Padding, Sizes},
    walk::Walk,
    weights::Weights,
    winograd,
};

/// Whether fast products of tiles are ruled out.
static EXACT: AtomicBool = AtomicBool::new(false);

/// Rules out, or allows again, the fast products of tiles (Winograd's) in the whole process. Convolutions with kernels
/// of three by three then take about twice as long, with the errors of plain sums; those of the tiles were measured
/// at up to 5e-6 of the largest output for 512 channels and 2e-6 for 64, with numbers of a normal distribution.
pub fn set_exact(exact: bool) {
    EXACT.store(exact, Ordering::Relaxed);
}

fn exact() -> bool {
    EXACT.load(Ordering::Relaxed)
}

/// Numbers that are summed in f32.
const STRETCH: usize = 1024;

/// The convolution of `x` (batch, channels, D, H, W) with `weight` (outputs, channels / groups, sides), into `y`.
pub(crate) fn forward(x: &[f32], weight: &[f32], bias: Option<&[f32]>, sizes: &Sizes, y: &mut [f32]) {
    let (walk, weights) = (Walk::forward(sizes), Weights::forward(weight, sizes));
    run(sizes, walk, x, weights, bias, Parts::of(y), Write::Over);
}

/// Convolves along a walk in the way that is fastest.
fn run(
    sizes: &Sizes,
    walk: Walk,
    source: &[f32],
    weights: Weights<'_>,
    bias: Option<&[f32]>,
    to: Parts<'_, f32>,
    write: Write,
) {
    let convolve = if winograd::suits(sizes) && !exact() {
        winograd::convolve
    } else if few::suits(sizes, weights.sources, weights.rows) {
        few::convolve
    } else {
        direct::convolve
    };
    convolve(walk, source, weights, bias, to, write);
}

/// The transpose of `forward`: from `dy`, shaped as outputs, to `dx`, shaped as inputs, which it writes over or
/// adds to. A bias is one number for each channel of `dx`.
pub(crate) fn backward_input(
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    sizes: &Sizes,
    dx: &mut [f32],
    add: bool,
) {
    let write = if add { Write::Add } else { Write::Over };
    let stride = sizes.geometry.stride;
    let whole = (0..3).all(|a| sizes.input[a] == stride[a] * sizes.output[a]);
    if sizes.geometry.padding == Padding::Circular && !whole {
        return backward_bordered(dy, weight, bias, sizes, dx, write);
    }
    let dx = Parts::of(dx);
    for phase in 0..stride.iter().product() {
        let [_, h, w] = stride;
        let walk = Walk::backward(sizes, [phase / (h * w), phase / w % h, phase % w]);
        run(sizes, walk, dy, Weights::backward(weight, sizes), bias, dx, write);
    }
}

/// By way of the field with its border, which is then folded back: right for every size.
fn backward_bordered(
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    sizes: &Sizes,
    dx: &mut [f32],
    write: Write,
) {
    let mut bordered = *sizes;
    for a in 0..3 {
        bordered.input[a] += 2 * sizes.geometry.reach[a];
    }
    bordered.geometry.reach = [0; 3];
    bordered.geometry.padding = Padding::Zeros;
    let volume = |e: [usize; 3]| e.iter().product::<usize>();
    let (inside, all) = (volume(sizes.input), volume(bordered.input));
    with_scratch(sizes.batch * sizes.channels * all, |field| {
        backward_input(dy, weight, None, &bordered, field, false);
        dx.par_chunks_exact_mut(inside)
            .zip(field.par_chunks_exact(all))
            .enumerate()
            .for_each(|(i, (dx, field))| {
                let bias = bias.map_or(0.0, |bias| bias[i % sizes.channels]);
                if write == Write::Over {
                    dx.fill(0.0);
                }
                dx.iter_mut().for_each(|v| *v += bias);
                let [_, height, width] = bordered.input;
                let home =
                    |a: usize, i: usize| (i + sizes.input[a] - sizes.geometry.reach[a]) % sizes.input[a];
                for (line, field) in field.chunks_exact(width).enumerate() {
                    let (d, h) = (home(0, line / height), home(1, line % height));
                    let dx = &mut dx[(d * sizes.input[1] + h) * sizes.input[2]..][..sizes.input[2]];
                    for (w, v) in field.iter().enumerate() {
                        dx[home(2, w)] += v;
                    }
                }
            });
    });
}

/// Adds the gradient of the weights.
pub(crate) fn backward_weight(x: &[f32], dy: &[f32], sizes: &Sizes, dw: &mut [f32]) {
    if winograd::suits(sizes) && !exact() {
        winograd::correlate(x, dy, sizes, dw);
    } else if !few::correlate_few(x, dy, sizes, dw) {
        correlate(x, dy, sizes, dw);
    }
}

/// Adds the sums of `dy` (batch, outputs, positions) over samples and positions.
pub(crate) fn backward_bias(dy: &[f32], batch: usize, dest: &mut [f32]) {
    let outputs = dest.len();
    let positions = dy.len() / (batch * outputs).max(1);
    dest.par_iter_mut().enumerate().for_each(|(o, dest)| {
        // In f64 from one stretch to the next: fields are long.
        let mut total = 0.0f64;
        for sample in 0..batch {
            for stretch in dy[(sample * outputs + o) * positions..][..positions].chunks(STRETCH) {
                let (eights, rest) = stretch.as_chunks::<8>();
                let mut sums = [0.0f32; 8];
                for eight in eights {
                    for i in 0..8 {
                        sums[i] += eight[i];
                    }
                }
                total += f64::from(sums.iter().sum::<f32>() + rest.iter().sum::<f32>());
            }
        }
        *dest += total as f32;
    });
}

#[cfg(test)]
mod tests {
    use super::{super::geometry::Geometry, *};
    use crate::ops::testing::numbers;

    /// Sums of a few thousand terms in f32, against f64.
    const CLOSE: f64 = 1e-5;

    const FAST: f64 = 1e-5;
    const FAST_WEIGHTS: f64 = 2e-5;

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

    struct Case {
        sizes: Sizes,
        x: Vec<f32>,
        weight: Vec<f32>,
        bias: Vec<f32>,
        dy: Vec<f32>,
    }

    impl Case {
        fn new(batch: usize, channels: usize, outputs: usize, input: [usize; 3], geometry: Geometry) -> Self {
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
            }
        }

        fn forward(&self) -> Vec<f32> {
            let mut y = vec![f32::NAN; self.dy.len()];
            forward(
                &self.x,
                &self.weight,
                Some(&self.bias[..self.sizes.outputs]),
                &self.sizes,
                &mut y,
            );
            y
        }
        fn backward_input(&self, add: bool) -> Vec<f32> {
            let mut dx = vec![if add { 1.0 } else { f32::NAN }; self.x.len()];
            let bias = &self.bias[..self.sizes.channels];
            backward_input(&self.dy, &self.weight, Some(bias), &self.sizes, &mut dx, add);
            dx
        }
        fn backward_weight(&self) -> Vec<f32> {
            let mut dw = vec![1.0; self.weight.len()];
            backward_weight(&self.x, &self.dy, &self.sizes, &mut dw);
            dw
        }

        /// Largest errors over scale of the three directions, against sums in f64.
        fn errors(&self) -> [f64; 3] {
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
    fn normal(count: usize, seed: u64) -> Vec<f32> {
        let uniform = numbers(2 * count, seed);
        let (pairs, _) = uniform.as_chunks::<2>();
        let normal = |[a, b]: &[f32; 2]| {
            let radius = (-2.0 * (0.5 * (1.0 + a)).max(1e-12).ln()).sqrt();
            radius * (std::f32::consts::PI * b).cos()
        };
        pairs.iter().map(normal).collect()
    }

    fn error(value: &[f32], exact: &[f64]) -> f64 {
        let scale = exact.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
        let worst = |m: f64, (a, b): (&f32, &f64)| {
            let d = (f64::from(*a) - b).abs();
            if d.is_nan() { f64::INFINITY } else { m.max(d) }
        };
        value.iter().zip(exact).fold(0.0, worst) / scale
    }

    fn geometry(
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
    fn cases() -> Vec<Case> {
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
        cases
    }

    #[test]
    fn every_direction_is_the_sum_of_its_products() {
        for case in cases() {
            let errors = case.errors();
            assert!(errors.iter().all(|e| *e < CLOSE), "{:?}: {errors:?}", case.sizes);
        }
    }
    /// The accuracy that the documentation states, with normal numbers: forward and transpose, and weights.
    #[test]
    fn fast_products_are_accurate() {
        for (batch, channels, outputs, side) in
            [(1, 512, 8, 8), (1, 8, 512, 8), (4, 8, 8, 32), (2, 64, 16, 16)]
        {
            let plane = Geometry::same([1, 3, 3], Padding::Circular);
            let case = Case::new(batch, channels, outputs, [1, side, side], plane);
            assert!(winograd::suits(&case.sizes));
            let [y, dx, dw] = case.errors();
            println!("{channels} {outputs} {side}: {y:.1e} {dx:.1e} {dw:.1e}");
            assert!(
                y < FAST && dx < FAST && dw < FAST_WEIGHTS,
                "{:?}: {y} {dx} {dw}",
                case.sizes
            );
        }
    }

    #[test]
    fn the_transpose_is_adjoint() {
        for mut case in cases() {
            case.bias.fill(0.0);
            let dot = |a: &[f32], b: &[f32]| {
                a.iter()
                    .zip(b)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum::<f64>()
            };
            let y = case.forward();
            let norm = (dot(&y, &y) * dot(&case.dy, &case.dy)).sqrt();
            let forth = dot(&case.dy, &y);
            let back = dot(&case.backward_input(false), &case.x);
            assert!(
                (forth - back).abs() < CLOSE * norm,
                "{:?}: {forth} {back}",
                case.sizes
            );
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        for case in cases() {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                pool.install(|| [case.forward(), case.backward_input(false), case.backward_weight()])
            };
            let one = run(1);
            assert!(
                [2, 5].iter().all(|threads| run(*threads) == one),
                "{:?}",
                case.sizes
            );
        }
    }

    #[test]
    fn bias_gradient_sums_over_samples_and_positions() {
        let (batch, outputs, positions) = (3, 2, 1500);
        let dy = numbers(batch * outputs * positions, 1);
        let mut sums = vec![1.0; outputs];
        backward_bias(&dy, batch, &mut sums);
        for (o, sum) in sums.iter().enumerate() {
            let rows = dy.chunks(positions).skip(o).step_by(outputs);
            let exact = 1.0 + rows.flatten().map(|v| f64::from(*v)).sum::<f64>();
            assert!((f64::from(*sum) - exact).abs() < 1e-4, "{sum} {exact}");
        }
    }

    /// Prints the speed of each direction, counted as direct multiplications.
    #[test]
    #[ignore = "measures"]
    fn speed() {
        let plane =
            |k: usize, s: usize, r: usize| geometry([1, k, k], [1, s, s], [0, r, r], Padding::Zeros, 1);
        let cube = plane_of_three();
        let cases = [
            (
                "8x64x64x64->64 k3",
                Case::new(8, 64, 64, [1, 64, 64], plane(3, 1, 1)),
            ),
            (
                "8x128x32x32->128 k3",
                Case::new(8, 128, 128, [1, 32, 32], plane(3, 1, 1)),
            ),
            (
                "1x64x64x64->64 k3",
                Case::new(1, 64, 64, [1, 64, 64], plane(3, 1, 1)),
            ),
            (
                "8x256x16x16->256 k3",
                Case::new(8, 256, 256, [1, 16, 16], plane(3, 1, 1)),
            ),
            (
                "10x512x8x8->512 k3",
                Case::new(10, 512, 512, [1, 8, 8], plane(3, 1, 1)),
            ),
            (
                "10x64x64x64->64 k4s2",
                Case::new(10, 64, 64, [1, 64, 64], plane(4, 2, 1)),
            ),
            (
                "10x64x64x64->384 k1",
                Case::new(10, 64, 384, [1, 64, 64], Geometry::pointwise()),
            ),
            ("2x128x8x16x16->64 k3", Case::new(2, 128, 64, [8, 16, 16], cube)),
            ("2x64x8x16x16->64 k3", Case::new(2, 64, 64, [8, 16, 16], cube)),
            (
                "10x512x1->2048 linear",
                Case::new(10, 512, 2048, [1; 3], Geometry::pointwise()),
            ),
            (
                "10x1x64x64->64 k3",
                Case::new(10, 1, 64, [1, 64, 64], plane(3, 1, 1)),
            ),
            (
                "10x64x64x64->1 k3",
                Case::new(10, 64, 1, [1, 64, 64], plane(3, 1, 1)),
            ),
        ];
        let only = std::env::var("ONLY").unwrap_or_default();
        for (name, case) in cases.iter().filter(|(name, _)| name.contains(&only)) {
            let s = &case.sizes;
            let work = 2.0 * (case.dy.len() * s.channels * s.geometry.taps()) as f64;
            let (mut y, mut dx, mut dw) = (case.dy.clone(), case.x.clone(), case.weight.clone());
            let bias = &case.bias[..s.outputs];
            let speeds = [
                best(|| forward(&case.x, &case.weight, Some(bias), s, &mut y)),
                best(|| backward_input(&case.dy, &case.weight, None, s, &mut dx, false)),
                best(|| backward_weight(&case.x, &case.dy, s, &mut dw)),
            ]
            .map(|time| format!("{:7.1} ({:6.2} ms)", work / time / 1e9, time * 1e3));
            println!("{name:24} {}", speeds.join("  "));
        }
    }

    fn plane_of_three() -> Geometry {
        Geometry::same([3; 3], Padding::Zeros)
    }

    fn best(mut work: impl FnMut()) -> f64 {
        let start = std::time::Instant::now();
        let mut best = f64::INFINITY;
        let mut runs = 0;
        while runs < 5 || start.elapsed().as_secs_f64() < 0.4 {
            let start = std::time::Instant::now();
            work();
            best = best.min(start.elapsed().as_secs_f64());
            runs += 1;
        }
        best
    }
}
