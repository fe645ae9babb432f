//! Hold what a generative model is trained on.

use crate::error::Result;

/// Fields that are in memory, or are read when a batch needs them.
pub trait Fields: Sync {
    /// The numbers of all fields together.
    fn numbers(&self) -> usize;

    /// The fields `picks`, of `len` numbers each, one after the other.
    ///
    /// # Errors
    /// A field that cannot be read.
    fn read(&self, picks: &[usize], len: usize) -> Result<Vec<f32>>;
}

impl Fields for Vec<f32> {
    fn numbers(&self) -> usize {
        self.len()
    }

    fn read(&self, picks: &[usize], len: usize) -> Result<Vec<f32>> {
        let mut fields = Vec::with_capacity(picks.len() * len);
        for pick in picks {
            fields.extend_from_slice(&self[pick * len..(pick + 1) * len]);
        }
        Ok(fields)
    }
}

/// Fields of about unit variance, and what each was made with.
#[derive(Clone, Copy)]
pub struct Examples<'a> {
    /// The fields, or vectors: as many numbers for each.
    pub fields: &'a dyn Fields,
    /// One vector of parameters for each field, one after the other; empty where there are none.
    ///
    /// In physical units for a network that knows their bounds, else as conditions that the network takes as they are.
    pub parameters: &'a [f64],
}
