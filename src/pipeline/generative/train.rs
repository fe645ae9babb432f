//! Train a generative model on a set of maps.

use armilla_models::ModelError;
use armilla_models::flows::MaximumLikelihood;
use armilla_models::generate::Solver;
use armilla_models::path::Target;
use armilla_models::rectified::{Rectified, Rounds};
use armilla_models::score::ScoreMatching;
use armilla_models::train::{Event, Examples, Fields, Keep, Session, Training};
use armilla_models::{Device, OnDevice};

use super::card::FORMAT;
use super::model::{Model, untrained};
use super::watch::Watch;
use super::{GenerativeCard, GenerativeConfig, GenerativeModel, ScoreKeys};
use crate::data::{FieldTransform, MapSet};
use crate::pipeline::parts::{Part, fit_transform, held, held_out};
use crate::pipeline::train::interrupted;
use crate::pipeline::trained::{Trained, TrainingData};
use crate::pipeline::{PriorBox, TrainRun};
use crate::{Error, Result};

/// What the training of a generative model is told.
#[derive(Debug, Clone)]
pub struct GenerativeSettings {
    /// Method, network, optimisation and split.
    pub config: GenerativeConfig,
    /// The parameters and their prior.
    pub prior: PriorBox,
    /// A map whose simulation must be in the test part.
    pub hold_out: Option<usize>,
    /// The only source of randomness.
    pub seed: u64,
    /// The model to begin from, in place of random weights: another round. Its transform of the pixels is taken over.
    pub from: Option<GenerativeModel>,
}

/// Trains a generative model on the training part of `set` and keeps the weights with the lowest validation loss: the
/// averaged ones, where an average is taken.
///
/// `observe` hears of every step and validation. The folder gets the state, the history, pictures of what is generated
/// meanwhile, and the reports of the epochs. A training that was ended at any moment and resumed gives the same bits as one
/// that was not.
///
/// # Errors
///
/// Too few simulations, maps that the model cannot take, settings that make no sense, the state of another training, and an
/// interruption: what was done is then on disk.
pub fn train_generative(
    set: &MapSet,
    settings: &GenerativeSettings,
    run: &TrainRun<'_>,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<(GenerativeModel, Trained)> {
    struct Job<'a, 'b>(
        &'a MapSet,
        &'a GenerativeSettings,
        &'a TrainRun<'b>,
        &'a mut dyn FnMut(&Event<'_>),
    );
    impl OnDevice for Job<'_, '_> {
        type Output = Result<(GenerativeModel, Trained)>;
        fn run<D: Device>(self, device: D) -> Self::Output {
            train_on(&device, self.0, self.1, self.2, self.3)
        }
    }
    run.device.run(Job(set, settings, run, observe))?
}

fn train_on<D: Device>(
    device: &D,
    set: &MapSet,
    settings: &GenerativeSettings,
    run: &TrainRun<'_>,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<(GenerativeModel, Trained)> {
    let mut card = describe(set, settings)?;
    let split = card.simulations()?.of_maps(set.maps_per_simulation());
    // Before the transform is fitted, which takes a while: a model that cannot be is told at once.
    let mut model = untrained(device, &card)?;
    let set = &*held(set)?;
    card.transform = match &settings.from {
        Some(before) => {
            model.load(&before.weights).map_err(|e| {
                Error::Invalid(format!(
                    "the run to begin from has another architecture than this one: {e}"
                ))
            })?;
            before.card.transform.clone()
        }
        None => fit_transform(set, &split.train, card.config.pixels)?,
    };
    let transform = card.transform.clone();
    let [training, validation] = [&split.train, &split.validation].map(|maps| Part {
        set,
        maps,
        transform: &transform,
    });
    let conditions = [&training, &validation].map(|part| card.parameters.to_unit(&part.theta()));
    let (training, validation) = (training.fields()?, validation.fields()?);
    if let (Some(Target::Noise | Target::Score), n) = (card.target, set.side() * set.side()) {
        card.range = Some(range(&*training, n)?);
    }
    let examples = [
        Examples {
            fields: &*training,
            parameters: &conditions[0],
        },
        Examples {
            fields: &*validation,
            parameters: &conditions[1],
        },
    ];
    let mut watch = Watch::new(
        device,
        card.clone(),
        set,
        &split.validation,
        run.folder.as_deref(),
    )?;
    let mut watch = |event: Event<'_>| -> armilla_models::Result<()> {
        observe(&event);
        watch.hear(event).map_err(|e| ModelError::Invalid(e.to_string()))
    };
    let keep = keep(&card, run)?;
    let session = Session {
        seed: settings.seed,
        keep: keep.clone(),
        interrupt: run.interrupt,
        observe: &mut watch,
    };
    let done = learn(device, &card, &mut model, examples, session)?;
    let step = done.state.step();
    if done.interrupted {
        return Err(interrupted(step, run.folder.as_deref()));
    }
    let Training { state, mut best, .. } = done;
    if card.config.rectified.is_some() {
        model.load(&best)?;
        let session = Session {
            seed: settings.seed,
            keep,
            interrupt: run.interrupt,
            observe: &mut watch,
        };
        let rounds = rectify(device, &card, &mut model, examples, session)?;
        if rounds.interrupted {
            return Err(interrupted(step, run.folder.as_deref()));
        }
        card.rounds = Some(rounds.rounds);
        best = model.weights();
    }
    let trained = Trained {
        state,
        refined: false,
    };
    let model = GenerativeModel { card, weights: best };
    Ok((model, trained))
}

/// The least and the largest number of fields of `len` numbers.
fn range(fields: &dyn Fields, len: usize) -> Result<[f64; 2]> {
    const AT_ONCE: usize = 64;
    let all: Vec<usize> = (0..fields.numbers() / len).collect();
    let mut range = [f64::INFINITY, f64::NEG_INFINITY];
    for part in all.chunks(AT_ONCE) {
        for x in fields.read(part, len)? {
            range = [range[0].min(f64::from(x)), range[1].max(f64::from(x))];
        }
    }
    Ok(range)
}

/// Straightens the flow in `model`.
fn rectify<D: Device>(
    device: &D,
    card: &GenerativeCard,
    model: &mut Model<D>,
    [training, validation]: [Examples<'_>; 2],
    session: Session<'_>,
) -> Result<Rounds> {
    let (Model::Network(network, extent), Some(keys), Some(path), Some(target)) =
        (model, &card.config.rectified, card.path.clone(), card.target)
    else {
        return Err(Error::Invalid(
            "only a flow along a path can be rectified".to_owned(),
        ));
    };
    let rectified = Rectified {
        rounds: keys.rounds,
        pairs: keys.pairs,
        solver: Solver::Heun,
        steps: keys.steps,
        matching: card.config.matching(path, target),
    };
    let trainer = &card.config.training;
    Ok(rectified.train(trainer, network, device, *extent, training, validation, session)?)
}

/// All that is known of the model before it is trained; the transform is replaced later.
fn describe(set: &MapSet, settings: &GenerativeSettings) -> Result<GenerativeCard> {
    let config = settings.config.clone();
    let names = settings.prior.names();
    if let Some(before) = &settings.from
        && (before.card.parameters.names() != names || before.card.side != set.side())
    {
        return Err(Error::Invalid(format!(
            "the run to begin from is of {0}×{0} maps with the parameters {1}, and the data are of {2}×{2} maps with {3}",
            before.card.side,
            before.card.parameters.names().join(", "),
            set.side(),
            names.join(", ")
        )));
    }
    let (path, target) = config.path()?.unzip();
    if let Some(before) = settings.from.as_ref().map(|before| &before.card) {
        for (differs, what) in [
            (
                before.config.pixels != config.pixels,
                "pixels, whose transform is taken over",
            ),
            (before.path != path, "the path from data to noise"),
            (before.target != target, "what the network predicts"),
        ] {
            if differs {
                return Err(Error::Invalid(format!(
                    "the run to begin from was trained with other settings of {what}: say the same, or leave --config out"
                )));
            }
        }
    }
    let data = TrainingData::of(set);
    // What was held out of the same data stays unseen.
    let kept_out = settings.from.as_ref().map(|before| &before.card);
    let kept_out = kept_out
        .filter(|before| before.data == data)
        .and_then(|before| before.held_out);
    Ok(GenerativeCard {
        format: FORMAT,
        architecture: config.body(set.side(), names.len())?,
        config,
        path,
        target,
        side: set.side(),
        parameters: settings.prior.clone(),
        transform: FieldTransform::new(false, 0.0, 1.0)?,
        range: None,
        origin: set.origin().cloned(),
        unit: set.unit().map(str::to_owned),
        held_out: held_out(set, settings.hold_out)?.or(kept_out),
        seed: settings.seed,
        data,
        rounds: None,
        round_before: settings.from.as_ref().map(|before| before.card.data.clone()),
    })
}

/// Where the state is kept, and what it says it is of: all that its result depends on, but for what it says itself.
fn keep(card: &GenerativeCard, run: &TrainRun<'_>) -> Result<Option<Keep>> {
    let Some(folder) = run.folder.clone() else {
        return Ok(None);
    };
    let mut about = serde_json::to_value(card).map_err(|e| Error::Invalid(e.to_string()))?;
    if let Some(about) = about.as_object_mut() {
        // How maps are drawn changes nothing of the training.
        for key in ["training", "seed", "sampling", "figures"] {
            about.remove(key);
        }
    }
    Ok(Some(Keep {
        folder,
        about,
        resume: run.resume,
    }))
}

/// The training itself.
fn learn<'a, D: Device>(
    device: &D,
    card: &GenerativeCard,
    model: &mut Model<D>,
    [training, validation]: [Examples<'_>; 2],
    session: Session<'a>,
) -> Result<Training<'a>> {
    let config = &card.config;
    let trainer = &config.training;
    Ok(match model {
        Model::Layers(flow) => {
            let fit = MaximumLikelihood {
                augment: config.augment,
                ..MaximumLikelihood::default()
            };
            fit.train(trainer, flow, training, validation, session)?
        }
        Model::Network(network, extent) => {
            let (Some(path), Some(target)) = (card.path.clone(), card.target) else {
                return Err(Error::Invalid(format!(
                    "the method {} has no path",
                    config.method
                )));
            };
            if let Some(ffjord) = &config.ffjord {
                let ffjord = ffjord.settings();
                return Ok(ffjord.train(trainer, network, device, *extent, training, validation, session)?);
            }
            let matching = config.matching(path, target);
            if let Some(estimator) = config.score.as_ref().and_then(ScoreKeys::estimator) {
                let score = ScoreMatching { estimator, matching };
                return Ok(score.train(trainer, network, device, *extent, training, validation, session)?);
            }
            matching.train(trainer, network, device, *extent, training, validation, session)?
        }
    })
}
