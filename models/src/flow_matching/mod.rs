//! Learn a velocity field from simulations: regression on the velocity of straight paths from data to noise.
//!
//! (Lipman et al. 2023, arXiv 2210.02747.) The loss is `E‖v̂ − v‖²` over λ from a [`TimeDistribution`], its time
//! stratified over a batch; weights are averaged exponentially. A second stage fits the coefficients of the
//! separable field anew, with the basis fixed: the loss is then a quadratic form for each field, computed once,
//! and thousands of steps over all of them cost seconds.
//!
//! [`TimeDistribution`]: crate::path::TimeDistribution

mod generate;
mod refine;

pub use generate::generate;

use armilla_samplers::rng::{Purpose, Stream, stream};
use dfdx::{
    tensor::{NoneTape, OwnedTape, Tensor},
    tensor_ops::{Backward, MeanTo, ReshapeTo, TryMul, TrySub},
};
use rand::{RngExt, seq::SliceRandom};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
    gram::Quadratic,
    ops::{self, conv::geometry::Padding},
    parameter::Module,
    path::Time,
    train::{Adam, Epoch, Event, adam::cosine_rate},
    velocity::{VelocityBasis, VelocityNetwork},
    weights::Weights,
};

/// Larger counts are mistakes: a training of a million steps takes weeks.
const MOST: usize = 1_000_000;

/// Fields of unit variance and their parameters.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// One field after the other.
    pub fields: &'a [f32],
    /// One parameter vector in physical units for each field.
    pub parameters: &'a [f64],
}

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowMatching {
    /// Steps of the first stage.
    pub steps: usize,
    /// Fields in a batch.
    pub batch_size: usize,
    /// Peak learning rate; it rises over `warmup_steps` and falls as a cosine.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises.
    pub warmup_steps: usize,
    /// Longer gradients are shortened to this norm.
    pub max_norm: f64,
    /// Share that the averaged weights keep at each step.
    pub ema_decay: f64,
    /// Steps between validations.
    pub validate_every: usize,
    /// Turn and mirror fields at random, and shift them where the network is periodic; in training only.
    pub augment: bool,
    /// The second stage.
    pub refine: Refine,
}

impl Default for FlowMatching {
    fn default() -> Self {
        Self {
            steps: 300,
            batch_size: 64,
            learning_rate: 3e-3,
            warmup_steps: 50,
            max_norm: 1.0,
            ema_decay: 0.99,
            validate_every: 50,
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
    /// Trains `network` and leaves the averaged, refined weights in it. Returns the history.
    ///
    /// `observe` hears of every step and validation; its error ends the training.
    ///
    /// # Errors
    /// `Invalid` where the data do not fit or the loss is not finite: it names the step and learning rate.
    pub fn train<D: Device>(
        &self,
        network: &mut VelocityNetwork<D>,
        training: Examples<'_>,
        validation: Examples<'_>,
        seed: u64,
        observe: &mut dyn FnMut(Event<'_>) -> Result<()>,
    ) -> Result<Vec<Epoch>> {
        self.check(network, training, validation)?;
        let mut stream = stream(seed, Purpose::Training, 0);
        let mut weights = network.weights();
        let mut averaged = weights.clone();
        let mut adam = Adam::new(&weights, self.max_norm);
        let mut history: Vec<Epoch> = Vec::new();
        let mut order = Order::new(training.parameters.len() / network.bounds().len());
        let (mut losses, mut count) = (0.0, 0);
        for step in 0..self.steps {
            let rate = cosine_rate(self.learning_rate, step, self.steps, self.warmup_steps);
            let picks = order.next(self.batch_size, &mut stream);
            let batch = Batch::draw(network, training, &picks, self.augment, &mut stream);
            let (loss, gradients) = batch.loss_and_gradients(network)?;
            if !loss.is_finite() {
                return Err(ModelError::Invalid(format!(
                    "the loss is {loss} at step {step} with learning rate {rate:.2e}: lower the learning rate"
                )));
            }
            adam.step(&mut weights, &gradients, rate);
            network.load(&weights)?;
            // Early on the average forgets faster: it would remember the random start.
            let decay = self.ema_decay.min((step + 1) as f64 / (step + 10) as f64);
            averaged.average(&weights, decay as f32);
            (losses, count) = (losses + loss, count + 1);
            observe(Event::Step {
                step: step + 1,
                total: self.steps,
                loss,
            })?;
            if (step + 1) % self.validate_every.max(1) == 0 || step + 1 == self.steps {
                let mut judged = network.clone();
                judged.load(&averaged)?;
                let epoch = (step + 1, losses / count as f64, rate);
                validate(&judged, validation, seed, epoch, &averaged, &mut history, observe)?;
                (losses, count) = (0.0, 0);
            }
        }
        network.load(&averaged)?;
        if self.refine.draws > 0 {
            let loss = refine::refine(self.refine, network, training, self.augment, seed, observe)?;
            let (weights, rate) = (network.weights(), self.refine.learning_rate);
            let epoch = (self.steps + self.refine.steps, loss, rate);
            validate(network, validation, seed, epoch, &weights, &mut history, observe)?;
        }
        Ok(history)
    }

    fn check<D: Device>(
        &self,
        network: &VelocityNetwork<D>,
        training: Examples,
        validation: Examples,
    ) -> Result<()> {
        let (n, dim) = (network.field_len(), network.bounds().len());
        for (part, examples) in [("training", training), ("validation", validation)] {
            let (fields, rows) = (examples.fields.len() / n, examples.parameters.len() / dim);
            if fields * n != examples.fields.len()
                || rows * dim != examples.parameters.len()
                || fields != rows
            {
                return Err(ModelError::shape(
                    "train",
                    format!(
                        "{} numbers are not {rows} {part} fields of {n}, one for each vector of {dim} parameters",
                        examples.fields.len()
                    ),
                ));
            }
            if fields == 0 {
                return Err(ModelError::Invalid(format!(
                    "the {part} part is empty: simulate more fields"
                )));
            }
        }
        let counts = [
            self.steps,
            self.batch_size,
            self.refine.batch_size,
            self.validate_every,
        ];
        if counts.iter().any(|n| !(1..=MOST).contains(n)) || self.refine.steps.max(self.refine.draws) > MOST {
            return Err(ModelError::Invalid(format!(
                "steps, batch_size and validate_every must be between 1 and {MOST}, refine.draws and refine.steps at most that: {self:?}"
            )));
        }
        let rates = [self.learning_rate, self.refine.learning_rate, self.max_norm];
        if rates.iter().any(|r| !(*r > 0.0 && r.is_finite())) || !(0.0..1.0).contains(&self.ema_decay) {
            return Err(ModelError::Invalid(format!(
                "learning rates and max_norm must be positive, ema_decay from 0 to below 1: {self:?}"
            )));
        }
        Ok(())
    }
}

/// Judges `network` on the validation part and adds a line to the history.
fn validate<D: Device>(
    network: &VelocityNetwork<D>,
    validation: Examples<'_>,
    seed: u64,
    (step, train_loss, learning_rate): (usize, f64, f64),
    weights: &Weights,
    history: &mut Vec<Epoch>,
    observe: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<()> {
    // The same fields, times and noise each time: losses are compared, and differ by the weights alone.
    const FIELDS: usize = 256;
    let fields = (validation.parameters.len() / network.bounds().len()).min(FIELDS);
    let picks: Vec<usize> = (0..fields).collect();
    let mut stream = stream(seed, Purpose::Training, 1);
    let times = &network.config().times;
    let mut loss = 0.0;
    for chunk in picks.chunks(64) {
        let batch = Batch::draw(network, validation, chunk, false, &mut stream);
        let basis = network.basis(batch.x.clone(), &batch.times)?;
        let c = batch.coefficients(network);
        let forms = Quadratic::rows(&basis, &batch.u, network.field_len());
        for ((form, c), time) in forms
            .iter()
            .zip(c.chunks_exact(network.coefficients.mlp.outputs()))
            .zip(&batch.times)
        {
            // ½ sigmoid(λ) over the density that λ was drawn from: an estimate of the bound's integral.
            let weight = 0.5 * ((1.0 - time.t) / time.scale).powi(2) / times.density(time.log_snr);
            loss += weight * form.value(c);
        }
    }
    let validation_loss = loss / (fields * network.field_len()) as f64;
    if !validation_loss.is_finite() {
        return Err(ModelError::Invalid(format!(
            "the validation loss is {validation_loss} after step {step}, learning rate {learning_rate:.2e}: lower it"
        )));
    }
    let best = history.iter().all(|e| validation_loss < e.validation_loss);
    let epoch = Epoch {
        step,
        train_loss,
        validation_loss,
        learning_rate,
        best,
    };
    history.push(epoch);
    observe(Event::Validated { epoch, weights })
}

/// Every example once in random order, then again.
struct Order {
    left: Vec<usize>,
    count: usize,
}

impl Order {
    fn new(count: usize) -> Self {
        Self {
            left: Vec::new(),
            count,
        }
    }

    fn next(&mut self, picks: usize, stream: &mut Stream) -> Vec<usize> {
        let mut next = || {
            if self.left.is_empty() {
                self.left = (0..self.count).collect();
                self.left.shuffle(stream);
            }
            self.left.pop().unwrap_or_default()
        };
        (0..picks).map(|_| next()).collect()
    }
}

/// Noisy fields, their targets, times and parameters.
struct Batch {
    x: Vec<f32>,
    u: Vec<f32>,
    times: Vec<Time>,
    parameters: Vec<f64>,
}

impl Batch {
    fn draw<D: Device>(
        network: &VelocityNetwork<D>,
        examples: Examples<'_>,
        picks: &[usize],
        augment: bool,
        stream: &mut Stream,
    ) -> Self {
        let (n, dim, side) = (network.field_len(), network.bounds().len(), network.side());
        let periodic = network.config().unet.padding == Padding::Circular;
        let mut strata: Vec<usize> = (0..picks.len()).collect();
        strata.shuffle(stream);
        let mut batch = Self {
            x: Vec::new(),
            u: Vec::new(),
            times: Vec::new(),
            parameters: Vec::new(),
        };
        for (pick, stratum) in picks.iter().zip(strata) {
            let p = (stratum as f64 + stream.random::<f64>()) / picks.len() as f64;
            let time = Time::from_log_snr(network.config().times.quantile(p));
            let field = &examples.fields[pick * n..(pick + 1) * n];
            let place = if augment {
                symmetry(side, periodic, stream)
            } else {
                [0; 5]
            };
            for pixel in 0..n {
                let x1: f32 = StandardNormal.sample(stream);
                let (x, u) = time.mix(field[moved(pixel, side, place)], x1);
                batch.x.push(x);
                batch.u.push(u);
            }
            batch.times.push(time);
            batch
                .parameters
                .extend(&examples.parameters[pick * dim..(pick + 1) * dim]);
        }
        batch
    }

    fn inputs<D: Device>(&self, network: &VelocityNetwork<D>) -> Vec<f64> {
        let rows = self
            .times
            .iter()
            .zip(self.parameters.chunks_exact(network.bounds().len()));
        network
            .coefficients
            .inputs(rows.map(|(t, theta)| (t.log_snr, theta)))
    }

    fn coefficients<D: Device>(&self, network: &VelocityNetwork<D>) -> Vec<f64> {
        network.coefficients.mlp.forward(self.inputs(network)).0
    }

    /// Mean of ‖v̂ − v‖² over fields and pixels, and its gradient in every weight of the network.
    fn loss_and_gradients<D: Device>(self, network: &VelocityNetwork<D>) -> Result<(f64, Vec<Vec<f32>>)> {
        let mlp = &network.coefficients.mlp;
        let (c, kept) = mlp.forward(self.inputs(network));
        let (rows, n) = (self.times.len(), network.field_len());
        let device = &network.device;
        let tensor = |values: Vec<f32>, shape: (usize, usize)| -> Result<Tensor<_, f32, D, NoneTape>> {
            device
                .try_tensor_from_vec(values, shape)
                .map_err(ModelError::device)
        };
        let c = Field::rows(device, c.iter().map(|c| *c as f32).collect(), rows)?;
        // The error of v is that of u divided by σ.
        let scale = self
            .times
            .iter()
            .flat_map(|t| std::iter::repeat_n(1.0 / t.scale as f32, n))
            .collect();
        let (u, scale) = (tensor(self.u.clone(), (rows, n))?, tensor(scale, (rows, n))?);
        let basis = network.basis_maps::<OwnedTape<f32, D>>(self.x.clone(), &self.times)?;
        let mixed = ops::mix(basis, c.traced())?.into_values();
        let run = || -> std::result::Result<_, D::Err> {
            let error = mixed.try_reshape_like(&(rows, n))?.try_sub(u)?.try_mul(scale)?;
            let loss = error.try_square()?.try_mean::<dfdx::shapes::Rank0, _>()?;
            let value = loss.as_vec()[0];
            Ok((f64::from(value), loss.try_backward()?))
        };
        let (loss, mut gradients) = run().map_err(ModelError::device)?;
        let mut all = network.unet.gradients(&mut gradients)?;
        let dc = gradients
            .get(c.values())
            .as_vec()
            .into_iter()
            .map(f64::from)
            .collect();
        let mut of_mlp = mlp.zero_gradient();
        mlp.backward(&kept, dc, Some(&mut of_mlp));
        all.extend(
            of_mlp
                .into_iter()
                .map(|g| g.into_iter().map(|g| g as f32).collect()),
        );
        Ok((loss, all))
    }
}

/// A random symmetry of a square: transposition, two mirrors, and two shifts if it is periodic.
fn symmetry(side: usize, periodic: bool, stream: &mut Stream) -> [usize; 5] {
    let shifts = if periodic { side } else { 1 };
    [2, 2, 2, shifts, shifts].map(|n| stream.random_range(0..n))
}

/// Where the pixel of the moved field comes from.
fn moved(pixel: usize, side: usize, [transpose, mirror_y, mirror_x, shift_y, shift_x]: [usize; 5]) -> usize {
    let (mut y, mut x) = (pixel / side, pixel % side);
    if transpose == 1 {
        (y, x) = (x, y);
    }
    if mirror_y == 1 {
        y = side - 1 - y;
    }
    if mirror_x == 1 {
        x = side - 1 - x;
    }
    (y + shift_y) % side * side + (x + shift_x) % side
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symmetries_move_every_pixel_somewhere() {
        let mut stream = stream(1, Purpose::Training, 0);
        for _ in 0..20 {
            let place = symmetry(6, true, &mut stream);
            let mut seen: Vec<usize> = (0..36).map(|p| moved(p, 6, place)).collect();
            seen.sort();
            assert_eq!(seen, (0..36).collect::<Vec<_>>());
        }
    }
}
