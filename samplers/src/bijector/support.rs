//! Map the real line onto the support of one number.

use crate::number::Number;

/// Where a density of one number lives, and the smooth increasing map from z on the real line onto it.
///
/// x stays strictly inside the support for every finite z, however far in the tails.
///
/// ```
/// use armilla_samplers::bijector::Support;
/// let support = Support::Between(1.0, 5.0);
/// let (x, ln_jacobian) = support.constrain(0.0);
/// assert_eq!((x, ln_jacobian), (3.0, 0.0)); // dx/dz = (5 − 1) / 4
/// assert_eq!(support.unconstrain(3.0), 0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Support<N = f64> {
    /// All numbers: x = z.
    Real,
    /// Numbers above: x = low + e^z.
    Above(N),
    /// Numbers below: x = high − e^−z.
    Below(N),
    /// Numbers between two: x = low + (high − low) / (1 + e^−z).
    Between(N, N),
    /// Positive numbers between two, evenly in their logarithm: ln x = ln low + ln(high / low) / (1 + e^−z).
    Decades(N, N),
}

impl<N: Number> Support<N> {
    /// x and ln |dx/dz| at z.
    #[inline(always)]
    pub fn constrain(&self, z: N) -> (N, N) {
        match *self {
            Self::Real => (z, N::from(0.0)),
            Self::Above(low) => ((low + exp(z)).clamp_value(low.value().next_up(), f64::MAX), z),
            Self::Below(high) => (
                (high - exp(-z)).clamp_value(f64::MIN, high.value().next_down()),
                -z,
            ),
            Self::Between(low, high) => interval(low, high, z),
            Self::Decades(low, high) => {
                let (exponent, ln_jacobian) = interval(low.ln(), high.ln(), z);
                (inside(low, high, exponent.exp()), exponent + ln_jacobian)
            }
        }
    }

    /// z at x; infinite on an edge of the support, NaN outside.
    pub fn unconstrain(&self, x: f64) -> f64 {
        let logit = |low: f64, high: f64, x: f64| ((x - low) / (high - x)).ln();
        match *self {
            Self::Real => x,
            Self::Above(low) => (x - low.value()).ln(),
            Self::Below(high) => -(high.value() - x).ln(),
            Self::Between(low, high) => logit(low.value(), high.value(), x),
            Self::Decades(low, high) => logit(low.value().ln(), high.value().ln(), x.ln()),
        }
    }

    /// The least and the greatest x; infinite where there is no bound.
    pub fn bounds(&self) -> (f64, f64) {
        match *self {
            Self::Real => (f64::NEG_INFINITY, f64::INFINITY),
            Self::Above(low) => (low.value(), f64::INFINITY),
            Self::Below(high) => (f64::NEG_INFINITY, high.value()),
            Self::Between(low, high) | Self::Decades(low, high) => (low.value(), high.value()),
        }
    }

    /// The same with bounds that are richer numbers.
    #[inline(always)]
    pub fn cast<M: Number + From<N>>(self) -> Support<M> {
        match self {
            Self::Real => Support::Real,
            Self::Above(low) => Support::Above(M::from(low)),
            Self::Below(high) => Support::Below(M::from(high)),
            Self::Between(low, high) => Support::Between(M::from(low), M::from(high)),
            Self::Decades(low, high) => Support::Decades(M::from(low), M::from(high)),
        }
    }
}

/// e^z, which saturates instead of reaching 0 or infinity: both would leave the support.
#[inline(always)]
fn exp<N: Number>(z: N) -> N {
    let exp = z.value().exp().clamp(f64::MIN_POSITIVE, f64::MAX);
    z.chain(exp, exp)
}

#[inline]
fn interval<N: Number>(low: N, high: N, z: N) -> (N, N) {
    let width = high - low;
    // Measured from the nearer bound, so that the distance to it keeps its digits.
    let x = if z.value() < 0.0 {
        low + width * z.sigmoid()
    } else {
        high - width * (-z).sigmoid()
    };
    let size = z.abs();
    let ln_jacobian = width.ln() - size - (-size).softplus() * 2.0;
    (inside(low, high, x), ln_jacobian)
}

/// What rounding has moved to an edge of the interval or beyond is moved back.
#[inline]
fn inside<N: Number>(low: N, high: N, x: N) -> N {
    x.clamp_value(low.value().next_up(), high.value().next_down())
}
