//! Read the columns of group and subhalo catalogues by name.

use std::path::{Path, PathBuf};

use super::files::parts;
use super::header::{LENGTH_UNIT, MASS_UNIT};
use crate::data::hdf5::Hdf5File;
use crate::suggest::closest;
use crate::{Error, Result};

/// The groups that columns are in.
const GROUPS: [&str; 2] = ["Group", "Subhalo"];

/// A catalogue of SUBFIND: `groups_090.hdf5`, `fof_subhalo_tab_033.hdf5`, or one of several files of these names.
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
        let (scale, unit) = unit(name);
        let (mut values, mut found) = (Vec::new(), None);
        for part in &self.parts {
            let file = Hdf5File::open(part)?;
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
            values.extend(column.read::<f64>()?.iter().map(|x| x * scale));
        }
        Ok(Column {
            values,
            width: found.unwrap_or(1),
            unit,
        })
    }
}

/// What a column is multiplied by, and the unit it then has: as IllustrisTNG names them.
fn unit(name: &str) -> (f64, Option<&'static str>) {
    // Quantities within a radius say so too.
    let within = ["inRad", "InRad", "HalfRad", "MaxRad"]
        .iter()
        .any(|part| name.contains(part));
    if name.contains("Mass") || name.contains("_M_") {
        (MASS_UNIT, Some("Msun/h"))
    } else if name.contains("Pos")
        || name.contains("_R_")
        || name.ends_with("CM")
        || (!within && (name.ends_with("Rad") || name.ends_with("RadType")))
    {
        (LENGTH_UNIT, Some("Mpc/h"))
    } else {
        (1.0, None)
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
            assert_eq!(unit(name).1.unwrap_or(""), expected, "{name}");
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
        std::fs::remove_file(path(2)).unwrap();
        assert!(
            Catalogue::open(path(0))
                .unwrap_err()
                .to_string()
                .contains(".2.hdf5")
        );
    }
}
