//! Name parameters and say what is known of them beforehand: [`Prior`] is a product of
//! [distributions](crate::distribution).

mod empirical_box;
mod factor;

use std::sync::Arc;

use rand::Rng;

use crate::distribution::{Multivariate, Univariate};
use crate::error::SampleError;
use crate::rng::{Purpose, stream};
pub(crate) use factor::Factor;
use factor::{Scalar, Vector};

pub use crate::distribution::{LogUniform, Normal, Uniform};

/// Independent named parameters, or vectors of them, in order.
///
/// ```
/// use armilla_samplers::Prior;
/// use armilla_samplers::distribution::{Dirichlet, LogUniform, Uniform};
/// let prior = Prior::new()
///     .with("Omega_m", Uniform::new(0.1, 0.5)?)?
///     .with("A_SN1", LogUniform::new(0.25, 4.0)?)?
///     .with_vector("w", Dirichlet::new([1.0, 1.0, 1.0])?)?;
/// assert_eq!(prior.names(), ["Omega_m", "A_SN1", "w[0]", "w[1]", "w[2]"]);
/// assert!(prior.contains(&[0.3, 1.0, 0.2, 0.3, 0.5]));
/// # Ok::<(), armilla_samplers::SampleError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Prior {
    names: Vec<String>,
    factors: Vec<Arc<dyn Factor>>,
}

impl Prior {
    /// A prior without parameters, to be extended by `with`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the name is empty or taken, or the distribution cannot be drawn from
    /// because it is improper, or is one of whole numbers.
    pub fn with(
        mut self,
        name: impl Into<String>,
        distribution: impl Univariate<Number = f64> + 'static,
    ) -> Result<Self, SampleError> {
        let name = name.into();
        if distribution.quantile(0.5).is_nan() {
            return Err(SampleError::Invalid(format!(
                "{name} ~ {distribution:?}: a prior needs a normalised density of a real number"
            )));
        }
        self.name(name)?;
        self.factors.push(Arc::new(Scalar::new(distribution)));
        Ok(self)
    }

    /// Adds several parameters that belong together, named `name[0]`, `name[1]`, ….
    ///
    /// # Errors
    /// `SampleError::Invalid` where the name is empty or taken, or the distribution cannot be drawn from because
    /// it is improper.
    pub fn with_vector(
        mut self,
        name: impl Into<String>,
        distribution: impl Multivariate<Number = f64> + 'static,
    ) -> Result<Self, SampleError> {
        let name = name.into();
        check_name(&name, self.dim())?;
        for i in 0..distribution.len() {
            self.name(format!("{name}[{i}]"))?;
        }
        let mut draw = vec![0.0; distribution.len()];
        distribution.sample(&mut stream(0, Purpose::Start, u64::MAX), &mut draw);
        if draw.iter().any(|x| x.is_nan()) {
            return Err(SampleError::Invalid(format!(
                "{name} ~ {distribution:?}: a prior needs a normalised density of real numbers"
            )));
        }
        self.factors.push(Arc::new(Vector::new(distribution)));
        Ok(self)
    }

    /// Adds the parameters of another prior.
    ///
    /// # Errors
    /// `SampleError::Invalid` where they share a name.
    pub fn and(mut self, other: Self) -> Result<Self, SampleError> {
        for name in other.names {
            self.name(name)?;
        }
        self.factors.extend(other.factors);
        Ok(self)
    }

    fn name(&mut self, name: String) -> Result<(), SampleError> {
        check_name(&name, self.dim())?;
        if self.names.contains(&name) {
            return Err(SampleError::Invalid(format!(
                "there are two parameters named {name}: rename one"
            )));
        }
        self.names.push(name);
        Ok(())
    }

    /// The number of parameters: of numbers x in physical units.
    pub fn dim(&self) -> usize {
        self.names.len()
    }

    /// The number of free numbers z on the real line: fewer than `dim()` where numbers of a vector
    /// determine others.
    pub fn real_dim(&self) -> usize {
        self.factors.iter().map(|factor| factor.dim()).sum()
    }

    /// The names of the parameters.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The distributions in order.
    pub(crate) fn factors(&self) -> impl Iterator<Item = &dyn Factor> {
        self.factors.iter().map(|factor| &**factor)
    }

    /// What `f` tells of each distribution, once for each of its parameters.
    fn each<T: Clone>(&self, f: impl Fn(&dyn Factor) -> T) -> Vec<T> {
        self.factors()
            .flat_map(|factor| std::iter::repeat_n(f(factor), factor.len()))
            .collect()
    }

    /// A draw of all parameters, in physical units.
    pub fn sample(&self, rng: &mut dyn Rng) -> Vec<f64> {
        let mut x = vec![0.0; self.dim()];
        let mut rest = &mut x[..];
        for factor in self.factors() {
            let (numbers, after) = rest.split_at_mut(factor.len());
            factor.sample(rng, numbers);
            rest = after;
        }
        x
    }

    /// ln p(x), normalised; `-inf` outside the support.
    ///
    /// # Panics
    /// Where `x` has not as many numbers as there are parameters.
    pub fn ln_density(&self, x: &[f64]) -> f64 {
        assert_eq!(x.len(), self.dim(), "one number for each parameter");
        let (mut ln_density, mut rest) = (0.0, x);
        for factor in self.factors() {
            let (numbers, after) = rest.split_at(factor.len());
            ln_density += factor.ln_density(numbers);
            rest = after;
        }
        ln_density
    }

    /// Whether `x` has as many numbers as there are parameters and lies in the support.
    pub fn contains(&self, x: &[f64]) -> bool {
        x.len() == self.dim() && self.ln_density(x) > f64::NEG_INFINITY
    }

    /// The least and the greatest value of each parameter; infinite where there is no bound.
    pub fn support(&self) -> Vec<(f64, f64)> {
        self.each(|factor| factor.bounds())
    }

    /// The value of each parameter below which lies the fraction `p` of its mass; NaN for the numbers of a
    /// vector.
    pub fn quantiles(&self, p: f64) -> Vec<f64> {
        self.each(|factor| factor.quantile(p))
    }

    /// Whether a grid should step evenly in ln x rather than in x, for each parameter.
    pub fn is_logarithmic(&self) -> Vec<bool> {
        self.each(|factor| factor.is_logarithmic())
    }

    /// A finite box: the support where it is bounded, else the quantiles `tail` and 1 − `tail`.
    pub fn bounds(&self, tail: f64) -> Vec<(f64, f64)> {
        let or = |bound: f64, quantile: f64| if bound.is_finite() { bound } else { quantile };
        let quantiles = self.quantiles(tail).into_iter().zip(self.quantiles(1.0 - tail));
        let parameters = self.support().into_iter().zip(quantiles);
        parameters
            .map(|((low, high), (from, to))| (or(low, from), or(high, to)))
            .collect()
    }

    /// `Omega_m = 0.3, sigma_8 = 0.8`, for messages.
    pub(crate) fn describe(&self, x: &[f64]) -> String {
        let pairs = self.names.iter().zip(x).map(|(name, x)| format!("{name} = {x}"));
        pairs.collect::<Vec<_>>().join(", ")
    }
}

fn check_name(name: &str, index: usize) -> Result<(), SampleError> {
    if name.trim().is_empty() {
        return Err(SampleError::Invalid(format!(
            "parameter {index} has an empty name"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::{Dirichlet, Flat, HalfCauchy, LkjCholesky, Poisson, StudentT};
    use crate::likelihood::Points;
    use crate::rng::{Purpose, stream};

    #[test]
    fn outside_the_support_there_is_nothing() -> Result<(), SampleError> {
        let prior = Prior::new()
            .with("a", Uniform::new(0.0, 1.0)?)?
            .with("b", LogUniform::new(1.0, 2.0)?)?;
        for x in [[-0.1, 1.5], [1.1, 1.5], [0.5, 0.9], [0.5, 2.1], [f64::NAN, 1.5]] {
            assert!(!prior.contains(&x), "{x:?}");
        }
        assert!(prior.contains(&[0.5, 1.5]) && !prior.contains(&[0.5]));
        assert_eq!(prior.bounds(0.01), [(0.0, 1.0), (1.0, 2.0)]);
        assert_eq!(prior.is_logarithmic(), [false, true]);
        let (low, high) = Prior::new()
            .with("c", Normal::new(0.0, 2.0)?)?
            .bounds(0.158_655_253_931_457)[0];
        assert!((low + 2.0).abs() < 1e-9 && (high - 2.0).abs() < 1e-9);
        Ok(())
    }

    #[test]
    fn vectors_have_names_densities_and_draws() -> Result<(), SampleError> {
        let one = Prior::new().with("a", HalfCauchy::new(1.0)?)?;
        let two = Prior::new().with_vector("w", Dirichlet::new([2.0, 3.0, 4.0])?)?;
        let prior = one.and(two)?.with_vector("L", LkjCholesky::new(2, 1.0)?)?;
        assert_eq!(
            prior.names(),
            ["a", "w[0]", "w[1]", "w[2]", "L[0]", "L[1]", "L[2]"]
        );
        assert_eq!((prior.dim(), prior.real_dim()), (7, 4));
        let x = prior.sample(&mut stream(1, Purpose::Simulation, 0));
        assert!(prior.contains(&x), "{x:?}");
        let parts = Univariate::ln_density(&HalfCauchy::new(1.0)?, x[0])
            + Dirichlet::new([2.0, 3.0, 4.0])?.ln_density(&x[1..4])
            + LkjCholesky::new(2, 1.0)?.ln_density(&x[4..]);
        assert!((prior.ln_density(&x) - parts).abs() < 1e-12);
        assert_eq!(
            prior.support()[1..5],
            [(0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (-1.0, 1.0)]
        );
        assert!(prior.quantiles(0.5)[1..].iter().all(|quantile| quantile.is_nan()));
        assert!((prior.quantiles(0.5)[0] - 1.0).abs() < 1e-12);
        assert!(prior.clone().with("w[1]", Normal::new(0.0, 1.0)?).is_err());
        assert!(prior.clone().and(prior).is_err());
        Ok(())
    }

    #[test]
    fn every_prior_is_of_order_one_on_the_real_line() -> Result<(), SampleError> {
        let far = [
            Prior::new().with("a", Normal::new(1e6, 1e-3)?)?,
            Prior::new().with("a", StudentT::new(3.0, -1e6, 1e3)?)?,
            Prior::new().with("a", crate::distribution::Gamma::new(0.05, 1e-9)?)?,
            Prior::new().with("a", crate::distribution::Beta::new(1e4, 3.0)?)?,
            Prior::new().with(
                "a",
                crate::distribution::TruncatedNormal::new(1.0, 1e-3, 0.0, 1e4)?,
            )?,
            Prior::new().with("a", LogUniform::new(1e-9, 1e4)?)?,
        ];
        for prior in far {
            let factor = prior.factors().next().unwrap();
            // That of a normal distribution is 1.28 at 10%, that of the logistic 2.2.
            for (p, low, high) in [(0.5, -1e-6, 1e-6), (0.1, -3.0, -0.7), (0.9, 0.7, 3.0)] {
                let mut z = [0.0];
                factor.unconstrain(&[factor.quantile(p)], &mut z);
                assert!(low < z[0] && z[0] < high, "{prior:?} {z:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn nonsense_is_refused() -> Result<(), SampleError> {
        assert!(Prior::new().with(" ", Normal::new(0.0, 1.0)?).is_err());
        assert!(Prior::new().with_vector("", Dirichlet::new([1.0, 1.0])?).is_err());
        let one = Prior::new().with("a", Normal::new(0.0, 1.0)?)?;
        let error = one.with("a", Normal::new(0.0, 1.0)?).unwrap_err();
        assert!(error.to_string().contains("two parameters named a"));
        let error = Prior::new().with("a", Flat::<f64>::of()).unwrap_err();
        assert!(error.to_string().contains("normalised"));
        assert!(Prior::new().with("a", Poisson::new(1.0)?).is_err());

        let draws = [0.1, 1.0, 0.3, 1.0];
        let points = Points::new(&draws, 2)?;
        assert!(Prior::empirical_box(["a"], points, 0.0).is_err());
        let error = Prior::empirical_box(["a", "b"], points, 0.0).unwrap_err();
        assert!(error.to_string().contains("no box for b"), "{error}");
        let (low, high) = Prior::empirical_box(["a"], Points::new(&[0.1, 0.3, f64::MIN], 3)?, 0.0)
            .map_or((0.0, 0.0), |prior| prior.bounds(0.0)[0]);
        assert_eq!((low, high), (0.0, 0.0));
        let wide = Prior::empirical_box(["a"], Points::new(&[1.0, 3.0, 2.0], 1)?, 0.5)?;
        assert_eq!(wide.bounds(0.0), [(0.0, 4.0)]);
        for draws in [[1.0, f64::NAN], [1.0, f64::INFINITY]] {
            assert!(Prior::empirical_box(["a"], Points::new(&draws, 1)?, 0.0).is_err());
        }
        Ok(())
    }
}
