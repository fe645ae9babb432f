//! Infer the parameters behind one map with a trained flow.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use armilla_models::DeviceChoice;
use armilla_models::likelihoods::{EvidenceBound, Reconstruction};
use armilla_samplers::prelude::*;
use armilla_samplers::{export, run::progress_bars};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::arguments::DataArguments;
use super::{command_line, interrupt, note, progress, write_json};
use crate::pipeline::infer::infer_observation;
use crate::pipeline::{
    InferSettings, LikelihoodSettings, Method, Observation, OutFolder, Report, TrainedFlow,
};
use crate::{Error, Result};

/// Infer the parameters behind one map of an HDF5 file with a trained flow.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla infer --run runs/flow --data maps.h5 --index 3 --method nuts --out posterior\n  \
    armilla infer --run runs/flow --data maps.h5 --index 3 --method grid --grid-points 60 --out grid\n  \
    armilla infer --run runs/flow --data maps.h5 --index 3 --method mh --draws 5000 --out mh\n  \
    armilla infer --run runs/flow --data maps.h5 --index 3 --method mle --out mle --json\n\n\
    Methods:\n  \
    mle, map   the most likely or most probable point, and a normal approximation about it: a first look\n  \
    nuts       the no-U-turn sampler: uses gradients, tunes itself, for any number of parameters\n  \
    hmc, mala, mclmc, chees\n             \
    other samplers that use gradients; chees moves many chains in lock-step\n  \
    mh         Metropolis–Hastings: needs no gradient\n  \
    ensemble   walkers that stretch towards each other: needs no gradient, few parameters\n  \
    smc        from the prior to the posterior through temperatures: several modes, evidence\n  \
    tempering  chains at several temperatures that swap: several modes\n  \
    advi       the closest normal distribution, with a check of its honesty\n  \
    grid       every cell of a grid, then again where the mass is: up to three parameters, evidence\n\n\
    Ctrl-C ends the sampling and keeps what was drawn; with --checkpoint the same command goes on from there.\n\n\
    The folder gets posterior.json, draws.csv, pictures as PNG and SVG, and all of it on one page, report.html. A likelihood of kind `evidence` bounds ln p(map | θ); \
    one of kind `reconstruction` is an unnormalised score whose width --temperature sets. Its noise is frozen by \
    --noise-key: the same seed and key give the same posterior.")]
pub(super) struct Infer {
    /// The run folder that `armilla train` wrote.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The file of the map, HDF5 or `.npy`.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    place: DataArguments,
    /// The number of the map, from 0.
    #[arg(long, value_name = "N")]
    index: usize,
    /// How to infer.
    #[arg(long, value_enum)]
    method: Method,
    /// The folder for the results.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Draws per chain, walker or, for smc, run [default: by the method].
    #[arg(long, value_name = "N")]
    draws: Option<usize>,
    /// Steps per chain that tune the sampler [default: by the method].
    #[arg(long, value_name = "N")]
    warmup: Option<usize>,
    /// Chains [default: 4, chees 16].
    #[arg(long, value_name = "N")]
    chains: Option<usize>,
    /// Cells along each axis (grid).
    #[arg(long, value_name = "N", default_value_t = 40)]
    grid_points: usize,
    /// Starts of the optimiser (mle, map).
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
    /// Keep the run in this folder while it goes on, and go on with what is there.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Stop after so many seconds, with what was drawn.
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<f64>,
    /// Stop once every R̂ is under 1.01 and every parameter has so many effective draws.
    #[arg(long, value_name = "N")]
    until_ess: Option<f64>,
    /// Write the draws in these formats too: JSON, GetDist chains, ArviZ InferenceData.
    #[arg(long, value_enum, value_name = "FORMAT,…", value_delimiter = ',')]
    export: Vec<Format>,
    /// Where the network reads the map: cpu, cuda:N, or the first graphics processor if there is one.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `run.json`: all that is known of the run.
    Json,
    /// `chain_1.txt`, …, `chain.paramnames` and `chain.ranges`.
    Getdist,
    /// `run.zarr`, a folder.
    Zarr,
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
        let device = self.device.settled()?;
        let flow = TrainedFlow::load(&self.run)?;
        let observation = Observation::read(&self.data, &self.place.paths(), self.index, &flow)?;
        let mut settings = InferSettings::new(self.method, self.seed);
        settings.chains = self.chains.unwrap_or(settings.chains);
        settings.grid_points = self.grid_points;
        settings.starts = self.starts;
        settings.draws = self.draws.unwrap_or(settings.draws);
        settings.warmup = self.warmup.unwrap_or(settings.warmup);

        let mut folder = OutFolder::create(&self.out)?;
        let spinner = progress::spinner("reading the map through the network");
        let surrogate = flow.observe_on(device, &observation.map, &likelihood);
        spinner.finish_and_clear();
        let surrogate = surrogate.map_err(|e| Error::file(&self.data, format!("map {}: {e}", self.index)))?;
        let options = self.options()?;
        let inference = infer_observation(&flow, &observation, &surrogate, &likelihood, &settings, &options);
        let inference = inference?;
        inference.write(&mut folder)?;
        self.export(&inference.run, &flow, &mut folder)?;
        let figures = inference.draw(&flow, &observation, &mut folder)?;
        inference.write_page(&settings, &figures, &command_line(), &mut folder)?;
        let files = folder.keep();
        note(&format!("the network ran on {device}"));
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

    /// How the run is watched, kept and ended.
    fn options(&self) -> Result<RunOptions> {
        let time_limit = self.time_limit.map(Duration::try_from_secs_f64).transpose();
        let time_limit = time_limit.map_err(|_| {
            Error::Invalid("--time-limit takes a positive number of seconds, such as 600".into())
        })?;
        Ok(RunOptions {
            until: self.until_ess.map(|ess| Converged {
                ess,
                ..Converged::default()
            }),
            time_limit,
            interrupt: Some(interrupt::flag()?),
            checkpoint: self.checkpoint.as_ref().map(Checkpoint::new),
            observer: Some(progress_bars()),
            ..RunOptions::default()
        })
    }

    fn export(&self, run: &Run, flow: &TrainedFlow, folder: &mut OutFolder) -> Result<()> {
        for format in &self.export {
            match format {
                Format::Json => export::json::write(run, &folder.file("run.json"))?,
                Format::Zarr => export::zarr::write(run, &folder.file("run.zarr"))?,
                Format::Getdist => {
                    for chain in 1..=run.chains.len() {
                        folder.file(&format!("chain_{chain}.txt"));
                    }
                    folder.file("chain.paramnames");
                    folder.file("chain.ranges");
                    let ranges = &flow.card().parameters.0;
                    let ranges: Vec<(f64, f64)> =
                        ranges.iter().map(|range| (range.low, range.high)).collect();
                    export::getdist::write(run, &ranges, &folder.path().join("chain"))?;
                }
            }
        }
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
