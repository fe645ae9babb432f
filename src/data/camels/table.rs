//! Read tables of the parameters of simulations.

use std::path::Path;

use super::parameters::label;
use super::{camels_names, camels_range, read_text};
use crate::suggest::closest;
use crate::{Error, Result};

/// The parameters of simulations, one row for each.
///
/// ```
/// use armilla::data::ParameterTable;
///
/// let table = ParameterTable::parse("#Name Omega_m sigma_8 seed\nLH_0 0.309 0.979 0\nLH_1 0.3026 0.9394 1\n")?;
/// assert_eq!(table.names(), ["Omega_m", "sigma_8"]);
/// assert_eq!((table.rows(), table.row(1)), (2, &[0.3026, 0.9394][..]));
/// assert_eq!(table.simulations().unwrap()[1], "LH_1");
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterTable {
    names: Vec<String>,
    values: Vec<f64>,
    simulations: Option<Vec<String>>,
}

impl ParameterTable {
    /// Read the table at `path`, as [`parse`](Self::parse).
    ///
    /// # Errors
    ///
    /// A file that cannot be read, and those of [`parse`](Self::parse); the message names the file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&read_text(path)?).map_err(|e| Error::file(path, e))
    }

    /// A table from text: columns between spaces, a row for each simulation, as `params_*.txt` and `CosmoAstroSeed_*.txt`
    /// of CAMELS have it.
    ///
    /// The last line that begins with `#`, stands before the rows and names every column is the header. A column of words names the
    /// simulations, and one called `seed` is left out, as is the last of seven columns without a header. Without names, two
    /// or six parameters are those of CAMELS in its order.
    ///
    /// # Errors
    ///
    /// No rows, rows of different lengths, and values that are no finite numbers; the message names the line.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |what: String| Err(Error::Invalid(what));
        let mut headers: Vec<Vec<&str>> = Vec::new();
        let mut values = Vec::new();
        let mut simulations = Vec::new();
        let mut columns = None;
        let mut rows = 0;
        for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
            if let Some(comment) = line.strip_prefix('#') {
                if columns.is_none() {
                    headers.push(comment.split_whitespace().collect());
                }
                continue;
            }
            let mut words = line.split_whitespace().peekable();
            let Some(first) = words.peek() else { continue };
            let count = line.split_whitespace().count();
            let expected = *columns.get_or_insert(count);
            if count != expected {
                return fail(format!(
                    "line {number} has {count} columns, the others have {expected}"
                ));
            }
            rows += 1;
            if first.parse::<f64>().is_err() {
                simulations.push((*first).to_owned());
                words.next();
            }
            for word in words {
                match word.parse::<f64>() {
                    Ok(value) if value.is_finite() => values.push(value),
                    _ => return fail(format!("line {number}: `{}` is no finite number", shown(word))),
                }
            }
        }
        let Some(columns) = columns else {
            return fail("there are no rows of parameters in it".into());
        };
        let named = !simulations.is_empty();
        let numbers = columns - usize::from(named);
        if named && simulations.len() != rows {
            return fail(format!("{} of {rows} rows begin with a name", simulations.len()));
        }
        if numbers == 0 {
            return fail("it is no table of numbers".into());
        }
        // The last line that names every column, or every number where rows begin with a name.
        let fits = |header: &&Vec<&str>| header.len() == columns || header.len() == numbers;
        let header = headers.iter().rev().find(fits);
        let is_parameter = |word: &&str| camels_range(label(word)).is_some();
        if header.is_none()
            && let Some(told) = headers
                .iter()
                .find(|header| header.iter().filter(|w| is_parameter(w)).count() > 1)
        {
            return fail(format!(
                "the line `#{}` names {} columns, the rows have {columns}",
                shown(&told.join(" ")),
                told.len()
            ));
        }
        let names: Vec<String> = match header {
            Some(header) => header[header.len() - numbers..]
                .iter()
                .map(|name| label(name).to_owned())
                .collect(),
            None if numbers == 7 => camels_names(6).into_iter().chain(["seed".to_owned()]).collect(),
            None => camels_names(numbers),
        };
        let mut table = Self {
            names,
            values,
            simulations: named.then_some(simulations),
        };
        table.keep(|name| !name.eq_ignore_ascii_case("seed"));
        if table.names.is_empty() {
            return fail("it has no column of parameters".into());
        }
        Ok(table)
    }

    /// The same table with the first `count` parameters alone.
    pub fn first(mut self, count: usize) -> Self {
        let kept: Vec<String> = self.names.iter().take(count.max(1)).cloned().collect();
        self.keep(|name| kept.iter().any(|k| k == name));
        self
    }

    /// The names of the parameters.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of simulations.
    pub fn rows(&self) -> usize {
        self.values.len() / self.names.len()
    }

    /// The parameters of one simulation.
    ///
    /// # Panics
    ///
    /// If there is no row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.names.len()..(i + 1) * self.names.len()]
    }

    /// All parameters, simulation after simulation.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// What the simulations are called, where the table says it.
    pub fn simulations(&self) -> Option<&[String]> {
        self.simulations.as_deref()
    }

    /// The parameters of the simulation that is called `name`.
    ///
    /// # Errors
    ///
    /// A name that is not there, and a table that names no simulation.
    pub fn row_of(&self, name: &str) -> Result<&[f64]> {
        let names = self.simulations.as_deref().unwrap_or_default();
        match names.iter().position(|other| other == name) {
            Some(i) => Ok(self.row(i)),
            None => {
                let hint = closest(name, names.iter().map(String::as_str));
                let hint = hint.map_or(String::new(), |name| format!("; the closest is `{name}`"));
                Err(Error::Invalid(format!(
                    "none of its {} rows is named `{name}`{hint}",
                    self.rows()
                )))
            }
        }
    }

    /// Drops the columns whose names are not wanted.
    fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        let kept: Vec<bool> = self.names.iter().map(|name| wanted(name)).collect();
        let columns = kept.len();
        let mut at = 0..;
        self.values
            .retain(|_| at.next().is_some_and(|i: usize| kept[i % columns]));
        let mut kept = kept.into_iter();
        self.names.retain(|_| kept.next().unwrap_or(false));
    }
}

/// A word of a file, short and safe to print.
fn shown(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(30).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_header() {
        let six = "0.1 0.8 1 1 1 1\n\n0.2 0.9 1 1 1 2\n";
        let table = ParameterTable::parse(six).unwrap();
        assert_eq!(table.names(), camels_names(6));
        assert_eq!((table.rows(), table.simulations()), (2, None));
        let seeded = ParameterTable::parse("LH_0 0.1 0.8 1 1 1 1 5\nLH_1 0.2 0.9 1 1 1 2 6").unwrap();
        assert_eq!((seeded.names(), seeded.values()), (table.names(), table.values()));
        assert_eq!(seeded.simulations().unwrap(), ["LH_0", "LH_1"]);
        assert_eq!(seeded.row_of("LH_1").unwrap(), seeded.row(1));
        let missing = seeded.row_of("LH_11").unwrap_err().to_string();
        assert!(missing.contains("none of its 2 rows is named `LH_11`; the closest is"));
        let named = ParameterTable::parse("# Omega0 sigma8 extra\n0.1 0.8 3").unwrap();
        assert_eq!(named.names(), ["Omega_m", "sigma_8", "extra"]);
        assert_eq!(named.first(2).values(), [0.1, 0.8]);
        // The last line that fits is the header, and one that names parameters must fit.
        let swapped = "# LH set\n# sigma_8 Omega_m\nLH_0 0.8 0.3\n";
        assert_eq!(
            ParameterTable::parse(swapped).unwrap().names(),
            ["sigma_8", "Omega_m"]
        );
        assert!(ParameterTable::parse("# Omega_m sigma_8 A_SN1\n0.3 0.8\n").is_err());
        // A remark is no header.
        let remark = ParameterTable::parse("# made by hand\n0.1 0.8\n# more\n0.2 0.9").unwrap();
        assert_eq!((remark.names(), remark.rows()), (&camels_names(2)[..], 2));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("", "no rows"),
            ("# a b\n", "no rows"),
            ("0.1 0.2\n0.3", "line 2 has 1 columns, the others have 2"),
            ("0.1 x", "line 1: `x`"),
            ("0.1 inf", "line 1: `inf`"),
            ("a 1\n2 3", "1 of 2 rows begin with a name"),
            ("a\nb", "no table of numbers"),
            ("# seed\n1\n2", "no column of parameters"),
        ] {
            let message = ParameterTable::parse(text).unwrap_err().to_string();
            assert!(message.contains(words), "{text:?}: {message}");
        }
    }
}
