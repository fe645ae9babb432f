//! Know the files of the CAMELS simulations: their names, parameter tables, ranges and units.
//!
//! [`CamelsName`] is what the name of a file of the Multifield Dataset says, [`ParameterTable`] a table of the parameters
//! of simulations, [`ParameterInfo`] what an `Info_*` file says of one parameter.

mod info;
mod names;
mod parameters;
mod table;

pub use info::{ParameterInfo, read_info};
pub use names::{CamelsName, Shape};
pub use parameters::{camels_names, camels_range};
pub use table::ParameterTable;

/// Far more than any table takes; beyond it, a file is something else.
const LARGEST_TEXT: u64 = 64 << 20;

/// The text of a table.
fn read_text(path: &std::path::Path) -> crate::Result<String> {
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
