//! Keep the weights of any network as named lists of numbers: what an optimiser steps and a checkpoint holds.

use std::collections::BTreeMap;

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
    /// Whether an optimiser moves it; a running mean, for one, is not learnt.
    pub learnt: bool,
}

impl Weight {
    /// One that is learnt.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self {
            name: name.into(),
            shape,
            values,
            learnt: true,
        }
    }
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

    /// Moves towards `other`: `self = decay · self + (1 − decay) · other`, an exponential moving average. What is not
    /// learnt is taken over.
    pub fn average(&mut self, other: &Self, decay: f32) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            let decay = if theirs.learnt { decay } else { 0.0 };
            for (a, b) in mine.values.iter_mut().zip(&theirs.values) {
                *a += (1.0 - decay) * (b - *a);
            }
        }
    }

    /// The name and the shape of each weight.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.0.iter().map(|w| (w.name.as_str(), w.shape.as_slice()))
    }

    /// The values of each weight that `wanted` names with its shape, in its order.
    ///
    /// # Errors
    /// `Invalid` where a weight is missing, superfluous or of another shape: it names the first.
    pub fn matched<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<Vec<&[f32]>> {
        let mut left: BTreeMap<&str, &Weight> = self.0.iter().map(|w| (w.name.as_str(), w)).collect();
        let matched = wanted
            .into_iter()
            .map(|(name, shape)| match left.remove(name) {
                None => Err(ModelError::Invalid(format!("the weight {name} is missing"))),
                Some(w) if w.shape != shape || w.values.len() != shape.iter().product::<usize>() => {
                    Err(ModelError::Invalid(format!(
                        "the weight {name} has shape {:?}, the network wants {shape:?}",
                        w.shape
                    )))
                }
                Some(w) => Ok(w.values.as_slice()),
            })
            .collect::<Result<Vec<_>>>()?;
        match left.keys().next() {
            Some(extra) => Err(ModelError::Invalid(format!("the network has no weight {extra}"))),
            None => Ok(matched),
        }
    }
}
