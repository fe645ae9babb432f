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

/// A row for every draw from number `from` on, each after `prefix`. What a draw has not stays empty.
pub(crate) fn write_rows(
    out: &mut impl Write,
    prefix: &str,
    dim: usize,
    chain: &Chain,
    from: usize,
) -> io::Result<()> {
    for draw in from..chain.len() {
        write!(out, "{prefix}")?;
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

/// Rows as they are read back.
#[derive(Default)]
pub(crate) struct Rows {
    chain: Chain,
    weights: Vec<f64>,
}

impl Rows {
    /// Adds a row of `dim` parameters; `None` where it is none.
    pub(crate) fn push(&mut self, row: &str, dim: usize) -> Option<()> {
        let cells: Vec<&str> = row.split(',').collect();
        let (x, rest) = cells.split_at_checked(dim)?;
        let &[log_density, log_weight, acceptance, diverged, energy, evaluations] = rest else {
            return None;
        };
        let optional = |cell: &str| match cell {
            "" => Some(None),
            cell => cell.parse::<f64>().ok().map(Some),
        };
        for cell in x {
            self.chain.draws.push(cell.parse().ok()?);
        }
        self.chain.log_density.push(log_density.parse().ok()?);
        self.weights.extend(optional(log_weight)?);
        if let Some(acceptance) = optional(acceptance)? {
            self.chain.steps.push(Step {
                acceptance,
                diverged: diverged == "1",
                energy: optional(energy)?,
                evaluations: evaluations.parse().ok()?,
            });
        }
        Some(())
    }

    /// The chain; an error in words where only some draws have steps or weights.
    pub(crate) fn finish(mut self) -> Result<Chain, String> {
        let draws = self.chain.len();
        let all_or_none = |count: usize| count == 0 || count == draws;
        if !all_or_none(self.chain.steps.len()) || !all_or_none(self.weights.len()) {
            return Err("some draws have steps or weights, others have none".into());
        }
        self.chain.log_weights = (!self.weights.is_empty()).then_some(self.weights);
        Ok(self.chain)
    }
}

/// The draws of a table with these parameters.
///
/// # Errors
/// In words, with the line, where it is not such a table.
pub(crate) fn parse(text: &str, names: &[String]) -> Result<Chain, String> {
    let mut lines = text.lines();
    let Some(header) = lines.next() else {
        return Ok(Chain::default());
    };
    if split(header).as_deref().and_then(parameters) != Some(names) {
        return Err("line 1: other columns than this run's".into());
    }
    let mut rows = Rows::default();
    for (number, line) in lines.enumerate() {
        let row = rows.push(line, names.len());
        row.ok_or_else(|| format!("line {}: not a draw", number + 2))?;
    }
    rows.finish()
}

/// The columns that are parameters, where the others are those of a draw.
pub(crate) fn parameters(header: &[String]) -> Option<&[String]> {
    let (names, rest) = header.split_at_checked(header.len().checked_sub(COLUMNS.len())?)?;
    (rest == COLUMNS).then_some(names)
}

/// A cell as RFC 4180 wants it.
fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// The cells of a line, quotes taken off; `None` where a quote is not closed.
pub(crate) fn split(line: &str) -> Option<Vec<String>> {
    let mut cells = vec![String::new()];
    let (mut quoted, mut characters) = (false, line.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => cells.last_mut()?.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells.last_mut()?.push(other),
        }
    }
    (!quoted).then_some(cells)
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
        write_rows(&mut text, "", 2, &chain(), 0).unwrap();
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
