//! Train a normalizing flow: the mean negative log density of the data, in nats an example.

use std::ops::Range;

use armilla_samplers::rng::{Purpose, Stream, stream};
use dfdx::{tensor::OwnedTape, tensor_ops::SumTo};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{FlowConfig, NormalizingFlow, layer::Layer, rows::MeanNegativeLogDensity};
use crate::{
    device::Device,
    error::{ModelError, Result},
    matching::Augment,
    ops::host,
    parameter::Module,
    train::{
        Batch, Examples, Loss, Order, Session, Source, Trainer, Training,
        symmetry::{symmetry, turn},
        taped,
    },
};

/// Streams under the seed: of the validation part, and of the batch that norms start from.
const VALIDATION: u64 = 1;
const START: u64 = 3;
/// Validation examples that are looked at.
const MOST_VALIDATED: usize = 4096;

/// What is peculiar to this training; the rest is said by a [`Trainer`].
///
/// ```
/// use armilla_models::{Cpu, flows::{FlowConfig, MaximumLikelihood, NormalizingFlow, RealNvpConfig}};
/// use armilla_models::train::{Event, Examples, Session, Trainer};
/// let config = FlowConfig::RealNvp(RealNvpConfig { layers: 2, widths: vec![8], ..Default::default() });
/// let mut flow = NormalizingFlow::new(&Cpu::default(), config, 1)?;
/// let points: Vec<f32> = (0..200).map(|i| (0.7 * i as f32).sin()).collect();
/// let examples = Examples { fields: &points, parameters: &[] };
/// let session = Session { seed: 1, keep: None, interrupt: None, observe: &mut |_: Event<'_>| Ok(()) };
/// let trainer = Trainer { steps: 20, ..Trainer::default() };
/// let training = MaximumLikelihood::default().train(&trainer, &mut flow, examples, examples, session)?;
/// assert!(training.state.history()[0].validation_loss.is_finite());
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaximumLikelihood {
    /// By what square images are moved at random, in training only: for Glow.
    pub augment: Augment,
    /// Width of the uniform noise that is added to each number: the distance of the values of data that take few, which
    /// have no density (Theis et al. 2016, arXiv 1511.01844); 0 for none.
    pub dequantise: f32,
}

impl MaximumLikelihood {
    /// Trains `flow` on examples of unit variance and leaves the averaged weights in it.
    ///
    /// The parameters of the examples are conditions, which the flow takes as they are. Norms that have seen no batch yet
    /// start from the first one.
    ///
    /// # Errors
    /// `Shape` or `Invalid` where the data do not fit, and those of [`Trainer::train`].
    pub fn train<'a, D: Device>(
        &self,
        trainer: &Trainer,
        flow: &mut NormalizingFlow<D>,
        training: Examples<'_>,
        validation: Examples<'_>,
        session: Session<'a>,
    ) -> Result<Training<'a>> {
        trainer.check()?;
        let source = Drawing::new(self, flow.config(), training, "training")?;
        let validation = Drawing::new(
            &Self {
                augment: Augment::None,
                ..*self
            },
            flow.config(),
            validation,
            "validation",
        )?;
        if !flow.has_started() {
            let count = source.examples();
            let picks = Order::new(session.seed, 0, count).at(0..trainer.batch_size.min(count));
            flow.start(source.batch(&picks, &mut stream(session.seed, Purpose::Training, START))?)?;
        }
        let seed = session.seed;
        trainer.fit(flow, Likelihood { validation, seed }, &source, session)
    }
}

impl<D: Device> NormalizingFlow<D> {
    /// Whether every norm has seen a batch.
    pub(super) fn has_started(&self) -> bool {
        self.layers.iter().all(|layer| match layer {
            Layer::ActNorm(norm) => norm.has_started(),
            _ => true,
        })
    }

    /// Lets every norm that has seen no batch look at this one, as the layers before it leave it.
    pub(super) fn start(&mut self, batch: Rows) -> Result<()> {
        let (mut rows, condition) = self.fields(&batch.x, batch.condition)?;
        for layer in &mut self.layers {
            if let Layer::ActNorm(norm) = layer
                && !norm.has_started()
            {
                norm.start(&rows.to_vec());
            }
            rows = layer.forward(rows, condition.as_ref())?;
        }
        Ok(())
    }

    /// The mean negative log density, and its gradient in every weight.
    pub(super) fn loss_and_gradients(&self, batch: Rows) -> Result<(f64, Vec<Vec<f32>>)> {
        let (rows, condition) = self.fields(&batch.x, batch.condition)?;
        let condition = condition.map(|c| c.retaped::<OwnedTape<f32, D>>());
        let noise = self.pass(rows.traced(), condition.as_ref())?;
        let map = MeanNegativeLogDensity {
            width: self.config().numbers() + 1,
        };
        let losses = host(vec![noise], &[], map, 1, [1; 3])?.into_values();
        let (loss, mut gradients) = taped(|| losses.try_sum())?;
        Ok((loss, self.gradients(&mut gradients)?))
    }
}

/// Examples, and what each was made with.
pub(super) struct Rows {
    pub(super) x: Vec<f32>,
    pub(super) condition: Vec<f32>,
    pub(super) count: usize,
}

impl Batch for Rows {
    fn rows(&self) -> usize {
        self.count
    }

    fn part(&self, rows: Range<usize>) -> Self {
        let part = |list: &[f32]| {
            let each = list.len() / self.count;
            list[rows.start * each..rows.end * each].to_vec()
        };
        Self {
            x: part(&self.x),
            condition: part(&self.condition),
            count: rows.len(),
        }
    }
}

/// What batches are drawn from, and how.
struct Drawing<'a> {
    examples: Examples<'a>,
    numbers: usize,
    told: usize,
    count: usize,
    /// The side of square images that are moved, and whether they are periodic.
    symmetric: Option<(usize, bool)>,
    dequantise: f32,
}

impl<'a> Drawing<'a> {
    fn new(
        settings: &MaximumLikelihood,
        config: &FlowConfig,
        examples: Examples<'a>,
        part: &str,
    ) -> Result<Self> {
        let (numbers, told) = (config.numbers(), config.cond_dim());
        let (count, given) = examples.sizes(part, numbers)?;
        if given != told {
            let what = format!("{part} examples have {given} parameters, and the flow takes {told}");
            return Err(ModelError::shape("train", what));
        }
        if !(settings.dequantise >= 0.0 && settings.dequantise.is_finite()) {
            let what = format!("dequantise must not be negative, and is {}", settings.dequantise);
            return Err(ModelError::Invalid(what));
        }
        let symmetric = match config {
            _ if settings.augment == Augment::None => None,
            FlowConfig::Glow(c) if c.sides[0] == c.sides[1] => {
                Some((c.sides[0], settings.augment == Augment::Torus))
            }
            _ => {
                let what = "augment moves square images, for Glow alone: leave it out here";
                return Err(ModelError::Invalid(what.into()));
            }
        };
        Ok(Self {
            examples,
            numbers,
            told,
            count,
            symmetric,
            dequantise: settings.dequantise,
        })
    }
}

impl Source for Drawing<'_> {
    type Batch = Rows;

    fn examples(&self) -> usize {
        self.count
    }

    fn batch(&self, picks: &[usize], stream: &mut Stream) -> Result<Rows> {
        let mut x = self.examples.read(picks, self.numbers)?;
        let mut condition = Vec::with_capacity(picks.len() * self.told);
        for (pick, x) in picks.iter().zip(x.chunks_exact_mut(self.numbers)) {
            if let Some((side, periodic)) = self.symmetric {
                turn(x, side, symmetry(side, periodic, stream));
            }
            if self.dequantise > 0.0 {
                x.iter_mut()
                    .for_each(|x| *x += self.dequantise * (stream.random::<f32>() - 0.5));
            }
            self.examples.tell(*pick, [self.told; 2], false, &mut condition);
        }
        Ok(Rows {
            x,
            condition,
            count: picks.len(),
        })
    }
}

/// The negative log density, with the part of the data that a flow is judged on.
struct Likelihood<'a> {
    validation: Drawing<'a>,
    seed: u64,
}

impl<D: Device> Loss<NormalizingFlow<D>> for Likelihood<'_> {
    type Batch = Rows;

    fn loss_and_gradients(&self, flow: &NormalizingFlow<D>, batch: Rows) -> Result<(f64, Vec<Vec<f32>>)> {
        flow.loss_and_gradients(batch)
    }

    fn validation_loss(&self, flow: &NormalizingFlow<D>) -> Result<f64> {
        let picks: Vec<usize> = (0..self.validation.examples().min(MOST_VALIDATED)).collect();
        let mut stream = stream(self.seed, Purpose::Training, VALIDATION);
        let mut total = 0.0;
        for picks in picks.chunks(flow.rows_at_once()) {
            let batch = self.validation.batch(picks, &mut stream)?;
            let condition = (!batch.condition.is_empty()).then_some(&batch.condition[..]);
            total -= flow.log_density(&batch.x, condition)?.iter().sum::<f64>();
        }
        Ok(total / picks.len() as f64)
    }
}
