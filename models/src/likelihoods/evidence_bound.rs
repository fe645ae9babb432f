//! Bound the log-likelihood from below by the velocity error, weighted by what each time tells.

use serde::{Deserialize, Serialize};

use super::{NoiseKey, Surrogate};
use crate::{
    error::Result,
    path::Time,
    velocity::{Coefficients, VelocityBasis},
};

/// The evidence lower bound of a velocity field on the straight path.
///
/// For a diffusion from data to noise, ln p(x0) is at least (Kingma et al. 2021, arXiv 2107.00630)
///
/// ```text
/// −KL(q(x_T|x0) ‖ p(x_T)) + E ln p(x0|x_ε) − ½ ∫ SNR(λ) E‖x0 − x̂0‖² dλ
/// ```
///
/// over the log signal-to-noise ratios λ between the two ends, whatever the path between them: only λ counts
/// (Kingma & Gao 2023, arXiv 2303.00848). On the straight path `x0 = x_t − t v`, so `x0 − x̂0 = t (v̂ − v)`,
/// `SNR = (1−t)²/t²` and `dλ = −2 dt/(t (1 − t))`: the integral is `∫ (1−t)/t · E‖v − v̂‖² dt`, the squared
/// velocity error with weight (1−t)/t. In terms of `u = σ v + …` ([`path`](crate::path)) it is
/// `½ ∫ sigmoid(λ) E‖u − û‖² dλ`, which is what is computed here: λ in equal strata, a random place in each.
///
/// The ends are closed with what the network does not see: `p(x_T) = N(0, σ_T² I)`, and
/// `p(x0|x_ε) = N(x_ε/(1−ε), (ε/(1−ε))² I)`, which gives `n/2 (λ_max − ln 2πe)`. Both are proper densities,
/// so the result is a lower bound for any range. It is tight where the network is the true conditional mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvidenceBound {
    /// Strata in λ.
    pub times: usize,
    /// Antithetic pairs of noise at each time.
    pub noises: usize,
    /// Fixes times and noise.
    pub key: NoiseKey,
}

impl Default for EvidenceBound {
    fn default() -> Self {
        Self {
            times: 64,
            noises: 6,
            key: 0,
        }
    }
}

impl EvidenceBound {
    /// Reads the field `x0`, of about unit variance, through `network`: 2 · times · noises passes.
    ///
    /// # Errors
    /// `Shape` for a field of another size, `Invalid` where it is not finite or a setting is zero.
    pub fn observe<B: VelocityBasis>(&self, network: &B, x0: &[f32]) -> Result<Surrogate<B::Coefficients>>
    where
        B::Coefficients: Coefficients,
    {
        use armilla_samplers::rng::{Purpose, stream};
        use rand::RngExt;
        let [low, high] = network.log_snr_range();
        let step = (high - low) / self.times.max(1) as f64;
        let mut stream = stream(self.key, Purpose::Noise, u64::MAX);
        let times: Vec<Time> = (0..self.times)
            .map(|i| Time::from_log_snr(low + (i as f64 + stream.random::<f64>()) * step))
            .collect();
        let weights = times
            .iter()
            .map(|t| 0.5 * step * ((1.0 - t.t) / t.scale).powi(2))
            .collect();
        let n = x0.len() as f64;
        let square: f64 = x0.iter().map(|x| f64::from(*x).powi(2)).sum();
        let end = Time::from_log_snr(low);
        let (noise, signal) = ((end.t / end.scale).powi(2), ((1.0 - end.t) / end.scale).powi(2));
        let divergence = 0.5 * (n * (noise - 1.0 - noise.ln()) + signal * square);
        let decoder = 0.5 * n * (high - (2.0 * std::f64::consts::PI).ln() - 1.0);
        Surrogate::observe(
            network,
            x0,
            times,
            weights,
            self.noises,
            self.key,
            decoder - divergence,
        )
    }
}
