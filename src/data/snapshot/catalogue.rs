//! Read the columns of group and subhalo catalogues by name.

use std::path::{Path, PathBuf};

use super::files::parts;
use super::units::{self, Units};
use crate::data::hdf5::{Attributes, Hdf5File};
use crate::suggest::closest;
use crate::{Error, Result};

/// The groups that columns are in.
const GROUPS: [&str; 2] = ["Group", "Subhalo"];

/// A catalogue of SUBFIND: `groups_090.hdf5`, `fof_subhalo_tab_033.hdf5`, or one of several files of these names.
///
/// Units are those that the attributes say: `to_cgs` and its scalings of a column, `UnitLength_in_cm` and `UnitMass_in_g`
/// of `Header` or `Parameters`. Catalogues without them, as those of CAMELS are, are taken to be in kpc/h and 10¹⁰ M☉/h,
/// and [`Column::assumed`] says so.
///
/// ```no_run
/// let catalogue = armilla::data::Catalogue::open("LH_0/groups_090.hdf5")?;
/// let masses = catalogue.read("GroupMass")?; // in M☉/h
/// let stars = catalogue.read("SubhaloMassType")?.component(4); // the fifth of six species
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct Catalogue {
    parts: Vec<PathBuf>,
    names: Vec<String>,
}

/// A column: one number for each object, or several.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Object after object.
    pub values: Vec<f64>,
    /// Numbers for each object.
    pub width: usize,
    /// `Mpc/h` or `Msun/h` for what its name says is a length or a mass; other columns are as in the file.
    pub unit: Option<&'static str>,
    /// Whether the file says nothing of its unit, which was taken to be that of Gadget, kpc/h or 10¹⁰ M☉/h.
    pub assumed: bool,
}

impl Column {
    /// Number `k` of each object.
    ///
    /// # Panics
    ///
    /// If there are no more than `k` numbers for each.
    pub fn component(&self, k: usize) -> Vec<f64> {
        assert!(
            k < self.width,
            "a column of width {} has no component {k}",
            self.width
        );
        self.values.iter().skip(k).step_by(self.width).copied().collect()
    }
}

impl Catalogue {
    /// Open the catalogue at `path`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, that holds no column, or is one of several of which some are missing.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = Hdf5File::open(path)?;
        let files = match file.attributes("Header") {
            Ok(header) => header.get("NumFiles").and_then(|a| a.as_f64()).unwrap_or(1.0),
            Err(_) => 1.0,
        };
        if !(1.0..=1e6).contains(&files) {
            return Err(Error::file(
                path,
                format!("its header says that there are {files} files"),
            ));
        }
        let parts = parts(path, files as usize)?;
        // A part may hold no objects, and then has no columns.
        let mut names = Vec::new();
        for part in &parts {
            for dataset in Hdf5File::open(part)?.datasets()? {
                if let Some((group, name)) = dataset.path.split_once('/')
                    && GROUPS.contains(&group)
                    && !names.iter().any(|n| n == name)
                {
                    names.push(name.to_owned());
                }
            }
        }
        if names.is_empty() {
            return Err(Error::file(
                path,
                "it holds no `Group/…` or `Subhalo/…`: it is no group catalogue",
            ));
        }
        Ok(Self { parts, names })
    }

    /// The names of all columns, those of groups first.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The column `name`, such as `GroupMass` or `SubhaloPos`.
    ///
    /// # Errors
    ///
    /// A name that is not there, parts that do not fit each other, and a damaged file.
    pub fn read(&self, name: &str) -> Result<Column> {
        if !self.names.iter().any(|n| n == name) {
            let hint = closest(name, self.names.iter().map(String::as_str));
            let hint = hint.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
            let first = &self.parts[0];
            let known = self.names.join(", ");
            return Err(Error::file(
                first,
                format!("there is no column `{name}`; it holds {known}{hint}"),
            ));
        }
        let quantity = Quantity::of(name);
        let (mut values, mut found, mut assumed) = (Vec::new(), None, false);
        for part in &self.parts {
            let file = Hdf5File::open(part)?;
            let units = match units::header(&file) {
                Ok(header) => Units::of(part, &header)?,
                Err(_) => Units::of(part, &Attributes::new())?,
            };
            let datasets = file.datasets()?;
            let of_name = |group: &&&str| datasets.iter().any(|d| d.path == format!("{group}/{name}"));
            let Some(group) = GROUPS.iter().find(of_name) else {
                continue;
            };
            let column = file.dataset(&format!("{group}/{name}"))?;
            let width: usize = column.shape().iter().skip(1).product();
            if *found.get_or_insert(width) != width {
                return Err(column.error(format!("{width} numbers for each object, but others elsewhere")));
            }
            let units = units.of_dataset(&column.info().attributes);
            let (scale, said) = quantity.scale(&units.map_err(|what| column.error(what))?);
            assumed |= !said;
            values.extend(column.read::<f64>()?.iter().map(|x| x * scale));
        }
        Ok(Column {
            values,
            width: found.unwrap_or(1),
            unit: quantity.unit(),
            assumed,
        })
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Quantity {
    Mass,
    Length,
    Other,
}

impl Quantity {
    /// By the name of the column, as IllustrisTNG names them.
    fn of(name: &str) -> Self {
        // Quantities within a radius say so too.
        let within = ["inRad", "InRad", "HalfRad", "MaxRad"]
            .iter()
            .any(|part| name.contains(part));
        if name.contains("Mass") || name.contains("_M_") {
            Self::Mass
        } else if name.contains("Pos")
            || name.contains("_R_")
            || name.ends_with("CM")
            || (!within && (name.ends_with("Rad") || name.ends_with("RadType")))
        {
            Self::Length
        } else {
            Self::Other
        }
    }

    fn unit(self) -> Option<&'static str> {
        match self {
            Self::Mass => Some("Msun/h"),
            Self::Length => Some("Mpc/h"),
            Self::Other => None,
        }
    }

    /// What a column is multiplied by, and whether the file says so.
    fn scale(self, units: &Units) -> (f64, bool) {
        match self {
            Self::Mass => units.mass,
            Self::Length => units.length,
            Self::Other => (1.0, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::hdf5::{NewFile, Values};

    #[test]
    fn units_follow_names() {
        for (name, expected) in [
            ("GroupMass", "Msun/h"),
            ("SubhaloMassInHalfRadType", "Msun/h"),
            ("Group_M_Crit200", "Msun/h"),
            ("Group_R_Crit200", "Mpc/h"),
            ("SubhaloHalfmassRadType", "Mpc/h"),
            ("SubhaloVmaxRad", "Mpc/h"),
            ("SubhaloCM", "Mpc/h"),
            ("GroupPos", "Mpc/h"),
            ("SubhaloSFRinHalfRad", ""),
            ("SubhaloSFRinRad", ""),
            ("SubhaloVel", ""),
            ("GroupLen", ""),
        ] {
            assert_eq!(Quantity::of(name).unit().unwrap_or(""), expected, "{name}");
        }
    }

    #[test]
    fn parts_are_joined() {
        let folder = tempfile::tempdir().unwrap();
        let path = |part: usize| folder.path().join(format!("fof_subhalo_tab_033.{part}.hdf5"));
        for (part, positions) in [vec![1e3, 2e3, 3e3], vec![], vec![4e3; 6]].iter().enumerate() {
            let mut file = NewFile::new();
            file.group("Header").unwrap();
            file.attribute("Header", "NumFiles", 3).unwrap();
            if !positions.is_empty() {
                file.dataset(
                    "Group/GroupPos",
                    &[positions.len() / 3, 3],
                    Values::F64(positions),
                )
                .unwrap();
            }
            file.write(path(part)).unwrap();
        }
        let column = Catalogue::open(path(1)).unwrap().read("GroupPos").unwrap();
        assert_eq!((column.width, column.unit), (3, Some("Mpc/h")));
        assert_eq!(column.component(1), [2.0, 4.0, 4.0]);
        assert!(column.assumed);
        std::fs::remove_file(path(2)).unwrap();
        assert!(
            Catalogue::open(path(0))
                .unwrap_err()
                .to_string()
                .contains(".2.hdf5")
        );
    }

    #[test]
    fn units_of_a_file_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups_090.hdf5");
        let mut file = NewFile::new();
        file.group("Header").unwrap();
        file.attribute("Header", "UnitMass_in_g", 1.989e33).unwrap();
        file.group("Parameters").unwrap();
        file.attribute("Parameters", "UnitLength_in_cm", 3.085678e24)
            .unwrap();
        for name in ["GroupPos", "GroupMass", "GroupCM"] {
            file.dataset(&format!("Group/{name}"), &[2], Values::F64(&[3.0, 4.0]))
                .unwrap();
        }
        for (name, value) in [
            ("to_cgs", 3.085678e21),
            ("length_scaling", 1.0),
            ("mass_scaling", 0.0),
            ("h_scaling", -1.0),
        ] {
            file.attribute("Group/GroupCM", name, value).unwrap();
        }
        file.write(&path).unwrap();
        let catalogue = Catalogue::open(&path).unwrap();
        for (name, expected) in [
            ("GroupPos", [3.0, 4.0]),
            ("GroupMass", [3.0, 4.0]),
            ("GroupCM", [3e-3, 4e-3]),
        ] {
            let column = catalogue.read(name).unwrap();
            assert_eq!(column.values, expected, "{name}");
            assert!(!column.assumed && column.unit.is_some());
        }
        file.attribute("Header", "UnitMass_in_g", 1.0).unwrap();
        file.write(&path).unwrap();
        let message = Catalogue::open(&path)
            .unwrap()
            .read("GroupMass")
            .unwrap_err()
            .to_string();
        assert!(message.contains("UnitMass_in_g"), "{message}");
    }
}
