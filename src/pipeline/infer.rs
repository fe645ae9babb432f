//! Infer parameters: compose prior and likelihood, and hand them to a sampler.

use std::time::Instant;

use armilla_models::likelihoods::Surrogate;
use armilla_models::velocity::CoefficientNetwork;
use armilla_samplers::optimise::Mle;
use armilla_samplers::run::Observer;
use armilla_samplers::surface::Surface;
use armilla_samplers::{
    DifferentiableLikelihood, Grid, Hmc, MetropolisHastings, Posterior, Run, RunOptions, Sampler,
};
use serde::{Deserialize, Serialize};

use super::{LikelihoodSettings, Observation, PriorBox, Report, TrainedFlow};
use crate::Result;

/// How parameters are inferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Maximum likelihood by L-BFGS from several starts, with a normal approximation about it.
    Mle,
    /// Metropolis–Hastings.
    Mh,
    /// Hamiltonian Monte Carlo.
    Hmc,
    /// The posterior on every cell of a grid, and again where its mass is.
    Grid,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mle, Self::Mh, Self::Hmc, Self::Grid];

    /// Its name, as files and the command line have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mle => "mle",
            Self::Mh => "mh",
            Self::Hmc => "hmc",
            Self::Grid => "grid",
        }
    }

    /// Its name, as pictures have it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Mle => "Maximum likelihood",
            Self::Mh => "Metropolis–Hastings",
            Self::Hmc => "HMC",
            Self::Grid => "Grid",
        }
    }
}

/// What an inference is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InferSettings {
    /// The method.
    pub method: Method,
    /// Independent chains (mh, hmc), or sets of draws (mle).
    pub chains: usize,
    /// Steps per chain that tune the sampler (mh, hmc).
    pub warmup: usize,
    /// Draws per chain (mle, mh, hmc).
    pub draws: usize,
    /// Cells on each axis (grid).
    pub grid_points: usize,
    /// Starts of the optimiser (mle).
    pub starts: usize,
    /// The only source of randomness.
    pub seed: u64,
}

impl InferSettings {
    /// Settings that suit `method` with few parameters: R̂ below 1.01 with room.
    pub fn new(method: Method, seed: u64) -> Self {
        let (warmup, draws) = match method {
            Method::Mle => (0, 1000),
            Method::Mh => (500, 2000),
            Method::Hmc => (500, 1000),
            Method::Grid => (0, 0),
        };
        Self {
            method,
            chains: 4,
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

/// Infers the parameters of `prior` from `likelihood`; `truth` is only compared with.
///
/// ```
/// use armilla::pipeline::{InferSettings, Kind, Method, PriorBox, infer};
/// use armilla::samplers::rng::{Purpose, stream};
/// use armilla::simulators::{GaussianField, Simulator, Slab};
///
/// let field = GaussianField::new(Slab { size: 8, ..Slab::default() })?;
/// let truth = [0.3, 0.8];
/// let map = field.simulate(&truth, &mut stream(1, Purpose::Simulation, 0))?;
/// let prior = PriorBox(vec!["Omega_m=0.1:0.5".parse()?, "sigma_8=0.6:1".parse()?]);
/// let settings = InferSettings::new(Method::Grid, 0);
/// let inference = infer(&prior, field.observe(&map)?, Some(&truth), &settings, None)?;
/// let sigma_8 = &inference.report.parameters[1];
/// assert!((sigma_8.mean - 0.8).abs() < 4.0 * sigma_8.sd);
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
    observer: Option<Observer>,
) -> Result<Inference> {
    let start = Instant::now();
    let posterior = Posterior::new(prior.prior()?, likelihood)?;
    let options = RunOptions {
        seed: settings.seed,
        chains: settings.chains,
        warmup: settings.warmup,
        draws: settings.draws,
        observer,
        ..RunOptions::default()
    };
    let mut surface = None;
    let run = match settings.method {
        Method::Mle => {
            let mle = Mle {
                starts: settings.starts,
                ..Mle::default()
            };
            mle.sample(&posterior, &options)?
        }
        Method::Mh => MetropolisHastings::default().sample(&posterior, &options)?,
        Method::Hmc => Hmc::default().sample(&posterior, &options)?,
        Method::Grid => {
            let grid = Grid {
                refine: true,
                ..Grid::new(settings.grid_points)
            };
            surface.insert(grid.evaluate(&posterior, &options)?).run()
        }
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
    observer: Option<Observer>,
) -> Result<Inference> {
    let prior = &flow.card().parameters;
    let mut inference = infer(prior, surrogate, observation.truth.as_deref(), settings, observer)?;
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
        if !(p.sd.is_finite() && p.estimate.is_finite()) {
            return Ok(None);
        }
        let (mut below, mut above) = (estimate.clone(), estimate.clone());
        below[i] = (p.estimate - p.sd).max(range.low);
        above[i] = (p.estimate + p.sd).min(range.high);
        let error = surrogate.standard_error_of_difference(&below, &above)?;
        if error > largest {
            largest = error;
        }
    }
    Ok(largest)
}
