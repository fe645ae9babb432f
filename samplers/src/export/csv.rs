//! Write draws as one table with a row for each.

use std::path::Path;

use super::{invalid, read_text, run_of_draws};
use crate::error::SampleError;
use crate::run::checkpoint::{file_error, write_whole};
use crate::run::{Run, table};

/// Writes a table whose columns are `chain`, the parameters, `log_density`, `log_weight`, `acceptance`,
/// `diverged`, `energy` and `evaluations`; what a run has not stays empty. Numbers read back to the same bits.
///
/// # Errors
/// `SampleError::File` where the file cannot be written.
pub fn write(run: &Run, path: &Path) -> Result<(), SampleError> {
    let mut text = b"chain,".to_vec();
    let mut fill = || {
        table::write_header(&mut text, &run.names)?;
        for (number, chain) in run.chains.iter().enumerate() {
            table::write_rows(&mut text, &format!("{number},"), run.dim(), chain, 0)?;
        }
        Ok(())
    };
    fill().map_err(|error| file_error(path, &error))?;
    write_whole(path, &text)
}

/// Reads such a table. How the draws came about is not in it.
///
/// # Errors
/// `SampleError::File`, with the line, where it is no such table.
pub fn read(path: &Path) -> Result<Run, SampleError> {
    let text = read_text(path)?;
    let mut lines = text.lines();
    let header = lines.next().and_then(table::split).unwrap_or_default();
    let names = header.split_first().and_then(|(first, rest)| {
        let names = table::parameters(rest)?;
        (first == "chain").then(|| names.to_vec())
    });
    let names = names.ok_or_else(|| invalid(path, "line 1: not the columns of a run"))?;
    let mut chains: Vec<table::Rows> = Vec::new();
    for (number, line) in lines.enumerate() {
        let row = || {
            let (chain, row) = line.split_once(',')?;
            let chain: usize = chain.parse().ok()?;
            // Chains follow each other.
            if chain == chains.len() {
                chains.push(table::Rows::default());
            }
            chains.get_mut(chain)?.push(row, names.len())
        };
        let mut row = row;
        row().ok_or_else(|| invalid(path, format!("line {}: not a draw", number + 2)))?;
    }
    let chains: Result<Vec<_>, String> = chains.into_iter().map(table::Rows::finish).collect();
    Ok(run_of_draws(
        path,
        names,
        chains.map_err(|what| invalid(path, what))?,
    ))
}
