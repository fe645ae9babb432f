//! Fit networks: the optimiser, and what a training says while it runs.

pub mod adam;

pub use adam::Adam;

use crate::weights::Weights;

/// What a training reports as it goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step was made.
    Step {
        /// Steps made so far.
        step: usize,
        /// Steps in all.
        total: usize,
        /// Loss of this step's batch.
        loss: f64,
    },
    /// The averaged weights were judged on the validation part.
    Validated {
        /// What was found.
        epoch: Epoch,
        /// The averaged weights.
        weights: &'a Weights,
    },
    /// A part of the second stage is done.
    Refining {
        /// Parts done.
        done: usize,
        /// Parts in all.
        total: usize,
    },
}

/// One line of the history of a training.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Epoch {
    /// Steps made so far.
    pub step: usize,
    /// Mean loss since the last epoch.
    pub train_loss: f64,
    /// Evidence-weighted loss of the averaged weights on the validation part, under fixed noise.
    pub validation_loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Whether no earlier validation loss was lower.
    pub best: bool,
}
