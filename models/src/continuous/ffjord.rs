//! Train the velocity of a continuous flow by maximum likelihood.

use std::ops::Range;

use armilla_samplers::rng::{Purpose, Stream, stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{
    Gradient, Trace,
    augmented::{Augmented, Directions, Shares},
    reverse::{self, Differentiated, Steps},
};
use crate::{
    device::Device,
    error::{ModelError, Result},
    nets::Conditioned,
    ode::Method,
    ops::conv::geometry::Extent,
    train::{Batch, Examples, Loss, Session, Source, Trainer, Training},
};

/// More steps are mistakes.
const MOST: usize = 10_000;
/// Up to so many numbers, the trace is exact where nothing else is said: a probe that is as good costs as much.
const FEW: usize = 4;
/// Numbers of points, once for each direction, that go through a network together.
const AT_ONCE: usize = 1 << 18;
/// Examples that a network is judged on, at most; fewer where they have many numbers, once for each direction, in all.
const JUDGED: usize = 1024;
const JUDGED_NUMBERS: usize = 1 << 20;
/// For more numbers the exact trace takes more time and memory in training than there is.
const MOST_EXACT: usize = 256;

/// How to train the velocity of a continuous flow by maximum likelihood (FFJORD: Grathwohl et al. 2019, arXiv 1810.01367),
/// with the regularisation of Finlay et al. (2020, arXiv 2002.02798).
///
/// The loss is the mean over examples and numbers of
///
/// ```text
/// −ln N(x_1; 0, I) − ∫₀¹ ∇·v dt + kinetic ∫₀¹ ‖v‖² dt + jacobian ∫₀¹ ‖∇v‖² dt,      dx/dt = v,  data at t = 0
/// ```
///
/// and the trained network is a [`NetworkPredictor`](crate::predictor::NetworkPredictor) of
/// [`Target::Velocity`](crate::path::Target::Velocity) on [`Path::Linear`](crate::path::Path::Linear). Networks with
/// smooth activations suit it, since second derivatives are needed: `Tanh` or `Silu`. Batch norms stay as they are.
///
/// ```
/// use armilla_models::{Cpu, continuous::Ffjord, nets::{ConditionedMlp, ConditionedMlpConfig}, ops::Activation};
/// use armilla_models::train::{Event, Examples, Session, Trainer};
/// use armilla_samplers::rng::{Purpose, stream};
/// let device = Cpu::default();
/// let config = ConditionedMlpConfig { widths: vec![8], activation: Activation::Tanh, ..Default::default() };
/// let mut network = ConditionedMlp::new(&device, config, &mut stream(1, Purpose::Weights, 0))?;
/// let data: Vec<f32> = (0..64).map(|i| (i as f32 / 64.0 - 0.5) * 4.0).collect();
/// let examples = Examples { fields: &data, parameters: &[] };
/// let trainer = Trainer { steps: 20, ..Trainer::default() };
/// let session = Session { seed: 1, keep: None, interrupt: None, observe: &mut |_: Event<'_>| Ok(()) };
/// let run = Ffjord::default().train(&trainer, &mut network, &device, [1; 3], examples, examples, session)?;
/// assert!(run.state.history()[0].validation_loss.is_finite());
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ffjord {
    /// How the flow is solved; Dormand and Prince's method takes steps that are given here, too.
    pub method: Method,
    /// Steps from data to noise, which meet elsewhere for each batch (with one there is nothing to meet, and the flow is
    /// learnt for that step). Validation takes twice as many, so that a flow is
    /// judged and not its steps: a loss far below it says that they are too few.
    pub steps: usize,
    /// How the divergence is taken; if not given, exactly for up to four numbers and with one probe of signs above.
    pub trace: Option<Trace>,
    /// Weight of the kinetic energy: a straight flow takes few steps.
    pub kinetic: f64,
    /// Weight of the squared Jacobian: a smooth one, likewise.
    pub jacobian: f64,
    /// How the loss is differentiated.
    pub gradient: Gradient,
}

impl Default for Ffjord {
    fn default() -> Self {
        Self {
            method: Method::Rk4,
            steps: 4,
            trace: None,
            kinetic: 0.01,
            jacobian: 0.01,
            gradient: Gradient::Discrete,
        }
    }
}

impl Ffjord {
    /// Trains `network` on fields of `extent` and leaves the averaged weights in it.
    ///
    /// Examples' parameters are conditions as the network takes them. A network with a number for the null (see
    /// [`NetworkPredictor`](crate::predictor::NetworkPredictor)) takes it as 0, or as 1 where there are no conditions.
    /// The flow can begin from a network that was trained by flow matching.
    ///
    /// # Errors
    /// `Invalid` for settings that make no sense, `Shape` where examples or conditions do not fit the network, and those
    /// of [`Trainer::train`].
    #[allow(clippy::too_many_arguments)]
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
        network.check_extent(extent)?;
        let numbers = network.channels() * extent.iter().product::<usize>();
        let trace = self.check(numbers)?;
        let source = Rows::new("training", training, numbers, network.condition_len(), trace)?;
        let judged = Rows::new("validation", validation, numbers, network.condition_len(), trace)?;
        let most = (JUDGED_NUMBERS / (numbers * judged.directions.count(numbers))).clamp(16, JUDGED);
        let picks: Vec<usize> = (0..judged.examples().min(most)).collect();
        let judged = judged.batch(&picks, &mut stream(session.seed, Purpose::Training, 1))?;
        let loss = Likelihood {
            settings: *self,
            directions: source.directions,
            device,
            extent,
            judged,
        };
        trainer.fit(network, loss, &source, session)
    }

    /// The trace that is taken.
    pub(super) fn check(&self, numbers: usize) -> Result<Trace> {
        if !(1..=MOST).contains(&self.steps) {
            return Err(ModelError::Invalid(format!(
                "ffjord.steps must be between 1 and {MOST}, and is {}",
                self.steps
            )));
        }
        for (name, weight) in [("kinetic", self.kinetic), ("jacobian", self.jacobian)] {
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(ModelError::Invalid(format!(
                    "ffjord.{name} must not be negative, and is {weight}"
                )));
            }
        }
        let trace = self.trace.unwrap_or(match numbers {
            ..=FEW => Trace::Exact,
            _ => Trace::Rademacher { probes: 1 },
        });
        trace.check()?;
        if trace == Trace::Exact && numbers > MOST_EXACT {
            return Err(ModelError::Invalid(format!(
                "ffjord.trace: the exact trace follows each of {numbers} numbers, and {MOST_EXACT} are the most in training; take `rademacher`"
            )));
        }
        if let Trace::HutchPlusPlus { .. } = trace {
            return Err(ModelError::Invalid(
                "ffjord.trace: Hutch++ chooses directions by the network and is not for training; take `rademacher`"
                    .into(),
            ));
        }
        Ok(trace)
    }
}

/// Examples as they go through a flow.
pub(super) struct FlowBatch {
    pub(super) rows: usize,
    pub(super) x: Vec<f32>,
    /// As the network takes them.
    pub(super) conditions: Vec<f32>,
    /// Rows × directions × numbers; none where they are the axes.
    pub(super) probes: Vec<f32>,
    /// Where the steps of the solver meet.
    pub(super) offset: f64,
}

impl Batch for FlowBatch {
    fn rows(&self) -> usize {
        self.rows
    }

    fn part(&self, rows: Range<usize>) -> Self {
        let part = |values: &[f32]| {
            let each = values.len() / self.rows;
            values[rows.start * each..rows.end * each].to_vec()
        };
        Self {
            rows: rows.len(),
            x: part(&self.x),
            conditions: part(&self.conditions),
            probes: part(&self.probes),
            offset: self.offset,
        }
    }
}

/// Where batches are drawn from.
struct Rows<'a> {
    examples: Examples<'a>,
    count: usize,
    numbers: usize,
    /// Parameters of an example, and numbers of a condition as the network takes it.
    told: [usize; 2],
    trace: Trace,
    directions: Directions,
}

impl<'a> Rows<'a> {
    fn new(
        part: &str,
        examples: Examples<'a>,
        numbers: usize,
        condition_len: usize,
        trace: Trace,
    ) -> Result<Self> {
        let (count, parameters) = examples.sizes_for(part, numbers, condition_len, false)?;
        Ok(Self {
            examples,
            count,
            numbers,
            told: [parameters, condition_len],
            trace,
            directions: match trace {
                Trace::Rademacher { probes } | Trace::Gaussian { probes } => Directions::Probes(probes),
                _ => Directions::Axes,
            },
        })
    }
}

impl Source for Rows<'_> {
    type Batch = FlowBatch;

    fn examples(&self) -> usize {
        self.count
    }

    fn batch(&self, picks: &[usize], stream: &mut Stream) -> Result<FlowBatch> {
        let mut conditions = Vec::with_capacity(picks.len() * self.told[1]);
        for pick in picks {
            self.examples.tell(*pick, self.told, false, &mut conditions);
        }
        let probes = match self.directions {
            Directions::Axes => 0,
            Directions::Probes(count) => picks.len() * count * self.numbers,
        };
        Ok(FlowBatch {
            rows: picks.len(),
            x: self.examples.read(picks, self.numbers)?,
            conditions,
            probes: (0..probes).map(|_| self.trace.number(stream) as f32).collect(),
            offset: stream.random(),
        })
    }
}

/// The loss, and what a network is judged on.
struct Likelihood<'a, D> {
    settings: Ffjord,
    directions: Directions,
    device: &'a D,
    extent: Extent,
    judged: FlowBatch,
}

impl<D: Device> Likelihood<'_, D> {
    /// Lets a batch through in parts that fit the memory, each with the share of one number in the mean.
    fn in_parts<N: Conditioned<D>>(
        &self,
        network: &N,
        batch: &FlowBatch,
        [kinetic, jacobian]: [f64; 2],
        mut run: impl FnMut(&Augmented<'_, D, N>, Vec<f64>, f64) -> Result<()>,
    ) -> Result<()> {
        let share = 1.0 / batch.x.len() as f64;
        let shares = Shares {
            divergence: -share,
            kinetic: kinetic * share,
            jacobian: jacobian * share,
        };
        let numbers = batch.x.len() / batch.rows;
        let at_once = (AT_ONCE / (numbers * self.directions.count(numbers))).max(1);
        for first in (0..batch.rows).step_by(at_once) {
            let part = batch.part(first..batch.rows.min(first + at_once));
            let flow = Augmented::new(
                network,
                self.device,
                self.extent,
                (part.rows, &part.conditions),
                (self.directions, &part.probes),
                shares,
            )?;
            run(&flow, part.x.iter().map(|x| f64::from(*x)).collect(), share)?;
        }
        Ok(())
    }

    fn steps(&self, times: usize, offset: f64) -> Steps {
        Steps::new(
            self.settings.method.tableau(),
            times * self.settings.steps,
            offset,
        )
    }
}

impl<D: Device, N: Conditioned<D>> Loss<N> for Likelihood<'_, D> {
    type Batch = FlowBatch;

    const OBSERVED: bool = false;

    fn loss_and_gradients(&self, network: &N, batch: FlowBatch) -> Result<(f64, Vec<Vec<f32>>)> {
        let Ffjord {
            kinetic,
            jacobian,
            gradient,
            ..
        } = self.settings;
        let steps = self.steps(1, batch.offset);
        let mut all = Differentiated::default();
        self.in_parts(network, &batch, [kinetic, jacobian], |flow, x, share| {
            let part = reverse::loss_and_gradient(flow, x, &steps, share, gradient)?;
            all.loss += part.loss;
            all.add_weights(&part.weights, 1.0);
            Ok(())
        })?;
        Ok((all.loss, all.weights))
    }

    /// Without regularisation.
    fn validation_loss(&self, network: &N) -> Result<f64> {
        let steps = self.steps(2, 0.5);
        let mut loss = 0.0;
        self.in_parts(network, &self.judged, [0.0; 2], |flow, x, share| {
            loss += reverse::loss(flow, x, &steps, share)?;
            Ok(())
        })?;
        Ok(loss)
    }
}
