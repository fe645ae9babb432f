//! View many points as one slice of numbers.

use crate::error::EvalError;

/// Several points of equal dimension, one after the other in memory.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    data: &'a [f64],
    dim: usize,
}

impl<'a> Points<'a> {
    /// Views `data` as `data.len() / dim` points.
    ///
    /// # Errors
    /// `EvalError::Fatal` where `dim` is 0 or does not divide the length.
    pub fn new(data: &'a [f64], dim: usize) -> Result<Self, EvalError> {
        if dim == 0 || !data.len().is_multiple_of(dim) {
            return Err(EvalError::Fatal(format!(
                "{} numbers are not a whole number of points of dimension {dim}",
                data.len()
            )));
        }
        Ok(Self { data, dim })
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Numbers per point.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The points in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [f64]> {
        self.data.chunks_exact(self.dim)
    }
}
