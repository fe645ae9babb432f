//! Evaluate the exact likelihood of a Gaussian or lognormal map, diagonal in Fourier space.

use std::f64::consts::TAU;
use std::sync::Arc;

use armilla_samplers::{DifferentiableLikelihood, EvalError, Likelihood};

use super::SlabSpectrum;
use crate::fourier::Fourier;

/// ln p(map | θ) of one map, θ = (Ω_m, σ_8), normalised as a density over the map's N² values.
///
/// With λ(k) and ĝ as in [`SlabSpectrum`], a sum over all N² modes:
///
/// ln p(g | θ) = −½ Σ_k \[ ln 2πλ(k) + |ĝ(k)|² / (N² λ(k)) \].
///
/// A pair ±k counts twice with one half, a mode that is its own mirror image (the mean; for even N also those with
/// each component 0 or at Nyquist) once with one half: as many real numbers as there are. Modes of equal |k| are
/// summed beforehand, so a call costs as much as there are distinct |k|.
///
/// For a lognormal map f the field is g = ln f + σ_g²(θ)/2, where the shift enters the mean mode alone, and
/// ln p(f | θ) = ln p(g | θ) − Σ_x ln f(x).
///
/// Made by [`GaussianField::observe`](super::GaussianField::observe) and
/// [`LognormalField::observe`](super::LognormalField::observe).
#[derive(Debug, Clone)]
pub struct FieldLikelihood {
    spectrum: Arc<SlabSpectrum>,
    /// Σ |ĝ|²/N² over the modes of each |k|; the entry of k = 0 is not used.
    energy: Vec<f64>,
    /// ĝ(0) before the shift.
    sum: f64,
    lognormal: bool,
}

impl FieldLikelihood {
    /// For a field `g` of the right length, or the logarithm of a lognormal map.
    pub(super) fn new(spectrum: &Arc<SlabSpectrum>, fourier: &Fourier, g: &[f64], lognormal: bool) -> Self {
        let modes = fourier.forward(g);
        let mut energy = vec![0.0; spectrum.wavenumbers().len()];
        let kinds = Fourier::modes(spectrum.slab().size);
        for ((mode, kind), &i) in modes.iter().zip(kinds).zip(spectrum.index()) {
            energy[i as usize] += kind.multiplicity as f64 * mode.norm_sqr() / g.len() as f64;
        }
        Self {
            spectrum: Arc::clone(spectrum),
            energy,
            sum: g.iter().sum(),
            lognormal,
        }
    }

    fn evaluate<const GRADIENT: bool>(&self, theta: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        if theta.len() != self.dim() || (GRADIENT && gradient.len() != self.dim()) {
            return Err(EvalError::Fatal(format!(
                "the likelihood of a field has {} parameters, Omega_m and sigma_8; it was given {}",
                self.dim(),
                theta.len()
            )));
        }
        let recoverable = |error: crate::Error| EvalError::Recoverable(error.to_string());
        let power = self.spectrum.evaluate::<GRADIENT>(theta).map_err(recoverable)?;
        let eigenvalue = self.spectrum.eigenvalue();
        let points = (self.spectrum.slab().size as f64).powi(2);

        let mut value = 0.0;
        let mut mean_mode = self.sum;
        if self.lognormal {
            // The logarithms themselves sum to the Jacobian, the shifted ones to the mean mode.
            value -= self.sum;
            mean_mode += 0.5 * points * self.spectrum.sum_over_modes(&power.value);
        }
        // ∂/∂ ln(amplitude of all modes), and ∂/∂Ω_m.
        let (mut by_amplitude, mut by_omega_m) = (0.0, 0.0);
        for (i, (&count, &p)) in self.spectrum.modes().iter().zip(&power.value).enumerate() {
            let lambda = eigenvalue * p;
            let energy = if i == 0 {
                mean_mode * mean_mode / points
            } else {
                self.energy[i]
            };
            let (count, ratio) = (count as f64, energy / lambda);
            value -= 0.5 * (count * (TAU * lambda).ln() + ratio);
            if GRADIENT {
                by_amplitude += 0.5 * (ratio - count);
                by_omega_m += 0.5 * (ratio - count) * power.by_omega_m[i] / p;
            }
        }
        if !value.is_finite() {
            return Err(EvalError::Recoverable(format!(
                "the likelihood of a field is {value} at Omega_m = {}, sigma_8 = {}",
                theta[0], theta[1]
            )));
        }
        if GRADIENT {
            if self.lognormal {
                // −½ (mean mode)²/(N² λ) in the shift N² σ_g²/2.
                let pull = -0.5 * mean_mode / (eigenvalue * power.value[0]);
                by_amplitude += pull * self.spectrum.sum_over_modes(&power.value);
                by_omega_m += pull * self.spectrum.sum_over_modes(&power.by_omega_m);
            }
            gradient[0] = by_omega_m;
            gradient[1] = 2.0 * by_amplitude / power.sigma_8;
        }
        Ok(value)
    }
}

impl Likelihood for FieldLikelihood {
    fn dim(&self) -> usize {
        2
    }

    /// # Errors
    /// `Recoverable` for θ out of range or so extreme that nothing finite comes out, `Fatal` for other than two
    /// parameters.
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.evaluate::<false>(x, &mut [])
    }
}

impl DifferentiableLikelihood for FieldLikelihood {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        self.evaluate::<true>(x, gradient)
    }
}
