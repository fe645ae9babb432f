//! A Gaussian posterior in two dimensions, with Gaussian noise on its log likelihood.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use armilla_samplers::prelude::*;

/// How a likelihood fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Failure {
    Never,
    /// Every point is NaN.
    Nan,
    /// Every point gives a recoverable error.
    Recoverable,
    /// Points with a > 0.9 give a recoverable error, those with b > 0.9 NaN.
    Partly,
    /// Everything fails for good after so many evaluations.
    FatalAfter(usize),
}

/// Measurements of a + b and of a − b/2, with noise on their log probability.
#[derive(Debug, Clone)]
pub struct Noisy {
    /// The noise has the variance sigma² + slope · a.
    pub sigma: f64,
    pub slope: f64,
    /// Whether estimates tell their standard error.
    pub tells: bool,
    pub failure: Failure,
    pub evaluations: Arc<AtomicUsize>,
}

/// The phase of the noise: under one key it is a wave of this wave vector.
const WAVE: [f64; 2] = [1.6, -0.8];
/// The errors of the two measurements, and what was measured.
const ERRORS: [f64; 2] = [0.4, 0.6];
const MEASURED: [f64; 2] = [0.6, 0.5];

impl Noisy {
    pub fn new(sigma: f64) -> Self {
        Self {
            sigma,
            slope: 0.0,
            tells: false,
            failure: Failure::Never,
            evaluations: Arc::default(),
        }
    }

    fn both(&self, x: &[f64], u: &[f64], gradient: &mut [f64]) -> Result<LogEstimate, EvalError> {
        let count = self.evaluations.fetch_add(1, Ordering::Relaxed);
        let recoverable = || Err(EvalError::Recoverable(format!("no value at a = {}", x[0])));
        let mut log_likelihood = 0.0;
        match self.failure {
            Failure::Nan => log_likelihood = f64::NAN,
            Failure::Recoverable => return recoverable(),
            Failure::Partly if x[0] > 0.9 => return recoverable(),
            Failure::Partly if x[1] > 0.9 => log_likelihood = f64::NAN,
            Failure::FatalAfter(most) if count >= most => {
                return Err(EvalError::Fatal("the device is gone".into()));
            }
            _ => {}
        }
        let s = (x[0] + x[1] - MEASURED[0]) / ERRORS[0];
        let d = (x[0] - 0.5 * x[1] - MEASURED[1]) / ERRORS[1];
        let (sin, cos) = (WAVE[0] * x[0] + WAVE[1] * x[1]).sin_cos();
        let wave = u[0] * cos + u[1] * sin;
        let sd = (self.sigma * self.sigma + self.slope * x[0]).max(0.0).sqrt();
        log_likelihood += -0.5 * (s * s + d * d) + sd * wave;
        let derivative = sd * (u[1] * cos - u[0] * sin);
        gradient[0] = -s / ERRORS[0] - d / ERRORS[1] + derivative * WAVE[0];
        gradient[1] = -s / ERRORS[0] + 0.5 * d / ERRORS[1] + derivative * WAVE[1];
        if self.slope != 0.0 && sd > 0.0 {
            gradient[0] += 0.5 * self.slope / sd * wave;
        }
        Ok(LogEstimate {
            log_likelihood,
            standard_error: self.tells.then_some(sd),
        })
    }
}

impl StochasticLikelihood for Noisy {
    fn dim(&self) -> usize {
        2
    }
    fn unbiased(&self) -> Unbiased {
        Unbiased::LogLikelihood
    }
    fn estimate(&self, x: &[f64], key: NoiseKey) -> Result<LogEstimate, EvalError> {
        self.estimate_with(x, &key.normals(2))
    }
}

impl CorrelatedLikelihood for Noisy {
    fn noise_dim(&self) -> usize {
        2
    }
    fn estimate_with(&self, x: &[f64], u: &[f64]) -> Result<LogEstimate, EvalError> {
        self.both(x, u, &mut [0.0; 2])
    }
}

impl DifferentiableStochasticLikelihood for Noisy {
    fn estimate_and_gradient(
        &self,
        x: &[f64],
        key: NoiseKey,
        gradient: &mut [f64],
    ) -> Result<LogEstimate, EvalError> {
        self.both(x, &key.normals(2), gradient)
    }
}

/// Standard normal in a and b, so that z is x.
pub fn gaussian_prior() -> Prior {
    let normal = || Normal::new(0.0, 1.0).unwrap();
    let prior = Prior::new().with("a", normal()).unwrap();
    prior.with("b", normal()).unwrap()
}

// The normal equations: the precision, its inverse, and the mean.
const P: f64 = 1.0 / (ERRORS[0] * ERRORS[0]);
const Q: f64 = 1.0 / (ERRORS[1] * ERRORS[1]);
const PRECISION: [[f64; 2]; 2] = [[P + Q + 1.0, P - 0.5 * Q], [P - 0.5 * Q, P + 0.25 * Q + 1.0]];
const DETERMINANT: f64 = PRECISION[0][0] * PRECISION[1][1] - PRECISION[0][1] * PRECISION[0][1];
pub const COVARIANCE: [[f64; 2]; 2] = [
    [PRECISION[1][1] / DETERMINANT, -PRECISION[0][1] / DETERMINANT],
    [-PRECISION[0][1] / DETERMINANT, PRECISION[0][0] / DETERMINANT],
];
const RIGHT: [f64; 2] = [
    P * MEASURED[0] + Q * MEASURED[1],
    P * MEASURED[0] - 0.5 * Q * MEASURED[1],
];
pub const MEAN: [f64; 2] = [
    COVARIANCE[0][0] * RIGHT[0] + COVARIANCE[0][1] * RIGHT[1],
    COVARIANCE[1][0] * RIGHT[0] + COVARIANCE[1][1] * RIGHT[1],
];

/// Means, variances and covariance.
pub fn truth() -> [f64; 5] {
    [
        MEAN[0],
        MEAN[1],
        COVARIANCE[0][0],
        COVARIANCE[1][1],
        COVARIANCE[0][1],
    ]
}

/// Variances and covariance of Langevin dynamics in steps ε without preconditioner: the limit of
/// C ← M C Mᵀ + ε + ε² σ² k kᵀ / 4 with M = 1 − ε A / 2.
pub fn variances(step: f64, sigma: f64) -> [f64; 3] {
    let m = [0, 1].map(|i| [0, 1].map(|j| f64::from(u8::from(i == j)) - 0.5 * step * PRECISION[i][j]));
    let mut c = [[0.0; 2]; 2];
    for _ in 0..10_000 {
        let mut next = [[0.0; 2]; 2];
        for i in 0..2 {
            for j in 0..2 {
                next[i][j] = 0.25 * step * step * sigma * sigma * WAVE[i] * WAVE[j];
                next[i][j] += if i == j { step } else { 0.0 };
                for k in 0..2 {
                    next[i][j] += (0..2).map(|l| m[i][k] * c[k][l] * m[j][l]).sum::<f64>();
                }
            }
        }
        c = next;
    }
    [c[0][0], c[1][1], c[0][1]]
}
