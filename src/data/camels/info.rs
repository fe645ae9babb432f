//! Read what CAMELS says about its parameters: ranges, fiducial values and how they were sampled.

use std::path::Path;

use serde::Serialize;

use super::parameters::label;
use super::read_text;
use crate::{Error, Result};

/// What an `Info_*.txt` file of CAMELS says of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterInfo {
    /// Its name.
    pub name: String,
    /// Its value in the fiducial simulations.
    pub fiducial: f64,
    /// Its least value.
    pub low: f64,
    /// Its greatest value.
    pub high: f64,
    /// Whether it was sampled evenly in the logarithm.
    pub logarithmic: bool,
    /// What it is, in words.
    pub description: String,
}

/// Read an `Info_*.txt` file: values between commas under a header that names them.
///
/// # Errors
///
/// A file that cannot be read, a column that is missing, and values that make no sense; the message names the line.
pub fn read_info(path: impl AsRef<Path>) -> Result<Vec<ParameterInfo>> {
    let path = path.as_ref();
    parse(&read_text(path)?).map_err(|e| Error::file(path, e))
}

fn parse(text: &str) -> Result<Vec<ParameterInfo>> {
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let Some((_, header)) = lines.next() else {
        return Err(Error::Invalid("it is empty".into()));
    };
    let header: Vec<&str> = header.trim_start_matches('#').split(',').map(str::trim).collect();
    let column = |name: &str| {
        header.iter().position(|column| *column == name).ok_or_else(|| {
            Error::Invalid(format!(
                "it has no column {name}, and so is no Info file of CAMELS"
            ))
        })
    };
    let [name, log, fiducial, low, high] =
        ["ParamName", "LogFlag", "FiducialVal", "MinVal", "MaxVal"].map(column);
    let (name, log, fiducial, low, high) = (name?, log?, fiducial?, low?, high?);
    let description = column("Description").ok();
    let mut found = Vec::new();
    for (i, line) in lines {
        // A description may have commas of its own.
        let words: Vec<&str> = line.splitn(header.len(), ',').map(str::trim).collect();
        let number = |column: usize| -> Result<f64> {
            let value = words.get(column).and_then(|word| word.parse::<f64>().ok());
            value.filter(|x| x.is_finite()).ok_or_else(|| {
                Error::Invalid(format!("line {} has no number as its {}", i + 1, header[column]))
            })
        };
        let info = ParameterInfo {
            name: label(words.get(name).copied().unwrap_or_default()).to_owned(),
            fiducial: number(fiducial)?,
            low: number(low)?,
            high: number(high)?,
            logarithmic: number(log)? != 0.0,
            description: description
                .and_then(|d| words.get(d))
                .map_or(String::new(), |text| (*text).to_owned()),
        };
        if info.low >= info.high || (info.logarithmic && info.low <= 0.0) {
            return Err(Error::Invalid(format!(
                "line {}: {} to {} is no range for {}",
                i + 1,
                info.low,
                info.high,
                info.name
            )));
        }
        found.push(info);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "ParamName,AbsMaxDiff,LogFlag,FiducialVal,MinVal,MaxVal,Description\n";

    #[test]
    fn rows_become_parameters() {
        let info = parse(&format!(
            "{HEADER}Omega0,0.2,0,0.3,0.1,0.5,matter\nASN1,4,1,1.0,0.25,4.0,winds, fast ones\n"
        ))
        .unwrap();
        assert_eq!((info[0].name.as_str(), info[0].logarithmic), ("Omega_m", false));
        assert_eq!(
            (info[1].name.as_str(), info[1].low, info[1].high),
            ("A_SN1", 0.25, 4.0)
        );
        assert_eq!(info[1].description, "winds, fast ones");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            (String::new(), "empty"),
            ("a,b\n1,2".into(), "ParamName"),
            (format!("{HEADER}a,1,0,x,0,1,"), "line 2"),
            (format!("{HEADER}a,1,0,1,1,0,"), "no range"),
            (format!("{HEADER}a,1,1,1,0,1,"), "no range"),
            (format!("{HEADER}a"), "line 2"),
        ] {
            let message = parse(&text).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
