//! Interpret a model as its log density: what a sampler asks for millions of times.

use super::{Interpreter, Place, changed, constant, other_length};
use crate::bijector::VectorSupport;
use crate::distribution::{Multivariate, Univariate};
use crate::error::EvalError;
use crate::number::Dual;

/// Sums the log density at z, with the derivatives in `WIDTH` of its numbers.
pub(super) struct LogDensity<'a, const WIDTH: usize> {
    z: &'a [f64],
    /// The number of z that the first derivative is in.
    first: usize,
    /// How many numbers of z are used.
    used: usize,
    /// What vectors are made of.
    space: &'a mut [Dual<WIDTH>],
    sum: Dual<WIDTH>,
}

impl<'a, const WIDTH: usize> LogDensity<'a, WIDTH> {
    #[inline(always)]
    pub(super) fn new(z: &'a [f64], first: usize, space: &'a mut [Dual<WIDTH>]) -> Self {
        Self {
            z,
            first,
            used: 0,
            space,
            sum: Dual::from(0.0),
        }
    }

    /// The log density, once the model has run.
    #[inline(always)]
    pub(super) fn sum(self) -> Result<Dual<WIDTH>, EvalError> {
        if self.used == self.z.len() {
            Ok(self.sum)
        } else {
            Err(EvalError::Fatal(changed()))
        }
    }

    #[inline(always)]
    fn next(&mut self) -> Result<Dual<WIDTH>, EvalError> {
        let Some(&z) = self.z.get(self.used) else {
            return Err(EvalError::Fatal(changed()));
        };
        let z = Dual::variable(z, self.used.wrapping_sub(self.first));
        self.used += 1;
        Ok(z)
    }

    fn constrain(&mut self, support: VectorSupport) -> Result<&'a mut [Dual<WIDTH>], EvalError> {
        let z = self.space(support.dim())?;
        for z in z.iter_mut() {
            *z = self.next()?;
        }
        let x = self.space(support.len())?;
        let ln_jacobian = support.constrain(z, x);
        self.sum += ln_jacobian;
        Ok(x)
    }
}

impl<'a, const WIDTH: usize> Interpreter<WIDTH> for LogDensity<'a, WIDTH> {
    type Vector = &'a mut [Dual<WIDTH>];

    #[inline(always)]
    fn number<D: Univariate>(&mut self, _: Place<'_>, distribution: &D) -> Result<Dual<WIDTH>, EvalError>
    where
        Dual<WIDTH>: From<D::Number>,
    {
        let z = self.next()?;
        let (x, ln_jacobian) = distribution.support().cast::<Dual<WIDTH>>().constrain(z);
        self.sum += distribution.ln_density(x) + ln_jacobian;
        Ok(x)
    }

    #[inline(always)]
    fn vector<D: Multivariate>(
        &mut self,
        _: &'static str,
        distribution: &D,
    ) -> Result<Self::Vector, EvalError>
    where
        Dual<WIDTH>: From<D::Number>,
    {
        let x = self.constrain(distribution.support())?;
        self.sum += distribution.ln_density(&*x);
        Ok(x)
    }

    #[inline(always)]
    fn constrained<D: Univariate>(
        &mut self,
        _: &'static str,
        support: VectorSupport,
        distribution: &D,
    ) -> Result<Self::Vector, EvalError>
    where
        Dual<WIDTH>: From<D::Number>,
    {
        let x = self.constrain(support)?;
        for &x in x.iter() {
            self.sum += distribution.ln_density(x);
        }
        Ok(x)
    }

    #[inline(always)]
    fn space(&mut self, len: usize) -> Result<Self::Vector, EvalError> {
        match std::mem::take(&mut self.space).split_at_mut_checked(len) {
            Some((vector, rest)) => {
                self.space = rest;
                Ok(vector)
            }
            None => Err(EvalError::Fatal(changed())),
        }
    }

    #[inline(always)]
    fn observe<D: Univariate>(&mut self, _: Place<'_>, distribution: &D, y: f64) -> Result<(), EvalError>
    where
        Dual<WIDTH>: From<D::Number>,
    {
        self.sum += Dual::from(distribution.ln_density_at(y));
        Ok(())
    }

    #[inline(always)]
    fn observe_vector<D: Multivariate>(
        &mut self,
        place: Place<'_>,
        distribution: &D,
        y: &[f64],
    ) -> Result<(), EvalError>
    where
        Dual<WIDTH>: From<D::Number>,
    {
        if y.len() != distribution.len() {
            return Err(EvalError::Recoverable(other_length(
                place,
                y.len(),
                distribution.len(),
            )));
        }
        let observed = self.space(y.len())?;
        for (observed, &y) in observed.iter_mut().zip(y) {
            *observed = constant(y);
        }
        self.sum += distribution.ln_density(&*observed);
        Ok(())
    }

    #[inline(always)]
    fn add(&mut self, term: Dual<WIDTH>) {
        self.sum += term;
    }

    #[inline(always)]
    fn keep(&mut self, _: Place<'_>, _: f64) {}
}
