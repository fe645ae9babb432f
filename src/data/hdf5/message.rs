//! Turn what goes wrong inside a file into one line that says what to do.

use std::io;
use std::path::Path;

use hdf5_pure::{Error as Inner, FormatError};

use super::attribute::one_line;
use crate::Error;

/// The name of a filter that compresses or rearranges chunks, by its registered number.
pub(super) fn filter_name(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "gzip",
        2 => "shuffle",
        3 => "fletcher32",
        4 => "szip",
        5 => "nbit",
        6 => "scaleoffset",
        307 => "bzip2",
        32000 => "lzf",
        32001 => "Blosc",
        32004 => "LZ4",
        32008 => "bitshuffle",
        32013 => "ZFP",
        32015 => "Zstandard",
        32017 => "SZ",
        32026 => "Blosc2",
        _ => return None,
    })
}

/// The error for a file that cannot be opened or looked into.
pub(super) fn of_file(path: &Path, error: &Inner) -> Error {
    Error::file(path, words(error))
}

/// The error for a dataset that cannot be read.
pub(super) fn of_dataset(path: &Path, dataset: &str, error: &Inner) -> Error {
    Error::file(path, format!("dataset `{}`: {}", one_line(dataset), words(error)))
}

fn words(error: &Inner) -> String {
    match error {
        Inner::Io(e) => of_io(e),
        Inner::Format(FormatError::SignatureNotFound) => {
            "not an HDF5 file (it has no HDF5 signature)".to_owned()
        }
        Inner::Format(FormatError::UnexpectedEof { .. }) => {
            "the file is truncated or damaged: it ends where more data should be; copy or download it again"
                .to_owned()
        }
        Inner::Format(FormatError::UnsupportedFilter(id)) => unsupported_filter(*id, None),
        Inner::FileMarkedInUse(_) => {
            "another program is writing this file, or stopped while it was; close it there, or run `h5clear -s` on it"
                .to_owned()
        }
        Inner::FileLocked(_) => "another program has locked this file; close it there".to_owned(),
        other => format!(
            "the file is damaged or of a kind that is not supported ({})",
            one_line(&other.to_string())
        ),
    }
}

/// The words for a file that the system will not give us.
pub(in crate::data) fn of_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::IsADirectory => "this is a folder, not a file".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to read this file".to_owned(),
        io::ErrorKind::UnexpectedEof => "the file is truncated: it ends where more data should be".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The words for a filter that only a C library can undo.
pub(super) fn unsupported_filter(id: u16, recorded: Option<&str>) -> String {
    let name = match (filter_name(id), recorded) {
        (Some(name), _) => format!(" ({name})"),
        (None, Some(name)) => format!(" ({})", one_line(name)),
        (None, None) => String::new(),
    };
    format!(
        "it is compressed with filter {id}{name}, which needs a build with the HDF5 C library (`--features libhdf5`); \
         or rewrite the file with gzip (`h5repack -f GZIP=4 old.h5 new.h5`)"
    )
}

/// Whether the reader in Rust undoes the filter.
#[cfg(feature = "libhdf5")]
pub(super) fn is_understood(id: u16) -> bool {
    matches!(id, 1 | 2 | 3 | 6 | 32000)
}
