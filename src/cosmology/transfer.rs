//! Fit how matter and radiation have shaped the primordial fluctuations: Eisenstein & Hu's curve without wiggles.

use std::f64::consts::E;

use super::{CMB_TEMPERATURE, HUBBLE, OMEGA_B};
use crate::{Error, Result};

/// The transfer function T(k) of Eisenstein & Hu 1998 (arXiv astro-ph/9709112), equations 26 and 28–31: the
/// full baryonic suppression without the acoustic oscillations. T → 1 for k → 0.
///
/// With ω = Ω h², f = Ω_b/Ω_m, Θ = T_CMB/2.7 K and k in h/Mpc:
///
/// - s = 44.5 ln(9.83/ω_m) / √(1 + 10 ω_b^¾) Mpc
/// - α = 1 − 0.328 ln(431 ω_m) f + 0.38 ln(22.3 ω_m) f²
/// - Γ = Ω_m h \[α + (1 − α) / (1 + (0.43 k h s)⁴)\], q = k Θ²/Γ
/// - T = L / (L + C q²), L = ln(2e + 1.8 q), C = 14.2 + 731 / (1 + 62.5 q)
///
/// ```
/// let transfer = armilla::cosmology::Transfer::new(0.3)?;
/// let (value, slope) = transfer.at(0.1);
/// assert!(value > 0.0 && value < 1.0 && slope > 0.0);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    omega_m: f64,
    alpha: f64,
    alpha_slope: f64,
    /// (0.43 h s)⁴, and the derivative of its logarithm.
    sound: f64,
    ln_sound_slope: f64,
}

impl Transfer {
    /// The transfer function for a matter density `omega_m` in critical densities.
    ///
    /// # Errors
    /// `omega_m` not in (Ω_b, 1], or so close to Ω_b (within 1 %) that the fit has no meaning: α ≤ 0.
    pub fn new(omega_m: f64) -> Result<Self> {
        if !(omega_m > OMEGA_B && omega_m <= 1.0) {
            return Err(Error::Invalid(format!(
                "Omega_m = {omega_m} is not allowed; it must lie above Omega_b = {OMEGA_B} and not above 1"
            )));
        }
        let (matter, baryons) = (omega_m * HUBBLE * HUBBLE, OMEGA_B * HUBBLE * HUBBLE);
        let fraction = OMEGA_B / omega_m;
        let horizon = (9.83 / matter).ln();
        let s = 44.5 * horizon / (1.0 + 10.0 * baryons.powf(0.75)).sqrt();
        let (linear, square) = (0.328 * (431.0 * matter).ln(), 0.38 * (22.3 * matter).ln());
        let alpha = 1.0 - linear * fraction + square * fraction * fraction;
        if alpha <= 0.0 {
            return Err(Error::Invalid(format!(
                "Omega_m = {omega_m} is too close to Omega_b = {OMEGA_B} for the fit to the transfer function; \
                 take a larger one"
            )));
        }
        // d ln(fraction)/dΩ_m = −1/Ω_m, d ln(matter)/dΩ_m = 1/Ω_m.
        let alpha_slope =
            ((linear - 0.328) * fraction + (0.38 - 2.0 * square) * fraction * fraction) / omega_m;
        Ok(Self {
            omega_m,
            alpha,
            alpha_slope,
            sound: (0.43 * HUBBLE * s).powi(4),
            ln_sound_slope: -4.0 / (omega_m * horizon),
        })
    }

    /// T(k) and ∂T/∂Ω_m at `k` ≥ 0 in h/Mpc.
    #[inline]
    pub fn at(&self, k: f64) -> (f64, f64) {
        const THETA: f64 = CMB_TEMPERATURE / 2.7;
        let k2 = k * k;
        let x = k2 * k2 * self.sound;
        let damping = 1.0 / (1.0 + x);
        let shape = self.alpha + (1.0 - self.alpha) * damping;
        let shape_slope = self.alpha_slope * (1.0 - damping)
            - (1.0 - self.alpha) * damping * (x * damping) * self.ln_sound_slope;
        let q = k * (THETA * THETA) / (self.omega_m * HUBBLE * shape);
        let q_slope = -q * (1.0 / self.omega_m + shape_slope / shape);

        let argument = 2.0 * E + 1.8 * q;
        let l = argument.ln();
        let fall = 1.0 / (1.0 + 62.5 * q);
        let c = 14.2 + 731.0 * fall;
        let below = 1.0 / (l + c * q * q);
        let l_by_q = 1.8 / argument;
        let c_by_q = -731.0 * 62.5 * fall * fall;
        let t_by_q = (l_by_q * c * q - l * (c_by_q * q + 2.0 * c)) * q * below * below;
        (l * below, t_by_q * q_slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_meets_finite_differences() {
        // Central differences of order h⁴ with h = 1e-4: truncation below 1e-10, rounding 1e-12/h·1e-4.
        const TOLERANCE: f64 = 1e-8;
        let h = 1e-4;
        for omega_m in [0.06, 0.1, 0.3, 0.5, 0.9] {
            for k in [1e-5, 1e-3, 0.02, 0.1, 1.0, 30.0] {
                let t = |shift: f64| Transfer::new(omega_m + shift * h).unwrap().at(k).0;
                let numeric = (8.0 * (t(1.0) - t(-1.0)) - (t(2.0) - t(-2.0))) / (12.0 * h);
                let (value, slope) = Transfer::new(omega_m).unwrap().at(k);
                assert!(
                    (slope - numeric).abs() < TOLERANCE * value / omega_m,
                    "{omega_m} {k}"
                );
            }
        }
    }

    #[test]
    fn values_meet_an_independent_evaluation() {
        // A transcription of the paper's equations in another language, 12 digits.
        const TOLERANCE: f64 = 1e-10;
        for (omega_m, k, expected) in [
            (0.3, 0.01, 0.77696016803462),
            (0.3, 0.2, 0.051275982399903),
            (0.1, 0.05, 0.043767583231617),
            (0.5, 5.0, 0.00077826024576799),
        ] {
            let value = Transfer::new(omega_m).unwrap().at(k).0;
            assert!(
                (value / expected - 1.0).abs() < TOLERANCE,
                "{omega_m} {k}: {value}"
            );
        }
    }

    #[test]
    fn senseless_densities_are_refused() {
        for omega_m in [f64::NAN, -0.1, 0.0, OMEGA_B, 0.0491, 1.1, f64::INFINITY] {
            assert!(Transfer::new(omega_m).is_err(), "{omega_m}");
        }
    }
}
