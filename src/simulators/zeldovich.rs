//! Simulate particles by the Zel'dovich approximation.

use std::f64::consts::TAU;

use armilla_samplers::rng::Stream;
use rand::RngExt;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use realfft::num_complex::Complex;

use crate::cosmology::{HUBBLE, LinearPower, check_theta, growth};
use crate::data::{Header, Species};
use crate::fourier::Fourier;
use crate::{Error, Result};

/// The critical density today in h² M☉/Mpc³.
const CRITICAL_DENSITY: f64 = 2.775_366_27e11;
/// The largest number of particles along a side: 10⁹ take 48 GB to be simulated.
const MAX_SIZE: usize = 1024;

/// Dark matter in a periodic box, moved along straight lines from a lattice (Zel'dovich 1970, A&A 5, 84).
///
/// A Gaussian field δ on the N³ points q of the lattice has the linear spectrum today, ⟨|δ̂(k)|²⟩ = N⁶ P(k)/L³ with the
/// unnormalised transform δ̂ ([`LinearPower`]). A particle starts from each point and is displaced to
///
/// x = q + D(z) ψ(q), ψ̂(k) = i k/k² δ̂(k), v = a H(a) f D ψ,
///
/// so that to first order its density contrast is D(z) δ; D is the [growth](crate::cosmology::growth()) of a flat
/// universe with a cosmological constant, 1 today, and f its rate. It is right on large scales, and blurred below the
/// displacements, some Mpc/h today. The mean density is exact.
///
/// ```
/// use armilla::samplers::rng::{Purpose, stream};
/// use armilla::simulators::Zeldovich;
///
/// let zeldovich = Zeldovich::new(8, 200.0, 0.0)?;
/// let particles = zeldovich.simulate(&[0.3, 0.8], &mut stream(1, Purpose::Simulation, 0))?;
/// assert_eq!(particles.positions.len(), 3 * 512);
/// assert_eq!(particles.header.counts[1], 512);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct Zeldovich {
    size: usize,
    side: f64,
    redshift: f64,
    power: LinearPower,
    fourier: Fourier,
}

/// The particles of a simulation, in the order of the lattice, and what a snapshot's header says of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Particles {
    /// Box, masses, counts, cosmology.
    pub header: Header,
    /// Coordinates one particle after the other, from 0 to the side of the box, in Mpc/h.
    pub positions: Vec<f32>,
    /// Peculiar velocities in km/s.
    pub velocities: Vec<f32>,
}

impl Zeldovich {
    /// Boxes of `size`³ particles, `side` Mpc/h wide, at `redshift`.
    ///
    /// # Errors
    /// A size outside 4 to 1024, a side outside 1 to 100000 Mpc/h, a redshift outside 0 to 1000.
    pub fn new(size: usize, side: f64, redshift: f64) -> Result<Self> {
        if !(4..=MAX_SIZE).contains(&size) {
            return Err(Error::Invalid(format!(
                "{size} particles along a side are not allowed; there must be 4 to {MAX_SIZE}"
            )));
        }
        for (name, value, low, high) in [("side", side, 1.0, 1e5), ("redshift", redshift, 0.0, 1e3)] {
            if !(low..=high).contains(&value) {
                return Err(Error::Invalid(format!(
                    "{name} = {value} is not allowed; it must be {low} to {high}"
                )));
            }
        }
        Ok(Self {
            size,
            side,
            redshift,
            power: LinearPower::new(),
            fourier: Fourier::new(size),
        })
    }

    /// Particles along a side, N.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The side of the box in Mpc/h, L.
    pub fn side(&self) -> f64 {
        self.side
    }

    /// The particles of a universe of θ = (Ω_m, σ_8). The same θ and stream give the same bits.
    ///
    /// It takes 48 bytes of memory for each particle, 24 of which are what it returns; to
    /// [write](crate::data::NewSnapshot::write) these takes 64 bytes more.
    ///
    /// # Errors
    /// θ out of range: σ_8 not positive, Ω_m not in (Ω_b, 1], or other than two numbers.
    pub fn simulate(&self, theta: &[f64], stream: &mut Stream) -> Result<Particles> {
        let [omega_m, _] = check_theta(theta)?;
        let (n, count) = (self.size, self.size.pow(3));
        let delta = self.linear_field(theta, stream)?;
        let (growth, rate) = growth(omega_m, self.redshift)?;
        let scale_factor = 1.0 / (1.0 + self.redshift);
        // In units of 100 km/s per Mpc/h.
        let hubble = (omega_m / scale_factor.powi(3) + 1.0 - omega_m).sqrt();
        let speed = 100.0 * scale_factor * hubble * rate;

        let mut positions = vec![0f32; 3 * count];
        let mut velocities = vec![0f32; 3 * count];
        let cell = self.side / n as f64;
        for axis in 0..3 {
            let shift = self.fourier.inverse(self.displacement(&delta, axis));
            positions
                .par_chunks_exact_mut(3)
                .zip(velocities.par_chunks_exact_mut(3))
                .zip(shift.par_iter())
                .enumerate()
                .for_each(|(i, ((position, velocity), psi))| {
                    let point = [i / (n * n), i / n % n, i % n][axis] as f64 * cell;
                    let x = (point + growth * psi).rem_euclid(self.side) as f32;
                    // Rounding may reach the upper end, which is the lower one.
                    position[axis] = if f64::from(x) < self.side { x } else { 0.0 };
                    velocity[axis] = (speed * growth * psi) as f32;
                });
        }
        let mut header = Header {
            box_size: self.side,
            masses: [0.0; 6],
            counts: [0; 6],
            redshift: self.redshift,
            omega_m: Some(omega_m),
            omega_lambda: Some(1.0 - omega_m),
            hubble: Some(HUBBLE),
        };
        let species = Species::DarkMatter as usize;
        header.counts[species] = count as u64;
        header.masses[species] = omega_m * CRITICAL_DENSITY * cell.powi(3);
        Ok(Particles {
            header,
            positions,
            velocities,
        })
    }

    /// δ̂ today.
    fn linear_field(&self, theta: &[f64], stream: &mut Stream) -> Result<Vec<Complex<f64>>> {
        let n = self.size;
        // The power at every |n|² that occurs.
        let largest = 3 * (n / 2) * (n / 2);
        let unit = TAU / self.side;
        let amplitudes = (0..=largest)
            .into_par_iter()
            .map(|squared| {
                if squared == 0 {
                    return Ok(0.0);
                }
                let power = self.power.at(unit * (squared as f64).sqrt(), theta)?;
                // White noise of unit variance has |ŵ|² = N³; δ̂ is to have N⁶ P/L³.
                Ok((power * (n as f64 / self.side).powi(3)).sqrt())
            })
            .collect::<Result<Vec<f64>>>()?;
        let noise: Vec<f64> = (0..n.pow(3)).map(|_| stream.sample(StandardNormal)).collect();
        let mut modes = self.fourier.forward(&noise);
        modes
            .par_chunks_exact_mut(n * n)
            .enumerate()
            .for_each(|(x, modes)| {
                for (mode, kind) in modes.iter_mut().zip(Fourier::modes_at(n, n, x)) {
                    *mode *= amplitudes[kind.squared()];
                }
            });
        Ok(modes)
    }

    /// ψ̂ along an axis of the box: the lattice has x slowest, the transform fastest.
    fn displacement(&self, delta: &[Complex<f64>], axis: usize) -> Vec<Complex<f64>> {
        let n = self.size;
        let unit = TAU / self.side;
        let mut modes = delta.to_vec();
        modes
            .par_chunks_exact_mut(n * n)
            .enumerate()
            .for_each(|(x, modes)| {
                for (mode, kind) in modes.iter_mut().zip(Fourier::modes_at(n, n, x)) {
                    let along = kind.n[2 - axis];
                    let squared = kind.squared();
                    // A wave at Nyquist has no sign, and so no derivative on the lattice.
                    *mode = if squared == 0 || 2 * along.unsigned_abs() == n {
                        Complex::default()
                    } else {
                        let by = along as f64 / (unit * squared as f64);
                        Complex::new(-by * mode.im, by * mode.re)
                    };
                }
            });
        modes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Deposit, Masses, Scheme};
    use crate::stats::{SpectrumEstimator, density_contrast};
    use armilla_samplers::rng::{Purpose, stream};

    #[test]
    fn particles_have_the_linear_power_on_large_scales() {
        // Early enough that nothing is blurred: displacements are a tenth of a cell, and the next order of the power is
        // below the sampling error. Only modes up to a quarter of Nyquist's are free of the lattice's aliases.
        let (size, side, redshift, theta) = (48, 1000.0, 9.0, [0.3, 0.8]);
        let zeldovich = Zeldovich::new(size, side, redshift).unwrap();
        let particles = zeldovich
            .simulate(&theta, &mut stream(4, Purpose::Simulation, 0))
            .unwrap();
        let positions: Vec<f64> = particles.positions.iter().map(|&x| f64::from(x)).collect();
        let mut grid = Deposit::grid(size, side, Scheme::Cic).unwrap();
        grid.add(&positions, Masses::Same(1.0)).unwrap();
        let contrast = density_contrast(&grid.finish()).unwrap();
        let estimator = SpectrumEstimator::new(size, side).unwrap();
        let spectrum = estimator.power(&contrast).unwrap();
        let (d, _) = growth(theta[0], redshift).unwrap();
        let linear = LinearPower::new();
        let mut checked = 0;
        for i in 0..size / 8 {
            let expected = d * d * linear.at(spectrum.wavenumbers[i], &theta).unwrap();
            // Within a shell the spectrum bends by a few percent at most.
            let error = expected * (2.0 / spectrum.modes[i] as f64).sqrt() + 0.03 * expected;
            assert!((spectrum.power[i] - expected).abs() < 5.0 * error, "shell {i}");
            checked += spectrum.modes[i];
        }
        assert!(checked > 500);
    }

    #[test]
    fn the_density_of_the_particles_is_the_linear_field() {
        // Against the very modes that the particles are made of there is no sampling error: only the next order, and
        // aliases of the lattice, which the smoothest of the schemes leaves below a percent for waves this long.
        let (size, side, theta) = (16, 2000.0, [0.3, 0.8]);
        let zeldovich = Zeldovich::new(size, side, 0.0).unwrap();
        let mut same = stream(4, Purpose::Simulation, 0);
        let delta = zeldovich
            .linear_field(&theta, &mut stream(4, Purpose::Simulation, 0))
            .unwrap();
        let field = zeldovich.fourier.inverse(delta);
        let particles = zeldovich.simulate(&theta, &mut same).unwrap();
        let positions: Vec<f64> = particles.positions.iter().map(|&x| f64::from(x)).collect();
        let mut grid = Deposit::grid(size, side, Scheme::Pcs).unwrap();
        grid.add(&positions, Masses::Same(1.0)).unwrap();
        let contrast = density_contrast(&grid.finish()).unwrap();
        let estimator = SpectrumEstimator::new(size, side).unwrap();
        let correlation = estimator.cross(&field, &contrast).unwrap().correlation();
        // Only the particles went through a window.
        let linear = estimator.power(&field).unwrap().power;
        let found = estimator.corrected(Scheme::Pcs).power(&contrast).unwrap().power;
        for i in 0..3 {
            assert!(correlation[i] > 0.99, "{correlation:?}");
            let transfer = (found[i] / linear[i]).sqrt();
            assert!((transfer - 1.0).abs() < 0.03, "ring {i}: {transfer}");
        }
    }

    #[test]
    fn velocities_follow_displacements() {
        let zeldovich = Zeldovich::new(8, 500.0, 0.0).unwrap();
        let particles = zeldovich
            .simulate(&[0.3, 0.8], &mut stream(4, Purpose::Simulation, 0))
            .unwrap();
        // Today a = H/(100 h) = D = 1: v = 100 f ψ.
        let (_, rate) = growth(0.3, 0.0).unwrap();
        for i in 0..512 {
            let q = [i / 64, i / 8 % 8, i % 8];
            for (axis, q) in q.into_iter().enumerate() {
                let x = f64::from(particles.positions[3 * i + axis]);
                let shift = (x - q as f64 * 62.5 + 250.0).rem_euclid(500.0) - 250.0;
                let velocity = f64::from(particles.velocities[3 * i + axis]);
                // Positions are rounded to single precision.
                assert!(
                    (velocity - 100.0 * rate * shift).abs() < 0.01,
                    "{velocity} {shift}"
                );
            }
        }
    }

    #[test]
    fn senseless_boxes_are_refused() {
        assert!(Zeldovich::new(3, 100.0, 0.0).is_err());
        assert!(Zeldovich::new(2000, 100.0, 0.0).is_err());
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(Zeldovich::new(8, bad, 0.0).is_err());
            assert!(Zeldovich::new(8, 100.0, bad).is_err());
        }
        let zeldovich = Zeldovich::new(4, 100.0, 0.0).unwrap();
        let mut stream = stream(1, Purpose::Simulation, 0);
        assert!(zeldovich.simulate(&[0.3], &mut stream).is_err());
        assert!(zeldovich.simulate(&[2.0, 0.8], &mut stream).is_err());
    }
}
