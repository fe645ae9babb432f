//! Show everything at once: simulate, train, infer by every method, and compare with the exact posterior.

mod report;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use armilla_models::likelihoods::EvidenceBound;
use armilla_models::train::Event;
use armilla_samplers::run::{Event as RunEvent, Observer, RunOptions};

pub use report::{Comparison, DemoReport, Seconds};

use report::compare;

use super::infer::infer_observation;
use super::pictures::{Figure, both, bounds, columns, label};
use super::trained::write_json;
use super::{
    InferSettings, Inference, Kind, LikelihoodSettings, Method, Observation, OutFolder, PriorBox,
    SimulateSettings, TrainConfig, TrainRun, TrainSettings, TrainedFlow, infer, simulate, train,
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
        Self {
            seed: 1,
            slab: Slab::default(),
            simulations: 16_000,
            index: 3,
            config: TrainConfig {
                split: Fractions {
                    train: 0.96,
                    validation: 0.02,
                    test: 0.02,
                },
                ..TrainConfig::default()
            },
            likelihood: LikelihoodSettings::Evidence(EvidenceBound {
                times: 64,
                noises: 12,
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
    /// What the training says.
    Training(&'a Event<'a>),
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
            seed: settings.seed,
        };
        let (flow, trained) = train(&set, &train_settings, &TrainRun::default(), &mut |event| {
            observe(DemoProgress::Training(event));
        })?;
        flow.save(&trained, &mut run)?;
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
        let report: Observer = Arc::new(move |event| {
            if let RunEvent::Step(progress) = event {
                observe(DemoProgress::Another {
                    total: progress.total,
                });
            }
        });
        RunOptions {
            observer: Some(report),
            ..RunOptions::default()
        }
    };
    observe(DemoProgress::Stage("exact"));
    let map: Vec<f64> = observation.map.iter().map(|&x| f64::from(x)).collect();
    let likelihood = LognormalField::new(settings.slab)?.observe(&map)?;
    let on_grid = InferSettings::new(Method::Grid, settings.seed);
    let exact = infer(
        prior,
        likelihood,
        observation.truth.as_deref(),
        &on_grid,
        &watch(),
    )?;
    let by_method = |method: Method| -> Result<Inference> {
        observe(DemoProgress::Stage(method.name()));
        let how = InferSettings::new(method, settings.seed);
        infer_observation(
            &flow,
            &observation,
            &surrogate,
            &settings.likelihood,
            &how,
            &watch(),
        )
    };
    let (mle, mh) = (by_method(Method::Mle)?, by_method(Method::Mh)?);
    let (hmc, grid) = (by_method(Method::Hmc)?, by_method(Method::Grid)?);
    seconds.infer = next();

    observe(DemoProgress::Stage("drawing"));
    let mut figures = vec![
        draw_corner(&flow, &observation, [&exact, &mh, &hmc, &grid], &mut folder)?,
        draw_fields(&flow, &observation, &hmc, &mut folder)?,
    ];
    for inference in [&mle, &hmc, &grid] {
        figures.extend(inference.draw_summary(&flow, &observation, &mut folder)?);
    }
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
    report.write_page(&figures, &mut folder)?;
    run.keep();
    folder.keep();
    Ok(report)
}

fn draw_corner(
    flow: &TrainedFlow,
    observation: &Observation,
    inferences: [&Inference; 4],
    folder: &mut OutFolder,
) -> Result<Figure> {
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
    let caption =
        "The exact posterior, and what three samplers find with the trained network: 68 % and 95 % regions.";
    both(folder, "corner", caption, |path| corner(&plot, path))
}

fn draw_fields(
    flow: &TrainedFlow,
    observation: &Observation,
    inference: &Inference,
    folder: &mut OutFolder,
) -> Result<Figure> {
    let mean: Vec<f64> = inference
        .report
        .parameters
        .iter()
        .map(|p| p.summary.mean)
        .collect();
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
        label: &label(flow),
    };
    let caption = "The observation, and maps that the network generates at the posterior mean of HMC.";
    both(folder, "field", caption, |path| fields(&plot, path))
}
