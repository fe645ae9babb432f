//! Draw new maps from a trained run.

use std::io::Write;
use std::path::PathBuf;

use armilla_models::DeviceChoice;
use clap::Args;
use serde::Serialize;

use super::{progress, write_json};
use crate::Result;
use crate::pipeline::generate::{GenerateReport, check_out};
use crate::pipeline::generative::SamplingKeys;
use crate::pipeline::{AnyRun, GenerateSettings};

/// Draw new maps at given parameters from a trained run of any method.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla generate --run runs/ddpm --params 0.3,0.8 --count 16 --sampler ddim --steps 50 --out samples.h5\n  \
    armilla generate --run runs/flow --params Omega_m=0.3,sigma_8=0.8 --sampler heun --steps 10 --out samples.h5\n  \
    armilla generate --run runs/flow --params 0.2,0.8 --params 0.4,0.8 --count 100 --out samples.h5    two points\n  \
    armilla generate --run runs/guided --params 0.3,0.8 --guidance 1 --out samples.h5\n\n\
    Samplers:\n  \
    euler, midpoint, heun, rk4   the probability flow in equal steps: of order 1, 2, 2 and 4\n  \
    dopri5     the same within a tolerance, in as many steps as that takes, whatever --steps says\n  \
    ddpm       ancestral: noise is added at every step\n  \
    ddim       the implicit one; --eta from 0 (no noise) to 1 (as much as ddpm)\n  \
    edm        Heun's method in the noise level, with the steps of Karras et al.\n  \
    dpm++      the second-order multistep DPM-Solver++\n  \
    em, pc     the reverse stochastic equation, without and with a corrector\n\n\
    What is not said follows from the run's configuration (`sampling`). A continuous normalizing flow (ffjord) takes the \
    first five; realnvp, glow, spline and maf are drawn exactly and take none, a surrogate takes heun. The maps are in \
    physical units, in a file with their parameters that `armilla spectrum` and `armilla train` read; a picture of them \
    is beside it.")]
pub(super) struct Generate {
    /// The run folder that `armilla train` wrote.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The parameters, in the order of the run or as NAME=VALUE; given several times, maps are drawn at each.
    #[arg(long, value_name = "X,Y,…", required = true, allow_hyphen_values = true)]
    params: Vec<String>,
    /// Maps for each.
    #[arg(long, value_name = "N", default_value_t = 16)]
    count: usize,
    /// The solver [default: the run's].
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// Its steps [default: the run's].
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// How strongly maps follow their parameters: 0 is the model itself.
    #[arg(long, value_name = "W", allow_hyphen_values = true)]
    guidance: Option<f64>,
    /// The share of noise that ddim adds.
    #[arg(long, value_name = "E", allow_hyphen_values = true)]
    eta: Option<f64>,
    /// Where the network runs: cpu, cuda:N, or the first graphics processor if there is one.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
    /// The only source of randomness.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The HDF5 file to write; pictures get its name.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file and its pictures.
    #[arg(long)]
    overwrite: bool,
    /// Print what was made as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    report: &'a GenerateReport,
    files: Vec<PathBuf>,
}

impl Generate {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
        check_out(&self.out, self.overwrite)?;
        self.device.settled()?;
        let run = AnyRun::load(&self.run)?;
        let thetas = self.params.iter().map(|text| run.parse_parameters(text));
        let settings = GenerateSettings {
            thetas: thetas.collect::<Result<_>>()?,
            count: self.count,
            sampling: SamplingKeys {
                method: self.sampler.clone(),
                steps: self.steps,
                eta: self.eta,
                guidance: self.guidance,
            },
            device: self.device,
            seed: self.seed,
        };
        let spinner = progress::spinner("generating");
        let made = run.generate(&settings);
        spinner.finish_and_clear();
        let made = made?;
        let files = made.write(&self.out)?;
        let report = &made.report;
        if self.json {
            return write_json(out, &Made { report, files });
        }
        let (count, seconds) = (made.set.len(), report.seconds);
        let how = match (&report.sampler, report.steps) {
            (Some(sampler), Some(steps)) => format!(
                "{sampler}, {steps} steps, {} evaluations of the network",
                report.evaluations
            ),
            (Some(sampler), None) => format!("{sampler}, {} evaluations of the network", report.evaluations),
            _ => "exact".to_owned(),
        };
        writeln!(
            out,
            "{}: {count} maps of method {} in {seconds:.1} s ({:.1} a second; {how})",
            self.out.display(),
            report.method,
            count as f64 / seconds
        )?;
        let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
        let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
        writeln!(out, "{}", names.join(", "))?;
        Ok(())
    }
}
