//! Evaluate the special functions that densities are made of.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// ln Γ(x), x > 0.
pub(super) fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// ψ(x) = d ln Γ / dx, x > 0, to about 1e-15 of the larger of it and 1: moved up by recurrence to where
/// six terms of the asymptotic series suffice (Abramowitz & Stegun 6.3.5, 6.3.18).
pub(super) fn digamma(x: f64) -> f64 {
    const ENOUGH: f64 = 10.0;
    const SERIES: [f64; 7] = [
        1.0 / 12.0,
        -1.0 / 120.0,
        1.0 / 252.0,
        -1.0 / 240.0,
        1.0 / 132.0,
        -691.0 / 32_760.0,
        1.0 / 12.0,
    ];
    if x.is_nan() || x <= 0.0 {
        return f64::NAN;
    }
    let (mut x, mut below) = (x, 0.0);
    while x < ENOUGH {
        below += x.recip();
        x += 1.0;
    }
    let square = (x * x).recip();
    let series = SERIES.iter().rev().fold(0.0, |sum, c| (sum + c) * square);
    x.ln() - 0.5 / x - series - below
}

/// ln Φ(x), and its derivative φ(x) / Φ(x).
pub(super) fn ln_normal_cdf(x: f64) -> (f64, f64) {
    /// Below, Φ nears the smallest numbers; above, the asymptotic series has not enough digits.
    const TAIL: f64 = -35.0;
    let ln_density = -0.5 * x * x - 0.5 * TAU.ln();
    if x < TAIL {
        // Mills' ratio: Φ(x) = φ(x) / −x · (1 − 1/x² + 3/x⁴ − 15/x⁶ + …).
        let square = (x * x).recip();
        let series = 1.0 - square * (1.0 - 3.0 * square * (1.0 - 5.0 * square * (1.0 - 7.0 * square)));
        return (ln_density - (-x).ln() + series.ln(), -x / series);
    }
    let upper = 0.5 * libm::erfc(x * FRAC_1_SQRT_2);
    // Above 0 what is missing to 1 has the digits.
    let ln_cdf = if x > 0.0 {
        (-upper).ln_1p()
    } else {
        (0.5 * libm::erfc(-x * FRAC_1_SQRT_2)).ln()
    };
    (ln_cdf, (ln_density - ln_cdf).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Closed form in f64.
    const CLOSED_FORM: f64 = 1e-14;

    #[test]
    fn digamma_has_its_known_values() {
        let euler = 0.577_215_664_901_532_9;
        for (x, expected) in [
            (1.0, -euler),
            (0.5, -euler - 2.0 * 2f64.ln()),
            (2.0, 1.0 - euler),
            (10.0, 2.251_752_589_066_721),
            (1e-3, -1_000.575_571_931_812_2),
            (1e10, 1e10f64.ln() - 0.5e-10),
        ] {
            assert!(
                (digamma(x) - expected).abs() < CLOSED_FORM * expected.abs().max(1.0),
                "{x}"
            );
        }
        assert!(digamma(0.0).is_nan() && digamma(-1.0).is_nan());
    }

    #[test]
    fn the_normal_distribution_meets_in_the_tail() {
        let (inside, beyond) = (-34.999_999_9, -35.000_000_1);
        let ((a, da), (b, db)) = (ln_normal_cdf(inside), ln_normal_cdf(beyond));
        assert!((a - b - 2e-7 * da).abs() < 1e-12 * a.abs());
        // The derivative grows as −x.
        assert!((db - da - 2e-7).abs() < 1e-11 * da);
        assert!((ln_normal_cdf(0.0).0 + 2f64.ln()).abs() < CLOSED_FORM);
        assert!((ln_normal_cdf(9.0).0 + 1.128_588_405_953_840_6e-19).abs() < 1e-32);
        assert_eq!(ln_normal_cdf(1e200), (0.0, 0.0));
        assert!(ln_normal_cdf(-1e150).0 < -1e299);
    }
}
