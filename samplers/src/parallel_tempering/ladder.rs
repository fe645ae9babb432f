//! Carry points along a ladder of temperatures: `Ladder`, and what its rungs and pairs learn.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::adapt::random_walk::{best_acceptance, best_scale};
use crate::adapt::{DualAveraging, Moments, Windows};
use crate::density::{Counted, Density};
use crate::error::EvalError;
use crate::likelihood::Likelihood;
use crate::posterior::Posterior;
use crate::rng::Stream;
use crate::tempered::{Swarm, Walk};

/// One ladder between two steps. Rung 0 is the prior, the last the posterior.
#[derive(Serialize, Deserialize)]
pub(super) struct Ladder {
    pub(super) betas: Vec<f64>,
    pub(super) replicas: Swarm,
    pub(super) walks: Vec<Walk>,
    /// Gone after the warm-up.
    pub(super) tuning: Option<Vec<Tuning>>,
    pub(super) pairs: Vec<Pair>,
    /// Of the point on each rung: whether it has been at the prior since it was last at the posterior.
    pub(super) from_prior: Vec<bool>,
    pub(super) arrivals: usize,
    pub(super) failures: usize,
    pub(super) step: usize,
    #[serde(skip)]
    pub(super) proposals: Swarm,
}

/// What a rung learns while it is tuned.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Tuning {
    averaging: DualAveraging,
    moments: Moments,
}

impl Tuning {
    pub(super) fn new(dim: usize) -> Self {
        Self {
            averaging: DualAveraging::new(best_acceptance(dim), best_scale(dim)),
            moments: Moments::new(dim),
        }
    }
}

/// What is known of two neighbouring rungs.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Pair {
    /// The sum of the probabilities with which their swap is rejected, and of how many steps.
    rejected: f64,
    steps: usize,
    /// The mean of exp(½ Δβ ln L) on the lower rung, and of exp(−½ Δβ ln L) on the upper one.
    up: LogMean,
    down: LogMean,
}

impl Pair {
    pub(super) fn rejection(&self) -> f64 {
        self.rejected / self.steps.max(1) as f64
    }
}

/// The logarithm of a mean of exponentials, term by term.
#[derive(Clone, Serialize, Deserialize)]
struct LogMean {
    largest: f64,
    /// In units of exp(largest).
    sum: f64,
    count: usize,
}

impl Default for LogMean {
    fn default() -> Self {
        Self {
            largest: f64::NEG_INFINITY,
            sum: 0.0,
            count: 0,
        }
    }
}

impl LogMean {
    fn push(&mut self, exponent: f64) {
        self.count += 1;
        if exponent > self.largest {
            self.sum = self.sum * (self.largest - exponent).exp() + 1.0;
            self.largest = exponent;
        } else if exponent > f64::NEG_INFINITY {
            self.sum += (exponent - self.largest).exp();
        }
    }

    fn value(&self) -> f64 {
        self.largest + (self.sum / self.count as f64).ln()
    }
}

impl Ladder {
    pub(super) fn top(&self) -> usize {
        self.betas.len() - 1
    }

    /// One step of every walk; the prior is drawn from with the last of them.
    pub(super) fn walk<L: Likelihood>(
        &mut self,
        target: &Counted<'_, Posterior<L>>,
        last: bool,
        acceptances: &mut [f64],
        rng: &mut Stream,
    ) -> Result<bool, EvalError> {
        let (rungs, dim) = (self.betas.len(), target.dim());
        if self.proposals.len() != rungs {
            self.proposals = Swarm::new(rungs, dim);
        }
        let first = usize::from(!last);
        if last {
            let drawn = target.initial(rng);
            self.proposals.point_mut(0).copy_from_slice(&drawn);
        }
        for rung in 1..rungs {
            let z = self.replicas.point(rung);
            self.walks[rung].propose(z, rng, self.proposals.point_mut(rung));
        }
        self.failures += self.proposals.evaluate(target, first, rungs)?;
        let failed = self.proposals.log_likelihood[rungs - 1].is_nan();
        if last {
            let value = self.proposals.log_likelihood[0];
            self.proposals.log_likelihood[0] = if value.is_nan() { f64::NEG_INFINITY } else { value };
            self.replicas.set(0, &self.proposals, 0);
        }
        for (rung, sum) in acceptances.iter_mut().enumerate().skip(1) {
            let acceptance = self.replicas.acceptance(rung, &self.proposals, self.betas[rung]);
            *sum += acceptance;
            if rng.random::<f64>() < acceptance {
                self.replicas.set(rung, &self.proposals, rung);
            }
        }
        Ok(failed)
    }

    /// Swaps every other pair, after adding what all of them tell.
    pub(super) fn swap(&mut self, rng: &mut Stream) {
        for (rung, pair) in self.pairs.iter_mut().enumerate() {
            let step = self.betas[rung + 1] - self.betas[rung];
            let (below, above) = (
                self.replicas.log_likelihood[rung],
                self.replicas.log_likelihood[rung + 1],
            );
            // Above the prior, no point has a likelihood of zero.
            let acceptance = (step * (below - above)).exp().min(1.0);
            pair.rejected += 1.0 - acceptance;
            pair.steps += 1;
            pair.up.push(0.5 * step * below);
            pair.down.push(-0.5 * step * above);
            if (rung + self.step).is_multiple_of(2) && rng.random::<f64>() < acceptance {
                self.replicas.swap(rung, rung + 1);
                self.from_prior.swap(rung, rung + 1);
            }
        }
        let top = self.top();
        self.from_prior[0] = true;
        self.arrivals += usize::from(std::mem::take(&mut self.from_prior[top]));
    }

    /// Learns from a step of the warm-up.
    pub(super) fn tune(&mut self, windows: &Windows, acceptances: &[f64]) {
        let Some(tuning) = &mut self.tuning else {
            return;
        };
        let dim = self.replicas.dim();
        for (rung, tuning) in tuning.iter_mut().enumerate().skip(1) {
            self.walks[rung].scale = tuning.averaging.update(acceptances[rung]);
            if windows.contain(self.step) {
                tuning.moments.push(self.replicas.point(rung));
            }
            if windows.close_at(self.step) {
                // A covariance that is singular to rounding leaves the walk as it was.
                if let Some(cholesky) = tuning.moments.covariance().cholesky() {
                    self.walks[rung].factor = cholesky.unpack();
                    self.walks[rung].scale = best_scale(dim);
                }
                *tuning = Tuning::new(dim);
            }
        }
        if windows.close_at(self.step) {
            let rejections: Vec<f64> = self.pairs.iter().map(Pair::rejection).collect();
            self.betas = even_ladder(&self.betas, &rejections);
            self.forget();
        }
    }

    pub(super) fn finish(&mut self) {
        for (walk, tuning) in self
            .walks
            .iter_mut()
            .zip(self.tuning.take().iter().flatten())
            .skip(1)
        {
            walk.scale = tuning.averaging.finish();
        }
        self.forget();
    }

    /// What the pairs told belongs to another ladder.
    fn forget(&mut self) {
        self.pairs.fill(Pair::default());
        self.arrivals = 0;
    }

    pub(super) fn log_evidence(&self) -> f64 {
        let bridge = |pair: &Pair| pair.up.value() - pair.down.value();
        self.pairs.iter().map(bridge).sum()
    }
}

/// The ladder on which every pair rejects the same, if the rejection between two temperatures is that of
/// the old ladder spread evenly between its rungs (Syed et al. 2022, section 5).
fn even_ladder(betas: &[f64], rejections: &[f64]) -> Vec<f64> {
    // Rungs that never reject still lie apart, so that there is one way back from the sum to β.
    let parts: Vec<f64> = rejections.iter().map(|rejection| rejection.max(1e-3)).collect();
    let total: f64 = parts.iter().sum();
    let rungs = betas.len();
    let (mut ladder, mut pair, mut below) = (vec![0.0], 0, 0.0);
    for rung in 1..rungs - 1 {
        let wanted = total * rung as f64 / (rungs - 1) as f64;
        while pair + 1 < parts.len() && below + parts[pair] < wanted {
            below += parts[pair];
            pair += 1;
        }
        let fraction = ((wanted - below) / parts[pair]).min(1.0);
        ladder.push(betas[pair] + fraction * (betas[pair + 1] - betas[pair]));
    }
    ladder.push(1.0);
    ladder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_ladder_spreads_the_rejection() {
        // All rejection lies in the first pair: all rungs go there.
        let ladder = even_ladder(&[0.0, 0.2, 0.6, 1.0], &[0.9, 0.0, 0.0]);
        assert!(ladder.is_sorted() && ladder[0] == 0.0 && ladder[3] == 1.0);
        assert!(
            (ladder[1] - 0.0667).abs() < 1e-3 && (ladder[2] - 0.1335).abs() < 1e-3,
            "{ladder:?}"
        );
        let even = even_ladder(&[0.0, 0.1, 1.0], &[0.3, 0.3]);
        assert!((even[1] - 0.1).abs() < 1e-12);
        assert_eq!(even_ladder(&[0.0, 1.0], &[0.5]), [0.0, 1.0]);
    }

    #[test]
    fn a_mean_of_exponentials_may_have_large_and_impossible_terms() {
        let mut mean = LogMean::default();
        for exponent in [
            f64::NEG_INFINITY,
            -1000.0,
            700.0,
            1000.0,
            f64::NEG_INFINITY,
            1000.0,
        ] {
            mean.push(exponent);
        }
        assert!((mean.value() - (1000.0 - 3f64.ln())).abs() < 1e-12);
    }
}
