//! Find out in which units a file of a simulation is.

use std::path::Path;

use crate::data::hdf5::{Attributes, Hdf5File};
use crate::{Error, Result};

/// Gadget's unit of mass in M☉/h.
pub(super) const MASS_UNIT: f64 = 1e10;
/// Gadget's unit of length, kpc/h, in Mpc/h.
pub(super) const LENGTH_UNIT: f64 = 1e-3;
/// A megaparsec in cm.
const MPC: f64 = 3.085678e24;
/// The sun in g.
const SUN: f64 = 1.989e33;
/// Files differ in the digits that they give a parsec and the sun.
const DIGITS: f64 = 1e-2;

/// What the units of a file are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Units {
    /// Its unit of length in Mpc/h, and whether the file says so; else it is kpc/h.
    pub length: (f64, bool),
    /// Its unit of mass in M☉/h, and whether the file says so; else it is 10¹⁰ M☉/h.
    pub mass: (f64, bool),
}

impl Units {
    /// Those in `attributes`: `UnitLength_in_cm` and `UnitMass_in_g`.
    ///
    /// # Errors
    ///
    /// A length other than kpc/h and Mpc/h, and a mass other than M☉/h and 10¹⁰ M☉/h.
    pub fn of(path: &Path, attributes: &Attributes) -> Result<Self> {
        let read = |name: &str, unit: f64, among: [f64; 2], words: &str| {
            let Some(value) = attributes.get(name).and_then(|a| a.as_f64()) else {
                return Ok((among[0], false));
            };
            match among.iter().find(|&&known| is(value, known * unit)) {
                Some(&known) => Ok((known, true)),
                None => Err(Error::file(
                    path,
                    format!("its `{name}` is {value}, neither {words}"),
                )),
            }
        };
        Ok(Self {
            length: read("UnitLength_in_cm", MPC, [LENGTH_UNIT, 1.0], "kpc/h nor Mpc/h")?,
            mass: read("UnitMass_in_g", SUN, [MASS_UNIT, 1.0], "10^10 Msun/h nor Msun/h")?,
        })
    }

    /// The same, but for what the attributes of one dataset say: `to_cgs`, as AREPO writes it.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of), and a unit without h.
    pub fn of_dataset(self, attributes: &Attributes) -> std::result::Result<Self, String> {
        let get = |name: &str| attributes.get(name).and_then(|a| a.as_f64());
        // Zero is written where a unit is not known.
        let Some(cgs) = get("to_cgs").filter(|&cgs| cgs > 0.0) else {
            return Ok(self);
        };
        let has = |name: &str, power: f64| get(name).is_some_and(|p| is(p, power));
        let length = has("length_scaling", 1.0) && has("mass_scaling", 0.0);
        let mass = has("mass_scaling", 1.0) && has("length_scaling", 0.0);
        if !(length || mass) {
            return Ok(self);
        }
        if !has("h_scaling", -1.0) {
            return Err(
                "its attributes say that its unit has no h; only kpc/h, Mpc/h and Msun/h are known".into(),
            );
        }
        let said = if length {
            Self {
                length: (cgs / MPC, true),
                ..self
            }
        } else {
            Self {
                mass: (cgs / SUN, true),
                ..self
            }
        };
        // The digits of parsecs and suns are not those of data.
        let round =
            |(value, said): (f64, bool), known: f64| (if is(value, known) { known } else { value }, said);
        Ok(Self {
            length: round(round(said.length, LENGTH_UNIT), 1.0),
            mass: round(round(said.mass, MASS_UNIT), 1.0),
        })
    }
}

fn is(value: f64, known: f64) -> bool {
    value == known || (value / known - 1.0).abs() < DIGITS
}

/// The attributes of `Header`, and the units of `Parameters`, where AREPO has them.
///
/// # Errors
///
/// A file without a header, or a damaged one.
pub(super) fn header(file: &Hdf5File) -> Result<Attributes> {
    let mut all = file.attributes("Header")?;
    if let Ok(parameters) = file.attributes("Parameters") {
        let units = parameters
            .into_iter()
            .filter(|(name, _)| name.starts_with("Unit"));
        for (name, value) in units {
            all.entry(name).or_insert(value);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::hdf5::Attribute;

    fn attributes(all: &[(&str, f64)]) -> Attributes {
        let pair = |(name, value): &(&str, f64)| ((*name).to_owned(), Attribute::from(*value));
        all.iter().map(pair).collect()
    }

    fn of(all: &[(&str, f64)]) -> Result<Units> {
        Units::of(Path::new("a.hdf5"), &attributes(all))
    }

    #[test]
    fn units_are_read_or_those_of_gadget() {
        let gadget = of(&[]).unwrap();
        assert_eq!((gadget.length, gadget.mass), ((1e-3, false), (1e10, false)));
        let said = of(&[("UnitLength_in_cm", 3.08568e24), ("UnitMass_in_g", 1.98841e43)]).unwrap();
        assert_eq!((said.length, said.mass), ((1.0, true), (1e10, true)));
        let message = of(&[("UnitLength_in_cm", 1.0)]).unwrap_err().to_string();
        assert!(
            message.contains("UnitLength_in_cm") && message.contains("a.hdf5"),
            "{message}"
        );
        assert!(of(&[("UnitMass_in_g", -1.0)]).is_err());
    }

    #[test]
    fn a_dataset_knows_better() {
        let gadget = of(&[]).unwrap();
        let with = |cgs: f64, length: f64, mass: f64, h: f64| {
            gadget.of_dataset(&attributes(&[
                ("to_cgs", cgs),
                ("length_scaling", length),
                ("mass_scaling", mass),
                ("h_scaling", h),
            ]))
        };
        assert_eq!(with(3.085678e24, 1.0, 0.0, -1.0).unwrap().length, (1.0, true));
        assert_eq!(with(3.0857e21, 1.0, 0.0, -1.0).unwrap().length, (1e-3, true));
        let suns = with(2.0 * 1.989e33, 0.0, 1.0, -1.0).unwrap();
        assert_eq!((suns.mass, suns.length), ((2.0, true), gadget.length));
        // Velocities, and what is not known.
        assert_eq!(with(1e5, 0.0, 0.0, 0.0).unwrap(), gadget);
        assert_eq!(with(0.0, 1.0, 0.0, -1.0).unwrap(), gadget);
        assert!(with(3.0857e21, 1.0, 0.0, 0.0).unwrap_err().contains("no h"));
    }
}
