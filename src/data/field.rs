//! Bring the pixels of a field to the scale that networks learn best on, and back.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// z = (f(x) − centre) / width, where f is the natural logarithm or nothing.
///
/// That is all of the usual transforms: standardised fields have the mean as their centre and the standard deviation as
/// their width, those scaled to [−1, 1] the middle and half the range, and a logarithm to base 10 differs by a factor that
/// the width takes up. The constants are fitted once, on the training part, and saved with the model. All is computed in
/// `f64`; inverting costs no more than the rounding of z to `f32`.
///
/// ```
/// use armilla::data::{FieldScaling, FieldTransform};
///
/// let maps = [[1.0f32, 2.0], [4.0, 8.0]];
/// let transform = FieldTransform::fit(maps.iter().map(Ok), FieldScaling::default())?;
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
    centre: f64,
    width: f64,
}

/// What is found in a file, before it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    log: bool,
    centre: f64,
    width: f64,
}

impl TryFrom<Stored> for FieldTransform {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        Self::new(stored.log, stored.centre, stored.width)
    }
}

/// Which transform is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldScaling {
    /// Whether the logarithm is taken; if not said, it is where every pixel is positive.
    pub log: Option<bool>,
    /// To which scale.
    pub scale: Scale,
}

/// A scale of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Zero mean and unit variance.
    #[default]
    Standard,
    /// From −1 to 1.
    MinMax,
}

/// What one pass over the pixels finds.
struct Pass {
    count: usize,
    sum: f64,
    low: f64,
    high: f64,
}

impl FieldTransform {
    /// The transform with these constants; `log` takes the natural logarithm first.
    ///
    /// # Errors
    ///
    /// A centre that is not finite, or a width that is not positive and finite.
    pub fn new(log: bool, centre: f64, width: f64) -> Result<Self> {
        if !centre.is_finite() || !width.is_finite() || width <= 0.0 {
            return Err(Error::Invalid(format!(
                "a field transform needs a finite centre and a positive width, not {centre} and {width}"
            )));
        }
        Ok(Self { log, centre, width })
    }

    /// Fit to `maps`, which are gone through two or three times: however many there are, only one item is held.
    ///
    /// # Errors
    ///
    /// No pixels, pixels that are not finite, not positive where the logarithm is asked for, or all equal, and maps that
    /// cannot be read.
    pub fn fit<M: AsRef<[f32]>>(
        maps: impl Iterator<Item = Result<M>> + Clone,
        scaling: FieldScaling,
    ) -> Result<Self> {
        let mut log = scaling.log.unwrap_or(true);
        let mut pass = first_pass(maps.clone(), log)?;
        if pass.is_none() && scaling.log.is_none() {
            log = false;
            pass = first_pass(maps.clone(), log)?;
        }
        let Some(Pass {
            count,
            sum,
            low,
            high,
        }) = pass
        else {
            return Err(Error::Invalid(
                "a pixel of the training maps is not positive: the logarithm of such fields cannot be taken"
                    .into(),
            ));
        };
        if count == 0 {
            return Err(Error::Invalid("there are no training maps to fit to".into()));
        }
        let mean = sum / count as f64;
        let (centre, width) = match scaling.scale {
            Scale::Standard => {
                let mut variance = 0.0;
                for map in maps {
                    let squares = scaled(map?.as_ref(), log, |x| (x - mean).powi(2));
                    variance = squares.iter().fold(variance, |sum, x| sum + x);
                }
                (mean, (variance / count as f64).sqrt())
            }
            Scale::MinMax => (low + 0.5 * (high - low), 0.5 * (high - low)),
        };
        // Equal pixels leave a variance of rounding errors, of the order of (ε·mean)².
        if width <= 1e-12 * centre.abs() {
            return Err(Error::Invalid(
                "all pixels of the training maps are equal: there is nothing to learn from them".into(),
            ));
        }
        Self::new(log, centre, width)
    }

    /// Whether it takes the natural logarithm.
    pub fn takes_log(&self) -> bool {
        self.log
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
            .map(|(i, &x)| Ok(((self.scaled(i, x)? - self.centre) / self.width) as f32))
            .collect()
    }

    /// Undo [`apply`](Self::apply).
    pub fn invert(&self, z: &[f32]) -> Vec<f32> {
        z.iter()
            .map(|&z| {
                let scaled = f64::from(z) * self.width + self.centre;
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
        let mut sum = -(field.len() as f64) * self.width.ln();
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

/// What all pixels, or their logarithms, add up to and lie between; nothing if one has no logarithm.
fn first_pass<M: AsRef<[f32]>>(maps: impl Iterator<Item = Result<M>>, log: bool) -> Result<Option<Pass>> {
    let mut pass = Pass {
        count: 0,
        sum: 0.0,
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
    };
    for map in maps {
        let map = map?;
        let map = map.as_ref();
        if let Some(bad) = map.iter().find(|x| !x.is_finite()) {
            return Err(Error::Invalid(format!("a pixel of the training maps is {bad}")));
        }
        if log && map.iter().any(|&x| x <= 0.0) {
            return Ok(None);
        }
        pass.count += map.len();
        // Added one after the other: the sum does not depend on how the maps come.
        for x in scaled(map, log, |x| x) {
            pass.sum += x;
            pass.low = pass.low.min(x);
            pass.high = pass.high.max(x);
        }
    }
    Ok(Some(pass))
}

/// What `of` makes of the pixels, or of their logarithms.
fn scaled(map: &[f32], log: bool, of: impl Fn(f64) -> f64 + Sync) -> Vec<f64> {
    // Fewer are not worth a thread.
    const LEAST: usize = 1 << 14;
    let one = |&x: &f32| {
        let x = f64::from(x);
        of(if log { x.ln() } else { x })
    };
    map.par_iter().with_min_len(LEAST).map(one).collect()
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
            let transform = FieldTransform::fit(maps.chunks(100).map(Ok), FieldScaling::default()).unwrap();
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
    fn scaled_fields_reach_from_minus_one_to_one_and_come_back() {
        let maps = positive();
        for log in [None, Some(false)] {
            let scaling = FieldScaling {
                log,
                scale: Scale::MinMax,
            };
            let transform = FieldTransform::fit(maps.chunks(100).map(Ok), scaling).unwrap();
            assert_eq!(transform.takes_log(), log.is_none());
            let z = transform.apply(&maps).unwrap();
            let low = z.iter().copied().fold(f32::INFINITY, f32::min);
            let high = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!(
                (low + 1.0).abs() < 1e-6 && (high - 1.0).abs() < 1e-6,
                "{low} {high}"
            );
            for (back, x) in transform.invert(&z).iter().zip(&maps) {
                let scale = if log.is_none() { *x } else { 4e11 };
                assert!((back - x).abs() <= ROUND_TRIP * scale, "{back} {x}");
            }
        }
    }

    #[test]
    fn the_fit_does_not_depend_on_how_the_maps_come() {
        let maps = positive();
        let fit = |size| FieldTransform::fit(maps.chunks(size).map(Ok), FieldScaling::default()).unwrap();
        assert_eq!(fit(1), fit(1000));
        assert_eq!(fit(7), fit(100));
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
        let transform =
            FieldTransform::fit(positive().chunks(1000).map(Ok), FieldScaling::default()).unwrap();
        let text = serde_json::to_string(&transform).unwrap();
        assert_eq!(serde_json::from_str::<FieldTransform>(&text).unwrap(), transform);
        assert!(serde_json::from_str::<FieldTransform>(r#"{"log":true,"centre":0.0,"width":0.0}"#).is_err());
    }

    #[test]
    fn bad_pixels_are_named() {
        let transform = FieldTransform::new(true, 0.0, 1.0).unwrap();
        for (bad, word) in [(0.0, "pixel 1"), (-1.0, "takes logarithms"), (f32::NAN, "NaN")] {
            let message = transform.apply(&[1.0, bad]).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        let fails =
            |maps: &[f32], scaling| FieldTransform::fit(std::iter::once(maps).map(Ok), scaling).unwrap_err();
        for scale in [Scale::Standard, Scale::MinMax] {
            let scaling = FieldScaling { log: None, scale };
            assert!(fails(&[], scaling).to_string().contains("no training maps"));
            assert!(fails(&[2.0; 4], scaling).to_string().contains("equal"));
            assert!(fails(&[f32::NAN, 1.0], scaling).to_string().contains("NaN"));
            let scaling = FieldScaling {
                log: Some(true),
                scale,
            };
            assert!(fails(&[0.0, 1.0], scaling).to_string().contains("not positive"));
        }
    }
}
