//! Attend on the processor: values and gradients.
//!
//! A task takes one head of one sample. Nothing is kept between the passes.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Attention, Heads,
    loops::{
        TILE, add_weighted, exponentials, largest, softmax, softmax_backward, softmax_channels,
        softmax_channels_backward,
    },
    matrix::{Rows, Small, mix, products},
};
use crate::ops::shared::{Parts, with_scratch};

/// Queries that full attention takes at once: what is held is this many rows of weights, not all.
const QUERIES: usize = 16;

impl Heads {
    /// Numbers of one head: (dim, positions).
    fn size(self) -> usize {
        self.dim * self.positions
    }

    /// The output's numbers of head `i` of all samples.
    fn place(self, i: usize) -> Range<usize> {
        i * self.size()..(i + 1) * self.size()
    }

    /// Those of its queries (0), keys (1) or values (2).
    fn part(self, i: usize, part: usize) -> Range<usize> {
        let (sample, head) = (i / self.heads, i % self.heads);
        self.place((3 * sample + part) * self.heads + head)
    }

    fn parts(self, i: usize, qkv: &[f32]) -> [&[f32]; 3] {
        [0, 1, 2].map(|part| &qkv[self.part(i, part)])
    }

    fn scale(self) -> f32 {
        (1.0 / (self.dim as f64).sqrt()) as f32
    }

    fn check(self, qkv: &[&[f32]], outputs: &[&[f32]]) {
        let size = self.batch * self.heads * self.size();
        assert!(size > 0);
        assert!(qkv.iter().all(|list| list.len() == 3 * size));
        assert!(outputs.iter().all(|list| list.len() == size));
    }
}

/// Writes the output.
pub(crate) fn forward(kind: Attention, sizes: Heads, qkv: &[f32], out: &mut [f32]) {
    sizes.check(&[qkv], &[out]);
    out.par_chunks_exact_mut(sizes.size())
        .enumerate()
        .for_each(|(i, out)| {
            let qkv = sizes.parts(i, qkv);
            match kind {
                Attention::Linear => linear_forward(sizes, qkv, out),
                Attention::Full => full_forward(sizes, qkv, out),
            }
        });
}

/// Adds to the gradient of `qkv` what that of the output, `dy`, makes of it.
pub(crate) fn backward(kind: Attention, sizes: Heads, qkv: &[f32], dy: &[f32], d_qkv: &mut [f32]) {
    sizes.check(&[qkv, d_qkv], &[dy]);
    let gradients = Parts::of(d_qkv);
    dy.par_chunks_exact(sizes.size()).enumerate().for_each(|(i, dy)| {
        let qkv = sizes.parts(i, qkv);
        // SAFETY: the parts of a head belong to it, and do not overlap.
        let gradients = [0, 1, 2].map(|part| unsafe { gradients.take(sizes.part(i, part)) });
        match kind {
            Attention::Linear => linear_backward(sizes, qkv, dy, gradients),
            Attention::Full => full_backward(sizes, qkv, dy, gradients),
        }
    });
}

/// Rows of `list` from column `start` on.
fn rows(list: &[f32], stride: usize, start: usize) -> Rows<'_> {
    Rows {
        data: &list[start..],
        stride,
    }
}

/// A square of `dim`, or its transpose.
fn square(data: &[f32], dim: usize, transposed: bool) -> Small<'_> {
    let steps = if transposed { [1, dim] } else { [dim, 1] };
    Small { data, steps }
}

fn tiles(positions: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..positions)
        .step_by(TILE)
        .map(move |start| (start, TILE.min(positions - start)))
}

/// context[d, e] = Σ_p softmax_p(k[d])[p] v[e, p]; `most` and `share` get the largest key and 1 / Σ exp(k − most) of
/// each channel.
fn context(
    sizes: Heads,
    [_, k, v]: [&[f32]; 3],
    tile: &mut [f32],
    most: &mut [f32],
    share: &mut [f32],
    out: &mut [f32],
) {
    let (dim, n) = (sizes.dim, sizes.positions);
    for (most, k) in most.iter_mut().zip(k.chunks_exact(n)) {
        *most = largest(k);
    }
    share.fill(0.0);
    out.fill(0.0);
    for (start, len) in tiles(n) {
        for d in 0..dim {
            share[d] += exponentials(
                &k[d * n + start..][..len],
                most[d],
                1.0,
                &mut tile[d * TILE..][..len],
            );
        }
        products(rows(tile, TILE, 0), rows(v, n, start), [dim, dim, len], out, dim);
    }
    for (share, out) in share.iter_mut().zip(out.chunks_exact_mut(dim)) {
        *share = 1.0 / *share;
        for out in out {
            *out *= *share;
        }
    }
}

fn linear_forward(sizes: Heads, qkv: [&[f32]; 3], out: &mut [f32]) {
    let (dim, n) = (sizes.dim, sizes.positions);
    with_scratch(dim * TILE + 2 * dim + dim * dim, |scratch| {
        let (tile, rest) = scratch.split_at_mut(dim * TILE);
        let (most, rest) = rest.split_at_mut(dim);
        let (share, contexts) = rest.split_at_mut(dim);
        context(sizes, qkv, tile, most, share, contexts);
        out.fill(0.0);
        for (start, len) in tiles(n) {
            softmax_channels(&qkv[0][start..], n, [dim, len], sizes.scale(), tile);
            let context = square(contexts, dim, true);
            mix(
                context,
                rows(tile, TILE, 0),
                [dim, dim, len],
                &mut out[start..],
                n,
            );
        }
    });
}

fn linear_backward(sizes: Heads, qkv: [&[f32]; 3], dy: &[f32], [dq, dk, dv]: [&mut [f32]; 3]) {
    let (dim, n, scale) = (sizes.dim, sizes.positions, sizes.scale());
    with_scratch(2 * dim * TILE + 3 * dim + 2 * dim * dim, |scratch| {
        let (tile, rest) = scratch.split_at_mut(dim * TILE);
        let (d_tile, rest) = rest.split_at_mut(dim * TILE);
        let (most, rest) = rest.split_at_mut(dim);
        let (share, rest) = rest.split_at_mut(dim);
        let (inner, rest) = rest.split_at_mut(dim);
        let (contexts, d_contexts) = rest.split_at_mut(dim * dim);
        context(sizes, qkv, tile, most, share, contexts);
        d_contexts.fill(0.0);
        for (start, len) in tiles(n) {
            softmax_channels(&qkv[0][start..], n, [dim, len], scale, tile);
            products(
                rows(tile, TILE, 0),
                rows(dy, n, start),
                [dim, dim, len],
                d_contexts,
                dim,
            );
            d_tile.fill(0.0);
            mix(
                square(contexts, dim, false),
                rows(dy, n, start),
                [dim, dim, len],
                d_tile,
                TILE,
            );
            softmax_channels_backward(tile, d_tile, [dim, len], 1.0 / scale, &mut dq[start..], n);
        }
        // Σ_p softmax_p(k) times its gradient, without another pass over positions.
        for (d, inner) in inner.iter_mut().enumerate() {
            let (a, b) = (&contexts[d * dim..][..dim], &d_contexts[d * dim..][..dim]);
            *inner = a.iter().zip(b).map(|(a, b)| a * b).sum();
        }
        for (start, len) in tiles(n) {
            for d in 0..dim {
                exponentials(
                    &qkv[1][d * n + start..][..len],
                    most[d],
                    share[d],
                    &mut tile[d * TILE..][..len],
                );
            }
            let transposed = square(d_contexts, dim, true);
            mix(
                transposed,
                rows(tile, TILE, 0),
                [dim, dim, len],
                &mut dv[start..],
                n,
            );
            d_tile.fill(0.0);
            mix(
                square(d_contexts, dim, false),
                rows(qkv[2], n, start),
                [dim, dim, len],
                d_tile,
                TILE,
            );
            for d in 0..dim {
                let (a, da) = (&tile[d * TILE..][..len], &d_tile[d * TILE..][..len]);
                add_weighted(a, da, inner[d], 1.0, &mut dk[d * n + start..][..len]);
            }
        }
    });
}

/// softmax over positions of the queries from `start` on, one row a query.
fn weights(sizes: Heads, [q, k, _]: [&[f32]; 3], start: usize, count: usize, out: &mut [f32]) {
    let (dim, n) = (sizes.dim, sizes.positions);
    out.fill(0.0);
    let queries = Small {
        data: &q[start..],
        steps: [1, n],
    };
    mix(queries, rows(k, n, 0), [count, dim, n], out, n);
    for row in out.chunks_exact_mut(n) {
        softmax(row, sizes.scale());
    }
}

fn full_forward(sizes: Heads, qkv: [&[f32]; 3], out: &mut [f32]) {
    let (dim, n) = (sizes.dim, sizes.positions);
    out.fill(0.0);
    with_scratch(QUERIES * n, |scratch| {
        for start in (0..n).step_by(QUERIES) {
            let count = QUERIES.min(n - start);
            let a = &mut scratch[..count * n];
            weights(sizes, qkv, start, count, a);
            products(
                rows(qkv[2], n, 0),
                rows(a, n, 0),
                [dim, count, n],
                &mut out[start..],
                n,
            );
        }
    });
}

fn full_backward(sizes: Heads, qkv: [&[f32]; 3], dy: &[f32], [dq, dk, dv]: [&mut [f32]; 3]) {
    let (dim, n) = (sizes.dim, sizes.positions);
    with_scratch(2 * QUERIES * n, |scratch| {
        let (all, all_da) = scratch.split_at_mut(QUERIES * n);
        for start in (0..n).step_by(QUERIES) {
            let count = QUERIES.min(n - start);
            let (a, da) = (&mut all[..count * n], &mut all_da[..count * n]);
            weights(sizes, qkv, start, count, a);
            mix(
                Small {
                    data: &dy[start..],
                    steps: [n, 1],
                },
                rows(a, n, 0),
                [dim, count, n],
                dv,
                n,
            );
            da.fill(0.0);
            mix(
                Small {
                    data: &dy[start..],
                    steps: [1, n],
                },
                rows(qkv[2], n, 0),
                [count, dim, n],
                da,
                n,
            );
            for (a, da) in a.chunks_exact(n).zip(da.chunks_exact_mut(n)) {
                softmax_backward(a, da, sizes.scale());
            }
            products(
                rows(qkv[1], n, 0),
                rows(da, n, 0),
                [dim, count, n],
                &mut dq[start..],
                n,
            );
            mix(
                Small {
                    data: &qkv[0][start..],
                    steps: [n, 1],
                },
                rows(da, n, 0),
                [dim, count, n],
                dk,
                n,
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{close, numbers, on_threads};

    const KINDS: [Attention; 2] = [Attention::Full, Attention::Linear];
    /// Rounding of sums of f32.
    const NEAR: f64 = 1e-5;

    fn heads(positions: usize) -> Heads {
        Heads {
            batch: 2,
            heads: 2,
            dim: 3,
            positions,
        }
    }

    fn size(sizes: Heads) -> usize {
        sizes.batch * sizes.heads * sizes.size()
    }

    /// The output, in f64, one number after another.
    fn naive(kind: Attention, sizes: Heads, qkv: &[f64]) -> Vec<f64> {
        let Heads {
            batch,
            heads,
            dim,
            positions,
        } = sizes;
        let at = |b: usize, part: usize, h: usize, d: usize, p: usize| {
            qkv[(((b * 3 + part) * heads + h) * dim + d) * positions + p]
        };
        let scale = 1.0 / (dim as f64).sqrt();
        let mut out = Vec::new();
        for (b, h) in (0..batch).flat_map(|b| (0..heads).map(move |h| (b, h))) {
            for e in 0..dim {
                for p in 0..positions {
                    let share = |scores: Vec<f64>, values: Vec<f64>| {
                        let total: f64 = scores.iter().map(|s| s.exp()).sum();
                        scores.iter().zip(values).map(|(s, v)| s.exp() * v).sum::<f64>() / total
                    };
                    let values = || (0..positions).map(|j| at(b, 2, h, e, j)).collect::<Vec<_>>();
                    out.push(match kind {
                        Attention::Full => {
                            let score = |j| {
                                (0..dim)
                                    .map(|d| at(b, 0, h, d, p) * at(b, 1, h, d, j))
                                    .sum::<f64>()
                            };
                            share((0..positions).map(|j| scale * score(j)).collect(), values())
                        }
                        Attention::Linear => {
                            let context =
                                |d| share((0..positions).map(|j| at(b, 1, h, d, j)).collect(), values());
                            scale
                                * share(
                                    (0..dim).map(|d| at(b, 0, h, d, p)).collect(),
                                    (0..dim).map(context).collect(),
                                )
                        }
                    });
                }
            }
        }
        out
    }

    fn double(list: &[f32]) -> Vec<f64> {
        list.iter().map(|v| *v as f64).collect()
    }

    /// The derivative of `f` along `t`.
    fn along(f: impl Fn(&[f64]) -> Vec<f64>, at: &[f64], t: &[f64], step: f64) -> Vec<f64> {
        let moved = |h: f64| f(&at.iter().zip(t).map(|(x, t)| x + h * t).collect::<Vec<_>>());
        moved(step)
            .iter()
            .zip(moved(-step))
            .map(|(a, b)| (a - b) / (2.0 * step))
            .collect()
    }

    fn dot(a: &[f64], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * *b as f64).sum()
    }

    #[test]
    fn values_and_gradients_match_f64() {
        for kind in KINDS {
            let sizes = heads(19);
            let qkv: Vec<f32> = numbers(3 * size(sizes), 1).iter().map(|v| 2.0 * v).collect();
            let (mut out, dy) = (vec![0.0; size(sizes)], numbers(size(sizes), 2));
            forward(kind, sizes, &qkv, &mut out);
            close(&out, &naive(kind, sizes, &double(&qkv)), NEAR);
            let mut d_qkv = vec![0.5; qkv.len()];
            backward(kind, sizes, &qkv, &dy, &mut d_qkv);
            for i in (0..qkv.len()).step_by(7) {
                let mut one = vec![0.0; qkv.len()];
                one[i] = 1.0;
                let moved = along(|x| naive(kind, sizes, x), &double(&qkv), &one, 1e-4);
                close(&[d_qkv[i] - 0.5], &[dot(&moved, &dy)], NEAR);
            }
        }
    }

    #[test]
    fn sizes_that_fill_no_tile_are_right_as_well() {
        for kind in KINDS {
            let sizes = Heads {
                batch: 1,
                heads: 2,
                dim: 5,
                positions: TILE + 21,
            };
            let (qkv, dy) = (numbers(3 * size(sizes), 1), numbers(size(sizes), 2));
            let (mut out, mut d_qkv) = (vec![9.0; size(sizes)], vec![0.0; 3 * size(sizes)]);
            forward(kind, sizes, &qkv, &mut out);
            backward(kind, sizes, &qkv, &dy, &mut d_qkv);
            close(&out, &naive(kind, sizes, &double(&qkv)), NEAR);
            for i in (0..qkv.len()).step_by(1501) {
                let mut one = vec![0.0; qkv.len()];
                one[i] = 1.0;
                let moved = along(|x| naive(kind, sizes, x), &double(&qkv), &one, 1e-4);
                close(&[d_qkv[i]], &[dot(&moved, &dy)], NEAR);
            }
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        for kind in KINDS {
            let sizes = heads(300);
            let run = || {
                let (qkv, dy) = (numbers(3 * size(sizes), 1), numbers(size(sizes), 2));
                let (mut out, mut d_qkv) = (vec![0.0; size(sizes)], vec![0.0; 3 * size(sizes)]);
                forward(kind, sizes, &qkv, &mut out);
                backward(kind, sizes, &qkv, &dy, &mut d_qkv);
                [out, d_qkv].concat()
            };
            assert_eq!(on_threads(1, run), on_threads(5, run));
        }
    }
}
