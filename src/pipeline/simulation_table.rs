//! Look up the parameters of simulations by name, in the tables that CAMELS gives with them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::suggest::closest;
use crate::{Error, Result};

/// A table `CosmoAstroSeed_*.txt`: a line `#Name Omega_m … seed`, and then one for each simulation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SimulationTable {
    names: Vec<String>,
    rows: Vec<(String, Vec<f64>)>,
}

impl SimulationTable {
    /// The only table in `folder`, if there is one.
    ///
    /// # Errors
    ///
    /// Several tables, of which one must be named.
    pub fn find(folder: &Path) -> Result<Option<PathBuf>> {
        let entries = fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("CosmoAstroSeed_") && name.ends_with(".txt")
            })
            .collect();
        if found.len() > 1 {
            return Err(Error::file(
                folder,
                format!(
                    "it holds {} tables of parameters; name one with --params",
                    found.len()
                ),
            ));
        }
        Ok(found.pop())
    }

    /// Read it; the seed is no parameter.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, a missing first line, and rows that do not fit it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        Self::parse(&text).map_err(|e| Error::file(path, e))
    }

    fn parse(text: &str) -> Result<Self> {
        let fail = |what: String| Err(Error::Invalid(what));
        let mut lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let header = lines.next().and_then(|(_, line)| line.trim().strip_prefix('#'));
        let Some(header) = header else {
            return fail("it has no first line `#Name …` with the names of its columns".to_owned());
        };
        let columns: Vec<&str> = header.split_whitespace().skip(1).collect();
        let kept: Vec<usize> = (0..columns.len()).filter(|&i| columns[i] != "seed").collect();
        if kept.is_empty() {
            return fail("its first line names no parameter".to_owned());
        }
        let mut rows = Vec::new();
        for (i, line) in lines {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default().to_owned();
            let values: Option<Vec<f64>> = words.map(|word| word.parse().ok()).collect();
            let values = values.filter(|v| v.len() == columns.len() && v.iter().all(|x| x.is_finite()));
            let Some(values) = values else {
                return fail(format!(
                    "line {} needs a name and {} numbers: {}",
                    i + 1,
                    columns.len(),
                    columns.join(", ")
                ));
            };
            rows.push((name, kept.iter().map(|&i| values[i]).collect()));
        }
        Ok(Self {
            names: kept.iter().map(|&i| columns[i].to_owned()).collect(),
            rows,
        })
    }

    /// The names of the parameters.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The parameters of the simulation `name`.
    ///
    /// # Errors
    ///
    /// A name that is not there.
    pub fn row_of(&self, name: &str) -> Result<&[f64]> {
        match self.rows.iter().find(|(other, _)| other == name) {
            Some((_, values)) => Ok(values),
            None => {
                let hint = closest(name, self.rows.iter().map(|(name, _)| name.as_str()));
                let hint = hint.map_or(String::new(), |name| format!("; the closest is `{name}`"));
                Err(Error::Invalid(format!(
                    "none of its {} rows is named `{name}`{hint}",
                    self.rows.len()
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_name() {
        let text = "#Name  Omega_m  sigma_8 seed\n LH_0 0.3 0.8 5\n\nLH_10 0.4 0.9 6\n";
        let table = SimulationTable::parse(text).unwrap();
        assert_eq!(table.names(), ["Omega_m", "sigma_8"]);
        assert_eq!(table.row_of("LH_10").unwrap(), [0.4, 0.9]);
        assert!(table.row_of("LH_11").unwrap_err().to_string().contains("LH_10"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("", "#Name"),
            ("LH_0 0.3 0.8", "#Name"),
            ("#Name seed\nLH_0 1", "no parameter"),
            ("#Name a seed\nLH_0 1", "line 2"),
            ("#Name a seed\nLH_0 x 1", "line 2"),
            ("#Name a seed\nLH_0 NaN 1", "line 2"),
        ] {
            let message = SimulationTable::parse(text).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
