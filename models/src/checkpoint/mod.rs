//! Keep weights on disk as safetensors, readable from Python.

mod pytorch;
mod write;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::tensor::Metadata;

use crate::{
    error::{ModelError, Result},
    weights::{Weight, Weights},
};

pub use pytorch::Checkpoint;
pub(crate) use write::{PARTIAL, write_tensors, write_whole};
pub use write::{Precision, save, save_as};

/// Reads every tensor of a safetensors file.
///
/// # Errors
/// `Checkpoint` where the file is missing, truncated, or holds anything but floating-point numbers.
pub fn load(path: impl AsRef<Path>) -> Result<Weights> {
    let file = Contents::read(path.as_ref())?;
    let weights = file.tensors.iter().map(|t| file.weight(t));
    Ok(Weights(weights.collect::<Result<_>>()?))
}

/// What a safetensors file holds: its header, and where the numbers are.
#[derive(Debug)]
pub(crate) struct Contents {
    path: PathBuf,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: Vec<TensorInfo>,
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its type, as in safetensors: `F32`.
    pub dtype: String,
    /// Its shape, row-major.
    pub shape: Vec<usize>,
    /// The bytes of the file that hold it.
    #[serde(skip)]
    place: Range<u64>,
}

impl TensorInfo {
    /// How many numbers it holds.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Headers longer than this are not safetensors: the format's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

impl Contents {
    /// Reads the header, and checks it against the length of the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let fail = |what: String| ModelError::checkpoint(path, what);
        let unreadable = |e: std::io::Error| fail(format!("cannot be read: {e}"));
        let broken = |what: String| fail(format!("is not a whole safetensors file: {what}"));
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size)
            .map_err(|_| broken("it has no header".into()))?;
        let size = u64::from_le_bytes(size);
        if size > LONGEST_HEADER || size + 8 > length {
            return Err(broken(format!("a header of {size} bytes in a file of {length}")));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(unreadable)?;
        // This checks that the tensors follow each other without holes and have the sizes of their shapes.
        let header: Metadata = serde_json::from_slice(&header).map_err(|e| broken(e.to_string()))?;
        let mut tensors: Vec<TensorInfo> = header
            .tensors()
            .into_iter()
            .map(|(name, info)| TensorInfo {
                name,
                dtype: format!("{:?}", info.dtype),
                shape: info.shape.clone(),
                place: 8 + size + info.data_offsets.0 as u64..8 + size + info.data_offsets.1 as u64,
            })
            .collect();
        tensors.sort_by_key(|t| t.place.start);
        let end = tensors.iter().map(|t| t.place.end).max().unwrap_or(8 + size);
        if end != length {
            return Err(broken(format!("tensors end at byte {end}, the file at {length}")));
        }
        let metadata = header.metadata().iter().flatten();
        Ok(Self {
            path: path.to_owned(),
            metadata: metadata.map(|(k, v)| (k.clone(), v.clone())).collect(),
            tensors,
        })
    }

    /// The numbers of a tensor in single precision.
    pub(crate) fn weight(&self, tensor: &TensorInfo) -> Result<Weight> {
        let fail = |what: String| ModelError::checkpoint(&self.path, what);
        let convert: fn(&[u8]) -> Vec<f32> = match tensor.dtype.as_str() {
            "F32" => |bytes| {
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f32::from_le_bytes(*b))
                    .collect()
            },
            "F64" => |bytes| {
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f64::from_le_bytes(*b) as f32)
                    .collect()
            },
            "F16" => |bytes| {
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f16::from_le_bytes(*b).to_f32())
                    .collect()
            },
            "BF16" => |bytes| {
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| bf16::from_le_bytes(*b).to_f32())
                    .collect()
            },
            other => {
                let name = &tensor.name;
                return Err(fail(format!("{name} is {other}, not F32, F64, F16 or BF16")));
            }
        };
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(tensor.place.start))?;
            let mut bytes = vec![0; (tensor.place.end - tensor.place.start) as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|e| fail(format!("{} cannot be read: {e}", tensor.name)))?;
        Ok(Weight::new(
            tensor.name.clone(),
            tensor.shape.clone(),
            convert(&bytes),
        ))
    }
}
