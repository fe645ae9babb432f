//! Take the ranges of parameters from draws of them.

use super::Prior;
use crate::distribution::Uniform;
use crate::error::SampleError;
use crate::likelihood::Points;

impl Prior {
    /// The box that holds all `draws` (one number for each name): a uniform density between the least and
    /// the greatest value of each parameter, with `margin` times their difference added at either end.
    ///
    /// ```
    /// use armilla_samplers::likelihood::Points;
    /// use armilla_samplers::Prior;
    /// let simulated = [0.1, 0.6, 0.3, 1.0, 0.5, 0.8];
    /// let prior = Prior::empirical_box(["Omega_m", "sigma_8"], Points::new(&simulated, 2)?, 0.0)?;
    /// assert_eq!(prior.bounds(0.0), [(0.1, 0.5), (0.6, 1.0)]);
    /// # Ok::<(), armilla_samplers::SampleError>(())
    /// ```
    ///
    /// # Errors
    /// `SampleError::Invalid` where there are no draws, or not as many names as numbers in a draw, a number is
    /// not finite, or a parameter is the same in all draws.
    pub fn empirical_box(
        names: impl IntoIterator<Item = impl Into<String>>,
        draws: Points<'_>,
        margin: f64,
    ) -> Result<Self, SampleError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.len() != draws.dim() {
            let (given, dim) = (names.len(), draws.dim());
            return Err(SampleError::Invalid(format!(
                "{given} names given for draws of {dim} numbers"
            )));
        }
        if draws.is_empty() {
            return Err(SampleError::Invalid(
                "there are no draws to take the ranges of parameters from".into(),
            ));
        }
        let mut prior = Self::new();
        for (i, name) in names.into_iter().enumerate() {
            let column = || draws.iter().map(|draw| draw[i]);
            let (low, high) = (
                column().fold(f64::MAX, f64::min),
                column().fold(f64::MIN, f64::max),
            );
            let spread = high - low;
            if !(column().all(f64::is_finite) && spread > 0.0 && margin >= 0.0) {
                return Err(SampleError::Invalid(format!(
                    "no box for {name} from {low} to {high} with a margin of {margin}: give finite draws \
                     that differ, and a margin of 0 or more"
                )));
            }
            prior = prior.with(name, Uniform::new(low - margin * spread, high + margin * spread)?)?;
        }
        Ok(prior)
    }
}
