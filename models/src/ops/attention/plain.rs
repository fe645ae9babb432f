//! Attend in plain loops over dual numbers, for one head: the derivatives of both passes along a direction.
//!
//! Every list is (dim, positions).

use std::ops::{Add, AddAssign, Mul, Sub};

use super::Attention;

/// A number and how it moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dual {
    pub value: f64,
    pub moved: f64,
}

impl Dual {
    const ZERO: Self = Self::constant(0.0);

    pub const fn constant(value: f64) -> Self {
        Self { value, moved: 0.0 }
    }

    fn exp(self) -> Self {
        let value = self.value.exp();
        Self {
            value,
            moved: value * self.moved,
        }
    }

    fn reciprocal(self) -> Self {
        let value = 1.0 / self.value;
        Self {
            value,
            moved: -value * value * self.moved,
        }
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            moved: self.moved + other.moved,
        }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            value: self.value - other.value,
            moved: self.moved - other.moved,
        }
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self {
            value: self.value * other.value,
            moved: self.value * other.moved + self.moved * other.value,
        }
    }
}

impl AddAssign for Dual {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// softmax of the numbers at `places`.
fn softmax(list: &mut [Dual], places: impl Iterator<Item = usize> + Clone) {
    let most = places
        .clone()
        .fold(f64::NEG_INFINITY, |m, i| m.max(list[i].value));
    let mut total = Dual::ZERO;
    for i in places.clone() {
        // What is taken off cancels: it need not move.
        list[i] = (list[i] - Dual::constant(most)).exp();
        total += list[i];
    }
    let share = total.reciprocal();
    for i in places {
        list[i] = list[i] * share;
    }
}

/// Turns the gradient of a softmax `a` into that of what went in.
fn softmax_backward(a: &[Dual], gradient: &mut [Dual], places: impl Iterator<Item = usize> + Clone) {
    let mut total = Dual::ZERO;
    for i in places.clone() {
        total += a[i] * gradient[i];
    }
    for i in places {
        gradient[i] = a[i] * (gradient[i] - total);
    }
}

/// The output for queries, keys and values.
pub(super) fn forward(kind: Attention, [q, k, v]: [&[Dual]; 3], dim: usize) -> Vec<Dual> {
    let positions = q.len() / dim;
    let scale = Dual::constant(1.0 / (dim as f64).sqrt());
    let mut out = vec![Dual::ZERO; q.len()];
    match kind {
        Attention::Full => {
            for i in 0..positions {
                let a = weights(q, k, dim, i, scale);
                for d in 0..dim {
                    for (a, v) in a.iter().zip(&v[d * positions..]) {
                        out[d * positions + i] += *a * *v;
                    }
                }
            }
        }
        Attention::Linear => {
            let (q, k) = (softmax_channels(q, dim), softmax_positions(k, dim));
            let context = contract(&k, v, dim);
            for d in 0..dim {
                for e in 0..dim {
                    let weight = context[d * dim + e] * scale;
                    for p in 0..positions {
                        out[e * positions + p] += weight * q[d * positions + p];
                    }
                }
            }
        }
    }
    out
}

/// The gradients of queries, keys and values from that of the output.
pub(super) fn backward(kind: Attention, [q, k, v]: [&[Dual]; 3], dim: usize, dy: &[Dual]) -> [Vec<Dual>; 3] {
    let positions = q.len() / dim;
    let scale = Dual::constant(1.0 / (dim as f64).sqrt());
    let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![Dual::ZERO; q.len()]);
    match kind {
        Attention::Full => {
            for i in 0..positions {
                let a = weights(q, k, dim, i, scale);
                let mut da = vec![Dual::ZERO; positions];
                for d in 0..dim {
                    let dy = dy[d * positions + i];
                    for j in 0..positions {
                        dv[d * positions + j] += dy * a[j];
                        da[j] += dy * v[d * positions + j];
                    }
                }
                softmax_backward(&a, &mut da, 0..positions);
                for d in 0..dim {
                    for j in 0..positions {
                        let ds = da[j] * scale;
                        dq[d * positions + i] += ds * k[d * positions + j];
                        dk[d * positions + j] += ds * q[d * positions + i];
                    }
                }
            }
        }
        Attention::Linear => {
            let (q, k) = (softmax_channels(q, dim), softmax_positions(k, dim));
            let (context, d_context) = (contract(&k, v, dim), contract(&q, dy, dim));
            for d in 0..dim {
                for e in 0..dim {
                    let [weight, d_weight] = [context[d * dim + e] * scale, d_context[d * dim + e] * scale];
                    for p in 0..positions {
                        let (d, e) = (d * positions + p, e * positions + p);
                        dq[d] += weight * dy[e];
                        dk[d] += d_weight * v[e];
                        dv[e] += d_weight * k[d];
                    }
                }
            }
            for p in 0..positions {
                softmax_backward(&q, &mut dq, (0..dim).map(|d| d * positions + p));
            }
            for d in 0..dim {
                softmax_backward(&k, &mut dk, d * positions..(d + 1) * positions);
            }
        }
    }
    [dq, dk, dv]
}

/// How position `i` weighs all positions.
fn weights(q: &[Dual], k: &[Dual], dim: usize, i: usize, scale: Dual) -> Vec<Dual> {
    let positions = q.len() / dim;
    let mut a = vec![Dual::ZERO; positions];
    for d in 0..dim {
        let q = q[d * positions + i] * scale;
        for (a, k) in a.iter_mut().zip(&k[d * positions..]) {
            *a += q * *k;
        }
    }
    softmax(&mut a, 0..positions);
    a
}

fn softmax_channels(q: &[Dual], dim: usize) -> Vec<Dual> {
    let positions = q.len() / dim;
    let mut q = q.to_vec();
    for p in 0..positions {
        softmax(&mut q, (0..dim).map(|d| d * positions + p));
    }
    q
}

fn softmax_positions(k: &[Dual], dim: usize) -> Vec<Dual> {
    let positions = k.len() / dim;
    let mut k = k.to_vec();
    for d in 0..dim {
        softmax(&mut k, d * positions..(d + 1) * positions);
    }
    k
}

/// Σ_p a[d, p] b[e, p].
fn contract(a: &[Dual], b: &[Dual], dim: usize) -> Vec<Dual> {
    let positions = a.len() / dim;
    let mut out = vec![Dual::ZERO; dim * dim];
    for (d, a) in a.chunks_exact(positions).enumerate() {
        for (e, b) in b.chunks_exact(positions).enumerate() {
            for (a, b) in a.iter().zip(b) {
                out[d * dim + e] += *a * *b;
            }
        }
    }
    out
}
