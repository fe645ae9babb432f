//! Map k(k − 1)/2 real numbers onto the Cholesky factors of correlation matrices of k variables.

use std::f64::consts::LN_2;

use crate::number::Number;

/// ln(1 − tanh²(z)), with all its digits in the tails.
fn ln_one_less_square<N: Number>(z: N) -> N {
    let size = z.abs();
    (-size - (size * -2.0).softplus() + LN_2) * 2.0
}

/// Every number is the tanh of a z times the square root of what its row has left of its length of 1; the
/// diagonal takes the rest.
pub(super) fn constrain<N: Number>(k: usize, z: &[N], x: &mut [N]) -> N {
    let mut ln_jacobian = N::from(0.0);
    let (mut z, mut x) = (z.iter(), x.iter_mut());
    for row in 0..k {
        // The logarithm of what is left of the row's square.
        let mut ln_left = N::from(0.0);
        for (&z, x) in z.by_ref().take(row).zip(x.by_ref()) {
            let ln_rest = ln_one_less_square(z);
            *x = z.tanh() * (ln_left * 0.5).exp();
            ln_jacobian += ln_rest + ln_left * 0.5;
            ln_left += ln_rest;
        }
        if let Some(x) = x.next() {
            *x = (ln_left * 0.5).exp().clamp_value(f64::MIN_POSITIVE, 1.0);
        }
    }
    ln_jacobian
}

pub(super) fn unconstrain(k: usize, x: &[f64], z: &mut [f64]) {
    for row in 0..k {
        let (x, z) = (
            &x[row * (row + 1) / 2..][..=row],
            &mut z[row * row.saturating_sub(1) / 2..][..row],
        );
        // The length of the rest of the row, from its end: without a difference to 1.
        let mut rest = x[row];
        for (x, z) in x[..row].iter().zip(z).rev() {
            *z = (x / rest).asinh();
            rest = rest.hypot(*x);
        }
    }
}
