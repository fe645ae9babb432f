//! Compare summaries of generated fields with those of true ones by χ².

use nalgebra::{Cholesky, DMatrix, DVector};
use serde::Serialize;

use crate::{Error, Result};

/// The reduced χ² of each generated summary against the distribution of the true ones.
///
/// A summary s has d numbers: a power spectrum, say. From the n true ones come the mean μ and the covariance C, with
/// n − 1 in its denominator. Then
///
/// χ²_full = (n − d − 2)/(n − 1) · (s − μ)ᵀ C⁻¹ (s − μ) / (d (1 + 1/n)),
///
/// χ²_diagonal = (n − 3)/(n − 1) · Σ_i (s_i − μ_i)²/C_ii / (d (1 + 1/n)).
///
/// The first factor makes the inverse of a sampled covariance unbiased (Hartlap, Simon & Schneider 2007, arXiv
/// astro-ph/0608064), the last one is for the error of μ: where both sets are drawn from one normal distribution, the mean
/// of each is exactly 1. Above 1, generated fields differ from the true mean by more than true ones do; below, by less.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReducedChiSquared {
    /// With the full covariance, for each generated summary; none where n < d + 3 gives no inverse.
    pub full: Option<Vec<f64>>,
    /// With its diagonal alone, as if the numbers of a summary were independent.
    pub diagonal: Vec<f64>,
}

/// The reduced χ² of the rows of `generated` against those of `truth`, both with `dim` numbers in a row.
///
/// ```
/// use armilla::stats::reduced_chi_squared;
/// let truth: Vec<f64> = (0..200).map(|i| (i as f64).sin()).collect();
/// let chi = reduced_chi_squared(&[0.0, 0.0, 9.0, -9.0], &truth, 2)?;
/// let full = chi.full.expect("100 rows give a covariance of 2 numbers");
/// assert!(full[0] < 0.1 && full[1] > 10.0);
/// # Ok::<(), armilla::Error>(())
/// ```
///
/// # Errors
/// Lengths that are no rows, fewer than four true rows, numbers that are not finite, and a number that is the same in all
/// true rows.
pub fn reduced_chi_squared(generated: &[f64], truth: &[f64], dim: usize) -> Result<ReducedChiSquared> {
    let rows = |values: &[f64]| values.len().checked_div(dim).filter(|n| n * dim == values.len());
    let n = match (rows(generated), rows(truth)) {
        (Some(1..), Some(n @ 4..)) => n,
        _ => {
            return Err(Error::Invalid(format!(
                "{} generated and {} true numbers are not rows of {dim}, at least one and four of them",
                generated.len(),
                truth.len()
            )));
        }
    };
    if generated.iter().chain(truth).any(|x| !x.is_finite()) {
        return Err(Error::Invalid("summaries must be finite".to_owned()));
    }
    let truth = DMatrix::from_row_slice(n, dim, truth);
    let mean = truth.row_mean();
    let mut deviation = truth;
    for mut row in deviation.row_iter_mut() {
        row -= &mean;
    }
    let counted = n as f64;
    let variance: Vec<f64> = deviation
        .column_iter()
        .map(|c| c.norm_squared() / (counted - 1.0))
        .collect();
    if let Some(i) = variance.iter().position(|v| *v <= 0.0) {
        return Err(Error::Invalid(format!(
            "number {i} is the same in all true summaries"
        )));
    }
    // In units of the standard deviations: spectra fall over many decades, and their covariance over twice as many.
    for (mut column, variance) in deviation.column_iter_mut().zip(&variance) {
        column /= variance.sqrt();
    }
    let scaled: Vec<DVector<f64>> = generated
        .chunks_exact(dim)
        .map(|row| {
            DVector::from_iterator(
                dim,
                row.iter()
                    .zip(mean.iter())
                    .zip(&variance)
                    .map(|((x, m), v)| (x - m) / v.sqrt()),
            )
        })
        .collect();
    let shared = dim as f64 * (1.0 + 1.0 / counted);
    let diagonal = (counted - 3.0) / (counted - 1.0) / shared;
    let inverse = (n >= dim + 3)
        .then(|| Cholesky::new(deviation.transpose() * &deviation / (counted - 1.0)))
        .flatten();
    let full = (counted - dim as f64 - 2.0) / (counted - 1.0) / shared;
    Ok(ReducedChiSquared {
        diagonal: scaled.iter().map(|s| diagonal * s.norm_squared()).collect(),
        full: inverse.map(|c| scaled.iter().map(|s| full * s.dot(&c.solve(s))).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use armilla_samplers::rng::{Purpose, stream};
    use rand::RngExt;
    use rand_distr::StandardNormal;

    /// Rows of correlated normal numbers with very different scales.
    fn rows(count: usize, shift: f64, index: u64) -> Vec<f64> {
        let mut stream = stream(5, Purpose::Simulation, index);
        (0..count)
            .flat_map(|_| {
                let z: [f64; 4] = std::array::from_fn(|_| stream.sample(StandardNormal));
                let common = 2.0 * z[3] + shift;
                [1e-6 * (z[0] + common), 1e3 * (z[1] - common) + 7.0, z[2] + common]
            })
            .collect()
    }

    #[test]
    fn the_mean_over_one_distribution_is_one() {
        // Many small true sets, so that the corrections for their sizes matter: they are 2 and 1.4.
        let (sets, n, generated) = (400, 10, 50);
        let (mut full, mut diagonal) = (Vec::new(), Vec::new());
        for set in 0..sets {
            let truth = rows(n, 0.0, 2 * set);
            let chi = reduced_chi_squared(&rows(generated, 0.0, 2 * set + 1), &truth, 3).unwrap();
            let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
            full.push(mean(&chi.full.unwrap()));
            diagonal.push(mean(&chi.diagonal));
        }
        for values in [full, diagonal] {
            let mean = values.iter().sum::<f64>() / sets as f64;
            let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / sets as f64;
            let error = (variance / sets as f64).sqrt();
            assert!((mean - 1.0).abs() < 5.0 * error, "{mean} ± {error}");
            assert!(error < 0.05);
        }
    }

    #[test]
    fn a_shift_against_the_correlation_shows_only_with_the_full_covariance() {
        let truth = rows(500, 0.0, 0);
        // Along the common direction, and against it.
        let chi = |row: [f64; 3]| reduced_chi_squared(&row, &truth, 3).unwrap();
        let along = chi([2e-6, -2e3 + 7.0, 2.0]);
        let against = chi([2e-6, 2e3 + 7.0, 2.0]);
        let ratio = |c: &ReducedChiSquared| c.full.as_ref().unwrap()[0] / c.diagonal[0];
        assert!(ratio(&along) < 1.0 && ratio(&against) > 3.0);
    }

    #[test]
    fn few_rows_have_no_inverse_and_senseless_ones_are_refused() {
        let truth = rows(5, 0.0, 0);
        assert!(reduced_chi_squared(&truth, &truth, 3).unwrap().full.is_none());
        assert!(reduced_chi_squared(&truth, &truth[..9], 3).is_err());
        assert!(reduced_chi_squared(&truth[..2], &truth, 3).is_err());
        assert!(reduced_chi_squared(&[], &truth, 3).is_err());
        assert!(reduced_chi_squared(&truth, &truth, 0).is_err());
        assert!(reduced_chi_squared(&[f64::NAN; 3], &truth, 3).is_err());
        assert!(reduced_chi_squared(&[1.0; 3], &[1.0; 30], 3).is_err());
    }
}
