//! Keep the weights of any network as named lists of numbers: what an optimiser steps and a checkpoint holds.

use crate::error::{ModelError, Result};

/// One weight of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Where it lives, as in PyTorch: `down.0.conv1.weight`.
    pub name: String,
    /// Its shape, row-major.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub values: Vec<f32>,
}

/// All weights of a network, in a fixed order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights(pub Vec<Weight>);

impl Weights {
    /// How many numbers there are in all.
    pub fn count(&self) -> usize {
        self.0.iter().map(|w| w.values.len()).sum()
    }

    /// Puts `prefix.` before every name.
    pub fn prefixed(mut self, prefix: &str) -> Self {
        self.0
            .iter_mut()
            .for_each(|w| w.name = format!("{prefix}.{}", w.name));
        self
    }

    /// Moves towards `other`: `self = decay · self + (1 − decay) · other`, an exponential moving average.
    pub fn average(&mut self, other: &Self, decay: f32) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            for (a, b) in mine.values.iter_mut().zip(&theirs.values) {
                *a += (1.0 - decay) * (b - *a);
            }
        }
    }

    /// The values of each weight that `like` names, in its order.
    ///
    /// # Errors
    /// `Invalid` where a weight is missing, superfluous or of another shape: it names the first.
    pub fn matched(&self, like: &Self) -> Result<Vec<&[f32]>> {
        if let Some(extra) = self.0.iter().find(|w| like.0.iter().all(|l| l.name != w.name)) {
            return Err(ModelError::Invalid(format!(
                "the network has no weight {}",
                extra.name
            )));
        }
        like.0
            .iter()
            .map(|l| match self.0.iter().find(|w| w.name == l.name) {
                None => Err(ModelError::Invalid(format!("the weight {} is missing", l.name))),
                Some(w) if w.shape != l.shape || w.values.len() != l.values.len() => {
                    Err(ModelError::Invalid(format!(
                        "the weight {} has shape {:?}, the network wants {:?}",
                        w.name, w.shape, l.shape
                    )))
                }
                Some(w) => Ok(w.values.as_slice()),
            })
            .collect()
    }
}
