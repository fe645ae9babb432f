//! Name what a network must be able to do to be trained.

use super::batches::Batch;
use crate::{error::Result, weights::Weights};

/// A network with its loss.
///
/// It stays on the thread that trains it: a device need not be shared.
pub trait Learner {
    /// What it learns from.
    type Batch: Batch;

    /// A copy of all weights, always in the same order.
    fn weights(&self) -> Weights;

    /// Replaces all weights.
    ///
    /// # Errors
    /// `Invalid` where names or shapes differ.
    fn load(&mut self, weights: &Weights) -> Result<()>;

    /// The mean loss over the rows of `batch`, and its gradient in every weight, in the order of
    /// [`weights`](Self::weights).
    ///
    /// # Errors
    /// `Device` where memory is short.
    fn loss_and_gradients(&mut self, batch: Self::Batch) -> Result<(f64, Vec<Vec<f32>>)>;

    /// Takes over into `weights` what the last step changed without gradients, the running statistics of norms: see
    /// [`Module::absorb`](crate::Module::absorb). By default there is nothing of that kind.
    fn absorb(&mut self, _weights: &mut Weights) {}

    /// The loss on the validation part, always under the same noise: losses are compared, and differ by the weights
    /// alone.
    ///
    /// # Errors
    /// `Device` where memory is short.
    fn validation_loss(&mut self) -> Result<f64>;
}
