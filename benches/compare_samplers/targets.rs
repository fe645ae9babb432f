//! The targets of the comparison, the same as in `benches/peers/targets.py`.

use armilla::samplers::prelude::*;
use rand::{Rng, RngExt};

/// A density on the real line written by hand, and what is known of its parameters.
pub struct Target<F> {
    names: Vec<String>,
    /// Edges of the uniform start, as in Stan.
    start: f64,
    density: F,
}

impl<F: Fn(&[f64], &mut [f64]) -> f64> Target<F> {
    fn new(dim: usize, density: F) -> Self {
        Self {
            names: (0..dim).map(|i| format!("x[{i}]")).collect(),
            start: 2.0,
            density,
        }
    }
}

impl<F: Fn(&[f64], &mut [f64]) -> f64 + Send + Sync> Density for Target<F> {
    fn dim(&self) -> usize {
        self.names.len()
    }
    fn names(&self) -> &[String] {
        &self.names
    }
    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        let mut gradient = vec![0.0; z.len()];
        Ok((self.density)(z, &mut gradient))
    }
    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        x.copy_from_slice(z);
    }
    fn ln_jacobian(&self, _z: &[f64]) -> f64 {
        0.0
    }
    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        let edge = self.start;
        (0..self.names.len())
            .map(|_| rng.random_range(-edge..edge))
            .collect()
    }
}

impl<F: Fn(&[f64], &mut [f64]) -> f64 + Send + Sync> DifferentiableDensity for Target<F> {
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        Ok((self.density)(z, gradient))
    }
}

/// Unit variances and correlation 0.9^|i−j|, as an autoregression.
pub fn gaussian(dim: usize) -> impl DifferentiableDensity {
    const CORRELATION: f64 = 0.9;
    const VARIANCE: f64 = 1.0 - CORRELATION * CORRELATION;
    Target::new(dim, |x, gradient| {
        let mut value = -0.5 * x[0] * x[0];
        gradient[0] = -x[0];
        for i in 1..x.len() {
            let step = x[i] - CORRELATION * x[i - 1];
            value -= 0.5 * step * step / VARIANCE;
            gradient[i] = -step / VARIANCE;
            gradient[i - 1] += CORRELATION * step / VARIANCE;
        }
        value
    })
}

/// v ~ N(0, 3), x_i ~ N(0, e^(v/2)) (Neal 2003, doi:10.1214/aos/1056562461).
pub fn funnel() -> impl DifferentiableDensity {
    Target::new(10, |x, gradient| {
        let (v, rest) = (x[0], &x[1..]);
        let scale = (-v).exp();
        let sum: f64 = rest.iter().map(|x| x * x).sum();
        gradient[0] = -v / 9.0 - 4.5 + 0.5 * scale * sum;
        for (derivative, x) in gradient[1..].iter_mut().zip(rest) {
            *derivative = -scale * x;
        }
        -v * v / 18.0 - 4.5 * v - 0.5 * scale * sum
    })
}

/// x0 ~ N(0, 10), x1 ~ N(0.03 (x0² − 100), 1) (Haario et al. 1999, doi:10.1007/s001800050022).
pub fn banana() -> impl DifferentiableDensity {
    Target::new(2, |x, gradient| {
        let off = x[1] - 0.03 * (x[0] * x[0] - 100.0);
        gradient[0] = -x[0] / 100.0 + 0.06 * x[0] * off;
        gradient[1] = -off;
        -x[0] * x[0] / 200.0 - 0.5 * off * off
    })
}

/// The likelihood of the two moons in polar coordinates (Lueckmann et al. 2021, arXiv 2101.04653).
pub struct TwoMoons(pub [f64; 2]);

impl Likelihood for TwoMoons {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        let root = 0.5_f64.sqrt();
        let p = [
            self.0[0] + (x[0] + x[1]).abs() * root - 0.25,
            self.0[1] - (x[1] - x[0]) * root,
        ];
        if p[0] <= 0.0 {
            return Ok(f64::NEG_INFINITY);
        }
        let radius = p[0].hypot(p[1]);
        Ok(-0.5 * ((radius - 0.1) / 0.01).powi(2) - radius.ln())
    }
}
