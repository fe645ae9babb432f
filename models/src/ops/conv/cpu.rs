//! Convolve on the processor, forward and back.

use crate::ops::shared::{Parts, with_scratch};

use rayon::prelude::*;

use super::{
    arithmetic::Arithmetic,
    correlate::correlate,
    direct::{self, Write},
    few,
    geometry::{Padding, Sizes},
    packed::Packed,
    shifted,
    walk::Walk,
    weights::Weights,
    winograd::{self, Tiling},
};

/// How products are computed, and where packed weights are kept; nowhere for those that change.
#[derive(Clone, Copy, Default)]
pub(crate) struct How<'a> {
    pub arithmetic: Arithmetic,
    pub keep: Option<&'a Packed>,
}

impl How<'_> {
    /// The same, and nothing kept.
    pub(crate) fn unkept(self) -> How<'static> {
        How { keep: None, ..self }
    }
}

/// From so many rows on it pays to turn them.
const ROWS: usize = 16;

/// Rows of numbers, fields of one position each, are faster as the positions of one field.
fn side_by_side(sizes: &Sizes) -> Option<Sizes> {
    let alone = sizes.input == [1; 3] && sizes.output == [1; 3] && sizes.geometry.kernel == [1; 3];
    let extent = [1, 1, sizes.batch];
    (alone && sizes.batch >= ROWS).then_some(Sizes {
        batch: 1,
        input: extent,
        output: extent,
        ..*sizes
    })
}

/// Does `work` on columns in place of rows: `widths` numbers in a row of `from` and in one of `to`.
fn turned(
    widths: [usize; 2],
    rows: usize,
    from: &[f32],
    to: &mut [f32],
    add: bool,
    work: impl FnOnce(&[f32], &mut [f32]),
) {
    with_scratch(from.len(), |columns| {
        with_scratch(to.len(), |found| {
            transpose(from, widths[0], columns);
            work(columns, found);
            if add {
                with_scratch(to.len(), |back| {
                    transpose(found, rows, back);
                    to.iter_mut().zip(back).for_each(|(to, back)| *to += *back);
                });
            } else {
                transpose(found, rows, to);
            }
        });
    });
}

/// Rows of `width` numbers as columns, in blocks that stay in the nearest memory.
fn transpose(from: &[f32], width: usize, to: &mut [f32]) {
    const BLOCK: usize = 16;
    let rows = from.len() / width.max(1);
    for first in (0..rows).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            for row in first..(first + BLOCK).min(rows) {
                for column in left..(left + BLOCK).min(width) {
                    to[column * rows + row] = from[row * width + column];
                }
            }
        }
    }
}

/// Numbers that are summed in f32.
const STRETCH: usize = 1024;

/// The convolution of `x` (batch, channels, D, H, W) with `weight` (outputs, channels / groups, sides), into `y`.
pub(crate) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    sizes: &Sizes,
    how: How<'_>,
    y: &mut [f32],
) {
    if let Some(line) = side_by_side(sizes) {
        return turned(
            [sizes.channels, sizes.outputs],
            sizes.batch,
            x,
            y,
            false,
            |x, y| {
                forward(x, weight, bias, &line, how, y);
            },
        );
    }
    let (walk, weights) = (Walk::forward(sizes), Weights::forward(weight, sizes));
    run(sizes, walk, x, (weights, how), bias, (Parts::of(y), Write::Over));
}

/// Convolves along a walk in the way that is fastest.
fn run(
    sizes: &Sizes,
    walk: Walk,
    source: &[f32],
    (weights, how): (Weights<'_>, How<'_>),
    bias: Option<&[f32]>,
    (to, write): (Parts<'_, f32>, Write),
) {
    if walk.batch * walk.positions() == 0 {
        return;
    }
    let planes = |channels| shifted::convolve(walk, channels, source, (&weights, how.keep), bias, to, write);
    let tiling = Tiling::new(walk, &weights);
    let fast = how.arithmetic != Arithmetic::Exact && tiling.suits(&weights);
    if how.arithmetic == Arithmetic::Reduced && shifted::reduces(&walk, &weights, fast && tiling.three()) {
        return planes(2);
    }
    if shifted::suits(&walk, &weights, fast) {
        return planes(1);
    }
    if fast {
        return winograd::convolve(&tiling, source, (&weights, how.keep), bias, to, write);
    }
    let convolve = if few::suits(sizes, weights.sources, weights.rows) {
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
    how: How<'_>,
    dx: &mut [f32],
    add: bool,
) {
    if let Some(line) = side_by_side(sizes) {
        return turned(
            [sizes.outputs, sizes.channels],
            sizes.batch,
            dy,
            dx,
            add,
            |dy, dx| {
                backward_input(dy, weight, bias, &line, how, dx, false);
            },
        );
    }
    let write = if add { Write::Add } else { Write::Over };
    let stride = sizes.geometry.stride;
    let whole = (0..3).all(|a| sizes.input[a] == stride[a] * sizes.output[a]);
    if sizes.geometry.padding == Padding::Circular && !whole {
        return backward_bordered(dy, weight, bias, sizes, how, (dx, write));
    }
    let dx = Parts::of(dx);
    let weights = Weights::backward(weight, sizes);
    let [depths, heights, widths] = stride;
    for depth in 0..depths {
        let phases = (0..heights * widths).map(|phase| [depth, phase / widths, phase % widths]);
        let walks = phases.map(|phase| Walk::backward(sizes, phase));
        if [heights, widths] == [2; 2] && how.arithmetic == Arithmetic::Full {
            let tiling = Tiling::transposed(sizes, depth, &weights);
            if tiling.suits(&weights) && !walks.clone().any(|walk| shifted::suits(&walk, &weights, true)) {
                winograd::convolve(&tiling, dy, (&weights, how.keep), bias, dx, write);
                continue;
            }
        }
        for walk in walks {
            run(sizes, walk, dy, (weights, how), bias, (dx, write));
        }
    }
}

/// By way of the field with its border, which is then folded back: right for every size.
fn backward_bordered(
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    sizes: &Sizes,
    how: How<'_>,
    (dx, write): (&mut [f32], Write),
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
        backward_input(dy, weight, None, &bordered, how, field, false);
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
pub(crate) fn backward_weight(x: &[f32], dy: &[f32], sizes: &Sizes, arithmetic: Arithmetic, dw: &mut [f32]) {
    if let Some(line) = side_by_side(sizes) {
        return with_scratch(x.len(), |of_x| {
            with_scratch(dy.len(), |of_dy| {
                transpose(x, sizes.channels, of_x);
                transpose(dy, sizes.outputs, of_dy);
                backward_weight(of_x, of_dy, &line, arithmetic, dw);
            });
        });
    }
    if winograd::correlates(sizes, dw) && arithmetic != Arithmetic::Exact {
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
    use super::{
        super::{
            geometry::Geometry,
            testing::{Case, cases, geometry, random_case},
        },
        *,
    };
    use crate::ops::testing::numbers;

    /// Sums of a few thousand terms in f32, against f64.
    const CLOSE: f64 = 1e-5;

    const FAST: f64 = 1e-5;
    /// For sums of four times as many products.
    const FAST_HALVING: f64 = 2e-5;
    const FAST_WEIGHTS: f64 = 2e-5;

    #[test]
    fn every_direction_is_the_sum_of_its_products() {
        for case in cases() {
            let errors = case.errors();
            assert!(errors.iter().all(|e| *e < CLOSE), "{:?}: {errors:?}", case.sizes);
        }
    }

    #[test]
    fn random_walks_are_the_sums_of_their_products() {
        let (mut tiled, mut side_by_side) = (0, 0);
        for case in (0..600).filter_map(random_case) {
            let errors = case.errors();
            assert!(errors.iter().all(|e| *e < CLOSE), "{:?}: {errors:?}", case.sizes);
            let weights = Weights::forward(&case.weight, &case.sizes);
            tiled += usize::from(Tiling::new(Walk::forward(&case.sizes), &weights).suits(&weights));
            let weights = Weights::backward(&case.weight, &case.sizes);
            let halves = case.sizes.geometry.stride[1..] == [2; 2];
            let suits = || Tiling::transposed(&case.sizes, 0, &weights).suits(&weights);
            side_by_side += usize::from(halves && suits());
        }
        println!("{tiled} {side_by_side}");
        assert!(tiled > 20 && side_by_side > 50);
    }

    /// The accuracy that the documentation states, with normal numbers: forward and transpose, and weights.
    #[test]
    fn fast_products_are_accurate() {
        let plane = Geometry::same([1, 3, 3], Padding::Circular);
        let halving = Geometry::cube(2, 4, 2, Padding::Circular);
        for (batch, channels, outputs, side, kernel, bound) in [
            (1, 512, 8, 8, plane, FAST),
            (1, 8, 512, 8, plane, FAST),
            (4, 8, 8, 32, plane, FAST),
            (2, 64, 16, 16, plane, FAST),
            (1, 512, 64, 24, halving, FAST_HALVING),
            (1, 64, 512, 24, halving, FAST_HALVING),
        ] {
            let case = Case::new(batch, channels, outputs, [1, side, side], kernel);
            let weights = Weights::forward(&case.weight, &case.sizes);
            assert!(Tiling::new(Walk::forward(&case.sizes), &weights).suits(&weights));
            let [y, dx, dw] = case.errors();
            println!("{channels} {outputs} {side}: {y:.1e} {dx:.1e} {dw:.1e}");
            assert!(
                y < bound && dx < bound && dw < FAST_WEIGHTS,
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
    fn kept_tiles_change_no_bit() {
        let cases = [
            (16, 24, [1, 12, 12], true),
            (16, 16, [5, 8, 12], true),
            (256, 256, [1, 8, 8], true),
            (416, 416, [1, 8, 8], false),
        ];
        let cases = cases.map(|(channels, outputs, extent, kept)| {
            let kernel = Geometry::same([extent[0].min(3), 3, 3], Padding::Zeros);
            (channels, outputs, extent, kernel, kept)
        });
        let halving = Geometry::cube(2, 4, 2, Padding::Zeros);
        for (channels, outputs, extent, kernel, kept) in
            cases.into_iter().chain([(64, 65, [1, 26, 30], halving, true)])
        {
            let case = Case::new(3, channels, outputs, extent, kernel);
            let packed = Packed::default();
            // Both directions with the same list.
            let run = |keep| {
                let how = How {
                    keep,
                    ..How::default()
                };
                let (mut y, mut dx) = (vec![0.0; case.dy.len()], vec![0.0; case.x.len()]);
                forward(&case.x, &case.weight, None, &case.sizes, how, &mut y);
                backward_input(&case.dy, &case.weight, None, &case.sizes, how, &mut dx, false);
                [y, dx]
            };
            let once = run(None);
            assert_eq!(once, run(Some(&packed)));
            let bytes = packed.bytes();
            assert_eq!(once, run(Some(&packed)));
            // Where there are many weights, they are made anew.
            assert!(bytes == packed.bytes() && (bytes > 0) == kept);
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
                "256x128->128 rows",
                Case::new(256, 128, 128, [1; 3], Geometry::pointwise()),
            ),
            (
                "2048x128->128 rows",
                Case::new(2048, 128, 128, [1; 3], Geometry::pointwise()),
            ),
            (
                "512x64->64 rows",
                Case::new(512, 64, 64, [1; 3], Geometry::pointwise()),
            ),
            (
                "512x3->64 rows",
                Case::new(512, 3, 64, [1; 3], Geometry::pointwise()),
            ),
            (
                "512x64->2 rows",
                Case::new(512, 64, 2, [1; 3], Geometry::pointwise()),
            ),
            (
                "16x512->512 rows",
                Case::new(16, 512, 512, [1; 3], Geometry::pointwise()),
            ),
            (
                "1x512x8x8->512 k3",
                Case::new(1, 512, 512, [1, 8, 8], plane(3, 1, 1)),
            ),
            (
                "1x256x16x16->256 k3",
                Case::new(1, 256, 256, [1, 16, 16], plane(3, 1, 1)),
            ),
            (
                "1x128x32x32->128 k3",
                Case::new(1, 128, 128, [1, 32, 32], plane(3, 1, 1)),
            ),
            (
                "1x1024x8x8->256 k3",
                Case::new(1, 1024, 256, [1, 8, 8], plane(3, 1, 1)),
            ),
            (
                "4x512x4x4->512 k3",
                Case::new(4, 512, 512, [1, 4, 4], plane(3, 1, 1)),
            ),
            (
                "1x64x64x64->64 k4s2",
                Case::new(1, 64, 64, [1, 64, 64], plane(4, 2, 1)),
            ),
            (
                "1x256x16x16->256 k4s2",
                Case::new(1, 256, 256, [1, 16, 16], plane(4, 2, 1)),
            ),
            (
                "1x512x8x8->384 k1",
                Case::new(1, 512, 384, [1, 8, 8], Geometry::pointwise()),
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
            let (bias, packed) = (&case.bias[..s.outputs], Packed::default());
            for arithmetic in [Arithmetic::Full, Arithmetic::Reduced] {
                let how = How {
                    arithmetic,
                    keep: Some(&packed),
                };
                let speeds = [
                    best(|| forward(&case.x, &case.weight, Some(bias), s, how, &mut y)),
                    best(|| backward_input(&case.dy, &case.weight, None, s, how, &mut dx, false)),
                    best(|| backward_weight(&case.x, &case.dy, s, arithmetic, &mut dw)),
                ]
                .map(|time| format!("{:7.1} ({:6.2} ms)", work / time / 1e9, time * 1e3));
                println!("{name:24} {arithmetic:?} {}", speeds.join("  "));
            }
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
