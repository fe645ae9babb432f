//! Run nuts-rs on one target: `nuts_rs_peer TARGET DIM DRAWS SEED`, its data on standard input.
//!
//! Data are numbers in native-endian f64: for `eight_schools` y and sigma; for `blr` the rows of the design, then y.
//! Standard output is f64 too: warm-up, seconds of the warm-up, seconds of the draws, gradients, then the draws by chain.

use std::{
    collections::HashMap,
    io::{Read, Write},
    sync::Arc,
    thread,
    time::Instant,
};

use nuts_rs::{
    Chain, CpuLogpFunc, CpuMath, CpuMathError, DiagNutsSettings, HasDims, LogpError, Settings,
    rand::{Rng, RngExt, SeedableRng, rngs::StdRng},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

const CHAINS: u64 = 4;
const CORES: u64 = 2;

/// Log density at x, writing its gradient.
type Density = Arc<dyn Fn(&[f64], &mut [f64]) -> f64 + Send + Sync>;

/// Unit variances, correlation 0.9^|i-j|, as an autoregression.
fn gaussian(x: &[f64], gradient: &mut [f64]) -> f64 {
    let (rho, precision) = (0.9, 1.0 / (1.0 - 0.9 * 0.9));
    let mut log_density = -0.5 * x[0] * x[0];
    gradient[0] = -x[0];
    for i in 1..x.len() {
        let step = x[i] - rho * x[i - 1];
        log_density -= 0.5 * precision * step * step;
        gradient[i] = -precision * step;
        gradient[i - 1] += rho * precision * step;
    }
    log_density
}

/// Eight schools, non-centred: (mu, log tau, eta).
fn eight_schools(data: &[f64], x: &[f64], gradient: &mut [f64]) -> f64 {
    let (y, sigma) = data.split_at(8);
    let (mu, tau, eta) = (x[0], x[1].exp(), &x[2..]);
    let square = tau * tau / 25.0;
    let mut log_density = -mu * mu / 50.0 - square.ln_1p() + x[1];
    gradient[0] = -mu / 25.0;
    gradient[1] = 1.0 - 2.0 * square / (1.0 + square);
    for j in 0..8 {
        let residual = (y[j] - mu - tau * eta[j]) / sigma[j];
        log_density -= 0.5 * (eta[j] * eta[j] + residual * residual);
        gradient[0] += residual / sigma[j];
        gradient[1] += residual / sigma[j] * tau * eta[j];
        gradient[2 + j] = residual / sigma[j] * tau - eta[j];
    }
    log_density
}

/// Linear regression: (coefficients, log sigma).
fn blr(data: &[f64], x: &[f64], gradient: &mut [f64]) -> f64 {
    let (beta, log_sigma) = (&x[..x.len() - 1], x[x.len() - 1]);
    let columns = beta.len();
    let rows = data.len() / (columns + 1);
    let (design, y) = data.split_at(rows * columns);
    let sigma = log_sigma.exp();
    let precision = 1.0 / (sigma * sigma);
    let (coefficients, scale) = gradient.split_at_mut(columns);
    coefficients
        .iter_mut()
        .zip(beta)
        .for_each(|(g, b)| *g = -b / 100.0);
    let mut squares = 0.0;
    for (row, y) in design.chunks_exact(columns).zip(y) {
        let residual = y - row.iter().zip(beta).map(|(a, b)| a * b).sum::<f64>();
        squares += residual * residual;
        coefficients
            .iter_mut()
            .zip(row)
            .for_each(|(g, a)| *g += precision * residual * a);
    }
    scale[0] = -sigma * sigma / 50.0 + 1.0 - rows as f64 + squares * precision;
    let prior = beta.iter().map(|b| b * b).sum::<f64>() + sigma * sigma;
    -prior / 200.0 + (1.0 - rows as f64) * log_sigma - 0.5 * squares * precision
}

#[derive(Debug)]
struct Never;

impl std::fmt::Display for Never {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a log density that cannot fail has failed")
    }
}

impl std::error::Error for Never {}

impl LogpError for Never {
    fn is_recoverable(&self) -> bool {
        false
    }
}

struct Function {
    dim: usize,
    density: Density,
}

impl HasDims for Function {
    fn dim_sizes(&self) -> HashMap<String, u64> {
        HashMap::from([("unconstrained_parameter".to_string(), self.dim as u64)])
    }
}

impl CpuLogpFunc for Function {
    type LogpError = Never;
    type FlowParameters = ();
    type ExpandedVector = Vec<f64>;

    fn dim(&self) -> usize {
        self.dim
    }

    fn logp(&mut self, x: &[f64], gradient: &mut [f64]) -> Result<f64, Never> {
        Ok((self.density)(x, gradient))
    }

    fn expand_vector<R: Rng + ?Sized>(&mut self, _: &mut R, x: &[f64]) -> Result<Vec<f64>, CpuMathError> {
        Ok(x.to_vec())
    }
}

/// What one chain gives: gradients, seconds of the warm-up and of the draws, draws.
type Sampled = (u64, f64, f64, Vec<f64>);

fn chain(density: Density, dim: usize, draws: u64, seed: u64, chain: u64) -> Result<Sampled, Error> {
    let settings = DiagNutsSettings {
        num_draws: draws,
        num_chains: CHAINS as usize,
        ..Default::default()
    };
    let mut rng = StdRng::seed_from_u64(seed * CHAINS + chain);
    let start: Vec<f64> = (0..dim).map(|_| rng.random_range(-2.0..2.0)).collect();
    let mut sampler = settings.new_chain(chain, CpuMath::new(Function { dim, density }), &mut rng)?;
    let begin = Instant::now();
    sampler.set_position(&start)?;
    let mut gradients = 0;
    for _ in 0..settings.num_tune {
        gradients += sampler.draw()?.1.num_gradients;
    }
    let warmup = begin.elapsed().as_secs_f64();
    let mut kept = Vec::with_capacity(dim * draws as usize);
    for _ in 0..draws {
        let (x, progress) = sampler.draw()?;
        gradients += progress.num_gradients;
        kept.extend_from_slice(&x);
    }
    Ok((gradients, warmup, begin.elapsed().as_secs_f64() - warmup, kept))
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, dim, draws, seed] = arguments.as_slice() else {
        return Err("usage: nuts_rs_peer TARGET DIM DRAWS SEED".into());
    };
    let (dim, draws, seed) = (dim.parse()?, draws.parse()?, seed.parse()?);
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let data: Vec<f64> = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| f64::from_ne_bytes(*word))
        .collect();
    let density: Density = match name.split('_').next() {
        Some("gaussian") => Arc::new(gaussian),
        Some("eight") => Arc::new(move |x: &[f64], g: &mut [f64]| eight_schools(&data, x, g)),
        Some("blr") => Arc::new(move |x: &[f64], g: &mut [f64]| blr(&data, x, g)),
        _ => return Err(format!("no target {name}").into()),
    };

    let begin = Instant::now();
    let workers: Vec<_> = (0..CORES)
        .map(|worker| {
            let density = density.clone();
            thread::spawn(move || {
                (worker..CHAINS)
                    .step_by(CORES as usize)
                    .map(|c| chain(density.clone(), dim, draws, seed, c))
                    .collect::<Result<Vec<_>, _>>()
            })
        })
        .collect();
    let mut chains = Vec::new();
    for worker in workers {
        chains.extend(worker.join().map_err(|_| "a chain has panicked")??);
    }
    let seconds = begin.elapsed().as_secs_f64();

    // The wall time, divided as the chains' own times are.
    let (warmup, sampling) = chains.iter().fold((0.0, 0.0), |(a, b), c| (a + c.1, b + c.2));
    let share = warmup / (warmup + sampling);
    let gradients: u64 = chains.iter().map(|c| c.0).sum();
    let tune = DiagNutsSettings::default().num_tune as f64;
    let mut out = vec![tune, seconds * share, seconds * (1.0 - share), gradients as f64];
    chains.into_iter().for_each(|c| out.extend(c.3));
    let bytes: Vec<u8> = out.iter().flat_map(|v| v.to_ne_bytes()).collect();
    std::io::stdout().write_all(&bytes)?;
    Ok(())
}
