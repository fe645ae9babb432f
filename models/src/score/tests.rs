use armilla_samplers::rng::{Purpose, stream};
use dfdx::tensor::Cpu;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::{
    Module,
    matching::{Coupling, TimeSampling, Weighting},
    nets::{ConditionedMlp, ConditionedMlpConfig, SimpleUnet, SimpleUnetConfig},
    ops::Activation,
    predictor::{NetworkPredictor, Predictor},
    train::{Batch, Event, Source},
};

fn mlp(channels: usize, width: usize) -> ConditionedMlp<Cpu> {
    let config = ConditionedMlpConfig {
        channels,
        cond_dim: 0,
        widths: vec![width; 2],
        activation: Activation::Silu,
    };
    ConditionedMlp::new(&Cpu::default(), config, &mut stream(3, Purpose::Weights, 0)).unwrap()
}

/// Pairs of numbers of variances 1 and 0.25, correlated by 0.5, around (0.5, −0.5).
fn pairs(count: usize) -> Vec<f32> {
    let mut stream = stream(1, Purpose::Simulation, 0);
    let mut normal = || -> f32 { StandardNormal.sample(&mut stream) };
    (0..count)
        .flat_map(|_| {
            let (a, b) = (normal(), normal());
            [0.5 + a, -0.5 + 0.5 * (0.5 * a + 0.75f32.sqrt() * b)]
        })
        .collect()
}

fn examples(fields: &Vec<f32>) -> Examples<'_> {
    Examples {
        fields,
        parameters: &[],
    }
}

/// The noise that is to be expected at `x`: σ (α² C + σ² 1)⁻¹ (x − α m).
fn expected(p: &crate::path::Point, x: &[f64]) -> [f64; 2] {
    let (a2, s2) = (p.alpha * p.alpha, p.sigma * p.sigma);
    let (c00, c01, c11) = (a2 + s2, 0.25 * a2, 0.25 * a2 + s2);
    let off = [x[0] - 0.5 * p.alpha, x[1] + 0.5 * p.alpha];
    let determinant = c00 * c11 - c01 * c01;
    [
        p.sigma * (c11 * off[0] - c01 * off[1]) / determinant,
        p.sigma * (c00 * off[1] - c01 * off[0]) / determinant,
    ]
}

fn quiet(_: Event<'_>) -> Result<()> {
    Ok(())
}

/// What a perceptron has still to learn after some thousand steps.
const LEARNT: f64 = 0.12;

#[test]
fn derivatives_teach_the_score_of_correlated_data() {
    let exploding = Path::VarianceExploding {
        sigma_min: 0.1,
        sigma_max: 10.0,
    };
    let preserving = ScoreMatching::default().matching.path;
    for (path, estimator, target) in [
        (preserving, Estimator::Exact, Target::Noise),
        (exploding, Estimator::Sliced { projections: 1 }, Target::Noise),
    ] {
        let score = ScoreMatching {
            estimator,
            matching: Matching {
                path: path.clone(),
                target,
                ..Matching::default()
            },
        };
        let data = pairs(1 << 15);
        let mut network = mlp(2, 32);
        let trainer = Trainer {
            steps: 1500,
            batch_size: 128,
            learning_rate: 2e-2,
            validate_every: Some(1500),
            ..Trainer::default()
        };
        let mut observe = quiet;
        let session = Session {
            seed: 5,
            keep: None,
            interrupt: None,
            observe: &mut observe,
        };
        let device = Cpu::default();
        let (all, some) = (examples(&data), examples(&data));
        score
            .train(&trainer, &mut network, &device, [1; 3], all, some, session)
            .unwrap();
        let predictor = NetworkPredictor::new(&network, &device, [1; 3], path.clone(), target).unwrap();
        let (mut wrong, mut size) = (0.0, 0.0);
        for t in [0.15, 0.4, 0.7, 0.95] {
            let p = path.at(t);
            let sds = [1.0, 0.25].map(|c: f64| (p.alpha * p.alpha * c + p.sigma * p.sigma).sqrt());
            for z in [[0.0, 1.0], [1.0, -0.5], [-1.0, -1.0], [-0.7, 1.0]] {
                let x = [0.5 * p.alpha + z[0] * sds[0], -0.5 * p.alpha + z[1] * sds[1]];
                let found = predictor.predict_as(Target::Noise, &x, t).unwrap();
                for (found, wanted) in found.iter().zip(expected(&p, &x)) {
                    wrong += (found - wanted).powi(2);
                    size += wanted.powi(2);
                }
            }
        }
        let wrong = (wrong / size).sqrt();
        assert!(wrong < LEARNT, "{path:?} {estimator:?}: {wrong}");
    }
}

/// A loss of `data`.
fn scored<'a>(
    score: &ScoreMatching,
    network: &ConditionedMlp<Cpu>,
    data: &'a Vec<f32>,
    device: &'a Cpu,
) -> Scored<'a, Cpu> {
    let drawing = Drawing::new(
        &score.matching,
        network,
        [1; 3],
        ("training", examples(data)),
        None,
    )
    .unwrap();
    Scored {
        device,
        extent: [1; 3],
        target: score.matching.target,
        validation: Probing::new(drawing, score.estimator).unwrap(),
        seed: 1,
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let data = pairs(64);
    for (estimator, target, weighting) in [
        (Estimator::Exact, Target::Noise, Weighting::Uniform),
        (
            Estimator::Sliced { projections: 3 },
            Target::Score,
            Weighting::Uniform,
        ),
        (Estimator::Exact, Target::Noise, Weighting::EvidenceBound),
    ] {
        let score = ScoreMatching {
            estimator,
            matching: Matching {
                target,
                weighting,
                times: TimeSampling::Importance,
                ..ScoreMatching::default().matching
            },
        };
        let (mut network, device) = (mlp(2, 5), Cpu::default());
        let scored = scored(&score, &network, &data, &device);
        let picks: Vec<usize> = (0..32).collect();
        let batch = scored
            .validation
            .batch(&picks, &mut stream(9, Purpose::Training, 0))
            .unwrap();
        assert_eq!(batch.rows(), 32);
        let (loss, gradients) = scored.loss_and_gradients(&network, batch.clone()).unwrap();
        assert!((loss - scored.loss_of(&network, &batch).unwrap()).abs() < 1e-5);
        // In two parts as in one.
        let [a, b] = [0..12, 12..32].map(|rows| scored.loss_of(&network, &batch.part(rows)).unwrap());
        assert!(((12.0 * a + 20.0 * b) / 32.0 - loss).abs() < 1e-5);
        let weights = network.weights();
        let scale = gradients.iter().flatten().fold(0f32, |m, g| m.max(g.abs()));
        for (layer, gradient) in gradients.iter().enumerate() {
            let mut at = |step: f32| {
                let mut moved = weights.clone();
                moved.0[layer].values[0] += step;
                network.load(&moved).unwrap();
                scored.loss_of(&network, &batch).unwrap()
            };
            let h = 1e-2;
            let found = (at(h) - at(-h)) / (2.0 * f64::from(h));
            let off = (found - f64::from(gradient[0])).abs();
            assert!(
                off < 3e-3 * f64::from(scale),
                "{target:?} {layer}: {found} {gradient:?}"
            );
        }
    }
}

#[test]
fn exact_is_the_mean_over_all_directions_and_the_trace_of_the_jacobian() {
    let data = pairs(64);
    let mut score = ScoreMatching::default();
    score.matching.target = Target::Score;
    let (network, device) = (mlp(2, 8), Cpu::default());
    let picks: Vec<usize> = (0..20).collect();
    score.estimator = Estimator::Exact;
    let exact = scored(&score, &network, &data, &device);
    let points = exact
        .validation
        .drawing
        .draw(&picks, &mut stream(9, Purpose::Training, 0))
        .unwrap();
    let loss = exact
        .loss_of(&network, &exact.validation.along(points.clone(), 1, 0))
        .unwrap();
    // By hand: ½ s² + ∂s₀/∂x₀ + ∂s₁/∂x₁, by central differences.
    let mut by_hand = 0.0;
    for (row, (p, weight)) in points.points.iter().zip(&points.weights).enumerate() {
        let x: Vec<f64> = points.x[2 * row..2 * row + 2]
            .iter()
            .map(|x| f64::from(*x))
            .collect();
        let path = score.matching.path.clone();
        let predictor = NetworkPredictor::new(&network, &device, [1; 3], path, Target::Score).unwrap();
        let s = |x: &[f64]| predictor.predict(x, p.t).unwrap();
        let h = 1e-2;
        let trace = [[1.0, 0.0], [0.0, 1.0]].iter().enumerate().map(|(i, e)| {
            let moved = |h: f64| [x[0] + h * e[0], x[1] + h * e[1]];
            (s(&moved(h))[i] - s(&moved(-h))[i]) / (2.0 * h)
        });
        let length: f64 = s(&x).iter().map(|s| 0.5 * s * s).sum();
        by_hand += weight * (length + trace.sum::<f64>()) / 40.0;
    }
    assert!(
        (loss - by_hand).abs() < 1e-4 * by_hand.abs().max(1.0),
        "{loss} {by_hand}"
    );
    // Signs: all four together have the outer product 1, and many draws come close.
    score.estimator = Estimator::Sliced { projections: 2000 };
    let sliced = scored(&score, &network, &data, &device);
    let along = sliced.validation.along(points, 1, 0);
    let mean = sliced.loss_of(&network, &along).unwrap();
    assert!((mean - loss).abs() < 5e-3, "{mean} {loss}");
}

#[test]
fn what_cannot_be_learnt_is_refused() {
    let good = ScoreMatching::default();
    let mut network = mlp(2, 4);
    let check = |score: &ScoreMatching, network: &mut ConditionedMlp<Cpu>| {
        score.check(network).map_err(|e| e.to_string())
    };
    assert_eq!(check(&good, &mut network), Ok(()));
    let mut bad = good.clone();
    bad.matching.target = Target::Velocity;
    assert!(check(&bad, &mut network).unwrap_err().contains("target"));
    bad = good.clone();
    bad.matching.coupling = Coupling::OptimalTransport;
    assert!(check(&bad, &mut network).unwrap_err().contains("coupling"));
    bad = good.clone();
    for projections in [0, 65] {
        bad.estimator = Estimator::Sliced { projections };
        assert!(check(&bad, &mut network).unwrap_err().contains("projections"));
    }
    // Along each of 65 numbers.
    let (wide, data) = (mlp(65, 4), vec![0.0; 65]);
    let drawing = Drawing::new(&good.matching, &wide, [1; 3], ("training", examples(&data)), None).unwrap();
    let said = Probing::new(drawing, Estimator::Exact).err().unwrap().to_string();
    assert!(said.contains("take sliced"), "{said}");
    let config = SimpleUnetConfig {
        base_channels: 4,
        channel_mults: vec![1, 2],
        time_dim: 8,
        cond_dim: 1,
        ..SimpleUnetConfig::default()
    };
    let mut unet = SimpleUnet::new(&Cpu::default(), config, &mut stream(1, Purpose::Weights, 0)).unwrap();
    assert!(
        good.check(&mut unet)
            .unwrap_err()
            .to_string()
            .contains("batch norms")
    );
}
