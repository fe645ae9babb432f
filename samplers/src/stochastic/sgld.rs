//! Follow noisy gradients in ever smaller steps, with noise of the size of a diffusion's.

use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::noisy_posterior::{NoisyPosterior, Target};
use super::{DifferentiableStochasticLikelihood, NoiseKey, Unbiased};
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::rng::Stream;
use crate::run::markov::{Adaptation, Kernel, run_chains};
use crate::run::{Run, RunOptions, Step};
use crate::sampler::Sampler;

/// Stochastic-gradient Langevin dynamics (Welling & Teh 2011, "Bayesian Learning via Stochastic Gradient
/// Langevin Dynamics", ICML): z ← z + ½ ε P g + √(ε P) η with g an unbiased estimate of the gradient of the
/// log density and η standard normal. Nothing is accepted or rejected, so one gradient makes one draw.
///
/// Draw t has the step ε = `step_size` · (1 + t / `delay`)^(−`decay`), which is a (b + t)^(−γ) of the paper,
/// and weighs as much as its step (a weighted mean of the draws converges: Teh, Thiery & Vollmer 2016,
/// [arXiv:1409.0578](https://arxiv.org/abs/1409.0578), who find γ = 1/3 the best).
///
/// It requires gradients of a [`DifferentiableStochasticLikelihood`] that are unbiased for those of
/// ln p(data | x), and many draws. The result is an approximation, and the run says so: at a fixed step, a
/// Gaussian of variance s² in its direction comes out with s² (1 + ε P τ² / 4) / (1 − ε P / 4s²), where τ² is
/// the variance of the gradient's noise. Halve `step_size` and see whether the answer moves; or use it where
/// estimates are too noisy, or points too many, to compare.
///
/// The diagonal P is the inverse of the mean squared gradient along the second half of the warm-up (of a
/// Gaussian without noise, its variance), with 1 added to that mean since z is of order one under the prior;
/// the first half looks for the region by RMSProp.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sgld {
    /// ε of the warm-up, in units of variances where `preconditioned`.
    pub step_size: f64,
    /// After how many draws the step has fallen by 2^`decay`.
    pub delay: f64,
    /// γ, from 0 (the step stays) to 1.
    pub decay: f64,
    /// Whether P follows the chain during warm-up; otherwise it is 1.
    pub preconditioned: bool,
}

impl Default for Sgld {
    fn default() -> Self {
        Self {
            step_size: 0.3,
            delay: 100.0,
            decay: 1.0 / 3.0,
            preconditioned: true,
        }
    }
}

impl Sgld {
    /// ε of draw `t`.
    fn step(&self, t: usize) -> f64 {
        self.step_size * (1.0 + t as f64 / self.delay).powf(-self.decay)
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Langevin {
    settings: Sgld,
    /// P.
    scales: Vec<f64>,
    tuning: bool,
    /// Whether the noise of the diffusion is left out.
    seeking: bool,
}

#[derive(Serialize, Deserialize)]
struct LangevinState {
    z: Vec<f64>,
    log_density: f64,
    gradient: Vec<f64>,
    /// Steps since the warm-up.
    t: usize,
    /// Where the chain began, and the estimate there under the target's own key.
    start: (Vec<f64>, f64),
}

impl<L: DifferentiableStochasticLikelihood> Kernel<Target<'_, L>> for Langevin {
    type State = LangevinState;

    fn init(
        &mut self,
        target: &Counted<'_, Target<'_, L>>,
        z: Vec<f64>,
        _rng: &mut Stream,
    ) -> Result<LangevinState, EvalError> {
        let mut gradient = vec![0.0; z.len()];
        let log_density = target.estimate_and_gradient(&z, target.target().key(), &mut gradient)?;
        Ok(LangevinState {
            start: (z.clone(), log_density),
            z,
            log_density,
            gradient,
            t: 0,
        })
    }

    fn step(
        &self,
        target: &Counted<'_, Target<'_, L>>,
        state: &mut LangevinState,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let step = self.settings.step(state.t);
        let mut z = state.z.clone();
        for ((z, gradient), scale) in z.iter_mut().zip(&state.gradient).zip(&self.scales) {
            let noise: f64 = rng.sample(StandardNormal);
            let size = if self.seeking { 0.0 } else { (step * scale).sqrt() };
            *z += 0.5 * step * scale * gradient + size * noise;
        }
        let mut report = Step {
            evaluations: 1,
            ..Step::default()
        };
        let mut gradient = vec![0.0; z.len()];
        match target.estimate_and_gradient(&z, NoiseKey::draw(rng), &mut gradient) {
            // Outside the support there is no gradient to come back by.
            Ok(f64::NEG_INFINITY) => {}
            Ok(log_density) => {
                state.z = z;
                state.log_density = log_density;
                state.gradient = gradient;
                report.acceptance = 1.0;
            }
            Err(EvalError::Recoverable(_)) => report.diverged = true,
            Err(fatal) => return Err(fatal),
        }
        if !self.tuning {
            state.t += 1;
        }
        Ok(report)
    }

    fn position(state: &LangevinState) -> (&[f64], f64) {
        (&state.z, state.log_density)
    }

    fn witness(state: &LangevinState) -> (&[f64], f64) {
        (&state.start.0, state.start.1)
    }

    fn log_weight(&self, state: &LangevinState) -> Option<f64> {
        Some(self.settings.step(state.t).ln())
    }

    fn step_size(&self) -> f64 {
        self.settings.step_size
    }
}

/// The preconditioner.
#[derive(Clone, Serialize, Deserialize)]
struct Preconditioning {
    /// Mean squared gradients.
    squares: Vec<f64>,
    step: usize,
    /// How many steps seek the region of the posterior.
    seek: usize,
}

/// What is remembered of squared gradients from one step to the next, while seeking and after it.
const MEMORY: [f64; 2] = [0.9, 0.99];
/// The first and the last step of seeking, in units of z: a third of the prior, a thousandth of it.
const SEEKING_STEPS: [f64; 2] = [0.3, 1e-3];

impl Preconditioning {
    fn apply(&self, kernel: &mut Langevin) {
        kernel.seeking = kernel.settings.preconditioned && self.step < self.seek;
        if !kernel.settings.preconditioned {
            return;
        }
        let left = 1.0 - self.step as f64 / self.seek.max(1) as f64;
        let seeking_step = SEEKING_STEPS[0] * left * left + SEEKING_STEPS[1];
        for (scale, square) in kernel.scales.iter_mut().zip(&self.squares) {
            *scale = if kernel.seeking {
                2.0 * seeking_step / (kernel.settings.step_size * square.sqrt().max(f64::MIN_POSITIVE))
            } else {
                1.0 / (1.0 + square)
            };
        }
    }
}

impl<L: DifferentiableStochasticLikelihood> Adaptation<Target<'_, L>, Langevin> for Preconditioning {
    fn begin(&mut self, kernel: &mut Langevin, state: &LangevinState) {
        kernel.tuning = true;
        self.squares = state
            .gradient
            .iter()
            .map(|gradient| gradient * gradient)
            .collect();
        self.apply(kernel);
    }

    fn update(
        &mut self,
        kernel: &mut Langevin,
        _target: &Counted<'_, Target<'_, L>>,
        state: &LangevinState,
        _step: &Step,
        _rng: &mut Stream,
    ) -> Result<(), EvalError> {
        self.step += 1;
        let memory = MEMORY[usize::from(self.step > self.seek)];
        for (square, gradient) in self.squares.iter_mut().zip(&state.gradient) {
            *square = memory * *square + (1.0 - memory) * gradient * gradient;
        }
        self.apply(kernel);
        Ok(())
    }

    fn finish(&mut self, kernel: &mut Langevin) {
        kernel.tuning = false;
        kernel.seeking = false;
    }
}

impl<L: DifferentiableStochasticLikelihood> Sampler<NoisyPosterior<L>> for Sgld {
    fn sample(&self, posterior: &NoisyPosterior<L>, options: &RunOptions) -> Result<Run, SampleError> {
        let invalid = |what: &str, value: f64, wanted: &str| {
            Err(SampleError::Invalid(format!(
                "{what} is {value}: choose {wanted}"
            )))
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        if !positive(self.step_size) {
            return invalid("step_size", self.step_size, "a positive one");
        }
        if !positive(self.delay) {
            return invalid("delay", self.delay, "a positive one");
        }
        if !(0.0..=1.0).contains(&self.decay) {
            return invalid("decay", self.decay, "it from 0 to 1");
        }
        let target = Target::new(posterior, options.seed);
        let dim = target.dim();
        let kernel = Langevin {
            settings: *self,
            scales: vec![1.0; dim],
            tuning: false,
            seeking: false,
        };
        let adaptation = Preconditioning {
            squares: vec![0.0; dim],
            step: 0,
            seek: options.warmup / 2,
        };
        let method = "stochastic-gradient Langevin dynamics";
        let mut run = run_chains(method, self, &target, options, kernel, adaptation)?;
        run.approximation = Some(format!(
            "draws of a diffusion in steps of {:.2} down to {:.2}, none of them rejected: too wide by a part that \
             falls with the step",
            self.step(0),
            self.step(options.draws)
        ));
        run.warnings.extend(target.warn_unless(
            Unbiased::LogLikelihood,
            "their gradients are biased, and so are the draws",
        ));
        Ok(run)
    }
}
