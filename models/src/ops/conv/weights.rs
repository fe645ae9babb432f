//! See the weights of a convolution from either of its directions.

use rayon::prelude::*;

use super::{gemm::ROWS, geometry::Sizes, packed, planes::pair, walk::Walk};

/// Taps that stand together for each source: most of them meet the same line.
pub(super) const TAPS: usize = 4;

/// Weights, as one direction of a convolution sees them: rows by sources by the taps of a walk.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub values: &'a [f32],
    pub kernel: [usize; 3],
    pub groups: usize,
    /// Rows and sources of a group, and how far apart the weights of neighbours are.
    pub rows: usize,
    pub row_step: usize,
    pub sources: usize,
    pub source_step: usize,
}

impl<'a> Weights<'a> {
    /// From channels to outputs.
    pub(super) fn forward(values: &'a [f32], sizes: &Sizes) -> Self {
        let (groups, taps) = (sizes.geometry.groups, sizes.geometry.taps());
        let (rows, sources) = (sizes.outputs / groups, sizes.channels / groups);
        Self {
            values,
            kernel: sizes.geometry.kernel,
            groups,
            rows,
            row_step: sources * taps,
            sources,
            source_step: taps,
        }
    }

    /// From outputs to channels.
    pub(super) fn backward(values: &'a [f32], sizes: &Sizes) -> Self {
        let forward = Self::forward(values, sizes);
        Self {
            rows: forward.sources,
            row_step: forward.source_step,
            sources: forward.rows,
            source_step: forward.row_step,
            ..forward
        }
    }

    /// Panels of a group.
    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Packs to (groups, panels, `TAPS`es of taps of the walk, sources, taps, ROWS), zeros filling the last panel.
    pub(super) fn pack(&self, walk: &Walk, packed: &mut [f32]) {
        let taps = walk.taps();
        let size = taps * self.sources * ROWS;
        packed
            .par_chunks_exact_mut(size.max(1))
            .enumerate()
            .for_each(|(p, packed)| {
                let (group, first) = (p / self.panels(), p % self.panels() * ROWS);
                let values =
                    &self.values[group * self.rows * self.sources * self.kernel.iter().product::<usize>()..];
                if first + ROWS > self.rows {
                    packed.fill(0.0);
                }
                let there = ROWS.min(self.rows - first);
                let start = first * self.row_step;
                for (i, packed) in packed.chunks_mut(TAPS * self.sources * ROWS).enumerate() {
                    let count = packed.len() / (self.sources * ROWS);
                    let places: [usize; TAPS] =
                        std::array::from_fn(|t| walk.in_kernel(i * TAPS + t.min(count - 1), self.kernel));
                    for (s, packed) in packed.chunks_exact_mut(count * ROWS).enumerate() {
                        for (place, packed) in places.iter().zip(packed.as_chunks_mut::<ROWS>().0) {
                            let from = &values[start + s * self.source_step + place..];
                            for (i, to) in packed.iter_mut().enumerate().take(there) {
                                *to = from[i * self.row_step];
                            }
                        }
                    }
                }
            });
    }

    /// Packs one group to (panels, terms, taps of the walk, rows), a term being one channel, or two in bf16.
    pub(super) fn pack_words(&self, walk: &Walk, channels: usize, words: &mut [u32]) {
        const ROWS: usize = packed::ROWS;
        let taps = walk.taps();
        let places: Vec<usize> = (0..taps).map(|tap| walk.in_kernel(tap, self.kernel)).collect();
        let terms = self.sources.div_ceil(channels);
        words
            .par_chunks_exact_mut((terms * taps * ROWS).max(1))
            .enumerate()
            .for_each(|(panel, words)| {
                words.fill(0);
                let rows = panel * ROWS..self.rows.min(panel * ROWS + ROWS);
                for (term, words) in words.chunks_exact_mut(taps * ROWS).enumerate() {
                    for (at, row) in rows.clone().enumerate() {
                        let first = row * self.row_step + term * channels * self.source_step;
                        let one = &self.values[first..];
                        let two = (channels == 2 && 2 * term + 1 < self.sources)
                            .then(|| &self.values[first + self.source_step..]);
                        for (place, word) in places.iter().zip(words[at..].iter_mut().step_by(ROWS)) {
                            *word = match two {
                                _ if channels == 1 => one[*place].to_bits(),
                                Some(two) => pair(one[*place], two[*place]),
                                None => pair(one[*place], 0.0),
                            };
                        }
                    }
                }
            });
    }
}
