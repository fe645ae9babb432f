use armilla_samplers::rng::{Purpose, stream};
use rand_distr::{Distribution, StandardNormal};

use super::{
    augmented::{Augmented, Directions, Shares},
    log_density::ends,
    reverse::{self, Steps},
    *,
};
use crate::{
    Cpu, Module, Result,
    nets::{ConditionedMlp, ConditionedMlpConfig},
    ode::Method,
    ops::{Activation, testing::numbers},
    path::{Chain, Path, Schedule, Target},
    predictor::{DifferentiablePredictor, NetworkPredictor, Predictor},
    train::{Batch, Event, Examples, Fields, Session, Trainer},
    weights::Weights,
};

/// What is promised of log densities that are known.
const KNOWN: f64 = 1e-4;
const FINE: Method = Method::DormandPrince {
    relative: 1e-8,
    absolute: 1e-8,
};

/// What the best predictor of two numbers says, whose axes have this mean and these deviations after a turn.
struct Turned {
    path: Path,
    target: Target,
    mean: [f64; 2],
    deviation: [f64; 2],
    turn: f64,
}

impl Turned {
    fn new(path: Path, target: Target) -> Self {
        Self {
            path,
            target,
            mean: [0.4, -0.7],
            deviation: [0.5, 1.3],
            turn: 0.6,
        }
    }

    fn turned(&self, x: &[f64], sign: f64) -> [f64; 2] {
        let (sin, cos) = (sign * self.turn).sin_cos();
        [cos * x[0] + sin * x[1], cos * x[1] - sin * x[0]]
    }

    /// The prediction, linear in the point and the mean.
    fn at(&self, x: &[f64], mean: [f64; 2], t: f64) -> Vec<f64> {
        let point = self.path.at(t);
        let rows = x.chunks_exact(2).flat_map(|row| {
            let x = self.turned(row, 1.0);
            let said: [f64; 2] = std::array::from_fn(|i| {
                let variance = self.deviation[i].powi(2);
                let all = point.alpha.powi(2) * variance + point.sigma.powi(2);
                let off = (x[i] - point.alpha * mean[i]) / all;
                let data = mean[i] + point.alpha * variance * off;
                match self.target {
                    // Also where there is no noise.
                    Target::Score => -off,
                    target => point.target(target, data, point.sigma * off),
                }
            });
            self.turned(&said, -1.0)
        });
        rows.collect()
    }

    /// The log density of the flow that this predictor drives: all of it is affine.
    fn log_density(&self, x: &[f64]) -> f64 {
        let [start, end] = ends(&self.path, self.target).map(|t| self.path.at(t));
        let x = self.turned(x, 1.0).map(|x| start.alpha * x);
        let stretched = 2.0 * start.alpha.ln();
        let sum: f64 = (0..2)
            .map(|i| {
                let scale = |p: crate::path::Point| (p.alpha * self.deviation[i]).hypot(p.sigma);
                let shrink = scale(start) / scale(end);
                let mean = (start.alpha - shrink * end.alpha) * self.mean[i];
                log_density::log_normal(&[x[i] - mean], shrink * end.sigma)
            })
            .sum();
        sum + stretched
    }
}

impl Predictor for Turned {
    fn numbers(&self) -> usize {
        2
    }
    fn path(&self) -> &Path {
        &self.path
    }
    fn target(&self) -> Target {
        self.target
    }
    fn predict(&self, x: &[f64], t: f64) -> Result<Vec<f64>> {
        Ok(self.at(x, self.mean, t))
    }
}

impl DifferentiablePredictor for Turned {
    fn predict_along(&self, x: &[f64], dx: &[f64], t: f64) -> Result<[Vec<f64>; 2]> {
        Ok([self.at(x, self.mean, t), self.at(dx, [0.0; 2], t)])
    }
}

/// `v = A x`.
struct Matrix {
    rows: Vec<Vec<f64>>,
}

impl Matrix {
    /// `Σ_k scale^k u_k v_kᵀ` of so many random vectors.
    fn new(n: usize, rank: usize, scale: f64) -> Self {
        let u = numbers(n * rank * 2, 7);
        let entry = |i: usize, j: usize| -> f64 {
            let terms = (0..rank).map(|k| {
                let both = u[k * n + i] * u[(rank + k) * n + j];
                scale.powi(k as i32) * f64::from(both)
            });
            terms.sum::<f64>() / n as f64
        };
        let rows = (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect();
        Self { rows }
    }
}

impl Predictor for Matrix {
    fn numbers(&self) -> usize {
        self.rows.len()
    }
    fn path(&self) -> &Path {
        &Path::Linear
    }
    fn target(&self) -> Target {
        Target::Velocity
    }
    fn predict(&self, x: &[f64], _: f64) -> Result<Vec<f64>> {
        let product = |x: &[f64]| -> Vec<f64> {
            let dot = |row: &Vec<f64>| row.iter().zip(x).map(|(a, x)| a * x).sum();
            self.rows.iter().map(dot).collect()
        };
        Ok(x.chunks_exact(self.numbers()).flat_map(product).collect())
    }
}

impl DifferentiablePredictor for Matrix {
    fn predict_along(&self, x: &[f64], dx: &[f64], t: f64) -> Result<[Vec<f64>; 2]> {
        Ok([self.predict(x, t)?, self.predict(dx, t)?])
    }
}

fn paths() -> Vec<Path> {
    let (beta_min, beta_max) = (0.1, 20.0);
    vec![
        Path::Linear,
        Path::Trigonometric,
        Path::Chain(Chain::new(Schedule::default(), 100).unwrap()),
        Path::Chain(Chain::new(Schedule::Cosine, 100).unwrap()),
        Path::VariancePreserving { beta_min, beta_max },
        Path::SubVariancePreserving { beta_min, beta_max },
        Path::VarianceExploding {
            sigma_min: 0.01,
            sigma_max: 50.0,
        },
    ]
}

const POINTS: [f64; 6] = [0.1, -0.2, 1.4, 0.8, -0.9, -2.0];

#[test]
fn gaussians_have_their_density_on_every_path_from_every_target() {
    for (place, path) in paths().into_iter().enumerate() {
        for target in [
            Target::Velocity,
            Target::Noise,
            Target::Data,
            Target::Score,
            Target::V,
        ] {
            let predictor = Turned::new(path.clone(), target);
            let (method, steps) = match &path {
                // Its rate jumps at each level, where steps must end.
                Path::Chain(chain) => (Method::Midpoint, 16 * (chain.steps() - 1)),
                _ => (FINE, 1),
            };
            let found = log_density(&predictor, &POINTS, Trace::Exact, method, steps, 0).unwrap();
            assert_eq!(found.standard_errors, [0.0; 3]);
            for (point, value) in POINTS.chunks_exact(2).zip(&found.values) {
                let expected = predictor.log_density(point);
                assert!(
                    (value - expected).abs() < KNOWN,
                    "{place} {target:?}: {value} for {expected}"
                );
            }
        }
    }
}

#[test]
fn on_straight_paths_the_density_is_that_of_the_data() {
    for target in [Target::Velocity, Target::Noise, Target::Data] {
        let predictor = Turned::new(Path::Linear, target);
        let found = log_density(&predictor, &POINTS, Trace::Exact, Method::Rk4, 200, 0).unwrap();
        assert!(found.noise <= KNOWN * 1.001 && found.evaluations == 800);
        for (point, value) in POINTS.chunks_exact(2).zip(&found.values) {
            let x = predictor.turned(point, 1.0);
            let expected: f64 = (0..2)
                .map(|i| log_density::log_normal(&[x[i] - predictor.mean[i]], predictor.deviation[i]))
                .sum();
            // Noise tells nothing of where it ends: 1e-4 of the data is taken for it, times a slope of up to 5.
            let slope = if target == Target::Noise { 5.0 } else { 1.0 };
            assert!(
                (value - expected).abs() < slope * KNOWN,
                "{target:?}: {value} for {expected}"
            );
        }
    }
}

#[test]
fn probes_are_right_in_the_mean() {
    let n = 6;
    let matrix = Matrix::new(n, n, 0.9);
    let x: Vec<f64> = numbers(2 * n, 3).into_iter().map(f64::from).collect();
    let density = |trace, key| log_density(&matrix, &x, trace, Method::Rk4, 4, key).unwrap();
    let exact = density(Trace::Exact, 0);
    let probes = 400;
    for trace in [
        Trace::Rademacher { probes },
        Trace::Gaussian { probes },
        Trace::HutchPlusPlus { probes: 12 },
    ] {
        let found = density(trace, 7);
        for i in 0..2 {
            let (off, error) = (found.values[i] - exact.values[i], found.standard_errors[i]);
            assert!(error > 0.0 && error < 0.5, "{trace:?}: {error}");
            assert!(off.abs() < 5.0 * error, "{trace:?}: {off} of {error}");
        }
        assert_eq!(found, density(trace, 7));
        assert_ne!(found.values, density(trace, 6).values);
    }
    assert!(density(Trace::Gaussian { probes: 1 }, 0).standard_errors[0].is_nan());
}

#[test]
fn few_directions_are_found_exactly() {
    /// Random signs in as many directions as there are numbers are nearly dependent: they lose half of the digits.
    const SAME: f64 = 1e-7;
    let n = 8;
    let x: Vec<f64> = numbers(n, 3).into_iter().map(f64::from).collect();
    for (rank, probes) in [(2, 6), (n, 6 * n)] {
        let matrix = Matrix::new(n, rank, 1.0);
        let density = |trace| log_density(&matrix, &x, trace, Method::Rk4, 3, 1).unwrap();
        let (exact, found) = (density(Trace::Exact), density(Trace::HutchPlusPlus { probes }));
        assert!(
            (exact.values[0] - found.values[0]).abs() < SAME,
            "{exact:?} {found:?}"
        );
        assert!(found.standard_errors[0] < SAME);
        // Signs alone are not exact.
        assert!(density(Trace::Rademacher { probes }).standard_errors[0] > 1e-3);
    }
}

fn network(numbers: usize, cond_dim: usize, widths: &[usize], scale: f32) -> ConditionedMlp<Cpu> {
    let config = ConditionedMlpConfig {
        channels: numbers,
        cond_dim,
        widths: widths.to_vec(),
        activation: Activation::Tanh,
    };
    let device = Cpu::default();
    let mut network = ConditionedMlp::new(&device, config, &mut stream(3, Purpose::Weights, 0)).unwrap();
    let mut weights = network.weights();
    let all = weights.0.iter_mut().flat_map(|w| &mut w.values);
    all.for_each(|w| *w *= scale);
    network.load(&weights).unwrap();
    network
}

#[test]
fn densities_integrate_to_one() {
    const SIDE: usize = 61;
    const SPACING: f64 = 0.25;
    let network = network(2, 0, &[16], 2.0);
    let flow =
        NetworkPredictor::new(&network, &Cpu::default(), [1; 3], Path::Linear, Target::Velocity).unwrap();
    let at = |i: usize| SPACING * (i as f64 - (SIDE / 2) as f64);
    let grid: Vec<f64> = (0..SIDE * SIDE)
        .flat_map(|i| [at(i / SIDE), at(i % SIDE)])
        .collect();
    let found = log_density(&flow, &grid, Trace::Exact, Method::Rk4, 16, 0).unwrap();
    let whole: f64 = found.values.iter().map(|l| l.exp() * SPACING * SPACING).sum();
    assert!((whole - 1.0).abs() < 1e-3, "{whole}");
    // It is not the noise that it ends in.
    let noise = grid.chunks_exact(2).map(|x| log_density::log_normal(x, 1.0));
    let apart = noise
        .zip(&found.values)
        .map(|(noise, found)| (noise.exp() - found.exp()).abs());
    assert!(apart.fold(0.0, f64::max) > 0.02);
}

#[test]
fn rows_do_not_depend_on_those_after_them() {
    let network = network(3, 0, &[8], 2.0);
    let flow =
        NetworkPredictor::new(&network, &Cpu::default(), [1; 3], Path::Linear, Target::Velocity).unwrap();
    let x: Vec<f64> = numbers(3 * 40, 3).into_iter().map(f64::from).collect();
    for trace in [
        Trace::Exact,
        Trace::Rademacher { probes: 3 },
        Trace::HutchPlusPlus { probes: 5 },
    ] {
        let all = log_density(&flow, &x, trace, Method::Heun, 5, 9).unwrap();
        let first = log_density(&flow, &x[..3 * 7], trace, Method::Heun, 5, 9).unwrap();
        for (a, b) in all.values.iter().zip(&first.values) {
            // Products of matrices may be summed in another order.
            assert!((a - b).abs() < 1e-5, "{trace:?}: {a} {b}");
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let predictor = Turned::new(Path::Linear, Target::Velocity);
    for trace in [
        Trace::Rademacher { probes: 0 },
        Trace::HutchPlusPlus { probes: 2 },
    ] {
        let error = log_density(&predictor, &POINTS, trace, Method::Euler, 4, 0).unwrap_err();
        assert!(error.to_string().contains("probes"), "{error}");
    }
    let error = log_density(&predictor, &[0.0; 3], Trace::Exact, Method::Euler, 4, 0).unwrap_err();
    assert!(error.to_string().contains("rows of 2"), "{error}");
}

/// Five rows in three numbers under conditions of two.
struct Case {
    network: ConditionedMlp<Cpu>,
    x: Vec<f64>,
    conditions: Vec<f32>,
    probes: Vec<f32>,
    directions: Directions,
}

const ROWS: usize = 5;

impl Case {
    fn new(directions: Directions) -> Self {
        Self {
            network: network(3, 2, &[8, 8], 1.5),
            x: numbers(ROWS * 3, 1).into_iter().map(f64::from).collect(),
            conditions: numbers(ROWS * 2, 2),
            probes: numbers(ROWS * 2 * 3, 4),
            directions,
        }
    }

    fn with<T>(&self, run: impl FnOnce(&Augmented<'_, Cpu, ConditionedMlp<Cpu>>) -> T) -> T {
        let shares = Shares {
            divergence: -0.2,
            kinetic: 0.05,
            jacobian: 0.02,
        };
        let flow = Augmented::new(
            &self.network,
            &Cpu::default(),
            [1; 3],
            (ROWS, &self.conditions),
            (self.directions, &self.probes),
            shares,
        );
        run(&flow.unwrap())
    }

    fn loss(&self, steps: &Steps) -> f64 {
        self.with(|flow| reverse::loss(flow, self.x.clone(), steps, 0.2).unwrap())
    }

    fn gradient(&self, steps: &Steps, gradient: Gradient) -> (f64, Vec<f64>) {
        let found =
            self.with(|flow| reverse::loss_and_gradient(flow, self.x.clone(), steps, 0.2, gradient).unwrap());
        (
            found.loss,
            found.weights.iter().flatten().map(|g| f64::from(*g)).collect(),
        )
    }
}

fn steps(method: Method, count: usize) -> Steps {
    Steps::new(method.tableau(), count, 0.5)
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn gradients_are_those_of_the_loss_in_its_steps() {
    /// Losses of about 1 carry 1e-7 of rounding each, in single precision, over a difference of 2e-2; its curvature adds
    /// as much again.
    const SAME: f64 = 5e-4;
    const STEP: f64 = 1e-2;
    for directions in [Directions::Axes, Directions::Probes(2)] {
        for method in [Method::Euler, Method::Midpoint, Method::Heun, Method::Rk4, FINE] {
            let mut case = Case::new(directions);
            let steps = Steps::new(method.tableau(), 3, 0.2);
            let (loss, gradient) = case.gradient(&steps, Gradient::Discrete);
            assert!((loss - case.loss(&steps)).abs() < 1e-6, "{method:?}");
            let start = case.network.weights();
            // Along the gradient, where a difference is largest, and anywhere.
            let size = norm(&gradient);
            let steepest: Vec<f64> = gradient.iter().map(|g| g / size).collect();
            let anywhere: Vec<f64> = numbers(gradient.len(), 11).into_iter().map(f64::from).collect();
            let length = norm(&anywhere);
            let anywhere: Vec<f64> = anywhere.iter().map(|a| a / length).collect();
            for along in [steepest, anywhere] {
                let mut moved = |step: f64| {
                    let mut weights: Weights = start.clone();
                    let all = weights.0.iter_mut().flat_map(|w| &mut w.values);
                    all.zip(&along).for_each(|(w, d)| *w += (step * d) as f32);
                    case.network.load(&weights).unwrap();
                    case.loss(&steps)
                };
                let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let found: f64 = gradient.iter().zip(&along).map(|(g, d)| g * d).sum();
                assert!(
                    (found - expected).abs() < SAME * size,
                    "{directions:?} {method:?}: {found} for {expected} of {size}"
                );
            }
        }
    }
}

#[test]
fn the_adjoint_tends_to_the_gradient_of_the_steps() {
    let case = Case::new(Directions::Axes);
    let apart = |method, count| {
        let steps = steps(method, count);
        let (loss, discrete) = case.gradient(&steps, Gradient::Discrete);
        let (other, adjoint) = case.gradient(&steps, Gradient::Adjoint);
        let difference: Vec<f64> = discrete.iter().zip(&adjoint).map(|(a, b)| a - b).collect();
        [(loss - other).abs(), norm(&difference) / norm(&discrete)]
    };
    let [coarse, fine] = [4, 16].map(|count| apart(Method::Midpoint, count));
    // Second order: a sixteenth, and half of that for what is left of higher orders.
    assert!(
        fine[1] < coarse[1] / 8.0 && fine[0] < coarse[0] / 8.0,
        "{coarse:?} {fine:?}"
    );
    assert!(apart(Method::Rk4, 16)[1] < 1e-5);
    assert!(apart(Method::Euler, 4)[1] > 1e-3);
}

#[test]
fn parts_of_a_batch_add_up() {
    let case = Case::new(Directions::Probes(2));
    let batch = ffjord::FlowBatch {
        rows: ROWS,
        x: case.x.iter().map(|x| *x as f32).collect(),
        conditions: case.conditions.clone(),
        probes: case.probes.clone(),
        offset: 0.5,
    };
    let steps = steps(Method::Rk4, 2);
    let run = |batch: &ffjord::FlowBatch| {
        let case = Case::new(Directions::Probes(2));
        let shares = Shares {
            divergence: -0.2,
            kinetic: 0.05,
            jacobian: 0.02,
        };
        let flow = Augmented::new(
            &case.network,
            &Cpu::default(),
            [1; 3],
            (batch.rows, &batch.conditions),
            (case.directions, &batch.probes),
            shares,
        )
        .unwrap();
        let x = batch.x.iter().map(|x| f64::from(*x)).collect();
        let found = reverse::loss_and_gradient(&flow, x, &steps, 0.2, Gradient::Discrete).unwrap();
        (found.loss, found.weights.concat())
    };
    let (loss, gradient) = run(&batch);
    let (a, b) = (run(&batch.part(0..2)), run(&batch.part(2..ROWS)));
    assert!((loss - a.0 - b.0).abs() < 1e-6);
    for ((whole, a), b) in gradient.iter().zip(&a.1).zip(&b.1) {
        assert!((whole - a - b).abs() < 1e-5, "{whole} {a} {b}");
    }
}

fn examples(fields: &dyn Fields) -> Examples<'_> {
    Examples {
        fields,
        parameters: &[],
    }
}

/// Trains on 4,000 numbers of a Gaussian; the mean of what the density of others differs by, before and after.
fn trained_on_a_gaussian(n: usize, settings: Ffjord) -> [f64; 2] {
    const EXAMPLES: usize = 4000;
    let draw = |seed: u64| -> Vec<f32> {
        let mut stream = stream(seed, Purpose::Simulation, 0);
        let row = |_| {
            let z: [f64; 2] = std::array::from_fn(|_| StandardNormal.sample(&mut stream));
            [0.5 + 0.4 * z[0], 0.3 - 0.6 * z[0] + 0.8 * z[1]]
        };
        let rows: Vec<[f64; 2]> = (0..EXAMPLES).map(row).collect();
        rows.iter().flat_map(|row| &row[..n]).map(|x| *x as f32).collect()
    };
    let (training, fresh) = (draw(1), draw(2));
    let mut network = network(n, 0, &[16], 1.0);
    let off = |network: &ConditionedMlp<Cpu>| {
        let flow =
            NetworkPredictor::new(network, &Cpu::default(), [1; 3], Path::Linear, Target::Velocity).unwrap();
        let x: Vec<f64> = fresh.iter().map(|x| f64::from(*x)).collect();
        let found = log_density(&flow, &x, Trace::Exact, Method::Rk4, 8, 0).unwrap();
        let expected = x.chunks_exact(n).map(|x| {
            let first = log_density::log_normal(&[x[0] - 0.5], 0.4);
            let rest = x.get(1).map(|y| y - 0.3 + 1.5 * (x[0] - 0.5));
            first + rest.map_or(0.0, |rest| log_density::log_normal(&[rest], 0.8))
        });
        let off = found.values.iter().zip(expected);
        off.map(|(found, e)| found - e).sum::<f64>() / EXAMPLES as f64
    };
    let before = off(&network);
    let trainer = Trainer {
        steps: 200,
        batch_size: 128,
        learning_rate: 1e-2,
        validate_every: Some(200),
        ..Trainer::default()
    };
    let session = Session {
        seed: 1,
        keep: None,
        interrupt: None,
        observe: &mut |_: Event<'_>| Ok(()),
    };
    let device = Cpu::default();
    let (training, judged) = (examples(&training), examples(&fresh));
    settings
        .train(&trainer, &mut network, &device, [1; 3], training, judged, session)
        .unwrap();
    let after = off(&network);
    [before, after]
}

#[test]
fn training_recovers_gaussians() {
    const NAT: f64 = 0.02;
    let settings = Ffjord {
        steps: 2,
        ..Ffjord::default()
    };
    let probed = Ffjord {
        trace: Some(Trace::Rademacher { probes: 1 }),
        ..settings
    };
    let adjoint = Ffjord {
        gradient: Gradient::Adjoint,
        ..settings
    };
    for (n, settings) in [(1, adjoint), (2, settings), (2, probed)] {
        let [before, after] = trained_on_a_gaussian(n, settings);
        assert!(before < -20.0 * NAT, "there was little to learn: {before}");
        assert!(after.abs() < NAT, "{n} {settings:?}: {before} {after}");
    }
}

#[test]
fn training_refuses_what_makes_no_sense() {
    let mut network = network(2, 0, &[4], 1.0);
    let data = vec![0.0f32; 8];
    let mut refused = |settings: Ffjord, fields: &Vec<f32>, word: &str| {
        let session = Session {
            seed: 1,
            keep: None,
            interrupt: None,
            observe: &mut |_: Event<'_>| Ok(()),
        };
        let (trainer, device) = (Trainer::default(), Cpu::default());
        let (training, judged) = (examples(fields), examples(fields));
        let error = settings
            .train(&trainer, &mut network, &device, [1; 3], training, judged, session)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(word), "{error}");
    };
    let good = Ffjord::default();
    refused(Ffjord { steps: 0, ..good }, &data, "ffjord.steps");
    refused(
        Ffjord {
            kinetic: -1.0,
            ..good
        },
        &data,
        "ffjord.kinetic",
    );
    let trace = Some(Trace::HutchPlusPlus { probes: 3 });
    refused(Ffjord { trace, ..good }, &data, "rademacher");
    let wide = Ffjord {
        trace: Some(Trace::Exact),
        ..good
    };
    assert!(wide.check(256).is_ok());
    assert!(wide.check(257).unwrap_err().to_string().contains("rademacher"));
    refused(good, &vec![0.0, f32::NAN], "is NaN");
    refused(good, &vec![0.0; 7], "7 numbers");
    refused(good, &Vec::new(), "empty");
}
