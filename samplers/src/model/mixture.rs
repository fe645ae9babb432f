//! Mix two distributions; the second may be a mixture itself.

use rand::{Rng, RngExt};

use crate::bijector::Support;
use crate::distribution::Univariate;
use crate::number::Number;

/// p(x) = w p₁(x) + v p₂(x).
#[derive(Debug, Clone, Copy)]
pub struct Mixture<A, B, N> {
    ln_weight: N,
    first: A,
    /// ln v, and of what is within the second, ln of its total.
    ln_rest: N,
    second: B,
}

impl<N: Number, A: Univariate<Number = N>, B: Univariate<Number = N>> Mixture<A, B, N> {
    /// The weights are taken relative to their sum.
    #[inline(always)]
    pub fn of(weight: impl Into<N>, first: A, rest: impl Into<N>, second: B) -> Self {
        let (weight, rest): (N, N) = (weight.into(), rest.into());
        let ln_total = (weight + rest).ln();
        Self {
            ln_weight: weight.ln() - ln_total,
            first,
            ln_rest: rest.ln() - ln_total,
            second,
        }
    }
}

impl<N: Number, A: Univariate<Number = N>, B: Univariate<Number = N>> Univariate for Mixture<A, B, N> {
    type Number = N;

    #[inline(always)]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        let first = self.first.ln_density(x) + X::from(self.ln_weight);
        ln_sum(first, self.second.ln_density(x) + X::from(self.ln_rest))
    }

    #[inline(always)]
    fn ln_density_at(&self, x: f64) -> N {
        let first = self.first.ln_density_at(x) + self.ln_weight;
        ln_sum(first, self.second.ln_density_at(x) + self.ln_rest)
    }

    /// That of both, if they have the same; else all numbers.
    fn support(&self) -> Support<N> {
        let support = self.first.support();
        if support == self.second.support() {
            support
        } else {
            Support::Real
        }
    }

    /// NaN: there is no closed form.
    fn quantile(&self, _: f64) -> f64 {
        f64::NAN
    }

    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        if rng.random::<f64>() < self.ln_weight.value().exp() {
            self.first.sample(rng)
        } else {
            self.second.sample(rng)
        }
    }
}

/// ln(e^x + e^y), as `log_add_exp`, but where both densities are about 1 no more digits than they have
/// themselves: that takes a logarithm, which is quicker than `ln_1p`.
#[inline(always)]
fn ln_sum<X: Number>(x: X, y: X) -> X {
    let less = x < y;
    let (low, high) = if less {
        (x.value(), y.value())
    } else {
        (y.value(), x.value())
    };
    if low == f64::NEG_INFINITY {
        return if less { y } else { x };
    }
    let ratio = (low - high).exp();
    let sum = 1.0 + ratio;
    let (of_high, of_low) = (sum.recip(), ratio / sum);
    let (of_x, of_y) = if less {
        (of_low, of_high)
    } else {
        (of_high, of_low)
    };
    x.chain(high + sum.ln(), of_x) + y.chain(0.0, of_y)
}
