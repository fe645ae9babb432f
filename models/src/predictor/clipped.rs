//! Keep predicted data where data lie.

use super::Predictor;
use crate::{
    error::Result,
    path::{Path, Target},
};

/// A predictor of the same data, but for those beyond the range of all data, which it takes back to the end of it.
///
/// Near the noise the data follow from a predicted noise by a division by α: there small errors are large ones of the
/// data. (Ho et al. 2020, arXiv 2006.11239, clip likewise.)
///
/// ```
/// use armilla_models::{Result, path::{Path, Target}, predictor::{Clipped, Predictor}};
/// /// All noise is 1.
/// struct Ones;
/// impl Predictor for Ones {
///     fn numbers(&self) -> usize {
///         1
///     }
///     fn path(&self) -> &Path {
///         &Path::Linear
///     }
///     fn target(&self) -> Target {
///         Target::Noise
///     }
///     fn predict(&self, x: &[f64], _: f64) -> Result<Vec<f64>> {
///         Ok(vec![1.0; x.len()])
///     }
/// }
/// let x = [0.9, 20.0];
/// assert_eq!(Ones.predict_as(Target::Data, &x, 0.5)?, [0.8, 39.0]);
/// assert_eq!(Clipped::new(&Ones, [-3.0, 3.0]).predict_as(Target::Data, &x, 0.5)?, [0.8, 3.0]);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub struct Clipped<'a> {
    inner: &'a dyn Predictor,
    range: [f64; 2],
}

impl<'a> Clipped<'a> {
    /// What `inner` predicts, within `range`.
    pub fn new(inner: &'a dyn Predictor, range: [f64; 2]) -> Self {
        Self { inner, range }
    }
}

impl Predictor for Clipped<'_> {
    fn numbers(&self) -> usize {
        self.inner.numbers()
    }

    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn target(&self) -> Target {
        Target::Data
    }

    fn predict(&self, x: &[f64], t: f64) -> Result<Vec<f64>> {
        let [low, high] = self.range;
        let mut data = self.inner.predict_as(Target::Data, x, t)?;
        // Numbers that are none stay none.
        data.iter_mut()
            .for_each(|x| *x = if x.is_nan() { *x } else { x.max(low).min(high) });
        Ok(data)
    }
}
