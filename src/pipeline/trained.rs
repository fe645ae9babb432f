//! Keep a trained flow in a folder, read it back, and use it: as a likelihood and as a simulator.

use std::path::Path;

use armilla_models::flow_matching::{FlowMatching, generate};
use armilla_models::likelihoods::{EvidenceBound, NoiseKey, Reconstruction, Surrogate};
use armilla_models::train::{BEST_FILE, Epoch, State, Trainer};
use armilla_models::velocity::{CoefficientNetwork, VelocityConfig, VelocityNetwork};
use armilla_models::weights::Weights;
use armilla_models::{Cpu, Device, DeviceChoice, OnDevice};
use serde::{Deserialize, Serialize};

pub(super) use super::run_files::{Head, best_weights, read_description, save_run, write_json};
use super::{OutFolder, PriorBox};
use crate::data::{FieldTransform, Fractions, MapSet, Origin, SetFile, Split};
use crate::plot::{Curve, Loss, loss};
use crate::{Error, Result};

/// What describes a run: its presence in a folder makes the folder one.
pub const MODEL_FILE: &str = "model.json";
/// The losses, drawn.
pub(super) const HISTORY_PICTURE: &str = "training_history.png";
/// The form of the description that this version writes.
pub(super) const FORMAT: u32 = 3;
/// Heun steps in which maps are generated where nothing else is said: more are not seen in a picture.
pub const GENERATION_STEPS: usize = 24;

/// All that is needed to rebuild and understand a trained flow, but for its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The form of this description.
    pub format: u32,
    /// The network.
    pub network: VelocityConfig,
    /// Pixels along a side of its maps.
    pub side: usize,
    /// The parameters and their prior.
    pub parameters: PriorBox,
    /// What pixels go through first.
    pub transform: FieldTransform,
    /// How the maps were made, where that is known.
    pub origin: Option<Origin>,
    /// The unit of the pixels, where that is known; empty for a ratio.
    pub unit: Option<String>,
    /// How it was trained.
    pub training: Trainer,
    /// What was peculiar to flow matching in it.
    pub flow_matching: FlowMatching,
    /// How the data were divided.
    pub split: Fractions,
    /// The simulation that was moved to the test part.
    pub held_out: Option<usize>,
    /// The seed of the training.
    pub seed: u64,
    /// The data it was trained on.
    pub data: TrainingData,
}

/// The data behind a training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingData {
    /// The files, in their order; none for maps that were in memory alone.
    pub files: Vec<SetFile>,
    /// How many simulations there are.
    pub simulations: usize,
    /// How many maps each of them has.
    pub maps_per_simulation: usize,
}

impl ModelCard {
    /// The parts into which the simulations were divided.
    ///
    /// # Errors
    ///
    /// Fractions that make no sense.
    pub fn simulations(&self) -> Result<Split> {
        self.data.split(self.split, self.seed, self.held_out)
    }
}

impl TrainingData {
    /// The data of a set.
    pub(super) fn of(set: &MapSet) -> Self {
        Self {
            files: set.files().to_vec(),
            simulations: set.simulations(),
            maps_per_simulation: set.maps_per_simulation(),
        }
    }

    /// The parts into which the simulations are divided; `held_out` is moved to the test part.
    pub(super) fn split(&self, fractions: Fractions, seed: u64, held_out: Option<usize>) -> Result<Split> {
        let split = Split::simulations(self.simulations, fractions, seed)?;
        Ok(match held_out {
            Some(simulation) => split.holding_out(simulation),
            None => split,
        })
    }
}

/// How an observation is read as a likelihood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LikelihoodSettings {
    /// A lower bound on ln p(map | θ) in physical units.
    Evidence(EvidenceBound),
    /// An unnormalised score.
    Reconstruction(Reconstruction),
}

impl Default for LikelihoodSettings {
    fn default() -> Self {
        Self::Evidence(EvidenceBound::default())
    }
}

/// A trained flow.
#[derive(Debug, Clone)]
pub struct TrainedFlow {
    card: ModelCard,
    network: VelocityNetwork<Cpu>,
}

/// What a training leaves besides the flow itself.
#[derive(Debug, Clone)]
pub struct Trained {
    /// All that it was at its end, with the history.
    pub state: State,
    /// Whether the last line of the history is that of a second stage.
    pub(super) refined: bool,
}

impl TrainedFlow {
    /// The flow that `card` describes, with these weights.
    ///
    /// # Errors
    ///
    /// Weights of another architecture.
    pub fn new(card: ModelCard, weights: &Weights) -> Result<Self> {
        let mut network = untrained(&Cpu::default(), &card)?;
        network.load(weights)?;
        Ok(Self { card, network })
    }

    /// Read the run in the folder `path`, with its best weights.
    ///
    /// # Errors
    ///
    /// A folder that is no run, a description or checkpoint that is damaged, and a checkpoint of another architecture.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (model, text) = read_description(path)?;
        let card = parse_card(&text).map_err(|e| Error::file(&model, e))?;
        let mut network = untrained(&Cpu::default(), &card).map_err(|e| Error::file(&model, e))?;
        let weights = best_weights(path)?;
        network.load(&weights).map_err(|e| {
            Error::file(
                path.join(BEST_FILE),
                format!("a checkpoint of another architecture than {MODEL_FILE} says: {e}"),
            )
        })?;
        Ok(Self { card, network })
    }

    /// Write the run into `folder`, whose description comes last: a folder that has one is whole.
    ///
    /// # Errors
    ///
    /// Files that cannot be written.
    pub fn save(&self, trained: &Trained, folder: &mut OutFolder) -> Result<()> {
        let loops = trained.state.history().len() - usize::from(trained.refined);
        let draw = |history: &[Epoch], path: &Path| draw_history(history, loops, path);
        save_run(&self.network.weights(), trained, &self.card, &draw, folder)
    }

    /// Its description.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Looks whether maps of `side` pixels are what it was trained on.
    ///
    /// # Errors
    ///
    /// Another side.
    pub fn check_side(&self, side: usize) -> Result<()> {
        if side == self.card.side {
            return Ok(());
        }
        let own = self.card.side;
        Err(Error::Invalid(format!(
            "the maps are {side}×{side}, but the run was trained on {own}×{own}"
        )))
    }

    /// `map`, in physical units, as a likelihood of the parameters. The evidence bound includes the Jacobian of the
    /// transform: it bounds ln p(map | θ) of the map as given.
    ///
    /// # Errors
    ///
    /// A map of another size or with pixels that the transform does not take, and settings that make no sense.
    pub fn observe(
        &self,
        map: &[f32],
        settings: &LikelihoodSettings,
    ) -> Result<Surrogate<CoefficientNetwork>> {
        self.observe_with(&self.network, map, settings)
    }

    /// [`observe`](Self::observe) on a device that is chosen. What comes of it is on the host: a sampler may ask it
    /// from as many threads as it likes, whatever the device.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe), and a device that is not there.
    pub fn observe_on(
        &self,
        device: DeviceChoice,
        map: &[f32],
        settings: &LikelihoodSettings,
    ) -> Result<Surrogate<CoefficientNetwork>> {
        struct Job<'a>(&'a TrainedFlow, &'a [f32], &'a LikelihoodSettings);
        impl OnDevice for Job<'_> {
            type Output = Result<Surrogate<CoefficientNetwork>>;
            fn run<D: Device>(self, device: D) -> Self::Output {
                let mut network = untrained(&device, &self.0.card)?;
                network.load(&self.0.network.weights())?;
                self.0.observe_with(&network, self.1, self.2)
            }
        }
        device.run(Job(self, map, settings))?
    }

    fn observe_with<D: Device>(
        &self,
        network: &VelocityNetwork<D>,
        map: &[f32],
        settings: &LikelihoodSettings,
    ) -> Result<Surrogate<CoefficientNetwork>> {
        let x0 = self.card.transform.apply(map)?;
        Ok(match settings {
            LikelihoodSettings::Evidence(bound) => bound
                .observe(network, &x0)?
                .plus(self.card.transform.log_jacobian(map)?),
            LikelihoodSettings::Reconstruction(score) => score.observe(network, &x0)?,
        })
    }

    /// `count` new maps at the parameters `theta`, in physical units, one after the other.
    ///
    /// # Errors
    ///
    /// Parameters outside the prior.
    pub fn generate(&self, theta: &[f64], count: usize, key: NoiseKey) -> Result<Vec<f32>> {
        self.generate_in(theta, count, GENERATION_STEPS, key)
    }

    /// The same in another number of Heun steps.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate), and no step.
    pub fn generate_in(&self, theta: &[f64], count: usize, steps: usize, key: NoiseKey) -> Result<Vec<f32>> {
        let z = generate(&self.network, theta, count, steps, key)?;
        Ok(self.card.transform.invert(&z))
    }
}

/// Draws the losses in units of their first ones: one is that of the velocity, the other that of the bound. The first
/// `loops` are those of the loop over batches.
pub(super) fn draw_history(history: &[Epoch], loops: usize, picture: &Path) -> Result<()> {
    let relative = |of: fn(&Epoch) -> f64, until: usize| -> Vec<f64> {
        let first = history.first().map_or(f64::NAN, of);
        let value = |(i, epoch)| if i < until { of(epoch) / first } else { f64::NAN };
        history.iter().enumerate().map(value).collect()
    };
    // The loss of the second stage is neither.
    let train = relative(|e| e.train_loss, loops);
    let validation = relative(|e| e.validation_loss, usize::MAX);
    let curves = [
        Curve {
            label: "training",
            values: &train,
        },
        Curve {
            label: "validation",
            values: &validation,
        },
    ];
    let plot = Loss {
        title: "Training",
        curves: &curves,
        step: "epoch",
        quantity: "loss / loss of epoch 1",
    };
    loss(&plot, picture)
}

fn parse_card(text: &str) -> std::result::Result<ModelCard, String> {
    let head = Head::of(text)?;
    if let Some(method) = head.method {
        return Err(format!(
            "the run is of method {method}, and likelihoods of that method are not built yet: train a surrogate, with a configuration without `method`, and infer with it; `armilla generate` draws maps from this run"
        ));
    }
    head.check(FORMAT)?;
    serde_json::from_str(text).map_err(|e| format!("is no description of a run: {e}"))
}

/// The network with weights that mean nothing.
pub(super) fn untrained<D: Device>(device: &D, card: &ModelCard) -> Result<VelocityNetwork<D>> {
    let bounds = card.parameters.bounds();
    let network = VelocityNetwork::new(device, card.network.clone(), card.side, &bounds, card.seed)?;
    Ok(network)
}
