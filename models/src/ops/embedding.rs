//! Write times as waves, as networks read them.

use crate::error::{ModelError, Result};

/// Rows (times, `dim`) of sines, then cosines, of each time at frequencies from 1 down to 10⁻⁴: frequency i of half = dim / 2
/// is exp(−i · ln 10⁴ / (half − 1)).
///
/// Positional encodings of Vaswani et al. 2017, arXiv 1706.03762, on times, as Ho et al. 2020, arXiv 2006.11239, use them.
///
/// # Errors
/// `Invalid` where `dim` is odd or below four.
///
/// ```
/// let row = armilla_models::ops::embedding::sinusoidal(&[0.0], 4)?;
/// assert_eq!(row, [0.0, 0.0, 1.0, 1.0]);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn sinusoidal(times: &[f64], dim: usize) -> Result<Vec<f32>> {
    if dim < 4 || dim % 2 == 1 {
        return Err(ModelError::Invalid(format!(
            "a time embedding of dimension {dim}: it must be even and at least 4"
        )));
    }
    let half = dim / 2;
    let step = 1e4f64.ln() / (half - 1) as f64;
    let mut rows = Vec::with_capacity(times.len() * dim);
    for time in times {
        let angle = |i: usize| time * (-(i as f64) * step).exp();
        rows.extend((0..half).map(|i| angle(i).sin() as f32));
        rows.extend((0..half).map(|i| angle(i).cos() as f32));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_those_of_the_formula() {
        let rows = sinusoidal(&[1.0, 250.0], 8).unwrap();
        assert_eq!(rows.len(), 16);
        for (row, time) in rows.chunks(8).zip([1.0f64, 250.0]) {
            for i in 0..4 {
                // ln 10⁴ / 3 per step: each frequency is 10^(4/3) below the one before.
                let angle = time / 10f64.powf(4.0 * i as f64 / 3.0);
                assert!((row[i] as f64 - angle.sin()).abs() < 1e-7);
                assert!((row[4 + i] as f64 - angle.cos()).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn odd_and_small_dimensions_are_refused() {
        for dim in [0, 2, 3, 7] {
            assert!(
                sinusoidal(&[0.5], dim)
                    .unwrap_err()
                    .to_string()
                    .contains(&dim.to_string())
            );
        }
    }
}
