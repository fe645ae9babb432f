//! Normalise the shape of the linear spectrum to σ_8.

use super::{SPECTRAL_INDEX, ShapeTable, Transfer, check_theta};
use crate::Result;

/// The linear power spectrum of matter at redshift zero, P(k) = A k^n_s T²(k), as a function of θ = (Ω_m, σ_8).
///
/// T is the [`Transfer`] function of Eisenstein & Hu 1998. A makes the variance of the density contrast in balls
/// of radius R = 8 Mpc/h the square of σ_8:
///
/// σ_8² = A/(2π²) ∫ k² dk k^n_s T²(k) W²(kR), W(x) = 3 (sin x − x cos x)/x³.
///
/// ```
/// use armilla::cosmology::LinearPower;
/// let power = LinearPower::new();
/// let fiducial = power.at(0.1, &[0.3, 0.8])?;
/// assert!((power.at(0.1, &[0.3, 0.4])? * 4.0 / fiducial - 1.0).abs() < 1e-12);
/// let (value, gradient) = power.value_and_gradient(0.1, &[0.3, 0.8])?;
/// assert_eq!(value, fiducial);
/// assert!((gradient[1] * 0.4 / value - 1.0).abs() < 1e-12); // ∂ ln P/∂σ_8 = 2/σ_8
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct LinearPower {
    table: ShapeTable,
}

impl Default for LinearPower {
    fn default() -> Self {
        Self::new()
    }
}

impl LinearPower {
    /// Prepares the quadrature of the normalisation.
    pub fn new() -> Self {
        Self {
            table: ShapeTable::new(0.0),
        }
    }

    /// P in (Mpc/h)³ at `k` ≥ 0 in h/Mpc.
    ///
    /// # Errors
    /// θ out of range: σ_8 not positive, Ω_m not in (Ω_b, 1], or other than two numbers.
    pub fn at(&self, k: f64, theta: &[f64]) -> Result<f64> {
        Ok(self.value_and_gradient(k, theta)?.0)
    }

    /// P and its derivatives in Ω_m and σ_8. The first includes that the amplitude A depends on Ω_m.
    ///
    /// # Errors
    /// As for [`LinearPower::at`].
    pub fn value_and_gradient(&self, k: f64, theta: &[f64]) -> Result<(f64, [f64; 2])> {
        let [omega_m, sigma_8] = check_theta(theta)?;
        let (shape, slopes) = self.table.shape::<true>(omega_m)?;
        let (variance, variance_slope) = (self.table.variance(&shape), self.table.variance(&slopes));
        let (t, t_slope) = Transfer::new(omega_m)?.at(k);
        let power = sigma_8 * sigma_8 / variance * k.powf(SPECTRAL_INDEX) * t * t;
        let by_omega_m = power * (2.0 * t_slope / t - variance_slope / variance);
        Ok((power, [by_omega_m, 2.0 * power / sigma_8]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape_table::top_hat;
    use super::*;

    #[test]
    fn sigma_8_is_sigma_8() {
        // The table interpolates to 3e-8 at worst; the plain trapezoidal sum here is finer than that.
        const TOLERANCE: f64 = 2e-8;
        let power = LinearPower::new();
        for theta in [[0.1, 0.6], [0.3, 0.8], [0.5, 1.0]] {
            let (from, to, steps) = (1e-6f64.ln(), 60f64.ln(), 60_000);
            let step = (to - from) / steps as f64;
            let transfer = Transfer::new(theta[0]).unwrap();
            let amplitude = power.at(0.05, &theta).unwrap()
                / (0.05f64.powf(SPECTRAL_INDEX) * transfer.at(0.05).0.powi(2));
            let sum: f64 = (0..=steps)
                .map(|i| {
                    let k = (from + step * i as f64).exp();
                    let p = amplitude * k.powf(SPECTRAL_INDEX) * transfer.at(k).0.powi(2);
                    let end = if i == 0 || i == steps { 0.5 } else { 1.0 };
                    end * k.powi(3) * p * top_hat(8.0 * k).powi(2)
                })
                .sum();
            let sigma_8 = (sum * step / (2.0 * std::f64::consts::PI.powi(2))).sqrt();
            println!("{theta:?}: {:e}", sigma_8 / theta[1] - 1.0);
            assert!((sigma_8 / theta[1] - 1.0).abs() < TOLERANCE);
        }
    }

    #[test]
    fn gradient_meets_finite_differences() {
        // Order h⁴: the truncation at h = 3e-4 relative is 1e-11, the rounding 1e-12.
        const TOLERANCE: f64 = 1e-10;
        let power = LinearPower::new();
        let mut worst = 0.0f64;
        for theta in [[0.1, 0.6], [0.3, 0.8], [0.5, 1.0]] {
            for k in [1e-3, 0.05, 0.3, 3.0] {
                let (value, gradient) = power.value_and_gradient(k, &theta).unwrap();
                for a in 0..2 {
                    let h = 3e-4 * theta[a];
                    let p = |shift: f64| {
                        let mut theta = theta;
                        theta[a] += shift * h;
                        power.at(k, &theta).unwrap()
                    };
                    let numeric = (8.0 * (p(1.0) - p(-1.0)) - (p(2.0) - p(-2.0))) / (12.0 * h);
                    worst = worst.max((gradient[a] - numeric).abs() * theta[a] / value);
                }
            }
        }
        println!("worst {worst:e}");
        assert!(worst < TOLERANCE);
    }

    #[test]
    fn senseless_parameters_are_refused() {
        let power = LinearPower::new();
        let nan = f64::NAN;
        for theta in [
            &[0.3, 0.0][..],
            &[0.3, -0.8],
            &[0.3, nan],
            &[nan, 0.8],
            &[0.049, 0.8],
            &[0.3],
            &[],
        ] {
            let error = power.at(0.1, theta).unwrap_err().to_string();
            assert!(error.contains("Omega_m") || error.contains("sigma_8"), "{error}");
        }
    }
}
