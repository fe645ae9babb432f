//! Say how probable numbers are: one file for each distribution, all of them generic over the
//! [`Number`](crate::number::Number) of their parameters, so that these can be unknown too.

mod flat;
mod half_cauchy;
mod half_normal;
mod log_uniform;
mod normal;
mod uniform;

use std::fmt::Debug;

use rand::distr::Open01;
use rand::{Rng, RngExt};

use crate::error::SampleError;
use crate::number::Number;

pub use crate::bijector::{Support, VectorSupport};
pub use flat::{Flat, HalfFlat};
pub use half_cauchy::HalfCauchy;
pub use half_normal::HalfNormal;
pub use log_uniform::LogUniform;
pub use normal::Normal;
pub use uniform::Uniform;

/// The distribution of one number.
///
/// ```
/// use armilla_samplers::distribution::{Normal, Univariate};
/// use armilla_samplers::number::Dual;
/// // Parameters that are known are checked.
/// let prior = Normal::new(1.0, 2.0)?;
/// assert!((prior.ln_density(1.0) + 1.612_085_713_764_618).abs() < 1e-15);
/// assert!(Normal::new(1.0, -2.0).is_err());
/// // Those that are not carry their derivatives.
/// let [mean, sd] = Dual::variables([1.0, 2.0]);
/// let ln_density = Normal::<Dual<2>>::of(mean, sd).ln_density(Dual::from(5.0));
/// assert_eq!(ln_density.gradient, [1.0, 1.5]); // u / sd and (u² − 1) / sd, with u = 2
/// # Ok::<(), armilla_samplers::SampleError>(())
/// ```
pub trait Univariate: Copy + Debug + Send + Sync {
    /// The number of its parameters.
    type Number: Number;

    /// ln p(x), normalised; `-inf` outside the support. x may be a richer number than the parameters.
    fn ln_density<X: Number + From<Self::Number>>(&self, x: X) -> X;

    /// Where the density is not zero.
    fn support(&self) -> Support<Self::Number>;

    /// The x below which lies the fraction `p` of the mass, 0 ≤ p ≤ 1. NaN of what has none: improper
    /// densities, and probabilities of whole numbers; a [`Prior`](crate::Prior) refuses both.
    fn quantile(&self, p: f64) -> f64;

    /// A draw.
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        self.quantile(rng.sample(Open01))
    }
}

/// The distribution of several numbers together.
pub trait Multivariate: Debug + Send + Sync {
    /// The number of its parameters.
    type Number: Number;

    /// How many numbers a draw has.
    #[allow(clippy::len_without_is_empty)] // None would be no distribution.
    fn len(&self) -> usize;

    /// ln p(x) of `len()` numbers, normalised; `-inf` outside the support. Where some of them determine
    /// the others, it is the density of those; see [`VectorSupport::constrain`].
    fn ln_density<X: Number + From<Self::Number>>(&self, x: &[X]) -> X;

    /// Where the density is not zero.
    fn support(&self) -> VectorSupport;

    /// Writes a draw to `x`.
    fn sample(&self, rng: &mut dyn Rng, x: &mut [f64]);
}

/// −∞: the density is zero.
fn nothing<X: Number>() -> X {
    X::from(f64::NEG_INFINITY)
}

/// The constructors' check of their parameters.
fn require(right: bool, what: impl FnOnce() -> String) -> Result<(), SampleError> {
    if right { Ok(()) } else { Err(SampleError::Invalid(what())) }
}

/// Whether `x` is a positive number.
fn is_positive(x: f64) -> bool {
    x > 0.0 && x.is_finite()
}

/// Refuses bounds that are not finite, out of order, or too far apart for their difference to be a number.
fn check_bounds(kind: &str, low: f64, high: f64) -> Result<(), SampleError> {
    require(low.is_finite() && low < high && (high - low).is_finite(), || {
        format!("{kind}({low}, {high}): give finite bounds, the smaller one first")
    })
}

/// Refuses a scale that is none.
fn check_scale(kind: &str, what: &str, scale: f64) -> Result<(), SampleError> {
    require(is_positive(scale), || format!("{kind}({scale}): give a positive {what}"))
}
