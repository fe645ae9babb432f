//! Write snapshots in the new layout of CAMELS.

use std::path::Path;

use super::header::{Header, Species};
use super::units::{LENGTH_UNIT, MASS_UNIT};
use crate::data::hdf5::{NewFile, Values};
use crate::{Error, Result};

/// A snapshot in the making, of one species and one file.
#[derive(Debug, Clone, Copy)]
pub struct NewSnapshot<'a> {
    /// What the header is to say; the mass of the species must be there, and its count that of the particles.
    pub header: &'a Header,
    /// What the particles are.
    pub species: Species,
    /// Coordinates one particle after the other, in Mpc/h.
    pub positions: &'a [f32],
    /// Peculiar velocities in km/s.
    pub velocities: &'a [f32],
}

impl NewSnapshot<'_> {
    /// Write it at `path`, by custom `snapshot_###.hdf5`: lengths in kpc/h, masses in 10¹⁰ M☉/h and velocities divided
    /// by √a, as Gadget does.
    ///
    /// # Errors
    ///
    /// Numbers that do not fit each other, and what cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let (header, group) = (self.header, self.species.group());
        let count = self.positions.len() / 3;
        let said = header.counts[self.species as usize];
        if self.positions.len() != 3 * count || self.velocities.len() != 3 * count || said != count as u64 {
            return Err(Error::Invalid(format!(
                "{} coordinates and {} velocities are not those of {said} particles",
                self.positions.len(),
                self.velocities.len()
            )));
        }
        let scale_factor = 1.0 / (1.0 + header.redshift);
        let scaled = |values: &[f32], by: f64| -> Vec<f32> {
            values.iter().map(|&x| (f64::from(x) * by) as f32).collect()
        };
        let positions = scaled(self.positions, 1.0 / LENGTH_UNIT);
        let velocities = scaled(self.velocities, scale_factor.sqrt().recip());
        let ids: Vec<i64> = (1..=count as i64).collect();
        let mut file = NewFile::new();
        file.dataset(
            &format!("{group}/Coordinates"),
            &[count, 3],
            Values::F32(&positions),
        )?;
        file.dataset(
            &format!("{group}/Velocities"),
            &[count, 3],
            Values::F32(&velocities),
        )?;
        file.dataset(&format!("{group}/ParticleIDs"), &[count], Values::I64(&ids))?;
        file.group("Header")?;
        let counts = header.counts.map(|n| n as i64);
        let numbers = [
            ("BoxSize", Some(header.box_size / LENGTH_UNIT)),
            ("Redshift", Some(header.redshift)),
            ("Time", Some(scale_factor)),
            ("Omega0", header.omega_m),
            ("OmegaLambda", header.omega_lambda),
            ("HubbleParam", header.hubble),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                file.attribute("Header", name, value)?;
            }
        }
        file.attribute("Header", "NumFilesPerSnapshot", 1)?;
        file.attribute("Header", "NumPart_ThisFile", counts.as_slice())?;
        file.attribute("Header", "NumPart_Total", counts.as_slice())?;
        file.attribute("Header", "NumPart_Total_HighWord", [0i64; 6].as_slice())?;
        let masses = header.masses.map(|mass| mass / MASS_UNIT);
        file.attribute("Header", "MassTable", masses.as_slice())?;
        file.write(path)
    }
}
