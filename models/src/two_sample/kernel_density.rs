//! Estimate a density by a Gaussian about each point.

use rayon::prelude::*;

use crate::{
    error::{ModelError, Result},
    ops::simd::{dispatch, exp, multiply_add},
};

/// Points that are summed at once.
const BLOCK: usize = 256;

/// The log density at each of the points `at` of Gaussians of deviation `bandwidth` about the points `data`, all of `dim`
/// numbers.
///
/// With n data it is blurred by the bandwidth h and, where the density is p, scatters by about
/// `1/√(n p (4π h²)^{dim/2})`. Farther than 13 h from all data it levels off.
///
/// ```
/// use armilla_models::two_sample::kernel_log_density;
/// let value = kernel_log_density(&[0.0, 0.0], &[0.5], 1, 1.0)?[0];
/// assert!((value + 0.125 + 0.5 * std::f64::consts::TAU.ln()).abs() < 1e-6);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
///
/// # Errors
/// `Invalid` for no data, sets that are not made of whole points, and a bandwidth that is not positive.
pub fn kernel_log_density(data: &[f64], at: &[f64], dim: usize, bandwidth: f64) -> Result<Vec<f64>> {
    let whole = dim > 0 && data.len().is_multiple_of(dim) && at.len().is_multiple_of(dim);
    if !whole || data.is_empty() || !(bandwidth > 0.0 && bandwidth.is_finite()) {
        return Err(ModelError::Invalid(format!(
            "a kernel estimate needs points of {dim} numbers and a positive bandwidth, not {} and {} numbers and {bandwidth}",
            data.len(),
            at.len()
        )));
    }
    let n = data.len() / dim;
    // Number by number within a block; the last one is filled up with points beyond everything.
    let block = |first: usize| -> Vec<f32> {
        let point = |i: usize, row: usize| match data.get((first + row) * dim + i) {
            Some(x) => (x / bandwidth) as f32,
            None => f32::INFINITY,
        };
        (0..dim)
            .flat_map(|i| (0..BLOCK).map(move |row| point(i, row)))
            .collect()
    };
    let blocks: Vec<Vec<f32>> = (0..n).step_by(BLOCK).map(block).collect();
    let norm = (n as f64).ln() + dim as f64 * (bandwidth * std::f64::consts::TAU.sqrt()).ln();
    let value = |point: &[f64]| {
        let point: Vec<f32> = point.iter().map(|x| (x / bandwidth) as f32).collect();
        let sum: f64 = blocks.iter().map(|block| f64::from(kernels(block, &point))).sum();
        sum.ln() - norm
    };
    Ok(at.par_chunks(dim).map(value).collect())
}

dispatch! {
    /// The sum of exp(−‖x − point‖²/2) over the points of a block.
    fn kernels(block: &[f32], point: &[f32]) -> f32 = kernels_body
}

#[inline(always)]
fn kernels_body<const FMA: bool>(block: &[f32], point: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut squares = [0.0f32; BLOCK];
    for (x, p) in block.chunks_exact(BLOCK).zip(point) {
        for (square, x) in squares.iter_mut().zip(x) {
            *square = multiply_add::<FMA>(x - p, x - p, *square);
        }
    }
    let mut sums = [0.0f32; LANES];
    for squares in squares.chunks_exact(LANES) {
        for l in 0..LANES {
            sums[l] += exp::<FMA>(-0.5 * squares[l]);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toys::Toy;

    #[test]
    fn it_finds_a_known_density() {
        let toy = Toy::EightGaussians;
        let (data, at) = (toy.draw(50_000, 1), toy.draw(1000, 2));
        let found = kernel_log_density(&data, &at, 2, 0.05).unwrap();
        let exact: Vec<f64> = at
            .chunks_exact(2)
            .map(|x| toy.log_density([x[0], x[1]]))
            .collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        // The blur by h = 0.05 of Gaussians of deviation 0.175 costs ln(1 + h²/s²) − h²/(s² + h²)… of a few 1e-3; the
        // scatter adds 1/(2 n p 4π h²) in the mean, about 0.006.
        let off = mean(&found) - mean(&exact);
        assert!(off.abs() < 0.03, "{off}");
        let close = found
            .iter()
            .zip(&exact)
            .filter(|(a, b)| (*a - *b).abs() < 0.5)
            .count();
        assert!(close > 950, "{close}");
    }

    #[test]
    fn no_bandwidth_and_broken_points_are_refused() {
        assert!(kernel_log_density(&[1.0, 2.0], &[1.0, 2.0], 2, 0.0).is_err());
        assert!(kernel_log_density(&[1.0, 2.0, 3.0], &[1.0, 2.0], 2, 1.0).is_err());
        assert!(kernel_log_density(&[], &[1.0], 1, 1.0).is_err());
    }
}
