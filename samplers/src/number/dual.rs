//! Carry N derivatives along with a value.

use std::cmp::Ordering;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use super::Number;

/// A value and its derivatives in N variables: forward-mode differentiation (Wengert 1964,
/// doi:10.1145/355586.364791).
///
/// Our own because `num-dual`'s took 4 to 14 times as long for the gradient of a regression on five
/// variables: arrays of known length, everything inlined, are what the compiler vectorises.
#[derive(Debug, Clone, Copy)]
pub struct Dual<const N: usize> {
    /// The value.
    pub value: f64,
    /// The derivatives.
    pub gradient: [f64; N],
}

impl<const N: usize> Dual<N> {
    /// Variable number `index` at `value`. An index of N or more makes a constant.
    #[inline(always)]
    pub fn variable(value: f64, index: usize) -> Self {
        Self {
            value,
            gradient: std::array::from_fn(|i| f64::from(u8::from(i == index))),
        }
    }

    /// All N variables.
    #[inline(always)]
    pub fn variables(values: [f64; N]) -> [Self; N] {
        std::array::from_fn(|i| Self::variable(values[i], i))
    }

    #[inline(always)]
    fn zip(self, other: Self, value: f64, derivative: impl Fn(f64, f64) -> f64) -> Self {
        let mut gradient = self.gradient;
        for (a, b) in gradient.iter_mut().zip(&other.gradient) {
            *a = derivative(*a, *b);
        }
        Self { value, gradient }
    }
}

impl<const N: usize> Number for Dual<N> {
    #[inline(always)]
    fn value(self) -> f64 {
        self.value
    }
    #[inline(always)]
    fn chain(self, value: f64, derivative: f64) -> Self {
        let mut gradient = self.gradient;
        for g in &mut gradient {
            *g *= derivative;
        }
        Self { value, gradient }
    }
}

impl<const N: usize> From<f64> for Dual<N> {
    #[inline(always)]
    fn from(value: f64) -> Self {
        Self {
            value,
            gradient: [0.0; N],
        }
    }
}

impl<const N: usize> PartialEq for Dual<N> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<const N: usize> PartialOrd for Dual<N> {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<const N: usize> Add for Dual<N> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, self.value + other.value, |a, b| a + b)
    }
}

impl<const N: usize> Sub for Dual<N> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, self.value - other.value, |a, b| a - b)
    }
}

impl<const N: usize> Mul for Dual<N> {
    type Output = Self;
    #[inline(always)]
    #[allow(clippy::suspicious_arithmetic_impl)] // The rule for products has a sum.
    fn mul(self, other: Self) -> Self {
        let derivative = |a, b| a * other.value + self.value * b;
        self.zip(other, self.value * other.value, derivative)
    }
}

impl<const N: usize> Div for Dual<N> {
    type Output = Self;
    #[inline(always)]
    #[allow(clippy::suspicious_arithmetic_impl)] // The rule for quotients has a difference.
    fn div(self, other: Self) -> Self {
        let recip = other.value.recip();
        // Not by `recip`: the value is the same whatever number the computation runs in.
        let value = self.value / other.value;
        self.zip(other, value, |a, b| (a - value * b) * recip)
    }
}

impl<const N: usize> Neg for Dual<N> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.chain(-self.value, -1.0)
    }
}

impl<const N: usize> Add<f64> for Dual<N> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: f64) -> Self {
        Self {
            value: self.value + other,
            ..self
        }
    }
}

impl<const N: usize> Sub<f64> for Dual<N> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: f64) -> Self {
        Self {
            value: self.value - other,
            ..self
        }
    }
}

impl<const N: usize> Mul<f64> for Dual<N> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: f64) -> Self {
        self.chain(self.value * other, other)
    }
}

impl<const N: usize> Div<f64> for Dual<N> {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: f64) -> Self {
        self.chain(self.value / other, other.recip())
    }
}

impl<const N: usize> Add<Dual<N>> for f64 {
    type Output = Dual<N>;
    #[inline(always)]
    fn add(self, other: Dual<N>) -> Dual<N> {
        other + self
    }
}

impl<const N: usize> Sub<Dual<N>> for f64 {
    type Output = Dual<N>;
    #[inline(always)]
    fn sub(self, other: Dual<N>) -> Dual<N> {
        other.chain(self - other.value, -1.0)
    }
}

impl<const N: usize> Mul<Dual<N>> for f64 {
    type Output = Dual<N>;
    #[inline(always)]
    fn mul(self, other: Dual<N>) -> Dual<N> {
        other * self
    }
}

impl<const N: usize> Div<Dual<N>> for f64 {
    type Output = Dual<N>;
    #[inline(always)]
    fn div(self, other: Dual<N>) -> Dual<N> {
        let value = self / other.value;
        other.chain(value, -value / other.value)
    }
}

impl<const N: usize> AddAssign for Dual<N> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        self.value += other.value;
        for (a, b) in self.gradient.iter_mut().zip(&other.gradient) {
            *a += b;
        }
    }
}

impl<const N: usize> SubAssign for Dual<N> {
    #[inline(always)]
    fn sub_assign(&mut self, other: Self) {
        self.value -= other.value;
        for (a, b) in self.gradient.iter_mut().zip(&other.gradient) {
            *a -= b;
        }
    }
}

impl<const N: usize> MulAssign for Dual<N> {
    #[inline(always)]
    fn mul_assign(&mut self, other: Self) {
        *self = *self * other;
    }
}

impl<const N: usize> Sum for Dual<N> {
    #[inline(always)]
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        // −0, as the standard library starts from: the sum of one term is that term.
        let mut sum = Self::from(-0.0);
        for term in terms {
            sum += term;
        }
        sum
    }
}
