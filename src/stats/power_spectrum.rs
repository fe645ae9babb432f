//! Measure power and cross spectra of square maps and cubic grids, both periodic.

use std::f64::consts::{PI, TAU};

use rayon::prelude::*;

use crate::data::Scheme;
use crate::fourier::Fourier;
use crate::{Error, Result};

/// The power in rings or shells of wavenumbers, ascending. All vectors have one entry per ring that holds a mode.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerSpectrum {
    /// The mean |k| of the ring's modes, in the inverse of the side's unit.
    pub wavenumbers: Vec<f64>,
    /// The mean power of the ring's modes, in the square of the side's unit for maps and its cube for grids.
    pub power: Vec<f64>,
    /// How many modes of the full plane or space the ring holds; a pair ±k counts as two.
    pub modes: Vec<usize>,
}

/// The spectra of two fields a and b, in rings as those of [`PowerSpectrum`].
#[derive(Debug, Clone, PartialEq)]
pub struct CrossSpectrum {
    /// As in [`PowerSpectrum`].
    pub wavenumbers: Vec<f64>,
    /// The power of a.
    pub power_a: Vec<f64>,
    /// The power of b.
    pub power_b: Vec<f64>,
    /// The cross power ⟨Re â b̂*⟩.
    pub cross: Vec<f64>,
    /// As in [`PowerSpectrum`].
    pub modes: Vec<usize>,
}

impl CrossSpectrum {
    /// The correlation r = P_ab / √(P_a P_b) of each ring: 1 where b has the phases of a.
    pub fn correlation(&self) -> Vec<f64> {
        let auto = self.power_a.iter().zip(&self.power_b);
        auto.zip(&self.cross)
            .map(|((a, b), ab)| ab / (a * b).sqrt())
            .collect()
    }

    /// The transfer function T = √(P_b / P_a) of each ring: 1 where b has the amplitudes of a.
    pub fn transfer(&self) -> Vec<f64> {
        let auto = self.power_a.iter().zip(&self.power_b);
        auto.map(|(a, b)| (b / a).sqrt()).collect()
    }
}

/// δ = field / mean − 1.
///
/// # Errors
/// A mean that is not positive and finite, as for an empty field or one with NaN.
pub fn density_contrast(field: &[f64]) -> Result<Vec<f64>> {
    let mean = field.iter().sum::<f64>() / field.len() as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return Err(Error::Invalid(format!(
            "the mean of the map is {mean}; a density contrast needs a positive and finite mean"
        )));
    }
    Ok(field.iter().map(|value| value / mean - 1.0).collect())
}

/// The power spectrum of the contrast δ, `size`² values on a square or `size`³ in a cube of the side `side`: that of
/// [`SpectrumEstimator`], without any correction.
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
/// A size below 2, other than size² or size³ values, one that is not finite, or a side that is not positive and finite.
pub fn power_spectrum(contrast: &[f64], size: usize, side: f64) -> Result<PowerSpectrum> {
    SpectrumEstimator::new(size, side)?.power(contrast)
}

/// Measures the spectra of periodic maps of N² values and grids of N³, of the side L (Mpc/h, say).
///
/// With the unnormalised transform δ̂(k) = Σ_x δ(x) exp(−ik·x), in d dimensions,
///
/// P(k) = (L/N²)^d ⟨|δ̂|²⟩, P_ab(k) = (L/N²)^d ⟨Re δ̂_a δ̂_b*⟩,
///
/// averaged over rings (shells) of the width k_F = 2π/L, ring i holding i ≤ |k|/k_F < i + 1; k of a ring is the mean |k|
/// of its modes. The mean (k = 0) is dropped, the corners beyond Nyquist are kept. These are the conventions of `Pk_plane`
/// and `Pk` of Pylians (Villaescusa-Navarro 2018, ascl 1811.008), but that modes are those of the whole plane or space:
/// Pylians gives a mode at Nyquist that is its own mirror image the weight of a pair.
///
/// [`corrected`](Self::corrected) divides δ̂ by the window of a mass assignment of order p (Jing 2005, arXiv
/// astro-ph/0409240), W(k) = Π_i [sin(π n_i/N) / (π n_i/N)]^p with k = k_F n. It undoes the smoothing, not the aliases.
/// Shot noise is not subtracted; it is L^d/(number of particles) in each spectrum.
///
/// ```
/// use armilla::data::Scheme;
/// use armilla::stats::SpectrumEstimator;
/// let estimator = SpectrumEstimator::new(8, 100.0)?.corrected(Scheme::Cic);
/// let grid: Vec<f64> = (0..512).map(|i| ((i * i) as f64).sin()).collect();
/// let twice: Vec<f64> = grid.iter().map(|x| 2.0 * x).collect();
/// let spectra = estimator.cross(&grid, &twice)?;
/// assert!(spectra.correlation().iter().all(|r| (r - 1.0).abs() < 1e-12));
/// assert!(spectra.transfer().iter().all(|t| (t - 2.0).abs() < 1e-12));
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct SpectrumEstimator {
    fourier: Fourier,
    size: usize,
    side: f64,
    /// 1/W² along an axis, for each |n|.
    correction: Option<Vec<f64>>,
}

/// Sums over the modes of a ring: how many, Σ |n|, and Σ of what is asked for.
#[derive(Clone, Copy)]
struct Ring<const M: usize> {
    modes: usize,
    lengths: f64,
    sums: [f64; M],
}

impl<const M: usize> Ring<M> {
    const EMPTY: Self = Self {
        modes: 0,
        lengths: 0.0,
        sums: [0.0; M],
    };
}

impl SpectrumEstimator {
    /// Plans the transforms.
    ///
    /// # Errors
    /// A size below 2, or a side that is not positive and finite.
    pub fn new(size: usize, side: f64) -> Result<Self> {
        if size < 2 {
            return Err(Error::Invalid(format!(
                "a field of {size} values along a side has no spectrum; it needs at least 2"
            )));
        }
        if !(side > 0.0 && side.is_finite()) {
            return Err(Error::Invalid(format!(
                "side = {side} is not allowed; it must be positive and finite"
            )));
        }
        Ok(Self {
            fourier: Fourier::new(size),
            size,
            side,
            correction: None,
        })
    }

    /// The same, undoing the window of the scheme by which particles were put on the mesh.
    pub fn corrected(mut self, scheme: Scheme) -> Self {
        let window = |n: usize| {
            let x = PI * n as f64 / self.size as f64;
            let sinc = if n == 0 { 1.0 } else { x.sin() / x };
            sinc.powi(-2 * scheme.order() as i32)
        };
        self.correction = Some((0..=self.size / 2).map(window).collect());
        self
    }

    /// The power spectrum of the contrast δ.
    ///
    /// # Errors
    /// Other than N² or N³ values, or one that is not finite.
    pub fn power(&self, contrast: &[f64]) -> Result<PowerSpectrum> {
        let depth = self.depth(contrast)?;
        let modes = self.fourier.forward(contrast);
        let rings = self.rings(depth, |i| [modes[i].norm_sqr()]);
        Ok(PowerSpectrum {
            wavenumbers: self.wavenumbers(&rings),
            power: rings.iter().map(|ring| ring.sums[0]).collect(),
            modes: rings.iter().map(|ring| ring.modes).collect(),
        })
    }

    /// The power and cross spectra of the contrasts `a` and `b`.
    ///
    /// # Errors
    /// As [`power`](Self::power), or a map and a grid.
    pub fn cross(&self, a: &[f64], b: &[f64]) -> Result<CrossSpectrum> {
        let depth = self.depth(a)?;
        if self.depth(b)? != depth {
            return Err(Error::Invalid(
                "a map and a grid have no cross spectrum".to_owned(),
            ));
        }
        let (a_hat, b_hat) = (self.fourier.forward(a), self.fourier.forward(b));
        let rings = self.rings(depth, |i| {
            let (a, b) = (a_hat[i], b_hat[i]);
            [a.norm_sqr(), b.norm_sqr(), a.re * b.re + a.im * b.im]
        });
        let sum = |k: usize| rings.iter().map(|ring| ring.sums[k]).collect();
        Ok(CrossSpectrum {
            wavenumbers: self.wavenumbers(&rings),
            power_a: sum(0),
            power_b: sum(1),
            cross: sum(2),
            modes: rings.iter().map(|ring| ring.modes).collect(),
        })
    }

    /// 1 for a map, N for a grid.
    fn depth(&self, field: &[f64]) -> Result<usize> {
        let size = self.size;
        let pixels = size.checked_mul(size);
        let depth = match field.len() {
            n if Some(n) == pixels => 1,
            n if Some(n) == pixels.and_then(|p| p.checked_mul(size)) => size,
            n => {
                return Err(Error::Invalid(format!(
                    "the field has {n} values; a map of this size has {size} × {size}, a grid {size} × {size} × {size}"
                )));
            }
        };
        match field.iter().position(|value| !value.is_finite()) {
            None => Ok(depth),
            Some(i) => Err(Error::Invalid(format!(
                "value {i} of the map is {}; its spectrum needs finite values",
                field[i]
            ))),
        }
    }

    /// The means over the modes of each ring that holds one, but for k = 0; `of` is asked for each stored mode.
    fn rings<const M: usize>(&self, depth: usize, of: impl Fn(usize) -> [f64; M] + Sync) -> Vec<Ring<M>> {
        let column = |x: usize| {
            let mut rings = vec![Ring::<M>::EMPTY; self.size + 1];
            let kinds = Fourier::modes_at(self.size, depth, x);
            for (i, kind) in (x * self.size * depth..).zip(kinds) {
                let multiplicity = kind.multiplicity as f64;
                let weight = match &self.correction {
                    None => multiplicity,
                    Some(by) => kind.n.iter().fold(multiplicity, |w, n| w * by[n.unsigned_abs()]),
                };
                // The root of no integer below 2⁵² rounds up to the next integer.
                let length = (kind.squared() as f64).sqrt();
                let ring = &mut rings[length as usize];
                ring.modes += kind.multiplicity;
                ring.lengths += multiplicity * length;
                for (sum, value) in ring.sums.iter_mut().zip(of(i)) {
                    *sum += weight * value;
                }
            }
            rings
        };
        let columns = 0..=self.size / 2;
        // Maps come in numbers, and are shared among threads by whoever has them.
        let columns: Vec<_> = if depth == 1 {
            columns.map(column).collect()
        } else {
            columns.into_par_iter().map(column).collect()
        };
        let scale = (self.side / (self.size * self.size) as f64).powi(if depth == 1 { 2 } else { 3 });
        let sum = |ring: usize| {
            let mut total = Ring::<M>::EMPTY;
            for column in &columns {
                total.modes += column[ring].modes;
                total.lengths += column[ring].lengths;
                for (sum, value) in total.sums.iter_mut().zip(column[ring].sums) {
                    *sum += value;
                }
            }
            total
        };
        let means = |ring: Ring<M>| Ring {
            sums: ring.sums.map(|sum| scale * sum / ring.modes as f64),
            ..ring
        };
        let rings = (1..=self.size).map(sum);
        rings.filter(|ring| ring.modes > 0).map(means).collect()
    }

    fn wavenumbers<const M: usize>(&self, rings: &[Ring<M>]) -> Vec<f64> {
        let mean = |ring: &Ring<M>| TAU / self.side * ring.lengths / ring.modes as f64;
        rings.iter().map(mean).collect()
    }
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
    fn white_noise_is_flat_in_space() {
        let (size, side, variance) = (24, 30.0, 2.0_f64);
        let mut stream = stream(2, Purpose::Simulation, 0);
        let grid: Vec<f64> = (0..size * size * size)
            .map(|_| variance.sqrt() * stream.sample::<f64, _>(StandardNormal))
            .collect();
        let spectrum = power_spectrum(&grid, size, side).unwrap();
        assert_eq!(spectrum.modes.iter().sum::<usize>(), size * size * size - 1);
        let expected = variance * (side / size as f64).powi(3);
        for (power, &modes) in spectrum.power.iter().zip(&spectrum.modes) {
            let error = expected * (2.0 / modes as f64).sqrt();
            assert!((power - expected).abs() < 5.0 * error);
        }
    }

    #[test]
    fn a_wave_in_space_has_its_power_in_its_shell() {
        for size in [8, 9] {
            let (side, amplitude) = (25.0, 0.3);
            let grid: Vec<f64> = (0..size * size * size)
                .map(|i| {
                    let phase = (3 * (i % size) + 2 * (i / size % size) + i / (size * size)) as f64;
                    amplitude * (TAU * phase / size as f64).cos()
                })
                .collect();
            let spectrum = power_spectrum(&grid, size, side).unwrap();
            // |n| = √14 is in the third shell; two modes of amplitude²/4 · L³ each.
            let expected = 0.5 * amplitude * amplitude * side.powi(3) / spectrum.modes[2] as f64;
            for (i, power) in spectrum.power.iter().enumerate() {
                let expected = if i == 2 { expected } else { 0.0 };
                assert!(
                    (power - expected).abs() < CLOSED_FORM,
                    "shell {i}: {power} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_shift_leaves_the_power_and_turns_the_phases() {
        let (size, side) = (16, 10.0);
        let map: Vec<f64> = (0..size * size).map(|i| ((i * i) as f64 * 0.37).sin()).collect();
        let mut half_a_box: Vec<f64> = map.clone();
        half_a_box.rotate_right(size * size / 2);
        let spectra = SpectrumEstimator::new(size, side).unwrap();
        let cross = spectra.cross(&map, &half_a_box).unwrap();
        for (a, b) in cross.power_a.iter().zip(&cross.power_b) {
            assert!((a / b - 1.0).abs() < CLOSED_FORM);
        }
        // Modes of odd n_y turn by π: the first ring has two of even n_y, and six of odd.
        let modes = Fourier::new(size).forward(&map);
        let (mut even, mut all) = (0.0, 0.0);
        for (mode, kind) in modes.iter().zip(Fourier::modes(size)) {
            if (1..4).contains(&kind.squared()) {
                let power = kind.multiplicity as f64 * mode.norm_sqr();
                all += power;
                even += if kind.n[1] % 2 == 0 { power } else { 0.0 };
            }
        }
        assert!((cross.correlation()[0] - (2.0 * even / all - 1.0)).abs() < CLOSED_FORM);
        assert_eq!(cross.power_a, power_spectrum(&map, size, side).unwrap().power);
    }

    #[test]
    fn the_window_of_particles_is_undone() {
        // A wave of n cycles put on the mesh is smaller by the window, up to its aliases: so are its power by W², and
        // its corrected power not. Particles on a fine lattice with masses 1 + wave; the aliases of waves 2 and 3 of
        // 16 by order 4 are below 1e-3.
        use crate::data::{Axis, Deposit, Masses};
        const TOLERANCE: f64 = 5e-3;
        let (size, side, fine, amplitude) = (16, 32.0, 128, 0.1);
        let position = |i: usize| side * (i as f64 + 0.5) / fine as f64;
        let (mut positions, mut masses) = (Vec::new(), Vec::new());
        for i in 0..fine * fine {
            let (x, y) = (position(i / fine), position(i % fine));
            positions.extend([x, y, 1.0]);
            masses.push(1.0 + amplitude * (TAU * (3.0 * x + 2.0 * y) / side).cos());
        }
        for scheme in [Scheme::Cic, Scheme::Tsc, Scheme::Pcs] {
            let mut deposit = Deposit::slabs(size, side, Axis::Z, side, scheme).unwrap();
            deposit.add(&positions, Masses::Each(&masses)).unwrap();
            let contrast = density_contrast(&deposit.finish()).unwrap();
            let plain = SpectrumEstimator::new(size, side).unwrap();
            let smoothed = plain.power(&contrast).unwrap();
            let corrected = plain.corrected(scheme).power(&contrast).unwrap();
            let expected = 2.0 * (0.5 * amplitude * side).powi(2) / smoothed.modes[2] as f64;
            assert!(
                (corrected.power[2] / expected - 1.0).abs() < TOLERANCE,
                "{scheme:?}"
            );
            let sinc = |n: f64| (PI * n / size as f64).sin() / (PI * n / size as f64);
            let window = (sinc(3.0) * sinc(2.0)).powi(scheme.order() as i32);
            let ratio = smoothed.power[2] / expected;
            assert!((ratio / (window * window) - 1.0).abs() < TOLERANCE, "{scheme:?}");
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
        let estimator = SpectrumEstimator::new(2, 1.0).unwrap();
        assert!(estimator.cross(&[0.0; 4], &[0.0; 8]).is_err());
        assert!(power_spectrum(&[0.0; 4], 2, 0.0).is_err());
        let error = power_spectrum(&[0.0, 0.0, f64::NAN, 0.0], 2, 1.0).unwrap_err();
        assert!(error.to_string().contains("value 2"));
    }
}
