//! Move chains along paths in lock-step: each leapfrog of all of them is one call of the target.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::density::{Counted, Density, DifferentiableDensity};
use crate::error::EvalError;
use crate::hmc::leapfrog::{DIVERGENCE, Leap, Moving, Position, cross_acceptance};
use crate::hmc::metric::Metric;
use crate::likelihood::Points;
use crate::rng::Stream;
use crate::run::Step;

/// An acceptance of zero would make the harmonic mean zero, whatever the others are.
const LEAST_ACCEPTANCE: f64 = 1e-3;

/// The chains, and what moves them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Flock {
    pub(super) positions: Vec<Position>,
    pub(super) metric: Metric,
    pub(super) step_size: f64,
}

/// The way of one chain.
pub(super) struct Path {
    pub(super) moving: Moving,
    /// The energy at its start, and by how much it has changed.
    energy: f64,
    error: f64,
    leapfrogs: u32,
    /// A path goes on while it is inside.
    leap: Leap,
}

impl Path {
    fn start(metric: &Metric, position: &Position, rng: &mut Stream) -> Self {
        let mut moving = Moving::default();
        moving.start(metric, position);
        moving.refresh(rng);
        Self {
            energy: moving.energy(),
            moving,
            error: 0.0,
            leapfrogs: 0,
            leap: Leap::Inside,
        }
    }

    /// The probability of accepting where it ended.
    pub(super) fn acceptance(&self) -> f64 {
        match self.leap {
            Leap::Inside => (-self.error).exp().min(1.0),
            Leap::Outside | Leap::Failed => 0.0,
        }
    }

    /// Takes what the target said of where the path has come to.
    fn arrive(&mut self, metric: &Metric, step_size: f64) {
        self.leapfrogs += 1;
        if self.leap != Leap::Inside {
            return;
        }
        if self.moving.at.log_density == f64::NEG_INFINITY {
            self.leap = Leap::Outside;
            return;
        }
        self.moving.arrive(metric, step_size);
        self.error = self.moving.energy() - self.energy;
        if self.error.is_nan() || self.error > DIVERGENCE {
            self.leap = Leap::Failed;
        }
    }
}

impl Flock {
    /// Paths of `leapfrogs` steps with new momenta. A path that fails ends there; the others go on.
    ///
    /// # Errors
    /// `Fatal` errors of the target.
    pub(super) fn paths<T: DifferentiableDensity + ?Sized>(
        &self,
        target: &Counted<'_, T>,
        leapfrogs: usize,
        rng: &mut Stream,
    ) -> Result<Vec<Path>, EvalError> {
        let start = |position| Path::start(&self.metric, position, rng);
        let mut paths: Vec<Path> = self.positions.iter().map(start).collect();
        for _ in 0..leapfrogs {
            let mut going: Vec<&mut Path> = paths
                .iter_mut()
                .filter(|path| path.leap == Leap::Inside)
                .collect();
            if going.is_empty() {
                break;
            }
            for path in &mut going {
                path.moving.depart(&self.metric, self.step_size);
            }
            evaluate(target, &mut going)?;
            for path in going {
                path.arrive(&self.metric, self.step_size);
            }
        }
        Ok(paths)
    }

    /// Accepts or refuses where the paths ended. One report for each chain.
    pub(super) fn accept(&mut self, paths: Vec<Path>, rng: &mut Stream) -> Vec<Step> {
        let accept = |(position, path): (&mut Position, Path)| {
            let acceptance = path.acceptance();
            let mut energy = path.energy;
            if rng.random::<f64>() < acceptance {
                energy += path.error;
                *position = path.moving.at;
            }
            Step {
                acceptance,
                diverged: path.leap == Leap::Failed,
                energy: Some(energy),
                evaluations: path.leapfrogs,
            }
        };
        self.positions.iter_mut().zip(paths).map(accept).collect()
    }

    /// Finds a step size for the metric as it is.
    ///
    /// # Errors
    /// `Fatal` errors of the target.
    pub(super) fn find_step_size<T: DifferentiableDensity + ?Sized>(
        &mut self,
        target: &Counted<'_, T>,
        acceptance: f64,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        self.step_size = cross_acceptance(1.0, acceptance, |step_size| {
            self.step_size = step_size;
            let paths = self.paths(target, 1, rng)?;
            Ok(harmonic_mean(paths.iter().map(Path::acceptance)))
        })?;
        Ok(())
    }
}

/// The mean acceptance that the step size aims by: it heeds the chains that are stuck.
pub(super) fn harmonic_mean(acceptances: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = acceptances.len() as f64;
    count / acceptances.map(|a| a.max(LEAST_ACCEPTANCE).recip()).sum::<f64>()
}

/// Evaluates where the paths are in one call; if a point fails, one by one, to learn which.
fn evaluate<T: DifferentiableDensity + ?Sized>(
    target: &Counted<'_, T>,
    paths: &mut [&mut Path],
) -> Result<(), EvalError> {
    let dim = target.dim();
    let zs: Vec<f64> = paths
        .iter()
        .flat_map(|path| path.moving.at.z.iter().copied())
        .collect();
    let (mut values, mut gradients) = (vec![0.0; paths.len()], vec![0.0; zs.len()]);
    match target.value_and_gradient_batch(Points::new(&zs, dim)?, &mut values, &mut gradients) {
        Ok(()) => {
            for ((path, value), gradient) in paths.iter_mut().zip(values).zip(gradients.chunks_exact(dim)) {
                path.moving.at.log_density = value;
                path.moving.at.gradient.copy_from_slice(gradient);
            }
            return Ok(());
        }
        Err(EvalError::Recoverable(_)) => {}
        Err(fatal) => return Err(fatal),
    }
    for path in paths {
        let at = &mut path.moving.at;
        match target.value_and_gradient(&at.z, &mut at.gradient) {
            Ok(value) => at.log_density = value,
            Err(EvalError::Recoverable(_)) => path.leap = Leap::Failed,
            Err(fatal) => return Err(fatal),
        }
    }
    Ok(())
}
