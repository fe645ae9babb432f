//! Measure how the values of pixels are distributed.

use serde::Serialize;

use crate::{Error, Result};

/// A histogram of pixel values as a probability density.
///
/// In the bin i from e_i to e_{i+1}, p_i = n_i / (n (e_{i+1} − e_i)) with n all pixels, also those outside the bins: so
/// that Σ_i p_i (e_{i+1} − e_i) + below + above = 1.
///
/// ```
/// use armilla::stats::PixelDistribution;
/// let edges = PixelDistribution::edges(&[&[0.0, 1.0, 4.0]], 4)?;
/// let of = PixelDistribution::new(&[0.5, 1.5, 1.6, 9.0], &edges)?;
/// assert_eq!(of.density, [0.25, 0.5, 0.0, 0.0]);
/// assert_eq!((of.below, of.above), (0.0, 0.25));
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PixelDistribution {
    /// The edges of the bins, one more than bins.
    pub edges: Vec<f64>,
    /// The density in each bin, in the inverse of the values' unit.
    pub density: Vec<f64>,
    /// The share of pixels below the first edge.
    pub below: f64,
    /// The share of pixels above the last edge.
    pub above: f64,
}

impl PixelDistribution {
    /// `bins` equal bins from the smallest to the largest value of all `sets`, for sets that are to be compared.
    ///
    /// # Errors
    /// No bin, no finite value, or values that are all equal.
    pub fn edges(sets: &[&[f64]], bins: usize) -> Result<Vec<f64>> {
        let finite = sets.iter().flat_map(|set| set.iter()).filter(|v| v.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| {
            (low.min(v), high.max(v))
        });
        if bins == 0 || !(low < high && (high - low).is_finite()) {
            return Err(Error::Invalid(format!(
                "{bins} bins from {low} to {high} are no histogram"
            )));
        }
        let edge = |i: usize| low + (high - low) * i as f64 / bins as f64;
        Ok((0..=bins).map(edge).collect())
    }

    /// The distribution of `values` in the bins between `edges`; the last bin contains its upper edge.
    ///
    /// # Errors
    /// No value, one that is NaN, and edges that do not ascend.
    pub fn new(values: &[f64], edges: &[f64]) -> Result<Self> {
        let ascending = edges.windows(2).all(|e| e[0] < e[1]) && edges.iter().all(|e| e.is_finite());
        if edges.len() < 2 || !ascending {
            return Err(Error::Invalid("the edges of a histogram must ascend".to_owned()));
        }
        if values.is_empty() || values.iter().any(|v| v.is_nan()) {
            return Err(Error::Invalid(format!(
                "the {} values of a histogram must be numbers, and at least one",
                values.len()
            )));
        }
        let (mut counts, mut below, mut above) = (vec![0usize; edges.len() - 1], 0usize, 0usize);
        for &value in values {
            let bin = edges.partition_point(|&edge| edge <= value);
            if bin == 0 {
                below += 1;
            } else if let Some(count) = counts.get_mut(bin - 1) {
                *count += 1;
            } else if value == edges[edges.len() - 1] {
                counts[bin - 2] += 1;
            } else {
                above += 1;
            }
        }
        let all = values.len() as f64;
        let widths = edges.windows(2).map(|e| e[1] - e[0]);
        Ok(Self {
            density: counts
                .iter()
                .zip(widths)
                .map(|(&n, w)| n as f64 / (all * w))
                .collect(),
            edges: edges.to_vec(),
            below: below as f64 / all,
            above: above as f64 / all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use armilla_samplers::rng::{Purpose, stream};
    use rand::RngExt;
    use rand_distr::StandardNormal;

    #[test]
    fn a_normal_density_is_found() {
        let count = 100_000;
        let mut stream = stream(1, Purpose::Simulation, 0);
        let values: Vec<f64> = (0..count).map(|_| stream.sample(StandardNormal)).collect();
        let edges: Vec<f64> = (-20..=20).map(|i| f64::from(i) * 0.1).collect();
        let found = PixelDistribution::new(&values, &edges).unwrap();
        for (e, p) in found.edges.windows(2).zip(&found.density) {
            let x = 0.5 * (e[0] + e[1]);
            let expected = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            // 5 standard errors of the count, and the bend of the density within a bin of 0.1.
            let error = 5.0 * (expected / (0.1 * f64::from(count))).sqrt() + 1e-3;
            assert!((p - expected).abs() < error, "{x}: {p} {expected}");
        }
        let inside: f64 = found.density.iter().sum::<f64>() * 0.1;
        assert!((inside + found.below + found.above - 1.0).abs() < 1e-12);
    }

    #[test]
    fn both_ends_belong_to_the_histogram() {
        let values = [1.0, 2.0, 3.0];
        let edges = PixelDistribution::edges(&[&values], 2).unwrap();
        let found = PixelDistribution::new(&values, &edges).unwrap();
        assert_eq!((found.below, found.above), (0.0, 0.0));
    }

    #[test]
    fn senseless_histograms_are_refused() {
        assert!(PixelDistribution::edges(&[&[1.0, 1.0]], 3).is_err());
        assert!(PixelDistribution::edges(&[&[1.0, 2.0]], 0).is_err());
        assert!(PixelDistribution::edges(&[&[f64::NAN]], 1).is_err());
        assert!(PixelDistribution::new(&[], &[0.0, 1.0]).is_err());
        assert!(PixelDistribution::new(&[f64::NAN], &[0.0, 1.0]).is_err());
        assert!(PixelDistribution::new(&[0.5], &[1.0, 0.0]).is_err());
        assert!(PixelDistribution::new(&[0.5], &[1.0]).is_err());
    }
}
