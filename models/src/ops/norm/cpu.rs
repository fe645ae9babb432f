//! Normalise on the processor: values, gradients, tangents, and the gradients of tangents.
//!
//! `mean` and `variance` hold `Norm::sets` numbers; nothing else is kept for the backward passes, which find x̂ again from x.

use rayon::prelude::*;

use super::{
    Norm, Over, layer, layer_tangent,
    rows::{Row, along, apply, backward_sums, combine, moments, tangent_sums, write},
};
use crate::ops::shared::{Parts, with_scratch};

/// The rows (batch · channels + channel) that share a mean.
#[derive(Clone, Copy)]
struct Tile {
    set: usize,
    first: usize,
    step: usize,
    rows: usize,
}

impl Tile {
    fn rows(self) -> impl Iterator<Item = usize> {
        (0..self.rows).map(move |i| self.first + i * self.step)
    }
}

impl Norm<'_> {
    fn tiles(&self) -> impl IndexedParallelIterator<Item = Tile> {
        let [batch, channels, _] = self.shape;
        let over = self.over;
        let count = match over {
            Over::Given => batch * channels,
            _ => self.sets(),
        };
        (0..count).into_par_iter().map(move |i| match over {
            Over::Group(groups) => {
                let rows = channels / groups;
                Tile {
                    set: i,
                    first: i * rows,
                    step: 1,
                    rows,
                }
            }
            Over::Batch => Tile {
                set: i,
                first: i,
                step: channels,
                rows: batch,
            },
            _ => Tile {
                set: i % channels,
                first: i,
                step: 1,
                rows: 1,
            },
        })
    }

    /// What row `bc` of a tile shares.
    fn row(&self, bc: usize, mean: f32, variance: f32) -> Row {
        let channel = bc % self.shape[1];
        Row {
            mean,
            reciprocal: self.reciprocal(variance),
            weight: self.weight[channel],
            bias: self.bias[channel],
            activation: self.activation,
        }
    }

    /// 1 / √(σ² + ε).
    pub(super) fn reciprocal(&self, variance: f32) -> f32 {
        (1.0 / (variance as f64 + self.epsilon as f64).sqrt()) as f32
    }

    fn place(&self, bc: usize) -> std::ops::Range<usize> {
        bc * self.shape[2]..(bc + 1) * self.shape[2]
    }

    fn check(&self, lists: &[&[f32]], mean: &[f32], variance: &[f32]) {
        let [batch, channels, positions] = self.shape;
        assert!(
            lists
                .iter()
                .all(|list| list.len() == batch * channels * positions)
        );
        assert!(mean.len() == self.sets() && variance.len() == self.sets());
        assert!(self.weight.len() == channels && self.bias.len() == channels);
        assert!(!matches!(self.over, Over::Group(groups) if groups == 0 || channels % groups != 0));
    }
}

/// Writes y; `offset` (batch, channels) is e. For `Given`, `mean` and `variance` are read, otherwise written.
pub(crate) fn forward(
    norm: &Norm,
    x: &[f32],
    offset: Option<&[f32]>,
    mean: &mut [f32],
    variance: &mut [f32],
    y: &mut [f32],
) {
    norm.check(&[x, y], mean, variance);
    assert!(offset.is_none_or(|e| e.len() == norm.shape[0] * norm.shape[1]));
    if norm.over == Over::Layer {
        return layer::forward(norm, x, offset, mean, variance, y);
    }
    let y = Parts::of(y);
    let write = |tile: Tile, mean: f32, variance: f32| {
        for bc in tile.rows() {
            // SAFETY: a row belongs to one tile.
            let y = unsafe { y.take(norm.place(bc)) };
            let e = offset.map_or(0.0, |e| e[bc]);
            apply(&x[norm.place(bc)], norm.row(bc, mean, variance), e, y);
        }
    };
    if norm.over == Over::Given {
        return norm
            .tiles()
            .for_each(|tile| write(tile, mean[tile.set], variance[tile.set]));
    }
    norm.tiles()
        .zip(mean.par_iter_mut())
        .zip(variance.par_iter_mut())
        .for_each(|((tile, mean), variance)| {
            [*mean, *variance] = tile_moments(norm, tile, x);
            write(tile, *mean, *variance);
        });
}

/// Mean and variance of a tile, from those of its rows: Chan et al. 1983.
fn tile_moments(norm: &Norm, tile: Tile, x: &[f32]) -> [f32; 2] {
    let length = norm.shape[2] as f64;
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for bc in tile.rows() {
        let [row_mean, row_squares] = moments(&x[norm.place(bc)]);
        let (apart, total) = (row_mean - mean, count + length);
        mean += apart * length / total;
        squares += row_squares + apart * apart * count * length / total;
        count = total;
    }
    [mean as f32, (squares / count) as f32]
}

/// Adds to the gradients of x, weight, bias and offset what that of y, `dy`, makes of them.
pub(crate) fn backward(
    norm: &Norm,
    x: &[f32],
    (mean, variance): (&[f32], &[f32]),
    dy: &[f32],
    dx: &mut [f32],
    (d_weight, d_bias): (&mut [f32], &mut [f32]),
    d_offset: Option<&mut [f32]>,
) {
    norm.check(&[x, dy, dx], mean, variance);
    if norm.over == Over::Layer {
        return layer::backward(norm, x, (mean, variance), dy, dx, (d_weight, d_bias), d_offset);
    }
    let length = norm.shape[2];
    let dx = Parts::of(dx);
    with_scratch(3 * norm.shape[0] * norm.shape[1], |sums| {
        let sums = sums.as_chunks_mut::<3>().0;
        let parts = Parts::of(sums);
        norm.tiles().for_each(|tile| {
            let (m, v) = (mean[tile.set], variance[tile.set]);
            with_scratch(tile.rows * length, |da| {
                let (mut first, mut second) = (0.0, 0.0);
                for (bc, da) in tile.rows().zip(da.chunks_exact_mut(length)) {
                    let (place, row) = (norm.place(bc), norm.row(bc, m, v));
                    let of_row = backward_sums(&x[place.clone()], &dy[place], row, da);
                    first += row.weight as f64 * of_row[0];
                    second += row.weight as f64 * of_row[1];
                    // SAFETY: a row belongs to one tile.
                    unsafe { parts.take(bc..bc + 1)[0] = of_row.map(|v| v as f32) };
                }
                let share = match norm.over {
                    Over::Given => 0.0,
                    _ => -1.0 / (tile.rows * length) as f64,
                };
                for (bc, da) in tile.rows().zip(da.chunks_exact(length)) {
                    let (place, row) = (norm.place(bc), norm.row(bc, m, v));
                    let [b, c] = [first, second].map(|sum| (sum * share) as f32 * row.reciprocal);
                    // SAFETY: as above.
                    let dx = unsafe { dx.take(place.clone()) };
                    combine(&x[place], row, da, [row.weight * row.reciprocal, b, c], dx);
                }
            });
        });
        let channels = norm.shape[1];
        add_rows(sums, channels, 0, d_bias);
        add_rows(sums, channels, 1, d_weight);
        if let Some(d_offset) = d_offset {
            for (d, sums) in d_offset.iter_mut().zip(sums) {
                *d += sums[2];
            }
        }
    });
}

/// Adds sum `k` of each row to its channel, sample by sample.
pub(super) fn add_rows(sums: &[[f32; 3]], channels: usize, k: usize, out: &mut [f32]) {
    for (c, out) in out.iter_mut().enumerate() {
        let total: f64 = sums[c..]
            .iter()
            .step_by(channels)
            .map(|sums| sums[k] as f64)
            .sum();
        *out += total as f32;
    }
}

/// out = ẏ, how y without activation and offset moves when x moves along `t`.
pub(crate) fn tangent(
    norm: &Norm,
    x: &[f32],
    t: &[f32],
    (mean, variance): (&[f32], &[f32]),
    out: &mut [f32],
) {
    norm.check(&[x, t, out], mean, variance);
    if norm.over == Over::Layer {
        return layer_tangent::tangent(norm, x, t, (mean, variance), out);
    }
    let out = Parts::of(out);
    norm.tiles().for_each(|tile| {
        let (m, v) = (mean[tile.set], variance[tile.set]);
        let mut sums = [0.0; 2];
        if norm.over != Over::Given {
            for bc in tile.rows() {
                let of_row = along(&x[norm.place(bc)], norm.row(bc, m, v), &t[norm.place(bc)]);
                for (sum, of_row) in sums.iter_mut().zip(of_row) {
                    *sum += of_row / (tile.rows * norm.shape[2]) as f64;
                }
            }
        }
        for bc in tile.rows() {
            let (place, row) = (norm.place(bc), norm.row(bc, m, v));
            let gain = row.weight * row.reciprocal;
            // SAFETY: a row belongs to one tile.
            let out = unsafe { out.take(place.clone()) };
            let abc = [gain, -gain * sums[0] as f32, -gain * sums[1] as f32];
            write(&x[place.clone()], row, &t[place], abc, out);
        }
    });
}

/// From the gradient `g` of `tangent`'s output, adds to the gradients of x, t and weight.
///
/// With a = weight · g, bars for means over what shares μ, and P u = u − ū − x̂ · mean(x̂ u), the output's product with g is
/// L = r Σ a P t. Then dt = r P a and, since dx̂ = r P dx and dr = −r² mean(x̂ dx),
/// dx = −r x̂ L / n − r² P(mean(x̂ t) a + mean(x̂ a) t).
pub(crate) fn tangent_backward(
    norm: &Norm,
    x: &[f32],
    t: &[f32],
    (mean, variance): (&[f32], &[f32]),
    g: &[f32],
    (dx, dt): (&mut [f32], &mut [f32]),
    d_weight: &mut [f32],
) {
    norm.check(&[x, t, g, dx, dt], mean, variance);
    if norm.over == Over::Layer {
        return layer_tangent::tangent_backward(norm, x, t, (mean, variance), g, (dx, dt), d_weight);
    }
    let (dx, dt) = (Parts::of(dx), Parts::of(dt));
    with_scratch(3 * norm.shape[0] * norm.shape[1], |sums| {
        let sums = sums.as_chunks_mut::<3>().0;
        let parts = Parts::of(sums);
        norm.tiles().for_each(|tile| {
            let (m, v) = (mean[tile.set], variance[tile.set]);
            let mut total = [0.0; 5];
            for bc in tile.rows() {
                let (place, row) = (norm.place(bc), norm.row(bc, m, v));
                let [t0, t1, g0, g1, gt] = tangent_sums(&x[place.clone()], row, &t[place.clone()], &g[place]);
                let w = row.weight as f64;
                for (total, sum) in total.iter_mut().zip([t0, t1, w * g0, w * g1, w * gt]) {
                    *total += sum / (tile.rows * norm.shape[2]) as f64;
                }
                // SAFETY: a row belongs to one tile.
                unsafe { parts.take(bc..bc + 1)[0] = [g0, g1, gt].map(|v| v as f32) };
            }
            let mut means = Means::of(total);
            if norm.over == Over::Given {
                means = Means::default();
            }
            for bc in tile.rows() {
                let (place, row) = (norm.place(bc), norm.row(bc, m, v));
                // SAFETY: as above.
                let sums = unsafe { parts.take(bc..bc + 1) };
                let [g0, g1, gt] = sums[0];
                sums[0][0] = row.reciprocal * (gt - means.t0 * g0 - means.t1 * g1);
                let (x, t, g) = (&x[place.clone()], &t[place.clone()], &g[place.clone()]);
                // SAFETY: as above.
                let (dx, dt) = unsafe { (dx.take(place.clone()), dt.take(place)) };
                let r = row.reciprocal;
                combine(x, row, g, [r * row.weight, -r * means.a0, -r * means.a1], dt);
                if norm.over != Over::Given {
                    let [a, b, c, d] = means.x_terms(r);
                    combine(x, row, g, [row.weight * a, c, d], dx);
                    combine(x, row, t, [b, 0.0, 0.0], dx);
                }
            }
        });
        add_rows(sums, norm.shape[1], 0, d_weight);
    });
}

/// Means of t, t x̂, a, a x̂, and a P t, over what shares μ.
#[derive(Default, Clone, Copy)]
pub(super) struct Means {
    pub t0: f32,
    pub t1: f32,
    pub a0: f32,
    pub a1: f32,
    output: f32,
}

impl Means {
    /// From the means of t, t x̂, a, a x̂ and a t.
    pub fn of([t0, t1, a0, a1, at]: [f64; 5]) -> Self {
        let output = at - a0 * t0 - a1 * t1;
        let [t0, t1, a0, a1, output] = [t0, t1, a0, a1, output].map(|v| v as f32);
        Self {
            t0,
            t1,
            a0,
            a1,
            output,
        }
    }

    /// The factors of a, t, 1 and x̂ in the gradient of x.
    pub fn x_terms(self, r: f32) -> [f32; 4] {
        let Self {
            t0,
            t1,
            a0,
            a1,
            output,
        } = self;
        let square = r * r;
        [
            -square * t1,
            -square * a1,
            square * (t1 * a0 + a1 * t0),
            square * (2.0 * t1 * a1 - output),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{
        activation::{Activation, cpu::tests::exact},
        testing::{close, numbers, on_threads},
    };

    const SHAPE: [usize; 3] = [3, 4, 67];
    const EPSILON: f32 = 1e-2;
    /// Of the larger of a number and 1: rounding of sums of a few hundred terms of f32.
    const NEAR: f64 = 2e-5;

    fn double(list: &[f32]) -> Vec<f64> {
        list.iter().map(|v| *v as f64).collect()
    }

    /// Mean and variance for each number; what is given for `Given`.
    fn naive_moments(over: Over, x: &[f64], given: &[Vec<f32>; 2]) -> Vec<(f64, f64)> {
        let [_, channels, positions] = SHAPE;
        let set = |i: usize| {
            let (p, c, b) = (i % positions, i / positions % channels, i / positions / channels);
            match over {
                Over::Group(groups) => b * groups + c / (channels / groups),
                Over::Batch | Over::Given => c,
                Over::Layer => b * positions + p,
            }
        };
        let mut sums = vec![[0.0f64; 3]; x.len()];
        for (i, x) in x.iter().enumerate() {
            let sum = &mut sums[set(i)];
            *sum = [sum[0] + 1.0, sum[1] + x, sum[2] + x * x];
        }
        (0..x.len())
            .map(|i| {
                if over == Over::Given {
                    return (given[0][set(i)] as f64, given[1][set(i)] as f64);
                }
                let [count, first, second] = sums[set(i)];
                let mean = first / count;
                (mean, second / count - mean * mean)
            })
            .collect()
    }

    fn naive(
        over: Over,
        f: Activation,
        [x, weight, bias, offset]: [&[f64]; 4],
        given: &[Vec<f32>; 2],
    ) -> Vec<f64> {
        let [_, channels, positions] = SHAPE;
        naive_moments(over, x, given)
            .iter()
            .zip(x)
            .enumerate()
            .map(|(i, ((mean, variance), x))| {
                let (row, c) = (i / positions, i / positions % channels);
                let normal = (x - mean) / (variance + EPSILON as f64).sqrt();
                exact(f, weight[c] * normal + bias[c]) + offset[row]
            })
            .collect()
    }

    /// Derivative of Σ probe · f at `inputs`, moved along `directions`.
    fn slope(inputs: &[Vec<f64>; 4], directions: &[Vec<f64>; 4], f: impl Fn([&[f64]; 4]) -> f64) -> f64 {
        const STEP: f64 = 1e-5;
        let at = |h: f64| {
            let moved: [Vec<f64>; 4] = std::array::from_fn(|k| {
                inputs[k]
                    .iter()
                    .zip(&directions[k])
                    .map(|(x, d)| x + h * d)
                    .collect()
            });
            f(std::array::from_fn(|k| moved[k].as_slice()))
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    }

    fn dot(a: &[f64], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * *b as f64).sum()
    }

    const ALL: [Over; 6] = [
        Over::Group(1),
        Over::Group(2),
        Over::Group(4),
        Over::Batch,
        Over::Given,
        Over::Layer,
    ];

    struct Case {
        x: Vec<f32>,
        weight: Vec<f32>,
        bias: Vec<f32>,
        offset: Vec<f32>,
        given: [Vec<f32>; 2],
    }

    fn case() -> Case {
        let [batch, channels, positions] = SHAPE;
        // Far from zero mean, so that careless sums would show.
        let x = numbers(batch * channels * positions, 1)
            .iter()
            .map(|v| v + 3.0)
            .collect();
        Case {
            x,
            weight: numbers(channels, 2).iter().map(|v| v + 1.5).collect(),
            bias: numbers(channels, 3),
            offset: numbers(batch * channels, 4),
            given: [
                numbers(channels, 5),
                numbers(channels, 6).iter().map(|v| v + 1.5).collect(),
            ],
        }
    }

    impl Case {
        fn norm(&self, over: Over, activation: Activation) -> Norm<'_> {
            Norm {
                over,
                shape: SHAPE,
                epsilon: EPSILON,
                activation,
                weight: &self.weight,
                bias: &self.bias,
            }
        }

        fn inputs(&self) -> [Vec<f64>; 4] {
            [&self.x, &self.weight, &self.bias, &self.offset].map(|list| double(list))
        }

        fn moments(&self, norm: &Norm) -> [Vec<f32>; 2] {
            match norm.over {
                Over::Given => self.given.clone(),
                _ => [vec![0.0; norm.sets()], vec![0.0; norm.sets()]],
            }
        }
    }

    #[test]
    fn values_and_gradients_match_f64() {
        let case = case();
        for over in ALL {
            for f in [Activation::Identity, Activation::Silu] {
                let (norm, inputs) = (case.norm(over, f), case.inputs());
                let [mut mean, mut variance] = case.moments(&norm);
                let mut y = vec![0.0; case.x.len()];
                forward(
                    &norm,
                    &case.x,
                    Some(&case.offset),
                    &mut mean,
                    &mut variance,
                    &mut y,
                );
                let expected = naive(over, f, inputs.each_ref().map(|v| v.as_slice()), &case.given);
                close(&y, &expected, NEAR);

                let dy = numbers(y.len(), 7);
                let mut dx = vec![0.5; y.len()];
                let [mut dw, mut db] = [vec![0.5; SHAPE[1]], vec![0.5; SHAPE[1]]];
                let mut de = vec![0.5; case.offset.len()];
                backward(
                    &norm,
                    &case.x,
                    (&mean, &variance),
                    &dy,
                    &mut dx,
                    (&mut dw, &mut db),
                    Some(&mut de),
                );
                let zeros = inputs.each_ref().map(|v| vec![0.0; v.len()]);
                for (k, found) in [&dx, &dw, &db, &de].into_iter().enumerate() {
                    for i in (0..found.len()).step_by(1 + found.len() / 12) {
                        let mut direction = zeros.clone();
                        direction[k][i] = 1.0;
                        let expected = slope(&inputs, &direction, |at| {
                            dot(&naive(over, f, at, &case.given), &dy)
                        });
                        close(&[found[i] - 0.5], &[expected], 10.0 * NEAR);
                    }
                }
            }
        }
    }

    #[test]
    fn tangents_and_their_gradients_match_f64() {
        let case = case();
        for over in ALL {
            let norm = case.norm(over, Activation::Identity);
            let [mut mean, mut variance] = case.moments(&norm);
            let n = case.x.len();
            let mut out = vec![0.0; n];
            forward(&norm, &case.x, None, &mut mean, &mut variance, &mut out);
            let (t, g) = (numbers(n, 8), numbers(n, 9));
            tangent(&norm, &case.x, &t, (&mean, &variance), &mut out);
            // A step of 1e-4 and 1e-5 within: 1e-8 of rounding, amplified by 1e4.
            let naive_tangent = |[x, weight, t, _]: [&[f64]; 4]| -> Vec<f64> {
                const STEP: f64 = 1e-4;
                let bias = vec![0.0; n];
                let at = |h: f64| {
                    let x: Vec<f64> = x.iter().zip(t).map(|(x, t)| x + h * t).collect();
                    naive(
                        over,
                        Activation::Identity,
                        [&x, weight, &bias, &bias],
                        &case.given,
                    )
                };
                at(STEP)
                    .iter()
                    .zip(at(-STEP))
                    .map(|(a, b)| (a - b) / (2.0 * STEP))
                    .collect()
            };
            let inputs = [double(&case.x), double(&case.weight), double(&t), vec![]];
            close(
                &out,
                &naive_tangent(inputs.each_ref().map(|v| v.as_slice())),
                NEAR,
            );

            let [mut dx, mut dt] = [vec![0.5; n], vec![0.5; n]];
            let mut dw = vec![0.5; SHAPE[1]];
            tangent_backward(
                &norm,
                &case.x,
                &t,
                (&mean, &variance),
                &g,
                (&mut dx, &mut dt),
                &mut dw,
            );
            let zeros = inputs.each_ref().map(|v| vec![0.0; v.len()]);
            for (k, found) in [&dx, &dw, &dt].into_iter().enumerate() {
                for i in (0..found.len()).step_by(1 + found.len() / 9) {
                    let mut direction = zeros.clone();
                    direction[k][i] = 1.0;
                    let expected = slope(&inputs, &direction, |at| dot(&naive_tangent(at), &g));
                    close(&[found[i] - 0.5], &[expected], 20.0 * NEAR);
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        let case = case();
        for over in ALL {
            let run = || {
                let norm = case.norm(over, Activation::Silu);
                let [mut mean, mut variance] = case.moments(&norm);
                let [mut y, mut dx, mut dx2, mut dt] = [0.0; 4].map(|v| vec![v; case.x.len()]);
                let [mut dw, mut db] = [vec![0.0; SHAPE[1]], vec![0.0; SHAPE[1]]];
                forward(&norm, &case.x, None, &mut mean, &mut variance, &mut y);
                let moments = (&*mean, &*variance);
                backward(&norm, &case.x, moments, &y, &mut dx, (&mut dw, &mut db), None);
                tangent_backward(&norm, &case.x, &y, moments, &dx, (&mut dx2, &mut dt), &mut dw);
                [y, dx, dx2, dt, dw, db].concat()
            };
            assert_eq!(on_threads(1, run), on_threads(5, run));
        }
    }
}
