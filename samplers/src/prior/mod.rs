//! Name parameters and say what is known of them beforehand: `Uniform`, `LogUniform`, `Normal`, and
//! `Prior`, their product.

use std::sync::Arc;

use rand::Rng;

use crate::bijector::{Bijector, Support};
use crate::distribution::Univariate;
use crate::error::SampleError;
use crate::number::{Dual, Number};

pub use crate::distribution::{LogUniform, Normal, Uniform};

/// A normalised density of one parameter in physical units.
pub trait Distribution: std::fmt::Debug + Send + Sync {
    /// ln p(x); `-inf` outside the support.
    fn ln_density(&self, x: f64) -> f64;

    /// d ln p / dx; 0 outside the support.
    fn ln_density_derivative(&self, x: f64) -> f64;

    /// A draw.
    fn sample(&self, rng: &mut dyn Rng) -> f64;

    /// The x below which lies the fraction `p` of the mass, 0 ≤ p ≤ 1.
    fn quantile(&self, p: f64) -> f64;

    /// The least and the greatest x of the support; infinite where there is no bound.
    fn support(&self) -> (f64, f64);

    /// The map from the real line onto the support.
    fn bijector(&self) -> Box<dyn Bijector>;

    /// Whether a grid should step evenly in ln x rather than in x.
    fn is_logarithmic(&self) -> bool {
        false
    }
}

impl<U: Univariate<Number = f64> + 'static> Distribution for U {
    fn ln_density(&self, x: f64) -> f64 {
        Univariate::ln_density(self, x)
    }
    fn ln_density_derivative(&self, x: f64) -> f64 {
        Univariate::ln_density(self, Dual::<1>::variable(x, 0)).gradient[0]
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        Univariate::sample(self, rng)
    }
    fn quantile(&self, p: f64) -> f64 {
        Univariate::quantile(self, p)
    }
    fn support(&self) -> (f64, f64) {
        Univariate::support(self).bounds()
    }
    fn bijector(&self) -> Box<dyn Bijector> {
        Box::new(Standardised::new(self))
    }
    fn is_logarithmic(&self) -> bool {
        matches!(Univariate::support(self), Support::Decades(..))
    }
}

/// The map onto the support of a distribution, shifted and scaled so that z is of order one.
#[derive(Debug)]
struct Standardised {
    support: Support,
    shift: f64,
    scale: f64,
}

impl Standardised {
    fn new(distribution: &impl Univariate<Number = f64>) -> Self {
        let support = distribution.support();
        // The mass between one standard deviation below the median of a normal distribution and one above.
        let at = |p| support.unconstrain(distribution.quantile(p));
        let (low, high) = (at(0.158_655_253_931_457_05), at(0.841_344_746_068_542_9));
        let (shift, scale) = match support {
            Support::Between(..) | Support::Decades(..) => (0.0, 1.0),
            _ => (at(0.5), 0.5 * (high - low)),
        };
        Self { support, shift, scale }
    }

    fn at(&self, z: f64) -> (Dual<1>, Dual<1>) {
        let (x, ln_jacobian) =
            self.support.cast().constrain(Dual::variable(z, 0) * self.scale + self.shift);
        (x, ln_jacobian + self.scale.ln())
    }
}

impl Bijector for Standardised {
    fn forward(&self, z: f64) -> f64 {
        self.at(z).0.value()
    }
    fn inverse(&self, x: f64) -> f64 {
        (self.support.unconstrain(x) - self.shift) / self.scale
    }
    fn derivative(&self, z: f64) -> f64 {
        self.at(z).0.gradient[0]
    }
    fn ln_jacobian(&self, z: f64) -> f64 {
        self.at(z).1.value()
    }
    fn ln_jacobian_derivative(&self, z: f64) -> f64 {
        self.at(z).1.gradient[0]
    }
}

/// Independent named parameters, in order.
///
/// ```
/// use armilla_samplers::prior::{LogUniform, Prior, Uniform};
/// let prior = Prior::new()
///     .with("Omega_m", Uniform::new(0.1, 0.5)?)?
///     .with("A_SN1", LogUniform::new(0.25, 4.0)?)?;
/// assert_eq!(prior.names(), ["Omega_m", "A_SN1"]);
/// assert!(prior.contains(&[0.3, 1.0]));
/// # Ok::<(), armilla_samplers::SampleError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Prior {
    names: Vec<String>,
    distributions: Vec<Arc<dyn Distribution>>,
}

impl Prior {
    /// A prior without parameters, to be extended by `with`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the name is empty or taken.
    pub fn with(
        mut self,
        name: impl Into<String>,
        distribution: impl Distribution + 'static,
    ) -> Result<Self, SampleError> {
        let name = name.into();
        if name.trim().is_empty() {
            return Err(SampleError::Invalid(format!(
                "parameter {} has an empty name",
                self.dim()
            )));
        }
        if self.names.contains(&name) {
            return Err(SampleError::Invalid(format!(
                "there are two parameters named {name}: rename one"
            )));
        }
        self.names.push(name);
        self.distributions.push(Arc::new(distribution));
        Ok(self)
    }

    /// The number of parameters.
    pub fn dim(&self) -> usize {
        self.names.len()
    }

    /// The names of the parameters.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The density of each parameter.
    pub fn distributions(&self) -> impl ExactSizeIterator<Item = &dyn Distribution> {
        self.distributions.iter().map(|distribution| &**distribution)
    }

    /// A draw of all parameters, in physical units.
    pub fn sample(&self, rng: &mut dyn Rng) -> Vec<f64> {
        self.distributions()
            .map(|distribution| distribution.sample(rng))
            .collect()
    }

    /// ln p(x), normalised; `-inf` outside the support.
    ///
    /// # Panics
    /// Where `x` has not as many numbers as there are parameters.
    pub fn ln_density(&self, x: &[f64]) -> f64 {
        assert_eq!(x.len(), self.dim(), "one number for each parameter");
        self.distributions()
            .zip(x)
            .map(|(distribution, &x)| distribution.ln_density(x))
            .sum()
    }

    /// Whether `x` has as many numbers as there are parameters and lies in the support.
    pub fn contains(&self, x: &[f64]) -> bool {
        x.len() == self.dim() && self.ln_density(x) > f64::NEG_INFINITY
    }

    /// A finite box: the support where it is bounded, else the quantiles `tail` and 1 − `tail`.
    pub fn bounds(&self, tail: f64) -> Vec<(f64, f64)> {
        let bounds = |distribution: &dyn Distribution| {
            let (low, high) = distribution.support();
            let low = if low.is_finite() {
                low
            } else {
                distribution.quantile(tail)
            };
            (
                low,
                if high.is_finite() {
                    high
                } else {
                    distribution.quantile(1.0 - tail)
                },
            )
        };
        self.distributions().map(bounds).collect()
    }

    /// `Omega_m = 0.3, sigma_8 = 0.8`, for messages.
    pub(crate) fn describe(&self, x: &[f64]) -> String {
        let pairs = self.names.iter().zip(x).map(|(name, x)| format!("{name} = {x}"));
        pairs.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    /// Simpson's rule on 2000 panels of a smooth density.
    const QUADRATURE: f64 = 1e-9;

    fn integrate(f: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
        let n = 2000;
        let h = (high - low) / f64::from(n);
        let weight = |i: i32| {
            if i == 0 || i == n {
                1.0
            } else {
                f64::from(2 + 2 * (i % 2))
            }
        };
        // The last point is set, not computed, to stay inside a bounded support.
        let at = |i: i32| if i == n { high } else { low + f64::from(i) * h };
        (0..=n).map(|i| weight(i) * f(at(i))).sum::<f64>() * h / 3.0
    }

    fn check(distribution: impl Distribution, low: f64, high: f64) {
        let density = |x: f64| distribution.ln_density(x).exp();
        assert!(
            (integrate(density, low, high) - 1.0).abs() < QUADRATURE,
            "{distribution:?}"
        );
        for p in [0.01, 0.2, 0.5, 0.9, 0.999] {
            let x = distribution.quantile(p);
            assert!(
                (integrate(density, low, x) - p).abs() < QUADRATURE,
                "{distribution:?} at {p}"
            );
            let h = 1e-6 * x.abs().max(1e-3);
            let numerical = (distribution.ln_density(x + h) - distribution.ln_density(x - h)) / (2.0 * h);
            let analytic = distribution.ln_density_derivative(x);
            assert!(
                (numerical - analytic).abs() < 1e-6 * (1.0 + analytic.abs()),
                "{distribution:?} at {x}"
            );
        }
        let mean = integrate(|x| x * density(x), low, high);
        let variance = integrate(|x| (x - mean).powi(2) * density(x), low, high);
        let mut rng = stream(1, Purpose::Simulation, 0);
        let n = 10_000;
        let sampled = (0..n).map(|_| distribution.sample(&mut rng)).sum::<f64>() / f64::from(n);
        let standard_error = (variance / f64::from(n)).sqrt();
        assert!(
            (sampled - mean).abs() < 5.0 * standard_error,
            "{distribution:?}: {sampled} for {mean}"
        );
        let (low, high) = distribution.support();
        let bijector = distribution.bijector();
        for z in [-1e3, -2.0, 0.0, 3.0, 1e3] {
            let x = bijector.forward(z);
            assert!(low <= x && x <= high && distribution.ln_density(x) > f64::NEG_INFINITY);
        }
    }

    #[test]
    fn every_density_is_normalised_and_agrees_with_its_draws() -> Result<(), SampleError> {
        check(Uniform::new(0.1, 0.5)?, 0.1, 0.5);
        check(LogUniform::new(0.25, 4.0)?, 0.25, 4.0);
        check(Normal::new(-1.0, 0.3)?, -1.0 - 12.0 * 0.3, -1.0 + 12.0 * 0.3);
        Ok(())
    }

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
        let (low, high) = Prior::new()
            .with("c", Normal::new(0.0, 2.0)?)?
            .bounds(0.158_655_253_931_457)[0];
        assert!((low + 2.0).abs() < 1e-9 && (high - 2.0).abs() < 1e-9);
        Ok(())
    }

    #[test]
    fn nonsense_is_refused() -> Result<(), SampleError> {
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(Uniform::new(low, high).is_err());
            assert!(LogUniform::new(low, high).is_err());
        }
        assert!(Uniform::new(-1e308, 1.7e308).is_err());
        assert!(LogUniform::new(0.0, 1.0).is_err());
        for (mean, sd) in [(0.0, 0.0), (0.0, -1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(Normal::new(mean, sd).is_err());
        }
        assert!(Prior::new().with(" ", Normal::new(0.0, 1.0)?).is_err());
        let one = Prior::new().with("a", Normal::new(0.0, 1.0)?)?;
        let error = one.with("a", Normal::new(0.0, 1.0)?).unwrap_err();
        assert!(error.to_string().contains("two parameters named a"));
        Ok(())
    }
}
