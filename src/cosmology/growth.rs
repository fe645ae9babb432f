//! Integrate how fluctuations grow.

use super::Rule;
use crate::{Error, Result};

/// The growth factor D(z) of matter in a flat universe with a cosmological constant, 1 today, and its rate
/// f = d ln D/d ln a (Heath 1977, MNRAS 179, 351).
///
/// D(a) = D₁(a)/D₁(1), D₁(a) = 5/2 Ω_m E(a) ∫₀^a da' / (a' E(a'))³, E² = Ω_m/a³ + 1 − Ω_m, and from there
/// f = Ω_m/(a³ E²) (5/2 a/D₁ − 3/2).
///
/// ```
/// let (d, f) = armilla::cosmology::growth(1.0, 3.0)?;
/// assert!((d - 0.25).abs() < 1e-12 && (f - 1.0).abs() < 1e-12); // D = a where there is nothing but matter
/// # Ok::<(), armilla::Error>(())
/// ```
///
/// # Errors
/// `omega_m` not in (0, 1], or a negative redshift.
pub fn growth(omega_m: f64, redshift: f64) -> Result<(f64, f64)> {
    if !(omega_m > 0.0 && omega_m <= 1.0 && redshift >= 0.0 && redshift.is_finite()) {
        return Err(Error::Invalid(format!(
            "Omega_m = {omega_m} at redshift {redshift} is not allowed; they must be in (0, 1] and not negative"
        )));
    }
    let lambda = 1.0 - omega_m;
    let unnormalised = |a: f64| {
        // With a' = a u² the integrand is a smooth 2 a u · (a' / (Ω_m + Λ a'³))^(3/2).
        let integral: f64 = Rule::new()
            .linear(0.0, 1.0, 4)
            .map(|(u, weight)| {
                let inner = a * u * u;
                weight * 2.0 * a * u * (inner / (omega_m + lambda * inner.powi(3))).powf(1.5)
            })
            .sum();
        2.5 * omega_m * (omega_m / a.powi(3) + lambda).sqrt() * integral
    };
    let a = 1.0 / (1.0 + redshift);
    let matter = omega_m / (omega_m + lambda * a.powi(3));
    let now = unnormalised(a);
    Ok((now / unnormalised(1.0), matter * (2.5 * a / now - 1.5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_meets_an_independent_quadrature() {
        // A trapezoidal sum over 200,000 steps in another language.
        for (omega_m, expected) in [
            (0.1, 0.728_759_592_3),
            (0.3, 0.611_805_753_3),
            (0.5, 0.560_766_441_0),
        ] {
            let (d, _) = growth(omega_m, 1.0).unwrap();
            assert!((d / expected - 1.0).abs() < 1e-9, "{omega_m}: {d}");
        }
    }

    #[test]
    fn rate_is_the_slope_and_close_to_the_usual_fit() {
        for omega_m in [0.1, 0.3, 0.5, 1.0] {
            for z in [0.5, 1.0, 9.0] {
                let d = |z: f64| growth(omega_m, z).unwrap().0.ln();
                let h = 1e-4;
                let slope = (d(z - h) - d(z + h)) / (2.0 * h) * (1.0 + z);
                let (_, rate) = growth(omega_m, z).unwrap();
                assert!((rate / slope - 1.0).abs() < 1e-7, "{omega_m} {z}: {rate} {slope}");
            }
            // Linder 2005, arXiv astro-ph/0507263: Ω_m^0.55, a few percent off at low density.
            let (_, rate) = growth(omega_m, 0.0).unwrap();
            assert!((rate / omega_m.powf(0.55) - 1.0).abs() < 0.04);
        }
        assert!(growth(0.0, 0.0).is_err());
        assert!(growth(0.3, -0.1).is_err());
        assert!(growth(f64::NAN, 0.0).is_err());
    }
}
