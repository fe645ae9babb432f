//! Read the log density of data off a probability flow, by the instantaneous change of variables.

use super::trace::{Probes, Trace};
use crate::{
    error::{ModelError, Result},
    likelihoods::NoiseKey,
    ode::{self, Method},
    path::{Path, Target},
    predictor::DifferentiablePredictor,
};

/// The smallest α/σ, or σ/α, at which what was predicted still says enough about the velocity.
const LEAST: f64 = 1e-4;

/// Log densities of points, and what is known about their errors.
#[derive(Debug, Clone, PartialEq)]
pub struct LogDensities {
    /// One for each point, in nats.
    pub values: Vec<f64>,
    /// Their standard errors from the spread over probes: 0 where the trace is exact, not a number for a single probe.
    pub standard_errors: Vec<f64>,
    /// Standard deviation of the noise that the density is of data with: 0, or that at the first time that the path can
    /// be followed from.
    pub noise: f64,
    /// How often the velocity of all points was asked for.
    pub evaluations: usize,
}

/// The log density of each row of `x` (rows × numbers) under the flow of `predictor`.
///
/// Follows the flow from data to noise and integrates the divergence on the way,
/// `ln p(x_0) = ln N(x_1; 0, σ(1)²) + ∫₀¹ ∇·v dt` (Chen et al. 2018, arXiv 1806.07366; Song et al. 2021, arXiv
/// 2011.13456). Of a prediction `p` with `v = a x + b p` it is `∇·v = a n + b ∇·p`. The probes of a row are drawn under
/// `key` and its place, and stay the same along the way (Grathwohl et al. 2019, arXiv 1810.01367): values are unbiased
/// but for the steps of `method`, of which fixed ones number `steps`. Adaptive ones are as long for all rows, so that a
/// value then depends on the others within the tolerance.
///
/// Where a path, or what is predicted, tells nothing at t = 0, the flow is followed from the first time t at which it does,
/// and the density is that of data with noise of the deviation σ(t)/α(t), given as [`LogDensities::noise`]: at most 1e-4
/// but for chains, whose first level it is. At the end of noise it is likewise, and what is left of the data, at most 1e-4
/// of it, is taken for noise.
///
/// The rate of a chain jumps at each of its levels. Steps of [`Method::Midpoint`], as many as the chain has times a number,
/// less that number, end there and are not disturbed.
///
/// ```
/// use armilla_models::{Cpu, continuous::{Trace, log_density}, ode::Method, path::{Path, Target}, predictor::NetworkPredictor};
/// use armilla_models::nets::{ConditionedMlp, ConditionedMlpConfig};
/// use armilla_samplers::rng::{Purpose, stream};
/// let device = Cpu::default();
/// let config = ConditionedMlpConfig { channels: 2, ..Default::default() };
/// let network = ConditionedMlp::new(&device, config, &mut stream(1, Purpose::Weights, 0))?;
/// let flow = NetworkPredictor::new(&network, &device, [1; 3], Path::Linear, Target::Velocity)?;
/// let found = log_density(&flow, &[0.3, -0.2, 1.0, 0.5], Trace::Exact, Method::Rk4, 10, 0)?;
/// assert_eq!((found.values.len(), found.evaluations), (2, 40));
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
///
/// # Errors
/// `Shape` where `x` is not made of whole rows, `Invalid` for settings that make no sense, and those of the predictor.
pub fn log_density<P: DifferentiablePredictor + ?Sized>(
    predictor: &P,
    x: &[f64],
    trace: Trace,
    method: Method,
    steps: usize,
    key: NoiseKey,
) -> Result<LogDensities> {
    let n = predictor.numbers();
    if n == 0 || x.is_empty() || !x.len().is_multiple_of(n) {
        let what = format!("{} numbers do not make rows of {n}", x.len());
        return Err(ModelError::shape("log_density", what));
    }
    let (path, target) = (predictor.path(), predictor.target());
    let [start, end] = ends(path, target);
    let probes = Probes::draw(trace, x.len() / n, n, key)?;
    let estimates = probes.estimates();
    let first = path.at(start);
    // The points, then the integrals for each.
    let mut state: Vec<f64> = x.iter().map(|x| first.alpha * x).collect();
    state.resize(x.len() + x.len() / n * estimates, 0.0);
    let mut field = |t: f64, state: &[f64]| -> Result<Vec<f64>> {
        let x = &state[..x.len()];
        let [a, b] = path.at(t).conversion(target, Target::Velocity);
        let [prediction, traces] = probes.traces(predictor, x, t)?;
        let velocity = x.iter().zip(prediction).map(|(x, p)| a * x + b * p);
        let divergence = traces.into_iter().map(|trace| a * n as f64 + b * trace);
        Ok(velocity.chain(divergence).collect())
    };
    let solution = ode::solve(&mut field, state, start, end, method, steps)?;
    let (noise, integrals) = solution.x.split_at(x.len());
    let sigma = path.at(end).sigma;
    let (values, standard_errors) = noise
        .chunks_exact(n)
        .zip(integrals.chunks_exact(estimates))
        .map(|(noise, integrals)| {
            let [mean, error] = mean_and_error(integrals, trace);
            (
                log_normal(noise, sigma) + mean + n as f64 * first.alpha.ln(),
                error,
            )
        })
        .unzip();
    Ok(LogDensities {
        values,
        standard_errors,
        noise: first.sigma / first.alpha,
        evaluations: solution.evaluations,
    })
}

/// The times between which a velocity follows from what is predicted.
pub(super) fn ends(path: &Path, target: Target) -> [f64; 2] {
    let [mut start, mut end] = path.range();
    let margin = -2.0 * LEAST.ln();
    match target {
        Target::Data => start = start.max(path.time_of(margin)),
        Target::Noise | Target::Score => end = end.min(path.time_of(-margin)),
        Target::Velocity | Target::V => {}
    }
    [start, end]
}

fn mean_and_error(estimates: &[f64], trace: Trace) -> [f64; 2] {
    let count = estimates.len() as f64;
    let mean = estimates.iter().sum::<f64>() / count;
    if trace == Trace::Exact {
        return [mean, 0.0];
    }
    let spread: f64 = estimates.iter().map(|e| (e - mean).powi(2)).sum();
    [mean, (spread / (count - 1.0) / count).sqrt()]
}

/// `ln N(x; 0, σ²)`.
pub(super) fn log_normal(x: &[f64], sigma: f64) -> f64 {
    let each = (std::f64::consts::TAU * sigma * sigma).ln();
    -0.5 * x.iter().map(|x| (x / sigma).powi(2) + each).sum::<f64>()
}
