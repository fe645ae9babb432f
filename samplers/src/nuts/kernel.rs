//! Draw from a tree that doubles until it turns back.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Nuts;
use super::tree::{Growth, Tree};
use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::hmc::adaptation::Flowing;
use crate::hmc::leapfrog::{Position, find_step_size};
use crate::hmc::metric::Metric;
use crate::rng::Stream;
use crate::run::Step;
use crate::run::markov::Kernel;

/// The deepest tree while the metric is unknown: a path in the wrong units is not worth many gradients.
const FIRST_DEPTH: usize = 4;

/// The tree's settings, step size and metric.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NutsKernel {
    settings: Nuts,
    pub(super) step_size: f64,
    metric: Metric,
    max_depth: usize,
}

/// A point of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NutsState {
    at: Position,
    /// Memory for the tree.
    #[serde(skip)]
    tree: Tree,
}

impl NutsKernel {
    pub(super) fn new(settings: Nuts, dim: usize) -> Self {
        Self {
            settings,
            step_size: 1.0,
            metric: Metric::identity(settings.metric, dim),
            max_depth: settings.max_depth,
        }
    }
}

impl<T: DifferentiableDensity + ?Sized> Kernel<T> for NutsKernel {
    type State = NutsState;

    fn init(
        &mut self,
        target: &Counted<'_, T>,
        z: Vec<f64>,
        rng: &mut Stream,
    ) -> Result<NutsState, EvalError> {
        let at = Position::new(target, z)?;
        if at.log_density.is_finite() {
            let acceptance = self.settings.target_acceptance;
            self.step_size = find_step_size(target, &self.metric, &at, 1.0, acceptance, rng)?;
        }
        let tree = Tree::default();
        Ok(NutsState { at, tree })
    }

    fn step(
        &self,
        target: &Counted<'_, T>,
        state: &mut NutsState,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let NutsState { at, tree } = state;
        tree.plant(&self.metric, at, self.max_depth, rng);
        let mut diverged = false;
        for depth in 0..self.max_depth {
            let forward = rng.random::<bool>();
            match tree.double(target, &self.metric, self.step_size, forward, depth, rng)? {
                Growth::Whole => {}
                Growth::Turned | Growth::Outside => break,
                Growth::Diverged => {
                    diverged = true;
                    break;
                }
            }
            if !tree.accept_half(at, forward, rng) {
                break;
            }
        }
        Ok(Step {
            acceptance: tree.acceptance(),
            diverged,
            energy: Some(tree.energy()),
            evaluations: tree.leapfrogs(),
        })
    }

    fn position(state: &NutsState) -> (&[f64], f64) {
        (&state.at.z, state.at.log_density)
    }

    fn step_size(&self) -> f64 {
        self.step_size
    }
}

impl<T: DifferentiableDensity + ?Sized> Flowing<T> for NutsKernel {
    fn tuned(&mut self) -> (&mut f64, &mut Metric) {
        (&mut self.step_size, &mut self.metric)
    }

    fn limit(&mut self, first: bool) {
        let most = if first { FIRST_DEPTH } else { usize::MAX };
        self.max_depth = self.settings.max_depth.min(most);
    }

    fn at(state: &NutsState) -> &Position {
        &state.at
    }
}
