//! Understand the header of a snapshot.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::units::Units;
use crate::data::hdf5::Attributes;
use crate::suggest::closest;
use crate::{Error, Result};

/// A kind of particle; its number is that of its group, `PartType0` … `PartType5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Species {
    /// Gas cells.
    Gas,
    /// Dark matter.
    DarkMatter,
    /// A second kind of dark matter, such as neutrinos or coarse particles around a zoom.
    Disk,
    /// Tracers of the gas.
    Tracers,
    /// Stars and wind.
    Stars,
    /// Black holes.
    BlackHoles,
}

impl Species {
    /// All of them, by number.
    pub const ALL: [Self; 6] = [
        Self::Gas,
        Self::DarkMatter,
        Self::Disk,
        Self::Tracers,
        Self::Stars,
        Self::BlackHoles,
    ];
    const NAMES: [&str; 6] = ["gas", "dm", "disk", "tracers", "stars", "bh"];

    /// Its name: `gas`, `dm`, `disk`, `tracers`, `stars` or `bh`.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The group of its particles.
    pub(super) fn group(self) -> String {
        format!("PartType{}", self as usize)
    }
}

impl fmt::Display for Species {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Species {
    type Err = Error;

    /// From its name, or that of its group.
    fn from_str(text: &str) -> Result<Self> {
        let find = |s: &Species| s.name() == text || s.group() == text;
        Self::ALL.into_iter().find(find).ok_or_else(|| {
            let hint = closest(text, Self::NAMES);
            let hint = hint.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
            Error::Invalid(format!(
                "there are no particles `{text}`: name {}{hint}",
                Self::NAMES.join(", ")
            ))
        })
    }
}

/// What the header of a snapshot says.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The side of the box in Mpc/h.
    pub box_size: f64,
    /// The mass of every particle of a species in M☉/h; 0 where each particle has its own.
    pub masses: [f64; 6],
    /// How many particles of each species there are.
    pub counts: [u64; 6],
    /// The redshift.
    pub redshift: f64,
    /// The densities of matter and of the cosmological constant today in critical ones, where it says so.
    pub omega_m: Option<f64>,
    /// See `omega_m`.
    pub omega_lambda: Option<f64>,
    /// H₀ / (100 km/s/Mpc), where it says so.
    pub hubble: Option<f64>,
}

/// A header, and what only its file means.
pub(super) struct FileHeader {
    pub header: Header,
    /// Particles of each species in this file.
    pub here: [u64; 6],
    /// Files that the snapshot is divided into.
    pub files: usize,
    /// Mpc/h in a unit of length.
    pub length: f64,
    /// M☉/h in a unit of mass.
    pub mass: f64,
}

impl FileHeader {
    pub fn of(path: &Path, attributes: &Attributes) -> Result<Self> {
        let fail = |what: String| Error::file(path, what);
        let get = |name: &str| attributes.get(name).and_then(|a| a.as_f64());
        let need = |name: &str| {
            get(name).ok_or_else(|| fail(format!("its header has no number `{name}`: it is no snapshot")))
        };
        let six = |name: &str| -> Result<Option<[f64; 6]>> {
            let Some(values) = attributes.get(name).and_then(|a| a.to_f64s()) else {
                return Ok(None);
            };
            if values.len() > 6 || values.iter().any(|x| !(*x >= 0.0 && x.is_finite())) {
                return Err(fail(format!("its header has an impossible `{name}`: {values:?}")));
            }
            Ok(Some(std::array::from_fn(|i| {
                values.get(i).copied().unwrap_or(0.0)
            })))
        };
        let needed = |name: &str| {
            six(name)?.ok_or_else(|| fail(format!("its header has no `{name}`: it is no snapshot")))
        };
        let Units {
            length: (length, _),
            mass: (mass, _),
        } = Units::of(path, attributes)?;
        let box_size = need("BoxSize")? * length;
        if !(box_size > 0.0 && box_size.is_finite()) {
            return Err(fail(format!(
                "its header says that the box is {box_size} Mpc/h wide"
            )));
        }
        let high = six("NumPart_Total_HighWord")?.unwrap_or_default();
        let low = needed("NumPart_Total")?;
        let here = needed("NumPart_ThisFile")?;
        let files = get("NumFilesPerSnapshot").unwrap_or(1.0);
        if !(1.0..=1e6).contains(&files) {
            return Err(fail(format!(
                "its header says that the snapshot has {files} files"
            )));
        }
        // Sums of them, and three coordinates of each, are counted.
        const MOST: f64 = (1_u64 << 52) as f64;
        let total = |i: usize| high[i] * 2f64.powi(32) + low[i];
        if let Some(i) = (0..6).find(|&i| !(0.0..MOST).contains(&total(i)) || !(0.0..MOST).contains(&here[i]))
        {
            return Err(fail(format!(
                "its header says that it has {} particles of type {i}",
                total(i)
            )));
        }
        Ok(Self {
            header: Header {
                box_size,
                masses: needed("MassTable")?.map(|each| each * mass),
                counts: std::array::from_fn(|i| total(i) as u64),
                redshift: get("Redshift").unwrap_or(0.0),
                omega_m: get("Omega0"),
                omega_lambda: get("OmegaLambda"),
                hubble: get("HubbleParam"),
            },
            here: here.map(|n| n as u64),
            files: files as usize,
            length,
            mass,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn species_have_names() {
        for species in Species::ALL {
            assert_eq!(species.name().parse::<Species>().unwrap(), species);
            assert_eq!(species.group().parse::<Species>().unwrap(), species);
        }
        let message = "star".parse::<Species>().unwrap_err().to_string();
        assert!(message.contains("did you mean `stars`?"), "{message}");
    }
}
