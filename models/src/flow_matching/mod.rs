//! Learn a velocity field from simulations: regression on the velocity of straight paths from data to noise.
//!
//! (Lipman et al. 2023, arXiv 2210.02747.) The loss is `E‖v̂ − v‖²` over λ from a [`TimeDistribution`], its time
//! stratified over a batch; weights are averaged exponentially. A second stage fits the coefficients of the
//! separable field anew, with the basis fixed: the loss is then a quadratic form for each field, computed once,
//! and thousands of steps over all of them cost seconds.
//!
//! [`TimeDistribution`]: crate::path::TimeDistribution

mod batch;
mod generate;
mod refine;

pub use crate::train::{Examples, Fields};
pub use generate::generate;

use armilla_samplers::rng::{Purpose, stream};
use serde::{Deserialize, Serialize};

use crate::{
    device::Device,
    error::{ModelError, Result},
    gram::Quadratic,
    train::{Batch, Learner, Session, Trainer, Training},
    velocity::{VelocityBasis, VelocityNetwork, rows_at_once},
    weights::Weights,
};
use batch::{Drawing, FlowBatch};

/// Larger counts are mistakes: a training of a million steps takes weeks.
const MOST: usize = 1_000_000;

/// What is peculiar to this training; the rest is said by a [`Trainer`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowMatching {
    /// Turn and mirror fields at random, and shift them where the network is periodic; in training only.
    pub augment: bool,
    /// The second stage.
    pub refine: Refine,
}

impl Default for FlowMatching {
    fn default() -> Self {
        Self {
            augment: true,
            refine: Refine::default(),
        }
    }
}

/// How to fit the coefficients with the basis fixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refine {
    /// Times and noises drawn for each field; 0 leaves the stage out.
    pub draws: usize,
    /// Steps.
    pub steps: usize,
    /// Quadratic forms in a batch.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
}

impl Default for Refine {
    fn default() -> Self {
        Self {
            draws: 1,
            steps: 4000,
            batch_size: 512,
            learning_rate: 2e-3,
        }
    }
}

impl FlowMatching {
    /// Trains `network` and leaves the averaged, refined weights in it.
    ///
    /// The second stage begins anew where it was interrupted: it takes seconds, and what it starts from is kept.
    ///
    /// # Errors
    /// `Invalid` where the data do not fit, and those of [`Trainer::train`].
    pub fn train<'a, D: Device>(
        &self,
        trainer: &Trainer,
        network: &mut VelocityNetwork<D>,
        training: Examples<'_>,
        validation: Examples<'_>,
        session: Session<'a>,
    ) -> Result<Training<'a>> {
        self.check(network, training, validation)?;
        let source = Drawing::new(network, training, self.augment);
        let validation = Drawing::new(network, validation, false);
        let seed = session.seed;
        let mut flow = Flow {
            network,
            validation,
            seed,
        };
        let mut run = trainer.train(&mut flow, &source, session)?;
        if run.interrupted || run.stages() > 1 || self.refine.draws == 0 || self.refine.steps == 0 {
            return Ok(run);
        }
        let Some(loss) = refine::refine(self.refine, flow.network, &source, &mut run)? else {
            run.interrupted = true;
            return Ok(run);
        };
        run.replace(flow.network.weights());
        let step = run.state.step() + self.refine.steps;
        let losses = [loss, flow.validation_loss()?, self.refine.learning_rate];
        run.end_stage(trainer, step, losses)?;
        Ok(run)
    }

    fn check<D: Device>(
        &self,
        network: &VelocityNetwork<D>,
        training: Examples,
        validation: Examples,
    ) -> Result<()> {
        let (n, dim) = (network.field_len(), network.bounds().len());
        for (part, examples) in [("training", training), ("validation", validation)] {
            let (fields, rows) = (examples.fields.numbers() / n, examples.parameters.len() / dim);
            if fields * n != examples.fields.numbers()
                || rows * dim != examples.parameters.len()
                || fields != rows
            {
                return Err(ModelError::shape(
                    "train",
                    format!(
                        "{} numbers are not {rows} {part} fields of {n}, one for each vector of {dim} parameters",
                        examples.fields.numbers()
                    ),
                ));
            }
            if fields == 0 {
                return Err(ModelError::Invalid(format!(
                    "the {part} part is empty: simulate more fields"
                )));
            }
        }
        if !(1..=MOST).contains(&self.refine.batch_size) || self.refine.steps.max(self.refine.draws) > MOST {
            return Err(ModelError::Invalid(format!(
                "refine.batch_size must be between 1 and {MOST}, refine.draws and refine.steps at most that: {self:?}"
            )));
        }
        // Each draw of a field is held as a quadratic form.
        let (draws, fields) = (self.refine.draws, training.fields.numbers() / n);
        if draws.saturating_mul(fields) > MOST {
            return Err(ModelError::Invalid(format!(
                "refine.draws is {draws}, for each of {fields} fields: lower it, until they are {MOST} together at most"
            )));
        }
        let rate = self.refine.learning_rate;
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(ModelError::Invalid(format!(
                "refine.learning_rate must be positive, and is {rate}"
            )));
        }
        Ok(())
    }
}

/// A network with the part of the data that it is judged on.
struct Flow<'a, D: Device> {
    network: &'a mut VelocityNetwork<D>,
    validation: Drawing<'a>,
    seed: u64,
}

impl<D: Device> Learner for Flow<'_, D> {
    type Batch = FlowBatch;

    fn weights(&self) -> Weights {
        self.network.weights()
    }

    fn load(&mut self, weights: &Weights) -> Result<()> {
        self.network.load(weights)
    }

    fn loss_and_gradients(&mut self, batch: FlowBatch) -> Result<(f64, Vec<Vec<f32>>)> {
        batch.loss_and_gradients(self.network)
    }

    /// Evidence-weighted.
    fn validation_loss(&mut self) -> Result<f64> {
        // The same fields, times and noise each time.
        const FIELDS: usize = 256;
        let network = &*self.network;
        let fields = self.validation.fields().min(FIELDS);
        let picks: Vec<usize> = (0..fields).collect();
        let mut stream = stream(self.seed, Purpose::Training, 1);
        let times = &network.config().times;
        let mut loss = 0.0;
        for chunk in picks.chunks(64) {
            let drawn = self.validation.draw(chunk, &mut stream)?;
            for first in (0..chunk.len()).step_by(rows_at_once(network)) {
                let batch = drawn.part(first..(first + rows_at_once(network)).min(chunk.len()));
                let c = batch.coefficients(network);
                let basis = network.basis(batch.x, &batch.times)?;
                let forms = Quadratic::rows(&basis, &batch.u, network.field_len());
                let rows = c.chunks_exact(network.coefficients.mlp.outputs());
                for ((form, c), time) in forms.iter().zip(rows).zip(&batch.times) {
                    // ½ sigmoid(λ) over the density that λ was drawn from: an estimate of the bound's integral.
                    let weight = 0.5 * ((1.0 - time.t) / time.scale).powi(2) / times.density(time.log_snr);
                    loss += weight * form.value(c);
                }
            }
        }
        Ok(loss / (fields * network.field_len()) as f64)
    }
}
