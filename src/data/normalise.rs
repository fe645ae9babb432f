//! Bring parameters to the unit interval by the bounds of their prior, and back.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The box of a prior's bounds, mapped linearly to [0, 1] in every dimension.
///
/// ```
/// use armilla::data::UnitBox;
///
/// let bounds = UnitBox::new(vec![0.1, 0.6], vec![0.5, 1.0])?;
/// let unit = bounds.to_unit(&[0.2, 0.8]);
/// assert!((unit[0] - 0.25).abs() < 1e-12);
/// assert!((bounds.from_unit(&unit)[1] - 0.8).abs() < 1e-12);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct UnitBox {
    low: Vec<f64>,
    high: Vec<f64>,
}

/// What is found in a file, before it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl TryFrom<Stored> for UnitBox {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        Self::new(stored.low, stored.high)
    }
}

impl UnitBox {
    /// The box between `low` and `high`.
    ///
    /// # Errors
    ///
    /// Bounds of different lengths, not finite, or not in order.
    pub fn new(low: Vec<f64>, high: Vec<f64>) -> Result<Self> {
        if low.len() != high.len() {
            return Err(Error::Invalid(format!(
                "{} lower bounds but {} upper bounds",
                low.len(),
                high.len()
            )));
        }
        // Written so that NaN fails.
        let wrong = low
            .iter()
            .zip(&high)
            .position(|(l, h)| !(l < h && (h - l).is_finite()));
        if let Some(i) = wrong {
            return Err(Error::Invalid(format!(
                "parameter {i}: the bounds {} and {} do not enclose an interval",
                low[i], high[i]
            )));
        }
        Ok(Self { low, high })
    }

    /// The number of parameters.
    pub fn dim(&self) -> usize {
        self.low.len()
    }

    /// The lower bounds.
    pub fn low(&self) -> &[f64] {
        &self.low
    }

    /// The upper bounds.
    pub fn high(&self) -> &[f64] {
        &self.high
    }

    /// Parameters in physical units to the unit box; those outside the bounds land outside [0, 1]. `x` may hold several
    /// rows of [`dim`](Self::dim) parameters, one after the other.
    pub fn to_unit(&self, x: &[f64]) -> Vec<f64> {
        self.each(x, |x, low, high| (x - low) / (high - low))
    }

    /// Undo [`to_unit`](Self::to_unit).
    pub fn from_unit(&self, unit: &[f64]) -> Vec<f64> {
        // This form returns both bounds exactly.
        self.each(unit, |u, low, high| low * (1.0 - u) + high * u)
    }

    fn each(&self, values: &[f64], map: impl Fn(f64, f64, f64) -> f64) -> Vec<f64> {
        let bounds = self.low.iter().zip(&self.high).cycle();
        values
            .iter()
            .zip(bounds)
            .map(|(&v, (&low, &high))| map(v, low, high))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_exact_and_insides_return() {
        let bounds = UnitBox::new(vec![0.1, 0.6, 0.25], vec![0.5, 1.0, 4.0]).unwrap();
        assert_eq!(bounds.to_unit(bounds.low()), [0.0; 3]);
        assert_eq!(bounds.to_unit(bounds.high()), [1.0; 3]);
        assert_eq!(bounds.from_unit(&[0.0; 3]), bounds.low());
        assert_eq!(bounds.from_unit(&[1.0; 3]), bounds.high());
        let rows = [0.3, 0.8, 1.0, 0.45, 0.7, 3.0];
        for (back, x) in bounds.from_unit(&bounds.to_unit(&rows)).iter().zip(rows) {
            assert!((back - x).abs() < 1e-15 * 4.0);
        }
        let text = serde_json::to_string(&bounds).unwrap();
        assert_eq!(serde_json::from_str::<UnitBox>(&text).unwrap(), bounds);
    }

    #[test]
    fn wrong_bounds_are_named() {
        for (low, high) in [(0.0, 0.0), (1.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            let message = UnitBox::new(vec![0.0, low], vec![1.0, high])
                .unwrap_err()
                .to_string();
            assert!(message.contains("parameter 1"), "{message}");
        }
        assert!(UnitBox::new(vec![0.0], vec![]).is_err());
    }
}
