//! Approximate a density about its maximum by a normal one.

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::objective::Objective;
use super::walk::{Ground, Walk, walk};
use crate::density::{Counted, Density};
use crate::error::EvalError;
use crate::likelihood::{DifferentiableLikelihood, Likelihood};
use crate::posterior::{Posterior, Terms};
use crate::rng::{Purpose, stream};
use crate::run::{Chain, Evaluations, RunOptions};

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
/// Without gradients second differences step to where the objective falls by this many nats, a tenth of a
/// standard deviation: still wide enough for values in single precision, with a truncation error of 1e-3.
const FALL: f64 = 5e-3;
/// A step is looked for so often; each time it comes closer by a factor of up to a hundred.
const STEP_TRIES: usize = 12;
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

/// Value, gradient and Hessian of the objective's negative at a point.
pub struct Derivatives {
    value: f64,
    gradient: DVector<f64>,
    eigen: SymmetricEigen<f64, nalgebra::Dyn>,
}

/// From central differences of the gradient.
pub(super) fn by_gradients<L: DifferentiableLikelihood>(
    ground: &Ground<'_, '_, L>,
    z: &[f64],
) -> Result<Derivatives, EvalError> {
    let mut gradient = vec![0.0; z.len()];
    let value = ground.slope(z, &mut gradient)?;
    let rough = hessian(ground, z, &vec![FIRST_STEP; z.len()])?;
    let width = |i: usize| SECOND_STEP / rough[(i, i)].max(LEAST_CURVATURE).sqrt();
    let steps: Vec<f64> = (0..z.len()).map(width).collect();
    let hessian = hessian(ground, z, &steps)?;
    Ok(Derivatives {
        value,
        gradient: DVector::from_vec(gradient),
        eigen: SymmetricEigen::new(hessian),
    })
}

/// From central differences of the value.
pub(super) fn by_values<L: Likelihood>(
    ground: &Ground<'_, '_, L>,
    z: &[f64],
) -> Result<Derivatives, EvalError> {
    let dim = z.len();
    let value = ground.height(z)?;
    let at = |moves: &[(usize, f64)]| {
        let mut z = z.to_vec();
        moves.iter().for_each(|&(index, step)| z[index] += step);
        inside(ground.height(&z)?)
    };
    let mut gradient = DVector::zeros(dim);
    let mut hessian = DMatrix::zeros(dim, dim);
    let mut steps = Vec::with_capacity(dim);
    let widest = (2.0 * FALL / LEAST_CURVATURE).sqrt();
    for i in 0..dim {
        let mut step = widest;
        let mut ends = (at(&[(i, step)]), at(&[(i, -step)]));
        for _ in 0..STEP_TRIES {
            // A step that leaves the support is too long.
            let factor = match &ends {
                (Ok(above), Ok(below)) => {
                    let rise = (0.5 * (above + below) - value).max(0.0);
                    (FALL / rise).sqrt().clamp(0.01, 10.0)
                }
                (Err(EvalError::Fatal(message)), _) | (_, Err(EvalError::Fatal(message))) => {
                    return Err(EvalError::Fatal(message.clone()));
                }
                _ => 0.1,
            };
            let next = (factor * step).min(widest);
            if (0.7..1.4).contains(&(next / step)) {
                break;
            }
            step = next;
            ends = (at(&[(i, step)]), at(&[(i, -step)]));
        }
        let (above, below) = (ends.0?, ends.1?);
        gradient[i] = (above - below) / (2.0 * step);
        hessian[(i, i)] = (above - 2.0 * value + below) / (step * step);
        steps.push(step);
    }
    for i in 0..dim {
        for j in 0..i {
            let (a, b) = (steps[i], steps[j]);
            let same = at(&[(i, a), (j, b)])? + at(&[(i, -a), (j, -b)])?;
            let opposite = at(&[(i, a), (j, -b)])? + at(&[(i, -a), (j, b)])?;
            hessian[(i, j)] = (same - opposite) / (4.0 * a * b);
            hessian[(j, i)] = hessian[(i, j)];
        }
    }
    Ok(Derivatives {
        value,
        gradient,
        eigen: SymmetricEigen::new(hessian),
    })
}

/// Differences need values on both sides.
fn inside(value: f64) -> Result<f64, EvalError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(EvalError::Recoverable(
        "the optimum is at the edge of the support".into(),
    ))
}

impl Derivatives {
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
    ground: &Ground<'_, '_, L>,
    z: &[f64],
    steps: &[f64],
) -> Result<DMatrix<f64>, EvalError> {
    let dim = z.len();
    let mut hessian = DMatrix::zeros(dim, dim);
    let (mut above, mut below, mut at) = (vec![0.0; dim], vec![0.0; dim], z.to_vec());
    for i in 0..dim {
        at[i] = z[i] + steps[i];
        inside(ground.slope(&at, &mut above)?)?;
        at[i] = z[i] - steps[i];
        inside(ground.slope(&at, &mut below)?)?;
        at[i] = z[i];
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
/// What it takes is added to `spent`.
pub(super) fn approximate<L: Likelihood, O: Walk<L>>(
    posterior: &Posterior<L>,
    terms: Terms,
    z: &[f64],
    edges: &[String],
    spent: &mut Evaluations,
) -> Result<Laplace, EvalError> {
    let objective = Objective::new(posterior, terms);
    let counted = Counted::new(&objective);
    let here = O::derivatives(&Ground::new(&counted), z);
    *spent += counted.evaluations();
    let here = here?;
    let converged = here.is_optimum();
    // Towards an edge the real line curves too, but there is no optimum on the way.
    if here.is_peak() && (edges.is_empty() || converged) {
        return Ok(Laplace {
            terms,
            centre: z.to_vec(),
            value: -here.value,
            factor: here.factor(),
            converged,
            warning: None,
        });
    }
    let whole = Objective::new(posterior, Terms::RealLine);
    let counted = Counted::new(&whole);
    let found = fall_back::<L, O::Fallback>(&Ground::new(&counted), z);
    *spent += counted.evaluations();
    let (centre, there) = found?;
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

/// The optimum that `O` finds from near `z`, and the derivatives there.
fn fall_back<L: Likelihood, O: Walk<L> + Default>(
    ground: &Ground<'_, '_, L>,
    z: &[f64],
) -> Result<(Vec<f64>, Derivatives), EvalError> {
    let start: Vec<f64> = z.iter().map(|z| z.clamp(-INSIDE, INSIDE)).collect();
    let best = match walk(&O::default(), ground, start) {
        Ok((trace, _)) => trace.best,
        Err(EvalError::Fatal(message)) => return Err(EvalError::Fatal(message)),
        Err(EvalError::Recoverable(_)) => None,
    };
    let centre = best.map_or_else(|| z.to_vec(), |(_, best)| best);
    let there = O::derivatives(ground, &centre)?;
    Ok((centre, there))
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
    pub(super) fn draw<L: Likelihood>(
        &self,
        posterior: &Posterior<L>,
        run: &RunOptions,
        index: usize,
    ) -> Chain {
        let dim = self.centre.len();
        let mut rng = stream(run.seed, Purpose::Resample, index as u64);
        let mut x = vec![0.0; posterior.names().len()];
        let mut draws = Vec::with_capacity(run.draws * x.len());
        let mut log_density = Vec::with_capacity(run.draws);
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
