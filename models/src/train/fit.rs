//! Make a learner of a network and a loss.

use std::marker::PhantomData;

use dfdx::{
    shapes::Rank0,
    tensor::{Gradients, OwnedTape, Tensor},
    tensor_ops::Backward,
};

use super::{Batch, Learner, Session, Source, Trainer, Training};
use crate::{
    device::Device,
    error::{ModelError, Result},
    parameter::Module,
    weights::Weights,
};

/// What a network is trained for.
pub(crate) trait Loss<N> {
    /// What it is measured on.
    type Batch: Batch;

    /// Whether batch norms observe the batches; else they stay as they are.
    const OBSERVED: bool = true;

    /// As [`Learner::loss_and_gradients`].
    fn loss_and_gradients(&self, network: &N, batch: Self::Batch) -> Result<(f64, Vec<Vec<f32>>)>;

    /// As [`Learner::validation_loss`].
    fn validation_loss(&self, network: &N) -> Result<f64>;
}

/// A network, and what it is trained for.
struct Fitted<'a, D, N, L> {
    network: &'a mut N,
    loss: L,
    device: PhantomData<D>,
}

impl<D: Device, N: Module<D>, L: Loss<N>> Learner for Fitted<'_, D, N, L> {
    type Batch = L::Batch;

    fn weights(&self) -> Weights {
        self.network.weights()
    }

    fn load(&mut self, weights: &Weights) -> Result<()> {
        self.network.load(weights)
    }

    fn loss_and_gradients(&mut self, batch: L::Batch) -> Result<(f64, Vec<Vec<f32>>)> {
        self.loss.loss_and_gradients(self.network, batch)
    }

    fn absorb(&mut self, weights: &mut Weights) {
        self.network.absorb(weights);
    }

    fn validation_loss(&mut self) -> Result<f64> {
        self.network.set_training(false);
        let loss = self.loss.validation_loss(self.network);
        self.network.set_training(L::OBSERVED);
        loss
    }
}

impl Trainer {
    /// As [`train`](Self::train): `network`, by `loss`.
    pub(crate) fn fit<'a, D, N, L, S>(
        &self,
        network: &mut N,
        loss: L,
        source: &S,
        session: Session<'a>,
    ) -> Result<Training<'a>>
    where
        D: Device,
        N: Module<D>,
        L: Loss<N>,
        S: Source<Batch = L::Batch>,
    {
        network.set_training(L::OBSERVED);
        let mut fitted = Fitted {
            network,
            loss,
            device: PhantomData,
        };
        let training = self.train(&mut fitted, source, session);
        fitted.network.set_training(false);
        training
    }
}

/// A loss that is computed on the tape, and its gradients.
pub(crate) fn taped<D: Device>(
    loss: impl FnOnce() -> std::result::Result<Tensor<Rank0, f32, D, OwnedTape<f32, D>>, D::Err>,
) -> Result<(f64, Gradients<f32, D>)> {
    let loss = loss().map_err(ModelError::device)?;
    let value = f64::from(loss.as_vec()[0]);
    Ok((value, loss.try_backward().map_err(ModelError::device)?))
}
