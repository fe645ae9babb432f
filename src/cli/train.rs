//! Train a model on the maps of files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use armilla_models::DeviceChoice;
use armilla_models::train::{Epoch, Event, steps_made};
use clap::Args;
use serde::Serialize;

use super::arguments::DataArguments;
use super::{interrupt, note, progress, write_json};
use crate::data::MapSet;
use crate::pipeline::generative::rounds::is_round;
use crate::pipeline::generative::{
    GenerativeConfig, GenerativeMethod, GenerativeModel, GenerativeSettings, train_generative,
};
use crate::pipeline::trained::MODEL_FILE;
use crate::pipeline::{
    OutFolder, PriorBox, PriorRange, TrainConfig, TrainRun, TrainSettings, TrainedFlow, train,
};
use crate::{Error, Result};

/// Train a surrogate for inference, or a generative model, on maps: HDF5 files, or CAMELS `.npy` files.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub(super) struct Train {
    /// The file of the maps, HDF5 or `.npy`; several make one set.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    #[command(flatten)]
    place: DataArguments,
    /// The run folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A YAML file of settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Begin from the weights of another run of the same method and network: another round.
    #[arg(long, value_name = "RUN")]
    from: Option<PathBuf>,
    /// The prior of a parameter; may be given several times.
    #[arg(long, value_name = "NAME=LOW:HIGH")]
    prior: Vec<PriorRange>,
    /// A map whose simulation is kept out of the training.
    #[arg(long, value_name = "INDEX")]
    hold_out: Option<usize>,
    /// Where the network is trained: cpu, cuda:N, or the first graphics processor if there is one.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
    /// The only source of randomness.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Go on with the training in the run folder that was interrupted or killed.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Write into a folder that holds other files, or another training.
    #[arg(long)]
    overwrite: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// How the files begin that a training writes before its end.
const OURS: [&str; 4] = [
    "checkpoint_best.",
    "checkpoint_last.",
    "history.",
    "training_history.",
];

/// Whether a folder with these names in it holds nothing but what a training writes before its end. Folders are its own
/// beside its files alone.
fn are_ours(names: &[String]) -> bool {
    let file = |name: &String| OURS.iter().any(|ours| name.starts_with(ours));
    let begun = names.iter().any(file);
    let folder = |name: &String| ["figs", "logs"].contains(&name.as_str()) || is_round(name);
    names.iter().all(|name| file(name) || begun && folder(name))
}

/// A configuration with the keys that are changed most.
const CONFIGURATION: &str = "  network:
    unet: {channels: [8, 16, 32], time_dim: 64, outputs: 16, padding: circular}
    coefficient_widths: [64, 64]
  training:
    {steps: 300, batch_size: 64, learning_rate: 0.003, schedule: cosine, warmup_steps: 50}
  flow_matching: {augment: true}
  split: {train: 0.8, validation: 0.1, test: 0.1}
";

/// One of a generative model.
const GENERATIVE: &str = "  method: diffusion
  model: {from: SimpleUNet, base_channels: 32, channel_mults: [1, 2, 4], time_dim: 128}
  diffusion: {timesteps: 1000, beta_start: 1.0e-4, beta_end: 0.02, schedule: linear, target: v}
  sampling: {method: ddim, ddim_timesteps: 50}
  training: {epochs: 50, batch_size: 64, learning_rate: 5.0e-4, warmup_epochs: 5, early_stopping: 10}
";

fn help() -> String {
    format!(
        "Examples:\n  \
         armilla train --data maps.h5 --out runs/flow\n  \
         armilla train --data maps.h5 --out runs/flow --config train.yaml --seed 7\n  \
         armilla train --data Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy --out runs/mcdm    its table is beside it\n  \
         armilla train --data CAMELS.h5 --maps z=0/Mcdm --params params --out runs/mcdm\n  \
         armilla train --data part1.h5 part2.h5 --out runs/flow        several files as one set\n  \
         armilla train --data maps.h5 --out runs/flow --hold-out 3    keep map 3 unseen\n  \
         armilla train --data maps.h5 --out runs/flow --resume         go on where it was ended\n  \
         armilla train --data maps.h5 --out runs/ddpm --config diffusion.yaml    a generative model\n  \
         armilla train --data more.h5 --out runs/ddpm2 --from runs/ddpm          another round of it\n\n\
         Without a configuration, or with one like this, a surrogate is trained, which `armilla infer` reads. \
         Every key may be left out:\n{CONFIGURATION}\n\
         Maps are divided by simulation. Pixels go through a logarithm if all are positive, and are standardised; \
         pixels: {{log: false, scale: minmax}} leaves them as they are and scales them to between -1 and 1. \
         augment turns, mirrors and shifts maps, which must be periodic for it. A training may count in epochs: \
         epochs, warmup_epochs; schedule is cosine, plateau (plateau: {{patience: 2, factor: 0.5}}) or constant; \
         early_stopping: 10 ends it after ten validations without a new best; accumulate: 4 sends a batch through \
         the network in four parts, which takes a fourth of the memory.\n\n\
         A configuration with `method: flow` trains a generative model, from which `armilla generate` draws maps; the \
         methods are {}. It has the sections model, training, sampling, figures, pixels, split, and one by the name of \
         the method:\n{GENERATIVE}\n\
         Ready ones are in examples/configs. Its run folder gets figs, with maps and spectra of what it generates, and \
         logs too.\n\n\
         The run folder gets checkpoint_best and checkpoint_last (safetensors), history.jsonl and \
         training_history.png at each validation, and model.json at the end. Ctrl-C keeps the training and ends; the \
         same command with --resume goes on, also after a crash, to the same weights bit for bit. The prior is the \
         box stored with simulated maps, that of CAMELS for its parameters, else the range of the data; --prior \
         overrides it. The same seed gives the same weights; on a graphics processor, up to rounding.",
        GenerativeMethod::ALL.map(GenerativeMethod::name).join(", ")
    )
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "_-./=,:@%+".contains(c);
    match !path.is_empty() && path.chars().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

#[derive(Serialize)]
struct Trained<'a> {
    out: &'a Path,
    files: Vec<PathBuf>,
    history: &'a [Epoch],
    best: Option<&'a Epoch>,
    seconds: f64,
}

/// What is trained.
#[allow(clippy::large_enum_variant)] // there is one
enum Training {
    Surrogate(TrainConfig),
    Generative(GenerativeConfig, Option<GenerativeModel>),
}

impl Train {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
        let start = Instant::now();
        self.check_out()?;
        let device = self.device.settled()?;
        let set = MapSet::open(&self.data, &self.place.paths())?;
        let training = self.training(set.len())?;
        // Another round keeps the prior of the one before, but for what is said now.
        let mut given = match &training {
            Training::Generative(_, Some(from)) => from.card().parameters.0.clone(),
            _ => Vec::new(),
        };
        given.extend(self.prior.iter().cloned());
        let (prior, remark) = PriorBox::of(&set, &given).map_err(|e| Error::file(&self.data[0], e))?;
        let mut folder = OutFolder::create(&self.out)?;
        if let Some(remark) = remark {
            note(&remark);
        }
        let interrupt = interrupt::flag()?;
        let run = TrainRun {
            folder: Some(self.out.clone()),
            device,
            resume: self.resume,
            interrupt: Some(&interrupt),
        };
        let bar = progress::bar(0, "training", true);
        let mut reports = progress::Training::with_reports(&bar);
        // Once it runs: what is wrong before is said alone.
        let mut place = Some(format!("the network runs on {device}"));
        let mut observe = |event: &Event<'_>| {
            if let Some(place) = place.take() {
                bar.suspend(|| note(&place));
            }
            reports.event(event);
        };
        let (hold_out, seed) = (self.hold_out, self.seed);
        let (trained, trainer, next) = match training {
            Training::Surrogate(config) => {
                let trainer = config.training;
                let settings = TrainSettings {
                    config,
                    prior,
                    hold_out,
                    seed,
                };
                let trained = train(&set, &settings, &run, &mut observe);
                bar.finish_and_clear();
                let (flow, trained) = trained?;
                flow.save(&trained, &mut folder)?;
                (trained, trainer, self.infer_next(&set, &flow)?)
            }
            Training::Generative(config, from) => {
                let trainer = config.training;
                let settings = GenerativeSettings {
                    config,
                    prior,
                    hold_out,
                    seed,
                    from,
                };
                let trained = train_generative(&set, &settings, &run, &mut observe);
                bar.finish_and_clear();
                let (model, trained) = trained?;
                model.save(&trained, &mut folder)?;
                (trained, trainer, self.generate_next(&model))
            }
        };
        let files = folder.keep();
        let seconds = start.elapsed().as_secs_f64();
        let history = trained.state.history();
        let best = history.iter().rfind(|epoch| epoch.best);
        let patience = trainer.early_stopping;
        if let Some(last) = history
            .iter()
            .find(|epoch| patience.is_some_and(|p| epoch.stale >= p))
        {
            note(&format!(
                "ended early at step {}: {} validations brought no new best",
                last.step, last.stale
            ));
        }
        if self.json {
            let trained = Trained {
                out: &self.out,
                files,
                history,
                best,
                seconds,
            };
            return write_json(out, &trained);
        }
        let best = best.map_or(f64::NAN, |epoch| epoch.validation_loss);
        let folder = self.out.display();
        writeln!(
            out,
            "{folder}: trained in {seconds:.1} s, best validation loss {best:.5}"
        )?;
        writeln!(out, "next: {next}")?;
        Ok(())
    }

    /// What the configuration means, for a set of `maps` maps.
    fn training(&self, maps: usize) -> Result<Training> {
        let from = match &self.from {
            Some(run) => Some(GenerativeModel::load(run)?),
            None => None,
        };
        let Some(path) = &self.config else {
            return Ok(match from {
                Some(model) => Training::Generative(model.card().config.clone(), Some(model)),
                None => Training::Surrogate(TrainConfig::for_maps(maps)),
            });
        };
        let text = fs::read_to_string(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        let fail = |e: Error| Error::file(path, e);
        if GenerativeConfig::is_meant(&text).map_err(fail)? {
            let config = GenerativeConfig::parse(&text).map_err(fail)?;
            return Ok(Training::Generative(config, from));
        }
        if from.is_some() {
            return Err(Error::file(
                path,
                "--from goes on with a generative model, and this is the configuration of a surrogate: add a `method`",
            ));
        }
        Ok(Training::Surrogate(
            TrainConfig::parse(&text, maps).map_err(fail)?,
        ))
    }

    /// How to infer from a map that the flow was not trained on.
    fn infer_next(&self, set: &MapSet, flow: &TrainedFlow) -> Result<String> {
        let mut untouched = flow.card().simulations()?.test.first().copied().unwrap_or(0);
        let mut data = &self.data[0];
        for (path, file) in self.data.iter().zip(set.files()) {
            data = path;
            if untouched < file.simulations {
                break;
            }
            untouched -= file.simulations;
        }
        let untouched = untouched * set.maps_per_simulation();
        Ok(format!(
            "armilla infer --run {} --data {} --index {untouched} --method hmc --out {}",
            quoted(&self.out),
            quoted(data),
            quoted(&self.out.with_file_name("posterior"))
        ))
    }

    /// How to draw maps at the middle of the prior.
    fn generate_next(&self, model: &GenerativeModel) -> String {
        let middle = |range: &PriorRange| match range.logarithmic {
            true => (range.low * range.high).sqrt(),
            false => 0.5 * (range.low + range.high),
        };
        let ranges = model.card().parameters.0.iter();
        let middle: Vec<String> = ranges.map(|range| middle(range).to_string()).collect();
        format!(
            "armilla generate --run {} --params={} --out {}",
            quoted(&self.out),
            middle.join(","),
            quoted(&self.out.with_file_name("samples.h5"))
        )
    }

    /// Somebody else's folder is not written into, and no training is lost.
    fn check_out(&self) -> Result<()> {
        let whole = self.out.join(MODEL_FILE).exists();
        let made = match steps_made(&self.out) {
            Err(damaged) if self.resume => return Err(damaged.into()),
            made => made.ok().flatten(),
        };
        if self.resume && made.is_none() && !whole {
            note(&format!(
                "{} holds no training to resume; beginning anew",
                self.out.display()
            ));
        }
        if self.overwrite || (self.resume && (whole || made.is_some())) {
            return Ok(());
        }
        if whole {
            return Err(Error::file(
                &self.out,
                "the folder holds a finished training; name another, or add --overwrite to lose it",
            ));
        }
        if let Some(step) = made {
            return Err(Error::file(
                &self.out,
                format!(
                    "the folder holds a training that was ended at step {step}; add --resume to go on with it, or --overwrite to begin anew"
                ),
            ));
        }
        let entries = fs::read_dir(&self.out).into_iter().flatten().flatten();
        let names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        // A training that was killed before its first state was whole leaves nothing to lose.
        if !are_ours(&names) {
            return Err(Error::file(
                &self.out,
                "the folder is not empty and no run folder; name another or add --overwrite",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_would_split_them() {
        for (path, read) in [
            ("runs/z=0.00.h5", "runs/z=0.00.h5"),
            ("my runs/a", "'my runs/a'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(quoted(Path::new(path)), read);
        }
    }

    #[test]
    fn folders_are_ours_beside_our_files_alone() {
        for (names, ours) in [
            (&["logs"][..], false),
            (&["figs", "logs", "history.jsonl"], true),
            (&["history.jsonl", "round-1"], true),
            (&["history.jsonl", "round-trip"], false),
            (&["history.jsonl", "figs2"], false),
            (&[], true),
        ] {
            let owned: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(are_ours(&owned), ours, "{names:?}");
        }
    }

    #[test]
    fn the_configuration_of_the_help_is_one() {
        let mut changed = TrainConfig::for_maps(2000);
        changed.network.coefficient_widths = vec![64, 64];
        assert_eq!(TrainConfig::parse(CONFIGURATION, 2000).unwrap(), changed);
        let plain = GenerativeConfig::parse("method: diffusion").unwrap();
        let mut shown = GenerativeConfig::parse(GENERATIVE).unwrap();
        (shown.model, shown.diffusion, shown.sampling) = (
            plain.model.clone(),
            plain.diffusion.clone(),
            plain.sampling.clone(),
        );
        assert_eq!(shown, plain);
    }
}
