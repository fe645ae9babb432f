//! Shift and stretch each channel, at first so that the first batch has mean 0 and variance 1 (Kingma & Dhariwal 2018,
//! arXiv 1807.03039).

use dfdx::tensor::Tape;

use super::rows::sum_over_rows;
use crate::{
    device::Device,
    error::Result,
    field::Field,
    ops::{HostMap, host},
    parameter::{Module, Parameter},
};

/// The least standard deviation that is stretched to 1.
const LEAST: f64 = 1e-6;

/// The layer: it moves the first `channels` × `positions` numbers of each row to `(x + shift) · exp(log_scale)`.
#[derive(Clone)]
pub(super) struct ActNorm<D: Device> {
    width: usize,
    positions: usize,
    shift: Parameter<D>,
    log_scale: Parameter<D>,
    /// 1 once it has seen a batch; kept with the weights, so that what was trained is not begun anew.
    started: Parameter<D>,
}

impl<D: Device> ActNorm<D> {
    pub(super) fn new(device: &D, width: usize, channels: usize, positions: usize) -> Result<Self> {
        Ok(Self {
            width,
            positions,
            shift: Parameter::constant(device, vec![channels], 0.0)?,
            log_scale: Parameter::constant(device, vec![channels], 0.0)?,
            started: Parameter::buffer(device, 1, 0.0)?,
        })
    }

    pub(super) fn has_started(&self) -> bool {
        self.started.to_vec()[0] > 0.0
    }

    /// Looks at a batch of rows.
    pub(super) fn start(&mut self, rows: &[f32]) {
        let channels = self.shift.count();
        let (mut shift, mut log_scale) = (Vec::new(), Vec::new());
        for c in 0..channels {
            let values = || {
                let of = |row: &'_ [f32]| row[c * self.positions..(c + 1) * self.positions].to_vec();
                rows.chunks_exact(self.width).flat_map(of).map(f64::from)
            };
            let count = (rows.len() / self.width * self.positions) as f64;
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            shift.push(-mean as f32);
            log_scale.push(-(variance.sqrt().max(LEAST)).ln() as f32);
        }
        self.shift.set(&shift);
        self.log_scale.set(&log_scale);
        self.started.set(&[1.0]);
    }

    pub(super) fn forward<T: Tape<f32, D>>(&self, rows: Field<D, T>) -> Result<Field<D, T>> {
        let map = Normed {
            width: self.width,
            positions: self.positions,
        };
        host(
            vec![rows],
            &[&self.shift, &self.log_scale],
            map,
            self.width,
            [1; 3],
        )
    }

    pub(super) fn inverse(&self, mut rows: Vec<f32>) -> Vec<f32> {
        let (shift, log_scale) = (self.shift.to_vec(), self.log_scale.to_vec());
        let added = added(&log_scale, self.positions);
        for row in rows.chunks_exact_mut(self.width) {
            let channels = row.chunks_exact_mut(self.positions).zip(&shift).zip(&log_scale);
            for ((y, shift), log_scale) in channels {
                let back = (-log_scale).exp();
                y.iter_mut().for_each(|y| *y = *y * back - shift);
            }
            let last = &mut row[self.width - 1];
            *last = (f64::from(*last) - added) as f32;
        }
        rows
    }
}

/// What a row's log-determinant grows by.
fn added(log_scale: &[f32], positions: usize) -> f64 {
    positions as f64 * log_scale.iter().map(|s| f64::from(*s)).sum::<f64>()
}

impl<D: Device> Module<D> for ActNorm<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        vec![
            ("shift".into(), &self.shift),
            ("log_scale".into(), &self.log_scale),
            ("started".into(), &self.started),
        ]
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        vec![&mut self.shift, &mut self.log_scale, &mut self.started]
    }
}

/// The map of rows, shifts and logarithmic scales.
struct Normed {
    width: usize,
    positions: usize,
}

impl HostMap for Normed {
    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let [rows, shift, log_scale] = [0, 1, 2].map(|i| inputs[i]);
        let added = added(log_scale, self.positions);
        for (row, y) in rows.chunks_exact(self.width).zip(y.chunks_exact_mut(self.width)) {
            y.copy_from_slice(row);
            for ((y, shift), s) in y.chunks_exact_mut(self.positions).zip(shift).zip(log_scale) {
                let stretch = s.exp();
                y.iter_mut().for_each(|y| *y = (*y + shift) * stretch);
            }
            let last = self.width - 1;
            y[last] = (f64::from(row[last]) + added) as f32;
        }
    }

    fn backward(&self, inputs: &[&[f32]], dy: &[f32], gradients: &mut [Vec<f32>]) {
        let [rows, shift, log_scale] = [0, 1, 2].map(|i| inputs[i]);
        let (channels, positions, width) = (shift.len(), self.positions, self.width);
        let active = channels * positions;
        // Shifts, scales, and the log-determinant.
        let sum = sum_over_rows(
            width,
            dy,
            &mut gradients[0],
            2 * channels + 1,
            |r, dy, dx, sum| {
                let x = &rows[r * width..][..active];
                for c in 0..channels {
                    let stretch = log_scale[c].exp();
                    for k in c * positions..(c + 1) * positions {
                        let d = dy[k] * stretch;
                        dx[k] += d;
                        sum[c] += f64::from(d);
                        sum[channels + c] += f64::from(d * (x[k] + shift[c]));
                    }
                }
                dx[active..]
                    .iter_mut()
                    .zip(&dy[active..])
                    .for_each(|(dx, d)| *dx += d);
                sum[2 * channels] += f64::from(dy[width - 1]);
            },
        );
        let of_determinant = positions as f64 * sum[2 * channels];
        gradients[1]
            .iter_mut()
            .zip(&sum)
            .for_each(|(to, s)| *to += *s as f32);
        let scales = gradients[2].iter_mut().zip(&sum[channels..]);
        scales.for_each(|(to, s)| *to += (s + of_determinant) as f32);
    }
}
