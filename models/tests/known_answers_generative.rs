//! Train every kind of generative model on distributions that are known, and hold what it makes against them.
//!
//! `cargo test -p armilla-models --release -- --include-ignored known_answers`
//!
//! Each model trains for under two minutes on two cores that do nothing else; the tests run one after the other, and print
//! (with `--nocapture`) what they found and how much processor time it took.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use armilla_models::{
    Cpu,
    continuous::{Ffjord, Trace, log_density},
    flows::{FlowConfig, MaximumLikelihood, NormalizingFlow, SplineConfig},
    generate::{Solver, generate},
    matching::Matching,
    nets::{ConditionedMlp, ConditionedMlpConfig, LatentVelocityConfig, LatentVelocityEstimator},
    ode::Method,
    ops::Activation,
    path::{Chain, Path, Schedule, Target},
    predictor::{Clipped, NetworkPredictor},
    toys::Toy,
    train::{Event, Examples, Session, Trainer},
    two_sample::{c2st, kernel_log_density},
};
use armilla_samplers::rng::{Purpose, stream};
use rand_distr::{Distribution, StandardNormal};

/// A classifier may tell no more of 5,000 samples from fresh data.
const C2ST: f64 = 0.55;
/// Nats between mean log densities of a model and of a kernel estimate, over fresh data.
const NATS: f64 = 0.1;
/// Of the kernels about 50,000 points: small beside every detail, and with some 70 points under it on the checkerboard, where
/// it costs 0.04 nat at the edges.
const BANDWIDTH: f64 = 0.03;
const FRESH: usize = 2000;
/// Where the data of a chain lie.
const RANGE: [f64; 2] = [-2.5, 2.5];
const VECTOR: [usize; 3] = [1; 3];

/// One training at a time: each uses all cores.
static ONE: Mutex<()> = Mutex::new(());

/// The log density of each point.
type Densities<'a> = &'a dyn Fn(&[f64]) -> Vec<f64>;

/// A distribution, what is learnt from it, and when that began.
struct Case {
    toy: Toy,
    training: Vec<f32>,
    validation: Vec<f32>,
    start: Instant,
    processor: Option<f64>,
    _alone: MutexGuard<'static, ()>,
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|x| *x as f32).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Seconds of processor time of this process, where the system tells (in hundredths).
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

impl Case {
    fn new(toy: Toy) -> Self {
        // A test that failed has left nothing behind that another one uses.
        let alone = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Self {
            toy,
            training: narrow(&toy.draw(100_000, 1)),
            validation: narrow(&toy.draw(2000, 2)),
            start: Instant::now(),
            processor: processor_seconds(),
            _alone: alone,
        }
    }

    fn examples(&self) -> [Examples<'_>; 2] {
        [&self.training, &self.validation].map(|fields| Examples {
            fields,
            parameters: &[],
        })
    }

    /// Prints what was found, and holds it against the bounds.
    fn hold(&self, model: &str, samples: &[f64], log_densities: Option<Densities<'_>>) {
        let seconds = self.start.elapsed().as_secs_f64();
        let processor = processor_seconds()
            .zip(self.processor)
            .map_or(f64::NAN, |(now, then)| now - then);
        let told = c2st(&self.toy.draw(samples.len() / 2, 3), samples, 2, 4).unwrap();
        println!(
            "{model} on {:?}: {seconds:.0} s ({processor:.0} s of processor), C2ST {told:.3}",
            self.toy
        );
        if let Some(log_densities) = log_densities {
            let fresh = self.toy.draw(FRESH, 5);
            let kernel = mean(&kernel_log_density(&self.toy.draw(50_000, 6), &fresh, 2, BANDWIDTH).unwrap());
            let found = mean(&log_densities(&fresh));
            let exact: Vec<f64> = fresh
                .chunks_exact(2)
                .map(|x| self.toy.log_density([x[0], x[1]]))
                .collect();
            println!(
                "  log density {found:.3}, of the kernels {kernel:.3}, in truth {:.3}",
                mean(&exact)
            );
            assert!(
                (found - kernel).abs() <= NATS,
                "{model} on {:?}: {found} {kernel}",
                self.toy
            );
        }
        assert!(told <= C2ST, "{model} on {:?}: {told}", self.toy);
    }
}

fn perceptron(widths: &[usize]) -> ConditionedMlp<Cpu> {
    let config = ConditionedMlpConfig {
        channels: 2,
        cond_dim: 0,
        widths: widths.to_vec(),
        activation: Activation::Silu,
    };
    ConditionedMlp::new(&Cpu::default(), config, &mut stream(1, Purpose::Weights, 0)).unwrap()
}

fn trainer(steps: usize, learning_rate: f64) -> Trainer {
    Trainer {
        steps,
        batch_size: 512,
        learning_rate,
        warmup_steps: 100,
        ema_decay: 0.998,
        validate_every: Some(steps),
        ..Trainer::default()
    }
}

/// What hears of a training and says nothing.
fn quiet(_: Event<'_>) -> armilla_models::Result<()> {
    Ok(())
}

fn session(observe: &mut dyn FnMut(Event<'_>) -> armilla_models::Result<()>) -> Session<'_> {
    Session {
        seed: 1,
        keep: None,
        interrupt: None,
        observe,
    }
}

fn matched(case: &Case, matching: &Matching, widths: &[usize], steps: usize) -> ConditionedMlp<Cpu> {
    let mut network = perceptron(widths);
    let [training, validation] = case.examples();
    matching
        .train(
            &trainer(steps, 2e-3),
            &mut network,
            &Cpu::default(),
            VECTOR,
            training,
            validation,
            session(&mut quiet),
        )
        .unwrap();
    network
}

/// The log density of each point under the probability flow.
fn densities<'a>(
    predictor: &'a NetworkPredictor<'_, Cpu, ConditionedMlp<Cpu>>,
    steps: usize,
) -> impl Fn(&[f64]) -> Vec<f64> + use<'a> {
    move |x| {
        log_density(predictor, x, Trace::Exact, Method::Rk4, steps, 0)
            .unwrap()
            .values
    }
}

/// Of flow matching: the edges of the squares take longer.
fn steps(toy: Toy) -> usize {
    if toy == Toy::Checkerboard { 16_000 } else { 8000 }
}

fn flow_matching(toy: Toy) {
    let case = Case::new(toy);
    let matching = Matching::default();
    let network = matched(&case, &matching, &[128; 4], steps(toy));
    let flow =
        NetworkPredictor::new(&network, &Cpu::default(), VECTOR, matching.path, matching.target).unwrap();
    let samples = generate(&flow, 5000, Solver::Heun, 50, 1).unwrap().values;
    case.hold("flow matching", &samples, Some(&densities(&flow, 40)));
}

fn diffusion(toy: Toy) {
    let case = Case::new(toy);
    let matching = Matching {
        path: Path::VariancePreserving {
            beta_min: 0.1,
            beta_max: 20.0,
        },
        target: Target::Noise,
        ..Matching::default()
    };
    let network = matched(&case, &matching, &[128; 4], 8000);
    let predictor =
        NetworkPredictor::new(&network, &Cpu::default(), VECTOR, matching.path, matching.target).unwrap();
    let samples = generate(&predictor, 5000, Solver::Edm, 40, 1).unwrap().values;
    case.hold("diffusion", &samples, None);
}

/// A chain of a thousand levels, by all of them and by a hundred: the error of fifty steps on the cosine chain is just what a
/// classifier may tell.
fn chain(toy: Toy, schedule: Schedule) {
    let case = Case::new(toy);
    let matching = Matching {
        path: Path::Chain(Chain::new(schedule, 1000).unwrap()),
        target: Target::Noise,
        ..Matching::default()
    };
    let network = matched(&case, &matching, &[128; 4], 8000);
    let predictor =
        NetworkPredictor::new(&network, &Cpu::default(), VECTOR, matching.path, matching.target).unwrap();
    // Near the noise data are what a small number divides: without a range, few steps do not forget that.
    let predictor = Clipped::new(&predictor, RANGE);
    for (name, solver, steps) in [
        ("DDIM", Solver::Ddim { eta: 0.0 }, 100),
        ("DDPM", Solver::Ddpm, 1000),
    ] {
        let samples = generate(&predictor, 5000, solver, steps, 1).unwrap().values;
        case.hold(&format!("{name}, {schedule:?}"), &samples, None);
    }
}

fn linear_chain(toy: Toy) {
    chain(toy, Schedule::default());
}

fn cosine_chain(toy: Toy) {
    chain(toy, Schedule::Cosine);
}

fn spline(toy: Toy) {
    let case = Case::new(toy);
    let config = FlowConfig::Spline(SplineConfig {
        layers: 8,
        bins: 16,
        mixing: true,
        ..SplineConfig::default()
    });
    let mut flow = NormalizingFlow::new(&Cpu::default(), config, 1).unwrap();
    let [training, validation] = case.examples();
    MaximumLikelihood::default()
        .train(
            &trainer(4000, 2e-3),
            &mut flow,
            training,
            validation,
            session(&mut quiet),
        )
        .unwrap();
    let samples: Vec<f64> = flow
        .sample(5000, None, 1)
        .unwrap()
        .into_iter()
        .map(f64::from)
        .collect();
    let densities = |x: &[f64]| flow.log_density(&narrow(x), None).unwrap();
    case.hold("spline flow", &samples, Some(&densities));
}

/// FFJORD goes on from a network that flow matching has trained: from a random one, the time is too short.
fn ffjord(toy: Toy) {
    let case = Case::new(toy);
    let mut network = matched(&case, &Matching::default(), &[64; 4], steps(toy));
    let [training, validation] = case.examples();
    let likelihood = Ffjord {
        steps: 8,
        kinetic: 0.0,
        jacobian: 0.0,
        ..Ffjord::default()
    };
    let settings = Trainer {
        batch_size: 256,
        warmup_steps: 20,
        ema_decay: 0.95,
        ..trainer(if toy == Toy::Checkerboard { 250 } else { 150 }, 1e-3)
    };
    likelihood
        .train(
            &settings,
            &mut network,
            &Cpu::default(),
            VECTOR,
            training,
            validation,
            session(&mut quiet),
        )
        .unwrap();
    let flow =
        NetworkPredictor::new(&network, &Cpu::default(), VECTOR, Path::Linear, Target::Velocity).unwrap();
    let samples = generate(&flow, 5000, Solver::Rk4, 40, 1).unwrap().values;
    case.hold("FFJORD", &samples, Some(&densities(&flow, 40)));
}

macro_rules! known_answers {
    ($($name:ident = $model:ident($toy:ident);)*) => {$(
        #[test]
        #[ignore = "trains for a minute or two"]
        fn $name() {
            $model(Toy::$toy);
        }
    )*};
}

known_answers! {
    known_answers_of_flow_matching_on_two_moons = flow_matching(TwoMoons);
    known_answers_of_flow_matching_on_eight_gaussians = flow_matching(EightGaussians);
    known_answers_of_flow_matching_on_a_checkerboard = flow_matching(Checkerboard);
    known_answers_of_flow_matching_on_a_swiss_roll = flow_matching(SwissRoll);
    known_answers_of_diffusion_on_two_moons = diffusion(TwoMoons);
    known_answers_of_diffusion_on_eight_gaussians = diffusion(EightGaussians);
    known_answers_of_diffusion_on_a_checkerboard = diffusion(Checkerboard);
    known_answers_of_diffusion_on_a_swiss_roll = diffusion(SwissRoll);
    known_answers_of_a_linear_chain_on_two_moons = linear_chain(TwoMoons);
    known_answers_of_a_cosine_chain_on_eight_gaussians = cosine_chain(EightGaussians);
    known_answers_of_a_spline_flow_on_two_moons = spline(TwoMoons);
    known_answers_of_a_spline_flow_on_eight_gaussians = spline(EightGaussians);
    known_answers_of_a_spline_flow_on_a_checkerboard = spline(Checkerboard);
    known_answers_of_a_spline_flow_on_a_swiss_roll = spline(SwissRoll);
    known_answers_of_ffjord_on_two_moons = ffjord(TwoMoons);
    known_answers_of_ffjord_on_eight_gaussians = ffjord(EightGaussians);
    known_answers_of_ffjord_on_a_checkerboard = ffjord(Checkerboard);
    known_answers_of_ffjord_on_a_swiss_roll = ffjord(SwissRoll);
}

/// A Gaussian latent: independent coefficients of cosines along channels, depth, height and width.
const LATENT: [usize; 4] = [16, 4, 6, 6];
const LATENT_LEN: usize = 16 * 4 * 6 * 6;

/// The variance of the coefficient with these frequencies: smooth in space, channels from 2 to 1/2; 1 in the mean.
fn latent_variances() -> Vec<f64> {
    let mut variances: Vec<f64> = (0..LATENT_LEN)
        .map(|i| {
            let [c, z, y, x] = frequencies(i).map(|k| k as f64);
            4f64.powf(0.5 - c / 15.0) / (1.0 + (z * z + y * y + x * x) / 16.0)
        })
        .collect();
    let scale = 1.0 / mean(&variances);
    variances.iter_mut().for_each(|v| *v *= scale);
    variances
}

fn frequencies(i: usize) -> [usize; 4] {
    let [_, depth, height, width] = LATENT;
    [
        i / (depth * height * width),
        i / (height * width) % depth,
        i / width % height,
        i % width,
    ]
}

/// The orthonormal cosine transform along every axis; `back` goes from coefficients to values.
fn cosines(values: &mut Vec<f64>, back: bool) {
    let mut stride = LATENT_LEN;
    for n in LATENT {
        stride /= n;
        let basis = |k: usize, i: usize| {
            let norm = if k == 0 { 1.0 } else { 2.0 } / n as f64;
            norm.sqrt() * (std::f64::consts::PI * k as f64 * (i as f64 + 0.5) / n as f64).cos()
        };
        let matrix: Vec<f64> = (0..n * n)
            .map(|e| {
                if back {
                    basis(e % n, e / n)
                } else {
                    basis(e / n, e % n)
                }
            })
            .collect();
        let old = std::mem::take(values);
        values.extend((0..old.len()).map(|place| {
            let row = place / stride % n;
            let first = place - row * stride;
            (0..n)
                .map(|i| matrix[row * n + i] * old[first + i * stride])
                .sum::<f64>()
        }));
    }
}

fn latents(count: usize, seed: u64) -> Vec<f32> {
    let deviations: Vec<f64> = latent_variances().iter().map(|v| v.sqrt()).collect();
    let mut stream = stream(seed, Purpose::Simulation, 0);
    let mut all = Vec::with_capacity(count * LATENT_LEN);
    for _ in 0..count {
        let draw = |sd: &f64| {
            let z: f64 = StandardNormal.sample(&mut stream);
            sd * z
        };
        let mut values = deviations.iter().map(draw).collect();
        cosines(&mut values, true);
        all.extend(narrow(&values));
    }
    all
}

/// Variances over the true ones, in groups: 16 channels, and 6 shells of spatial frequency.
fn latent_spectrum(samples: &[f64]) -> Vec<f64> {
    let truth = latent_variances();
    let mut sums = [[0.0; 2]; 22];
    for sample in samples.chunks_exact(LATENT_LEN) {
        let mut coefficients = sample.to_vec();
        cosines(&mut coefficients, false);
        for (i, (x, v)) in coefficients.iter().zip(&truth).enumerate() {
            let [c, space @ ..] = frequencies(i);
            let shell = space.iter().map(|k| (k * k) as f64).sum::<f64>().sqrt() as usize;
            for group in [c, 16 + shell.min(5)] {
                sums[group][0] += x * x / v;
                sums[group][1] += 1.0;
            }
        }
    }
    sums.iter().map(|[sum, count]| sum / count).collect()
}

#[test]
fn known_answers_of_a_latent_are_in_its_draws() {
    let draws: Vec<f64> = latents(200, 3).into_iter().map(f64::from).collect();
    // Five standard errors of the group of fewest, one coefficient of space in 16 channels.
    let bound = 5.0 * (2.0 / (200.0 * 16.0f64)).sqrt();
    for ratio in latent_spectrum(&draws) {
        assert!((ratio - 1.0).abs() < bound, "{ratio}");
    }
}

#[test]
#[ignore = "trains for some minutes"]
fn known_answers_of_flow_matching_on_a_latent() {
    let _alone = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let start = Instant::now();
    let device = Cpu::default();
    let config = LatentVelocityConfig {
        in_channels: LATENT[0],
        base_channels: 64,
        time_dim: 64,
        num_res_blocks: 2,
    };
    let mut network =
        LatentVelocityEstimator::new(&device, config, &mut stream(1, Purpose::Weights, 0)).unwrap();
    let (training, validation) = (latents(4000, 1), latents(100, 2));
    let examples = [&training, &validation].map(|fields| Examples {
        fields,
        parameters: &[],
    });
    let settings = Trainer {
        steps: 3600,
        batch_size: 32,
        learning_rate: 2e-3,
        ema_decay: 0.995,
        validate_every: Some(200),
        ..Trainer::default()
    };
    let extent = [LATENT[1], LATENT[2], LATENT[3]];
    let matching = Matching::default();
    matching
        .train(
            &settings,
            &mut network,
            &device,
            extent,
            examples[0],
            examples[1],
            session(&mut quiet),
        )
        .unwrap();
    let flow = NetworkPredictor::new(&network, &device, extent, matching.path, matching.target).unwrap();
    let samples = generate(&flow, 256, Solver::Heun, 20, 1).unwrap().values;
    let spectrum = latent_spectrum(&samples);
    println!(
        "latent: {:.0} s, spectrum {spectrum:.3?}",
        start.elapsed().as_secs_f64()
    );
    for ratio in spectrum {
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
    }
}
