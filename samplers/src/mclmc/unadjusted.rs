//! Tune the step size of unadjusted paths by their energy errors.

use serde::{Deserialize, Serialize};

use super::kernel::{MclmcKernel, MclmcState};
use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::hmc::MetricKind;
use crate::hmc::adaptation::WarmUp;
use crate::rng::Stream;
use crate::run::Step;
use crate::run::markov::Adaptation;

/// The variance of a step's energy error, per unknown, at which the bias of unadjusted paths is small beside
/// the spread of the posterior (Robnik & Seljak 2023, arXiv 2303.18221).
const ENERGY_VARIANCE: f64 = 5e-4;
/// A path whose energy errors have this many times the variance wanted tells as much as any that is worse: a few
/// wild paths shall not count for all others.
const WILD: f64 = 16.0;

/// The warm-up of all samplers with a step size, told not the acceptance but how small the energy errors are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Unadjusted(WarmUp);

impl Unadjusted {
    pub(super) fn new(metric: MetricKind, dim: usize, warmup: usize) -> Self {
        Self(WarmUp::new(calm(ENERGY_VARIANCE), metric, dim, warmup))
    }
}

/// One where there are no energy errors, down to zero where they are wild.
fn calm(mean_square: f64) -> f64 {
    (1.0 - mean_square / (WILD * ENERGY_VARIANCE)).max(0.0)
}

impl<T: DifferentiableDensity + ?Sized> Adaptation<T, MclmcKernel> for Unadjusted {
    fn begin(&mut self, kernel: &mut MclmcKernel, state: &MclmcState) {
        <WarmUp as Adaptation<T, MclmcKernel>>::begin(&mut self.0, kernel, state);
    }

    fn update(
        &mut self,
        kernel: &mut MclmcKernel,
        target: &Counted<'_, T>,
        state: &MclmcState,
        step: &Step,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        let step = Step {
            acceptance: calm(state.error),
            ..*step
        };
        self.0.update(kernel, target, state, &step, rng)
    }

    fn finish(&mut self, kernel: &mut MclmcKernel) {
        <WarmUp as Adaptation<T, MclmcKernel>>::finish(&mut self.0, kernel);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mclmc;
    use super::*;
    use crate::hmc::leapfrog::tests::Quartic;
    use crate::rng::{Purpose, stream};
    use crate::run::markov::Kernel;

    #[test]
    fn unadjusted_steps_err_as_much_as_wanted() {
        let density = Quartic::new();
        let target = Counted::new(&density);
        let settings = Mclmc {
            adjusted: false,
            ..Mclmc::default()
        };
        let mut rng = stream(7, Purpose::Chain, 0);
        let mut kernel = MclmcKernel::new(settings, 2);
        let mut state = kernel.init(&target, vec![0.8, -0.3], &mut rng).unwrap();
        let mut tuning = Unadjusted::new(settings.metric, 2, 2000);
        for _ in 0..2000 {
            let step = kernel.step(&target, &mut state, &mut rng).unwrap();
            tuning
                .update(&mut kernel, &target, &state, &step, &mut rng)
                .unwrap();
        }
        <Unadjusted as Adaptation<Quartic, MclmcKernel>>::finish(&mut tuning, &mut kernel);
        let paths = 2000;
        let mut variance = 0.0;
        for _ in 0..paths {
            kernel.step(&target, &mut state, &mut rng).unwrap();
            variance += state.error / f64::from(paths);
        }
        // What is tuned is the mean of an error that is cut off: of errors so uneven the mean is a few times as large,
        // the step size, its sixth root, a fifth.
        assert!((0.5..4.0).contains(&(variance / ENERGY_VARIANCE)), "{variance}");
    }
}
