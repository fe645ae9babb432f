//! Show everything at once: simulate, train, infer by every method, and compare with the exact posterior.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use armilla_models::flow_matching::{FlowMatching, Refine};
use armilla_models::likelihoods::EvidenceBound;
use armilla_models::train::{Epoch, Event};
use armilla_samplers::run::Progress;
use serde::Serialize;

use super::infer::infer_observation;
use super::pictures::{bounds, columns, label};
use super::report::{aligned, diagnostics, number};
use super::trained::write_json;
use super::{
    InferSettings, Inference, Kind, LikelihoodSettings, Method, Observation, OutFolder, PriorBox, Report,
    SimulateSettings, TrainConfig, TrainSettings, TrainedFlow, infer, simulate, train,
};
use crate::Result;
use crate::data::{Fractions, MapPaths, MapSet};
use crate::plot::{Corner, FieldPanel, Fields, Posterior, corner, fields};
use crate::simulators::{LognormalField, Slab};

/// What the demo does, in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoSettings {
    /// The only source of randomness.
    pub seed: u64,
    /// The size of the maps.
    pub slab: Slab,
    /// Simulations, of one map each: every map has parameters of its own to learn from.
    pub simulations: usize,
    /// The map to infer; it is kept out of the training.
    pub index: usize,
    /// Network, optimisation and split.
    pub config: TrainConfig,
    /// How the observation is read.
    pub likelihood: LikelihoodSettings,
}

impl Default for DemoSettings {
    fn default() -> Self {
        let refine = Refine {
            draws: 2,
            steps: 4000,
            batch_size: 512,
            ..Refine::default()
        };
        let training = FlowMatching {
            steps: 300,
            batch_size: 64,
            refine,
            ..FlowMatching::default()
        };
        Self {
            seed: 1,
            slab: Slab::default(),
            simulations: 16_000,
            index: 3,
            config: TrainConfig {
                training,
                split: Fractions {
                    train: 0.96,
                    validation: 0.02,
                    test: 0.02,
                },
                ..TrainConfig::default()
            },
            likelihood: LikelihoodSettings::Evidence(EvidenceBound {
                times: 64,
                noises: 6,
                key: 0,
            }),
        }
    }
}

/// What the demo says while it runs.
#[derive(Debug)]
pub enum DemoProgress<'a> {
    /// A stage begins.
    Stage(&'static str),
    /// It has come this far.
    Step {
        /// Steps done.
        done: usize,
        /// Steps in all.
        total: usize,
    },
    /// One more step of it is done, in any thread.
    Another {
        /// Steps in all.
        total: usize,
    },
    /// The training was judged.
    Epoch(&'a Epoch),
}

/// The content of `demo.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoReport {
    /// The seed.
    pub seed: u64,
    /// Pixels along a side.
    pub size: usize,
    /// The map that was inferred, of the test part of `maps.h5`.
    pub index: usize,
    /// The posterior of the exact likelihood.
    pub exact: Report,
    /// The maximum of the learned likelihood.
    pub mle: Report,
    /// Metropolis–Hastings on it.
    pub mh: Report,
    /// Hamiltonian Monte Carlo on it.
    pub hmc: Report,
    /// A grid on it.
    pub grid: Report,
    /// The methods against the exact posterior.
    pub comparison: Vec<Comparison>,
    /// How long each stage took.
    pub seconds: Seconds,
}

/// One parameter by one method, against the exact posterior.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The method.
    pub method: Method,
    /// The parameter.
    pub name: String,
    /// The means' difference in exact standard deviations.
    pub bias: f64,
    /// The standard deviation in exact ones.
    pub sd_ratio: f64,
}

/// How long the stages took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Seconds {
    /// Simulating and writing the maps.
    pub simulate: f64,
    /// Reading them and training.
    pub train: f64,
    /// Reading the observation through the network.
    pub observe: f64,
    /// All methods and the exact posterior.
    pub infer: f64,
    /// Pictures and files.
    pub draw: f64,
    /// All of it.
    pub total: f64,
}

/// Runs the demo into the folder `out`: `maps.h5`, `run`, pictures and `demo.json`. `observe` hears how far it is, from
/// any thread.
///
/// # Errors
///
/// Settings that make no sense, and files that cannot be written.
pub fn demo(
    settings: &DemoSettings,
    out: &Path,
    observe: impl Fn(DemoProgress<'_>) + Send + Sync + 'static,
) -> Result<DemoReport> {
    let observe = Arc::new(observe);
    let start = Instant::now();
    let mut lap = start;
    let mut next = || {
        std::mem::replace(&mut lap, Instant::now())
            .elapsed()
            .as_secs_f64()
    };
    let mut seconds = Seconds::default();
    let mut folder = OutFolder::create(out)?;

    observe(DemoProgress::Stage("simulating"));
    let data = folder.file("maps.h5");
    let simulation = SimulateSettings {
        kind: Kind::Lognormal,
        slab: settings.slab,
        simulations: settings.simulations,
        maps_per_simulation: 1,
        seed: settings.seed,
    };
    let total = settings.simulations;
    simulate(&simulation, &|done| observe(DemoProgress::Step { done, total }))?.write(&data)?;
    seconds.simulate = next();

    observe(DemoProgress::Stage("training"));
    let mut run = OutFolder::create(out.join("run"))?;
    let flow = {
        let set = MapSet::read(&data, &MapPaths::default())?;
        let train_settings = TrainSettings {
            config: settings.config.clone(),
            prior: PriorBox::of(&set, &[])?.0,
            hold_out: Some(settings.index),
            file: "maps.h5".into(),
            seed: settings.seed,
        };
        let (flow, training) = train(&set, &train_settings, &mut |event| match event {
            Event::Step { step, total, .. } => observe(DemoProgress::Step {
                done: *step,
                total: *total,
            }),
            Event::Refining { done, total } => observe(DemoProgress::Step {
                done: *done,
                total: *total,
            }),
            Event::Validated { epoch, .. } => observe(DemoProgress::Epoch(epoch)),
            _ => {}
        })?;
        flow.save(&training, &mut run)?;
        flow
    };
    seconds.train = next();

    observe(DemoProgress::Stage("reading the observation"));
    let observation = Observation::read(&data, &MapPaths::default(), settings.index, &flow)?;
    let surrogate = flow.observe(&observation.map, &settings.likelihood)?;
    seconds.observe = next();

    let prior = &flow.card().parameters;
    let watch = || {
        let observe = observe.clone();
        let report = move |progress: Progress| {
            observe(DemoProgress::Another {
                total: progress.total,
            })
        };
        Some(Arc::new(report) as armilla_samplers::run::ProgressCallback)
    };
    observe(DemoProgress::Stage("exact"));
    let map: Vec<f64> = observation.map.iter().map(|&x| f64::from(x)).collect();
    let likelihood = LognormalField::new(settings.slab)?.observe(&map)?;
    let on_grid = InferSettings::new(Method::Grid, settings.seed);
    let exact = infer(prior, likelihood, observation.truth.as_deref(), &on_grid, watch())?;
    let by_method = |method: Method| -> Result<Inference> {
        observe(DemoProgress::Stage(method.name()));
        let how = InferSettings::new(method, settings.seed);
        infer_observation(
            &flow,
            &observation,
            &surrogate,
            &settings.likelihood,
            &how,
            watch(),
        )
    };
    let (mle, mh) = (by_method(Method::Mle)?, by_method(Method::Mh)?);
    let (hmc, grid) = (by_method(Method::Hmc)?, by_method(Method::Grid)?);
    seconds.infer = next();

    observe(DemoProgress::Stage("drawing"));
    for inference in [&mle, &hmc, &grid] {
        inference.draw_summary(&flow, &observation, &mut folder)?;
    }
    draw_corner(&flow, &observation, [&exact, &mh, &hmc, &grid], &mut folder)?;
    draw_fields(&flow, &observation, &hmc, &mut folder)?;
    seconds.draw = next();
    seconds.total = start.elapsed().as_secs_f64();

    let reports = [&mle, &mh, &hmc, &grid].map(|inference| &inference.report);
    let report = DemoReport {
        seed: settings.seed,
        size: settings.slab.size,
        index: settings.index,
        comparison: reports
            .iter()
            .flat_map(|report| compare(&exact.report, report))
            .collect(),
        exact: exact.report,
        mle: mle.report,
        mh: mh.report,
        hmc: hmc.report,
        grid: grid.report,
        seconds,
    };
    write_json(&folder.file("demo.json"), &report)?;
    run.keep();
    folder.keep();
    Ok(report)
}

fn compare(exact: &Report, report: &Report) -> Vec<Comparison> {
    let pairs = exact.parameters.iter().zip(&report.parameters);
    pairs
        .map(|(exact, p)| Comparison {
            method: report.method,
            name: p.name.clone(),
            bias: (p.mean - exact.mean) / exact.sd,
            sd_ratio: p.sd / exact.sd,
        })
        .collect()
}

fn draw_corner(
    flow: &TrainedFlow,
    observation: &Observation,
    inferences: [&Inference; 4],
    folder: &mut OutFolder,
) -> Result<()> {
    let labels = ["exact", "Metropolis–Hastings", "HMC", "grid"];
    let values = inferences.map(columns);
    let weights = inferences.map(|inference| inference.surface.is_some().then(|| inference.run.weights()));
    let posteriors: Vec<Posterior<'_>> = labels
        .iter()
        .zip(&values)
        .zip(&weights)
        .map(|((label, values), weights)| Posterior {
            label,
            values,
            weights: weights.as_deref(),
        })
        .collect();
    let plot = Corner {
        names: &inferences[0].run.names,
        posteriors: &posteriors,
        truth: observation.truth.as_deref(),
        bounds: Some(&bounds(flow)),
    };
    corner(&plot, folder.file("corner.png"))
}

fn draw_fields(
    flow: &TrainedFlow,
    observation: &Observation,
    inference: &Inference,
    folder: &mut OutFolder,
) -> Result<()> {
    let mean: Vec<f64> = inference.report.parameters.iter().map(|p| p.mean).collect();
    let side = flow.card().side;
    let generated = flow.generate(&mean, 4, inference.report.seed)?;
    let title = format!("Observation, map {}", observation.index);
    let titles = ["Generated 1", "Generated 2", "Generated 3", "Generated 4"];
    let mut panels = vec![FieldPanel {
        title: &title,
        map: &observation.map,
    }];
    let maps = generated.chunks_exact(side * side);
    panels.extend(
        titles
            .iter()
            .zip(maps)
            .map(|(title, map)| FieldPanel { title, map }),
    );
    let plot = Fields {
        panels: &panels,
        side,
        box_size: flow.card().origin.as_ref().map(|origin| origin.box_size),
        label: label(flow),
    };
    fields(&plot, folder.file("field.png"))
}

impl DemoReport {
    /// All methods and parameters in one table.
    pub fn table(&self) -> String {
        let head = [
            "method",
            "parameter",
            "true",
            "mean",
            "sd",
            "bias/sd",
            "sd ratio",
            "R̂",
            "ESS",
            "evaluations",
            "seconds",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let reports = [&self.exact, &self.mle, &self.mh, &self.hmc, &self.grid];
        for (k, report) in reports.into_iter().enumerate() {
            let compared = compare(&self.exact, report);
            for (i, (p, against)) in report.parameters.iter().zip(&compared).enumerate() {
                let first = |text: String| if i == 0 { text } else { String::new() };
                let of_method = |text: String| if k == 0 { "–".to_owned() } else { text };
                let evaluations = report.evaluations.values + report.evaluations.gradients;
                let [rhat, ess] = diagnostics(p);
                let name = if k == 0 { "exact" } else { report.method.name() };
                rows.push(vec![
                    first(name.to_owned()),
                    p.name.clone(),
                    p.truth.map_or("–".into(), |truth| number(truth, p.sd)),
                    number(p.mean, p.sd),
                    number(p.sd, p.sd),
                    of_method(format!("{:+.2}", against.bias)),
                    of_method(format!("{:.2}", against.sd_ratio)),
                    rhat,
                    ess,
                    first(evaluations.to_string()),
                    first(format!("{:.1}", report.seconds)),
                ]);
            }
        }
        aligned(&rows)
    }

    /// What speaks against any of the results, with the method's name.
    pub fn warnings(&self) -> Vec<String> {
        let methods = [&self.mle, &self.mh, &self.hmc, &self.grid];
        let of = |report: &&Report| {
            let name = report.method.name();
            report
                .warnings
                .iter()
                .map(move |w| format!("{name}: {w}"))
                .collect::<Vec<_>>()
        };
        methods.iter().flat_map(of).collect()
    }
}
