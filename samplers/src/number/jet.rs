//! Carry derivatives along with a value, two in each register.

use std::cmp::Ordering;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use wide::f64x2;

use super::Number;

/// A value and twice `PAIRS` derivatives: a [`Dual`](super::Dual) whose derivatives are vectors by type.
///
/// In a long function the compiler takes the arrays of a `Dual` apart into single numbers and does not put
/// them together again, which cost a model's gradient up to four times as long.
#[derive(Debug, Clone, Copy)]
pub struct Jet<const PAIRS: usize> {
    /// The value.
    pub value: f64,
    gradient: [f64x2; PAIRS],
}

impl<const PAIRS: usize> Jet<PAIRS> {
    /// Variable number `index` at `value`. An index of twice `PAIRS` or more makes a constant.
    #[inline(always)]
    pub fn variable(value: f64, index: usize) -> Self {
        let derivative = |i: usize| f64::from(u8::from(i == index));
        let gradient = std::array::from_fn(|i| f64x2::new([derivative(2 * i), derivative(2 * i + 1)]));
        Self { value, gradient }
    }

    /// The derivatives, as many as there is room for.
    #[inline(always)]
    pub fn write_gradient(&self, gradient: &mut [f64]) {
        for (two, pair) in gradient.chunks_mut(2).zip(self.gradient) {
            let numbers = pair.to_array();
            two.copy_from_slice(&numbers[..two.len()]);
        }
    }

    #[inline(always)]
    fn zip(self, other: Self, value: f64, derivative: impl Fn(f64x2, f64x2) -> f64x2) -> Self {
        let gradient = std::array::from_fn(|i| derivative(self.gradient[i], other.gradient[i]));
        Self { value, gradient }
    }
}

impl<const PAIRS: usize> Number for Jet<PAIRS> {
    #[inline(always)]
    fn value(self) -> f64 {
        self.value
    }
    #[inline(always)]
    fn chain(self, value: f64, derivative: f64) -> Self {
        let derivative = f64x2::splat(derivative);
        Self { value, gradient: self.gradient.map(|g| derivative * g) }
    }
}

impl<const PAIRS: usize> From<f64> for Jet<PAIRS> {
    #[inline(always)]
    fn from(value: f64) -> Self {
        Self { value, gradient: [f64x2::splat(0.0); PAIRS] }
    }
}

impl<const PAIRS: usize> PartialEq for Jet<PAIRS> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<const PAIRS: usize> PartialOrd for Jet<PAIRS> {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<const PAIRS: usize> Neg for Jet<PAIRS> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.chain(-self.value, -1.0)
    }
}

impl<const PAIRS: usize> Sum for Jet<PAIRS> {
    #[inline(always)]
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        // −0, as the standard library starts from: the sum of one term is that term.
        terms.fold(Self::from(-0.0), |sum, term| sum + term)
    }
}

/// One operator on each pair of types: the value and derivatives, from two operands.
macro_rules! operators {
    ($($operator:ident $method:ident: $left:ty, $right:ty, |$a:ident, $b:ident| $result:expr;)*) => {$(
        impl<const PAIRS: usize> $operator<$right> for $left {
            type Output = Jet<PAIRS>;
            #[inline(always)]
            fn $method(self, other: $right) -> Jet<PAIRS> {
                let ($a, $b) = (self, other);
                $result
            }
        }
    )*};
}
operators! {
    Add add: Jet<PAIRS>, Jet<PAIRS>, |a, b| a.zip(b, a.value + b.value, |a, b| a + b);
    Sub sub: Jet<PAIRS>, Jet<PAIRS>, |a, b| a.zip(b, a.value - b.value, |a, b| a - b);
    Mul mul: Jet<PAIRS>, Jet<PAIRS>, |a, b| {
        let (x, y) = (f64x2::splat(a.value), f64x2::splat(b.value));
        a.zip(b, a.value * b.value, |a, b| a * y + x * b)
    };
    Div div: Jet<PAIRS>, Jet<PAIRS>, |a, b| {
        let value = a.value / b.value;
        let (ratio, recip) = (f64x2::splat(value), f64x2::splat(b.value.recip()));
        a.zip(b, value, |a, b| (a - ratio * b) * recip)
    };
    Add add: Jet<PAIRS>, f64, |a, b| Jet { value: a.value + b, ..a };
    Sub sub: Jet<PAIRS>, f64, |a, b| Jet { value: a.value - b, ..a };
    Mul mul: Jet<PAIRS>, f64, |a, b| a.chain(a.value * b, b);
    Div div: Jet<PAIRS>, f64, |a, b| a.chain(a.value / b, b.recip());
    Add add: f64, Jet<PAIRS>, |a, b| b + a;
    Sub sub: f64, Jet<PAIRS>, |a, b| b.chain(a - b.value, -1.0);
    Mul mul: f64, Jet<PAIRS>, |a, b| b * a;
    Div div: f64, Jet<PAIRS>, |a, b| {
        let value = a / b.value;
        b.chain(value, -value / b.value)
    };
}

macro_rules! assignments {
    ($($operator:ident $method:ident $symbol:tt;)*) => {$(
        impl<const PAIRS: usize> $operator for Jet<PAIRS> {
            #[inline(always)]
            fn $method(&mut self, other: Self) {
                *self = *self $symbol other;
            }
        }
        impl<const PAIRS: usize> $operator<f64> for Jet<PAIRS> {
            #[inline(always)]
            fn $method(&mut self, other: f64) {
                *self = *self $symbol other;
            }
        }
    )*};
}
assignments! {
    AddAssign add_assign +;
    SubAssign sub_assign -;
    MulAssign mul_assign *;
}

#[cfg(test)]
mod tests {
    use super::super::Dual;
    use super::*;

    /// Uses every operator.
    macro_rules! formula {
        ($x:expr, $y:expr) => {{
            let (x, y) = ($x, $y);
            let mut z = x * y / (x + 1.0) - y / 2.0 + (2.0 - x) * (1.0 / y) - x + 3.0 * y + (1.0 + x) * 0.5;
            z -= (x - 1.0).exp();
            z += y;
            z *= x.max_of(y);
            [z, -z, x.square()].into_iter().sum()
        }};
    }

    trait MaxOf: Number {
        fn max_of(self, other: Self) -> Self {
            if self > other { self } else { other }
        }
    }
    impl<N: Number> MaxOf for N {}

    #[test]
    fn it_has_the_derivatives_of_a_dual() {
        let dual: Dual<3> = formula!(Dual::variable(0.7, 0), Dual::variable(-1.9, 2));
        let jet: Jet<2> = formula!(Jet::variable(0.7, 0), Jet::variable(-1.9, 2));
        let mut gradient = [f64::NAN; 3];
        jet.write_gradient(&mut gradient);
        assert_eq!((jet.value, gradient), (dual.value, dual.gradient));
        let mut more = [f64::NAN; 5];
        jet.write_gradient(&mut more);
        assert!(more[4].is_nan() && more[3] == 0.0);
    }
}
