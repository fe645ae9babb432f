//! Compute with numbers that carry derivatives: [`Number`] is what a function is written for, `f64` gives
//! its value, [`Dual`] its value and gradient.

mod autodiff;
mod dual;
mod gradient;
mod special;

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

pub use autodiff::{AutoDiff, GenericLikelihood};
pub use dual::Dual;
pub use gradient::{Differentiable, gradient};

/// A real number, with or without derivatives. Comparisons look at the value alone.
///
/// ```
/// use armilla_samplers::number::{Dual, Number};
/// fn f<N: Number>(x: N, y: N) -> N {
///     (x * y).sin() + y.square() * 3.0
/// }
/// let [x, y] = Dual::variables([0.5, 2.0]);
/// let z = f(x, y);
/// assert_eq!(z.value, f(0.5, 2.0));
/// assert_eq!(z.gradient, [2.0 * 1f64.cos(), 0.5 * 1f64.cos() + 12.0]);
/// ```
pub trait Number:
    Copy
    + Debug
    + Send
    + Sync
    + 'static
    + From<f64>
    + PartialEq
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Neg<Output = Self>
    + Sum
{
    /// The number without its derivatives.
    fn value(self) -> f64;

    /// f(self), where f(value) is `value` and f'(value) is `derivative`: what every function below is
    /// made of, and a function of your own can be.
    fn chain(self, value: f64, derivative: f64) -> Self;

    /// e^self.
    #[inline(always)]
    fn exp(self) -> Self {
        let exp = self.value().exp();
        self.chain(exp, exp)
    }

    /// e^self − 1, with all its digits near 0.
    #[inline(always)]
    fn exp_m1(self) -> Self {
        let x = self.value();
        self.chain(x.exp_m1(), x.exp())
    }

    /// The natural logarithm.
    #[inline(always)]
    fn ln(self) -> Self {
        let x = self.value();
        self.chain(x.ln(), x.recip())
    }

    /// ln(1 + self), with all its digits near 0.
    #[inline(always)]
    fn ln_1p(self) -> Self {
        let x = self.value();
        self.chain(x.ln_1p(), (1.0 + x).recip())
    }

    /// The square root.
    #[inline(always)]
    fn sqrt(self) -> Self {
        let root = self.value().sqrt();
        self.chain(root, 0.5 / root)
    }

    /// self².
    #[inline(always)]
    fn square(self) -> Self {
        let x = self.value();
        self.chain(x * x, 2.0 * x)
    }

    /// 1 / self.
    #[inline(always)]
    fn recip(self) -> Self {
        let recip = self.value().recip();
        self.chain(recip, -recip * recip)
    }

    /// A whole power.
    #[inline(always)]
    fn powi(self, power: i32) -> Self {
        let x = self.value();
        let derivative = if power == 0 {
            0.0
        } else {
            f64::from(power) * x.powi(power - 1)
        };
        self.chain(x.powi(power), derivative)
    }

    /// A real power, a constant.
    #[inline(always)]
    fn powf(self, power: f64) -> Self {
        let x = self.value();
        let derivative = if power == 0.0 {
            0.0
        } else {
            power * x.powf(power - 1.0)
        };
        self.chain(x.powf(power), derivative)
    }

    /// A power that is itself unknown, of a positive number.
    #[inline(always)]
    fn pow(self, power: Self) -> Self {
        (self.ln() * power).exp()
    }

    /// The sine.
    #[inline(always)]
    fn sin(self) -> Self {
        let x = self.value();
        self.chain(x.sin(), x.cos())
    }

    /// The cosine.
    #[inline(always)]
    fn cos(self) -> Self {
        let x = self.value();
        self.chain(x.cos(), -x.sin())
    }

    /// The tangent.
    #[inline(always)]
    fn tan(self) -> Self {
        let tan = self.value().tan();
        self.chain(tan, 1.0 + tan * tan)
    }

    /// The angle whose tangent this is.
    #[inline(always)]
    fn atan(self) -> Self {
        let x = self.value();
        self.chain(x.atan(), (1.0 + x * x).recip())
    }

    /// The hyperbolic sine.
    #[inline(always)]
    fn sinh(self) -> Self {
        let x = self.value();
        self.chain(x.sinh(), x.cosh())
    }

    /// The hyperbolic cosine.
    #[inline(always)]
    fn cosh(self) -> Self {
        let x = self.value();
        self.chain(x.cosh(), x.sinh())
    }

    /// The hyperbolic tangent.
    #[inline(always)]
    fn tanh(self) -> Self {
        let x = self.value();
        // 1 − tanh² loses all its digits in the tails.
        let cosh = x.cosh();
        self.chain(x.tanh(), (cosh * cosh).recip())
    }

    /// The absolute value; its derivative at 0 is taken to be 1.
    #[inline(always)]
    fn abs(self) -> Self {
        let x = self.value();
        self.chain(x.abs(), 1f64.copysign(x))
    }

    /// The number with its value kept between `low` and `high`, its derivatives as they are: for values
    /// that have rounded to beyond a bound.
    #[inline(always)]
    fn clamp_value(self, low: f64, high: f64) -> Self {
        self.chain(self.value().max(low).min(high), 1.0)
    }

    /// The logistic function 1 / (1 + e^−self), with all its digits in the lower tail.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let x = self.value();
        let tail = (-x.abs()).exp();
        let value = if x < 0.0 {
            tail / (1.0 + tail)
        } else {
            (1.0 + tail).recip()
        };
        self.chain(value, tail / ((1.0 + tail) * (1.0 + tail)))
    }

    /// ln(1 + e^self); `-softplus(-x)` is the logarithm of `sigmoid(x)`.
    #[inline(always)]
    fn softplus(self) -> Self {
        let x = self.value();
        let tail = (-x.abs()).exp();
        let derivative = if x < 0.0 {
            tail / (1.0 + tail)
        } else {
            (1.0 + tail).recip()
        };
        self.chain(x.max(0.0) + tail.ln_1p(), derivative)
    }

    /// ln Γ(self), for positive numbers.
    fn ln_gamma(self) -> Self {
        let x = self.value();
        self.chain(special::ln_gamma(x), special::digamma(x))
    }

    /// The error function.
    fn erf(self) -> Self {
        let x = self.value();
        self.chain(libm::erf(x), std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp())
    }

    /// ln Φ(self), the logarithm of the cumulative normal distribution, right in both tails.
    fn ln_normal_cdf(self) -> Self {
        let x = self.value();
        let (value, derivative) = special::ln_normal_cdf(x);
        self.chain(value, derivative)
    }

    /// ln(e^self + e^other), without overflow.
    #[inline(always)]
    fn log_add_exp(self, other: Self) -> Self {
        let (low, high) = if self < other {
            (self, other)
        } else {
            (other, self)
        };
        // Also where one is −∞, or both are.
        if low.value() == f64::NEG_INFINITY {
            return high;
        }
        high + (low - high).exp().ln_1p()
    }

    /// ln Σ e^x, without overflow; −∞ of none.
    fn log_sum_exp(terms: &[Self]) -> Self {
        let most = terms.iter().map(|x| x.value()).fold(f64::NEG_INFINITY, f64::max);
        if most.is_infinite() {
            return terms
                .iter()
                .fold(Self::from(f64::NEG_INFINITY), |sum, &x| sum.log_add_exp(x));
        }
        terms.iter().map(|&x| (x - most).exp()).sum::<Self>().ln() + most
    }
}

impl Number for f64 {
    #[inline(always)]
    fn value(self) -> f64 {
        self
    }
    #[inline(always)]
    fn chain(self, value: f64, _derivative: f64) -> f64 {
        value
    }
    // The derivatives of these cost too much to be thrown away.
    fn ln_gamma(self) -> f64 {
        special::ln_gamma(self)
    }
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
    fn ln_normal_cdf(self) -> f64 {
        special::ln_normal_cdf(self).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central differences of step 1e-6 x are good to about 1e-9.
    const DIFFERENCES: f64 = 1e-7;

    fn check(name: &str, points: &[f64], f: fn(Dual<1>) -> Dual<1>, value: fn(f64) -> f64) {
        for &x in points {
            let [dual] = Dual::variables([x]);
            let y = f(dual);
            assert_eq!(y.value, value(x), "{name} at {x}");
            let h = 1e-6 * x.abs().max(0.1);
            let numerical = (value(x + h) - value(x - h)) / (2.0 * h);
            let scale = numerical.abs().max(1e-3 * value(x).abs()).max(1e-8);
            assert!(
                (y.gradient[0] - numerical).abs() < DIFFERENCES * scale + 1e-9 * value(x).abs(),
                "{name} at {x}: {} for {numerical}",
                y.gradient[0]
            );
        }
    }

    macro_rules! check {
        ($points:expr, $($function:ident),*) => {$(
            check(stringify!($function), $points, |x| x.$function(), |x| Number::$function(x));
        )*};
    }

    #[test]
    fn derivatives_meet_differences() {
        let everywhere = [-30.0, -3.0, -0.7, -0.01, 0.3, 1.0, 4.0, 30.0];
        check!(
            &everywhere,
            exp,
            exp_m1,
            square,
            sin,
            cos,
            tan,
            atan,
            sinh,
            cosh,
            abs,
            softplus,
            erf
        );
        check!(&everywhere, ln_normal_cdf);
        check!(&[-3.0, -0.7, 0.0, 0.3, 4.0], tanh, sigmoid);
        check!(
            &[0.01, 0.3, 1.0, 2.0, 7.0, 300.0],
            ln,
            ln_1p,
            sqrt,
            recip,
            ln_gamma
        );
        check("powi", &everywhere, |x| x.powi(-3), |x| x.powi(-3));
        check("powi 0", &[0.0, 2.0], |x| Number::powi(x, 0), |x| x.powi(0));
        check("powf", &[0.2, 5.0], |x| x.powf(1.7), |x| x.powf(1.7));
        check(
            "pow",
            &[0.2, 5.0],
            |x| x.pow(x + 1.0),
            |x| Number::pow(x, x + 1.0),
        );
        check(
            "add",
            &everywhere,
            |x| x.log_add_exp(-x),
            |x| Number::log_add_exp(x, -x),
        );
    }

    #[test]
    fn tails_keep_their_digits() {
        // By mpmath.
        assert!((Number::ln_normal_cdf(-50.0) / -1_254.831_361_139_419_9 - 1.0).abs() < 1e-14);
        assert_eq!(Number::sigmoid(-700.0), (-700f64).exp());
        assert_eq!(Number::softplus(-700.0), (-700f64).exp());
        assert_eq!(Number::softplus(800.0), 800.0);
        let none = f64::NEG_INFINITY;
        assert_eq!(f64::log_sum_exp(&[]), none);
        assert_eq!(f64::log_sum_exp(&[none, none]), none);
        assert_eq!(f64::log_sum_exp(&[none, 3.0]), 3.0);
        assert_eq!(f64::log_sum_exp(&[f64::INFINITY, 3.0]), f64::INFINITY);
        assert!((f64::log_sum_exp(&[1000.0, 1000.0]) - 1000.0 - 2f64.ln()).abs() < 1e-12);
        let [x] = Dual::variables([2.0]);
        assert_eq!(x.log_add_exp(Dual::from(none)).gradient, [1.0]);
        let both = Dual::log_sum_exp(&[x, x * 2.0]);
        assert!((both.gradient[0] - (1.0 + 2f64.sigmoid())).abs() < 1e-15);
    }

    #[test]
    fn arithmetic_follows_the_rules_of_calculus() {
        let [x, y] = Dual::variables([3.0, 4.0]);
        let mut z = x * y / (x + 1.0) - y / 2.0 + (2.0 - x) * (1.0 / y) - x;
        assert!((z.value - (3.0 - 2.0 - 0.25 - 3.0)).abs() < 1e-15);
        // ∂x: y/(x+1)² − 1/y − 1, ∂y: x/(x+1) − ½ − (2−x)/y².
        assert!((z.gradient[0] - (0.25 - 0.25 - 1.0)).abs() < 1e-15);
        assert!((z.gradient[1] - (0.75 - 0.5 + 1.0 / 16.0)).abs() < 1e-15);
        z -= z;
        z += x;
        z *= y;
        assert_eq!((z.value, z.gradient), (12.0, [4.0, 3.0]));
        let total: Dual<2> = [x, y, -x].into_iter().sum();
        assert_eq!((total.value, total.gradient), (4.0, [0.0, 1.0]));
        assert!(x < y && x == Dual::from(3.0));
    }
}
