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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hmc::leapfrog::tests::Quartic;
    use crate::rng::{Purpose, stream};

    /// The means of functions over one long chain at a fixed step size, with standard errors from batches.
    fn chain_means<const N: usize>(step_size: f64, f: [fn(&[f64]) -> f64; N]) -> [(f64, f64); N] {
        const BATCHES: usize = 50;
        const BATCH: usize = 2000;
        let density = Quartic::new();
        let target = Counted::new(&density);
        let mut rng = stream(7, Purpose::Chain, 0);
        let mut kernel = NutsKernel::new(Nuts::default(), 2);
        let mut state = kernel.init(&target, vec![0.8, -0.3], &mut rng).unwrap();
        kernel.step_size = step_size;
        let mut means = vec![[0.0; N]; BATCHES];
        for batch in &mut means {
            for _ in 0..BATCH {
                kernel.step(&target, &mut state, &mut rng).unwrap();
                for (mean, f) in batch.iter_mut().zip(f) {
                    *mean += f(&state.at.z) / BATCH as f64;
                }
            }
        }
        std::array::from_fn(|i| {
            let mean = means.iter().map(|batch| batch[i]).sum::<f64>() / BATCHES as f64;
            let squares: f64 = means.iter().map(|batch| (batch[i] - mean).powi(2)).sum();
            (mean, (squares / (BATCHES * (BATCHES - 1)) as f64).sqrt())
        })
    }

    /// Wrong weights show where energy errors are large: at step sizes that accept little.
    #[test]
    fn the_chain_is_exact_at_any_step_size() {
        // E x² = 2 Γ(3/4) / Γ(1/4) of e^(−x⁴/4), and (x − y) is standard normal.
        let square = 2.0 * 1.225_416_702_465_178 / 3.625_609_908_221_908;
        for step_size in [0.2, 0.7, 1.3] {
            let f: [fn(&[f64]) -> f64; 5] = [
                |z| z[0],
                |z| z[0] * z[0],
                |z| z[0].powi(4),
                |z| (z[0] - z[1]).powi(2),
                |z| z[1] * z[1],
            ];
            let expected = [0.0, square, 1.0, 1.0, square + 1.0];
            for ((mean, error), expected) in chain_means(step_size, f).into_iter().zip(expected) {
                assert!(
                    ((mean - expected) / error).abs() < 5.0 && error < 0.05,
                    "step size {step_size}: {mean} ± {error} for {expected}"
                );
            }
        }
    }
}
