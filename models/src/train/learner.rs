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

/// The mean loss and gradient of a batch that goes through the network in `parts` parts.
pub(super) fn in_parts<L: Learner>(
    learner: &mut L,
    batch: L::Batch,
    parts: usize,
) -> Result<(f64, Vec<Vec<f32>>)> {
    if parts <= 1 {
        return learner.loss_and_gradients(batch);
    }
    let rows = batch.rows();
    let (mut loss, mut sum) = (0.0, Vec::new());
    for part in 0..parts {
        let here = rows * part / parts..rows * (part + 1) / parts;
        let share = here.len() as f64 / rows as f64;
        if here.is_empty() {
            continue;
        }
        let (value, gradients) = learner.loss_and_gradients(batch.part(here))?;
        loss += share * value;
        if sum.is_empty() {
            sum = gradients.iter().map(|g| vec![0.0f32; g.len()]).collect();
        }
        for (sum, g) in sum.iter_mut().zip(&gradients) {
            sum.iter_mut().zip(g).for_each(|(s, g)| *s += share as f32 * g);
        }
    }
    Ok((loss, sum))
}
