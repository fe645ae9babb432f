//! Approximate a density about its maximum by a normal one.

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::{Lbfgs, Objective};
use crate::density::Density;
use crate::error::EvalError;
use crate::likelihood::DifferentiableLikelihood;
use crate::posterior::{Posterior, Terms};
use crate::rng::{Purpose, stream};
use crate::run::{Chain, RunOptions};

/// A point is an optimum if its Newton step would gain less than this many nats, which moves it by less
/// than a twentieth of a standard deviation.
const NEWTON_GAIN: f64 = 1e-3;
/// Where there is no Newton step, the gradient in nats per unit of z has to be below this.
const FLAT: f64 = 1e-2;
/// Less curvature than this means a standard deviation of over 3 on the real line, where every prior has
/// one of about 1: the data leave that direction open.
const LEAST_CURVATURE: f64 = 0.1;
/// The first finite differences step this far in z, the second this many standard deviations: wide enough
/// for gradients in single precision, narrow enough for a relative truncation error of 1e-4.
const FIRST_STEP: f64 = 1e-3;
const SECOND_STEP: f64 = 0.03;
/// How far into the tails of the real line the fallback starts: 5% of the prior's width from its edge.
const INSIDE: f64 = 3.0;

/// A normal density on the real line.
pub(super) struct Laplace {
    terms: Terms,
    centre: Vec<f64>,
    /// The objective at the centre.
    value: f64,
    /// Columns that turn standard normal numbers into steps from the centre.
    factor: DMatrix<f64>,
    /// Whether the optimum it was asked about is one.
    pub(super) converged: bool,
    /// Why the draws are not about that optimum, if they are not.
    pub(super) warning: Option<String>,
}

/// Value, gradient and Hessian at a point.
struct Curvature {
    value: f64,
    gradient: DVector<f64>,
    eigen: SymmetricEigen<f64, nalgebra::Dyn>,
}

impl Curvature {
    fn at<L: DifferentiableLikelihood>(objective: &Objective<'_, L>, z: &[f64]) -> Result<Self, EvalError> {
        let mut gradient = vec![0.0; z.len()];
        let value = objective.value_and_gradient(z, &mut gradient)?;
        let rough = hessian(objective, z, &vec![FIRST_STEP; z.len()])?;
        let width = |i: usize| SECOND_STEP / rough[(i, i)].max(LEAST_CURVATURE).sqrt();
        let steps: Vec<f64> = (0..z.len()).map(width).collect();
        let hessian = hessian(objective, z, &steps)?;
        Ok(Self {
            value,
            gradient: DVector::from_vec(gradient),
            eigen: SymmetricEigen::new(hessian),
        })
    }

    fn is_peak(&self) -> bool {
        self.eigen
            .eigenvalues
            .iter()
            .all(|&curvature| curvature > LEAST_CURVATURE)
    }

    /// Whether the point is an optimum to within what matters statistically.
    fn is_optimum(&self) -> bool {
        if !self.is_peak() {
            return self.gradient.amax() < FLAT;
        }
        let along = self.eigen.eigenvectors.tr_mul(&self.gradient);
        let gains = along
            .iter()
            .zip(&self.eigen.eigenvalues)
            .map(|(g, curvature)| 0.5 * g * g / curvature);
        gains.sum::<f64>() < NEWTON_GAIN
    }

    fn factor(&self) -> DMatrix<f64> {
        let sd = self
            .eigen
            .eigenvalues
            .map(|curvature| curvature.max(LEAST_CURVATURE).sqrt().recip());
        &self.eigen.eigenvectors * DMatrix::from_diagonal(&sd)
    }
}

/// Central differences of the gradient, symmetrised.
fn hessian<L: DifferentiableLikelihood>(
    objective: &Objective<'_, L>,
    z: &[f64],
    steps: &[f64],
) -> Result<DMatrix<f64>, EvalError> {
    let dim = z.len();
    let mut hessian = DMatrix::zeros(dim, dim);
    let (mut above, mut below, mut at) = (vec![0.0; dim], vec![0.0; dim], z.to_vec());
    for i in 0..dim {
        at[i] = z[i] + steps[i];
        let high = objective.value_and_gradient(&at, &mut above)?;
        at[i] = z[i] - steps[i];
        let low = objective.value_and_gradient(&at, &mut below)?;
        at[i] = z[i];
        if !(high.is_finite() && low.is_finite()) {
            return Err(EvalError::Recoverable(
                "the optimum is at the edge of the support".into(),
            ));
        }
        for j in 0..dim {
            let second = (above[j] - below[j]) / (2.0 * steps[i]);
            hessian[(i, j)] += 0.5 * second;
            hessian[(j, i)] += 0.5 * second;
        }
    }
    Ok(hessian)
}

/// The normal approximation of the objective about `z`; where it has no peak there, because the optimum
/// is on an edge or the data leave a direction open, that of the posterior on the real line, which has.
pub(super) fn approximate<L: DifferentiableLikelihood>(
    objective: &Objective<'_, L>,
    z: &[f64],
    edges: &[String],
) -> Result<Laplace, EvalError> {
    let here = Curvature::at(objective, z)?;
    let converged = here.is_optimum();
    // Towards an edge the real line curves too, but there is no optimum on the way.
    if here.is_peak() && (edges.is_empty() || converged) {
        return Ok(Laplace {
            terms: objective.terms,
            centre: z.to_vec(),
            value: -here.value,
            factor: here.factor(),
            converged,
            warning: None,
        });
    }
    let posterior = Objective {
        posterior: objective.posterior,
        terms: Terms::RealLine,
        gradients: objective.gradients,
    };
    let start = z.iter().map(|z| z.clamp(-INSIDE, INSIDE)).collect();
    let trace = Lbfgs::default().minimise(&posterior, start, |_, _| {});
    if let Some(message) = trace.fatal {
        return Err(EvalError::Fatal(message));
    }
    let centre = trace.best.map_or_else(|| z.to_vec(), |(_, best)| best);
    let there = Curvature::at(&posterior, &centre)?;
    let reason = if edges.is_empty() {
        "the data leave a direction open"
    } else {
        "there is no peak at an edge"
    };
    let rest = if there.is_peak() {
        ""
    } else {
        ", which has none either: its width is that of the prior"
    };
    let warning = format!("{reason}, so the draws are about the peak of the whole posterior{rest}");
    Ok(Laplace {
        terms: Terms::RealLine,
        centre,
        value: -there.value,
        factor: there.factor(),
        converged,
        warning: Some(warning),
    })
}

impl Laplace {
    pub(super) fn describe(&self) -> String {
        let what = match self.terms {
            Terms::Likelihood => "the likelihood",
            Terms::Physical => "the posterior density",
            Terms::RealLine => "the posterior on the real line",
        };
        format!("draws from a normal approximation of {what} about its peak (Laplace)")
    }

    /// The draws of one chain, each with the log density that the approximation gives it.
    pub(super) fn draw<L: DifferentiableLikelihood>(
        &self,
        posterior: &Posterior<L>,
        run: &RunOptions,
        index: usize,
    ) -> Chain {
        let dim = self.centre.len();
        let mut rng = stream(run.seed, Purpose::Resample, index as u64);
        let len = posterior.names().len();
        let mut draws = Vec::with_capacity(run.draws * len);
        let mut log_density = Vec::with_capacity(run.draws);
        let mut x = vec![0.0; len];
        for _ in 0..run.draws {
            let noise = DVector::from_fn(dim, |_, _| rng.sample::<f64, _>(StandardNormal));
            let step = &self.factor * &noise;
            let z: Vec<f64> = self
                .centre
                .iter()
                .zip(step.iter())
                .map(|(centre, step)| centre + step)
                .collect();
            posterior.to_physical(&z, &mut x);
            let value = self.value - 0.5 * noise.norm_squared();
            log_density.push(match self.terms {
                Terms::Likelihood => value + posterior.log_prior(&x),
                Terms::Physical => value,
                Terms::RealLine => value - posterior.ln_jacobian(&z),
            });
            draws.extend_from_slice(&x);
        }
        Chain {
            draws,
            log_density,
            log_weights: None,
            steps: Vec::new(),
            warmup_divergences: 0,
            step_size: None,
        }
    }
}
