//! Train a flow on a set of maps.

use armilla_models::flow_matching::Examples;
use armilla_models::train::Event;
use armilla_models::{Cpu, Device, DeviceChoice, OnDevice};

use super::trained::{FORMAT, ModelCard, TrainedFlow, Training, TrainingData, untrained};
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
    /// The name of the data file, for the description.
    pub file: String,
    /// The only source of randomness.
    pub seed: u64,
}

/// [`train`] on a device that is chosen.
///
/// # Errors
///
/// As [`train`], and a device that is not there.
pub fn train_on(
    device: DeviceChoice,
    set: &MapSet,
    settings: &TrainSettings,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<(TrainedFlow, Training)> {
    struct Job<'a>(&'a MapSet, &'a TrainSettings, &'a mut dyn FnMut(&Event<'_>));
    impl OnDevice for Job<'_> {
        type Output = Result<(TrainedFlow, Training)>;
        fn run<D: Device>(self, device: D) -> Self::Output {
            train_with(&device, self.0, self.1, self.2)
        }
    }
    device.run(Job(set, settings, observe))?
}

/// Trains a flow on the training part of `set` and keeps the weights with the lowest validation loss.
///
/// `observe` hears of every step and validation.
///
/// # Errors
///
/// Too few simulations, maps that the network cannot take, and settings that make no sense.
pub fn train(
    set: &MapSet,
    settings: &TrainSettings,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<(TrainedFlow, Training)> {
    train_with(&Cpu::default(), set, settings, observe)
}

fn train_with<D: Device>(
    device: &D,
    set: &MapSet,
    settings: &TrainSettings,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<(TrainedFlow, Training)> {
    let mut card = ModelCard {
        format: FORMAT,
        network: settings.config.network.clone(),
        side: set.side(),
        parameters: settings.prior.clone(),
        // Replaced below by one that is fitted to the training part.
        transform: FieldTransform::new(false, 0.0, 1.0)?,
        origin: set.origin().cloned(),
        training: settings.config.training,
        split: settings.config.split,
        held_out: None,
        seed: settings.seed,
        data: TrainingData {
            file: settings.file.clone(),
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
    card.transform = FieldTransform::fit(split.train.iter().map(|&i| set.map(i)))?;

    let part = |indices: &[usize]| -> Result<(Vec<f32>, Vec<f64>)> {
        let mut fields = Vec::with_capacity(indices.len() * set.side() * set.side());
        let mut parameters = Vec::with_capacity(indices.len() * set.names().len());
        for &i in indices {
            let field = card.transform.apply(set.map(i));
            fields.extend(field.map_err(|e| Error::Invalid(format!("map {i}: {e}")))?);
            parameters.extend_from_slice(set.theta(i));
        }
        Ok((fields, parameters))
    };
    let training = part(&split.train)?;
    let validation = part(&split.validation)?;
    let mut best = network.weights();
    let history = card.training.train(
        &mut network,
        Examples {
            fields: &training.0,
            parameters: &training.1,
        },
        Examples {
            fields: &validation.0,
            parameters: &validation.1,
        },
        settings.seed,
        &mut |event| {
            if let Event::Validated { epoch, weights } = &event
                && epoch.best
            {
                best.clone_from(weights);
            }
            observe(&event);
            Ok(())
        },
    )?;
    let last = network.weights();
    Ok((TrainedFlow::new(card, &best)?, Training { last, history }))
}
