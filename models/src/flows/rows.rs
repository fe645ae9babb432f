//! Lay out what flows: rows of numbers, and behind each row the logarithm of the determinant so far.
//!
//! So a layer is one map from rows to rows, and what it adds to the log-determinant needs no second path.

use std::sync::Arc;

use rayon::prelude::*;

use crate::ops::HostMap;

/// Rows that a thread takes at least.
pub(super) const ROWS: usize = 16;
/// Parts in which gradients of weights are summed over rows: fixed, so that they do not depend on the threads.
const PARTS: usize = 8;

/// ½ ln 2π
const HALF_LOG_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// `x` (rows of `numbers`) with a log-determinant of zero behind each row.
pub(super) fn with_log_determinant(x: &[f32], numbers: usize) -> Vec<f32> {
    let mut rows = Vec::with_capacity(x.len() / numbers * (numbers + 1));
    for x in x.chunks_exact(numbers) {
        rows.extend_from_slice(x);
        rows.push(0.0);
    }
    rows
}

/// ln N(z; 0, 1) of a row plus its log-determinant: the log density of the data that it was.
pub(super) fn log_density(row: &[f32]) -> f64 {
    let [z @ .., log_determinant] = row else {
        return 0.0;
    };
    let square: f64 = z.iter().map(|z| f64::from(*z).powi(2)).sum();
    f64::from(*log_determinant) - 0.5 * square - z.len() as f64 * HALF_LOG_TWO_PI
}

/// The negative log density of each row, divided by the number of rows: their sum is the loss.
pub(super) struct MeanNegativeLogDensity {
    /// Numbers of a row, with the log-determinant.
    pub(super) width: usize,
}

impl HostMap for MeanNegativeLogDensity {
    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let count = y.len() as f64;
        for (row, y) in inputs[0].chunks_exact(self.width).zip(y) {
            *y = (-log_density(row) / count) as f32;
        }
    }

    fn backward(&self, inputs: &[&[f32]], dy: &[f32], gradients: &mut [Vec<f32>]) {
        let share = 1.0 / dy.len() as f32;
        let rows = inputs[0].chunks_exact(self.width).zip(dy);
        for ((row, dy), to) in rows.zip(gradients[0].chunks_exact_mut(self.width)) {
            let last = self.width - 1;
            to[..last]
                .iter_mut()
                .zip(row)
                .for_each(|(to, z)| *to += dy * share * z);
            to[last] -= dy * share;
        }
    }
}

/// What a network of a layer is shown: some numbers of each row, then the condition at every position.
pub(super) struct Shown {
    pub(super) width: usize,
    /// Which numbers, channel by channel.
    pub(super) places: Arc<[u32]>,
    /// Numbers of a condition.
    pub(super) condition: usize,
    pub(super) positions: usize,
}

impl Shown {
    /// Channels: never none. Where there is nothing to show, it is ones.
    pub(super) fn channels(&self) -> usize {
        (self.places.len() / self.positions + self.condition).max(1)
    }
}

impl HostMap for Shown {
    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let of_field = self.places.len();
        let one = self.channels() * self.positions;
        for (r, y) in y.chunks_exact_mut(one).enumerate() {
            let row = &inputs[0][r * self.width..][..self.width];
            y.iter_mut()
                .zip(&*self.places)
                .for_each(|(y, place)| *y = row[*place as usize]);
            if of_field + self.condition == 0 {
                y.fill(1.0);
            }
            for (c, y) in y[of_field..]
                .chunks_exact_mut(self.positions)
                .enumerate()
                .take(self.condition)
            {
                y.fill(inputs[1][r * self.condition + c]);
            }
        }
    }

    fn backward(&self, _: &[&[f32]], dy: &[f32], gradients: &mut [Vec<f32>]) {
        let of_field = self.places.len();
        let one = self.channels() * self.positions;
        for (r, dy) in dy.chunks_exact(one).enumerate() {
            let row = &mut gradients[0][r * self.width..][..self.width];
            dy.iter()
                .zip(&*self.places)
                .for_each(|(dy, place)| row[*place as usize] += dy);
            for (c, dy) in dy[of_field..]
                .chunks_exact(self.positions)
                .enumerate()
                .take(self.condition)
            {
                gradients[1][r * self.condition + c] += dy.iter().sum::<f32>();
            }
        }
    }
}

/// Rows in another order of their numbers.
pub(super) struct Rearranged {
    /// Where each number comes from; the log-determinant stays.
    pub(super) from: Arc<[u32]>,
}

impl HostMap for Rearranged {
    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let width = self.from.len();
        for (row, y) in inputs[0].chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            y.iter_mut()
                .zip(&*self.from)
                .for_each(|(y, from)| *y = row[*from as usize]);
        }
    }

    fn backward(&self, _: &[&[f32]], dy: &[f32], gradients: &mut [Vec<f32>]) {
        let width = self.from.len();
        for (dy, to) in dy.chunks_exact(width).zip(gradients[0].chunks_exact_mut(width)) {
            dy.iter()
                .zip(&*self.from)
                .for_each(|(dy, from)| to[*from as usize] += dy);
        }
    }
}

/// Σ over rows of what `of` adds to a list of `len` numbers, given the number of a row, the row and what belongs to it in
/// `to`: in an order that does not depend on the threads.
pub(super) fn sum_over_rows(
    width: usize,
    dy: &[f32],
    to: &mut [f32],
    len: usize,
    of: impl Fn(usize, &[f32], &mut [f32], &mut [f64]) + Sync,
) -> Vec<f64> {
    let rows = dy.len() / width;
    let part = rows.div_ceil(PARTS).max(1);
    let sums: Vec<Vec<f64>> = dy
        .par_chunks(part * width)
        .zip(to.par_chunks_mut(part * width))
        .enumerate()
        .map(|(p, (dy, to))| {
            let mut sum = vec![0.0; len];
            for (r, (dy, to)) in dy.chunks_exact(width).zip(to.chunks_exact_mut(width)).enumerate() {
                of(p * part + r, dy, to, &mut sum);
            }
            sum
        })
        .collect();
    let mut total = vec![0.0; len];
    for sum in sums {
        total.iter_mut().zip(sum).for_each(|(t, s)| *t += s);
    }
    total
}
