//! Keep weights on disk as safetensors, readable from Python.

mod pytorch;

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    error::{ModelError, Result},
    weights::{Weight, Weights},
};

pub use pytorch::Checkpoint;

/// Writes `weights` to `path`: beside it first, then renamed, so that no half file is ever there.
///
/// # Errors
/// `Checkpoint` where the file cannot be written.
pub fn save(path: impl AsRef<Path>, weights: &Weights) -> Result<()> {
    let path = path.as_ref();
    let bytes: Vec<Vec<u8>> = weights
        .0
        .iter()
        .map(|w| w.values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = weights.0.iter().zip(&bytes).map(|(w, bytes)| {
        TensorView::new(Dtype::F32, w.shape.clone(), bytes).map(|view| (w.name.as_str(), view))
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
    let path = path.as_ref();
    let file = Contents::read(path)?;
    let tensors = file.tensors.iter();
    let weights = tensors.map(|t| file.weight(t).map_err(|what| ModelError::checkpoint(path, what)));
    Ok(Weights(weights.collect::<Result<_>>()?))
}

/// What a safetensors file holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: Vec<TensorInfo>,
    data: Vec<u8>,
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
    #[serde(skip)]
    place: (usize, usize),
}

impl TensorInfo {
    /// How many numbers it holds.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Contents {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let data =
            fs::read(path).map_err(|e| ModelError::checkpoint(path, format!("cannot be read: {e}")))?;
        let broken = |e| ModelError::checkpoint(path, format!("is not a whole safetensors file: {e}"));
        let (header, metadata) = SafeTensors::read_metadata(&data).map_err(broken)?;
        SafeTensors::deserialize(&data).map_err(broken)?;
        let mut tensors: Vec<TensorInfo> = metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| TensorInfo {
                name,
                dtype: format!("{:?}", info.dtype),
                shape: info.shape.clone(),
                place: (8 + header + info.data_offsets.0, 8 + header + info.data_offsets.1),
            })
            .collect();
        tensors.sort_by_key(|t| t.place);
        let metadata = metadata.metadata().iter().flatten();
        Ok(Self {
            metadata: metadata.map(|(k, v)| (k.clone(), v.clone())).collect(),
            tensors,
            data,
        })
    }

    /// The numbers of a tensor in single precision, or what keeps them from being read.
    pub(crate) fn weight(&self, tensor: &TensorInfo) -> std::result::Result<Weight, String> {
        let bytes = &self.data[tensor.place.0..tensor.place.1];
        let values = match tensor.dtype.as_str() {
            "F32" => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
            "F64" => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f64::from_le_bytes(*b) as f32)
                .collect(),
            "F16" => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| half::f16::from_le_bytes(*b).to_f32())
                .collect(),
            "BF16" => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| half::bf16::from_le_bytes(*b).to_f32())
                .collect(),
            other => return Err(format!("{} is {other}, not F32, F64, F16 or BF16", tensor.name)),
        };
        Ok(Weight {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            values,
        })
    }
}
