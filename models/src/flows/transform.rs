//! Move some numbers of each row, each by parameters of its own: what coupling and autoregressive layers share.

use std::sync::Arc;

use rayon::prelude::*;

use super::{
    affine::Affine,
    rows::ROWS,
    spline::{MOST_BINS, Spline},
};
use crate::ops::HostMap;

/// How a number is moved.
#[derive(Debug, Clone, Copy)]
pub(super) enum Transform {
    Affine(Affine),
    Spline(Spline),
}

/// Room for the parameters of a number.
type Parameters = [f64; 3 * MOST_BINS];

impl Transform {
    /// Parameters a number.
    pub(super) fn parameters(self) -> usize {
        match self {
            Self::Affine(_) => 2,
            Self::Spline(spline) => spline.parameters(),
        }
    }

    fn forward(self, x: f64, p: &[f64]) -> [f64; 2] {
        match self {
            Self::Affine(affine) => affine.forward(x, [p[0], p[1]]),
            Self::Spline(spline) => spline.forward(x, p),
        }
    }

    fn inverse(self, y: f64, p: &[f64]) -> [f64; 2] {
        match self {
            Self::Affine(affine) => affine.inverse(y, [p[0], p[1]]),
            Self::Spline(spline) => spline.inverse(y, p),
        }
    }

    fn backward(self, x: f64, p: &[f64], dy: [f64; 2], dp: &mut [f64]) -> f64 {
        match self {
            Self::Affine(affine) => {
                let (dx, of) = affine.backward(x, [p[0], p[1]], dy);
                dp.copy_from_slice(&of);
                dx
            }
            Self::Spline(spline) => spline.backward(x, p, dy, dp),
        }
    }
}

/// The numbers at `places` moved, the log-determinant with them. The inputs are the rows and, for each row, the first
/// parameter of every place, then the second, and so on.
#[derive(Clone)]
pub(super) struct Moved {
    pub(super) transform: Transform,
    pub(super) width: usize,
    pub(super) places: Arc<[u32]>,
}

impl Moved {
    /// Parameters a row.
    pub(super) fn parameters(&self) -> usize {
        self.places.len() * self.transform.parameters()
    }

    fn gather(&self, all: &[f32], j: usize, p: &mut [f64]) {
        let stride = self.places.len();
        p.iter_mut()
            .enumerate()
            .for_each(|(i, p)| *p = f64::from(all[i * stride + j]));
    }

    /// `to` from `rows` by `parameters`, forward or back.
    fn run(&self, rows: &[f32], parameters: &[f32], to: &mut [f32], back: bool) {
        let (width, last, count) = (self.width, self.width - 1, self.transform.parameters());
        to.par_chunks_exact_mut(width)
            .zip(rows.par_chunks_exact(width))
            .zip(parameters.par_chunks_exact(self.parameters()))
            .with_min_len(ROWS)
            .for_each(|((to, row), all)| {
                to.copy_from_slice(row);
                let mut p: Parameters = [0.0; 3 * MOST_BINS];
                let p = &mut p[..count];
                let mut total = 0.0;
                for (j, place) in self.places.iter().enumerate() {
                    self.gather(all, j, p);
                    let value = f64::from(row[*place as usize]);
                    let [moved, log_slope] = match back {
                        true => self.transform.inverse(value, p),
                        false => self.transform.forward(value, p),
                    };
                    to[*place as usize] = moved as f32;
                    total += log_slope;
                }
                let sign = if back { -1.0 } else { 1.0 };
                to[last] = (f64::from(row[last]) + sign * total) as f32;
            });
    }

    /// The rows that `rows` came from.
    pub(super) fn inverse(&self, rows: &[f32], parameters: &[f32]) -> Vec<f32> {
        let mut to = vec![0.0; rows.len()];
        self.run(rows, parameters, &mut to, true);
        to
    }
}

impl HostMap for Moved {
    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
        self.run(inputs[0], inputs[1], y, false);
    }

    fn backward(&self, inputs: &[&[f32]], dy: &[f32], gradients: &mut [Vec<f32>]) {
        let (width, last, count) = (self.width, self.width - 1, self.transform.parameters());
        let [of_rows, of_parameters] = gradients else {
            return;
        };
        of_rows
            .par_chunks_exact_mut(width)
            .zip(of_parameters.par_chunks_exact_mut(self.parameters()))
            .zip(inputs[0].par_chunks_exact(width))
            .zip(inputs[1].par_chunks_exact(self.parameters()))
            .zip(dy.par_chunks_exact(width))
            .with_min_len(ROWS)
            .for_each(|((((to, of_all), row), all), dy)| {
                let mut both: [Parameters; 2] = [[0.0; 3 * MOST_BINS]; 2];
                let [p, dp] = both.each_mut().map(|list| &mut list[..count]);
                // Those that stay pass the gradient on; those that move take theirs back below.
                to.iter_mut().zip(dy).for_each(|(to, dy)| *to += dy);
                for (j, place) in self.places.iter().enumerate() {
                    let place = *place as usize;
                    self.gather(all, j, p);
                    let d = [f64::from(dy[place]), f64::from(dy[last])];
                    let dx = self.transform.backward(f64::from(row[place]), p, d, dp);
                    to[place] += (dx - d[0]) as f32;
                    let of = of_all.iter_mut().skip(j).step_by(self.places.len());
                    of.zip(&*dp).for_each(|(of, dp)| *of += *dp as f32);
                }
            });
    }
}
