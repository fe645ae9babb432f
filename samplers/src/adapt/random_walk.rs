//! Take Gaussian steps whose covariance and scale follow the chain during warm-up.

use nalgebra::{DMatrix, DVector};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::{DualAveraging, Moments, Windows};
use crate::density::Counted;
use crate::error::{EvalError, SampleError};
use crate::rng::Stream;
use crate::run::Step;
use crate::run::markov::{Adaptation, Kernel};
use crate::settings::check_acceptance;

/// The proposal of a random walk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RandomWalk {
    pub(crate) scale: f64,
    /// The lower Cholesky factor of the covariance.
    factor: DMatrix<f64>,
}

impl RandomWalk {
    pub(crate) fn new(dim: usize) -> Self {
        Self {
            scale: best_scale(dim),
            factor: DMatrix::identity(dim, dim),
        }
    }

    /// A point near `z`.
    pub(crate) fn propose(&self, z: &[f64], rng: &mut Stream) -> Vec<f64> {
        let noise = DVector::from_fn(z.len(), |_, _| rng.sample::<f64, _>(StandardNormal));
        let step = &self.factor * noise * self.scale;
        z.iter().zip(step.iter()).map(|(z, step)| z + step).collect()
    }
}

/// The best scale for a Gaussian whose covariance is that of the proposal (Roberts et al. 1997).
pub(crate) fn best_scale(dim: usize) -> f64 {
    2.38 / (dim as f64).sqrt()
}

/// The acceptance that suits a random walk (Roberts et al. 1997, doi:10.1214/aoap/1034625254).
pub(crate) fn best_acceptance(dim: usize) -> f64 {
    if dim == 1 { 0.44 } else { 0.234 }
}

/// The acceptance to aim at: the one wished for, else 0.44 for one unknown and 0.234 for more.
///
/// # Errors
/// `Invalid` where it is no probability between 0 and 1.
pub(crate) fn target_acceptance(wish: Option<f64>, dim: usize) -> Result<f64, SampleError> {
    let target_acceptance = wish.unwrap_or_else(|| best_acceptance(dim));
    check_acceptance(target_acceptance)?;
    Ok(target_acceptance)
}

/// Steps per draw: as many as wished for, else one for each unknown.
///
/// # Errors
/// `Invalid` where it is 0.
pub(crate) fn thinning(wish: Option<usize>, dim: usize) -> Result<usize, SampleError> {
    match wish.unwrap_or(dim) {
        0 => Err(SampleError::Invalid(
            "thinning is 0: take at least one step per draw".into(),
        )),
        thinning => Ok(thinning),
    }
}

/// The tuning of a random walk: its covariance is that of the chain, window by window, its scale aims at an
/// acceptance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AdaptiveWalk {
    averaging: DualAveraging,
    target_acceptance: f64,
    moments: Moments,
    windows: Windows,
    step: usize,
}

impl AdaptiveWalk {
    pub(crate) fn new(target_acceptance: f64, dim: usize, warmup: usize) -> Self {
        Self {
            averaging: DualAveraging::new(target_acceptance, best_scale(dim)),
            target_acceptance,
            moments: Moments::new(dim),
            windows: Windows::new(warmup),
            step: 0,
        }
    }

    /// From here on, aims at another acceptance.
    pub(crate) fn aim(&mut self, target_acceptance: f64) {
        self.target_acceptance = target_acceptance;
        self.averaging.aim(target_acceptance);
    }

    /// After a step that ended at `z` with this probability of acceptance.
    pub(crate) fn update(&mut self, walk: &mut RandomWalk, z: &[f64], acceptance: f64) {
        walk.scale = self.averaging.update(acceptance);
        if self.windows.contain(self.step) {
            self.moments.push(z);
        }
        if self.windows.close_at(self.step) {
            // A covariance that is singular to rounding leaves the proposal as it was.
            if let Some(cholesky) = self.moments.covariance().cholesky() {
                walk.factor = cholesky.unpack();
                walk.scale = best_scale(z.len());
                self.averaging = DualAveraging::new(self.target_acceptance, walk.scale);
            }
            self.moments = Moments::new(z.len());
        }
        self.step += 1;
    }

    /// After the last step of the warm-up.
    pub(crate) fn finish(&mut self, walk: &mut RandomWalk) {
        walk.scale = self.averaging.finish();
    }
}

/// A kernel that proposes by a random walk.
pub(crate) trait Walks {
    fn walk(&mut self) -> &mut RandomWalk;
}

impl<T: ?Sized, K: Kernel<T> + Walks> Adaptation<T, K> for AdaptiveWalk {
    fn begin(&mut self, _kernel: &mut K, _state: &K::State) {}

    fn update(
        &mut self,
        kernel: &mut K,
        _target: &Counted<'_, T>,
        state: &K::State,
        step: &Step,
        _rng: &mut Stream,
    ) -> Result<(), EvalError> {
        self.update(kernel.walk(), K::position(state).0, step.acceptance);
        Ok(())
    }

    fn finish(&mut self, kernel: &mut K) {
        self.finish(kernel.walk());
    }
}
