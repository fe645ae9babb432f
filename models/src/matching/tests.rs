use std::sync::atomic::{AtomicBool, Ordering};

use dfdx::tensor::Cpu;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::{
    Module,
    nets::{ConditionedMlp, ConditionedMlpConfig, SimpleUnet, SimpleUnetConfig},
    ops::Activation,
    path::{Chain, Point, Schedule as Noise},
    predictor::{NetworkPredictor, Predictor},
    train::{Event, Keep},
};

const VP: Path = Path::VariancePreserving {
    beta_min: 0.1,
    beta_max: 20.0,
};

fn quiet(_: Event<'_>) -> Result<()> {
    Ok(())
}

fn mlp(channels: usize, cond_dim: usize, width: usize) -> ConditionedMlp<Cpu> {
    let config = ConditionedMlpConfig {
        channels,
        cond_dim,
        widths: vec![width; 2],
        activation: Activation::Silu,
    };
    ConditionedMlp::new(&Cpu::default(), config, &mut stream(3, Purpose::Weights, 0)).unwrap()
}

fn normals(count: usize, seed: u64) -> Vec<f32> {
    let mut stream = stream(seed, Purpose::Simulation, 0);
    (0..count).map(|_| StandardNormal.sample(&mut stream)).collect()
}

fn trainer(steps: usize) -> Trainer {
    Trainer {
        steps,
        batch_size: 128,
        learning_rate: 2e-2,
        ema_decay: 0.99,
        validate_every: Some(steps),
        ..Trainer::default()
    }
}

fn train(
    matching: &Matching,
    trainer: &Trainer,
    network: &mut ConditionedMlp<Cpu>,
    fields: &Vec<f32>,
    parameters: &[f64],
) -> f64 {
    let examples = Examples { fields, parameters };
    let mut observe = quiet;
    let session = Session {
        seed: 5,
        keep: None,
        interrupt: None,
        observe: &mut observe,
    };
    let training = matching
        .train(
            trainer,
            network,
            &Cpu::default(),
            [1; 3],
            examples,
            examples,
            session,
        )
        .unwrap();
    training.state.history().last().unwrap().validation_loss
}

/// E[x0 | x_t] for data from a mixture of normals: (share, mean, variance) of each.
fn data_given(p: &Point, x: f64, mixture: &[[f64; 3]]) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for [share, mean, variance] in mixture {
        let here = (p.alpha * p.alpha * variance) + p.sigma * p.sigma;
        let off = x - p.alpha * mean;
        let density = share * (-0.5 * off * off / here).exp() / here.sqrt();
        sum += density * (mean + p.alpha * variance / here * off);
        total += density;
    }
    sum / total
}

/// Root mean square of what is wrong with a prediction, over points of the path, in units of the target's.
fn wrong(predictor: &impl Predictor, mixture: &[[f64; 3]]) -> f64 {
    let (mut wrong, mut size) = (0.0, 0.0);
    for t in [0.2, 0.35, 0.5, 0.65, 0.8] {
        let p = predictor.path().at(t);
        let mut xs = Vec::new();
        // The mean square of what is to be predicted: A x0 + B x1.
        let [a, b] = [[1.0, 0.0], [0.0, 1.0]].map(|[x0, x1]| p.target(predictor.target(), x0, x1));
        let data: f64 = mixture
            .iter()
            .map(|[share, mean, v]| share * (mean * mean + v))
            .sum();
        let square = a * a * data + b * b;
        for [_, mean, variance] in mixture {
            let sd = (p.alpha * p.alpha * variance + p.sigma * p.sigma).sqrt();
            xs.extend([-1.2, -0.4, 0.4, 1.2].map(|z| p.alpha * mean + z * sd));
        }
        let n = predictor.numbers();
        let rows: Vec<f64> = xs.iter().flat_map(|x| vec![*x; n]).collect();
        let found = predictor.predict(&rows, t).unwrap();
        for (x, found) in rows.iter().zip(found) {
            let [a, b] = p.conversion(Target::Data, predictor.target());
            let wanted = a * x + b * data_given(&p, *x, mixture);
            // A score is as large as 1/σ: what counts is the noise.
            let unit = match predictor.target() {
                Target::Score => p.sigma,
                _ => 1.0,
            };
            wrong += (unit * (found - wanted)).powi(2);
            size += unit * unit * square;
        }
    }
    (wrong / size).sqrt()
}

/// What a perceptron of two layers has still to learn after some thousand steps; most of it is in rare places.
const LEARNT: f64 = 0.1;

#[test]
fn gaussian_data_teach_what_is_known_of_them() {
    // Data N(0.5, 0.6²) in one dimension and two.
    let mixture = [[1.0, 0.5, 0.36]];
    let chain = Path::Chain(Chain::new(Noise::default(), 1000).unwrap());
    let exploding = Path::VarianceExploding {
        sigma_min: 0.05,
        sigma_max: 10.0,
    };
    let sub = Path::SubVariancePreserving {
        beta_min: 0.1,
        beta_max: 20.0,
    };
    let min_snr = Weighting::MinSnr { gamma: 5.0 };
    let logit = TimeSampling::LogitNormal { mean: 0.0, sd: 1.0 };
    for (path, target, weighting, times, channels) in [
        (
            Path::Linear,
            Target::Velocity,
            Weighting::Uniform,
            TimeSampling::Uniform,
            1,
        ),
        (Path::Linear, Target::Velocity, Weighting::Uniform, logit, 2),
        (
            Path::Trigonometric,
            Target::Data,
            Weighting::Uniform,
            TimeSampling::Uniform,
            1,
        ),
        (
            chain.clone(),
            Target::Noise,
            Weighting::Uniform,
            TimeSampling::Uniform,
            1,
        ),
        (chain, Target::V, min_snr, TimeSampling::Importance, 1),
        (
            VP,
            Target::Noise,
            Weighting::EvidenceBound,
            TimeSampling::Importance,
            2,
        ),
        (sub, Target::V, Weighting::Uniform, TimeSampling::Uniform, 1),
        (
            exploding,
            Target::Noise,
            Weighting::Uniform,
            TimeSampling::Uniform,
            1,
        ),
        (VP, Target::Score, Weighting::Uniform, TimeSampling::Uniform, 1),
    ] {
        let matching = Matching {
            path,
            target,
            weighting,
            times,
            ..Matching::default()
        };
        let data: Vec<f32> = normals(1 << 16, 1).iter().map(|z| 0.5 + 0.6 * z).collect();
        let mut network = mlp(channels, 0, 32);
        train(&matching, &trainer(1500), &mut network, &data, &[]);
        let device = Cpu::default();
        let predictor =
            NetworkPredictor::new(&network, &device, [1; 3], matching.path.clone(), target).unwrap();
        let wrong = wrong(&predictor, &mixture);
        assert!(
            wrong < LEARNT,
            "{target:?} {weighting:?} {times:?} {channels}: {wrong}"
        );
    }
}

#[test]
fn a_network_that_saw_the_null_knows_conditional_and_marginal() {
    let n = 1 << 16;
    let parameters: Vec<f64> = (0..n).map(|i| (i % 2) as f64).collect();
    let data: Vec<f32> = (normals(n, 2).iter().zip(&parameters))
        .map(|(z, c)| 2.0 * *c as f32 - 1.0 + 0.5 * z)
        .collect();
    let mut network = mlp(1, 2, 32);
    let flow = Matching {
        unconditional: 0.3,
        ..Matching::default()
    };
    train(&flow, &trainer(3000), &mut network, &data, &parameters);
    let device = Cpu::default();
    let predictor =
        || NetworkPredictor::new(&network, &device, [1; 3], flow.path.clone(), flow.target).unwrap();
    let modes = [[0.5, -1.0, 0.25], [0.5, 1.0, 0.25]];
    for (c, mode) in [0.0, 1.0].into_iter().zip(modes) {
        let wrong = wrong(&predictor().given(&[c]).unwrap(), &[mode]);
        assert!(wrong < LEARNT, "given {c}: {wrong}");
    }
    let wrong = wrong(&predictor(), &modes);
    assert!(wrong < LEARNT, "marginal: {wrong}");
    // Guided: (1 + w) p(x | c) − w p(x).
    let x = [0.3];
    let of = |p: NetworkPredictor<_, _>| p.predict(&x, 0.4).unwrap()[0];
    let (given, none) = (of(predictor().given(&[1.0]).unwrap()), of(predictor()));
    let guided = of(predictor().given(&[1.0]).unwrap().guided(2.0));
    assert!((guided - (3.0 * given - 2.0 * none)).abs() < 1e-5);
    let more = Matching {
        unconditional: 1.0,
        ..flow.clone()
    };
    assert!(more.check().is_err());
    let examples = Examples {
        fields: &data,
        parameters: &parameters,
    };
    let wrong = Drawing::new(&flow, &mlp(1, 1, 4), [1; 3], ("training", examples), None);
    assert!(wrong.err().unwrap().to_string().contains("null"));
}

fn drawing<'a>(matching: &Matching, network: &ConditionedMlp<Cpu>, fields: &'a Vec<f32>) -> Drawing<'a> {
    let examples = Examples {
        fields,
        parameters: &[],
    };
    Drawing::new(matching, network, [1; 3], ("training", examples), None).unwrap()
}

#[test]
fn the_bound_is_the_same_for_every_target() {
    let data = normals(600, 3);
    let picks: Vec<usize> = (0..300).collect();
    let mut losses = Vec::new();
    for target in [
        Target::Noise,
        Target::Data,
        Target::V,
        Target::Velocity,
        Target::Score,
    ] {
        let matching = Matching {
            path: VP,
            target,
            weighting: Weighting::EvidenceBound,
            times: TimeSampling::Importance,
            ..Matching::default()
        };
        let network = mlp(2, 0, 4);
        let batch = drawing(&matching, &network, &data)
            .draw(&picks, &mut stream(9, Purpose::Training, 0))
            .unwrap();
        // One guess of the noise, told as each of the targets.
        let mut loss = 0.0;
        for (row, (p, weight)) in batch.points.iter().zip(&batch.weights).enumerate() {
            for i in 2 * row..2 * row + 2 {
                let x = f64::from(batch.x[i]);
                let [a, b] = p.conversion(Target::Noise, target);
                let prediction = a * x + b * (0.8 * p.sigma * x);
                loss += (weight.sqrt() * prediction - f64::from(batch.wanted[i])).powi(2);
            }
        }
        losses.push(loss / 600.0);
    }
    // f32 points, where 1/σ is up to a thousand.
    assert!(
        losses.iter().all(|l| (l / losses[0] - 1.0).abs() < 1e-3),
        "{losses:?}"
    );
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let data = normals(64, 4);
    for (target, weighting) in [
        (Target::Velocity, Weighting::Uniform),
        (Target::Noise, Weighting::EvidenceBound),
        (Target::Data, Weighting::MinSnr { gamma: 5.0 }),
        (Target::Score, Weighting::Uniform),
    ] {
        let matching = Matching {
            path: VP,
            target,
            weighting,
            times: TimeSampling::Importance,
            ..Matching::default()
        };
        let mut network = mlp(2, 0, 5);
        let validation = drawing(&matching, &network, &data);
        let batch = validation
            .draw(&(0..32).collect::<Vec<_>>(), &mut stream(9, Purpose::Training, 0))
            .unwrap();
        let matched = Matched {
            device: &Cpu::default(),
            extent: [1; 3],
            validation,
            seed: 1,
        };
        let (loss, gradients) = matched.loss_and_gradients(&network, batch.clone()).unwrap();
        let parts = [batch];
        let value = |network: &_| matched.loss_of(network, parts.iter().cloned().map(Ok)).unwrap();
        assert!((loss / value(&network) - 1.0).abs() < 1e-5);
        let weights = network.weights();
        let scale = gradients.iter().flatten().fold(0f32, |m, g| m.max(g.abs()));
        for (layer, gradient) in gradients.iter().enumerate() {
            let mut at = |step: f32| {
                let mut moved = weights.clone();
                moved.0[layer].values[0] += step;
                network.load(&moved).unwrap();
                value(&network)
            };
            let h = 1e-2;
            let found = (at(h) - at(-h)) / (2.0 * f64::from(h));
            let off = (found - f64::from(gradient[0])).abs();
            assert!(
                off < 2e-3 * f64::from(scale),
                "{target:?} {layer}: {found} {gradient:?}"
            );
        }
    }
}

#[test]
fn transport_shortens_the_ways_and_keeps_the_noise() {
    let n = 128;
    let (data, noise) = (normals(2 * n, 5), normals(2 * n, 6));
    let data: Vec<f32> = data
        .chunks_exact(2)
        .enumerate()
        .flat_map(|(i, x)| [x[0] * 0.1 + if i % 2 == 0 { 2.0 } else { -2.0 }, 0.1 * x[1]])
        .collect();
    let moved = batch::transported(&data, &noise, 2);
    let cost = |x1: &[f32]| -> f32 { data.iter().zip(x1).map(|(a, b)| (a - b).powi(2)).sum() };
    assert!(
        cost(&moved) < 0.6 * cost(&noise),
        "{} {}",
        cost(&moved),
        cost(&noise)
    );
    let sorted = |x: &[f32]| {
        let mut rows: Vec<[f32; 2]> = x.chunks_exact(2).map(|x| [x[0], x[1]]).collect();
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        rows
    };
    assert_eq!(sorted(&moved), sorted(&noise));
    // What remains to be learnt of a velocity is less: the validation loss falls.
    let loss = |coupling| {
        let flow = Matching {
            coupling,
            ..Matching::default()
        };
        let mut network = mlp(2, 0, 32);
        train(&flow, &trainer(200), &mut network, &data, &[])
    };
    let (independent, transported) = (loss(Coupling::Independent), loss(Coupling::OptimalTransport));
    assert!(transported < 0.5 * independent, "{transported} {independent}");
}

#[test]
fn a_resumed_training_ends_with_the_same_bits() {
    let data = normals(400, 7);
    let parameters: Vec<f64> = (0..200).map(|i| f64::from(i) / 200.0).collect();
    let matching = Matching {
        path: VP,
        target: Target::V,
        weighting: Weighting::EvidenceBound,
        times: TimeSampling::Importance,
        coupling: Coupling::OptimalTransport,
        unconditional: 0.2,
        ..Matching::default()
    };
    let trainer = Trainer {
        steps: 30,
        batch_size: 32,
        validate_every: Some(7),
        ..Trainer::default()
    };
    let run = |folder: Option<&std::path::Path>, until: usize, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let examples = Examples {
                fields: &data,
                parameters: &parameters,
            };
            let stop = AtomicBool::new(false);
            let mut observe = |event: Event<'_>| {
                if let Event::Step { step, .. } = event {
                    stop.store(step == until, Ordering::Relaxed);
                }
                Ok(())
            };
            let session = Session {
                seed: 8,
                keep: folder.map(|folder| Keep {
                    folder: folder.into(),
                    about: serde_json::to_value(&matching).unwrap(),
                    resume: true,
                }),
                interrupt: Some(&stop),
                observe: &mut observe,
            };
            let mut network = mlp(2, 2, 8);
            let device = Cpu::default();
            let training = matching.train(
                &trainer,
                &mut network,
                &device,
                [1; 3],
                examples,
                examples,
                session,
            );
            let interrupted = training.unwrap().interrupted;
            (interrupted, network.weights())
        })
    };
    let (_, whole) = run(None, 0, 1);
    let folder = tempfile::tempdir().unwrap();
    assert!(run(Some(folder.path()), 13, 2).0);
    let (interrupted, resumed) = run(Some(folder.path()), 0, 2);
    assert!(!interrupted);
    assert_eq!(whole, resumed);
    // Another round goes on from the weights.
    let mut network = mlp(2, 2, 8);
    network.load(&whole).unwrap();
    let before = network.weights();
    train(&matching, &trainer, &mut network, &data, &parameters);
    assert_ne!(before, network.weights());
}

#[test]
fn images_with_batch_norms_and_symmetries_are_learnt_too() {
    let device = Cpu::default();
    let config = SimpleUnetConfig {
        channels: 1,
        base_channels: 4,
        channel_mults: vec![1, 2],
        time_dim: 8,
        cond_dim: 1,
    };
    let mut network = SimpleUnet::new(&device, config, &mut stream(1, Purpose::Weights, 0)).unwrap();
    let data = normals(16 * 64, 8);
    let examples = Examples {
        fields: &data,
        parameters: &[],
    };
    let diffusion = Matching {
        path: Path::Chain(Chain::new(Noise::Cosine, 100).unwrap()),
        target: Target::Noise,
        augment: Augment::Torus,
        ..Matching::default()
    };
    let trainer = Trainer {
        steps: 4,
        batch_size: 8,
        ..Trainer::default()
    };
    let before = network.weights();
    let mut observe = quiet;
    let session = Session {
        seed: 5,
        keep: None,
        interrupt: None,
        observe: &mut observe,
    };
    let training = diffusion
        .train(
            &trainer,
            &mut network,
            &device,
            [1, 8, 8],
            examples,
            examples,
            session,
        )
        .unwrap();
    let weights = training.state.judged();
    for (old, new) in before.0.iter().zip(&weights.0) {
        let running = old.name.ends_with("running_mean") || old.name.ends_with("running_var");
        assert!(!running || old.values != new.values, "{}", old.name);
    }
    // An unconditional network is always told the null.
    let drawing = Drawing::new(&diffusion, &network, [1, 8, 8], ("training", examples), None).unwrap();
    let batch = drawing
        .draw(&[0, 1], &mut stream(9, Purpose::Training, 0))
        .unwrap();
    assert_eq!(batch.conditions, [1.0, 1.0]);
    let tall = Drawing::new(&diffusion, &network, [1, 16, 4], ("training", examples), None);
    assert!(tall.err().unwrap().to_string().contains("augment"));
}

#[test]
fn without_a_condition_a_network_is_given_the_null() {
    let (device, x) = (Cpu::default(), [0.3, -0.2]);
    let (one, two) = (mlp(1, 1, 4), mlp(1, 2, 4));
    let of =
        |network| NetworkPredictor::new(network, &device, [1; 3], Path::Linear, Target::Velocity).unwrap();
    let says = |p: NetworkPredictor<_, _>| p.predict(&x, 0.4);
    let none = says(of(&one)).unwrap();
    assert_eq!(says(of(&one).given(&[]).unwrap()).unwrap(), none);
    assert_eq!(says(of(&one).given_each(&[], 2).unwrap()).unwrap(), none);
    assert_ne!(says(of(&one).given(&[0.0]).unwrap()).unwrap(), none);
    assert!(of(&two).given(&[]).is_err());
    // Conditions in full length leave no number for the null.
    let full = || of(&two).given(&[0.2, 0.7]).unwrap();
    assert!(says(full()).is_ok());
    let said = says(full().guided(1.0)).unwrap_err().to_string();
    assert!(said.contains("unconditional"), "{said}");
    assert!(says(of(&two).given(&[0.2]).unwrap().guided(1.0)).is_ok());
}

#[test]
fn a_path_that_ends_with_data_is_refused() {
    let said = |path| {
        let matching = Matching {
            path,
            ..Matching::default()
        };
        matching.check().err().map(|e| e.to_string())
    };
    let chain = |schedule, steps| Path::Chain(Chain::new(schedule, steps).unwrap());
    let short = said(chain(Noise::default(), 200)).unwrap();
    assert!(short.contains("beta_end") && short.contains("39 %"), "{short}");
    let exploding = |sigma_max| Path::VarianceExploding {
        sigma_min: 0.01,
        sigma_max,
    };
    assert!(said(exploding(2.0)).unwrap().contains("sigma_max"));
    let slow = Path::VariancePreserving {
        beta_min: 0.1,
        beta_max: 1.0,
    };
    assert!(said(slow).unwrap().contains("beta_max"));
    for path in [
        chain(Noise::Cosine, 50),
        chain(Noise::DIFFUSION_HMC, 1000),
        exploding(10.0),
        VP,
        Path::Linear,
    ] {
        assert_eq!(said(path.clone()), None, "{path:?}");
    }
}
