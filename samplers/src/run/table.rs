//! Write draws as a table of text that reads back to the same bits.

use std::io::{self, Write};

use super::{Chain, Step};

/// What follows the parameters in every row.
const COLUMNS: [&str; 6] = [
    "log_density",
    "log_weight",
    "acceptance",
    "diverged",
    "energy",
    "evaluations",
];

/// The header: the names, then what each draw is accompanied by.
pub(crate) fn write_header(out: &mut impl Write, names: &[String]) -> io::Result<()> {
    let columns = names.iter().map(String::as_str).chain(COLUMNS);
    let quoted: Vec<String> = columns.map(quote).collect();
    writeln!(out, "{}", quoted.join(","))
}

/// A row for every draw from number `from` on. What a draw has not stays empty.
pub(crate) fn write_rows(out: &mut impl Write, dim: usize, chain: &Chain, from: usize) -> io::Result<()> {
    for draw in from..chain.len() {
        for x in &chain.draws[draw * dim..(draw + 1) * dim] {
            // The shortest text that reads back to the same number.
            write!(out, "{x:?},")?;
        }
        write!(out, "{:?},", chain.log_density[draw])?;
        if let Some(log_weights) = &chain.log_weights {
            write!(out, "{:?}", log_weights[draw])?;
        }
        match chain.steps.get(draw) {
            Some(step) => {
                write!(out, ",{:?},{}", step.acceptance, u8::from(step.diverged))?;
                match step.energy {
                    Some(energy) => write!(out, ",{energy:?}")?,
                    None => write!(out, ",")?,
                }
                writeln!(out, ",{}", step.evaluations)?;
            }
            None => writeln!(out, ",,,,")?,
        }
    }
    Ok(())
}

/// The draws of a table with these parameters.
///
/// # Errors
/// In words, with the line, where it is not such a table.
pub(crate) fn parse(text: &str, names: &[String]) -> Result<Chain, String> {
    let mut chain = Chain::default();
    let mut lines = text.lines();
    let Some(header) = lines.next() else {
        return Ok(chain);
    };
    let mut expected = Vec::new();
    // Writing to memory cannot fail; if it did, the comparison would.
    let _ = write_header(&mut expected, names);
    if header.as_bytes() != expected.trim_ascii_end() {
        return Err("line 1: other columns than this run's".into());
    }
    let (mut weights, mut steps) = (Vec::new(), Vec::new());
    for (number, line) in lines.enumerate() {
        let bad = || format!("line {}: not a draw", number + 2);
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != names.len() + COLUMNS.len() {
            return Err(bad());
        }
        let real = |cell: &str| cell.parse::<f64>().map_err(|_| bad());
        let optional = |cell: &str| (!cell.is_empty()).then(|| real(cell)).transpose();
        for cell in &cells[..names.len()] {
            chain.draws.push(real(cell)?);
        }
        let [log_density, log_weight, acceptance, diverged, energy, evaluations] = cells[names.len()..]
        else {
            return Err(bad());
        };
        chain.log_density.push(real(log_density)?);
        weights.extend(optional(log_weight)?);
        if let Some(acceptance) = optional(acceptance)? {
            steps.push(Step {
                acceptance,
                diverged: diverged == "1",
                energy: optional(energy)?,
                evaluations: evaluations.parse().map_err(|_| bad())?,
            });
        }
    }
    if !(steps.is_empty() || steps.len() == chain.len())
        || !(weights.is_empty() || weights.len() == chain.len())
    {
        return Err("some draws have steps or weights, others have none".into());
    }
    chain.steps = steps;
    chain.log_weights = (!weights.is_empty()).then_some(weights);
    Ok(chain)
}

/// A cell as RFC 4180 wants it.
fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        let step = |acceptance, energy| Step {
            acceptance,
            diverged: acceptance < 0.5,
            energy,
            evaluations: 7,
        };
        Chain {
            draws: vec![0.1, 1e300, -0.0, f64::NAN, f64::INFINITY, 5e-324],
            log_density: vec![-1.5, f64::NEG_INFINITY, 1.0 / 3.0],
            log_weights: Some(vec![0.0, -1.0, -0.1]),
            steps: vec![step(0.25, None), step(1.0, Some(0.3)), step(0.9, Some(-4.0))],
            warmup_divergences: 0,
            step_size: None,
        }
    }

    #[test]
    fn a_table_reads_back_to_the_same_bits() {
        let names = ["a, \"b\"".to_owned(), "c".to_owned()];
        let mut text = Vec::new();
        write_header(&mut text, &names).unwrap();
        write_rows(&mut text, 2, &chain(), 0).unwrap();
        let text = String::from_utf8(text).unwrap();
        let read = parse(&text, &names).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", chain()));
        assert_eq!(read.draws[2].to_bits(), (-0.0_f64).to_bits());
        let other = parse(&text, &["a".to_owned(), "c".to_owned()]).unwrap_err();
        assert!(other.contains("other columns"), "{other}");
        let cut = &text[..text.len() - 20];
        assert!(parse(cut, &names).unwrap_err().contains("line 4"));
        assert!(parse("", &names).unwrap().is_empty());
    }
}
