//! Project the linear spectrum onto a slab and tabulate it at the modes of a grid.

use std::f64::consts::{PI, TAU};

use rayon::prelude::*;

use crate::cosmology::{K_MIN, Rule, ShapeTable, check_theta};
use crate::fourier::Fourier;
use crate::{Error, Result};

/// The largest grid: its table of weights takes seconds and a passing 100 MB to make, and 30 MB to keep.
const MAX_SIZE: usize = 512;
/// Lobes of sinc² that are followed one by one. Beyond, its wave is replaced by its mean; what that leaves out is
/// below 1e-8 of the integral, as the wave's integral is cut where it passes zero.
const LOBES: usize = 128;
/// The integral over k_z ends at this multiple of k and 20/D, where P sinc² has fallen to 1e-9.
const END: f64 = 50.0;

/// A square periodic map of matter: the density contrast averaged over a slab along the line of sight.
///
/// ```
/// use armilla::simulators::Slab;
/// let slab = Slab { size: 16, ..Slab::default() };
/// assert_eq!((slab.side, slab.depth), (200.0, 20.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slab {
    /// Grid points along one side, N; even or odd, 2 to 512.
    pub size: usize,
    /// Length of a side in Mpc/h, L.
    pub side: f64,
    /// Depth along the line of sight in Mpc/h, D.
    pub depth: f64,
}

impl Default for Slab {
    /// 32 × 32 values on 200 × 200 Mpc/h, 20 Mpc/h deep.
    fn default() -> Self {
        Self {
            size: 32,
            side: 200.0,
            depth: 20.0,
        }
    }
}

impl Slab {
    fn check(&self) -> Result<()> {
        if !(2..=MAX_SIZE).contains(&self.size) {
            return Err(Error::Invalid(format!(
                "size = {} is not allowed; it must be 2 to {MAX_SIZE} values along a side",
                self.size
            )));
        }
        for (name, length) in [("side", self.side), ("depth", self.depth)] {
            // The table of the spectrum is built for lengths between a star cluster and the horizon.
            if !(1e-3..=1e5).contains(&length) {
                return Err(Error::Invalid(format!(
                    "{name} = {length} is not allowed; it must be 0.001 to 100000 Mpc/h"
                )));
            }
        }
        Ok(())
    }
}

/// The power spectrum of a [`Slab`] at the modes of its grid, as a function of θ = (Ω_m, σ_8).
///
/// Averaging δ over the depth D multiplies its Fourier transform with sinc(k_z D/2), sinc x = sin x / x, and sums
/// over k_z:
///
/// P_2D(k) = (1/π) ∫₀^∞ dk_z P(√(k² + k_z²)) sinc²(k_z D/2), in (Mpc/h)².
///
/// It is finite and positive at k = 0: the mean of a map is a random mode too, with variance P_2D(0)/L².
///
/// # The field of the grid
/// With the unnormalised transform ĝ(k) = Σ_x g(x) exp(−ik·x) over the N × N points, g is the real periodic Gaussian
/// field with ⟨|ĝ(k)|²⟩ = N² λ(k), λ(k) = P_2D(k) N²/L², and independent modes but for ĝ(−k) = ĝ(k)*. So its
/// covariance ⟨g(x) g(y)⟩ = L⁻² Σ_k P_2D(k) exp(ik·(x − y)) is circulant, has the eigenvalues λ, and has the variance
/// σ_g² = L⁻² Σ_k P_2D(k) at every point. The modes are k = (2π/L) n with n the N least absolute residues along each
/// axis. Values are those at grid points: neither aliases nor a pixel window are put on the spectrum, which is
/// cut at the grid's own modes.
///
/// # Accuracy
/// 1e-7 relative against the integral (measured 4e-9). All quadrature and the interpolation of P in ln k have weights that do not
/// depend on θ, so the derivatives are those of the computed function to rounding.
///
/// ```
/// use armilla::simulators::{Slab, SlabSpectrum};
/// let spectrum = SlabSpectrum::new(Slab { size: 8, ..Slab::default() })?;
/// let power = spectrum.power(&[0.3, 0.8])?;
/// assert_eq!(power.len(), spectrum.wavenumbers().len());
/// assert_eq!(spectrum.wavenumbers()[0], 0.0);
/// assert_eq!(spectrum.modes().iter().sum::<usize>(), 64);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct SlabSpectrum {
    slab: Slab,
    table: ShapeTable,
    /// Each |k| that occurs, ascending, and how many of the N² modes have it.
    wavenumbers: Vec<f64>,
    modes: Vec<usize>,
    /// For each mode of the half spectrum the index of its |k|.
    index: Vec<u32>,
    /// For each node of the table its weights in P_2D of the first so many |k|. A node below |k| takes no part in
    /// it, so the |k| that a node takes part in are the first ones.
    columns: Vec<Vec<f64>>,
}

/// P_2D at each |k| and its slope in Ω_m (the slope in σ_8 is 2 P/σ_8).
pub(super) struct Power {
    pub value: Vec<f64>,
    pub by_omega_m: Vec<f64>,
    pub sigma_8: f64,
}

impl SlabSpectrum {
    /// Prepares all that does not depend on θ.
    ///
    /// # Errors
    /// A size outside 2 to 512, a side or depth outside 0.001 to 100000 Mpc/h.
    pub fn new(slab: Slab) -> Result<Self> {
        slab.check()?;
        let half: Vec<_> = Fourier::modes(slab.size).collect();
        let mut squares: Vec<usize> = half.iter().map(|mode| mode.squared()).collect();
        squares.sort_unstable();
        squares.dedup();
        let mut position = vec![0u32; squares.last().map_or(0, |last| last + 1)];
        for (i, &square) in squares.iter().enumerate() {
            position[square] = i as u32;
        }
        let index: Vec<u32> = half.iter().map(|mode| position[mode.squared()]).collect();
        let mut modes = vec![0; squares.len()];
        for (mode, &i) in half.iter().zip(&index) {
            modes[i as usize] += mode.multiplicity;
        }
        let wavenumbers: Vec<f64> = squares
            .iter()
            .map(|&square| TAU / slab.side * (square as f64).sqrt())
            .collect();

        let end = |k: f64| END * k.max(20.0 / slab.depth);
        let k_max = wavenumbers.last().copied().unwrap_or(0.0);
        let table = ShapeTable::new(k_max.hypot(end(k_max)) * 1.01);
        let rule = Rule::new();
        let rows: Vec<Vec<f64>> = wavenumbers
            .par_iter()
            .map(|&k| project(&table, rule, k, slab.depth, end(k)))
            .collect();
        let columns = (0..table.len())
            .map(|node| {
                let used = rows
                    .iter()
                    .rposition(|row| row[node] != 0.0)
                    .map_or(0, |last| last + 1);
                rows[..used].iter().map(|row| row[node]).collect()
            })
            .collect();
        Ok(Self {
            slab,
            table,
            wavenumbers,
            modes,
            index,
            columns,
        })
    }

    /// The geometry.
    pub fn slab(&self) -> Slab {
        self.slab
    }

    /// Each |k| that occurs among the grid's modes, ascending from 0, in h/Mpc.
    pub fn wavenumbers(&self) -> &[f64] {
        &self.wavenumbers
    }

    /// How many of the N² modes have each |k|.
    pub fn modes(&self) -> &[usize] {
        &self.modes
    }

    /// P_2D in (Mpc/h)² at each of [`SlabSpectrum::wavenumbers`].
    ///
    /// # Errors
    /// θ out of range: σ_8 not positive, Ω_m not in (Ω_b, 1], or other than two numbers.
    pub fn power(&self, theta: &[f64]) -> Result<Vec<f64>> {
        Ok(self.evaluate::<false>(theta)?.value)
    }

    /// P_2D and its derivatives in Ω_m and σ_8 at each of [`SlabSpectrum::wavenumbers`].
    ///
    /// # Errors
    /// As for [`SlabSpectrum::power`].
    pub fn power_and_gradient(&self, theta: &[f64]) -> Result<(Vec<f64>, Vec<[f64; 2]>)> {
        let power = self.evaluate::<true>(theta)?;
        let gradient = power
            .value
            .iter()
            .zip(&power.by_omega_m)
            .map(|(value, slope)| [*slope, 2.0 * value / power.sigma_8])
            .collect();
        Ok((power.value, gradient))
    }

    /// σ_g², the variance of the Gaussian field at each point.
    ///
    /// # Errors
    /// As for [`SlabSpectrum::power`].
    pub fn variance(&self, theta: &[f64]) -> Result<f64> {
        Ok(self.sum_over_modes(&self.power(theta)?))
    }

    /// L⁻² Σ_k of something given at each |k|.
    pub(super) fn sum_over_modes(&self, values: &[f64]) -> f64 {
        let sum: f64 = self.modes.iter().zip(values).map(|(&n, v)| n as f64 * v).sum();
        sum / (self.slab.side * self.slab.side)
    }

    /// λ/P_2D: the eigenvalue of the covariance per unit of power.
    pub(super) fn eigenvalue(&self) -> f64 {
        (self.slab.size as f64 / self.slab.side).powi(2)
    }

    /// For each mode of the half spectrum the index of its |k|.
    pub(super) fn index(&self) -> &[u32] {
        &self.index
    }

    /// The value's bits are the same with and without the slope.
    pub(super) fn evaluate<const SLOPE: bool>(&self, theta: &[f64]) -> Result<Power> {
        let [omega_m, sigma_8] = check_theta(theta)?;
        let (shape, slopes) = self.table.shape::<SLOPE>(omega_m)?;
        let mut value = vec![0.0; self.wavenumbers.len()];
        accumulate(&self.columns, &shape, &mut value);
        let variance = self.table.variance(&shape);
        let amplitude = sigma_8 * sigma_8 / variance;
        value.iter_mut().for_each(|v| *v *= amplitude);

        let mut by_omega_m = Vec::new();
        if SLOPE {
            by_omega_m = vec![0.0; self.wavenumbers.len()];
            accumulate(&self.columns, &slopes, &mut by_omega_m);
            // The amplitude falls as the variance of the shape grows.
            let ln_amplitude_slope = -self.table.variance(&slopes) / variance;
            for (slope, value) in by_omega_m.iter_mut().zip(&value) {
                *slope = *slope * amplitude + ln_amplitude_slope * value;
            }
        }
        Ok(Power {
            value,
            by_omega_m,
            sigma_8,
        })
    }
}

fn accumulate(columns: &[Vec<f64>], shape: &[f64], out: &mut [f64]) {
    for (column, s) in columns.iter().zip(shape) {
        for (out, weight) in out.iter_mut().zip(column) {
            *out += weight * s;
        }
    }
}

/// The row of weights that makes P_2D(`k`) of P.
fn project(table: &ShapeTable, rule: Rule, k: f64, depth: f64, end: f64) -> Vec<f64> {
    let mut row = table.row();
    let lobe = TAU / depth;
    // The first lobe holds the turnover of P, or the kink at k_z ~ k; both are smooth in ln k_z.
    let first = rule.logarithmic(K_MIN, lobe);
    let others = rule.linear(lobe, LOBES as f64 * lobe, LOBES - 1);
    for (kz, weight) in first.chain(others) {
        let x = 0.5 * kz * depth;
        let sinc = x.sin() / x;
        table.add(&mut row, k.hypot(kz), weight * sinc * sinc / PI);
    }
    // sin² → 1/2 where its waves are many.
    let from = LOBES as f64 * lobe;
    if end > from {
        for (kz, weight) in rule.logarithmic(from, end) {
            let x = 0.5 * kz * depth;
            table.add(&mut row, k.hypot(kz), 0.5 * weight / (x * x) / PI);
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cosmology::LinearPower;

    #[test]
    fn projection_meets_a_plain_sum() {
        // What the cut of the lobes and the interpolation leave, as documented.
        const TOLERANCE: f64 = 1e-7;
        for slab in [
            Slab::default(),
            Slab {
                size: 4,
                side: 3.0,
                depth: 20.0,
            },
            Slab {
                size: 4,
                side: 1000.0,
                depth: 1.0,
            },
        ] {
            let spectrum = SlabSpectrum::new(slab).unwrap();
            let theta = [0.27, 0.83];
            let computed = spectrum.power(&theta).unwrap();
            let three = LinearPower::new();
            // Amplitude and transfer apart, so that the sum below is quick.
            let transfer = crate::cosmology::Transfer::new(theta[0]).unwrap();
            let s = |k: f64| k.powf(crate::cosmology::SPECTRAL_INDEX) * transfer.at(k).0.powi(2);
            let amplitude = three.at(0.1, &theta).unwrap() / s(0.1);
            let last = computed.len() - 1;
            let mut worst = 0.0f64;
            for i in [0, 1, last / 2, last] {
                let k = spectrum.wavenumbers()[i];
                // Trapezoidal in ln k_z, fine enough to follow the waves up to where they are 1e-9 of the integral.
                let (from, to, steps) = (1e-6f64.ln(), (2e4 / slab.depth + 30.0 * k).ln(), 2_000_000);
                let step = (to - from) / steps as f64;
                let sum: f64 = (0..=steps)
                    .into_par_iter()
                    .map(|j| {
                        let kz = (from + step * j as f64).exp();
                        let x = 0.5 * kz * slab.depth;
                        let end = if j == 0 || j == steps { 0.5 } else { 1.0 };
                        end * kz * s(k.hypot(kz)) * (x.sin() / x).powi(2)
                    })
                    .sum();
                worst = worst.max((computed[i] / (amplitude * sum * step / PI) - 1.0).abs());
            }
            println!("{slab:?}: worst {worst:e}");
            assert!(worst < TOLERANCE);
        }
    }

    #[test]
    fn gradient_meets_finite_differences() {
        // Order h⁴ with h = 3e-4 relative: truncation 1e-11, rounding 1e-12.
        const TOLERANCE: f64 = 1e-10;
        let spectrum = SlabSpectrum::new(Slab {
            size: 9,
            ..Slab::default()
        })
        .unwrap();
        let mut worst = 0.0f64;
        for theta in [[0.1, 0.6], [0.3, 0.8], [0.5, 1.0]] {
            let (value, gradient) = spectrum.power_and_gradient(&theta).unwrap();
            assert_eq!(value, spectrum.power(&theta).unwrap());
            for a in 0..2 {
                let h = 3e-4 * theta[a];
                let p = |shift: f64| {
                    let mut theta = theta;
                    theta[a] += shift * h;
                    spectrum.power(&theta).unwrap()
                };
                let (p1, m1, p2, m2) = (p(1.0), p(-1.0), p(2.0), p(-2.0));
                for i in 0..value.len() {
                    let numeric = (8.0 * (p1[i] - m1[i]) - (p2[i] - m2[i])) / (12.0 * h);
                    worst = worst.max((gradient[i][a] - numeric).abs() * theta[a] / value[i]);
                }
            }
        }
        println!("worst {worst:e}");
        assert!(worst < TOLERANCE);
    }

    #[test]
    fn senseless_geometry_is_refused() {
        let slab = Slab::default();
        for (slab, name) in [
            (Slab { size: 1, ..slab }, "size"),
            (Slab { size: 1000, ..slab }, "size"),
            (
                Slab {
                    side: f64::NAN,
                    ..slab
                },
                "side",
            ),
            (Slab { side: -1.0, ..slab }, "side"),
            (Slab { depth: 0.0, ..slab }, "depth"),
            (
                Slab {
                    depth: f64::INFINITY,
                    ..slab
                },
                "depth",
            ),
        ] {
            let error = SlabSpectrum::new(slab).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
