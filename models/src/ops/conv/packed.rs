//! Keep the weights of a convolution as its kernel wants them.

use std::sync::{Arc, Mutex, PoisonError};

use super::{walk::Walk, weights::Weights};
use crate::ops::shared::with_words;

/// Rows of a panel.
pub(super) const ROWS: usize = 8;

/// What was packed, for as long as the weights stay the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packed(Arc<Mutex<Vec<Entry>>>);

type Entry = (Key, Arc<Vec<u32>>);

/// For which kernel; rows and the distance between them, which tell the direction; first tap, step and number of taps
/// of each axis, which tell the phase.
type Key = (For, [usize; 2], [[usize; 3]; 3]);

/// A kernel that wants weights in an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Planes of so many channels to a number.
    Planes(usize),
    /// Fast products of tiles.
    Tiles,
}

impl Packed {
    /// Calls `work` with `len` numbers that `pack` makes of the weights; `keep` keeps them.
    pub(super) fn with<R>(
        keep: Option<&Self>,
        kernel: For,
        (weights, walk): (&Weights<'_>, &Walk),
        len: usize,
        pack: impl FnOnce(&mut [u32]),
        work: impl FnOnce(&[u32]) -> R,
    ) -> R {
        let Some(Self(kept)) = keep else {
            return with_words(len, |words| {
                pack(words);
                work(words)
            });
        };
        let key = (
            kernel,
            [weights.rows, weights.row_step],
            walk.axes.map(|a| [a.first, a.every, a.taps]),
        );
        // What is in the list is whole, so that another thread's panic spoils nothing.
        let list = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = list()
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, packed)| Arc::clone(packed));
        let packed = found.unwrap_or_else(|| {
            // Nothing is locked meanwhile: this thread may lend a hand to another convolution.
            let mut words = vec![0; len];
            pack(&mut words);
            let packed = Arc::new(words);
            let mut kept = list();
            if kept.iter().all(|(k, _)| *k != key) {
                kept.push((key, Arc::clone(&packed)));
            }
            packed
        });
        work(&packed)
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(_, packed)| 4 * packed.len()).sum()
    }
}
