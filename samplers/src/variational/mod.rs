//! Fit a normal density to the posterior, draw from it, and tell how far it can be trusted: `Advi`.

mod fit;
mod normal;

use serde::{Deserialize, Serialize};

use crate::density::DifferentiableDensity;
use crate::diagnostics::{pareto_k_limit, psis};
use crate::error::SampleError;
use crate::run::{Run, RunOptions, StopReason, Variational, engine};
use crate::sampler::Sampler;

/// More steps than this are a mistake.
const MOST_ITERATIONS: usize = 1 << 31;

/// Automatic differentiation variational inference (Kucukelbir et al. 2017, arXiv 1603.00788): the normal
/// density on the real line with the greatest evidence lower bound (ELBO), and draws from it.
///
/// It needs a gradient. Gradients of the ELBO are those of the path alone (Roeder et al. 2017, arXiv
/// 1703.09194), in the frame of the fit, so that scales and correlations do not matter. Adam's learning rate
/// is halved where the ELBO no longer rises, and the last iterates are averaged (Dhaka et al. 2020, arXiv
/// 2009.00666).
///
/// The draws are marked as an approximation. The shape k̂ of their importance ratios says whether it is a
/// good one (Yao et al. 2018, arXiv 1802.02538); if it is, the draws are weighted by the smoothed ratios
/// (Vehtari et al. 2024, arXiv 1507.02646), which mends what the normal shape misses, and the evidence is
/// estimated. All chains are draws from one fit; `warmup` is ignored.
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Measured;
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-0.5 * (x[0] - 3.0).powi(2)) }
/// }
/// impl DifferentiableLikelihood for Measured {
///     fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
///         gradient[0] = 3.0 - x[0];
///         self.log_likelihood(x)
///     }
/// }
/// let posterior = Posterior::new(Prior::new().with("mu", Normal::new(0.0, 1.0)?)?, Measured)?;
/// let run = Advi::default().sample(&posterior, &RunOptions::default())?;
/// // Normal with mean 3/2 and variance 1/2; the evidence is that of 3 from a normal of variance 2, times √2π.
/// assert!((run.summary().parameters[0].mean - 1.5).abs() < 0.06);
/// let fit = run.variational.as_ref().expect("there are draws");
/// assert!((fit.elbo - (-2.25 - 0.5 * 2f64.ln())).abs() < 0.01);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Advi {
    /// What shapes the normal can take.
    pub family: Family,
    /// The most steps of the fit.
    pub iterations: usize,
    /// Gradients in each step.
    pub draws_per_step: usize,
    /// The first learning rate, in standard deviations of the fit.
    pub learning_rate: f64,
    /// Whether draws that can be trusted are weighted by their smoothed importance ratios.
    pub reweight: bool,
}

/// The shapes of a normal density.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// No correlations on the real line: a number of parameters that is linear in the dimension. It makes
    /// correlated parameters too narrow.
    MeanField,
    /// Any covariance on the real line.
    FullRank,
}

impl Default for Advi {
    fn default() -> Self {
        Self {
            family: Family::FullRank,
            iterations: 10_000,
            draws_per_step: 16,
            learning_rate: 0.1,
            reweight: true,
        }
    }
}

impl Advi {
    fn check(&self) -> Result<(), SampleError> {
        let rate = self.learning_rate;
        if self.iterations == 0 || self.draws_per_step == 0 || !(rate > 0.0 && rate.is_finite()) {
            return Err(SampleError::Invalid(format!(
                "{self:?}: iterations, draws_per_step and learning_rate must be positive"
            )));
        }
        if self.iterations > MOST_ITERATIONS {
            return Err(SampleError::Invalid(format!(
                "iterations is {}, more than {MOST_ITERATIONS}: ask for fewer, the fit ends where it has settled",
                self.iterations
            )));
        }
        // Steps of a whole standard deviation find nothing.
        if rate > 1.0 {
            return Err(SampleError::Invalid(format!(
                "learning_rate is {rate}: choose it up to 1"
            )));
        }
        Ok(())
    }
}

impl<T: DifferentiableDensity + ?Sized> Sampler<T> for Advi {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        self.check()?;
        let outcome = engine::run(&fit::Fit { advi: self }, target, run)?;
        let mut run = outcome.run;
        let shape = match self.family {
            Family::MeanField => "without correlations",
            Family::FullRank => "of full rank",
        };
        run.approximation = Some(format!(
            "draws from a normal approximation {shape} on the real line (ADVI)"
        ));
        for fitting in &outcome.states {
            run.warnings.extend(fitting.warning(self));
        }
        self.judge(&mut run);
        Ok(run)
    }
}

impl Advi {
    /// Says what the importance ratios, which the draws came with as weights, say of the fit.
    fn judge(&self, run: &mut Run) {
        let ratios: Vec<f64> = run
            .chains
            .iter_mut()
            .flat_map(|chain| chain.log_weights.take().unwrap_or_default())
            .collect();
        let inside: Vec<f64> = ratios.iter().copied().filter(|ratio| ratio.is_finite()).collect();
        let (n, held) = (ratios.len() as f64, inside.len() as f64);
        if held < n {
            run.warnings.push(format!(
                "{} of {n} draws failed or are outside the support, where the approximation has mass",
                n - held
            ));
        }
        if inside.is_empty() {
            return;
        }
        let mean = inside.iter().sum::<f64>() / held;
        let scatter: f64 = inside.iter().map(|ratio| (ratio - mean).powi(2)).sum();
        let smoothed = psis(&ratios, 1.0);
        let pareto_k = smoothed.as_ref().map(|smoothed| smoothed.pareto_k);
        run.variational = Some(Variational {
            // Of the normal cut to where there is a density, whose mass that is.
            elbo: mean + (held / n).ln(),
            elbo_se: (scatter / (held - 1.0) / held).sqrt(),
            pareto_k,
        });
        let limit = pareto_k_limit(ratios.len());
        match smoothed {
            Some(smoothed) if smoothed.pareto_k <= limit => {
                if !self.reweight {
                    return;
                }
                // Without a word on the failure the number would be taken for one of all draws.
                if !matches!(run.stop, StopReason::Fatal { .. }) {
                    let greatest = inside.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = inside.iter().map(|ratio| (ratio - greatest).exp()).sum();
                    run.log_evidence = Some(greatest + (sum / n).ln());
                }
                let mut weights = smoothed.log_weights.into_iter();
                for chain in &mut run.chains {
                    chain.log_weights = Some(weights.by_ref().take(chain.len()).collect());
                }
                if let Some(text) = &mut run.approximation {
                    text.push_str(", weighted by smoothed importance ratios (PSIS)");
                }
            }
            Some(smoothed) if smoothed.pareto_k.is_finite() => run.warnings.push(format!(
                "the approximation cannot be trusted: k̂ of the importance ratios is {:.2}, over {limit:.2}",
                smoothed.pareto_k
            )),
            _ => run
                .warnings
                .push("too few draws to tell whether the approximation can be trusted".into()),
        }
    }
}
