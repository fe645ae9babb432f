//! Keep weights on disk as safetensors, readable from Python.

mod pytorch;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorView},
};

use crate::{
    error::{ModelError, Result},
    weights::{Weight, Weights},
};

pub use pytorch::Checkpoint;

/// How numbers are kept in a file. Whatever it is, networks compute in single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Single precision: what was saved is what is loaded, to the last bit.
    F32,
    /// Half the size, relative rounding by up to 2⁻¹¹; numbers beyond 65 504 become infinite.
    F16,
    /// Half the size, relative rounding by up to 2⁻⁹, any magnitude.
    Bf16,
}

impl Precision {
    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F16 => values
                .iter()
                .flat_map(|v| f16::from_f32(*v).to_le_bytes())
                .collect(),
            Self::Bf16 => values
                .iter()
                .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
                .collect(),
        }
    }
}

/// Writes `weights` to `path`: beside it first, then renamed, so that no half file is ever there.
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
    let path = path.as_ref();
    let bytes: Vec<Vec<u8>> = weights.0.iter().map(|w| precision.bytes(&w.values)).collect();
    let views = weights.0.iter().zip(&bytes).map(|(w, bytes)| {
        TensorView::new(precision.dtype(), w.shape.clone(), bytes).map(|view| (w.name.as_str(), view))
    });
    let views: Vec<_> = views
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| ModelError::checkpoint(path, e))?;
    let data = safetensors::serialize(views, None).map_err(|e| ModelError::checkpoint(path, e))?;
    let beside = path.with_extension(format!("partial-{}", std::process::id()));
    fs::write(&beside, data)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|e| {
            // Nothing half-written stays; that it was there is the error to report.
            let _ = fs::remove_file(&beside);
            ModelError::checkpoint(path, format!("cannot be written: {e}"))
        })
}

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
        Ok(Weight {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            values: convert(&bytes),
        })
    }
}
