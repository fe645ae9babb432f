//! Train a flow on a set of maps.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use armilla_models::flow_matching::Examples;
use armilla_models::train::{Event, Keep, Session};
use armilla_models::{Device, DeviceChoice, ModelError, OnDevice};

use super::parts::{Part, fit_transform, held, held_out};
use super::trained::{
    FORMAT, HISTORY_PICTURE, MODEL_FILE, ModelCard, Trained, TrainedFlow, TrainingData, draw_history,
    untrained,
};
use super::{PriorBox, TrainConfig};
use crate::data::{FieldTransform, MapSet};
use crate::{Error, Result};

/// What a training is told.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSettings {
    /// Network, optimisation and split.
    pub config: TrainConfig,
    /// The parameters and their prior.
    pub prior: PriorBox,
    /// A map whose simulation must be in the test part: one that is to be inferred.
    pub hold_out: Option<usize>,
    /// The only source of randomness.
    pub seed: u64,
}

/// Where a training is kept while it goes on, and how it is ended.
#[derive(Debug, Clone, Default)]
pub struct TrainRun<'a> {
    /// The folder that gets the state, the best weights, the history and its picture at each validation; it must be
    /// there.
    pub folder: Option<PathBuf>,
    /// Where the network runs.
    pub device: DeviceChoice,
    /// Go on from the state in the folder, if there is one.
    pub resume: bool,
    /// Becomes true when the training should end.
    pub interrupt: Option<&'a AtomicBool>,
}

/// Trains a flow on the training part of `set` and keeps the weights with the lowest validation loss.
///
/// `observe` hears of every step and validation. A training that was ended at any moment, however rudely, and resumed
/// gives the same bits as one that was not.
///
/// # Errors
///
/// Too few simulations, maps that the network cannot take, settings that make no sense, the state of another training,
/// and an interruption: what was done is then on disk.
pub fn train(
    set: &MapSet,
    settings: &TrainSettings,
    run: &TrainRun<'_>,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<(TrainedFlow, Trained)> {
    struct Job<'a, 'b>(
        &'a MapSet,
        &'a TrainSettings,
        &'a TrainRun<'b>,
        &'a mut dyn FnMut(&Event<'_>),
    );
    impl OnDevice for Job<'_, '_> {
        type Output = Result<(TrainedFlow, Trained)>;
        fn run<D: Device>(self, device: D) -> Self::Output {
            train_with(&device, self.0, self.1, self.2, self.3)
        }
    }
    run.device.run(Job(set, settings, run, observe))?
}

fn train_with<D: Device>(
    device: &D,
    set: &MapSet,
    settings: &TrainSettings,
    run: &TrainRun<'_>,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<(TrainedFlow, Trained)> {
    let mut card = ModelCard {
        format: FORMAT,
        network: settings.config.network.clone(),
        side: set.side(),
        parameters: settings.prior.clone(),
        // Replaced below by one that is fitted to the training part.
        transform: FieldTransform::new(false, 0.0, 1.0)?,
        origin: set.origin().cloned(),
        unit: set.unit().map(str::to_owned),
        training: settings.config.training,
        flow_matching: settings.config.flow_matching,
        split: settings.config.split,
        held_out: None,
        seed: settings.seed,
        data: TrainingData::of(set),
    };
    card.held_out = held_out(set, settings.hold_out)?;
    let split = card.simulations()?.of_maps(set.maps_per_simulation());
    // Before the transform is fitted, which takes a while: a network that cannot be is told at once.
    let mut network = untrained(device, &card)?;
    let set = &*held(set)?;
    card.transform = fit_transform(set, &split.train, settings.config.pixels)?;
    let transform = card.transform.clone();
    let [training, validation] = [&split.train, &split.validation].map(|maps| Part {
        set,
        maps,
        transform: &transform,
    });
    let parameters = [training.theta(), validation.theta()];
    let (training, validation) = (training.fields()?, validation.fields()?);
    let mut refining = false;
    let mut watch = |event: Event<'_>| -> armilla_models::Result<()> {
        observe(&event);
        let Some(folder) = &run.folder else { return Ok(()) };
        match event {
            // A folder with a description is whole, which it is not from here on.
            Event::Started { .. } => remove_if_there(&folder.join(MODEL_FILE))?,
            Event::Refining { .. } => refining = true,
            Event::Validated { history, .. } => {
                let loops = history.len() - usize::from(refining);
                draw_history(history, loops, &folder.join(HISTORY_PICTURE))
                    .map_err(|e| ModelError::Invalid(e.to_string()))?;
            }
            _ => {}
        }
        Ok(())
    };
    let keep = match &run.folder {
        Some(folder) => Some(Keep {
            folder: folder.clone(),
            about: about(&card)?,
            resume: run.resume,
        }),
        None => None,
    };
    let session = Session {
        seed: settings.seed,
        keep,
        interrupt: run.interrupt,
        observe: &mut watch,
    };
    let training = card.flow_matching.train(
        &card.training,
        &mut network,
        Examples {
            fields: &*training,
            parameters: &parameters[0],
        },
        Examples {
            fields: &*validation,
            parameters: &parameters[1],
        },
        session,
    )?;
    let step = training.state.step();
    if training.interrupted {
        return Err(interrupted(step, run.folder.as_deref()));
    }
    let refined = training.stages() > 1;
    let trained = Trained {
        state: training.state,
        refined,
    };
    Ok((TrainedFlow::new(card, &training.best)?, trained))
}

/// What the state of a training says it is of: all that its result depends on, but for what it says itself.
fn about(card: &ModelCard) -> Result<serde_json::Value> {
    let mut about = serde_json::to_value(card).map_err(|e| Error::Invalid(e.to_string()))?;
    if let Some(about) = about.as_object_mut() {
        about.remove("training");
        about.remove("seed");
    }
    Ok(about)
}

/// The end of a training that somebody interrupted at `step`.
pub(super) fn interrupted(step: usize, folder: Option<&Path>) -> Error {
    Error::Invalid(match folder {
        Some(folder) => format!(
            "the training was interrupted at step {step} and is kept in {}: the same command with --resume goes on",
            folder.display()
        ),
        None => format!("the training was interrupted at step {step}"),
    })
}

/// Removes the file at `path`, if there is one.
pub(super) fn remove_if_there(path: &Path) -> armilla_models::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ModelError::Invalid(format!(
            "{}: cannot be removed: {e}",
            path.display()
        ))),
        _ => Ok(()),
    }
}
