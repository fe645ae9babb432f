//! Expect a value with a symmetric uncertainty, between bounds.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use super::{Support, Univariate, is_positive, nothing, require};
use crate::error::SampleError;
use crate::normal_quantile::normal_quantile;
use crate::number::{Dual, Number};

/// A normal distribution of which only what lies between two bounds is left. Either may be infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruncatedNormal<N = f64> {
    mean: N,
    sd: N,
    low: N,
    high: N,
    /// The logarithm of the mass between the bounds.
    ln_mass: N,
}

impl TruncatedNormal {
    /// The mean and standard deviation of the whole normal distribution, and the bounds.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the mean is not finite, `sd` is not positive, or the bounds are not in
    /// order.
    pub fn new(mean: f64, sd: f64, low: f64, high: f64) -> Result<Self, SampleError> {
        require(mean.is_finite() && is_positive(sd) && low < high, || {
            format!(
                "TruncatedNormal({mean}, {sd}, {low}, {high}): give a finite mean, a positive standard \
                 deviation and bounds in order"
            )
        })?;
        let normal = Self::of(mean, sd, low, high);
        require(normal.ln_mass.is_finite(), || {
            format!("TruncatedNormal({mean}, {sd}, {low}, {high}): nothing is left between the bounds")
        })?;
        Ok(normal)
    }
}

impl<N: Number> TruncatedNormal<N> {
    /// Unchecked, for parameters that are themselves unknown.
    pub fn of(mean: impl Into<N>, sd: impl Into<N>, low: impl Into<N>, high: impl Into<N>) -> Self {
        let (mean, sd, low, high) = (mean.into(), sd.into(), low.into(), high.into());
        let ln_mass = ln_mass(
            low.value().is_finite().then(|| (low - mean) / sd),
            high.value().is_finite().then(|| (high - mean) / sd),
        );
        Self {
            mean,
            sd,
            low,
            high,
            ln_mass,
        }
    }

    /// The bounds of u = (x − mean) / sd.
    fn standard_bounds(&self) -> (f64, f64) {
        let (mean, sd) = (self.mean.value(), self.sd.value());
        ((self.low.value() - mean) / sd, (self.high.value() - mean) / sd)
    }
}

/// ln(Φ(high) − Φ(low)), from whichever side the difference keeps its digits. No bound is at infinity.
fn ln_mass<N: Number>(low: Option<N>, high: Option<N>) -> N {
    match (low, high) {
        (None, None) => N::from(0.0),
        (Some(low), None) => (-low).ln_normal_cdf(),
        (None, Some(high)) => high.ln_normal_cdf(),
        (Some(low), Some(high)) if low.value() < 0.0 && high.value() > 0.0 => {
            ((high * FRAC_1_SQRT_2).erf() + (-low * FRAC_1_SQRT_2).erf()).ln() + 0.5f64.ln()
        }
        (Some(low), Some(high)) => {
            // Both in the lower tail, or mirrored into it.
            let (low, high) = if low.value() >= 0.0 {
                (-high, -low)
            } else {
                (low, high)
            };
            let (least, most) = (low.ln_normal_cdf(), high.ln_normal_cdf());
            most + (-(least - most).exp_m1()).ln()
        }
    }
}

/// Φ⁻¹ of a probability given by its logarithm, which may be far too small to be a number.
fn normal_quantile_of_ln(ln_p: f64) -> f64 {
    /// Probabilities above e^−600 are numbers.
    const TAIL: f64 = -600.0;
    /// ln Φ is nearly a parabola out there: every step doubles the digits, from two.
    const STEPS: usize = 5;
    if ln_p > TAIL {
        return normal_quantile(ln_p.exp());
    }
    let start = -(-2.0 * ln_p).sqrt();
    (0..STEPS).fold(start, |u, _| {
        let ln_cdf = Dual::<1>::variable(u, 0).ln_normal_cdf();
        u - (ln_cdf.value - ln_p) / ln_cdf.gradient[0]
    })
}

impl<N: Number> Univariate for TruncatedNormal<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if x.value() < self.low.value() || x.value() > self.high.value() {
            return nothing();
        }
        let u = (x - X::from(self.mean)) / X::from(self.sd);
        u.square() * -0.5 - X::from(self.sd.ln() + self.ln_mass) - 0.5 * TAU.ln()
    }
    fn support(&self) -> Support<N> {
        match (self.low.value().is_finite(), self.high.value().is_finite()) {
            (false, false) => Support::Real,
            (true, false) => Support::Above(self.low),
            (false, true) => Support::Below(self.high),
            (true, true) => Support::Between(self.low, self.high),
        }
    }
    fn quantile(&self, p: f64) -> f64 {
        let (low, high) = self.standard_bounds();
        // Φ(u) is a mean of Φ(low) and Φ(high); so is Φ(−u) of their mirror images. The smaller one tells.
        let mean = |low: f64, high: f64| {
            let (low, high) = (Number::ln_normal_cdf(low), Number::ln_normal_cdf(high));
            Number::log_add_exp(low + (-p).ln_1p(), high + p.ln())
        };
        let (below, above) = (mean(low, high), mean(-low, -high));
        let u = if below < above {
            normal_quantile_of_ln(below)
        } else {
            -normal_quantile_of_ln(above)
        };
        let x = self.mean.value() + self.sd.value() * u;
        x.max(self.low.value()).min(self.high.value())
    }
}
