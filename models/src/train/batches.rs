//! Make the batches of a training ahead of it, on another thread.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use armilla_samplers::rng::{Purpose, Stream, stream};
use rand::seq::SliceRandom;

use crate::error::{ModelError, Result};

/// Batches that wait to be used: enough that neither side waits for the other, few enough for the memory.
const PREFETCHED: usize = 2;
/// Streams of the orders of the epochs and of the batches, far from each other and from those with small numbers.
const ORDERS: u64 = 1 << 62;
const BATCHES: u64 = 1 << 63;
/// Epochs of one order are fewer.
const EPOCHS: u32 = 48;

/// Examples that go through a network together.
pub trait Batch: Send + Sized {
    /// How many there are.
    fn rows(&self) -> usize;

    /// Some of them.
    fn part(&self, rows: Range<usize>) -> Self;
}

/// Where batches come from. It is asked on another thread than that of the network.
pub trait Source: Sync {
    /// What it gives.
    type Batch: Batch;

    /// How many examples there are.
    fn examples(&self) -> usize;

    /// The examples `picks`, with all that is random about them drawn from `stream`: the same two give the same batch.
    ///
    /// # Errors
    /// An example that cannot be read.
    fn batch(&self, picks: &[usize], stream: &mut Stream) -> Result<Self::Batch>;
}

/// Every example once in random order, then again: where it stands depends on the seed and the position alone.
pub(crate) struct Order {
    seed: u64,
    streams: u64,
    count: usize,
    /// The epoch that is laid out.
    epoch: Option<usize>,
    laid_out: Vec<usize>,
}

impl Order {
    /// Of `count` examples. Orders with another `number`, a small one, are others.
    pub(crate) fn new(seed: u64, number: u64, count: usize) -> Self {
        Self {
            seed,
            streams: ORDERS | number << EPOCHS,
            count,
            epoch: None,
            laid_out: Vec::new(),
        }
    }

    /// The examples at `positions` of the order without end.
    pub(crate) fn at(&mut self, positions: Range<usize>) -> Vec<usize> {
        positions
            .map(|position| {
                let epoch = position / self.count;
                if self.epoch != Some(epoch) {
                    self.laid_out = (0..self.count).collect();
                    let mut stream = stream(self.seed, Purpose::Training, self.streams | epoch as u64);
                    self.laid_out.shuffle(&mut stream);
                    self.epoch = Some(epoch);
                }
                self.laid_out[position % self.count]
            })
            .collect()
    }
}

/// Hands the batches of `steps` to `consume`, made ahead on another thread.
pub(super) fn prefetched<S: Source, T>(
    source: &S,
    seed: u64,
    batch_size: usize,
    steps: Range<usize>,
    consume: impl FnOnce(Prefetched<S::Batch>) -> T,
) -> T {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(PREFETCHED);
        scope.spawn(move || {
            let mut order = Order::new(seed, 0, source.examples());
            for step in steps {
                let picks = order.at(step * batch_size..(step + 1) * batch_size);
                let mut stream = stream(seed, Purpose::Training, BATCHES | step as u64);
                let batch = source.batch(&picks, &mut stream);
                let failed = batch.is_err();
                // Whoever does not listen any more has ended the training.
                if sender.send(batch).is_err() || failed {
                    break;
                }
            }
        });
        consume(Prefetched(receiver))
    })
}

/// Batches in the order of their steps.
pub(super) struct Prefetched<B>(Receiver<Result<B>>);

impl<B> Prefetched<B> {
    pub(super) fn next(&self) -> Result<B> {
        self.0.recv().unwrap_or_else(|_| {
            Err(ModelError::Invalid(
                "the thread that makes batches ended early".into(),
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_comes_once_an_epoch_from_wherever_it_is_asked() {
        let mut order = Order::new(3, 0, 7);
        let all = order.at(0..21);
        for epoch in all.chunks(7) {
            let mut seen = epoch.to_vec();
            seen.sort_unstable();
            assert_eq!(seen, (0..7).collect::<Vec<_>>());
        }
        assert_ne!(all[..7], all[7..14]);
        assert_eq!(Order::new(3, 0, 7).at(5..16), all[5..16]);
        assert_ne!(Order::new(3, 1, 7).at(0..21), all);
    }
}
