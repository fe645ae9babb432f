//! Straighten a flow: train it anew on the pairs of data and noise that it makes itself, until few steps solve it.
//!
//! The flow from a noise `x1` ends in one `x0`; on straight lines between such pairs the velocity hardly depends on
//! anything but the pair, and lines do not cross (Liu et al. 2023, arXiv 2209.03003). How straight a flow is, 0 being
//! straight:
//!
//! ```text
//! S = ∫ E‖(x1 − x0) − v(x_t, t)‖² dt,      x_t on the way from x1 to x0
//! ```
//!
//! ```
//! use armilla_models::{
//!     Cpu, generate::Solver, matching::Matching, nets::ConditionedMlp, rectified::Rectified,
//!     train::{Event, Examples, Session, Trainer},
//! };
//! use armilla_samplers::rng::{Purpose, stream};
//!
//! let device = Cpu::default();
//! let mut network = ConditionedMlp::new(&device, Default::default(), &mut stream(1, Purpose::Weights, 0))?;
//! let numbers: Vec<f32> = (0..500).map(|i| 0.002 * i as f32).collect();
//! let examples = Examples { fields: &numbers, parameters: &[] };
//! let trainer = Trainer { steps: 20, validate_every: Some(20), ..Trainer::default() };
//! let mut quiet = |_: Event<'_>| Ok(());
//! let session = Session { seed: 1, keep: None, interrupt: None, observe: &mut quiet };
//! Matching::default().train(&trainer, &mut network, &device, [1; 3], examples, examples, session)?;
//! let session = Session { seed: 2, keep: None, interrupt: None, observe: &mut quiet };
//! let rectified = Rectified { rounds: 1, solver: Solver::Heun, steps: 10, ..Rectified::default() };
//! let found = rectified.train(&trainer, &mut network, &device, [1; 3], examples, examples, session)?;
//! assert_eq!(found.rounds.len(), 2);
//! # Ok::<(), armilla_models::ModelError>(())
//! ```

#[cfg(test)]
mod tests;

use std::{fs, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint,
    device::Device,
    error::{ModelError, Result},
    generate::{self, Solver},
    likelihoods::NoiseKey,
    matching::{Matching, judged_rows},
    nets::Conditioned,
    ops::conv::geometry::Extent,
    path::{Path, Target},
    predictor::{NetworkPredictor, Predictor},
    train::{BEST_FILE, Event, Examples, Keep, Session, Trainer, save_best},
    weights::Weights,
};

/// How to straighten a flow that [`Matching`] trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rectified {
    /// How often pairs are made and learnt.
    pub rounds: usize,
    /// Pairs in a round; as many as there are examples, if not given.
    pub pairs: Option<usize>,
    /// What makes them: an ODE solver.
    pub solver: Solver,
    /// In so many steps.
    pub steps: usize,
    /// How the flow was trained, and the pairs are learnt: velocities on straight lines. The noise is that of the pairs,
    /// whatever coupling is set.
    pub matching: Matching,
}

impl Default for Rectified {
    fn default() -> Self {
        Self {
            rounds: 1,
            pairs: None,
            solver: Solver::Heun,
            steps: 50,
            matching: Matching::default(),
        }
    }
}

/// How straight a flow is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Straightness {
    /// S, for a whole example.
    pub straightness: f64,
    /// Steps of Euler's method, and how far from the end of the flow they end: the root of the mean square of a number.
    pub errors: Vec<(usize, f64)>,
}

/// What became of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounds {
    /// The flow that was given, then that of each round.
    pub rounds: Vec<Straightness>,
    /// The lowest validation loss of the last round, on its pairs: that of the weights that are left in the network.
    pub loss: Option<f64>,
    /// Whether somebody interrupted: the training can be resumed.
    pub interrupted: bool,
}

/// Steps that are compared.
const FEW: [usize; 4] = [1, 2, 5, 10];
/// Larger counts are mistakes.
const MOST: usize = 1_000_000;
/// Numbers that are solved for at once, and those of all states on the way that are.
const AT_ONCE: usize = 1 << 20;
const KEPT: usize = 1 << 24;
/// Examples that straightness is looked at on, and their numbers.
const LOOKED_AT: [usize; 2] = [1024, 1 << 18];
/// Sets the keys of the noise in pairs apart from those that examples are generated with.
const PAIRS: u64 = 0x9e37_79b9_7f4a_7c15;

/// How straight the flow is that starts in the rows of `noise`, and how far `solver` in `steps` steps is from Euler's
/// method in few.
///
/// # Errors
/// `Invalid` for a solver that does not follow the flow, `Shape` where there is no noise; else as
/// [`generate::trajectory`].
pub fn straightness(
    predictor: &dyn Predictor,
    noise: &[f64],
    solver: Solver,
    steps: usize,
) -> Result<Straightness> {
    let rows = noise.len() / predictor.numbers().max(1);
    if rows == 0 {
        return Err(ModelError::shape("straightness", "no row of noise to start in"));
    }
    // The middles of the steps, between the ends.
    let middles = (0..steps).map(|i| 1.0 - (i as f64 + 0.5) / steps as f64);
    let times: Vec<f64> = [1.0].into_iter().chain(middles).chain([0.0]).collect();
    let mut states = generate::trajectory(predictor, noise.to_vec(), solver, steps, &times)?.states;
    let (Some(x0), x1) = (states.pop(), states.remove(0)) else {
        return Err(ModelError::Invalid("a flow has a beginning and an end".into()));
    };
    let mut sum = 0.0;
    for (x, t) in states.iter().zip(&times[1..]) {
        let velocity = predictor.velocity(x, *t)?;
        let ends = x0.iter().zip(&x1);
        sum += ends
            .zip(velocity)
            .map(|((x0, x1), v)| (x1 - x0 - v).powi(2))
            .sum::<f64>();
    }
    let mut errors = Vec::new();
    for few in FEW {
        let found = generate::from_noise(predictor, noise.to_vec(), Solver::Euler, few, 0)?.values;
        let square: f64 = found.iter().zip(&x0).map(|(a, b)| (a - b).powi(2)).sum();
        errors.push((few, (square / x0.len() as f64).sqrt()));
    }
    Ok(Straightness {
        straightness: sum / (rows * steps) as f64,
        errors,
    })
}

impl Rectified {
    /// Makes pairs with the flow in `network`, learns them, and again; leaves the last flow in it, each with the weights
    /// of the lowest validation loss.
    ///
    /// Conditions are those of the examples, in turn; of their fields nothing but their number counts. With [`Keep`],
    /// the flow that was given goes into a folder `round-0` in the given one and each round has one of its own,
    /// `round-1`, …, and is resumed there.
    ///
    /// # Errors
    /// `Invalid` for settings that make no sense, other paths than the straight one and other targets than the velocity;
    /// else as [`Matching::train`] and [`generate::from_noise`].
    #[allow(clippy::too_many_arguments)] // a network is no more than its device and extent
    pub fn train<D: Device, N: Conditioned<D>>(
        &self,
        trainer: &Trainer,
        network: &mut N,
        device: &D,
        extent: Extent,
        training: Examples<'_>,
        validation: Examples<'_>,
        session: Session<'_>,
    ) -> Result<Rounds> {
        self.check()?;
        let numbers = network.channels() * extent.iter().product::<usize>();
        let (fields, dim) = training.sizes("training", numbers)?;
        let (judged, _) = validation.sizes("validation", numbers)?;
        // No more pairs than are looked at.
        let counts = [self.pairs.unwrap_or(fields), judged_rows(judged, numbers)];
        // The conditions of the examples, in turn.
        let told = |examples: Examples<'_>, count: usize| -> Vec<f64> {
            let all = examples.parameters.iter().copied();
            all.cycle().take(count * dim).collect()
        };
        let conditions = [told(training, counts[0]), told(validation, counts[1])];
        // Keys far from those of other rounds, and from each other.
        let base = session.seed.wrapping_add(PAIRS);
        let seed = |round: usize| base.wrapping_add((round as u64) << 32);
        let flow = |part: usize| Flow {
            rectified: self,
            device,
            extent,
            numbers,
            conditions: &conditions[part],
            dim,
        };
        let few = (LOOKED_AT[1] / numbers).clamp(1, LOOKED_AT[0]);
        let straightness = |network: &N| flow(1).straightness(network, counts[1].min(few), seed(0));
        let Session {
            keep,
            interrupt,
            observe,
            ..
        } = session;
        if let Some(keep) = &keep {
            network.load(&first_of(keep, network.weights())?)?;
        }
        let mut found = Rounds {
            rounds: vec![straightness(network)?],
            loss: None,
            interrupted: false,
        };
        for round in 1..=self.rounds {
            let keys = [seed(2 * round), seed(2 * round + 1)];
            let [x0, x1] = flow(0).pairs(network, counts[0], keys[0])?;
            let [y0, y1] = flow(1).pairs(network, counts[1], keys[1])?;
            let keep = keep.as_ref().map(|keep| round_of(keep, round)).transpose()?;
            let session = Session {
                seed: seed(2 * round),
                keep,
                interrupt,
                observe: &mut |event: Event<'_>| observe(event),
            };
            let pairs = [(&x0, &conditions[0]), (&y0, &conditions[1])];
            let [learnt, judged] = pairs.map(|(fields, parameters)| Examples { fields, parameters });
            let training = self.matching.train_pairs(
                trainer,
                network,
                device,
                extent,
                [(learnt, Some(&x1)), (judged, Some(&y1))],
                session,
            )?;
            if training.interrupted {
                found.interrupted = true;
                return Ok(found);
            }
            let losses = training.state.history().iter().map(|epoch| epoch.validation_loss);
            found.loss = losses.min_by(f64::total_cmp);
            let best = training.best;
            network.load(&best)?;
            found.rounds.push(straightness(network)?);
        }
        Ok(found)
    }

    fn check(&self) -> Result<()> {
        let counts = [
            ("rounds", self.rounds),
            ("pairs", self.pairs.unwrap_or(1)),
            ("steps", self.steps),
        ];
        if let Some((name, value)) = counts.iter().find(|(_, n)| !(1..=MOST).contains(n)) {
            return Err(ModelError::Invalid(format!(
                "rectified: {name} must be between 1 and {MOST}, and is {value}"
            )));
        }
        let Matching { path, target, .. } = &self.matching;
        if (path, target) != (&Path::Linear, &Target::Velocity) {
            return Err(ModelError::Invalid(format!(
                "rectified: a flow is straightened by its velocity on the linear path, not by {target:?} on {path:?}"
            )));
        }
        match self.solver.method() {
            Some(_) => Ok(()),
            None => Err(ModelError::Invalid(format!(
                "rectified: pairs are the two ends of an ODE, which {} does not solve: take euler, midpoint, heun, rk4 or dopri5",
                self.solver
            ))),
        }
    }
}

/// The weights that are straightened: those that are kept by a training that is gone on with, else the `given` ones,
/// which are kept then. (The main training's own files may hold the last round's by now.)
fn first_of(keep: &Keep, given: Weights) -> Result<Weights> {
    let Keep { folder, resume, .. } = round_of(keep, 0)?;
    let path = folder.join(BEST_FILE);
    match resume && path.exists() {
        true => checkpoint::load(path),
        false => save_best(folder, &given).map(|()| given),
    }
}

/// Where a round is kept.
fn round_of(keep: &Keep, round: usize) -> Result<Keep> {
    let folder = keep.folder.join(format!("round-{round}"));
    fs::create_dir_all(&folder)
        .map_err(|e| ModelError::checkpoint(&folder, format!("cannot be created: {e}")))?;
    Ok(Keep {
        folder,
        about: keep.about.clone(),
        resume: keep.resume,
    })
}

/// What pairs are made of besides the network.
struct Flow<'a, D: Device> {
    rectified: &'a Rectified,
    device: &'a D,
    extent: Extent,
    numbers: usize,
    conditions: &'a [f64],
    /// Numbers of a condition.
    dim: usize,
}

impl<D: Device> Flow<'_, D> {
    /// How straight the flow in `network` is from the noise of the first `count` rows, looked at in parts whose states on
    /// the way fit the memory.
    fn straightness<N: Conditioned<D>>(
        &self,
        network: &N,
        count: usize,
        key: NoiseKey,
    ) -> Result<Straightness> {
        let Rectified { solver, steps, .. } = *self.rectified;
        let at_once = (KEPT / self.numbers / (steps + 2)).max(1);
        let (mut sum, mut squares) = (0.0, [0.0; FEW.len()]);
        for first in (0..count).step_by(at_once) {
            let rows = first..(first + at_once).min(count);
            let share = rows.len() as f64 / count as f64;
            let noise = generate::noise(rows.clone(), self.numbers, key);
            let part = straightness(&self.given(network, rows)?, &noise, solver, steps)?;
            sum += share * part.straightness;
            for (square, (_, error)) in squares.iter_mut().zip(part.errors) {
                *square += share * error * error;
            }
        }
        Ok(Straightness {
            straightness: sum,
            errors: FEW.into_iter().zip(squares.map(f64::sqrt)).collect(),
        })
    }

    /// The flow in `network` under the conditions of `rows`.
    fn given<'n, N: Conditioned<D>>(
        &self,
        network: &'n N,
        rows: Range<usize>,
    ) -> Result<NetworkPredictor<'n, D, N>> {
        let Matching { path, target, .. } = &self.rectified.matching;
        let flow = NetworkPredictor::new(network, self.device, self.extent, path.clone(), *target)?;
        match self.dim {
            0 => Ok(flow),
            dim => flow.given_each(&self.conditions[rows.start * dim..rows.end * dim], rows.len()),
        }
    }

    /// So many data and the noise that each comes from.
    fn pairs<N: Conditioned<D>>(&self, network: &N, count: usize, key: NoiseKey) -> Result<[Vec<f32>; 2]> {
        let at_once = (AT_ONCE / self.numbers).max(1);
        let mut pairs = [Vec::new(), Vec::new()];
        for first in (0..count).step_by(at_once) {
            let rows = first..(first + at_once).min(count);
            let x1 = generate::noise(rows.clone(), self.numbers, key);
            let Rectified { solver, steps, .. } = self.rectified;
            let flow = self.given(network, rows)?;
            let x0 = generate::from_noise(&flow, x1.clone(), *solver, *steps, key)?.values;
            for (all, part) in pairs.iter_mut().zip([x0, x1]) {
                all.extend(part.into_iter().map(|x| x as f32));
            }
        }
        Ok(pairs)
    }
}
