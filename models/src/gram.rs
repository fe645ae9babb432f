//! Reduce a basis and a target to the quadratic form that their squared error is in the coefficients.

use rayon::prelude::*;

use crate::ops::simd::{dispatch, multiply_add};

/// ‖Σ_j c_j h_j − u‖² = cᵀ G c − 2 cᵀ b + d, with G = h hᵀ, b = h u, d = u u.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quadratic {
    /// (basis × basis), symmetric.
    pub gram: Vec<f64>,
    /// (basis).
    pub cross: Vec<f64>,
    /// One number.
    pub square: f64,
}

impl Quadratic {
    pub fn zero(basis: usize) -> Self {
        Self {
            gram: vec![0.0; basis * basis],
            cross: vec![0.0; basis],
            square: 0.0,
        }
    }

    /// The form of one basis (basis × field) and target (field).
    fn of(basis: &[f32], target: &[f32]) -> Self {
        let functions: Vec<&[f32]> = basis.chunks_exact(target.len()).collect();
        let mut form = Self::zero(functions.len());
        for (i, a) in functions.iter().enumerate() {
            for (j, b) in functions.iter().enumerate().take(i + 1) {
                let product = f64::from(dot(a, b));
                form.gram[i * functions.len() + j] = product;
                form.gram[j * functions.len() + i] = product;
            }
            form.cross[i] = f64::from(dot(a, target));
        }
        form.square = target.iter().map(|u| f64::from(*u).powi(2)).sum();
        form
    }

    /// One form for each row of targets (rows × field); basis (rows × basis × field).
    pub fn rows(basis: &[f32], targets: &[f32], field_len: usize) -> Vec<Self> {
        let rows = targets.len() / field_len;
        let step = if rows == 0 { 1 } else { basis.len() / rows };
        basis
            .par_chunks_exact(step)
            .zip(targets.par_chunks_exact(field_len))
            .map(|(h, u)| Self::of(h, u))
            .collect()
    }

    pub fn add(&mut self, other: &Self) {
        self.gram.iter_mut().zip(&other.gram).for_each(|(a, b)| *a += b);
        self.cross.iter_mut().zip(&other.cross).for_each(|(a, b)| *a += b);
        self.square += other.square;
    }

    pub fn scaled(&self, factor: f64) -> Self {
        let scale = |v: &[f64]| v.iter().map(|v| v * factor).collect();
        Self {
            gram: scale(&self.gram),
            cross: scale(&self.cross),
            square: self.square * factor,
        }
    }

    pub fn value(&self, c: &[f64]) -> f64 {
        self.half_gradient(c, |c, g, b| c * (g - 2.0 * b)).sum::<f64>() + self.square
    }

    /// The derivatives in c: 2 (G c − b).
    pub fn gradient<'a>(&'a self, c: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.half_gradient(c, |_, g, b| 2.0 * (g - b))
    }

    fn half_gradient<'a>(
        &'a self,
        c: &'a [f64],
        f: fn(f64, f64, f64) -> f64,
    ) -> impl Iterator<Item = f64> + 'a {
        let rows = self.gram.chunks_exact(c.len().max(1));
        c.iter().zip(rows).zip(&self.cross).map(move |((ci, row), b)| {
            let g = row.iter().zip(c).map(|(g, c)| g * c).sum();
            f(*ci, g, *b)
        })
    }
}

dispatch! {
    /// Σ a·b, in 32 partial sums: accurate to a few 1e-7 of Σ|a·b|.
    fn dot(a: &[f32], b: &[f32]) -> f32 = dot_body
}

#[inline(always)]
fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut sum = [0.0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for l in 0..LANES {
            sum[l] = multiply_add::<FMA>(a[l], b[l], sum[l]);
        }
    }
    rest + sum.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::numbers;

    #[test]
    fn the_form_is_the_squared_error_and_its_gradient() {
        let (basis, field) = (3, 37);
        let (h, u) = (numbers(2 * basis * field, 1), numbers(2 * field, 2));
        let forms = Quadratic::rows(&h, &u, field);
        let c = [0.3, -1.2, 0.7];
        for (row, form) in forms.iter().enumerate() {
            let error = |c: &[f64]| -> f64 {
                (0..field)
                    .map(|p| {
                        let v: f64 = (0..basis)
                            .map(|j| c[j] * f64::from(h[(row * basis + j) * field + p]))
                            .sum();
                        (v - f64::from(u[row * field + p])).powi(2)
                    })
                    .sum()
            };
            assert!((form.value(&c) - error(&c)).abs() < 1e-5 * error(&c));
            for (j, g) in form.gradient(&c).enumerate() {
                let (mut up, mut down) = (c, c);
                up[j] += 1e-4;
                down[j] -= 1e-4;
                let numeric = (error(&up) - error(&down)) / 2e-4;
                assert!((g - numeric).abs() < 1e-4 * error(&c), "{g} {numeric}");
            }
        }
    }
}
