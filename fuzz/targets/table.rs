//! Read a table of parameters, a table of their ranges, and the name of a file.
#![no_main]

use armilla::data::{CamelsName, ParameterTable, read_info};
use armilla_fuzz::with_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(table) = ParameterTable::parse(text) {
            let _ = table.rows().checked_sub(1).map(|last| table.row(last).len());
        }
        if let Some(name) = CamelsName::parse(text) {
            let _ = (name.fields_per_simulation(), name.table_names());
        }
    }
    with_file(bytes, "txt", |path| {
        let _ = ParameterTable::read(path);
        let _ = read_info(path);
    });
});
