//! Move at constant speed, turned by the gradient.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::density::{Counted, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::hmc::adaptation::{Flowing, WarmUp};
use crate::hmc::leapfrog::{DIVERGENCE, Position, find_step_size};
use crate::hmc::metric::{Metric, MetricKind, axpy, dot, draw_momentum};
use crate::rng::Stream;
use crate::run::markov::{Adaptation, Kernel, run_chains};
use crate::run::{Run, RunOptions, Step};
use crate::sampler::Sampler;
use crate::settings::{check_acceptance, check_leapfrogs, check_path_length};

/// Path lengths are uniform within this fraction around their mean.
const PATH_JITTER: f64 = 0.2;
/// The most leapfrog steps while the metric is unknown.
const FIRST_LEAPFROGS: usize = 10;
/// The variance of a step's energy error, per unknown, at which the bias of unadjusted paths is small beside
/// the spread of the posterior (Robnik & Seljak 2023, arXiv 2303.18221).
const ENERGY_VARIANCE: f64 = 5e-4;

/// Microcanonical Langevin-like Monte Carlo (Robnik, De Luca, Silverstein & Seljak 2023, arXiv 2212.08549) on
/// the real line: the velocity keeps its length and is only turned, towards where the density rises, so
/// that steps stay as long where the density is steep.
///
/// By default the ends of its paths are accepted or refused (Robnik, Cohn-Gordon & Seljak 2025, arXiv
/// 2503.01707), each path setting out in a new direction, and the draws are those of the posterior. Unadjusted,
/// the direction is forgotten little by little (Robnik & Seljak 2023, arXiv 2303.18221), no gradient is spent in
/// vain, and a small bias remains; the run says so.
///
/// It needs a gradient, and at least two unknowns: on a line there is nowhere to turn. Step size and metric are
/// tuned during warm-up.
///
/// ```
/// use armilla_samplers::prelude::*;
/// # struct Plane;
/// # impl Likelihood for Plane {
/// #     fn dim(&self) -> usize { 2 }
/// #     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-0.5 * (x[0] - x[1]).powi(2)) }
/// # }
/// # impl DifferentiableLikelihood for Plane {
/// #     fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
/// #         (gradient[0], gradient[1]) = (x[1] - x[0], x[0] - x[1]);
/// #         self.log_likelihood(x)
/// #     }
/// # }
/// let prior = Prior::new().with("x", Normal::new(0.0, 1.0)?)?.with("y", Normal::new(0.0, 1.0)?)?;
/// let run = Mclmc::default().sample(&Posterior::new(prior, Plane)?, &RunOptions::default())?;
/// assert!((run.summary().parameters[0].sd - (2f64 / 3.0).sqrt()).abs() < 0.05);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mclmc {
    /// Whether the ends of paths are accepted or refused, so that no bias remains.
    pub adjusted: bool,
    /// The acceptance aimed at, if adjusted.
    pub target_acceptance: f64,
    /// The mean path length per draw, in standard deviations of the posterior. Unadjusted, it is also the
    /// length on which the direction is forgotten.
    pub path_length: f64,
    /// The most leapfrog steps, and so gradients, per draw.
    pub max_leapfrogs: usize,
    /// What the warm-up learns of the posterior's shape.
    pub metric: MetricKind,
}

impl Default for Mclmc {
    /// The acceptance is that of Robnik et al. 2025. A path length of π/2 forgets the start in a Gaussian of many
    /// parameters.
    fn default() -> Self {
        Self {
            adjusted: true,
            target_acceptance: 0.9,
            path_length: std::f64::consts::FRAC_PI_2,
            max_leapfrogs: 64,
            metric: MetricKind::Diagonal,
        }
    }
}

/// Paths of random length, with their step size and metric.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MclmcKernel {
    settings: Mclmc,
    /// In times of a speed of √(d − 1), in which the flow turns as Hamilton's does: step sizes mean the same.
    step_size: f64,
    metric: Metric,
    max_leapfrogs: usize,
}

/// A point of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MclmcState {
    at: Position,
    /// The direction, in the metric's round coordinates; empty before the first path.
    direction: Vec<f64>,
    /// Over the last path: the mean square of a step's energy error, per unknown.
    error: f64,
    /// Memory for the path.
    #[serde(skip)]
    moving: Gliding,
}

/// A point that moves at constant speed.
#[derive(Debug, Clone, Default)]
struct Gliding {
    at: Position,
    /// Of length one.
    direction: Vec<f64>,
    force: Vec<f64>,
}

/// What became of a path.
enum Path {
    /// It ended inside the support, with this energy error and this sum of the squares of its steps' errors.
    Inside { error: f64, squares: f64 },
    /// It left the support.
    Outside,
    /// It met a recoverable error or a runaway energy.
    Diverged,
}

impl Gliding {
    fn start(&mut self, metric: &Metric, at: &Position, direction: &[f64]) {
        self.at.copy_from(at);
        self.direction.clear();
        self.direction.extend_from_slice(direction);
        self.force.resize(at.z.len(), 0.0);
        metric.pull_back(&at.gradient, &mut self.force);
    }

    /// Half a turn, a stretch, half a turn: reversible. Gives the energy error, whose exponential is by how much
    /// the step keeps the density; `None` outside the support.
    ///
    /// # Errors
    /// As the target.
    fn leapfrog<T: DifferentiableDensity + ?Sized>(
        &mut self,
        target: &Counted<'_, T>,
        metric: &Metric,
        step_size: f64,
    ) -> Result<Option<f64>, EvalError> {
        let time = step_size * (self.direction.len() as f64 - 1.0).sqrt();
        let mut error = self.at.log_density + turn(&mut self.direction, &self.force, 0.5 * time);
        metric.advance(&mut self.at.z, &self.direction, time);
        self.at.log_density = target.value_and_gradient(&self.at.z, &mut self.at.gradient)?;
        if self.at.log_density == f64::NEG_INFINITY {
            return Ok(None);
        }
        metric.pull_back(&self.at.gradient, &mut self.force);
        error += turn(&mut self.direction, &self.force, 0.5 * time) - self.at.log_density;
        Ok(Some(error))
    }
}

/// Turns a unit `direction` towards `force` for a time at unit speed, and gives the change in kinetic energy,
/// which is that in the logarithm of the area on the sphere (Robnik et al. 2023, section 3).
///
/// With e the direction of the force, c = e·u and δ = time · |force| / (d − 1), the new direction is along
/// u + e (sinh δ + c (cosh δ − 1)) and the energy changes by (d − 1) ln(cosh δ + c sinh δ). All of it is
/// written in e^−δ, which does not overflow.
fn turn(direction: &mut [f64], force: &[f64], time: f64) -> f64 {
    let strength = dot(force, force).sqrt();
    if strength == 0.0 {
        return 0.0;
    }
    let others = direction.len() as f64 - 1.0;
    let delta = time * strength / others;
    let cosine = (dot(direction, force) / strength).clamp(-1.0, 1.0);
    let decay = (-delta).exp();
    let along = (1.0 - decay * decay) + cosine * (1.0 - decay).powi(2);
    direction.iter_mut().for_each(|u| *u *= 2.0 * decay);
    axpy(along / strength, force, direction);
    if !normalise(direction) {
        // Straight against a strong force: it does not turn, as neither side is nearer.
        direction
            .iter_mut()
            .zip(force)
            .for_each(|(u, f)| *u = -f / strength);
    }
    let (with, against) = (0.5 * (1.0 + cosine), 0.5 * (1.0 - cosine));
    let shrinkage = if with > 0.0 {
        (with + against * decay * decay).ln()
    } else {
        -2.0 * delta
    };
    others * (delta + shrinkage)
}

/// Gives a vector length one, if it has a length.
fn normalise(vector: &mut [f64]) -> bool {
    let length = dot(vector, vector).sqrt();
    let sound = length.is_normal();
    if sound {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    sound
}

/// Draws a direction: normal numbers lie evenly around the origin.
fn draw_direction(direction: &mut [f64], rng: &mut Stream) {
    loop {
        draw_momentum(direction, rng);
        if normalise(direction) {
            return;
        }
    }
}

impl MclmcKernel {
    fn new(settings: Mclmc, dim: usize) -> Self {
        Self {
            settings,
            step_size: 1.0,
            metric: Metric::identity(settings.metric, dim),
            max_leapfrogs: settings.max_leapfrogs,
        }
    }

    /// A path of random length, in whole steps whose mean is that of the path.
    fn leapfrogs(&self, rng: &mut Stream) -> usize {
        let jitter = 1.0 + PATH_JITTER * (2.0 * rng.random::<f64>() - 1.0);
        let steps = self.settings.path_length * jitter / self.step_size + rng.random::<f64>();
        (steps as usize).clamp(1, self.max_leapfrogs)
    }

    fn path<T: DifferentiableDensity + ?Sized>(
        &self,
        target: &Counted<'_, T>,
        moving: &mut Gliding,
        leapfrogs: usize,
        rng: &mut Stream,
    ) -> Result<Path, EvalError> {
        let (mut error, mut squares) = (0.0, 0.0);
        for _ in 0..leapfrogs {
            let step = match moving.leapfrog(target, &self.metric, self.step_size) {
                Ok(Some(step)) => step,
                Ok(None) => return Ok(Path::Outside),
                Err(EvalError::Recoverable(_)) => return Ok(Path::Diverged),
                Err(fatal) => return Err(fatal),
            };
            error += step;
            squares += step * step;
            let runaway = if self.settings.adjusted { error } else { step.abs() };
            if runaway.is_nan() || runaway > DIVERGENCE {
                return Ok(Path::Diverged);
            }
            if !self.settings.adjusted {
                self.forget(&mut moving.direction, rng);
            }
        }
        Ok(Path::Inside { error, squares })
    }

    /// Mixes noise into the direction, so that it is forgotten on the path length.
    fn forget(&self, direction: &mut [f64], rng: &mut Stream) {
        let decay = 2.0 * self.step_size / self.settings.path_length;
        let noise = (decay.exp_m1() / direction.len() as f64).sqrt();
        let mut mixed = vec![0.0; direction.len()];
        draw_momentum(&mut mixed, rng);
        for (mixed, u) in mixed.iter_mut().zip(direction.iter()) {
            *mixed = u + noise * *mixed;
        }
        if normalise(&mut mixed) {
            direction.copy_from_slice(&mixed);
        }
    }
}

impl<T: DifferentiableDensity + ?Sized> Kernel<T> for MclmcKernel {
    type State = MclmcState;

    fn init(
        &mut self,
        target: &Counted<'_, T>,
        z: Vec<f64>,
        rng: &mut Stream,
    ) -> Result<MclmcState, EvalError> {
        let at = Position::new(target, z)?;
        if at.log_density.is_finite() {
            let acceptance = self.settings.target_acceptance;
            self.step_size = find_step_size(target, &self.metric, &at, 1.0, acceptance, rng)?;
        }
        let mut direction = vec![0.0; at.z.len()];
        draw_direction(&mut direction, rng);
        Ok(MclmcState {
            at,
            direction,
            error: 0.0,
            moving: Gliding::default(),
        })
    }

    fn step(
        &self,
        target: &Counted<'_, T>,
        state: &mut MclmcState,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let MclmcState {
            at,
            direction,
            error: mean_square,
            moving,
        } = state;
        if self.settings.adjusted {
            draw_direction(direction, rng);
        }
        moving.start(&self.metric, at, direction);
        let leapfrogs = self.leapfrogs(rng);
        let spent = target.evaluations().gradients;
        let path = self.path(target, moving, leapfrogs, rng)?;
        let evaluations = (target.evaluations().gradients - spent) as u32;
        let uniform = rng.random::<f64>();
        *mean_square = f64::INFINITY;
        let mut step = Step {
            evaluations,
            ..Step::default()
        };
        match path {
            Path::Inside { error, squares } => {
                *mean_square = squares / (leapfrogs * at.z.len()) as f64;
                step.acceptance = if self.settings.adjusted {
                    (-error).exp().min(1.0)
                } else {
                    1.0
                };
            }
            Path::Outside => {}
            Path::Diverged => step.diverged = true,
        }
        if uniform < step.acceptance {
            std::mem::swap(at, &mut moving.at);
            std::mem::swap(direction, &mut moving.direction);
        } else {
            // To set out again where the path failed would fail again.
            draw_direction(direction, rng);
        }
        Ok(step)
    }

    fn position(state: &MclmcState) -> (&[f64], f64) {
        (&state.at.z, state.at.log_density)
    }

    fn step_size(&self) -> f64 {
        self.step_size
    }
}

impl<T: DifferentiableDensity + ?Sized> Flowing<T> for MclmcKernel {
    fn tuned(&mut self) -> (&mut f64, &mut Metric) {
        (&mut self.step_size, &mut self.metric)
    }

    fn limit(&mut self, first: bool) {
        let most = if first { FIRST_LEAPFROGS } else { usize::MAX };
        self.max_leapfrogs = self.settings.max_leapfrogs.min(most);
    }

    fn at(state: &MclmcState) -> &Position {
        &state.at
    }
}

/// The warm-up of all samplers with a step size, told not the acceptance but how small the energy errors are.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Unadjusted(WarmUp);

/// A path whose energy errors have this many times the variance wanted tells as much as any that is worse: a few
/// wild paths shall not count for all others.
const WILD: f64 = 16.0;

/// One where there are no energy errors, down to zero where they are wild.
fn calm(mean_square: f64) -> f64 {
    (1.0 - mean_square / (WILD * ENERGY_VARIANCE)).max(0.0)
}

impl<T: DifferentiableDensity + ?Sized> Adaptation<T, MclmcKernel> for Unadjusted {
    fn begin(&mut self, kernel: &mut MclmcKernel, state: &MclmcState) {
        <WarmUp as Adaptation<T, MclmcKernel>>::begin(&mut self.0, kernel, state);
    }

    fn update(
        &mut self,
        kernel: &mut MclmcKernel,
        target: &Counted<'_, T>,
        state: &MclmcState,
        step: &Step,
        rng: &mut Stream,
    ) -> Result<(), EvalError> {
        let step = Step {
            acceptance: calm(state.error),
            ..*step
        };
        self.0.update(kernel, target, state, &step, rng)
    }

    fn finish(&mut self, kernel: &mut MclmcKernel) {
        <WarmUp as Adaptation<T, MclmcKernel>>::finish(&mut self.0, kernel);
    }
}

impl<T: DifferentiableDensity + ?Sized> Sampler<T> for Mclmc {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        check_acceptance(self.target_acceptance)?;
        check_path_length(self.path_length)?;
        check_leapfrogs(self.max_leapfrogs)?;
        let dim = target.dim();
        if dim < 2 {
            let message = "on a line a velocity cannot turn: use another sampler for a single unknown";
            return Err(SampleError::Invalid(message.into()));
        }
        let kernel = MclmcKernel::new(*self, dim);
        if self.adjusted {
            let adaptation = WarmUp::new(self.target_acceptance, self.metric, dim, run.warmup);
            let method = "adjusted microcanonical Langevin";
            return run_chains(method, self, target, run, kernel, adaptation);
        }
        let adaptation = Unadjusted(WarmUp::new(calm(ENERGY_VARIANCE), self.metric, dim, run.warmup));
        let method = "unadjusted microcanonical Langevin";
        let mut run = run_chains(method, self, target, run, kernel, adaptation)?;
        let bias = "unadjusted paths: draws of a density that differs from the posterior by the error of their steps";
        run.approximation = Some(bias.into());
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hmc::leapfrog::tests::Quartic;
    use crate::rng::{Purpose, stream};

    fn unit(values: &[f64]) -> Vec<f64> {
        let mut unit = values.to_vec();
        assert!(normalise(&mut unit));
        unit
    }

    #[test]
    fn a_turn_follows_the_formula_and_comes_back() {
        let begun = unit(&[0.3, -1.0, 0.5]);
        let (force, time) = ([2.0, 0.5, -1.0], 0.7);
        let mut direction = begun.clone();
        let change = turn(&mut direction, &force, time);
        let strength = 5.25f64.sqrt();
        let (delta, cosine) = (time * strength / 2.0, dot(&begun, &force) / strength);
        let along = delta.sinh() + cosine * (delta.cosh() - 1.0);
        let expected: Vec<f64> = (0..3).map(|i| begun[i] + along * force[i] / strength).collect();
        let expected = unit(&expected);
        let energy = 2.0 * (delta.cosh() + cosine * delta.sinh()).ln();
        assert!((change - energy).abs() < 1e-14);
        assert!((0..3).all(|i| (direction[i] - expected[i]).abs() < 1e-14));
        // Turned about, it goes back, and the energy with it.
        direction.iter_mut().for_each(|u| *u = -*u);
        let back = turn(&mut direction, &force, time);
        assert!((change + back).abs() < 1e-14);
        assert!((0..3).all(|i| (direction[i] + begun[i]).abs() < 1e-14));
    }

    #[test]
    fn the_energy_is_the_logarithm_of_the_area() {
        // In the plane the area is an angle: what a turn makes of a small one, by finite differences.
        let (force, time, h) = ([1.0, 2.0], 0.4, 1e-5);
        let turned = |angle: f64| {
            let mut direction = [angle.cos(), angle.sin()];
            let change = turn(&mut direction, &force, time);
            (direction[1].atan2(direction[0]), change)
        };
        for angle in [0.3, 1.5, -2.0] {
            let slope = (turned(angle + h).0 - turned(angle - h).0) / (2.0 * h);
            assert!((slope.ln() + turned(angle).1).abs() < 1e-8, "{slope}");
        }
    }

    #[test]
    fn overwhelming_forces_do_not_overflow() {
        let force = [1e100, 0.0];
        for (begun, end, expected) in [
            ([1.0, 0.0], 1.0, 1e100),
            ([-1.0, 0.0], -1.0, -1e100),
            ([0.6, -0.8], 1.0, 1e100),
        ] {
            let mut direction = begun;
            let change = turn(&mut direction, &force, 1.0);
            assert_eq!(direction, [end, 0.0]);
            assert!((change / expected - 1.0).abs() < 1e-12, "{change}");
        }
    }

    fn begin(target: &Counted<'_, Quartic>, metric: &Metric) -> Gliding {
        let at = Position::new(target, vec![0.8, -0.3]).unwrap();
        let mut moving = Gliding::default();
        moving.start(metric, &at, &unit(&[1.0, 0.4]));
        moving
    }

    #[test]
    fn paths_are_reversible_and_of_second_order() {
        let density = Quartic::new();
        let target = Counted::new(&density);
        let factor = nalgebra::DMatrix::from_row_slice(2, 2, &[0.8, 0.0, 0.5, 1.2]);
        for metric in [Metric::Diagonal(vec![0.7, 1.3]), Metric::Dense(factor)] {
            let go = |moving: &mut Gliding, steps: i32| -> f64 {
                let step = || {
                    moving
                        .leapfrog(&target, &metric, 1.5 / f64::from(steps))
                        .unwrap()
                        .unwrap()
                };
                std::iter::repeat_with(step).take(steps as usize).sum()
            };
            let begun = begin(&target, &metric);
            let mut moving = begun.clone();
            let there = go(&mut moving, 20);
            assert!((0..2).any(|i| (moving.at.z[i] - begun.at.z[i]).abs() > 0.1));
            moving.direction.iter_mut().for_each(|u| *u = -*u);
            let back = go(&mut moving, 20);
            assert!((there + back).abs() < 1e-12 && there.abs() > 1e-6);
            for i in 0..2 {
                assert!((moving.at.z[i] - begun.at.z[i]).abs() < 1e-12);
                assert!((moving.direction[i] + begun.direction[i]).abs() < 1e-12);
            }
            let ratio = go(&mut begun.clone(), 100) / go(&mut begun.clone(), 200);
            assert!((ratio - 4.0).abs() < 0.05, "{ratio}");
        }
    }

    #[test]
    fn directions_are_forgotten_on_the_path_length() {
        let kernel = MclmcKernel {
            step_size: 0.1,
            ..MclmcKernel::new(Mclmc::default(), 50)
        };
        let mut rng = stream(3, Purpose::Chain, 0);
        let (steps, walks) = (16, 200);
        let mut left = 0.0;
        for _ in 0..walks {
            let mut direction = vec![0.0; 50];
            draw_direction(&mut direction, &mut rng);
            let begun = direction.clone();
            (0..steps).for_each(|_| kernel.forget(&mut direction, &mut rng));
            left += dot(&begun, &direction) / f64::from(walks);
        }
        // e^(−t/L), each walk with a spread of 1/√50; the fluctuating length changes it by the order of 1/50.
        let expected = (-1.6 / kernel.settings.path_length).exp();
        let tolerance = 5.0 / f64::from(50 * walks).sqrt();
        assert!((left - expected).abs() < tolerance, "{left} for {expected}");
    }

    #[test]
    fn unadjusted_steps_err_as_much_as_wanted() {
        let density = Quartic::new();
        let target = Counted::new(&density);
        let settings = Mclmc {
            adjusted: false,
            ..Mclmc::default()
        };
        let mut rng = stream(7, Purpose::Chain, 0);
        let mut kernel = MclmcKernel::new(settings, 2);
        let mut state = kernel.init(&target, vec![0.8, -0.3], &mut rng).unwrap();
        let mut tuning = Unadjusted(WarmUp::new(calm(ENERGY_VARIANCE), settings.metric, 2, 2000));
        for _ in 0..2000 {
            let step = kernel.step(&target, &mut state, &mut rng).unwrap();
            tuning
                .update(&mut kernel, &target, &state, &step, &mut rng)
                .unwrap();
        }
        <Unadjusted as Adaptation<Quartic, MclmcKernel>>::finish(&mut tuning, &mut kernel);
        let paths = 2000;
        let mut variance = 0.0;
        for _ in 0..paths {
            kernel.step(&target, &mut state, &mut rng).unwrap();
            variance += state.error / f64::from(paths);
        }
        // What is tuned is the mean of an error that is cut off: of errors so uneven the mean is a few times as large,
        // the step size, its sixth root, a fifth.
        assert!((0.5..4.0).contains(&(variance / ENERGY_VARIANCE)), "{variance}");
    }
}
