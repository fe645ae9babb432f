//! Multiply matrices of a few dozen rows and many columns.

#![allow(clippy::needless_range_loop)] // several lists go along one index, and a count in constants vectorises

use crate::ops::simd::{dispatch, multiply_add};

const LANES: usize = 8;

/// Rows of `x` with columns side by side: number (i, p) is at `i · stride + p`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

/// A small matrix: number (i, j) is at `i · steps[0] + j · steps[1]`.
#[derive(Clone, Copy)]
pub(super) struct Small<'a> {
    pub data: &'a [f32],
    pub steps: [usize; 2],
}

dispatch! {
    /// y[i, p] += Σ_j w[i, j] x[j, p] for sizes (i, j, p); rows of y are `stride` apart.
    pub(super) fn mix(w: Small, x: Rows, sizes: [usize; 3], y: &mut [f32], stride: usize) = mix_body
}

#[inline(always)]
fn mix_body<const FMA: bool>(w: Small, x: Rows, [m, n, p]: [usize; 3], y: &mut [f32], stride: usize) {
    const ROWS: usize = 4;
    const WIDTH: usize = 2 * LANES;
    /// Rows of x copied side by side: where they lie, a power of two apart, they would push each other out of the cache.
    const PANEL: usize = 32;
    let full = p / WIDTH * WIDTH;
    let mut panel = [[0.0f32; WIDTH]; PANEL];
    for (start, base) in (0..full)
        .step_by(WIDTH)
        .flat_map(|start| (0..n).step_by(PANEL).map(move |base| (start, base)))
    {
        let panel = &mut panel[..PANEL.min(n - base)];
        for (j, to) in panel.iter_mut().enumerate() {
            to.copy_from_slice(&x.data[(base + j) * x.stride + start..][..WIDTH]);
        }
        for first in (0..m).step_by(ROWS) {
            let mut sums = [[0.0f32; WIDTH]; ROWS];
            // Rows beyond the last repeat it and are not written.
            let mut rows = [0; ROWS];
            for r in 0..ROWS {
                rows[r] = (first + r).min(m - 1) * w.steps[0] + base * w.steps[1];
            }
            for (j, lanes) in panel.iter().enumerate() {
                for r in 0..ROWS {
                    let weight = w.data[rows[r] + j * w.steps[1]];
                    for l in 0..WIDTH {
                        sums[r][l] = multiply_add::<FMA>(weight, lanes[l], sums[r][l]);
                    }
                }
            }
            // Counted to constants, so that the sums stay in registers.
            for r in 0..ROWS {
                if first + r < m
                    && let Some(y) = y[(first + r) * stride + start..].first_chunk_mut::<WIDTH>()
                {
                    for l in 0..WIDTH {
                        y[l] += sums[r][l];
                    }
                }
            }
        }
    }
    for i in 0..m {
        for j in 0..n {
            let weight = w.data[i * w.steps[0] + j * w.steps[1]];
            for at in full..p {
                y[i * stride + at] += weight * x.data[j * x.stride + at];
            }
        }
    }
}

/// Rows of a and of b whose products are taken at once.
const A: usize = 4;
const B: usize = 2;

/// c[i, j] += Σ_p a[i, p] b[j, p] for sizes (i, j, p); rows of c are `stride` apart.
pub(super) fn products(a: Rows, b: Rows, [m, n, p]: [usize; 3], c: &mut [f32], stride: usize) {
    let chunks = p / LANES;
    for i in (0..m).step_by(A) {
        for j in (0..n).step_by(B) {
            // As above.
            let from_a: [_; A] = std::array::from_fn(|r| &a.data[(i + r).min(m - 1) * a.stride..]);
            let from_b: [_; B] = std::array::from_fn(|s| &b.data[(j + s).min(n - 1) * b.stride..]);
            let sums = block(
                from_a.map(|row| &row.as_chunks().0[..chunks]),
                from_b.map(|row| &row.as_chunks().0[..chunks]),
            );
            for r in 0..A.min(m - i) {
                for s in 0..B.min(n - j) {
                    let rest = from_a[r][..p].iter().zip(&from_b[s][..p]).skip(chunks * LANES);
                    let rest: f32 = rest.map(|(a, b)| a * b).sum();
                    c[(i + r) * stride + j + s] += sums[r][s].iter().sum::<f32>() + rest;
                }
            }
        }
    }
}

dispatch! {
    /// Products of all rows of a with all of b, summed in lanes. A function of its own: with the sum over lanes in sight, the
    /// compiler gives up the vectors.
    fn block(a: [&[[f32; LANES]]; A], b: [&[[f32; LANES]]; B]) -> [[[f32; LANES]; B]; A] = block_body
}

#[inline(always)]
fn block_body<const FMA: bool>(
    [a0, a1, a2, a3]: [&[[f32; LANES]]; A],
    [b0, b1]: [&[[f32; LANES]]; B],
) -> [[[f32; LANES]; B]; A] {
    let mut sums = [[[0.0f32; LANES]; B]; A];
    for (((((a0, a1), a2), a3), b0), b1) in a0.iter().zip(a1).zip(a2).zip(a3).zip(b0).zip(b1) {
        let (a, b) = ([a0, a1, a2, a3], [b0, b1]);
        for r in 0..A {
            for s in 0..B {
                for l in 0..LANES {
                    sums[r][s][l] = multiply_add::<FMA>(a[r][l], b[s][l], sums[r][s][l]);
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{close, numbers};

    #[test]
    fn products_match_loops() {
        /// Rounding of sums of a hundred terms.
        const NEAR: f64 = 1e-5;
        for (m, n, p) in [(32, 32, 64), (5, 3, 37), (1, 1, 1), (7, 9, 16)] {
            let (x, z) = (numbers(n * p, 1), numbers(m * p, 2));
            for steps in [[n, 1], [1, m]] {
                let w = numbers(m * n, 3);
                let mut y = vec![1.0; m * p];
                let small = Small { data: &w, steps };
                mix(small, Rows { data: &x, stride: p }, [m, n, p], &mut y, p);
                let expected: Vec<f64> = (0..m * p)
                    .map(|at| {
                        let term = |j| w[at / p * steps[0] + j * steps[1]] as f64 * x[j * p + at % p] as f64;
                        1.0 + (0..n).map(term).sum::<f64>()
                    })
                    .collect();
                close(&y, &expected, NEAR);
            }
            let mut c = vec![1.0; m * n];
            products(
                Rows { data: &z, stride: p },
                Rows { data: &x, stride: p },
                [m, n, p],
                &mut c,
                n,
            );
            let expected: Vec<f64> = (0..m * n)
                .map(|at| {
                    let term = |k| z[at / n * p + k] as f64 * x[at % n * p + k] as f64;
                    1.0 + (0..p).map(term).sum::<f64>()
                })
                .collect();
            close(&c, &expected, NEAR);
        }
    }
}
