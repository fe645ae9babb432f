//! Likelihoods of velocity fields against distributions whose answers are known, and networks as a whole.

use armilla_models::{
    Cpu, Result, checkpoint,
    flow_matching::{Examples, FlowMatching, Refine, generate},
    likelihoods::{EvidenceBound, Reconstruction},
    path::{Time, TimeDistribution},
    train::{Epoch, Event, Session, Trainer},
    velocity::{Coefficients, Pullback, VelocityBasis, VelocityConfig, VelocityNetwork},
    weights::Weights,
};
use armilla_samplers::{
    DifferentiableLikelihood, EvalError, Likelihood,
    rng::{Purpose, stream},
};
use rand_distr::{Distribution, StandardNormal};

/// The true velocity field of independent pixels x0 ~ N(m, s²), θ = (m, s): linear in x_t.
#[derive(Clone, Copy)]
struct GaussianPixels {
    len: usize,
}

impl GaussianPixels {
    /// `u = a x_t/σ + b` for the conditional means of x0 and x1 given x_t.
    fn pair(time: Time, m: f64, s: f64) -> [f64; 2] {
        let (t, r) = (time.t, 1.0 - time.t);
        let variance = r * r * s * s + t * t;
        let a = t * r * (1.0 - s * s) / variance;
        [a, (-a * r * m - t * m) / time.scale]
    }
}

impl VelocityBasis for GaussianPixels {
    type Coefficients = Self;
    fn field_len(&self) -> usize {
        self.len
    }
    fn basis(&self, x: Vec<f32>, _: &[Time]) -> Result<Vec<f32>> {
        Ok(x.chunks_exact(self.len)
            .flat_map(|x| x.iter().copied().chain(vec![1.0; x.len()]))
            .collect())
    }
    fn coefficients(&self) -> Self {
        *self
    }
    fn log_snr_range(&self) -> [f64; 2] {
        TimeDistribution::default().range
    }
}

impl Coefficients for GaussianPixels {
    fn dim(&self) -> usize {
        2
    }
    fn len(&self) -> usize {
        2
    }
    fn covers(&self, theta: &[f64]) -> bool {
        theta[1] > 0.0
    }
    fn at(&self, times: &[Time], theta: &[f64]) -> Vec<f64> {
        times
            .iter()
            .flat_map(|t| Self::pair(*t, theta[0], theta[1]))
            .collect()
    }
    fn at_with_pullback(&self, times: &[Time], theta: &[f64]) -> (Vec<f64>, Pullback<'_>) {
        let (times, theta) = (times.to_vec(), theta.to_vec());
        let c = self.at(&times, &theta);
        let pullback = move |dc: Vec<f64>| {
            let along = |i: usize| {
                let h = 1e-5;
                let (mut up, mut down) = (theta.clone(), theta.clone());
                up[i] += h;
                down[i] -= h;
                let (up, down) = (self.at(&times, &up), self.at(&times, &down));
                up.iter()
                    .zip(down)
                    .zip(&dc)
                    .map(|((u, d), dc)| (u - d) / (2.0 * h) * dc)
                    .sum()
            };
            vec![along(0), along(1)]
        };
        (c, Box::new(pullback))
    }
}

fn normal(count: usize, mean: f64, sd: f64, seed: u64) -> Vec<f32> {
    let mut stream = stream(seed, Purpose::Simulation, 0);
    (0..count)
        .map(|_| (mean + sd * Distribution::<f64>::sample(&StandardNormal, &mut stream)) as f32)
        .collect()
}

fn exact(x: &[f32], theta: &[f64]) -> f64 {
    let [m, s] = [theta[0], theta[1]];
    let one =
        |x: &f32| -0.5 * ((f64::from(*x) - m) / s).powi(2) - s.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln();
    x.iter().map(one).sum()
}

/// What the ends of the range of λ cost at most, in nats for each pixel: ½ e^−9 (1/s² + x² + s²), s near one.
const ENDS: f64 = 3e-4;

#[test]
fn the_bound_is_the_log_likelihood_where_the_velocity_is_true() {
    let network = GaussianPixels { len: 64 };
    let mut z = Vec::new();
    for seed in 0..20 {
        let x = normal(64, 0.3, 0.8, seed);
        let bound = EvidenceBound {
            times: 96,
            noises: 16,
            key: seed,
        }
        .observe(&network, &x)
        .unwrap();
        let (a, b) = ([0.3, 0.8], [0.1, 1.05]);
        for theta in [a, b] {
            let error = bound.log_likelihood(&theta).unwrap() - exact(&x, &theta);
            let se = bound.standard_error(&theta).unwrap().unwrap();
            assert!(
                error.abs() < 5.0 * se + ENDS * 64.0,
                "seed {seed}, {theta:?}: {error} with error {se}"
            );
            z.push(error / se);
        }
        // Differences between parameters, which make the posterior, are known much better than values.
        let difference = bound.log_likelihood(&a).unwrap() - bound.log_likelihood(&b).unwrap();
        let se = bound.standard_error_of_difference(&a, &b).unwrap().unwrap();
        let truth = exact(&x, &a) - exact(&x, &b);
        assert!(
            (difference - truth).abs() < 5.0 * se + 2.0 * ENDS * 64.0,
            "seed {seed}: {difference} {truth} {se}"
        );
        assert!(se < 0.5 * bound.standard_error(&a).unwrap().unwrap());
    }
    // The standard error is one: over seeds, errors have about its size.
    let rms = (z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64).sqrt();
    assert!(
        (0.6..1.5).contains(&rms),
        "root mean square of error over standard error: {rms}"
    );
}

#[test]
fn a_false_velocity_bounds_from_below() {
    // The velocity of N(0.3, 0.8²) read at other parameters than the data's: never above the truth's maximum.
    struct Wrong(GaussianPixels);
    impl VelocityBasis for Wrong {
        type Coefficients = GaussianPixels;
        fn field_len(&self) -> usize {
            self.0.len
        }
        fn basis(&self, x: Vec<f32>, times: &[Time]) -> Result<Vec<f32>> {
            // A network that errs: it scales what it sees.
            self.0.basis(x.iter().map(|x| 0.7 * x).collect(), times)
        }
        fn coefficients(&self) -> GaussianPixels {
            self.0
        }
        fn log_snr_range(&self) -> [f64; 2] {
            self.0.log_snr_range()
        }
    }
    // On average over data; a single value may be lucky.
    let mut gap = 0.0;
    for seed in 0..10 {
        let x = normal(64, 0.3, 0.8, seed);
        let bound = EvidenceBound {
            times: 96,
            noises: 8,
            key: seed,
        }
        .observe(&Wrong(GaussianPixels { len: 64 }), &x);
        gap += exact(&x, &[0.3, 0.8]) - bound.unwrap().log_likelihood(&[0.3, 0.8]).unwrap();
    }
    assert!(gap / 10.0 > 0.5, "a false velocity costs {} nats", gap / 10.0);
}

#[test]
fn keys_fix_the_noise_and_the_score_has_a_temperature() {
    let network = GaussianPixels { len: 16 };
    let x = normal(16, 0.0, 1.0, 3);
    let at = |key| {
        let bound = EvidenceBound {
            times: 16,
            noises: 2,
            key,
        }
        .observe(&network, &x)
        .unwrap();
        bound.log_likelihood(&[0.1, 0.9]).unwrap()
    };
    assert_eq!(at(1).to_bits(), at(1).to_bits());
    assert_ne!(at(1), at(2));
    let score = |temperature| {
        let score = Reconstruction {
            temperature,
            ..Reconstruction::default()
        }
        .observe(&network, &x)
        .unwrap();
        score.log_likelihood(&[0.1, 0.9]).unwrap() - score.log_likelihood(&[0.5, 1.3]).unwrap()
    };
    assert!((score(1.0) - 10.0 * score(10.0)).abs() < 1e-9);
    assert!(
        Reconstruction {
            temperature: 0.0,
            ..Reconstruction::default()
        }
        .observe(&network, &x)
        .is_err()
    );
    assert!(
        Reconstruction {
            times: vec![1.0],
            ..Reconstruction::default()
        }
        .observe(&network, &x)
        .is_err()
    );
}

/// The reconstruction score of the true velocity, by hand: E‖v − v̂‖² is the conditional variance of v.
#[test]
fn the_score_is_the_mean_squared_velocity_error() {
    let network = GaussianPixels { len: 4096 };
    let (m, s) = (0.2, 1.4);
    let x = normal(4096, m, s, 5);
    let score = Reconstruction {
        noises: 8,
        ..Reconstruction::default()
    }
    .observe(&network, &x)
    .unwrap();
    let times = [0.1f64, 0.3, 0.5, 0.7, 0.9];
    // Var(x1 − x0 | x_t) = s²/((1−t)² s² + t²).
    let expected = times
        .iter()
        .map(|t| s * s / ((1.0 - t).powi(2) * s * s + t * t))
        .sum::<f64>()
        / 5.0
        * 4096.0;
    let value = -score.log_likelihood(&[m, s]).unwrap();
    // Sampling of 4096 pixels: each time's error has a relative spread of √(2/4096) at most.
    assert!(
        (value / expected - 1.0).abs() < 5.0 * (2.0f64 / 4096.0).sqrt(),
        "{value} {expected}"
    );
}

#[test]
fn generated_fields_have_the_moments_of_the_data() {
    let network = GaussianPixels { len: 4096 };
    let x = generate(&network, &[0.3, 1.3], 2, 40, 1).unwrap();
    let n = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let sd = (x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n).sqrt();
    // Five standard errors of 8192 pixels, and Heun's error in 40 steps.
    assert!((mean - 0.3).abs() < 5.0 * 1.3 / n.sqrt() + 2e-3, "{mean}");
    assert!((sd - 1.3).abs() < 5.0 * 1.3 / (2.0 * n).sqrt() + 5e-3, "{sd}");
    assert!(generate(&network, &[0.3], 1, 10, 1).is_err());
}

const BOUNDS: [[f64; 2]; 2] = [[-1.0, 1.0], [0.5, 1.5]];

fn small() -> VelocityConfig {
    let mut config = VelocityConfig::default();
    config.unet.channels = vec![4, 8];
    config.unet.outputs = 6;
    config.unet.time_dim = 16;
    config.coefficient_widths = vec![16];
    config
}

/// 8 × 8 fields of independent pixels N(m, s²), (m, s) uniform in the bounds.
fn examples(count: usize, seed: u64) -> (Vec<f32>, Vec<f64>) {
    use rand::RngExt;
    let mut draws = stream(seed, Purpose::Simulation, 1);
    let (mut fields, mut parameters) = (Vec::new(), Vec::new());
    for i in 0..count {
        let theta = BOUNDS.map(|[low, high]| low + (high - low) * draws.random::<f64>());
        fields.extend(normal(64, theta[0], theta[1], seed * 100_000 + i as u64));
        parameters.extend(theta);
    }
    (fields, parameters)
}

fn settings(steps: usize) -> (FlowMatching, Trainer) {
    let refine = Refine {
        draws: 2,
        steps: 4 * steps,
        batch_size: 128,
        learning_rate: 5e-3,
    };
    let flow = FlowMatching {
        refine,
        ..FlowMatching::default()
    };
    let trainer = Trainer {
        steps,
        batch_size: 32,
        ..Trainer::default()
    };
    (flow, trainer)
}

/// Trains and returns the history.
fn train(
    (flow, trainer): (FlowMatching, Trainer),
    network: &mut VelocityNetwork<Cpu>,
    training: Examples<'_>,
    validation: Examples<'_>,
    seed: u64,
    observe: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<Vec<Epoch>> {
    let session = Session {
        seed,
        keep: None,
        interrupt: None,
        observe,
    };
    let training = flow.train(&trainer, network, training, validation, session)?;
    Ok(training.state.history().to_vec())
}

fn trained(steps: usize, count: usize) -> VelocityNetwork<Cpu> {
    let (fields, parameters) = examples(count, 1);
    let (other_fields, other_parameters) = examples(64, 2);
    let mut network = VelocityNetwork::new(&Cpu::default(), small(), 8, &BOUNDS, 7).unwrap();
    let history = train(
        settings(steps),
        &mut network,
        Examples {
            fields: &fields,
            parameters: &parameters,
        },
        Examples {
            fields: &other_fields,
            parameters: &other_parameters,
        },
        3,
        &mut |_| Ok(()),
    )
    .unwrap();
    assert!(
        history
            .iter()
            .all(|e| e.train_loss.is_finite() && e.validation_loss.is_finite())
    );
    assert!(history.len() >= 2 && history.last().unwrap().validation_loss < history[0].validation_loss);
    network
}

/// A trained network, not the true velocity: the maximum and curvature of its bound against the exact ones.
#[test]
fn a_trained_network_finds_mean_and_spread() {
    let network = trained(200, 3000);
    let mut bias = Vec::new();
    for seed in 50..58 {
        let x = normal(64, 0.2, 1.1, seed);
        let bound = EvidenceBound {
            times: 48,
            noises: 8,
            key: seed,
        }
        .observe(&network, &x)
        .unwrap();
        // Posterior mean and sd on a grid, for both.
        let moments = |f: &dyn Fn(&[f64]) -> f64| {
            let points: Vec<[f64; 2]> = (0..900)
                .map(|i| [-0.98 + (i / 30) as f64 / 15.0, 0.52 + (i % 30) as f64 / 30.0])
                .collect();
            let l: Vec<f64> = points.iter().map(|p| f(p)).collect();
            let top = l.iter().copied().fold(f64::MIN, f64::max);
            let w: Vec<f64> = l.iter().map(|l| (l - top).exp()).collect();
            let total: f64 = w.iter().sum();
            [0, 1].map(|i| {
                let mean = w.iter().zip(&points).map(|(w, p)| w * p[i]).sum::<f64>() / total;
                let var = w
                    .iter()
                    .zip(&points)
                    .map(|(w, p)| w * (p[i] - mean).powi(2))
                    .sum::<f64>()
                    / total;
                [mean, var.sqrt()]
            })
        };
        let (a, b) = (
            moments(&|t| bound.log_likelihood(t).unwrap()),
            moments(&|t| exact(&x, t)),
        );
        for (a, b) in a.iter().zip(b) {
            bias.push(((a[0] - b[0]) / b[1]).abs());
            assert!(
                (0.5..2.0).contains(&(a[1] / b[1])),
                "seed {seed}: sd {} for {}",
                a[1],
                b[1]
            );
        }
    }
    bias.sort_by(f64::total_cmp);
    assert!(
        bias[bias.len() / 2] < 0.5,
        "median bias of the posterior mean {} sd",
        bias[bias.len() / 2]
    );
}

#[test]
fn the_gradient_of_a_network_meets_finite_differences() {
    let network = VelocityNetwork::new(&Cpu::default(), small(), 8, &BOUNDS, 7).unwrap();
    let x = normal(64, 0.0, 1.0, 1);
    let bound = EvidenceBound {
        times: 12,
        noises: 1,
        key: 4,
    }
    .observe(&network, &x)
    .unwrap();
    let theta = [0.25, 0.9];
    let mut gradient = [0.0; 2];
    let value = bound.value_and_gradient(&theta, &mut gradient).unwrap();
    assert_eq!(value.to_bits(), bound.log_likelihood(&theta).unwrap().to_bits());
    for i in 0..2 {
        let h = 1e-5;
        let at = |delta: f64| {
            let mut theta = theta;
            theta[i] += delta;
            bound.log_likelihood(&theta).unwrap()
        };
        let numeric = (at(h) - at(-h)) / (2.0 * h);
        assert!(
            (gradient[i] - numeric).abs() < 1e-6 * (1.0 + numeric.abs()),
            "{} {numeric}",
            gradient[i]
        );
    }
    assert!(matches!(
        bound.log_likelihood(&[2.0, 0.9]),
        Err(EvalError::Recoverable(_))
    ));
    assert!(matches!(bound.log_likelihood(&[0.2]), Err(EvalError::Fatal(_))));
    assert!(bound.standard_error(&theta).unwrap().is_none());
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_training() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| trained(60, 200).weights())
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn checkpoints_come_back_to_the_bit_and_bad_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    let network = VelocityNetwork::new(&Cpu::default(), small(), 8, &BOUNDS, 7).unwrap();
    checkpoint::save(&path, &network.weights()).unwrap();
    let mut other = VelocityNetwork::new(&Cpu::default(), small(), 8, &BOUNDS, 8).unwrap();
    assert_ne!(other.weights(), network.weights());
    other.load(&checkpoint::load(&path).unwrap()).unwrap();
    assert_eq!(other.weights(), network.weights());

    let mut wide = small();
    wide.unet.channels = vec![8, 8];
    let mut wide = VelocityNetwork::new(&Cpu::default(), wide, 8, &BOUNDS, 8).unwrap();
    let error = wide
        .load(&checkpoint::load(&path).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("unet.") && error.contains("shape"), "{error}");
    assert!(
        wide.load(&Weights::default())
            .unwrap_err()
            .to_string()
            .contains("missing")
    );

    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 4, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = checkpoint::load(&path).unwrap_err().to_string();
        assert!(error.contains("best.safetensors"), "{error}");
    }
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "a partial file was left: {names:?}");
}

#[test]
fn an_observer_can_end_a_training_and_settings_are_checked() {
    let (fields, parameters) = examples(40, 1);
    let all = Examples {
        fields: &fields,
        parameters: &parameters,
    };
    let mut network = VelocityNetwork::new(&Cpu::default(), small(), 8, &BOUNDS, 7).unwrap();
    let mut seen = 0;
    let mut observe = |event: Event<'_>| match event {
        Event::Step { step: 3, .. } => Err(armilla_models::ModelError::Invalid("enough".into())),
        _ => {
            seen += 1;
            Ok(())
        }
    };
    let ended = train(settings(50), &mut network, all, all, 1, &mut observe);
    assert_eq!(ended.unwrap_err().to_string(), "enough");
    // The beginning and two steps.
    assert_eq!(seen, 3);
    let (flow, trainer) = settings(5);
    let refine = |learning_rate| FlowMatching {
        refine: Refine {
            learning_rate,
            ..Refine::default()
        },
        ..flow
    };
    let too_many = Trainer {
        batch_size: usize::MAX,
        ..trainer
    };
    // The last is legal, but far too fast: the loss leaves the finite numbers, and it says so.
    for settings in [
        (flow, too_many),
        (refine(f64::NAN), trainer),
        (refine(1e30), trainer),
    ] {
        assert!(
            train(settings, &mut network, all, all, 1, &mut |_| Ok(())).is_err(),
            "{settings:?}"
        );
    }
    let none = Examples {
        fields: &Vec::new(),
        parameters: &[],
    };
    assert!(train(settings(5), &mut network, all, none, 1, &mut |_| Ok(())).is_err());
    let short = Examples {
        fields: &fields[..64].to_vec(),
        parameters: &parameters,
    };
    assert!(train(settings(5), &mut network, short, all, 1, &mut |_| Ok(())).is_err());
}

#[test]
fn networks_that_cannot_be_are_refused() {
    let new = |config: VelocityConfig, side, bounds: &[[f64; 2]]| {
        VelocityNetwork::new(&Cpu::default(), config, side, bounds, 1)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(new(small(), 9, &BOUNDS).contains("multiple of 2"));
    assert!(new(small(), 8, &[]).contains("bounds"));
    assert!(new(small(), 8, &[[1.0, 1.0]]).contains("bounds"));
    let mut empty = small();
    empty.unet.channels.clear();
    assert!(new(empty, 8, &BOUNDS).contains("channels"));
    let mut huge = small();
    huge.unet.channels = vec![usize::MAX];
    assert!(new(huge, 8, &BOUNDS).contains("4096"));
    let mut endless = small();
    endless.times.range = [-9.0, f64::INFINITY];
    assert!(new(endless, 8, &BOUNDS).contains("finite range"));
    let mut nowhere = small();
    nowhere.times.range = [1000.0, 2000.0];
    assert!(new(nowhere, 8, &BOUNDS).contains("around the centre"));
}
