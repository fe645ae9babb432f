//! Map n real numbers onto n increasing numbers.

use crate::number::Number;

/// x₀ = z₀, and every further one is e^z above the one before.
pub(super) fn constrain<N: Number>(z: &[N], x: &mut [N]) -> N {
    let mut ln_jacobian = N::from(0.0);
    for i in 0..x.len() {
        if i == 0 {
            x[0] = z[0];
            continue;
        }
        ln_jacobian += z[i];
        let step = z[i].exp();
        // A step may be too small to see, or too large to be a number.
        x[i] = (x[i - 1] + step).clamp_value(x[i - 1].value().next_up(), f64::MAX);
    }
    ln_jacobian
}

pub(super) fn unconstrain(x: &[f64], z: &mut [f64]) {
    z[0] = x[0];
    for (x, z) in x.windows(2).zip(&mut z[1..]) {
        *z = (x[1] - x[0]).ln();
    }
}
