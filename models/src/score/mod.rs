//! Train a network on the score of noisy data without being told the noise: by its own derivatives.
//!
//! At points `x_t` of a path the loss `E w [½ ‖s‖² + ∇·s]` differs from the squared distance to the score `∇ ln p_t` by a
//! constant (Hyvärinen 2005, JMLR 6:695). The divergence is a derivative along directions, recorded and then differentiated
//! in reverse. What comes out is a model like those of [`Matching`], which learns the same score from the noise itself
//! and is faster; here derivatives teach what they would otherwise only be asked for.
//!
//! ```
//! use armilla_models::{
//!     Cpu, nets::ConditionedMlp, score::{Estimator, ScoreMatching},
//!     train::{Event, Examples, Session, Trainer},
//! };
//! use armilla_samplers::rng::{Purpose, stream};
//!
//! let device = Cpu::default();
//! let mut network = ConditionedMlp::new(&device, Default::default(), &mut stream(1, Purpose::Weights, 0))?;
//! let numbers: Vec<f32> = (0..1000).map(|i| 0.001 * i as f32).collect();
//! let examples = Examples { fields: &numbers, parameters: &[] };
//! let trainer = Trainer { steps: 20, validate_every: Some(20), ..Trainer::default() };
//! let session = Session { seed: 1, keep: None, interrupt: None, observe: &mut |_: Event<'_>| Ok(()) };
//! let score = ScoreMatching { estimator: Estimator::Exact, ..ScoreMatching::default() };
//! let training = score.train(&trainer, &mut network, &device, [1; 3], examples, examples, session)?;
//! assert_eq!(training.state.step(), 20);
//! # Ok::<(), armilla_models::ModelError>(())
//! ```

mod probes;
#[cfg(test)]
mod tests;

use dfdx::{
    tensor::{NoneTape, OwnedTape, Tape},
    tensor_ops::{MeanTo, TryAdd, TryMul},
};
use serde::{Deserialize, Serialize};

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
    matching::{AT_ONCE, Drawing, Matching, judged},
    nets::Conditioned,
    ops::conv::geometry::Extent,
    path::{Path, Target},
    signal::Dual,
    train::{Batch, Examples, Loss, Session, Trainer, Training, taped},
};
use probes::{Probed, Probing};

/// What is learnt, and how its divergence is estimated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreMatching {
    /// How the divergence is estimated.
    pub estimator: Estimator,
    /// Path, target, weights and times, as where the noise teaches. The target is [`Target::Score`] or
    /// [`Target::Noise`], which is −σ times it and of order one at all times. Noise is not coupled.
    pub matching: Matching,
}

impl Default for ScoreMatching {
    /// Sliced, on the variance-preserving path of Song et al. 2021 (arXiv 2011.13456).
    fn default() -> Self {
        Self {
            estimator: Estimator::default(),
            matching: Matching {
                path: Path::VariancePreserving {
                    beta_min: 0.1,
                    beta_max: 20.0,
                },
                target: Target::Noise,
                ..Matching::default()
            },
        }
    }
}

/// How a divergence is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Along random directions of signs, with the expectation of `(v·s)²` itself: sliced score matching with variance
    /// reduction (Song et al. 2019, arXiv 1905.07088).
    Sliced {
        /// Directions for each example, at most 64.
        projections: usize,
    },
    /// Along every coordinate: for at most 64 numbers.
    Exact,
}

impl Default for Estimator {
    fn default() -> Self {
        Self::Sliced { projections: 1 }
    }
}

/// Most directions for an example, each of which goes through the network and stays in memory until it is differentiated.
const MOST: usize = 64;

impl ScoreMatching {
    /// Trains `network`, and leaves the averaged weights in it: see [`Matching::train`].
    ///
    /// # Errors
    /// `Invalid` for another target, a coupling, no projection or too many, and networks with batch norms, whose rows are not each by
    /// itself; else as [`Matching::train`].
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
        self.check(network)?;
        let draw = |part, examples| Drawing::new(&self.matching, network, extent, (part, examples), None);
        let source = Probing::new(draw("training", training)?, self.estimator)?;
        let validation = Probing::new(draw("validation", validation)?.judged(), self.estimator)?;
        let loss = Scored {
            device,
            extent,
            target: self.matching.target,
            validation,
            seed: session.seed,
        };
        trainer.fit(network, loss, &source, session)
    }

    fn check<D: Device, N: Conditioned<D>>(&self, network: &mut N) -> Result<()> {
        self.matching.check()?;
        let wrong = if !matches!(self.matching.target, Target::Score | Target::Noise) {
            "score matching by derivatives learns a score or a noise: set target to one of them"
        } else if self.matching.coupling != Default::default() {
            "score matching by derivatives couples no noise: set coupling to independent"
        } else if matches!(self.estimator, Estimator::Sliced { projections } if !(1..=MOST).contains(&projections))
        {
            "sliced score matching takes from 1 to 64 projections"
        } else if !network.batch_norms().is_empty() {
            "score matching by derivatives needs a network that treats examples alone, and this one has batch norms: learn the score from the noise instead"
        } else {
            return Ok(());
        };
        Err(ModelError::Invalid(wrong.into()))
    }
}

/// Length and divergence of a score, with the part of the data that a network is judged on.
struct Scored<'a, D> {
    device: &'a D,
    extent: Extent,
    target: Target,
    validation: Probing<'a>,
    seed: u64,
}

impl<D: Device> Scored<'_, D> {
    /// The prediction, and its derivative along the directions.
    fn predict<T: Tape<f32, D>, N: Conditioned<D>>(
        &self,
        network: &N,
        batch: &Probed,
    ) -> Result<(Field<D>, Field<D, T>)> {
        let (device, points) = (self.device, &batch.points);
        let channels = network.channels();
        let field = |values: &[f32]| {
            let values = values.to_vec();
            Field::new(device, values, points.points.len(), channels, self.extent).map(|f| f.retaped::<T>())
        };
        let x = Dual::new(field(&points.x)?, field(&batch.directions)?)?;
        let condition = points.condition(device)?;
        let condition = condition.map(|c| Dual::unmoved(c.retaped::<T>())).transpose()?;
        let times = points.network_times(network, self.validation.drawing.path());
        Ok(network.forward(x, &times, condition)?.into_parts())
    }

    /// What the square of each prediction counts, and its derivative.
    fn factors(&self, batch: &Probed) -> [Vec<f32>; 2] {
        let n = self.validation.drawing.numbers();
        let rows = batch.points.points.iter().zip(&batch.points.weights);
        let (squares, slopes): (Vec<f32>, Vec<f32>) = rows
            .zip(batch.directions.chunks_exact(n))
            .flat_map(|((point, weight), directions)| {
                // The noise is −σ times the score.
                let slope = match self.target {
                    Target::Noise => -point.sigma * weight,
                    _ => *weight,
                };
                directions
                    .iter()
                    .map(move |v| (0.5 * *weight as f32, slope as f32 * v))
            })
            .unzip();
        [squares, slopes]
    }

    fn loss_of<N: Conditioned<D>>(&self, network: &N, batch: &Probed) -> Result<f64> {
        let (value, tangent) = self.predict::<NoneTape, N>(network, batch)?;
        let [squares, slopes] = self.factors(batch);
        let (values, tangents) = (value.to_vec(), tangent.to_vec());
        let terms = values.iter().zip(&tangents).zip(squares.iter().zip(&slopes));
        let sum: f64 = terms
            .map(|((p, dp), (a, b))| f64::from(a * p * p) + f64::from(b * dp))
            .sum();
        Ok(sum / values.len() as f64)
    }
}

impl<D: Device, N: Conditioned<D>> Loss<N> for Scored<'_, D> {
    type Batch = Probed;

    fn loss_and_gradients(&self, network: &N, batch: Probed) -> Result<(f64, Vec<Vec<f32>>)> {
        let (value, tangent) = self.predict::<OwnedTape<f32, D>, N>(network, &batch)?;
        let shape = (value.batch(), value.channels());
        let [squares, slopes] = self.factors(&batch);
        let field =
            |values| Field::new(self.device, values, shape.0, shape.1, self.extent).map(Field::into_values);
        let (squares, slopes) = (field(squares)?, field(slopes)?);
        let (loss, mut gradients) = taped(|| {
            let divergence = tangent.into_values().try_mul(slopes)?;
            let length = value.traced().into_values().try_square()?.try_mul(squares)?;
            divergence.try_add(length)?.try_mean()
        })?;
        Ok((loss, network.gradients(&mut gradients)?))
    }

    fn validation_loss(&self, network: &N) -> Result<f64> {
        let Probing { drawing, .. } = &self.validation;
        let at_once = (AT_ONCE / (drawing.numbers() * self.validation.probes())).max(1);
        let (mut sum, mut rows) = (0.0, 0);
        for points in judged(drawing, self.seed) {
            let points = points?;
            for first in (0..points.rows()).step_by(at_once) {
                let part = points.part(first..points.rows().min(first + at_once));
                let count = part.rows();
                // Directions of its own for each part: numbered by its first row.
                let part = self.validation.along(part, self.seed, rows as u64);
                sum += count as f64 * self.loss_of(network, &part)?;
                rows += count;
            }
        }
        Ok(sum / rows as f64)
    }
}
