//! Fit networks: any [`Learner`] on any [`Source`], with one [`Trainer`].
//!
//! ```
//! use std::ops::Range;
//!
//! use armilla_models::train::{Batch, Event, Learner, Session, Source, Trainer};
//! use armilla_models::weights::{Weight, Weights};
//! use armilla_models::Result;
//! use armilla_samplers::rng::Stream;
//!
//! /// The mean of numbers: one weight, the squared distance.
//! struct Mean(Weights);
//! struct Numbers(Vec<f32>);
//!
//! impl Batch for Numbers {
//!     fn rows(&self) -> usize {
//!         self.0.len()
//!     }
//!     fn part(&self, rows: Range<usize>) -> Self {
//!         Numbers(self.0[rows].to_vec())
//!     }
//! }
//!
//! impl Source for Numbers {
//!     type Batch = Numbers;
//!     fn examples(&self) -> usize {
//!         self.0.len()
//!     }
//!     fn batch(&self, picks: &[usize], _: &mut Stream) -> Result<Numbers> {
//!         Ok(Numbers(picks.iter().map(|&i| self.0[i]).collect()))
//!     }
//! }
//!
//! impl Learner for Mean {
//!     type Batch = Numbers;
//!     fn weights(&self) -> Weights {
//!         self.0.clone()
//!     }
//!     fn load(&mut self, weights: &Weights) -> Result<()> {
//!         self.0 = weights.clone();
//!         Ok(())
//!     }
//!     fn loss_and_gradients(&mut self, batch: Numbers) -> Result<(f64, Vec<Vec<f32>>)> {
//!         let (mean, n) = (self.0.0[0].values[0], batch.rows() as f32);
//!         let loss: f32 = batch.0.iter().map(|x| (mean - x).powi(2)).sum();
//!         let gradient: f32 = batch.0.iter().map(|x| 2.0 * (mean - x)).sum();
//!         Ok((f64::from(loss / n), vec![vec![gradient / n]]))
//!     }
//!     fn validation_loss(&mut self) -> Result<f64> {
//!         Ok(f64::from((self.0.0[0].values[0] - 2.0).powi(2)))
//!     }
//! }
//!
//! let weight = Weight::new("mean", vec![1], vec![0.0]);
//! let mut mean = Mean(Weights(vec![weight]));
//! let trainer = Trainer { epochs: Some(400), batch_size: 3, learning_rate: 0.1, ..Trainer::default() };
//! let session = Session { seed: 1, keep: None, interrupt: None, observe: &mut |_: Event<'_>| Ok(()) };
//! trainer.train(&mut mean, &Numbers(vec![1.0, 2.0, 3.0]), session)?;
//! assert!((mean.0.0[0].values[0] - 2.0).abs() < 0.01);
//! # Ok::<(), armilla_models::ModelError>(())
//! ```

pub mod adam;
mod batches;
mod examples;
mod fit;
mod learner;
mod run;
mod schedule;
mod settings;
mod state;
pub(crate) mod symmetry;
#[cfg(test)]
mod tests;

pub use adam::Adam;
pub(crate) use batches::Order;
pub use batches::{Batch, Source};
pub use examples::{Examples, Fields};
pub(crate) use fit::{Loss, taped};
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
        /// Steps over which the learning rate rises; where there are fewer in all, it never gets to where it should.
        warmup: usize,
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
