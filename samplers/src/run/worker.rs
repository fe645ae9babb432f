//! Hold what one worker of a run carries from step to step.

use std::time::Instant;

use super::{Chain, Evaluations};
use crate::rng::Stream;

/// A worker between its steps. What it has spent is in `evaluations` when it rests.
pub(super) struct Worker<S> {
    pub(super) index: usize,
    pub(super) state: S,
    pub(super) rng: Stream,
    pub(super) chains: Vec<Chain>,
    pub(super) evaluations: Evaluations,
    /// Of each chain: the draws that are safe on disk, and the bytes they take there.
    pub(super) written: Vec<(usize, u64)>,
    pub(super) divergences: usize,
    /// When it was last written to disk, and whether it has moved since.
    pub(super) saved: Instant,
    pub(super) moved: bool,
    /// What ended it for good.
    pub(super) fatal: Option<String>,
}

impl<S> Worker<S> {
    pub(super) fn new(
        index: usize,
        state: S,
        rng: Stream,
        chains: Vec<Chain>,
        evaluations: Evaluations,
    ) -> Self {
        Self {
            index,
            state,
            rng,
            evaluations,
            written: vec![(0, 0); chains.len()],
            divergences: chains.iter().map(Chain::divergences).sum(),
            chains,
            saved: Instant::now(),
            moved: false,
            fatal: None,
        }
    }
}
