//! Keep the reports of a training in a file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// The file in a run folder.
const FILE: &str = "logs/training.log";

/// Removes the reports of an earlier training.
pub(super) fn remove(run: &Path) {
    // One that is not there, or cannot be removed, is appended to.
    let _ = fs::remove_file(run.join(FILE));
}

/// Adds `text` to the reports in the folder `run`.
///
/// # Errors
///
/// A file that cannot be written.
pub(super) fn append(run: &Path, text: &str) -> Result<()> {
    let path = run.join(FILE);
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)?
            .write_all(text.as_bytes())
    };
    write().map_err(|e: std::io::Error| Error::file(&path, format!("cannot be written: {e}")))
}
