//! Infer the parameters behind one map with a trained flow.

use std::io::Write;
use std::path::PathBuf;

use armilla_models::likelihoods::{EvidenceBound, Reconstruction};
use armilla_samplers::run::progress_bars;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::arguments::DataArguments;
use super::{note, progress, write_json};
use crate::pipeline::infer::infer_observation;
use crate::pipeline::{
    InferSettings, LikelihoodSettings, Method, Observation, OutFolder, Report, TrainedFlow,
};
use crate::{Error, Result};

/// Infer the parameters behind one map of an HDF5 file with a trained flow.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla infer --run runs/flow --data maps.h5 --index 3 --method hmc --out posterior\n  \
    armilla infer --run runs/flow --data maps.h5 --index 3 --method grid --grid-points 60 --out grid\n  \
    armilla infer --run runs/flow --data maps.h5 --index 3 --method mh --draws 5000 --out mh\n  \
    armilla infer --run runs/flow --data maps.h5 --index 3 --method mle --out mle --json\n\n\
    Methods:\n  \
    mle   the maximum, with a normal approximation about it: seconds, first look\n  \
    hmc   Hamiltonian Monte Carlo: uses gradients, for any number of parameters\n  \
    mh    Metropolis–Hastings: needs no gradient\n  \
    grid  every cell of a grid, then again where the mass is: up to three parameters\n\n\
    The folder gets posterior.json, draws.csv and pictures. A likelihood of kind `evidence` bounds ln p(map | θ); \
    one of kind `reconstruction` is an unnormalised score whose width --temperature sets. Its noise is frozen by \
    --noise-key: the same seed and key give the same posterior.")]
pub(super) struct Infer {
    /// The run folder that `armilla train` wrote.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// The number of the map, from 0.
    #[arg(long, value_name = "N")]
    index: usize,
    /// How to infer.
    #[arg(long, value_enum)]
    method: Method,
    /// The folder for the results.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Draws per chain [default: mle 1000, mh 2000, hmc 500].
    #[arg(long, value_name = "N")]
    draws: Option<usize>,
    /// Steps per chain that tune the sampler [default: mh 500, hmc 300].
    #[arg(long, value_name = "N")]
    warmup: Option<usize>,
    /// Chains (mh, hmc).
    #[arg(long, value_name = "N", default_value_t = 4)]
    chains: usize,
    /// Cells along each axis (grid).
    #[arg(long, value_name = "N", default_value_t = 40)]
    grid_points: usize,
    /// Starts of the optimiser (mle).
    #[arg(long, value_name = "N", default_value_t = 4)]
    starts: usize,
    /// How the map is read.
    #[arg(long, value_enum, default_value = "evidence")]
    likelihood: LikelihoodKind,
    /// What the score is divided by (reconstruction).
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Times at which the map is read: how many [default: 64], or for a reconstruction which [default: 0.1,0.3,0.5,0.7,0.9].
    #[arg(long, value_name = "N|T,T,…", value_delimiter = ',')]
    times: Vec<f64>,
    /// Pairs of noise at each time [default: evidence 6, reconstruction 32].
    #[arg(long, value_name = "N")]
    noises: Option<usize>,
    /// Freezes the noise.
    #[arg(long, value_name = "KEY", default_value_t = 0)]
    noise_key: u64,
    /// The seed of the sampler.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LikelihoodKind {
    /// A lower bound on ln p(map | θ).
    Evidence,
    /// The error of the velocity at a few times: an unnormalised score.
    Reconstruction,
}

#[derive(Serialize)]
struct Inferred<'a> {
    #[serde(flatten)]
    report: &'a Report,
    files: Vec<PathBuf>,
}

impl Infer {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
        let likelihood = self.likelihood()?;
        let flow = TrainedFlow::load(&self.run)?;
        let observation = Observation::read(&self.data.data, &self.data.paths(), self.index, &flow)?;
        let mut settings = InferSettings::new(self.method, self.seed);
        settings.chains = self.chains;
        settings.grid_points = self.grid_points;
        settings.starts = self.starts;
        settings.draws = self.draws.unwrap_or(settings.draws);
        settings.warmup = self.warmup.unwrap_or(settings.warmup);

        let mut folder = OutFolder::create(&self.out)?;
        let spinner = progress::spinner("reading the map through the network");
        let surrogate = flow.observe(&observation.map, &likelihood);
        spinner.finish_and_clear();
        let surrogate =
            surrogate.map_err(|e| Error::file(&self.data.data, format!("map {}: {e}", self.index)))?;
        let inference = infer_observation(
            &flow,
            &observation,
            &surrogate,
            &likelihood,
            &settings,
            Some(progress_bars()),
        );
        let inference = inference?;
        inference.write(&mut folder)?;
        inference.draw(&flow, &observation, &mut folder)?;
        let files = folder.keep();
        for warning in &inference.report.warnings {
            note(warning);
        }
        if self.json {
            let report = &inference.report;
            return write_json(out, &Inferred { report, files });
        }
        let report = &inference.report;
        writeln!(
            out,
            "{}, map {} of {}",
            report.sampler, self.index, observation.file
        )?;
        write!(out, "{}", report.table())?;
        let evaluations = report.evaluations;
        writeln!(
            out,
            "{} values and {} gradients in {:.1} s",
            evaluations.values, evaluations.gradients, report.seconds
        )?;
        let names = files.iter().filter_map(|file| file.file_name());
        let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
        writeln!(out, "{}: {}", self.out.display(), names.join(", "))?;
        Ok(())
    }

    fn likelihood(&self) -> Result<LikelihoodSettings> {
        let key = self.noise_key;
        Ok(match self.likelihood {
            LikelihoodKind::Evidence => {
                if self.temperature.is_some() {
                    return Err(Error::Invalid(
                        "--temperature belongs to --likelihood reconstruction; the evidence bound has none"
                            .into(),
                    ));
                }
                let default = EvidenceBound::default();
                let times = match self.times[..] {
                    [] => default.times,
                    [times] if times >= 1.0 && times.fract() == 0.0 => times as usize,
                    _ => {
                        return Err(Error::Invalid(
                            "--times takes one whole number with --likelihood evidence, such as 64".into(),
                        ));
                    }
                };
                LikelihoodSettings::Evidence(EvidenceBound {
                    times,
                    noises: self.noises.unwrap_or(default.noises),
                    key,
                })
            }
            LikelihoodKind::Reconstruction => {
                let default = Reconstruction::default();
                LikelihoodSettings::Reconstruction(Reconstruction {
                    times: if self.times.is_empty() {
                        default.times
                    } else {
                        self.times.clone()
                    },
                    noises: self.noises.unwrap_or(default.noises),
                    temperature: self.temperature.unwrap_or(default.temperature),
                    key,
                })
            }
        })
    }
}
