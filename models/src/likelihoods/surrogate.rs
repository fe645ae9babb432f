//! A squared velocity error under frozen noise, as a likelihood with its gradient.

use armilla_samplers::{
    DifferentiableLikelihood, EvalError, Likelihood,
    rng::{Purpose, stream},
};
use rand_distr::{Distribution, StandardNormal};

use super::NoiseKey;
use crate::{
    error::{ModelError, Result},
    gram::Quadratic,
    path::Time,
    velocity::{Coefficients, VelocityBasis, rows_at_once},
};

/// `constant − Σ_i w_i · mean over noise of ‖u − û(x_{t_i}, t_i, θ)‖²` for one observation.
///
/// What the weights mean is said by what made it: [`EvidenceBound`](super::EvidenceBound) gives a lower bound on
/// the log-likelihood, [`Reconstruction`](super::Reconstruction) an unnormalised score. The network was asked
/// once, when the observation was read; a value costs a pass through the coefficients' small network alone.
#[derive(Debug, Clone)]
pub struct Surrogate<C> {
    coefficients: C,
    times: Vec<Time>,
    weights: Vec<f64>,
    /// Mean over noise, for each time.
    forms: Vec<Quadratic>,
    /// The same for each noise, [noise][time]: how much they differ is the standard error.
    replicates: Vec<Vec<Quadratic>>,
    constant: f64,
}

impl<C: Coefficients> Surrogate<C> {
    /// Reads `x0`, a field with about unit variance, at each time with `noises` pairs of noise x1 and −x1: what is
    /// odd in the noise cancels.
    ///
    /// # Errors
    /// `Shape` where `x0` has another size than the network's fields, `Invalid` where it is not finite or there
    /// is no time or noise.
    pub(crate) fn observe<B: VelocityBasis<Coefficients = C>>(
        network: &B,
        x0: &[f32],
        times: Vec<Time>,
        weights: Vec<f64>,
        noises: usize,
        key: NoiseKey,
        constant: f64,
    ) -> Result<Self> {
        let n = network.field_len();
        if x0.len() != n {
            return Err(ModelError::shape(
                "observe",
                format!("a field of {} numbers for a network of {n}", x0.len()),
            ));
        }
        if let Some(i) = x0.iter().position(|x| !x.is_finite()) {
            return Err(ModelError::Invalid(format!(
                "the observation is {} at pixel {i}",
                x0[i]
            )));
        }
        const MOST: usize = 1_000_000;
        if !(1..=MOST).contains(&times.len())
            || !(1..=MOST).contains(&noises)
            || network.coefficients().is_empty()
        {
            return Err(ModelError::Invalid(
                "a likelihood needs from one to a million times and noises, and a basis".into(),
            ));
        }
        let coefficients = network.coefficients();
        let pairs_at_once = rows_at_once(network) / 2;
        let mut replicates = Vec::with_capacity(noises);
        for noise in 0..noises {
            let mut forms = Vec::with_capacity(times.len());
            for (chunk, times) in times.chunks(pairs_at_once).enumerate() {
                let mut rows = Vec::with_capacity(2 * times.len());
                let (mut x, mut u) = (Vec::new(), Vec::new());
                for (i, &time) in times.iter().enumerate() {
                    let index = (noise * 1_000_000 + chunk * pairs_at_once + i) as u64;
                    let mut stream = stream(key, Purpose::Noise, index);
                    let x1: Vec<f32> = (0..n).map(|_| StandardNormal.sample(&mut stream)).collect();
                    for sign in [1.0, -1.0] {
                        rows.push(time);
                        for (x0, x1) in x0.iter().zip(&x1) {
                            let (xt, target) = time.mix(*x0, sign * x1);
                            x.push(xt);
                            u.push(target);
                        }
                    }
                }
                let basis = network.basis(x, &rows)?;
                if basis.len() != rows.len() * coefficients.len() * n {
                    return Err(ModelError::shape(
                        "observe",
                        format!(
                            "a basis of {} numbers for {} rows of {} × {n}",
                            basis.len(),
                            rows.len(),
                            coefficients.len()
                        ),
                    ));
                }
                for pair in Quadratic::rows(&basis, &u, n).chunks_exact_mut(2) {
                    let [a, b] = pair else { continue };
                    a.add(b);
                    forms.push(a.scaled(0.5));
                }
            }
            replicates.push(forms);
        }
        let mean = |i: usize| {
            let mut sum = Quadratic::zero(coefficients.len());
            replicates
                .iter()
                .for_each(|forms: &Vec<Quadratic>| sum.add(&forms[i]));
            sum.scaled(1.0 / noises as f64)
        };
        let forms = (0..times.len()).map(mean).collect();
        Ok(Self {
            coefficients,
            times,
            weights,
            forms,
            replicates,
            constant,
        })
    }

    /// The same with `constant` added: the log-Jacobian of a transform of the data, for one.
    pub fn plus(mut self, constant: f64) -> Self {
        self.constant += constant;
        self
    }

    /// Standard error of the value at `theta` from the spread over noise; `None` with a single noise.
    ///
    /// The noise is common to all parameters, so that differences between them are known better than this.
    ///
    /// # Errors
    /// As for `log_likelihood`.
    pub fn standard_error(&self, theta: &[f64]) -> std::result::Result<Option<f64>, EvalError> {
        self.check(theta)?;
        let c = self.coefficients.at(&self.times, theta);
        Ok(standard_error(
            self.replicates.iter().map(|forms| self.error(forms, &c)),
        ))
    }

    /// Standard error of the difference between the values at two points, which is what a posterior depends on;
    /// `None` with a single noise.
    ///
    /// # Errors
    /// As for `log_likelihood`.
    pub fn standard_error_of_difference(
        &self,
        a: &[f64],
        b: &[f64],
    ) -> std::result::Result<Option<f64>, EvalError> {
        self.check(a)?;
        self.check(b)?;
        let (ca, cb) = (
            self.coefficients.at(&self.times, a),
            self.coefficients.at(&self.times, b),
        );
        Ok(standard_error(
            self.replicates
                .iter()
                .map(|forms| self.error(forms, &ca) - self.error(forms, &cb)),
        ))
    }

    fn check(&self, theta: &[f64]) -> std::result::Result<(), EvalError> {
        if theta.len() != self.coefficients.dim() {
            return Err(EvalError::Fatal(format!(
                "{} parameters for a surrogate of {}",
                theta.len(),
                self.coefficients.dim()
            )));
        }
        if !self.coefficients.covers(theta) {
            return Err(EvalError::Recoverable(format!(
                "the surrogate was not trained at {theta:?}"
            )));
        }
        Ok(())
    }

    fn error(&self, forms: &[Quadratic], c: &[f64]) -> f64 {
        let rows = c
            .chunks_exact(self.coefficients.len())
            .zip(forms)
            .zip(&self.weights);
        rows.map(|((c, form), w)| w * form.value(c)).sum()
    }
}

fn standard_error(values: impl ExactSizeIterator<Item = f64> + Clone) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (n > 1.0).then(|| (variance / n).sqrt())
}

impl<C: Coefficients> Likelihood for Surrogate<C> {
    fn dim(&self) -> usize {
        self.coefficients.dim()
    }

    fn log_likelihood(&self, theta: &[f64]) -> std::result::Result<f64, EvalError> {
        self.check(theta)?;
        Ok(self.constant - self.error(&self.forms, &self.coefficients.at(&self.times, theta)))
    }
}

impl<C: Coefficients> DifferentiableLikelihood for Surrogate<C> {
    fn value_and_gradient(&self, theta: &[f64], gradient: &mut [f64]) -> std::result::Result<f64, EvalError> {
        self.check(theta)?;
        let (c, pullback) = self.coefficients.at_with_pullback(&self.times, theta);
        let rows = c
            .chunks_exact(self.coefficients.len())
            .zip(&self.forms)
            .zip(&self.weights);
        let dc = rows
            .flat_map(|((c, form), w)| form.gradient(c).map(move |g| -w * g))
            .collect();
        let value = self.constant - self.error(&self.forms, &c);
        gradient.copy_from_slice(&pullback(dc));
        Ok(value)
    }
}
