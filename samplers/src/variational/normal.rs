//! Hold a normal density on the real line, and move it in its own frame.

use std::f64::consts::TAU;

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use super::Family;

/// The normal density of z = μ + L ε, with ε standard normal. In the frame of ε its shape moves by L → L T,
/// with a lower triangular T: then a step means the same whatever the scales and correlations of the target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Normal {
    mean: Vec<f64>,
    factor: Factor,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Factor {
    /// The diagonal of L, the rest being zero.
    Diagonal(Vec<f64>),
    /// L, lower triangular with a positive diagonal.
    Lower(DMatrix<f64>),
}

impl Normal {
    /// As wide as priors are, about `mean`.
    pub(super) fn new(family: Family, mean: Vec<f64>) -> Self {
        let dim = mean.len();
        let factor = match family {
            Family::MeanField => Factor::Diagonal(vec![1.0; dim]),
            Family::FullRank => Factor::Lower(DMatrix::identity(dim, dim)),
        };
        Self { mean, factor }
    }

    pub(super) fn dim(&self) -> usize {
        self.mean.len()
    }

    /// How many numbers a step has: the mean's, the diagonal's, and those below the diagonal.
    pub(super) fn numbers(&self) -> usize {
        let dim = self.dim();
        match self.factor {
            Factor::Diagonal(_) => 2 * dim,
            Factor::Lower(_) => 2 * dim + dim * (dim - 1) / 2,
        }
    }

    /// z for a standard normal ε.
    pub(super) fn point(&self, noise: &[f64]) -> Vec<f64> {
        let mut z = self.mean.clone();
        match &self.factor {
            Factor::Diagonal(diagonal) => z
                .iter_mut()
                .zip(diagonal)
                .zip(noise)
                .for_each(|((z, scale), noise)| *z += scale * noise),
            Factor::Lower(factor) => {
                for (column, noise) in noise.iter().enumerate() {
                    for row in column..z.len() {
                        z[row] += factor[(row, column)] * noise;
                    }
                }
            }
        }
        z
    }

    /// ln q at the point of ε.
    pub(super) fn ln_density(&self, noise: &[f64]) -> f64 {
        let squares: f64 = noise.iter().map(|noise| noise * noise).sum();
        let ln_scales: f64 = match &self.factor {
            Factor::Diagonal(diagonal) => diagonal.iter().map(|scale| scale.ln()).sum(),
            Factor::Lower(factor) => (0..self.dim()).map(|i| factor[(i, i)].ln()).sum(),
        };
        -0.5 * (squares + self.dim() as f64 * TAU.ln()) - ln_scales
    }

    /// Adds to `out` the gradient, in a step of this normal, of ln p(z) − ln q(z) at the point of ε, where
    /// `gradient` is that of ln p in z and q is held while z moves (Roeder et al. 2017, arXiv 1703.09194): where
    /// q is p it vanishes for every ε, not only on average.
    pub(super) fn add_gradient(&self, gradient: &[f64], noise: &[f64], out: &mut [f64]) {
        let dim = self.dim();
        // Lᵀ ∇ ln p − ε's own −ε.
        let pull: Vec<f64> = match &self.factor {
            Factor::Diagonal(diagonal) => {
                let pairs = diagonal.iter().zip(gradient).zip(noise);
                pairs.map(|((scale, g), noise)| scale * g + noise).collect()
            }
            Factor::Lower(factor) => (0..dim)
                .map(|column| {
                    let rows = column..dim;
                    let product = rows.map(|row| factor[(row, column)] * gradient[row]);
                    product.sum::<f64>() + noise[column]
                })
                .collect(),
        };
        for i in 0..dim {
            out[i] += pull[i];
            out[dim + i] += pull[i] * noise[i];
        }
        if matches!(self.factor, Factor::Lower(_)) {
            let below = (0..dim).flat_map(|row| (0..row).map(move |column| (row, column)));
            for ((row, column), out) in below.zip(&mut out[2 * dim..]) {
                *out += pull[row] * noise[column];
            }
        }
    }

    /// Makes a step: the mean by L times its first part, L by T, whose diagonal is the exponential of the
    /// second.
    pub(super) fn advance(&mut self, step: &[f64]) {
        let dim = self.dim();
        self.mean = self.point(&step[..dim]);
        match &mut self.factor {
            Factor::Diagonal(diagonal) => diagonal
                .iter_mut()
                .zip(&step[dim..])
                .for_each(|(scale, step)| *scale *= step.exp()),
            Factor::Lower(factor) => {
                let mut turn = DMatrix::zeros(dim, dim);
                let below = (0..dim).flat_map(|row| (0..row).map(move |column| (row, column)));
                for (index, &step) in below.zip(&step[2 * dim..]) {
                    turn[index] = step;
                }
                for i in 0..dim {
                    turn[(i, i)] = step[dim + i].exp();
                }
                *factor = &*factor * turn;
            }
        }
    }

    /// Brings all widths closer to zero.
    pub(super) fn shrink(&mut self, by: f64) {
        match &mut self.factor {
            Factor::Diagonal(diagonal) => diagonal.iter_mut().for_each(|scale| *scale *= by),
            Factor::Lower(factor) => *factor *= by,
        }
    }

    /// Moves to the mean of `weight` normals like this one and one `other`, number by number.
    pub(super) fn average(&mut self, weight: f64, other: &Self) {
        let towards = |a: &mut f64, b: &f64| *a += (b - *a) / (weight + 1.0);
        self.mean
            .iter_mut()
            .zip(&other.mean)
            .for_each(|(a, b)| towards(a, b));
        match (&mut self.factor, &other.factor) {
            (Factor::Diagonal(a), Factor::Diagonal(b)) => {
                a.iter_mut().zip(b).for_each(|(a, b)| towards(a, b));
            }
            (Factor::Lower(a), Factor::Lower(b)) => {
                a.iter_mut().zip(b.iter()).for_each(|(a, b)| towards(a, b));
            }
            // Both are of one family.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of ln p − ln q over fixed noise, q being held in ln q: what `add_gradient` differentiates.
    fn objective(q: &Normal, held: &Normal, noises: &[[f64; 2]]) -> f64 {
        let Factor::Lower(factor) = &held.factor else {
            panic!("a full-rank normal")
        };
        let of_noise = |noise: &[f64; 2]| {
            let z = q.point(noise);
            let ln_p = -z[0].powi(4) + z[0] * z[1] - z[1] * z[1];
            let (u, v) = (z[0] - held.mean[0], z[1] - held.mean[1]);
            let a = u / factor[(0, 0)];
            let b = (v - factor[(1, 0)] * a) / factor[(1, 1)];
            ln_p + 0.5 * (a * a + b * b)
        };
        noises.iter().map(of_noise).sum()
    }

    #[test]
    fn gradients_meet_finite_differences() {
        let mut q = Normal::new(Family::FullRank, vec![0.3, -0.2]);
        q.advance(&[0.1, 0.2, -0.4, 0.3, 0.7]);
        let noises = [[0.4, -1.2], [1.1, 0.5], [-0.7, 0.2]];
        let mut gradient = [0.0; 5];
        for noise in &noises {
            let z = q.point(noise);
            let of_z = [-4.0 * z[0].powi(3) + z[1], z[0] - 2.0 * z[1]];
            q.add_gradient(&of_z, noise, &mut gradient);
        }
        let h = 1e-6;
        for i in 0..5 {
            let at = |by: f64| {
                let mut step = [0.0; 5];
                step[i] = by;
                let mut moved = q.clone();
                moved.advance(&step);
                objective(&moved, &q, &noises)
            };
            let numerical = (at(h) - at(-h)) / (2.0 * h);
            assert!(
                (numerical - gradient[i]).abs() < 1e-7,
                "{i}: {numerical} {}",
                gradient[i]
            );
        }
    }

    #[test]
    fn a_diagonal_normal_is_a_full_one_without_correlation() {
        let mut diagonal = Normal::new(Family::MeanField, vec![1.0, 2.0]);
        let mut full = Normal::new(Family::FullRank, vec![1.0, 2.0]);
        diagonal.advance(&[0.1, 0.2, -0.3, 0.5]);
        full.advance(&[0.1, 0.2, -0.3, 0.5, 0.0]);
        let noise = [0.7, -0.4];
        assert_eq!(diagonal.point(&noise), full.point(&noise));
        assert_eq!(diagonal.ln_density(&noise), full.ln_density(&noise));
        let (mut a, mut b) = ([0.0; 4], [0.0; 5]);
        diagonal.add_gradient(&[0.5, 1.5], &noise, &mut a);
        full.add_gradient(&[0.5, 1.5], &noise, &mut b);
        assert_eq!(a, b[..4]);
        // ln N(z; μ, σ) of each coordinate.
        let z = diagonal.point(&noise);
        let scales = [(-0.3f64).exp(), 0.5f64.exp()];
        let ln_q =
            |z: f64, mean: f64, scale: f64| -0.5 * ((z - mean) / scale).powi(2) - scale.ln() - 0.5 * TAU.ln();
        let expected = ln_q(z[0], 1.1, scales[0]) + ln_q(z[1], 2.2, scales[1]);
        assert!((diagonal.ln_density(&noise) - expected).abs() < 1e-12);
    }
}
