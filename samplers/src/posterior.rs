//! Compose a prior and a likelihood into a density on the real line.

use rand::Rng;

use crate::density::{Density, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::likelihood::{DifferentiableLikelihood, Likelihood, Points};
use crate::prior::Prior;

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
    /// The number of z.
    dim: usize,
}

/// Where on the real line a draw on the edge of its support is put.
const FARTHEST: f64 = 30.0;

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
        Ok(Self {
            dim: prior.real_dim(),
            prior,
            likelihood,
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
        let mut z = vec![0.0; self.dim];
        let (mut xs, mut zs) = (x, &mut z[..]);
        for factor in self.prior.factors() {
            let (x, z);
            (x, xs) = xs.split_at(factor.len());
            (z, zs) = zs.split_at_mut(factor.dim());
            factor.unconstrain(x, z);
        }
        z
    }

    /// Writes x at `z` to `x`, and gives ln |dx/dz|.
    fn constrain(&self, z: &[f64], x: &mut [f64]) -> f64 {
        let (mut ln_jacobian, mut zs, mut xs) = (0.0, z, x);
        for factor in self.prior.factors() {
            let (z, x);
            (z, zs) = zs.split_at(factor.dim());
            (x, xs) = xs.split_at_mut(factor.len());
            ln_jacobian += factor.constrain(z, x);
        }
        ln_jacobian
    }

    fn check_length(&self, x: &[f64]) -> Result<(), EvalError> {
        self.check(x.len(), self.prior.dim(), "numbers")
    }

    fn check_real(&self, z: &[f64]) -> Result<(), EvalError> {
        self.check(z.len(), self.dim, "numbers on the real line")
    }

    fn check(&self, given: usize, wanted: usize, what: &str) -> Result<(), EvalError> {
        if given == wanted {
            return Ok(());
        }
        let names = self.prior.names().join(", ");
        Err(EvalError::Fatal(format!(
            "{given} {what} given for the parameters {names}"
        )))
    }

    /// The points must have as many numbers as there are z, `out` must hold `width` for each.
    fn check_batch(&self, points: Points<'_>, out: &[f64], width: usize) -> Result<(), EvalError> {
        self.check(points.dim(), self.dim, "numbers for each point")?;
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
        let mut xs = vec![0.0; zs.len() * self.prior.dim()];
        let points = zs.iter().zip(xs.chunks_exact_mut(self.prior.dim()));
        let ln_jacobians: Vec<f64> = points.map(|(z, x)| self.constrain(z, x)).collect();
        let xs = Points::new(&xs, self.prior.dim())?;
        self.likelihood.log_likelihood_batch(xs, log_likelihoods)?;
        let parts = log_likelihoods.iter_mut().zip(log_priors);
        for ((x, ln_jacobian), (log_likelihood, log_prior)) in xs.iter().zip(ln_jacobians).zip(parts) {
            *log_likelihood = self.checked("likelihood", x, *log_likelihood)?;
            *log_prior = self.checked_prior(x)? + ln_jacobian;
        }
        Ok(())
    }
}

impl<L: DifferentiableLikelihood> Posterior<L> {
    /// The log likelihood with `terms` added, and the gradient of that in z.
    pub(crate) fn objective(&self, terms: Terms, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        self.check_real(z)?;
        self.check_real(gradient)?;
        let len = self.prior.dim();
        with_room(2 * len, |room| {
            let (x, in_x) = room.split_at_mut(len);
            self.constrain(z, x);
            let log_likelihood = self.likelihood.value_and_gradient(x, in_x)?;
            self.pull_back(terms, z, x, log_likelihood, in_x, gradient)
        })
    }

    /// Turns a log likelihood and its gradient in x into those of the objective in z.
    fn pull_back(
        &self,
        terms: Terms,
        z: &[f64],
        x: &[f64],
        log_likelihood: f64,
        in_x: &[f64],
        gradient: &mut [f64],
    ) -> Result<f64, EvalError> {
        let mut value = self.checked("likelihood", x, log_likelihood)?;
        if value == f64::NEG_INFINITY {
            gradient.fill(0.0);
            return Ok(value);
        }
        let (mut from_z, mut from_x) = (0, 0);
        let mut failed = None;
        for factor in self.prior.factors() {
            let (zs, xs) = (from_z..from_z + factor.dim(), from_x..from_x + factor.len());
            let in_z = &mut gradient[zs.clone()];
            value += factor.pull_back(terms, &z[zs.clone()], &in_x[xs.clone()], in_z);
            if failed.is_none() && !in_z.iter().all(|derivative| derivative.is_finite()) {
                failed = Some(xs.start);
            }
            (from_z, from_x) = (zs.end, xs.end);
        }
        let value = self.checked("density", x, value)?;
        if value == f64::NEG_INFINITY {
            gradient.fill(0.0);
        } else if let Some(index) = failed {
            return Err(EvalError::Recoverable(format!(
                "the derivative of the log density in {} is not finite at {}",
                self.prior.names()[index],
                self.prior.describe(x)
            )));
        }
        Ok(value)
    }
}

/// Lends room for `len` numbers, on the stack where there are few: a cheap likelihood takes less time than
/// an allocation.
fn with_room<T>(len: usize, f: impl FnOnce(&mut [f64]) -> T) -> T {
    let mut few = [0.0; 32];
    match few.get_mut(..len) {
        Some(room) => f(room),
        None => f(&mut vec![0.0; len]),
    }
}

impl<L: Likelihood> Density for Posterior<L> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn names(&self) -> &[String] {
        self.prior.names()
    }

    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        self.check_real(z)?;
        with_room(self.prior.dim(), |x| {
            let ln_jacobian = self.constrain(z, x);
            Ok(self.log_density_physical(x)? + ln_jacobian)
        })
    }

    fn log_density_batch(&self, zs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        let mut log_priors = vec![0.0; out.len()];
        self.parts_batch(zs, out, &mut log_priors)?;
        out.iter_mut()
            .zip(log_priors)
            .for_each(|(value, log_prior)| *value += log_prior);
        Ok(())
    }

    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        assert!(
            z.len() == self.dim && x.len() == self.prior.dim(),
            "one number for each parameter"
        );
        self.constrain(z, x);
    }

    fn ln_jacobian(&self, z: &[f64]) -> f64 {
        assert_eq!(z.len(), self.dim, "one number for each parameter");
        with_room(self.prior.dim(), |x| self.constrain(z, x))
    }

    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        // A draw may round to the edge of the support, which is at infinity. What is finite stays, however far
        // off: of a heavy tail such draws are part of the prior.
        let inside = |z: f64| match z {
            z if z.is_finite() => z,
            z if z.is_nan() => 0.0,
            edge => FARTHEST.copysign(edge),
        };
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
        self.check_batch(zs, values, 1)?;
        self.check_batch(zs, gradients, self.dim)?;
        let len = self.prior.dim();
        let mut xs = vec![0.0; zs.len() * len];
        for (z, x) in zs.iter().zip(xs.chunks_exact_mut(len)) {
            self.constrain(z, x);
        }
        let xs = Points::new(&xs, len)?;
        let mut in_x = vec![0.0; zs.len() * len];
        self.likelihood.value_and_gradient_batch(xs, values, &mut in_x)?;
        let results = values
            .iter_mut()
            .zip(in_x.chunks_exact(len).zip(gradients.chunks_exact_mut(self.dim)));
        for ((z, x), (value, (in_x, gradient))) in zs.iter().zip(xs.iter()).zip(results) {
            *value = self.pull_back(Terms::RealLine, z, x, *value, in_x, gradient)?;
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

    /// Σ cᵢ sin xᵢ: every number of every vector has a slope of its own.
    struct Waves(usize);
    impl Likelihood for Waves {
        fn dim(&self) -> usize {
            self.0
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            self.value_and_gradient(x, &mut vec![0.0; self.0])
        }
    }
    impl DifferentiableLikelihood for Waves {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            let slopes = (1..).map(|i| 0.3 * f64::from(i));
            let terms = x.iter().zip(gradient).zip(slopes).map(|((x, gradient), slope)| {
                *gradient = slope * x.cos();
                slope * x.sin()
            });
            Ok(terms.sum())
        }
    }

    fn vectors() -> Result<Posterior<Waves>, SampleError> {
        use crate::distribution::*;
        let prior = Prior::new()
            .with("a", HalfCauchy::new(2.0)?)?
            .with_vector("w", Dirichlet::new([0.8, 2.0, 3.0])?)?
            .with_vector("L", LkjCholesky::new(3, 1.5)?)?
            .with("b", TruncatedNormal::new(1.0, 2.0, f64::NEG_INFINITY, 3.0)?)?
            .with_vector(
                "m",
                MultivariateNormal::new([100.0, -3.0], &[4.0, 1.2, 1.2, 1.0])?,
            )?
            .with_vector("o", Ordered::new(Normal::new(0.0, 1.0)?, 3)?)?
            .with("c", Beta::new(2.0, 3.0)?)?;
        let dim = prior.dim();
        Posterior::new(prior, Waves(dim))
    }

    #[test]
    fn gradients_through_vectors_meet_finite_differences() {
        let posterior = vectors().unwrap();
        let dim = posterior.dim();
        assert_eq!((dim, posterior.names().len()), (1 + 2 + 3 + 1 + 2 + 3 + 1, 17));
        let h = 1e-5;
        for shift in [0.0, 1.0, 2.0] {
            let z: Vec<f64> = (0..dim).map(|i| (2.3 * i as f64 + shift).sin()).collect();
            for terms in [Terms::Likelihood, Terms::Physical, Terms::RealLine] {
                let (mut gradient, mut scratch) = (vec![0.0; dim], vec![0.0; dim]);
                posterior.objective(terms, &z, &mut gradient).unwrap();
                for i in 0..dim {
                    let mut at = |step: f64| {
                        let mut z = z.clone();
                        z[i] += step;
                        posterior.objective(terms, &z, &mut scratch).unwrap()
                    };
                    let numerical = (at(h) - at(-h)) / (2.0 * h);
                    assert!(
                        (numerical - gradient[i]).abs() < 1e-6 * (1.0 + gradient[i].abs()),
                        "{terms:?} {i}: {} for {numerical}",
                        gradient[i]
                    );
                }
            }
        }
    }

    #[test]
    fn values_through_vectors_agree_in_all_their_forms() {
        let posterior = vectors().unwrap();
        let (dim, len) = (posterior.dim(), posterior.names().len());
        let mut rng = crate::rng::stream(5, crate::rng::Purpose::Start, 0);
        let zs: Vec<f64> = (0..3).flat_map(|_| posterior.initial(&mut rng)).collect();
        let points = Points::new(&zs, dim).unwrap();
        let (mut values, mut batch, mut gradients) = ([0.0; 3], [0.0; 3], vec![0.0; 3 * dim]);
        posterior.log_density_batch(points, &mut values).unwrap();
        posterior
            .value_and_gradient_batch(points, &mut batch, &mut gradients)
            .unwrap();
        for (i, z) in points.iter().enumerate() {
            let (mut gradient, mut x) = (vec![0.0; dim], vec![0.0; len]);
            let value = posterior.value_and_gradient(z, &mut gradient).unwrap();
            assert_eq!(gradient, gradients[dim * i..dim * (i + 1)]);
            posterior.to_physical(z, &mut x);
            let physical = posterior.log_density_physical(&x).unwrap();
            for other in [values[i], batch[i], posterior.log_density(z).unwrap()] {
                assert!((value - other).abs() < 1e-11, "{value} {other}");
            }
            assert!((value - posterior.ln_jacobian(z) - physical).abs() < 1e-11);
            for (z, back) in z.iter().zip(posterior.to_real_line(&x)) {
                assert!((z - back).abs() < 1e-9 * (1.0 + z.abs()), "{back} for {z}");
            }
        }
        // Lengths are those of z on the real line, of x in physical units.
        let fatal = |error| assert!(matches!(error, Err(EvalError::Fatal(_))));
        fatal(posterior.log_density(&vec![0.0; len]));
        fatal(posterior.value_and_gradient(&vec![0.0; dim], &mut vec![0.0; len]));
        fatal(posterior.log_likelihood(&vec![0.0; dim]));
        fatal(posterior.log_density_physical(&vec![0.0; dim]));
    }

    #[test]
    fn fractions_and_correlations_can_be_sampled_and_not_gridded() {
        use crate::distribution::{Dirichlet, LkjCholesky};
        use crate::{Grid, Hmc, Map, MetropolisHastings, RunOptions, Sampler};
        let prior = Prior::new()
            .with_vector("w", Dirichlet::new([2.0, 3.0, 5.0]).unwrap())
            .unwrap();
        let prior = prior.with_vector("L", LkjCholesky::new(2, 2.0).unwrap()).unwrap();
        struct Flat;
        impl Likelihood for Flat {
            fn dim(&self) -> usize {
                6
            }
            fn log_likelihood(&self, _x: &[f64]) -> Result<f64, EvalError> {
                Ok(0.0)
            }
        }
        impl DifferentiableLikelihood for Flat {
            fn value_and_gradient(&self, _x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
                gradient.fill(0.0);
                Ok(0.0)
            }
        }
        let posterior = Posterior::new(prior, Flat).unwrap();
        let options = RunOptions {
            warmup: 500,
            draws: 1500,
            ..RunOptions::default()
        };
        for run in [
            Hmc::default().sample(&posterior, &options).unwrap(),
            MetropolisHastings::default()
                .sample(&posterior, &options)
                .unwrap(),
        ] {
            // Means a / Σ a, and of the correlation 0.
            for (index, expected) in [(0, 0.2), (1, 0.3), (2, 0.5), (4, 0.0)] {
                let chains: Vec<Vec<f64>> = run
                    .chains
                    .iter()
                    .map(|c| c.draws.chunks_exact(6).map(|x| x[index]).collect())
                    .collect();
                let all = chains.concat();
                let mean = all.iter().sum::<f64>() / all.len() as f64;
                let error = crate::diagnostics::mcse_mean(&chains).unwrap();
                assert!(
                    (mean - expected).abs() < 5.0 * error,
                    "{}: {mean} for {expected}",
                    run.method
                );
            }
        }
        // The mode of a Dirichlet density: (a − 1) / (Σ a − n).
        let run = Map::default().sample(&posterior, &options).unwrap();
        let estimate = run.estimate.as_ref().unwrap();
        for (x, expected) in estimate
            .x
            .iter()
            .zip([1.0 / 7.0, 2.0 / 7.0, 4.0 / 7.0, 1.0, 0.0, 1.0])
        {
            assert!((x - expected).abs() < 1e-3, "{:?}", estimate.x);
        }
        let error = Grid::new(5).sample(&posterior, &options).unwrap_err();
        assert!(
            matches!(&error, SampleError::Invalid(message) if message.contains("vectors")),
            "{error}"
        );
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
