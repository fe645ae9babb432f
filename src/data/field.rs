//! Bring the pixels of a field to zero mean and unit variance, and back.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// z = (ln x − mean) / sd for fields that are positive everywhere, z = (x − mean) / sd for others.
///
/// The choice, the mean and the standard deviation are fitted once, on the training part, and saved with the model. All
/// is computed in `f64`; inverting costs no more than the rounding of z to `f32`.
///
/// ```
/// use armilla::data::FieldTransform;
///
/// let maps = [[1.0f32, 2.0], [4.0, 8.0]];
/// let transform = FieldTransform::fit(maps.iter().map(|m| m.as_slice()))?;
/// assert!(transform.takes_log());
/// let z = transform.apply(&maps[1])?;
/// let x = transform.invert(&z);
/// assert!((x[1] - 8.0).abs() < 1e-5);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct FieldTransform {
    log: bool,
    mean: f64,
    sd: f64,
}

/// What is found in a file, before it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    log: bool,
    mean: f64,
    sd: f64,
}

impl TryFrom<Stored> for FieldTransform {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        Self::new(stored.log, stored.mean, stored.sd)
    }
}

impl FieldTransform {
    /// The transform with these constants; `log` takes the natural logarithm first.
    ///
    /// # Errors
    ///
    /// A mean that is not finite, or a standard deviation that is not positive and finite.
    pub fn new(log: bool, mean: f64, sd: f64) -> Result<Self> {
        if !mean.is_finite() || !sd.is_finite() || sd <= 0.0 {
            return Err(Error::Invalid(format!(
                "a field transform needs a finite mean and a positive standard deviation, not {mean} and {sd}"
            )));
        }
        Ok(Self { log, mean, sd })
    }

    /// Fit to maps: with the logarithm if every pixel is positive, without it otherwise.
    ///
    /// # Errors
    ///
    /// No pixels, pixels that are not finite, or pixels that are all equal.
    pub fn fit<'a>(maps: impl Iterator<Item = &'a [f32]> + Clone) -> Result<Self> {
        let pixels = || maps.clone().flatten().map(|&x| f64::from(x));
        if let Some(bad) = pixels().find(|x| !x.is_finite()) {
            return Err(Error::Invalid(format!("a pixel of the training maps is {bad}")));
        }
        let log = pixels().all(|x| x > 0.0);
        let scaled = || pixels().map(|x| if log { x.ln() } else { x });
        let n = pixels().count() as f64;
        if n == 0.0 {
            return Err(Error::Invalid("there are no training maps to fit to".into()));
        }
        let mean = scaled().sum::<f64>() / n;
        let variance = scaled().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        // Equal pixels leave a variance of rounding errors, of the order of (ε·mean)².
        if variance.sqrt() <= 1e-12 * mean.abs() {
            return Err(Error::Invalid(
                "all pixels of the training maps are equal: there is nothing to learn from them".into(),
            ));
        }
        Self::new(log, mean, variance.sqrt())
    }

    /// Whether it takes the natural logarithm.
    pub fn takes_log(&self) -> bool {
        self.log
    }

    /// The mean of the (logarithms of the) training pixels.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation of the (logarithms of the) training pixels.
    pub fn sd(&self) -> f64 {
        self.sd
    }

    /// Transform a field.
    ///
    /// # Errors
    ///
    /// A pixel that is not finite, or not positive where the logarithm is taken; the message names it.
    pub fn apply(&self, field: &[f32]) -> Result<Vec<f32>> {
        field
            .iter()
            .enumerate()
            .map(|(i, &x)| Ok(((self.scaled(i, x)? - self.mean) / self.sd) as f32))
            .collect()
    }

    /// Undo [`apply`](Self::apply).
    pub fn invert(&self, z: &[f32]) -> Vec<f32> {
        z.iter()
            .map(|&z| {
                let scaled = f64::from(z) * self.sd + self.mean;
                (if self.log { scaled.exp() } else { scaled }) as f32
            })
            .collect()
    }

    /// Σ ln |dz/dx| over the pixels of a field: what turns a log density of z into one of x.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    pub fn log_jacobian(&self, field: &[f32]) -> Result<f64> {
        let mut sum = -(field.len() as f64) * self.sd.ln();
        for (i, &x) in field.iter().enumerate() {
            let scaled = self.scaled(i, x)?;
            // d ln x / dx = 1 / x
            sum -= if self.log { scaled } else { 0.0 };
        }
        Ok(sum)
    }

    fn scaled(&self, index: usize, x: f32) -> Result<f64> {
        let wide = f64::from(x);
        if !wide.is_finite() {
            return Err(Error::Invalid(format!("pixel {index} of the field is {x}")));
        }
        if self.log && wide <= 0.0 {
            return Err(Error::Invalid(format!(
                "pixel {index} of the field is {x}, but the model was trained on positive fields and takes logarithms"
            )));
        }
        Ok(if self.log { wide.ln() } else { wide })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// z is rounded to f32, and e^(sd z) amplifies that by sd·|z|, here below 4.
    const ROUND_TRIP: f32 = 4.0 * f32::EPSILON;

    fn positive() -> Vec<f32> {
        (0..1000)
            .map(|i| (1e10 * (1.0 + (i as f64 * 0.7).sin().abs() * 30.0)) as f32)
            .collect()
    }

    #[test]
    fn fitted_fields_are_standard() {
        for (maps, log) in [
            (positive(), true),
            (positive().iter().map(|x| x - 5e10).collect(), false),
        ] {
            let transform = FieldTransform::fit(maps.chunks(100)).unwrap();
            assert_eq!(transform.takes_log(), log);
            let z = transform.apply(&maps).unwrap();
            let mean = z.iter().map(|&z| f64::from(z)).sum::<f64>() / 1000.0;
            let variance = z.iter().map(|&z| f64::from(z).powi(2)).sum::<f64>() / 1000.0;
            assert!(
                mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-6,
                "{mean} {variance}"
            );
            let scale = maps.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (back, x) in transform.invert(&z).iter().zip(&maps) {
                let scale = if log { x.abs() } else { scale };
                assert!((back - x).abs() <= ROUND_TRIP * scale, "{back} {x}");
            }
        }
    }

    #[test]
    fn log_jacobian_is_the_numerical_one() {
        // Differences of f32 pixels: a step of 1 % is far above their rounding, and its square below the tolerance.
        for transform in [
            FieldTransform::new(true, 1.5, 0.7).unwrap(),
            FieldTransform::new(false, 1.5, 0.7).unwrap(),
        ] {
            let field = [0.5f32, 3.0, 70.0];
            let mut sum = 0.0;
            for &x in &field {
                let (low, high) = (x * 0.99, x * 1.01);
                let z = transform.apply(&[low, high]).unwrap();
                sum += (f64::from(z[1] - z[0]) / f64::from(high - low)).ln();
            }
            assert!((sum - transform.log_jacobian(&field).unwrap()).abs() < 1e-3);
        }
    }

    #[test]
    fn serde_keeps_every_bit_and_refuses_nonsense() {
        let transform = FieldTransform::fit(positive().chunks(1000)).unwrap();
        let text = serde_json::to_string(&transform).unwrap();
        assert_eq!(serde_json::from_str::<FieldTransform>(&text).unwrap(), transform);
        assert!(serde_json::from_str::<FieldTransform>(r#"{"log":true,"mean":0.0,"sd":0.0}"#).is_err());
    }

    #[test]
    fn bad_pixels_are_named() {
        let transform = FieldTransform::new(true, 0.0, 1.0).unwrap();
        for (bad, word) in [(0.0, "pixel 1"), (-1.0, "takes logarithms"), (f32::NAN, "NaN")] {
            let message = transform.apply(&[1.0, bad]).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        assert!(FieldTransform::fit([].into_iter()).is_err());
        assert!(FieldTransform::fit([[2.0f32; 4].as_slice()].into_iter()).is_err());
        assert!(FieldTransform::fit([[f32::NAN, 1.0].as_slice()].into_iter()).is_err());
    }
}
