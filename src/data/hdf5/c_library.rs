//! Read datasets through the HDF5 C library, with the filters that it has and Blosc.

use std::ops::Range;
use std::path::Path;

use hdf5_metno::{Dataset as Inner, File, H5Type, Hyperslab, SliceOrIndex};

use crate::data::numbers::{Kind, Number};
use crate::{Error, Result};

/// A dataset that the C library reads; it lets one thread in at a time.
#[derive(Debug)]
pub(super) struct Dataset(Inner);

impl Dataset {
    /// The dataset `name` of the file at `path`.
    pub(super) fn open(path: &Path, name: &str) -> Result<Self> {
        let dataset = File::open(path).and_then(|file| file.dataset(name));
        let words = |e| Error::file(path, format!("dataset `{name}`: {}", words(&e)));
        Ok(Self(dataset.map_err(words)?))
    }

    /// Reads `rows` of a dataset of this `shape` into `out`, which is as long as they are.
    pub(super) fn read<T: Number>(
        &self,
        rows: Range<usize>,
        shape: &[usize],
        out: &mut [T],
    ) -> std::result::Result<(), String> {
        match T::NATIVE.kind {
            Kind::F32 => self.read_as::<f32>(rows, shape, bytemuck::cast_slice_mut(out)),
            _ => self.read_as::<f64>(rows, shape, bytemuck::cast_slice_mut(out)),
        }
    }

    fn read_as<T: H5Type + Copy>(
        &self,
        rows: Range<usize>,
        shape: &[usize],
        out: &mut [T],
    ) -> std::result::Result<(), String> {
        if shape.is_empty() || rows == (0..shape[0]) {
            let read = self.0.read_into_raw(out).map_err(|e| words(&e))?;
            return same(read, out.len());
        }
        let whole = shape[1..].iter().map(|&n| SliceOrIndex::from(0..n));
        let slab: Vec<SliceOrIndex> = std::iter::once(SliceOrIndex::from(rows)).chain(whole).collect();
        let values = self
            .0
            .as_reader()
            .read_slice::<T, _, ndarray::IxDyn>(Hyperslab::from(slab));
        let values = values.map_err(|e| words(&e))?;
        same(values.len(), out.len())?;
        out.iter_mut().zip(&values).for_each(|(out, x)| *out = *x);
        Ok(())
    }
}

fn same(found: usize, expected: usize) -> std::result::Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "{found} values were found where {expected} should be: the file is damaged"
    ))
}

fn words(error: &hdf5_metno::Error) -> String {
    let text: String = error
        .to_string()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("the HDF5 C library says: {text}")
}
