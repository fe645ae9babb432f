//! Favour no value, at the price of a density that has no integral.

use std::marker::PhantomData;

use super::{Support, Univariate, nothing};
use crate::number::Number;

/// ln p(x) = 0 on the whole real line. Improper: it has neither draws nor quantiles, both are NaN.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Flat<N = f64>(PhantomData<N>);

/// ln p(x) = 0 above 0. Improper: it has neither draws nor quantiles, both are NaN.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HalfFlat<N = f64>(PhantomData<N>);

impl<N: Number> Flat<N> {
    /// It has no parameters.
    pub fn of() -> Self {
        Self(PhantomData)
    }
}

impl<N: Number> HalfFlat<N> {
    /// It has no parameters.
    pub fn of() -> Self {
        Self(PhantomData)
    }
}

impl<N: Number> Univariate for Flat<N> {
    type Number = N;

    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        // A point that is no number has no density.
        if x.value().is_nan() { x } else { X::from(0.0) }
    }
    fn support(&self) -> Support<N> {
        Support::Real
    }
    fn quantile(&self, _p: f64) -> f64 {
        f64::NAN
    }
}

impl<N: Number> Univariate for HalfFlat<N> {
    type Number = N;

    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if x.value() < 0.0 {
            nothing()
        } else {
            Flat::<N>::of().ln_density(x)
        }
    }
    fn support(&self) -> Support<N> {
        Support::Above(N::from(0.0))
    }
    fn quantile(&self, _p: f64) -> f64 {
        f64::NAN
    }
}
