//! Describe a trained generative model, write it into a folder, and read it back.

use std::path::Path as FilePath;

use armilla_models::nets::Architecture;
use armilla_models::path::{Path, Target};
use armilla_models::rectified::Straightness;
use armilla_models::weights::Weights;
use armilla_models::{DeviceChoice, flows::FlowConfig};
use serde::{Deserialize, Serialize};

use super::model::{Generated, generate_on, untrained};
use super::watch::draw_losses;
use super::{GenerativeConfig, Sampling, SamplingKeys};
use crate::data::{FieldTransform, Origin, Split};
use crate::pipeline::pictures::quantity;
use crate::pipeline::trained::{Head, Trained, TrainingData, best_weights, read_description, save_run};
use crate::pipeline::{OutFolder, PriorBox};
use crate::{Error, Result};

/// The form of the description that this version writes.
pub(super) const FORMAT: u32 = 4;

/// All that is needed to rebuild and understand a trained generative model, but for its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerativeCard {
    /// The form of this description.
    pub format: u32,
    /// The settings of the training, the method among them.
    #[serde(flatten)]
    pub config: GenerativeConfig,
    /// What the model is made of.
    pub architecture: Body,
    /// From data to noise, where the model follows a path.
    pub path: Option<Path>,
    /// What its network predicts.
    pub target: Option<Target>,
    /// Pixels along a side of its maps.
    pub side: usize,
    /// The parameters and their prior; normalised over it, they are the condition.
    pub parameters: PriorBox,
    /// What pixels go through first.
    pub transform: FieldTransform,
    /// The least and the largest of the pixels after it, in the training part: what is generated does not leave it, where
    /// the network predicts noise or scores.
    pub range: Option<[f64; 2]>,
    /// How the maps were made, where that is known.
    pub origin: Option<Origin>,
    /// The unit of the pixels, where that is known; empty for a ratio.
    pub unit: Option<String>,
    /// The simulation that was moved to the test part.
    pub held_out: Option<usize>,
    /// The seed of the training.
    pub seed: u64,
    /// The data it was trained on.
    pub data: TrainingData,
    /// How straight a rectified flow became: the first flow, then that of each round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<Vec<Straightness>>,
    /// The data of the round before, where the training began from the weights of another run.
    pub round_before: Option<TrainingData>,
}

/// What a model is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A network along a path.
    Network(Architecture),
    /// The layers of a normalizing flow.
    Layers(FlowConfig),
}

impl GenerativeCard {
    /// The parts into which the simulations were divided.
    ///
    /// # Errors
    ///
    /// Fractions that make no sense.
    pub fn simulations(&self) -> Result<Split> {
        self.data.split(self.config.split, self.seed, self.held_out)
    }

    /// What the colours of a map mean.
    pub(crate) fn label(&self) -> String {
        quantity(self.origin.as_ref(), self.unit.as_deref(), &self.data.files)
    }
}

/// A trained generative model.
#[derive(Debug, Clone)]
pub struct GenerativeModel {
    pub(super) card: GenerativeCard,
    pub(super) weights: Weights,
}

impl GenerativeModel {
    /// Read the run in the folder `path`, with its best weights.
    ///
    /// # Errors
    ///
    /// A folder that is no run, a run of a surrogate or another format, and files that are damaged or missing.
    pub fn load(path: impl AsRef<FilePath>) -> Result<Self> {
        let path = path.as_ref();
        let (model, text) = read_description(path)?;
        let fail = |what: String| Error::file(&model, what);
        let head = Head::of(&text).map_err(fail)?;
        if head.method.is_none() {
            return Err(Error::file(
                path,
                "the run is one of a surrogate, not of a generative model",
            ));
        }
        head.check(FORMAT).map_err(fail)?;
        let card: GenerativeCard =
            serde_json::from_str(&text).map_err(|e| fail(format!("is no description of a run: {e}")))?;
        let weights = best_weights(path)?;
        Self::new(card, weights).map_err(|e| Error::file(path, e))
    }

    /// The model that `card` describes, with these weights.
    ///
    /// # Errors
    ///
    /// Weights of another architecture.
    pub fn new(card: GenerativeCard, weights: Weights) -> Result<Self> {
        let mut model = untrained(&armilla_models::Cpu::default(), &card)?;
        model.load(&weights)?;
        Ok(Self { card, weights })
    }

    /// Write the run into `folder`, whose description comes last: a folder that has one is whole.
    ///
    /// # Errors
    ///
    /// Files that cannot be written.
    pub fn save(&self, trained: &Trained, folder: &mut OutFolder) -> Result<()> {
        save_run(&self.weights, trained, &self.card, &draw_losses, folder)
    }

    /// Its description.
    pub fn card(&self) -> &GenerativeCard {
        &self.card
    }

    /// How maps are drawn: as `said`, and what that leaves out as the run says; none where they are drawn exactly.
    ///
    /// # Errors
    ///
    /// A solver that there is not or that the model cannot use, guidance of a model that was not trained for it.
    pub fn sampling(&self, said: &SamplingKeys) -> Result<Option<Sampling>> {
        let config = &self.card.config;
        let method = config.method;
        if method.is_exact() {
            if *said != SamplingKeys::default() {
                return Err(Error::Invalid(format!(
                    "a run of method {method} is sampled exactly, without a solver: leave --sampler, --steps, --eta and --guidance out"
                )));
            }
            return Ok(None);
        }
        let sampling = said.or(&config.sampling).settled(method, config.levels())?;
        config.check_guidance(&sampling)?;
        Ok(Some(sampling))
    }

    /// `count` new maps at each of the parameter vectors `thetas`, in physical units, one after the other, on the device
    /// that is chosen.
    ///
    /// # Errors
    ///
    /// Parameters outside the prior, no map, and a solver that does not fit the model.
    pub fn generate(
        &self,
        device: DeviceChoice,
        thetas: &[Vec<f64>],
        count: usize,
        sampling: Option<Sampling>,
        seed: u64,
    ) -> Result<Generated> {
        generate_on(self, device, thetas, count, sampling, seed)
    }
}
