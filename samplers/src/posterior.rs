//! Compose a prior and a likelihood into a density on the real line.

use rand::Rng;

use crate::bijector::Bijector;
use crate::density::{Density, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::likelihood::{DifferentiableLikelihood, Likelihood, Points};
use crate::prior::{Distribution, Prior};

/// p(x | data) ∝ p(data | x) p(x), seen by samplers on the real line.
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Measured(f64);
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
///         Ok(-0.5 * (x[0] - self.0).powi(2))
///     }
/// }
/// let prior = Prior::new().with("mu", Uniform::new(0.0, 10.0)?)?;
/// let posterior = Posterior::new(prior, Measured(3.0))?;
/// assert_eq!(posterior.log_density_physical(&[3.0])?, -(10f64.ln()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Posterior<L> {
    prior: Prior,
    likelihood: L,
    bijectors: Vec<Box<dyn Bijector>>,
}

/// What is added to the log likelihood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// Nothing: its maximum is the most likely point.
    Likelihood,
    /// The prior: its maximum is the most probable point in physical units.
    Physical,
    /// The prior and the Jacobian: the density on the real line.
    RealLine,
}

impl<L: Likelihood> Posterior<L> {
    /// The posterior of the parameters of `prior` given what `likelihood` holds.
    ///
    /// # Errors
    /// `SampleError::Invalid` where there are no parameters, or not as many as the likelihood takes.
    pub fn new(prior: Prior, likelihood: L) -> Result<Self, SampleError> {
        if prior.dim() == 0 {
            return Err(SampleError::Invalid(
                "the prior has no parameters: add some with `with`".into(),
            ));
        }
        if prior.dim() != likelihood.dim() {
            return Err(SampleError::Invalid(format!(
                "the prior has {} parameters ({}), the likelihood takes {}",
                prior.dim(),
                prior.names().join(", "),
                likelihood.dim()
            )));
        }
        let bijectors = prior.distributions().map(Distribution::bijector).collect();
        Ok(Self {
            prior,
            likelihood,
            bijectors,
        })
    }

    /// The prior.
    pub fn prior(&self) -> &Prior {
        &self.prior
    }

    /// The likelihood.
    pub fn likelihood(&self) -> &L {
        &self.likelihood
    }

    /// ln p(x), normalised; `-inf` outside the support.
    ///
    /// # Panics
    /// Where `x` has not as many numbers as there are parameters.
    pub fn log_prior(&self, x: &[f64]) -> f64 {
        self.prior.ln_density(x)
    }

    /// ln p(data | x) at `x` in physical units.
    ///
    /// # Errors
    /// As the likelihood; `Recoverable` where it gives NaN or +inf, `Fatal` where `x` has a wrong length.
    pub fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.check_length(x)?;
        self.checked("likelihood", x, self.likelihood.log_likelihood(x)?)
    }

    /// ln p(data | x) + ln p(x) at `x` in physical units; `-inf` outside the support of the prior, where
    /// the likelihood is not asked.
    ///
    /// # Errors
    /// As `log_likelihood`; `Recoverable` also where the prior gives NaN or +inf.
    pub fn log_density_physical(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.check_length(x)?;
        let log_prior = self.checked_prior(x)?;
        if log_prior == f64::NEG_INFINITY {
            return Ok(log_prior);
        }
        Ok(log_prior + self.log_likelihood(x)?)
    }

    /// z on the real line at `x` in physical units; infinite on the edge of the support.
    ///
    /// # Panics
    /// Where `x` has not as many numbers as there are parameters.
    pub fn to_real_line(&self, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), self.prior.dim(), "one number for each parameter");
        self.bijectors
            .iter()
            .zip(x)
            .map(|(bijector, &x)| bijector.inverse(x))
            .collect()
    }

    fn physical(&self, z: &[f64]) -> Vec<f64> {
        self.bijectors
            .iter()
            .zip(z)
            .map(|(bijector, &z)| bijector.forward(z))
            .collect()
    }

    fn check_length(&self, x: &[f64]) -> Result<(), EvalError> {
        if x.len() == self.prior.dim() {
            return Ok(());
        }
        let (given, names) = (x.len(), self.prior.names().join(", "));
        Err(EvalError::Fatal(format!(
            "{given} numbers given for the parameters {names}"
        )))
    }

    /// The points must have as many numbers as there are parameters, `out` must hold `width` for each.
    fn check_batch(&self, points: Points<'_>, out: &[f64], width: usize) -> Result<(), EvalError> {
        let (dim, given) = (self.prior.dim(), points.dim());
        if given != dim {
            let names = self.prior.names().join(", ");
            return Err(EvalError::Fatal(format!(
                "points of {given} numbers given for the parameters {names}"
            )));
        }
        if out.len() != points.len() * width {
            return Err(EvalError::Fatal(format!(
                "room for {} results given, {} points have {width} each",
                out.len(),
                points.len()
            )));
        }
        Ok(())
    }

    /// A logarithm of a density, of `what`, is a number below +inf; whatever else it is, the message names
    /// the point.
    pub(crate) fn checked(&self, what: &str, x: &[f64], value: f64) -> Result<f64, EvalError> {
        if value.is_nan() || value == f64::INFINITY {
            let at = self.prior.describe(x);
            return Err(EvalError::Recoverable(format!(
                "the log {what} is {value} at {at}"
            )));
        }
        Ok(value)
    }

    /// The log prior if it is one.
    pub(crate) fn checked_prior(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.checked("prior", x, self.log_prior(x))
    }

    /// The log likelihood of many points, and their log prior in z (the Jacobian included): the two add up
    /// to the log density.
    pub(crate) fn parts_batch(
        &self,
        zs: Points<'_>,
        log_likelihoods: &mut [f64],
        log_priors: &mut [f64],
    ) -> Result<(), EvalError> {
        self.check_batch(zs, log_likelihoods, 1)?;
        self.check_batch(zs, log_priors, 1)?;
        let xs: Vec<f64> = zs.iter().flat_map(|z| self.physical(z)).collect();
        let xs = Points::new(&xs, self.prior.dim())?;
        self.likelihood.log_likelihood_batch(xs, log_likelihoods)?;
        let parts = log_likelihoods.iter_mut().zip(log_priors);
        for ((z, x), (log_likelihood, log_prior)) in zs.iter().zip(xs.iter()).zip(parts) {
            *log_likelihood = self.checked("likelihood", x, *log_likelihood)?;
            *log_prior = self.checked_prior(x)? + self.ln_jacobian(z);
        }
        Ok(())
    }
}

impl<L: DifferentiableLikelihood> Posterior<L> {
    /// The log likelihood with `terms` added, and the gradient of that in z.
    pub(crate) fn objective(&self, terms: Terms, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        self.check_length(z)?;
        let x = self.physical(z);
        let log_likelihood = self.likelihood.value_and_gradient(&x, gradient)?;
        self.pull_back(terms, z, &x, log_likelihood, gradient)
    }

    /// Turns a log likelihood and its gradient in x into those of the objective in z.
    fn pull_back(
        &self,
        terms: Terms,
        z: &[f64],
        x: &[f64],
        log_likelihood: f64,
        gradient: &mut [f64],
    ) -> Result<f64, EvalError> {
        let mut value = self.checked("likelihood", x, log_likelihood)?;
        if value == f64::NEG_INFINITY {
            gradient.fill(0.0);
            return Ok(value);
        }
        let parameters = self
            .bijectors
            .iter()
            .zip(self.prior.distributions())
            .zip(z.iter().zip(x));
        for (((bijector, distribution), (&z, &x)), gradient) in parameters.zip(gradient.iter_mut()) {
            if terms != Terms::Likelihood {
                value += distribution.ln_density(x);
                *gradient += distribution.ln_density_derivative(x);
            }
            *gradient *= bijector.derivative(z);
            if terms == Terms::RealLine {
                value += bijector.ln_jacobian(z);
                *gradient += bijector.ln_jacobian_derivative(z);
            }
        }
        let value = self.checked("density", x, value)?;
        if let Some(i) = gradient.iter().position(|gradient| !gradient.is_finite()) {
            return Err(EvalError::Recoverable(format!(
                "the derivative of the log likelihood in {} is not finite at {}",
                self.prior.names()[i],
                self.prior.describe(x)
            )));
        }
        Ok(value)
    }
}

impl<L: Likelihood> Density for Posterior<L> {
    fn dim(&self) -> usize {
        self.prior.dim()
    }

    fn names(&self) -> &[String] {
        self.prior.names()
    }

    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        self.check_length(z)?;
        Ok(self.log_density_physical(&self.physical(z))? + self.ln_jacobian(z))
    }

    fn log_density_batch(&self, zs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        self.check_batch(zs, out, 1)?;
        let xs: Vec<f64> = zs.iter().flat_map(|z| self.physical(z)).collect();
        let xs = Points::new(&xs, self.dim())?;
        self.likelihood.log_likelihood_batch(xs, out)?;
        for ((z, x), value) in zs.iter().zip(xs.iter()).zip(out) {
            *value = self.checked("likelihood", x, *value)? + self.checked_prior(x)? + self.ln_jacobian(z);
        }
        Ok(())
    }

    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        for ((bijector, &z), x) in self.bijectors.iter().zip(z).zip(x) {
            *x = bijector.forward(z);
        }
    }

    fn ln_jacobian(&self, z: &[f64]) -> f64 {
        self.bijectors
            .iter()
            .zip(z)
            .map(|(bijector, &z)| bijector.ln_jacobian(z))
            .sum()
    }

    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        // A draw may round to the edge of the support, which is at infinity.
        let inside = |z: f64| if z.is_nan() { 0.0 } else { z.clamp(-30.0, 30.0) };
        self.to_real_line(&self.prior.sample(rng))
            .into_iter()
            .map(inside)
            .collect()
    }
}

impl<L: DifferentiableLikelihood> DifferentiableDensity for Posterior<L> {
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        self.objective(Terms::RealLine, z, gradient)
    }

    fn value_and_gradient_batch(
        &self,
        zs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        let dim = self.dim();
        self.check_batch(zs, values, 1)?;
        self.check_batch(zs, gradients, dim)?;
        let xs: Vec<f64> = zs.iter().flat_map(|z| self.physical(z)).collect();
        let xs = Points::new(&xs, dim)?;
        self.likelihood.value_and_gradient_batch(xs, values, gradients)?;
        let points = zs
            .iter()
            .zip(xs.iter())
            .zip(values.iter_mut().zip(gradients.chunks_exact_mut(dim)));
        for ((z, x), (value, gradient)) in points {
            *value = self.pull_back(Terms::RealLine, z, x, *value, gradient)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prior::{LogUniform, Normal, Uniform};

    /// ln p = −½ (a − b)² + ln c − c: every parameter has a gradient of its own.
    #[derive(Debug)]
    struct Toy;
    impl Likelihood for Toy {
        fn dim(&self) -> usize {
            3
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-0.5 * (x[0] - x[1]).powi(2) + x[2].ln() - x[2])
        }
    }
    impl DifferentiableLikelihood for Toy {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            gradient.copy_from_slice(&[x[1] - x[0], x[0] - x[1], 1.0 / x[2] - 1.0]);
            self.log_likelihood(x)
        }
    }

    fn toy() -> Result<Posterior<Toy>, SampleError> {
        let prior = Prior::new()
            .with("a", Normal::new(1.0, 2.0)?)?
            .with("b", Uniform::new(-1.0, 3.0)?)?
            .with("c", LogUniform::new(0.1, 10.0)?)?;
        Posterior::new(prior, Toy)
    }

    #[test]
    fn gradients_meet_finite_differences() {
        let posterior = toy().unwrap();
        let h = 1e-6;
        for z in [[0.0, 0.0, 0.0], [0.5, -2.0, 1.5], [-1.5, 3.0, -2.5]] {
            for terms in [Terms::Likelihood, Terms::Physical, Terms::RealLine] {
                let mut gradient = [0.0; 3];
                let mut scratch = [0.0; 3];
                posterior.objective(terms, &z, &mut gradient).unwrap();
                for i in 0..3 {
                    let mut at = |step: f64| {
                        let mut z = z;
                        z[i] += step;
                        posterior.objective(terms, &z, &mut scratch).unwrap()
                    };
                    let numerical = (at(h) - at(-h)) / (2.0 * h);
                    assert!(
                        (numerical - gradient[i]).abs() < 1e-7 * (1.0 + gradient[i].abs()),
                        "{terms:?} {i}"
                    );
                }
            }
        }
    }

    #[test]
    fn values_agree_in_all_their_forms() {
        let posterior = toy().unwrap();
        let zs = [0.0, 0.0, 0.0, 0.5, -2.0, 1.5];
        let points = Points::new(&zs, 3).unwrap();
        let (mut values, mut batch, mut gradients) = ([0.0; 2], [0.0; 2], [0.0; 6]);
        posterior.log_density_batch(points, &mut values).unwrap();
        posterior
            .value_and_gradient_batch(points, &mut batch, &mut gradients)
            .unwrap();
        for (i, z) in points.iter().enumerate() {
            let mut gradient = [0.0; 3];
            let value = posterior.value_and_gradient(z, &mut gradient).unwrap();
            assert_eq!(gradient, gradients[3 * i..3 * i + 3]);
            let mut x = [0.0; 3];
            posterior.to_physical(z, &mut x);
            let physical = posterior.log_density_physical(&x).unwrap();
            for other in [values[i], batch[i], posterior.log_density(z).unwrap()] {
                assert!((value - other).abs() < 1e-12);
            }
            assert!((value - posterior.ln_jacobian(z) - physical).abs() < 1e-12);
            let parts = posterior.log_prior(&x) + posterior.log_likelihood(&x).unwrap();
            assert!((parts - physical).abs() < 1e-12);
            let (mut log_likelihood, mut log_prior) = ([0.0], [0.0]);
            let point = Points::new(z, 3).unwrap();
            posterior
                .parts_batch(point, &mut log_likelihood, &mut log_prior)
                .unwrap();
            assert_eq!(log_likelihood[0], posterior.log_likelihood(&x).unwrap());
            assert!((log_likelihood[0] + log_prior[0] - value).abs() < 1e-12);
        }
    }

    #[test]
    fn batches_of_another_shape_are_refused() {
        let posterior = toy().unwrap();
        let zs = [0.0; 6];
        for (dim, values, gradients) in [(2, 3, 6), (1, 6, 6), (3, 1, 6), (3, 3, 6), (3, 2, 5)] {
            let points = Points::new(&zs, dim).unwrap();
            let (mut values, mut gradients) = (vec![0.0; values], vec![0.0; gradients]);
            if dim != 3 || values.len() != 2 {
                let error = posterior.log_density_batch(points, &mut values);
                assert!(matches!(error, Err(EvalError::Fatal(_))), "{dim} {error:?}");
            }
            let error = posterior.value_and_gradient_batch(points, &mut values, &mut gradients);
            assert!(matches!(error, Err(EvalError::Fatal(_))), "{dim} {error:?}");
        }
    }

    #[test]
    #[should_panic(expected = "one number for each parameter")]
    fn the_prior_of_half_a_point_is_not_asked_for() {
        toy().unwrap().log_prior(&[1.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "one number for each parameter")]
    fn half_a_point_has_no_place_on_the_real_line() {
        toy().unwrap().to_real_line(&[1.0, 1.0]);
    }

    #[test]
    fn the_density_on_the_real_line_is_normalised() {
        // A constant likelihood leaves the prior, whose integral over z is one: a wrong Jacobian is not.
        struct Flat;
        impl Likelihood for Flat {
            fn dim(&self) -> usize {
                1
            }
            fn log_likelihood(&self, _x: &[f64]) -> Result<f64, EvalError> {
                Ok(0.0)
            }
        }
        let priors = [
            Prior::new().with("a", Uniform::new(0.1, 0.5).unwrap()).unwrap(),
            Prior::new()
                .with("a", LogUniform::new(1e-3, 10.0).unwrap())
                .unwrap(),
            Prior::new().with("a", Normal::new(5.0, 0.1).unwrap()).unwrap(),
        ];
        for prior in priors {
            let posterior = Posterior::new(prior, Flat).unwrap();
            let h = 0.01;
            let density = |i: i32| posterior.log_density(&[h * f64::from(i)]).unwrap().exp();
            let mass: f64 = (-5000..=5000).map(density).sum::<f64>() * h;
            assert!((mass - 1.0).abs() < 1e-10, "{:?}: {mass}", posterior.prior());
        }
    }

    #[test]
    fn errors_name_the_point() {
        struct Broken;
        impl Likelihood for Broken {
            fn dim(&self) -> usize {
                3
            }
            fn log_likelihood(&self, _x: &[f64]) -> Result<f64, EvalError> {
                Ok(f64::NAN)
            }
        }
        let posterior = Posterior::new(toy().unwrap().prior().clone(), Broken).unwrap();
        let error = posterior.log_density(&[0.0; 3]).unwrap_err();
        assert_eq!(
            error,
            EvalError::Recoverable("the log likelihood is NaN at a = 1, b = 1, c = 1".into())
        );
        assert_eq!(
            posterior.log_density_physical(&[0.0, 9.0, 1.0]),
            Ok(f64::NEG_INFINITY)
        );
        assert!(matches!(posterior.log_density(&[0.0]), Err(EvalError::Fatal(_))));
        assert!(Posterior::new(Prior::new(), Toy).is_err());
        let short = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
        let error = Posterior::new(short, Toy).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the prior has 1 parameters (a), the likelihood takes 3"
        );
    }
}
