//! Map the real line onto the support of a parameter: `Affine`, `Log`, `Interval`, `LogInterval`.

mod affine;
mod cholesky_correlation;
mod interval;
mod log;
mod log_interval;
mod ordered;
mod simplex;
mod support;
mod vector_support;

pub use affine::Affine;
pub use interval::Interval;
pub use log::Log;
pub use log_interval::LogInterval;
pub use support::Support;
pub use vector_support::VectorSupport;

/// A smooth increasing map from z on the real line to x in physical units.
///
/// All four functions of z stay finite for every finite z, however far in the tails, with one
/// exception: the derivative dx/dz may underflow to zero where its logarithm no longer fits.
pub trait Bijector: std::fmt::Debug + Send + Sync {
    /// x at z.
    fn forward(&self, z: f64) -> f64;

    /// z at x; infinite on the edge of the support, NaN outside.
    fn inverse(&self, x: f64) -> f64;

    /// dx/dz at z.
    fn derivative(&self, z: f64) -> f64;

    /// ln |dx/dz| at z.
    fn ln_jacobian(&self, z: f64) -> f64;

    /// The derivative of `ln_jacobian` in z.
    fn ln_jacobian_derivative(&self, z: f64) -> f64;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Central differences with a step of 1e-5 are good to about 1e-10 of the third derivative.
    const DIFFERENCES: f64 = 1e-7;
    const CLOSED_FORM: f64 = 1e-10;

    pub(crate) fn check(bijector: &dyn Bijector) {
        let h = 1e-5;
        for i in -40..=40 {
            let z = f64::from(i) * 0.2;
            let x = bijector.forward(z);
            let scale = 1.0 + z.abs();
            // Near an edge of the interval x itself holds fewer digits than z.
            let digits = CLOSED_FORM.max(1e-15 * (x.abs() + 1.0) / bijector.derivative(z));
            assert!(
                (bijector.inverse(x) - z).abs() < digits * scale,
                "{bijector:?} at {z}"
            );
            let numerical = (bijector.forward(z + h) - bijector.forward(z - h)) / (2.0 * h);
            let derivative = bijector.derivative(z);
            let rounding = 1e-15 * x.abs() / h;
            assert!(
                (numerical - derivative).abs() < DIFFERENCES * derivative + rounding,
                "{bijector:?} at {z}"
            );
            assert!((derivative.ln() - bijector.ln_jacobian(z)).abs() < CLOSED_FORM * scale);
            let numerical = (bijector.ln_jacobian(z + h) - bijector.ln_jacobian(z - h)) / (2.0 * h);
            assert!(
                (numerical - bijector.ln_jacobian_derivative(z)).abs() < DIFFERENCES,
                "{bijector:?} at {z}"
            );
        }
        for z in [-1e300, -1e4, -745.0, -700.0, 700.0, 710.0, 1e4, 1e300] {
            assert!(bijector.forward(z).is_finite(), "{bijector:?} at {z}");
            assert!(bijector.ln_jacobian(z).is_finite(), "{bijector:?} at {z}");
            assert!(
                bijector.ln_jacobian_derivative(z).is_finite(),
                "{bijector:?} at {z}"
            );
            assert!(bijector.derivative(z).is_finite(), "{bijector:?} at {z}");
        }
    }

    #[test]
    fn every_bijector_has_its_inverse_and_jacobian() {
        check(&Affine::new(-3.0, 0.25));
        check(&Log);
        check(&Interval::new(0.1, 0.5));
        check(&Interval::new(-2e3, 1e-3));
        check(&LogInterval::new(0.25, 4.0));
        check(&LogInterval::new(1e-12, 1e3));
    }
}
