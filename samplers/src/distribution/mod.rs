//! Say how probable numbers are: one file for each distribution, all of them generic over the
//! [`Number`] of their parameters, so that these can be unknown too.
//!
//! | of | |
//! |---|---|
//! | any number | [`Normal`], [`StudentT`], [`Cauchy`], [`Laplace`], [`TruncatedNormal`], [`Flat`] |
//! | a positive number | [`LogNormal`], [`Gamma`], [`InverseGamma`], [`Exponential`], [`HalfNormal`], [`HalfCauchy`], [`HalfFlat`] |
//! | a number between bounds | [`Uniform`], [`LogUniform`], [`Beta`], [`TruncatedNormal`] |
//! | several numbers | [`MultivariateNormal`], [`Dirichlet`], [`LkjCholesky`], [`Ordered`] |
//! | counts, for data | [`Poisson`], [`NegativeBinomial`], [`Binomial`], [`Bernoulli`] |
//!
//! Each has `new` for parameters that are known, which it checks, and `of` for those that are not; only
//! [`Flat`] and [`HalfFlat`] have nothing to check.

mod bernoulli;
mod beta;
mod binomial;
mod cauchy;
mod dirichlet;
mod exponential;
mod flat;
mod gamma;
mod half_cauchy;
mod half_normal;
mod inverse_gamma;
mod laplace;
mod lkj_cholesky;
mod log_normal;
mod log_uniform;
mod multivariate_normal;
mod negative_binomial;
mod normal;
mod ordered;
mod poisson;
mod student_t;
mod truncated_normal;
mod uniform;

#[cfg(test)]
mod tests;

use std::fmt::Debug;

use rand::distr::Open01;
use rand::{Rng, RngExt};

use crate::error::SampleError;
use crate::number::Number;

pub use crate::bijector::{Support, VectorSupport};
pub use bernoulli::Bernoulli;
pub use beta::Beta;
pub use binomial::Binomial;
pub use cauchy::Cauchy;
pub use dirichlet::Dirichlet;
pub use exponential::Exponential;
pub use flat::{Flat, HalfFlat};
pub use gamma::Gamma;
pub use half_cauchy::HalfCauchy;
pub use half_normal::HalfNormal;
pub use inverse_gamma::InverseGamma;
pub use laplace::Laplace;
pub use lkj_cholesky::LkjCholesky;
pub use log_normal::LogNormal;
pub use log_uniform::LogUniform;
pub use multivariate_normal::MultivariateNormal;
pub use negative_binomial::NegativeBinomial;
pub use normal::Normal;
pub use ordered::Ordered;
pub use poisson::Poisson;
pub use student_t::StudentT;
pub use truncated_normal::TruncatedNormal;
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
///
/// Probabilities of whole numbers are `Univariate` too: for data, not for parameters.
pub trait Univariate: Copy + Debug + Send + Sync {
    /// The number of its parameters.
    type Number: Number;

    /// ln p(x), normalised; `-inf` outside the support. x may be a richer number than the parameters.
    fn ln_density<X: Number + From<Self::Number>>(&self, x: X) -> X;

    /// ln p(x) at a number that is known, as data are: only the parameters have derivatives.
    #[inline]
    fn ln_density_at(&self, x: f64) -> Self::Number {
        self.ln_density(<Self::Number as From<f64>>::from(x))
    }

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
#[allow(clippy::len_without_is_empty)] // Of no numbers there is no distribution.
pub trait Multivariate: Debug + Send + Sync {
    /// The number of its parameters.
    type Number: Number;

    /// How many numbers a draw has.
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

/// ln(1 + u²), also where u² is too large to be a number.
#[inline]
fn ln_one_plus_square<X: Number>(u: X) -> X {
    if u.value().abs() <= 1.0 {
        u.square().ln_1p()
    } else {
        u.abs().ln() * 2.0 + u.recip().square().ln_1p()
    }
}

/// A draw, or NaN where the parameters make no sense.
fn draw<D, E>(distribution: Result<D, E>, rng: &mut dyn Rng) -> f64
where
    D: rand_distr::Distribution<f64>,
{
    distribution.map_or(f64::NAN, |distribution| distribution.sample(rng))
}

/// The x of `support` below which lies `p` and above which lies `q` = 1 − p: by bisection on the real line
/// of the mass `below` x or of that `above` it, whichever is the smaller and has the digits.
fn invert(
    support: Support,
    (p, q): (f64, f64),
    below: impl Fn(f64) -> f64,
    above: impl Fn(f64) -> f64,
) -> f64 {
    /// As far as the exponential of z is a number.
    const FARTHEST: f64 = 745.0;
    let (least, greatest) = support.bounds();
    match (p > 0.0, q > 0.0) {
        (true, true) => {}
        (false, true) => return least,
        (true, false) => return greatest,
        (false, false) => return f64::NAN,
    }
    let (mut low, mut high) = (-FARTHEST, FARTHEST);
    loop {
        let z = 0.5 * (low + high);
        let x = support.constrain(z).0;
        if z <= low || z >= high {
            return x;
        }
        let beyond = if p < q { below(x) >= p } else { above(x) <= q };
        if beyond {
            high = z;
        } else {
            low = z;
        }
    }
}

/// k ln p, which is 0 where k is, however small p.
#[inline]
fn times<X: Number>(k: f64, ln: X) -> X {
    if k == 0.0 { X::from(0.0) } else { ln * k }
}

/// Whether `k` is a count.
fn is_count(k: f64) -> bool {
    k >= 0.0 && k.fract() == 0.0
}

/// The constructors' check of their parameters.
fn require(right: bool, what: impl FnOnce() -> String) -> Result<(), SampleError> {
    if right {
        Ok(())
    } else {
        Err(SampleError::Invalid(what()))
    }
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
    require(is_positive(scale), || {
        format!("{kind}({scale}): give a positive {what}")
    })
}
