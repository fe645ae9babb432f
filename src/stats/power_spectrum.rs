//! Measure the power spectrum of a square periodic map.

use std::f64::consts::TAU;

use crate::fourier::Fourier;
use crate::{Error, Result};

/// The power in rings of wavenumbers, ascending. All vectors have one entry per ring that holds a mode.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerSpectrum {
    /// The mean |k| of the ring's modes, in the inverse of the side's unit.
    pub wavenumbers: Vec<f64>,
    /// The mean power of the ring's modes, in the square of the side's unit.
    pub power: Vec<f64>,
    /// How many modes of the full plane the ring holds; a pair ±k counts as two.
    pub modes: Vec<usize>,
}

/// δ = map / mean − 1.
///
/// # Errors
/// A mean that is not positive and finite, as for an empty map or one with NaN.
pub fn density_contrast(map: &[f64]) -> Result<Vec<f64>> {
    let mean = map.iter().sum::<f64>() / map.len() as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return Err(Error::Invalid(format!(
            "the mean of the map is {mean}; a density contrast needs a positive and finite mean"
        )));
    }
    Ok(map.iter().map(|value| value / mean - 1.0).collect())
}

/// The power spectrum of the contrast δ, `size` × `size` values on a square of length `side` (Mpc/h, say):
/// P = (L/N²)² ⟨|δ̂|²⟩ with the unnormalised transform δ̂(k) = Σ_x δ(x) exp(−ik·x).
///
/// Modes are averaged in rings of the width k_F = 2π/L, ring i holding i ≤ |k|/k_F < i + 1; the mean (k = 0) is
/// dropped, the corners of the plane beyond Nyquist are kept. No correction for pixels, aliases or noise.
///
/// ```
/// use armilla::stats::power_spectrum;
/// let wave: Vec<f64> = (0..64).map(|i| (std::f64::consts::TAU * (i % 8) as f64 / 4.0).cos()).collect();
/// let spectrum = power_spectrum(&wave, 8, 10.0)?;
/// // All power is in the second ring: 2 of its 16 modes have (L/2)² each.
/// assert!((spectrum.power[1] - 25.0 * 2.0 / 16.0).abs() < 1e-12);
/// # Ok::<(), armilla::Error>(())
/// ```
///
/// # Errors
/// A size below 2, other than size² values, one that is not finite, or a side that is not positive and finite.
pub fn power_spectrum(contrast: &[f64], size: usize, side: f64) -> Result<PowerSpectrum> {
    if size < 2 || size.checked_mul(size) != Some(contrast.len()) {
        return Err(Error::Invalid(format!(
            "the map has {} values; it must have {size} × {size}, at least 2 × 2",
            contrast.len()
        )));
    }
    if !(side > 0.0 && side.is_finite()) {
        return Err(Error::Invalid(format!(
            "side = {side} is not allowed; it must be positive and finite"
        )));
    }
    if let Some((i, value)) = contrast.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(Error::Invalid(format!(
            "value {i} of the map is {value}; its spectrum needs finite values"
        )));
    }
    // (modes, Σ |n|, Σ |δ̂|²) for each ring.
    let mut rings = vec![(0usize, 0.0, 0.0); size + 1];
    for (mode, kind) in Fourier::new(size)
        .forward(contrast)
        .iter()
        .zip(Fourier::modes(size))
    {
        let ring = &mut rings[kind.squared.isqrt()];
        ring.0 += kind.multiplicity;
        ring.1 += kind.multiplicity as f64 * (kind.squared as f64).sqrt();
        ring.2 += kind.multiplicity as f64 * mode.norm_sqr();
    }
    let scale = (side / contrast.len() as f64).powi(2);
    let mut spectrum = PowerSpectrum {
        wavenumbers: Vec::new(),
        power: Vec::new(),
        modes: Vec::new(),
    };
    for (modes, lengths, powers) in rings.into_iter().skip(1).filter(|ring| ring.0 > 0) {
        spectrum.wavenumbers.push(TAU / side * lengths / modes as f64);
        spectrum.power.push(scale * powers / modes as f64);
        spectrum.modes.push(modes);
    }
    Ok(spectrum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use armilla_samplers::rng::{Purpose, stream};
    use rand::RngExt;
    use rand_distr::StandardNormal;

    /// Closed forms in f64.
    const CLOSED_FORM: f64 = 1e-10;

    #[test]
    fn a_wave_has_its_power_in_its_ring() {
        for size in [16, 15] {
            let (side, amplitude) = (25.0, 0.3);
            let map: Vec<f64> = (0..size * size)
                .map(|i| {
                    let phase = (3 * (i % size) + 2 * (i / size)) as f64 / size as f64;
                    1.7 + amplitude * (TAU * phase).cos()
                })
                .collect();
            let spectrum = power_spectrum(&map, size, side).unwrap();
            // |n| = √13 is in the third ring; two modes of (amplitude/2 · L)² each.
            for (i, (power, &modes)) in spectrum.power.iter().zip(&spectrum.modes).enumerate() {
                let expected = if i == 2 {
                    2.0 * (0.5 * amplitude * side).powi(2) / modes as f64
                } else {
                    0.0
                };
                assert!(
                    (power - expected).abs() < CLOSED_FORM,
                    "ring {i}: {power} {expected}"
                );
            }
        }
    }

    #[test]
    fn rings_hold_every_mode_but_the_mean() {
        let spectrum = power_spectrum(&[0.0; 64], 8, 1.0).unwrap();
        assert_eq!(spectrum.modes.iter().sum::<usize>(), 63);
        assert_eq!(spectrum.modes[0], 8);
        let expected = TAU * (4.0 + 4.0 * 2f64.sqrt()) / 8.0;
        assert!((spectrum.wavenumbers[0] - expected).abs() < CLOSED_FORM);
    }

    #[test]
    fn white_noise_is_flat() {
        // White noise of variance v has P = v (L/N)² everywhere; 5 standard errors of the mean over all modes,
        // of which half are independent.
        let (size, side, variance) = (64, 25.0, 4.0_f64);
        let mut stream = stream(1, Purpose::Simulation, 0);
        let map: Vec<f64> = (0..size * size)
            .map(|_| variance.sqrt() * stream.sample::<f64, _>(StandardNormal))
            .collect();
        let spectrum = power_spectrum(&map, size, side).unwrap();
        let expected = variance * (side / size as f64).powi(2);
        for (power, &modes) in spectrum.power.iter().zip(&spectrum.modes) {
            let error = expected * (2.0 / modes as f64).sqrt();
            assert!((power - expected).abs() < 5.0 * error);
        }
    }

    #[test]
    fn contrast_has_mean_zero() {
        let contrast = density_contrast(&[1.0, 2.0, 3.0]).unwrap();
        assert!(
            contrast
                .iter()
                .zip([-0.5, 0.0, 0.5])
                .all(|(a, b)| (a - b).abs() < CLOSED_FORM)
        );
        assert!(density_contrast(&[]).is_err());
        assert!(density_contrast(&[1.0, -1.0]).is_err());
        assert!(density_contrast(&[1.0, f64::NAN]).is_err());
    }

    #[test]
    fn senseless_maps_are_refused() {
        assert!(power_spectrum(&[0.0; 5], 2, 1.0).is_err());
        assert!(power_spectrum(&[0.0], 1, 1.0).is_err());
        assert!(power_spectrum(&[0.0; 4], 2, 0.0).is_err());
        let error = power_spectrum(&[0.0, 0.0, f64::NAN, 0.0], 2, 1.0).unwrap_err();
        assert!(error.to_string().contains("value 2"));
    }
}
