//! Feed bytes as files to what reads files.
//!
//! A target fails where reading panics, hangs, or asks for memory that the file cannot fill (`-rss_limit_mb`); an error
//! is a good answer.

use std::{env, fs, path::Path, process};

/// Datasets that declare more than this many values are read by a few rows only.
pub const FEW_VALUES: usize = 1 << 18;

/// Writes `bytes` into a file with this extension, lends its path, and removes it.
pub fn with_file(bytes: &[u8], extension: &str, read: impl FnOnce(&Path)) {
    let path = env::temp_dir().join(format!("armilla-fuzz-{}.{extension}", process::id()));
    fs::write(&path, bytes).expect("the temporary folder can be written");
    read(&path);
    let _ = fs::remove_file(&path);
}
