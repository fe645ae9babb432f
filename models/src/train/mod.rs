//! Fit networks: any [`Learner`] on any [`Source`], with one [`Trainer`].

pub mod adam;
mod batches;
mod learner;
mod run;
mod schedule;
mod settings;
mod state;
#[cfg(test)]
mod tests;

pub use adam::Adam;
pub(crate) use batches::Order;
pub use batches::{Batch, Source};
pub use learner::Learner;
pub use run::{Session, Training};
pub(crate) use schedule::cosine_rate;
pub use settings::{Optimiser, Plan, Plateau, Schedule, Trainer};
pub use state::{BEST_FILE, HISTORY_FILE, Keep, LAST_FILE, State, save_best, save_history, steps_made};

use crate::weights::Weights;

/// What a training reports as it goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The settings make sense, and the first step is about to be made. Nothing was written yet.
    Started {
        /// The settings.
        trainer: &'a Trainer,
        /// Steps made so far: more than 0 where an earlier training is gone on with.
        step: usize,
        /// Steps in all.
        total: usize,
        /// Validations in all.
        epochs: usize,
    },
    /// A step was made.
    Step {
        /// Steps made so far.
        step: usize,
        /// Steps in all.
        total: usize,
        /// Loss of this step's batch.
        loss: f64,
    },
    /// The averaged weights were judged on the validation part; the state is on disk, where it is kept.
    Validated {
        /// What was found.
        epoch: Epoch,
        /// The averaged weights.
        weights: &'a Weights,
        /// All that was found so far.
        history: &'a [Epoch],
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
    /// Loss of the averaged weights on the validation part, under fixed noise.
    pub validation_loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Whether no earlier validation loss was lower.
    pub best: bool,
    /// Whether the learning rate was still rising.
    pub warmup: bool,
    /// Validations that count towards a plateau.
    pub bad: usize,
    /// Validations that count towards an early end.
    pub stale: usize,
}
