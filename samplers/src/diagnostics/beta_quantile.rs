//! Invert the cumulative beta distribution.

use std::f64::consts::PI;

/// Halvings of the unit interval, down to the spacing of floating-point numbers near one.
const HALVINGS: usize = 53;

/// More terms than the continued fraction needs where the shapes are ten million; they go with the root.
const MOST_TERMS: usize = 100_000;

/// Where the cumulative beta distribution of shapes `a` and `b` reaches `p`, to 1e-10 absolute for shapes
/// from one to a million.
pub(super) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if cumulative(middle, a, b) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The regularised incomplete beta function at 0 < x < 1 (NIST Digital Library of Mathematical Functions,
/// 8.17.22), on that side of the mean where its continued fraction converges fast.
fn cumulative(x: f64, a: f64, b: f64) -> f64 {
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - cumulative(1.0 - x, b, a);
    }
    let ln_beta = ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta).exp() / a;
    front / continued_fraction(x, a, b)
}

/// 1 + d₁ / (1 + d₂ / (1 + …)) from its front, by the ratios of successive numerators and of successive
/// denominators (Lentz 1976, doi:10.1364/AO.15.000668).
fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    let (mut value, mut numerator, mut denominator) = (1.0, 1.0, 0.0);
    for term in 1..=MOST_TERMS {
        let m = (term / 2) as f64;
        let d = if term.is_multiple_of(2) {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        numerator = away_from_zero(1.0 + d / numerator);
        denominator = 1.0 / away_from_zero(1.0 + d * denominator);
        let change = numerator * denominator;
        value *= change;
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

/// What Lentz divides by may vanish on the way to a finite value.
fn away_from_zero(x: f64) -> f64 {
    if x.abs() < 1e-300 { 1e-300 } else { x }
}

/// ln Γ(x) for positive x, by Stirling's series, whose first omitted term is below 1e-13 from ten on.
fn ln_gamma(mut x: f64) -> f64 {
    let mut rising = 1.0;
    while x < 10.0 {
        rising *= x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series - rising.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the module promises.
    const TOLERANCE: f64 = 1e-10;

    #[test]
    fn closed_forms() {
        for p in [0.001, 0.158, 0.5, 0.841, 0.999] {
            for shape in [1.0, 1.5, 7.0, 300.0, 1e5] {
                let cases = [
                    (beta_quantile(p, shape, 1.0), p.powf(1.0 / shape)),
                    (beta_quantile(p, 1.0, shape), -((-p).ln_1p() / shape).exp_m1()),
                    (
                        beta_quantile(p, shape, 2.5 * shape),
                        1.0 - beta_quantile(1.0 - p, 2.5 * shape, shape),
                    ),
                ];
                for (found, expected) in cases {
                    assert!(
                        (found - expected).abs() < TOLERANCE,
                        "{p} {shape}: {found} {expected}"
                    );
                }
            }
            let x = beta_quantile(p, 2.0, 2.0);
            assert!((x * x * (3.0 - 2.0 * x) - p).abs() < TOLERANCE);
        }
    }

    #[test]
    fn large_shapes_are_normal() {
        let (a, b) = (3e6f64, 1e6);
        let deviation = (a * b / (a + b + 1.0)).sqrt() / (a + b);
        let found = beta_quantile(0.841_344_746_068_542_9, a, b);
        // The skewness shifts it by a thousandth of the deviation.
        assert!(((found - a / (a + b)) / deviation - 1.0).abs() < 1e-3, "{found}");
    }

    #[test]
    fn factorials() {
        let mut ln_factorial = 0.0;
        for n in 1..30 {
            let n = f64::from(n);
            assert!(
                (ln_gamma(n) - ln_factorial).abs() < 1e-13 * (1.0 + ln_factorial),
                "{n}"
            );
            ln_factorial += n.ln();
        }
        assert!((ln_gamma(0.5) - 0.5 * PI.ln()).abs() < 1e-13);
    }
}
