//! Train a network on the path from data to noise: regression on what led to a point of it.
//!
//! One loss, `E w(t) ‖prediction − target‖²` over data, noise and times, is flow matching (Lipman et al. 2023, arXiv
//! 2210.02747) on [`Path::Linear`] with [`Target::Velocity`], denoising diffusion (Ho et al. 2020, arXiv 2006.11239) on a
//! [`Path::Chain`] with [`Target::Noise`], [`Target::Data`] or [`Target::V`], and denoising score matching (Vincent 2011;
//! Song et al. 2021, arXiv 2011.13456) on a variance-preserving or -exploding path with [`Target::Noise`] or
//! [`Target::Score`].
//!
//! ```
//! use armilla_models::{
//!     Cpu, matching::Matching, nets::ConditionedMlp,
//!     predictor::{NetworkPredictor, Predictor},
//!     train::{Event, Examples, Session, Trainer},
//! };
//! use armilla_samplers::rng::{Purpose, stream};
//!
//! let device = Cpu::default();
//! let mut network = ConditionedMlp::new(&device, Default::default(), &mut stream(1, Purpose::Weights, 0))?;
//! let numbers: Vec<f32> = (0..1000).map(|i| 2.0 + 0.001 * i as f32).collect();
//! let examples = Examples { fields: &numbers, parameters: &[] };
//! let trainer = Trainer { steps: 20, validate_every: Some(20), ..Trainer::default() };
//! let session = Session { seed: 1, keep: None, interrupt: None, observe: &mut |_: Event<'_>| Ok(()) };
//! let flow = Matching::default();
//! let training = flow.train(&trainer, &mut network, &device, [1; 3], examples, examples, session)?;
//! assert_eq!(training.state.step(), 20);
//! let flow = NetworkPredictor::new(&network, &device, [1; 3], flow.path, flow.target)?;
//! assert_eq!(flow.velocity(&[0.5, -0.5], 0.3)?.len(), 2);
//! # Ok::<(), armilla_models::ModelError>(())
//! ```

mod assignment;
mod batch;
#[cfg(test)]
mod tests;
mod times;
mod weighting;

pub(crate) use batch::{Drawing, Noised};
pub use times::TimeSampling;
pub use weighting::Weighting;

use armilla_samplers::rng::{Purpose, stream};
use dfdx::{
    tensor::{NoneTape, OwnedTape},
    tensor_ops::{MeanTo, TryMul, TrySub},
};
use serde::{Deserialize, Serialize};

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
    nets::Conditioned,
    ops::conv::geometry::Extent,
    path::{Path, Target},
    train::{Batch, Examples, Fields, Loss, Session, Trainer, Training, taped},
};

/// What is learnt, and how it is drawn; how long and how fast is said by a [`Trainer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matching {
    /// From data to noise.
    pub path: Path,
    /// What the network predicts.
    pub target: Target,
    /// What errors count over the path.
    pub weighting: Weighting,
    /// Where on the path to look.
    pub times: TimeSampling,
    /// Which noise an example is paired with.
    pub coupling: Coupling,
    /// Share of the examples whose condition is left out, for guidance (Ho & Salimans 2022, arXiv 2207.12598: 0.1).
    ///
    /// Where it is not 0, the network takes one number more than a condition has, and it is 1, and the rest 0, where the
    /// condition is left out: its weights in the first layer are a learned null.
    pub unconditional: f64,
    /// Symmetries that examples are moved by, in training only.
    pub augment: Augment,
}

impl Default for Matching {
    /// Flow matching.
    fn default() -> Self {
        Self {
            path: Path::Linear,
            target: Target::Velocity,
            weighting: Weighting::default(),
            times: TimeSampling::default(),
            coupling: Coupling::default(),
            unconditional: 0.0,
            augment: Augment::default(),
        }
    }
}

/// How data and noise are paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coupling {
    /// Each example with a noise of its own.
    #[default]
    Independent,
    /// Within a batch so that all squared distances together are the least, by exact assignment (Tong et al. 2024, arXiv
    /// 2302.00482; Pooladian et al. 2023, arXiv 2304.14772): paths cross less, and fewer steps solve them.
    ///
    /// For models without a condition. With one, the examples of a batch have different conditions and share the noise
    /// out among them: what comes with one condition is then not normal, though a sampler starts from a normal, and the
    /// conditional distributions are biased. The time goes as the cube of the batch: some 10 ms for 256, seconds for
    /// 2048.
    OptimalTransport,
}

/// By what square fields are moved at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Augment {
    /// By nothing.
    #[default]
    None,
    /// Turned and mirrored.
    Square,
    /// Shifted too: for fields that are periodic.
    Torus,
}

impl Matching {
    /// Trains `network` for fields of `extent` and leaves the averaged weights in it.
    ///
    /// Parameters of the examples are conditions, as the network takes them. A network with weights is gone on with from
    /// them: another round. Interrupted and resumed, the training ends with the same bits.
    ///
    /// # Errors
    /// `Invalid` where a setting makes no sense or the path ends with data in the noise, `Shape` where examples, conditions and network do not fit; else as
    /// [`Trainer::train`].
    #[allow(clippy::too_many_arguments)] // a network is no more than its device and extent
    pub fn train<'a, D: Device, N: Conditioned<D>>(
        &self,
        trainer: &Trainer,
        network: &mut N,
        device: &D,
        extent: Extent,
        training: Examples<'_>,
        validation: Examples<'_>,
        session: Session<'a>,
    ) -> Result<Training<'a>> {
        let pairs = [(training, None), (validation, None)];
        self.train_pairs(trainer, network, device, extent, pairs, session)
    }

    /// The same where the noise of each example may be given: what it is coupled with.
    pub(crate) fn train_pairs<'a, D: Device, N: Conditioned<D>>(
        &self,
        trainer: &Trainer,
        network: &mut N,
        device: &D,
        extent: Extent,
        [training, validation]: [(Examples<'_>, Option<&dyn Fields>); 2],
        session: Session<'a>,
    ) -> Result<Training<'a>> {
        self.check()?;
        let source = Drawing::new(self, network, extent, ("training", training.0), training.1)?;
        let judged = Drawing::new(self, network, extent, ("validation", validation.0), validation.1)?;
        let loss = Matched {
            device,
            extent,
            validation: judged.judged(),
            seed: session.seed,
        };
        trainer.fit(network, loss, &source, session)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.unconditional) {
            return Err(ModelError::Invalid(format!(
                "unconditional must be from 0 to below 1, and is {}",
                self.unconditional
            )));
        }
        self.path.check()?;
        let end = self.path.at(1.0);
        let left = end.alpha / end.sigma;
        if left > MOST_LEFT {
            let what = match self.path {
                Path::VarianceExploding { .. } => "raise sigma_max",
                Path::Chain(_) => "raise beta_end to about 20/timesteps, or take schedule cosine",
                _ => "raise beta_max to about 20",
            };
            return Err(ModelError::Invalid(format!(
                "the path ends with {:.0} % of the data left in the noise, where a sampler starts without: {what}",
                100.0 * left
            )));
        }
        Ok(())
    }
}

/// Data that may be left in the noise, α/σ: a sampler that starts without them is off by as much. (And rounding.)
const MOST_LEFT: f64 = 0.1001;

/// The squared distance, with the part of the data that a network is judged on.
struct Matched<'a, D> {
    device: &'a D,
    extent: Extent,
    validation: Drawing<'a>,
    seed: u64,
}

/// Numbers of examples that are judged, and that go through a network at once.
const JUDGED: usize = 1 << 16;
pub(crate) const AT_ONCE: usize = 1 << 18;
/// So few examples are judged only where they have many numbers: this many in all.
const FEW: usize = 256;
const MANY: usize = 1 << 20;
/// Examples that are coupled at once where they are judged.
const COUPLED: usize = 256;

/// How many of `rows` examples of `numbers` numbers a network is judged on.
pub(crate) fn judged_rows(rows: usize, numbers: usize) -> usize {
    let few = (MANY / numbers).clamp(16, FEW);
    rows.min((JUDGED / numbers).clamp(few, 4096))
}

/// The examples that a network is judged on, the same each time, in parts that fit the memory.
pub(crate) fn judged(drawing: &Drawing<'_>, seed: u64) -> impl Iterator<Item = Result<Noised>> {
    let rows = judged_rows(drawing.fields(), drawing.numbers());
    let mut stream = stream(seed, Purpose::Training, 1);
    let most = match drawing.coupling() {
        Coupling::Independent => AT_ONCE / drawing.numbers(),
        Coupling::OptimalTransport => COUPLED,
    };
    let at_once = most.max(1);
    (0..rows).step_by(at_once).map(move |first| {
        let picks: Vec<usize> = (first..rows.min(first + at_once)).collect();
        drawing.draw(&picks, &mut stream)
    })
}

impl<D: Device, N: Conditioned<D>> Loss<N> for Matched<'_, D> {
    type Batch = Noised;

    fn loss_and_gradients(&self, network: &N, batch: Noised) -> Result<(f64, Vec<Vec<f32>>)> {
        let (device, path) = (self.device, self.validation.path());
        let prediction = batch.predict::<D, OwnedTape<f32, D>, N>(network, device, self.extent, path)?;
        let (rows, channels, n) = (batch.rows(), prediction.channels(), batch.x.len() / batch.rows());
        let field = |values| Field::new(device, values, rows, channels, self.extent).map(Field::into_values);
        let wanted = field(batch.wanted)?;
        let roots = match batch.weights.iter().all(|w| *w == 1.0) {
            true => None,
            false => Some(field(
                (batch.weights.iter())
                    .flat_map(|w| std::iter::repeat_n(w.sqrt() as f32, n))
                    .collect(),
            )?),
        };
        let (loss, mut gradients) = taped(|| {
            let mut prediction = prediction.into_values();
            if let Some(roots) = roots {
                prediction = prediction.try_mul(roots)?;
            }
            prediction.try_sub(wanted)?.try_square()?.try_mean()
        })?;
        Ok((loss, network.gradients(&mut gradients)?))
    }

    fn validation_loss(&self, network: &N) -> Result<f64> {
        self.loss_of(network, judged(&self.validation, self.seed))
    }
}

impl<D: Device> Matched<'_, D> {
    /// The mean loss over all numbers.
    fn loss_of<N: Conditioned<D>>(
        &self,
        network: &N,
        parts: impl Iterator<Item = Result<Noised>>,
    ) -> Result<f64> {
        let (mut sum, mut numbers) = (0.0, 0);
        for part in parts {
            let part = part?;
            let path = self.validation.path();
            let prediction = part.predict::<D, NoneTape, N>(network, self.device, self.extent, path)?;
            let n = part.x.len() / part.rows();
            let rows = prediction.to_vec();
            let rows = rows.chunks_exact(n).zip(part.wanted.chunks_exact(n));
            for ((prediction, wanted), weight) in rows.zip(&part.weights) {
                let root = weight.sqrt();
                let error = |(p, w): (&f32, &f32)| (root * f64::from(*p) - f64::from(*w)).powi(2);
                sum += prediction.iter().zip(wanted).map(error).sum::<f64>();
            }
            numbers += part.x.len();
        }
        Ok(sum / numbers as f64)
    }
}
