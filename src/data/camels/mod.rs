//! Know the files of the CAMELS simulations: their names, parameter tables, ranges and units.
//!
//! [`CamelsName`] is what the name of a file of the Multifield Dataset says, [`ParameterTable`] a table of the parameters
//! of simulations, [`ParameterInfo`] what an `Info_*` file says of one parameter.

use std::path::{Path, PathBuf};

mod info;
mod names;
mod parameters;
mod table;

pub use info::{ParameterInfo, read_info};
pub use names::{CamelsName, Shape};
pub use parameters::{camels_names, camels_range};
pub use table::ParameterTable;

/// The files `PREFIX*.txt` of a folder, by name.
pub(super) fn text_files(folder: &Path, prefix: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(prefix) && name.ends_with(".txt") {
            found.push(path);
        }
    }
    // A folder lists its files in any order.
    found.sort();
    Ok(found)
}

/// Far more than any table takes; beyond it, a file is something else.
const LARGEST_TEXT: u64 = 64 << 20;

/// The text of a table.
fn read_text(path: &Path) -> crate::Result<String> {
    let of_io = |e: std::io::Error| crate::Error::file(path, super::hdf5::message_of_io(&e));
    let meta = std::fs::metadata(path).map_err(of_io)?;
    if meta.is_dir() {
        return Err(crate::Error::file(path, "this is a folder, not a file"));
    }
    if meta.len() > LARGEST_TEXT {
        return Err(crate::Error::file(
            path,
            "this is too large for a table of parameters",
        ));
    }
    let bytes = std::fs::read(path).map_err(of_io)?;
    String::from_utf8(bytes)
        .map_err(|_| crate::Error::file(path, "this is no text, and so no table of parameters"))
}
