//! Mix the channels at each position by one invertible matrix, kept as its triangular factors (Kingma & Dhariwal 2018,
//! arXiv 1807.03039).
//!
//! `W = P L (U + diag(sign · exp(log_scale)))`: P a fixed order, L lower triangular with ones, U strictly upper. The
//! logarithm of |det W| is the sum of `log_scale`, whatever the rest.

use armilla_samplers::rng::Stream;
use dfdx::tensor::Tape;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::rows::{ROWS, sum_over_rows};
use crate::{
    device::Device,
    error::Result,
    field::Field,
    ops::{HostMap, host},
    parameter::{Module, Parameter},
};

/// The layer: it mixes the first `channels` × `positions` numbers of each row.
#[derive(Clone)]
pub(super) struct Mixing<D: Device> {
    width: usize,
    channels: usize,
    positions: usize,
    lower: Parameter<D>,
    upper: Parameter<D>,
    log_scale: Parameter<D>,
    /// Fixed, but part of the weights: they belong to the matrix that the training started from.
    sign: Parameter<D>,
    order: Parameter<D>,
}

/// The factors in f64.
struct Factors {
    n: usize,
    lower: Vec<f64>,
    /// With its diagonal.
    upper: Vec<f64>,
    log_scale: Vec<f64>,
    order: Vec<usize>,
}

impl Factors {
    /// Of lower, upper, log_scale, sign and order.
    fn new(lists: &[&[f32]]) -> Self {
        let n = lists[2].len();
        let at = |list: usize, i: usize, j: usize| f64::from(lists[list][i * n + j]);
        let each =
            |of: &dyn Fn(usize, usize) -> f64| -> Vec<f64> { (0..n * n).map(|k| of(k / n, k % n)).collect() };
        Self {
            n,
            lower: each(&|i, j| match i.cmp(&j) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => 1.0,
                std::cmp::Ordering::Greater => at(0, i, j),
            }),
            upper: each(&|i, j| match i.cmp(&j) {
                std::cmp::Ordering::Less => at(1, i, j),
                std::cmp::Ordering::Equal => f64::from(lists[3][i]) * f64::from(lists[2][i]).exp(),
                std::cmp::Ordering::Greater => 0.0,
            }),
            log_scale: lists[2].iter().map(|s| f64::from(*s)).collect(),
            order: lists[4].iter().map(|o| (*o as usize).min(n - 1)).collect(),
        }
    }

    fn log_determinant(&self) -> f64 {
        self.log_scale.iter().sum()
    }

    /// The matrix, in single precision.
    fn matrix(&self) -> Vec<f32> {
        let product = product(&self.lower, &self.upper, self.n);
        let rows = self
            .order
            .iter()
            .flat_map(|o| &product[o * self.n..(o + 1) * self.n]);
        rows.map(|v| *v as f32).collect()
    }

    /// What the matrix takes to `y`, in its place.
    fn solve(&self, y: &[f64], x: &mut [f64]) {
        let n = self.n;
        self.order.iter().zip(y).for_each(|(o, y)| x[*o] = *y);
        for i in 0..n {
            let known: f64 = (0..i).map(|j| self.lower[i * n + j] * x[j]).sum();
            x[i] -= known;
        }
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|j| self.upper[i * n + j] * x[j]).sum();
            x[i] = (x[i] - known) / self.upper[i * n + i];
        }
    }
}

fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut c = vec![0.0; n * n];
    for i in 0..n {
        for k in 0..n {
            let a = a[i * n + k];
            for j in 0..n {
                c[i * n + j] += a * b[k * n + j];
            }
        }
    }
    c
}

/// A random rotation: normal rows made orthonormal, twice for the rounding.
pub(super) fn rotation(n: usize, stream: &mut Stream) -> Vec<f64> {
    let mut m: Vec<f64> = (0..n * n).map(|_| StandardNormal.sample(stream)).collect();
    for i in (0..n).flat_map(|i| [i, i]) {
        let (before, row) = m.split_at_mut(i * n);
        let row = &mut row[..n];
        for other in before.chunks_exact(n) {
            let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
        }
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
    m
}

/// The lists of [`Factors`] of an invertible matrix, by elimination with the largest pivots.
fn factorise(matrix: &[f64]) -> [Vec<f32>; 5] {
    let n = matrix.len().isqrt();
    let (mut m, mut rows) = (matrix.to_vec(), (0..n).collect::<Vec<_>>());
    for k in 0..n {
        let pivot = (k..n)
            .max_by(|a, b| m[a * n + k].abs().total_cmp(&m[b * n + k].abs()))
            .unwrap_or(k);
        rows.swap(k, pivot);
        for j in 0..n {
            m.swap(k * n + j, pivot * n + j);
        }
        for i in k + 1..n {
            m[i * n + k] /= m[k * n + k];
            for j in k + 1..n {
                m[i * n + j] -= m[i * n + k] * m[k * n + j];
            }
        }
    }
    // Row k of the product is row rows[k] of the matrix.
    let mut order = vec![0.0; n];
    rows.iter()
        .enumerate()
        .for_each(|(k, row)| order[*row] = k as f32);
    let part = |lower: bool| {
        let kept = (0..n * n).map(|k| {
            if lower == (k / n > k % n) && k / n != k % n {
                m[k] as f32
            } else {
                0.0
            }
        });
        kept.collect::<Vec<f32>>()
    };
    let diagonal = || (0..n).map(|i| m[i * n + i]);
    [
        part(true),
        part(false),
        diagonal().map(|v| v.abs().ln() as f32).collect(),
        diagonal().map(|v| v.signum() as f32).collect(),
        order,
    ]
}

impl<D: Device> Mixing<D> {
    /// Starting as `matrix`, which must be invertible.
    pub(super) fn new(device: &D, width: usize, positions: usize, matrix: &[f64]) -> Result<Self> {
        let n = matrix.len().isqrt();
        let [lower, upper, log_scale, sign, order] = factorise(matrix);
        let fixed = |values: Vec<f32>| -> Result<Parameter<D>> {
            let mut buffer = Parameter::buffer(device, n, 0.0)?;
            buffer.set(&values);
            Ok(buffer)
        };
        Ok(Self {
            width,
            channels: n,
            positions,
            lower: Parameter::new(device, vec![n, n], lower)?,
            upper: Parameter::new(device, vec![n, n], upper)?,
            log_scale: Parameter::new(device, vec![n], log_scale)?,
            sign: fixed(sign)?,
            order: fixed(order)?,
        })
    }

    fn weights(&self) -> [&Parameter<D>; 5] {
        [&self.lower, &self.upper, &self.log_scale, &self.sign, &self.order]
    }

    pub(super) fn forward<T: Tape<f32, D>>(&self, rows: Field<D, T>) -> Result<Field<D, T>> {
        let map = Mixed {
            width: self.width,
            channels: self.channels,
            positions: self.positions,
        };
        host(vec![rows], &self.weights(), map, self.width, [1; 3])
    }

    pub(super) fn inverse(&self, mut rows: Vec<f32>) -> Vec<f32> {
        let lists = self.weights().map(Parameter::to_vec);
        let factors = Factors::new(&lists.each_ref().map(Vec::as_slice));
        let (n, positions, last) = (self.channels, self.positions, self.width - 1);
        let log_determinant = factors.log_determinant() * positions as f64;
        rows.par_chunks_exact_mut(self.width)
            .with_min_len(ROWS)
            .for_each(|row| {
                let (mut y, mut x) = (vec![0.0; n], vec![0.0; n]);
                for q in 0..positions {
                    (0..n).for_each(|c| y[c] = f64::from(row[c * positions + q]));
                    factors.solve(&y, &mut x);
                    (0..n).for_each(|c| row[c * positions + q] = x[c] as f32);
                }
                row[last] = (f64::from(row[last]) - log_determinant) as f32;
            });
        rows
    }
}

impl<D: Device> Module<D> for Mixing<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        let names = ["lower", "upper", "log_scale", "sign", "order"];
        names.into_iter().map(String::from).zip(self.weights()).collect()
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        vec![
            &mut self.lower,
            &mut self.upper,
            &mut self.log_scale,
            &mut self.sign,
            &mut self.order,
        ]
    }
}

/// The map: rows, then the five lists.
struct Mixed {
    width: usize,
    channels: usize,
    positions: usize,
}

impl HostMap for Mixed {
    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let factors = Factors::new(&inputs[1..]);
        let matrix = factors.matrix();
        let (n, positions) = (self.channels, self.positions);
        let added = factors.log_determinant() * positions as f64;
        y.par_chunks_exact_mut(self.width)
            .zip(inputs[0].par_chunks_exact(self.width))
            .with_min_len(ROWS)
            .for_each(|(y, x)| {
                y.copy_from_slice(x);
                y[..n * positions].fill(0.0);
                for (y, weights) in y.chunks_exact_mut(positions).zip(matrix.chunks_exact(n)) {
                    for (x, w) in x.chunks_exact(positions).zip(weights) {
                        y.iter_mut().zip(x).for_each(|(y, x)| *y += w * x);
                    }
                }
                let last = self.width - 1;
                y[last] = (f64::from(x[last]) + added) as f32;
            });
    }

    fn backward(&self, inputs: &[&[f32]], dy: &[f32], gradients: &mut [Vec<f32>]) {
        let factors = Factors::new(&inputs[1..]);
        let matrix = factors.matrix();
        let (n, positions, width) = (self.channels, self.positions, self.width);
        let active = n * positions;
        // The matrix's gradient, and that of the log-determinant behind it.
        let sum = sum_over_rows(width, dy, &mut gradients[0], n * n + 1, |r, dy, dx, sum| {
            let x = &inputs[0][r * width..][..active];
            for (i, dy) in dy[..active].chunks_exact(positions).enumerate() {
                for (j, x) in x.chunks_exact(positions).enumerate() {
                    sum[i * n + j] += f64::from(dy.iter().zip(x).map(|(d, x)| d * x).sum::<f32>());
                    let w = matrix[i * n + j];
                    let dx = &mut dx[j * positions..][..positions];
                    dx.iter_mut().zip(dy).for_each(|(dx, d)| *dx += w * d);
                }
            }
            dx[active..]
                .iter_mut()
                .zip(&dy[active..])
                .for_each(|(dx, d)| *dx += d);
            sum[n * n] += f64::from(dy[width - 1]);
        });
        // Through the order, then the product of the factors.
        let mut of_product = vec![0.0; n * n];
        for (i, o) in factors.order.iter().enumerate() {
            of_product[o * n..(o + 1) * n].copy_from_slice(&sum[i * n..(i + 1) * n]);
        }
        let transposed = |m: &[f64]| -> Vec<f64> { (0..n * n).map(|k| m[k % n * n + k / n]).collect() };
        let of_lower = product(&of_product, &transposed(&factors.upper), n);
        let of_upper = product(&transposed(&factors.lower), &of_product, n);
        let add = |to: &mut [f32], from: &[f64], kept: fn(usize, usize) -> bool| {
            for (k, (to, from)) in to.iter_mut().zip(from).enumerate() {
                if kept(k / n, k % n) {
                    *to += *from as f32;
                }
            }
        };
        add(&mut gradients[1], &of_lower, |i, j| i > j);
        add(&mut gradients[2], &of_upper, |i, j| i < j);
        for (i, to) in gradients[3].iter_mut().enumerate() {
            let own = of_upper[i * n + i] * factors.upper[i * n + i];
            *to += (own + positions as f64 * sum[n * n]) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use armilla_samplers::rng::{Purpose, stream};
    use dfdx::tensor::{Cpu, NoneTape};

    use super::*;

    /// Factors rounded to single precision.
    const ROUNDED: f64 = 1e-5;

    fn lists(matrix: &[f64]) -> Vec<Vec<f32>> {
        factorise(matrix).to_vec()
    }

    #[test]
    fn factors_give_the_matrix_back() {
        for n in [1, 2, 5, 12] {
            let matrix = rotation(n, &mut stream(1, Purpose::Noise, n as u64));
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
                    assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
                }
            }
            let lists = lists(&matrix);
            let factors = Factors::new(&lists.iter().map(Vec::as_slice).collect::<Vec<_>>());
            // A rotation keeps volumes.
            assert!(factors.log_determinant().abs() < ROUNDED * n as f64);
            for (a, b) in factors.matrix().iter().zip(&matrix) {
                assert!((f64::from(*a) - b).abs() < ROUNDED);
            }
        }
    }

    #[test]
    fn an_order_moves_channels_and_keeps_volumes() {
        // Channel 0 to place 1, 1 to 2, 2 to 0, each of two positions.
        let matrix = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let layer = Mixing::new(&Cpu::default(), 7, 2, &matrix).unwrap();
        let x = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5];
        let rows = Field::rows(&Cpu::default(), x.clone(), 1).unwrap();
        let y = layer.forward::<NoneTape>(rows).unwrap().to_vec();
        assert_eq!(y, [5.0, 6.0, 1.0, 2.0, 3.0, 4.0, 0.5]);
        assert_eq!(layer.inverse(y), x);
    }

    #[test]
    fn scales_are_the_determinant() {
        let matrix = [2.0, 0.0, 0.0, -0.25];
        let layer = Mixing::new(&Cpu::default(), 4, 1, &matrix).unwrap();
        let rows = Field::rows(&Cpu::default(), vec![1.0, 4.0, 9.0, 0.0], 1).unwrap();
        let y = layer.forward::<NoneTape>(rows).unwrap().to_vec();
        assert_eq!(y[..3], [2.0, -1.0, 9.0]);
        assert!((f64::from(y[3]) - 0.5f64.ln()).abs() < 1e-7);
    }
}
