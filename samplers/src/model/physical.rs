//! Interpret a model for its numbers in physical units: what every draw asks for, whatever the data are.

use super::{Interpreter, Place, changed, constant};
use crate::bijector::VectorSupport;
use crate::distribution::{Multivariate, Univariate};
use crate::error::EvalError;
use crate::number::Dual;

/// Writes down what a draw holds at z. Observations are passed over: what only they need, the compiler drops.
pub(super) struct Physical<'a> {
    z: &'a [f64],
    parameters: Room<'a>,
    kept: Room<'a>,
    /// What vectors are made of.
    space: &'a mut [Dual<0>],
    ln_jacobian: f64,
}

/// Room for numbers, and how many came.
struct Room<'a> {
    numbers: &'a mut [f64],
    used: usize,
}

impl Room<'_> {
    #[inline(always)]
    fn push(&mut self, number: f64) {
        if let Some(room) = self.numbers.get_mut(self.used) {
            *room = number;
        }
        self.used += 1;
    }

    fn is_full(&self) -> bool {
        self.used == self.numbers.len()
    }
}

impl<'a> Physical<'a> {
    /// With room for all unknowns in physical units and for what is kept.
    #[inline(always)]
    pub(super) fn new(
        z: &'a [f64],
        [parameters, kept]: [&'a mut [f64]; 2],
        space: &'a mut [Dual<0>],
    ) -> Self {
        let room = |numbers| Room { numbers, used: 0 };
        Self {
            z,
            parameters: room(parameters),
            kept: room(kept),
            space,
            ln_jacobian: 0.0,
        }
    }

    /// Whether the model had as many numbers as there is room for.
    pub(super) fn is_complete(&self) -> bool {
        self.z.is_empty() && self.parameters.is_full() && self.kept.is_full()
    }

    /// ln |dx/dz|.
    pub(super) fn ln_jacobian(&self) -> f64 {
        self.ln_jacobian
    }

    fn constrain(&mut self, support: VectorSupport) -> Result<&'a mut [Dual<0>], EvalError> {
        let Some((given, rest)) = self.z.split_at_checked(support.dim()) else {
            return Err(EvalError::Fatal(changed()));
        };
        self.z = rest;
        let z = self.space(support.dim())?;
        for (z, &given) in z.iter_mut().zip(given) {
            *z = constant(given);
        }
        let x = self.space(support.len())?;
        self.ln_jacobian += support.constrain(z, x).value;
        x.iter().for_each(|x| self.parameters.push(x.value));
        Ok(x)
    }
}

impl<'a> Interpreter<0> for Physical<'a> {
    type Vector = &'a mut [Dual<0>];

    #[inline(always)]
    fn number<D: Univariate>(&mut self, _: Place<'_>, distribution: &D) -> Result<Dual<0>, EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        let Some((&z, rest)) = self.z.split_first() else {
            return Err(EvalError::Fatal(changed()));
        };
        self.z = rest;
        let (x, ln_jacobian) = distribution.support().cast::<Dual<0>>().constrain(constant(z));
        self.ln_jacobian += ln_jacobian.value;
        self.parameters.push(x.value);
        Ok(x)
    }

    fn vector<D: Multivariate>(
        &mut self,
        _: &'static str,
        distribution: &D,
    ) -> Result<Self::Vector, EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        self.constrain(distribution.support())
    }

    fn constrained<D: Univariate>(
        &mut self,
        _: &'static str,
        support: VectorSupport,
        _: &D,
    ) -> Result<Self::Vector, EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        self.constrain(support)
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
    fn observe<D: Univariate>(&mut self, _: Place<'_>, _: &D, _: f64) -> Result<(), EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        Ok(())
    }

    #[inline(always)]
    fn observe_vector<D: Multivariate>(&mut self, _: Place<'_>, _: &D, _: &[f64]) -> Result<(), EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        Ok(())
    }

    #[inline(always)]
    fn add(&mut self, _: Dual<0>) {}

    #[inline(always)]
    fn keep(&mut self, _: Place<'_>, value: f64) {
        self.kept.push(value);
    }
}
