//! Write files whole or not at all.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::{
    error::{ModelError, Result},
    weights::{Weight, Weights},
};

/// How numbers are kept in a file. Whatever it is, networks compute in single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Single precision: what was saved is what is loaded, to the last bit.
    F32,
    /// Half the size, relative rounding by up to 2⁻¹¹; numbers beyond 65 504 become infinite.
    F16,
    /// Half the size, relative rounding by up to 2⁻⁸, any magnitude.
    Bf16,
}

impl Precision {
    /// The name of the type in the format, and its bytes.
    fn dtype(self) -> (&'static str, usize) {
        match self {
            Self::F32 => ("F32", 4),
            Self::F16 => ("F16", 2),
            Self::Bf16 => ("BF16", 2),
        }
    }

    fn write(self, out: &mut impl Write, value: f32) -> std::io::Result<()> {
        match self {
            Self::F32 => out.write_all(&value.to_le_bytes()),
            Self::F16 => out.write_all(&f16::from_f32(value).to_le_bytes()),
            Self::Bf16 => out.write_all(&bf16::from_f32(value).to_le_bytes()),
        }
    }
}

/// Writes `weights` to `path`, whole or not at all.
///
/// # Errors
/// `Checkpoint` where the file cannot be written.
pub fn save(path: impl AsRef<Path>, weights: &Weights) -> Result<()> {
    save_as(path, weights, Precision::F32)
}

/// Writes `weights` as [`save`] does, rounded to `precision`: for passing on a network in a file of half the size.
///
/// # Errors
/// As [`save`].
pub fn save_as(path: impl AsRef<Path>, weights: &Weights, precision: Precision) -> Result<()> {
    let tensors: Vec<_> = weights.0.iter().map(|w| (w.name.clone(), w)).collect();
    write_tensors(path.as_ref(), &tensors, precision, None)
}

/// Writes a safetensors file tensor by tensor, without a copy of all of them in memory; `about` is one entry of its
/// metadata.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &[(String, &Weight)],
    precision: Precision,
    about: Option<(&str, String)>,
) -> Result<()> {
    let (dtype, bytes) = precision.dtype();
    let mut header = Map::new();
    if let Some((key, about)) = about {
        header.insert("__metadata__".into(), json!({ key: about }));
    }
    let mut end = 0;
    for (name, w) in tensors {
        let start = end;
        end += bytes * w.values.len();
        let place = json!({ "dtype": dtype, "shape": w.shape, "data_offsets": [start, end] });
        header.insert(name.clone(), place);
    }
    let mut header = Value::Object(header).to_string();
    // Tensors are aligned to eight bytes.
    let padding = header.len().next_multiple_of(8) - header.len();
    header.extend(std::iter::repeat_n(' ', padding));
    write_whole(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        let mut values = tensors.iter().flat_map(|(_, w)| &w.values);
        values.try_for_each(|v| precision.write(out, *v))
    })
}

/// How a file that is being written is called until it is whole.
pub(crate) const PARTIAL: &str = "partial-";

/// Writes a file: beside its place first, flushed to the disk, then renamed.
pub(crate) fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let beside = path.with_extension(format!("{PARTIAL}{}", std::process::id()));
    let write = || {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&beside)?);
        fill(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|e| {
        // Nothing half-written stays; that it was there is the error to report.
        let _ = fs::remove_file(&beside);
        ModelError::checkpoint(path, format!("cannot be written: {e}"))
    })
}
