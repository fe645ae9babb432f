//! Infer parameters: compose prior and likelihood, and hand them to a sampler.

use std::time::Instant;

use armilla_models::likelihoods::Surrogate;
use armilla_models::velocity::CoefficientNetwork;
use armilla_samplers::prelude::*;
use armilla_samplers::surface::Surface;
use serde::{Deserialize, Serialize};

use super::{LikelihoodSettings, Observation, PriorBox, Report, TrainedFlow};
use crate::Result;

/// How parameters are inferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Maximum likelihood by L-BFGS from several starts, with a normal approximation about it.
    Mle,
    /// Maximum of the posterior density, likewise.
    Map,
    /// Metropolis–Hastings.
    Mh,
    /// Hamiltonian Monte Carlo.
    Hmc,
    /// The no-U-turn sampler.
    Nuts,
    /// Microcanonical Langevin-like Monte Carlo, Metropolis-adjusted.
    Mclmc,
    /// Metropolis-adjusted Langevin.
    Mala,
    /// Hamiltonian Monte Carlo of many chains in lock-step.
    Chees,
    /// The affine-invariant ensemble: a walker for each chain.
    Ensemble,
    /// Tempered sequential Monte Carlo, with evidence.
    Smc,
    /// Parallel tempering, for several modes.
    Tempering,
    /// A normal approximation that is closest to the posterior.
    Advi,
    /// The posterior on every cell of a grid, and again where its mass is.
    Grid,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Mle,
        Self::Map,
        Self::Mh,
        Self::Hmc,
        Self::Nuts,
        Self::Mclmc,
        Self::Mala,
        Self::Chees,
        Self::Ensemble,
        Self::Smc,
        Self::Tempering,
        Self::Advi,
        Self::Grid,
    ];

    /// Its name, as files and the command line have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mle => "mle",
            Self::Map => "map",
            Self::Mh => "mh",
            Self::Hmc => "hmc",
            Self::Nuts => "nuts",
            Self::Mclmc => "mclmc",
            Self::Mala => "mala",
            Self::Chees => "chees",
            Self::Ensemble => "ensemble",
            Self::Smc => "smc",
            Self::Tempering => "tempering",
            Self::Advi => "advi",
            Self::Grid => "grid",
        }
    }

    /// Its name, as pictures have it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Mle => "Maximum likelihood",
            Self::Map => "Maximum posterior",
            Self::Mh => "Metropolis–Hastings",
            Self::Hmc => "HMC",
            Self::Nuts => "NUTS",
            Self::Mclmc => "MCLMC",
            Self::Mala => "MALA",
            Self::Chees => "ChEES-HMC",
            Self::Ensemble => "Ensemble",
            Self::Smc => "SMC",
            Self::Tempering => "Parallel tempering",
            Self::Advi => "ADVI",
            Self::Grid => "Grid",
        }
    }

    /// Whether it ends in one point.
    pub(super) fn is_optimiser(self) -> bool {
        matches!(self, Self::Mle | Self::Map)
    }
}

/// What an inference is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InferSettings {
    /// The method.
    pub method: Method,
    /// Chains, independent runs (smc), or sets of draws (mle, map).
    pub chains: usize,
    /// Steps per chain that tune the sampler.
    pub warmup: usize,
    /// Draws per chain, particles (smc), or draws per walker (ensemble).
    pub draws: usize,
    /// Cells on each axis (grid).
    pub grid_points: usize,
    /// Starts of the optimiser (mle, map).
    pub starts: usize,
    /// The only source of randomness.
    pub seed: u64,
}

impl InferSettings {
    /// The sampler of the method, for any differentiable posterior.
    fn sampler<L: DifferentiableLikelihood>(&self) -> Box<dyn Sampler<Posterior<L>>> {
        let starts = self.starts;
        match self.method {
            Method::Mle => Box::new(Mle {
                starts,
                ..Mle::default()
            }),
            Method::Map => Box::new(Map {
                starts,
                ..Map::default()
            }),
            Method::Mh => Box::new(MetropolisHastings::default()),
            Method::Hmc => Box::new(Hmc::default()),
            Method::Nuts => Box::new(Nuts::default()),
            Method::Mclmc => Box::new(Mclmc::default()),
            Method::Mala => Box::new(Mala::default()),
            Method::Chees => Box::new(ChEesHmc::default()),
            Method::Ensemble => Box::new(Ensemble::default()),
            Method::Smc => Box::new(Smc::default()),
            Method::Tempering => Box::new(ParallelTempering::default()),
            Method::Advi => Box::new(Advi::default()),
            Method::Grid => Box::new(self.grid()),
        }
    }

    fn grid(&self) -> Grid {
        Grid {
            refine: true,
            ..Grid::new(self.grid_points)
        }
    }

    /// Settings that suit `method` with few parameters: R̂ below 1.01 with room.
    pub fn new(method: Method, seed: u64) -> Self {
        let (warmup, draws) = match method {
            Method::Mle | Method::Map | Method::Advi => (0, 1000),
            Method::Mh | Method::Mala => (500, 2000),
            Method::Hmc | Method::Nuts | Method::Mclmc | Method::Chees => (500, 1000),
            Method::Ensemble => (500, 500),
            Method::Smc => (0, 2000),
            Method::Tempering => (500, 2000),
            Method::Grid => (0, 0),
        };
        Self {
            method,
            // Lock-step tunes by comparing chains.
            chains: if method == Method::Chees { 16 } else { 4 },
            warmup,
            draws,
            grid_points: 40,
            starts: 4,
            seed,
        }
    }
}

/// What an inference leaves.
#[derive(Debug, Clone)]
pub struct Inference {
    /// It in numbers.
    pub report: Report,
    /// The draws.
    pub run: Run,
    /// The posterior on the grid, for that method.
    pub surface: Option<Surface>,
}

/// Infers the parameters of `prior` from `likelihood`; `truth` is only compared with. Of `options`, what the settings
/// say comes from them: seed, chains, warm-up and draws.
///
/// ```
/// use armilla::pipeline::{InferSettings, Kind, Method, PriorBox, infer};
/// use armilla::samplers::RunOptions;
/// use armilla::samplers::rng::{Purpose, stream};
/// use armilla::simulators::{GaussianField, Simulator, Slab};
///
/// let field = GaussianField::new(Slab { size: 8, ..Slab::default() })?;
/// let truth = [0.3, 0.8];
/// let map = field.simulate(&truth, &mut stream(1, Purpose::Simulation, 0))?;
/// let prior = PriorBox(vec!["Omega_m=0.1:0.5".parse()?, "sigma_8=0.6:1".parse()?]);
/// let settings = InferSettings::new(Method::Grid, 0);
/// let inference = infer(&prior, field.observe(&map)?, Some(&truth), &settings, &RunOptions::default())?;
/// let sigma_8 = &inference.report.parameters[1];
/// assert!((sigma_8.estimate - 0.8).abs() < 4.0 * sigma_8.summary.sd);
/// # Ok::<(), armilla::Error>(())
/// ```
///
/// # Errors
///
/// Settings that make no sense, and a likelihood that fails everywhere.
pub fn infer<L: DifferentiableLikelihood>(
    prior: &PriorBox,
    likelihood: L,
    truth: Option<&[f64]>,
    settings: &InferSettings,
    options: &RunOptions,
) -> Result<Inference> {
    let start = Instant::now();
    let posterior = Posterior::new(prior.prior()?, likelihood)?;
    let options = RunOptions {
        seed: settings.seed,
        chains: settings.chains,
        warmup: settings.warmup,
        draws: settings.draws,
        ..options.clone()
    };
    let mut surface = None;
    let run = match settings.method {
        // The pictures want the cells, not only the draws that they are.
        Method::Grid => surface
            .insert(settings.grid().evaluate(&posterior, &options)?)
            .run(),
        _ => settings.sampler().sample(&posterior, &options)?,
    };
    let report = Report::new(settings, &run, truth, start.elapsed().as_secs_f64());
    Ok(Inference { report, run, surface })
}

/// A log likelihood that is wrong by this much between one sd below and above moves the posterior by half as many sd.
const NOISE_LIMIT: f64 = 0.5;

/// Infers the parameters behind `observation` from what [`TrainedFlow::observe`] made of it.
///
/// # Errors
///
/// As [`infer()`].
pub fn infer_observation(
    flow: &TrainedFlow,
    observation: &Observation,
    surrogate: &Surrogate<CoefficientNetwork>,
    likelihood: &LikelihoodSettings,
    settings: &InferSettings,
    options: &RunOptions,
) -> Result<Inference> {
    let prior = &flow.card().parameters;
    let mut inference = infer(prior, surrogate, observation.truth.as_deref(), settings, options)?;
    let report = &mut inference.report;
    report.data = Some(observation.file.clone());
    report.index = Some(observation.index);
    report.likelihood = Some(likelihood.clone());
    report.noise_error = noise_error(prior, surrogate, report)?;
    if let LikelihoodSettings::Reconstruction(score) = likelihood {
        report.warnings.push(format!(
            "the reconstruction error is an unnormalised score: the widths depend on the temperature {}",
            score.temperature
        ));
    }
    if let Some(error) = report.noise_error.filter(|&error| error > NOISE_LIMIT) {
        report.warnings.push(format!(
            "the frozen noise changes the log likelihood by {error:.2} within the posterior: ask for more noises or times"
        ));
    }
    if observation.trained_on {
        report.warnings.push(format!(
            "map {} was in the training part: its posterior may be too confident",
            observation.index
        ));
    }
    Ok(inference)
}

/// The largest standard error, over the parameters, of the difference between one sd below and above the estimate.
fn noise_error(
    prior: &PriorBox,
    surrogate: &Surrogate<CoefficientNetwork>,
    report: &Report,
) -> Result<Option<f64>> {
    let estimate: Vec<f64> = report.parameters.iter().map(|p| p.estimate).collect();
    let mut largest: Option<f64> = None;
    for (i, (range, p)) in prior.0.iter().zip(&report.parameters).enumerate() {
        if !(p.summary.sd.is_finite() && p.estimate.is_finite()) {
            return Ok(None);
        }
        let (mut below, mut above) = (estimate.clone(), estimate.clone());
        below[i] = (p.estimate - p.summary.sd).max(range.low);
        above[i] = (p.estimate + p.summary.sd).min(range.high);
        let error = surrogate.standard_error_of_difference(&below, &above)?;
        if error > largest {
            largest = error;
        }
    }
    Ok(largest)
}
