//! Expect a value with tails as heavy as you say.

use std::f64::consts::PI;

use rand::Rng;
use statrs::function::beta::checked_beta_reg;

use super::{Support, Univariate, draw, invert, is_positive, ln_one_plus_square, require};
use crate::error::SampleError;
use crate::number::Number;

/// Student's t distribution, shifted and scaled: Cauchy at one degree of freedom, normal at infinitely many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StudentT<N = f64> {
    degrees: N,
    location: N,
    scale: N,
    ln_normaliser: N,
}

impl StudentT {
    /// With these degrees of freedom, this median and this scale.
    ///
    /// # Errors
    /// `SampleError::Invalid` where one is not finite, or `degrees` or `scale` are not positive.
    pub fn new(degrees: f64, location: f64, scale: f64) -> Result<Self, SampleError> {
        require(
            is_positive(degrees) && location.is_finite() && is_positive(scale),
            || {
                format!(
                    "StudentT({degrees}, {location}, {scale}): give positive degrees of freedom, a finite \
                 location and a positive scale"
                )
            },
        )?;
        Ok(Self::of(degrees, location, scale))
    }
}

impl<N: Number> StudentT<N> {
    /// Unchecked, for parameters that are themselves unknown.
    #[inline]
    pub fn of(degrees: impl Into<N>, location: impl Into<N>, scale: impl Into<N>) -> Self {
        let (degrees, location, scale) = (degrees.into(), location.into(), scale.into());
        let ln_normaliser = ln_gamma_half_step(degrees * 0.5) - (degrees * PI).ln() * 0.5 - scale.ln();
        Self {
            degrees,
            location,
            scale,
            ln_normaliser,
        }
    }
}

impl<N: Number> Univariate for StudentT<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        let u = (x - X::from(self.location)) / X::from(self.scale * self.degrees.sqrt());
        X::from(self.ln_normaliser) - ln_one_plus_square(u) * X::from((self.degrees + 1.0) * 0.5)
    }
    fn support(&self) -> Support<N> {
        Support::Real
    }
    fn quantile(&self, p: f64) -> f64 {
        let degrees = self.degrees.value();
        let above = |u: f64| {
            let share = (1.0 + u / degrees * u).recip();
            checked_beta_reg(0.5 * degrees, 0.5, share).unwrap_or(f64::NAN)
        };
        // By symmetry twice the tail lies beyond ± u.
        let beyond = 2.0 * p.min(1.0 - p);
        let u = invert(
            Support::Above(0.0),
            (1.0 - beyond, beyond),
            |u| 1.0 - above(u),
            above,
        );
        self.location.value() + self.scale.value() * u.copysign(p - 0.5)
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        let u = draw(rand_distr::StudentT::new(self.degrees.value()), rng);
        self.location.value() + self.scale.value() * u
    }
}

/// ln Γ(x + ½) − ln Γ(x), also where both are so large that their difference has no digits: there by its
/// asymptotic series.
fn ln_gamma_half_step<N: Number>(x: N) -> N {
    const LARGE: f64 = 100.0;
    if x.value() < LARGE {
        return (x + 0.5).ln_gamma() - x.ln_gamma();
    }
    let (step, square) = (x.recip(), x.square().recip());
    let series = square * (square * (-1.0 / 640.0) + 1.0 / 192.0) - 1.0 / 8.0;
    x.ln() * 0.5 + step * series
}
