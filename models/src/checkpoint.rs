//! Keep weights on disk as safetensors, readable from Python.

use std::{fs, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    error::{ModelError, Result},
    weights::{Weight, Weights},
};

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

/// Reads every tensor of a safetensors file of 32-bit floats.
///
/// # Errors
/// `Checkpoint` where the file is missing, truncated, or holds other types.
pub fn load(path: impl AsRef<Path>) -> Result<Weights> {
    let path = path.as_ref();
    let data = fs::read(path).map_err(|e| ModelError::checkpoint(path, format!("cannot be read: {e}")))?;
    let file = SafeTensors::deserialize(&data)
        .map_err(|e| ModelError::checkpoint(path, format!("is not a whole safetensors file: {e}")))?;
    let mut weights = Vec::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(ModelError::checkpoint(
                path,
                format!("{name} is {:?}, not F32", view.dtype()),
            ));
        }
        let (chunks, _) = view.data().as_chunks::<4>();
        let values = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
        weights.push(Weight {
            name,
            shape: view.shape().to_vec(),
            values,
        });
    }
    Ok(Weights(weights))
}
