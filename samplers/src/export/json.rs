//! Write a run whole, as one JSON object.

use std::path::Path;

use super::{invalid, read_text};
use crate::error::SampleError;
use crate::run::Run;
use crate::run::checkpoint::write_whole;

/// Writes the run. NaN and infinities, for which JSON has no numbers, are the texts `"NaN"`, `"inf"` and `"-inf"`.
///
/// # Errors
/// `SampleError::File` where the file cannot be written.
pub fn write(run: &Run, path: &Path) -> Result<(), SampleError> {
    let text = serde_json::to_vec(run).map_err(|error| invalid(path, error))?;
    write_whole(path, &text)
}

/// Reads the run back, to the same bits.
///
/// # Errors
/// `SampleError::File` where the file holds no run.
pub fn read(path: &Path) -> Result<Run, SampleError> {
    serde_json::from_str(&read_text(path)?).map_err(|error| invalid(path, error))
}
