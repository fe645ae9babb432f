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

/// Channels to a number; rows and the distance between them, which tell the direction; first tap, step and number of taps
/// of each axis, which tell the phase.
type Key = (usize, [usize; 2], [[usize; 3]; 3]);

impl Packed {
    /// Calls `work` with the weights in (panels, terms, taps, `ROWS`), `channels` to a number; `keep` keeps them.
    pub(super) fn with<R>(
        keep: Option<&Self>,
        weights: &Weights<'_>,
        walk: &Walk,
        channels: usize,
        work: impl FnOnce(&[u32]) -> R,
    ) -> R {
        let panels = weights.rows.div_ceil(ROWS);
        let len = panels * weights.sources.div_ceil(channels) * walk.taps() * ROWS;
        let Some(Self(kept)) = keep else {
            return with_words(len, |words| {
                weights.pack_words(walk, channels, words);
                work(words)
            });
        };
        let key = (
            channels,
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
            weights.pack_words(walk, channels, &mut words);
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
