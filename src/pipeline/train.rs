//! Train a flow on a set of maps.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use armilla_models::flow_matching::{Examples, Fields};
use armilla_models::train::{Event, Keep, Session};
use armilla_models::{Device, DeviceChoice, ModelError, OnDevice};
use rayon::prelude::*;

use super::trained::{
    FORMAT, HISTORY_PICTURE, MODEL_FILE, ModelCard, Trained, TrainedFlow, TrainingData, draw_history,
    untrained,
};
use super::{PriorBox, TrainConfig};
use crate::data::{FieldTransform, MapSet};
use crate::{Error, Result};

/// Maps of up to so many bytes are held in memory; others are read anew for every batch.
const HELD: u64 = 1 << 30;
/// As many maps are read at once where all are gone through.
const BLOCK: usize = 64;

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

/// A part of a set, whose maps are read and transformed when they are asked for.
struct Part<'a> {
    set: &'a MapSet,
    maps: &'a [usize],
    transform: &'a FieldTransform,
}

impl Part<'_> {
    /// All of its maps, in memory.
    fn all(&self) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(self.numbers());
        for block in self.maps.chunks(BLOCK) {
            all.extend(self.transformed(block)?);
        }
        Ok(all)
    }

    fn transformed(&self, maps: &[usize]) -> Result<Vec<f32>> {
        let pixels = self.set.side() * self.set.side();
        let mut fields = self.set.read_maps(maps)?;
        fields
            .par_chunks_exact_mut(pixels)
            .zip(maps)
            .try_for_each(|(field, map)| {
                let z = self.transform.apply(field);
                field.copy_from_slice(&z.map_err(|e| Error::Invalid(format!("map {map}: {e}")))?);
                Ok::<_, Error>(())
            })?;
        Ok(fields)
    }
}

impl Fields for Part<'_> {
    fn numbers(&self) -> usize {
        self.maps.len() * self.set.side() * self.set.side()
    }

    fn read(&self, picks: &[usize], _len: usize) -> armilla_models::Result<Vec<f32>> {
        let maps: Vec<usize> = picks.iter().map(|&i| self.maps[i]).collect();
        self.transformed(&maps)
            .map_err(|e| ModelError::Invalid(e.to_string()))
    }
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
        data: TrainingData {
            files: set.files().to_vec(),
            simulations: set.simulations(),
            maps_per_simulation: set.maps_per_simulation(),
        },
    };
    if let Some(map) = settings.hold_out {
        if map >= set.len() {
            return Err(Error::Invalid(format!(
                "map {map} cannot be held out: there are {}, numbered from 0",
                set.len()
            )));
        }
        card.held_out = Some(set.simulation_of(map));
    }
    let split = card.simulations()?.of_maps(set.maps_per_simulation());
    // Before the transform is fitted, which takes a while: a network that cannot be is told at once.
    let mut network = untrained(device, &card)?;
    let bytes = set.len() as u64 * (set.side() * set.side() * size_of::<f32>()) as u64;
    let loaded;
    let set = if bytes <= HELD && !set.is_in_memory() {
        loaded = set.loaded()?;
        &loaded
    } else {
        set
    };
    let blocks = split.train.chunks(BLOCK).map(|block| set.read_maps(block));
    card.transform = FieldTransform::fit(blocks, settings.config.pixels)?;

    let theta = |part: &[usize]| -> Vec<f64> { part.iter().flat_map(|&i| set.theta(i)).copied().collect() };
    let transform = card.transform.clone();
    let parameters = [theta(&split.train), theta(&split.validation)];
    let [training, validation] = [&split.train, &split.validation].map(|maps| Part {
        set,
        maps,
        transform: &transform,
    });
    let (training, validation): (Box<dyn Fields>, Box<dyn Fields>) = if set.is_in_memory() {
        (Box::new(training.all()?), Box::new(validation.all()?))
    } else {
        (Box::new(training), Box::new(validation))
    };
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
        return Err(Error::Invalid(match &run.folder {
            Some(folder) => format!(
                "the training was interrupted at step {step} and is kept in {}: the same command with --resume goes on",
                folder.display()
            ),
            None => format!("the training was interrupted at step {step}"),
        }));
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

fn remove_if_there(path: &Path) -> armilla_models::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ModelError::Invalid(format!(
            "{}: cannot be removed: {e}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FieldScaling, MapPaths};

    #[test]
    fn maps_read_for_each_batch_are_those_held_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maps.h5");
        let maps = (0..40 * 36).map(|i| 1.0 + (i as f32 * 0.7).sin().abs()).collect();
        let params = (0..20).map(f64::from).collect();
        let memory = MapSet::new(maps, 6, params, vec!["a".into()]).unwrap();
        memory.write(&path).unwrap();
        let files = MapSet::open(&[&path], &MapPaths::default()).unwrap();
        assert!(!files.is_in_memory() && files.loaded().unwrap().is_in_memory());
        let picked: Vec<usize> = (0..40).filter(|i| i % 3 != 0).collect();
        let fit = |set: &MapSet| {
            let blocks = picked.chunks(BLOCK).map(|block| set.read_maps(block));
            FieldTransform::fit(blocks, FieldScaling::default()).unwrap()
        };
        let transform = fit(&memory);
        assert_eq!(transform, fit(&files));
        let part = |set| Part {
            set,
            maps: &picked,
            transform: &transform,
        };
        let held = part(&memory).all().unwrap();
        assert_eq!(part(&files).all().unwrap(), held);
        for picks in [&[3, 20, 0][..], &[5], &[7, 8, 9, 1]] {
            assert_eq!(
                part(&files).read(picks, 36).unwrap(),
                held.read(picks, 36).unwrap()
            );
        }
        // A file that is gone, or damaged while it is read, is an error that names it.
        let shorter = std::fs::metadata(&path).unwrap().len() / 2;
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(shorter)
            .unwrap();
        let message = part(&files).read(&[25], 36).unwrap_err().to_string();
        assert!(message.contains("maps.h5"), "{message}");
    }
}
