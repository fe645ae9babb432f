//! Give samplers an unnormalised log density on the real line, with or without its gradient.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::Rng;

use crate::error::EvalError;
use crate::likelihood::{Likelihood, Points};
use crate::posterior::Posterior;
use crate::run::Evaluations;

/// An unnormalised log density over z on the real line, and the way from z to named parameters x in
/// physical units. [`Posterior`] is one; a target of another kind can be too.
pub trait Density: Send + Sync {
    /// The number of unknowns: numbers of z.
    fn dim(&self) -> usize;

    /// The names of what a draw holds in physical units: parameters, then quantities kept with them. There
    /// may be more or fewer of them than unknowns.
    fn names(&self) -> &[String];

    /// The names of the parameters alone, without the quantities kept with them.
    fn parameters(&self) -> &[String] {
        self.names()
    }

    /// The log density in z (the Jacobian of the way to x included); `-inf` outside the support. Samplers
    /// take NaN and +inf for a failed evaluation, as they do `Recoverable`.
    ///
    /// # Errors
    /// `Recoverable` where this point cannot be evaluated, `Fatal` where none can.
    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError>;

    /// Many points at once, into `out` (one number each). The default loops.
    ///
    /// # Errors
    /// As for one point; the first error ends the batch.
    fn log_density_batch(&self, zs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        for (z, o) in zs.iter().zip(out) {
            *o = self.log_density(z)?;
        }
        Ok(())
    }

    /// Writes to `x` what a draw holds in physical units at `z`: one number for each of `names()`.
    fn to_physical(&self, z: &[f64], x: &mut [f64]);

    /// ln |dx/dz|: the log density in z less this is the log density in x.
    fn ln_jacobian(&self, z: &[f64]) -> f64;

    /// A starting point: a draw of z from the prior.
    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64>;
}

/// A density that knows its gradient.
pub trait DifferentiableDensity: Density {
    /// The log density and its gradient in z, written to `gradient` (`dim()` numbers).
    ///
    /// # Errors
    /// As for `log_density`.
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError>;

    /// Many points at once: one value each, `dim()` derivatives each. The default loops.
    ///
    /// # Errors
    /// As for one point; the first error ends the batch.
    fn value_and_gradient_batch(
        &self,
        zs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        let points = zs.iter().zip(values).zip(gradients.chunks_exact_mut(zs.dim()));
        for ((z, value), gradient) in points {
            *value = self.value_and_gradient(z, gradient)?;
        }
        Ok(())
    }
}

/// A density that counts what is asked of it, and lets nothing through that is no log density.
pub(crate) struct Counted<'a, T: ?Sized> {
    target: &'a T,
    values: AtomicU64,
    gradients: AtomicU64,
}

impl<'a, T: ?Sized> Counted<'a, T> {
    pub(crate) fn new(target: &'a T) -> Self {
        Self {
            target,
            values: AtomicU64::new(0),
            gradients: AtomicU64::new(0),
        }
    }

    /// Goes on counting.
    pub(crate) fn resumed(target: &'a T, spent: Evaluations) -> Self {
        Self {
            target,
            values: AtomicU64::new(spent.values),
            gradients: AtomicU64::new(spent.gradients),
        }
    }

    pub(crate) fn evaluations(&self) -> Evaluations {
        Evaluations {
            values: self.values.load(Ordering::Relaxed),
            gradients: self.gradients.load(Ordering::Relaxed),
        }
    }

    /// The density itself, for those who count what they ask of it.
    pub(crate) fn target(&self) -> &'a T {
        self.target
    }

    /// Counts what was asked of the target itself.
    pub(crate) fn count(&self, spent: Evaluations) {
        self.values.fetch_add(spent.values, Ordering::Relaxed);
        self.gradients.fetch_add(spent.gradients, Ordering::Relaxed);
    }
}

impl<T: Density + ?Sized> Counted<'_, T> {
    /// A log density is a number below +inf: to compare with anything else would accept it.
    fn checked(&self, z: &[f64], value: f64) -> Result<f64, EvalError> {
        if value.is_nan() || value == f64::INFINITY {
            let at = self.describe(z);
            return Err(EvalError::Recoverable(format!(
                "the log density is {value} at {at}"
            )));
        }
        Ok(value)
    }

    /// As `checked`; where there is a density, its derivatives must be numbers too.
    fn checked_gradient(&self, z: &[f64], value: f64, gradient: &[f64]) -> Result<f64, EvalError> {
        let value = self.checked(z, value)?;
        // Without a way out early, the compiler looks at several derivatives at once.
        let finite = gradient
            .iter()
            .fold(true, |all, derivative| all & derivative.is_finite());
        if value.is_finite() && !finite {
            let at = self.describe(z);
            return Err(EvalError::Recoverable(format!(
                "the gradient of the log density is {gradient:?} at {at}"
            )));
        }
        Ok(value)
    }

    fn describe(&self, z: &[f64]) -> String {
        let mut x = vec![0.0; self.names().len()];
        self.target.to_physical(z, &mut x);
        let pairs = self
            .names()
            .iter()
            .zip(x)
            .map(|(name, x)| format!("{name} = {x}"));
        pairs.collect::<Vec<_>>().join(", ")
    }
}

impl<T: Density + ?Sized> Density for Counted<'_, T> {
    fn dim(&self) -> usize {
        self.target.dim()
    }
    fn names(&self) -> &[String] {
        self.target.names()
    }
    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        self.values.fetch_add(1, Ordering::Relaxed);
        self.checked(z, self.target.log_density(z)?)
    }
    fn log_density_batch(&self, zs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        self.values.fetch_add(zs.len() as u64, Ordering::Relaxed);
        self.target.log_density_batch(zs, out)?;
        for (z, &value) in zs.iter().zip(out.iter()) {
            self.checked(z, value)?;
        }
        Ok(())
    }
    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        self.target.to_physical(z, x);
    }
    fn ln_jacobian(&self, z: &[f64]) -> f64 {
        self.target.ln_jacobian(z)
    }
    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        self.target.initial(rng)
    }
}

impl<T: DifferentiableDensity + ?Sized> DifferentiableDensity for Counted<'_, T> {
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        self.gradients.fetch_add(1, Ordering::Relaxed);
        let value = self.target.value_and_gradient(z, gradient)?;
        self.checked_gradient(z, value, gradient)
    }
    fn value_and_gradient_batch(
        &self,
        zs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        self.gradients.fetch_add(zs.len() as u64, Ordering::Relaxed);
        self.target.value_and_gradient_batch(zs, values, gradients)?;
        let points = zs.iter().zip(values.iter()).zip(gradients.chunks_exact(zs.dim()));
        for ((z, &value), gradient) in points {
            self.checked_gradient(z, value, gradient)?;
        }
        Ok(())
    }
}

impl<T: Density + ?Sized> Counted<'_, T> {
    /// As `log_density_batch`, but a point that fails becomes NaN, which no log density is: where the batch
    /// meets a recoverable error, its points are asked for one by one.
    ///
    /// # Errors
    /// `Fatal` errors of the target.
    pub(crate) fn log_densities(&self, zs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        match self.log_density_batch(zs, out) {
            Err(EvalError::Recoverable(_)) => {}
            whole => return whole,
        }
        for (z, out) in zs.iter().zip(out) {
            *out = match self.log_density(z) {
                Err(EvalError::Recoverable(_)) => f64::NAN,
                value => value?,
            };
        }
        Ok(())
    }
}

impl<L: Likelihood> Counted<'_, Posterior<L>> {
    /// The log likelihood and the log prior in z of many points; where one fails, its log likelihood is NaN
    /// and the others keep theirs.
    ///
    /// # Errors
    /// `Fatal` errors of the likelihood.
    pub(crate) fn parts(
        &self,
        zs: Points<'_>,
        log_likelihoods: &mut [f64],
        log_priors: &mut [f64],
    ) -> Result<(), EvalError> {
        self.values.fetch_add(zs.len() as u64, Ordering::Relaxed);
        match self.target.parts_batch(zs, log_likelihoods, log_priors) {
            Err(EvalError::Recoverable(_)) => {}
            whole => return whole,
        }
        let pairs = log_likelihoods.iter_mut().zip(log_priors);
        for (z, (log_likelihood, log_prior)) in zs.iter().zip(pairs) {
            self.values.fetch_add(1, Ordering::Relaxed);
            let parts = (
                std::slice::from_mut(log_likelihood),
                std::slice::from_mut(log_prior),
            );
            let one = Points::new(z, zs.dim())?;
            match self.target.parts_batch(one, parts.0, parts.1) {
                Err(EvalError::Recoverable(_)) => *log_likelihood = f64::NAN,
                done => done?,
            }
        }
        Ok(())
    }
}
