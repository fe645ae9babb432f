//! Map n − 1 real numbers onto n positive numbers that sum to 1.

use crate::number::Number;

/// The length of row `i` of the Helmert basis before it is normalised: (1, …, 1, −i, 0, …).
fn length(i: usize) -> f64 {
    ((i * (i + 1)) as f64).sqrt()
}

/// x = softmax(V z), V the Helmert basis: no element is treated unlike the others.
pub(super) fn constrain<N: Number>(z: &[N], x: &mut [N]) -> N {
    let n = x.len();
    // x first holds V z.
    let mut above = N::from(0.0);
    for i in (0..n).rev() {
        if i == 0 {
            x[0] = above;
        } else {
            let step = z[i - 1] / length(i);
            x[i] = above - step * i as f64;
            above += step;
        }
    }
    // Relative to the largest, so that the numbers sum to 1 however large z is.
    let most = x.iter().map(|x| x.value()).fold(f64::NEG_INFINITY, f64::max);
    x.iter_mut().for_each(|x| *x = *x - most);
    let total = N::log_sum_exp(x);
    let mut ln_jacobian = N::from(0.5 * (n as f64).ln());
    for x in x.iter_mut() {
        let ln = *x - total;
        ln_jacobian += ln;
        *x = ln.exp().clamp_value(f64::MIN_POSITIVE, 1.0);
    }
    ln_jacobian
}

pub(super) fn unconstrain(x: &[f64], z: &mut [f64]) {
    let mut sum = 0.0;
    for (i, z) in z.iter_mut().enumerate() {
        sum += x[i].ln();
        *z = (sum - (i + 1) as f64 * x[i + 1].ln()) / length(i + 1);
    }
}
