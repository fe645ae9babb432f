use armilla_samplers::rng::{Purpose, stream};
use dfdx::tensor::Cpu;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::{
    Module,
    nets::{ConditionedMlp, ConditionedMlpConfig},
    ops::Activation,
    path::{Path, Target},
};

fn mlp(cond_dim: usize) -> ConditionedMlp<Cpu> {
    let config = ConditionedMlpConfig {
        channels: 1,
        cond_dim,
        widths: vec![32; 2],
        activation: Activation::Silu,
    };
    ConditionedMlp::new(&Cpu::default(), config, &mut stream(3, Purpose::Weights, 0)).unwrap()
}

fn quiet(_: Event<'_>) -> Result<()> {
    Ok(())
}

fn trainer(steps: usize) -> Trainer {
    Trainer {
        steps,
        batch_size: 256,
        learning_rate: 5e-3,
        validate_every: Some(steps),
        ..Trainer::default()
    }
}

#[test]
fn the_straightness_of_a_known_flow_is_known() {
    /// From N(0, 1) to N(m, s²) along the linear path: x_t = (1 − t) m + r(t) x1, r² = (1 − t)² s² + t².
    struct Known;
    const S: f64 = 0.2;
    impl Predictor for Known {
        fn numbers(&self) -> usize {
            1
        }
        fn path(&self) -> &Path {
            &Path::Linear
        }
        fn target(&self) -> Target {
            Target::Velocity
        }
        fn predict(&self, x: &[f64], t: f64) -> Result<Vec<f64>> {
            let r2 = (1.0 - t).powi(2) * S * S + t * t;
            let slope = (t - (1.0 - t) * S * S) / r2;
            Ok(x.iter().map(|x| slope * (x - (1.0 - t) * 2.0) - 2.0).collect())
        }
    }
    let noise = [-1.0, 0.5, 1.5];
    let found = straightness(&Known, &noise, Solver::Rk4, 200).unwrap();
    // v = −m + r′ x1 and x1 − x0 = −m + (1 − s) x1.
    let n = 10_000;
    let integral: f64 = (0..n)
        .map(|i| {
            let t = (i as f64 + 0.5) / n as f64;
            let r = ((1.0 - t).powi(2) * S * S + t * t).sqrt();
            ((1.0 - S) - (t - (1.0 - t) * S * S) / r).powi(2) / n as f64
        })
        .sum();
    let expected = integral * noise.iter().map(|x| x * x).sum::<f64>() / 3.0;
    assert!(
        (found.straightness / expected - 1.0).abs() < 1e-3,
        "{found:?} {expected}"
    );
    // In one step all noise ends in the mean, x0 off by s x1.
    let (steps, error) = found.errors[0];
    let expected = S * (noise.iter().map(|x| x * x).sum::<f64>() / 3.0).sqrt();
    assert!(
        steps == 1 && (error / expected - 1.0).abs() < 1e-4,
        "{error} {expected}"
    );
    assert!(found.errors.windows(2).all(|e| e[1].1 < e[0].1));
    let none = straightness(&Known, &[], Solver::Rk4, 10).unwrap_err();
    assert!(none.to_string().contains("no row"), "{none}");
}

#[test]
fn what_is_no_flow_along_straight_lines_is_refused() {
    let good = Rectified::default();
    good.check().unwrap();
    let said = |change: &dyn Fn(&mut Rectified)| {
        let mut rectified = good.clone();
        change(&mut rectified);
        rectified.check().unwrap_err().to_string()
    };
    assert!(said(&|r| r.matching.path = Path::Trigonometric).contains("Trigonometric"));
    assert!(said(&|r| r.matching.target = Target::Data).contains("Data"));
    assert!(said(&|r| r.solver = Solver::Ddpm).contains("ddpm"));
    assert!(said(&|r| r.rounds = 0).contains("rounds"));
}

#[test]
fn rounds_straighten_a_flow_to_two_modes() {
    // Modes at ±1.5 for one condition, at ±0.5 for the other.
    let n = 4096;
    let mut stream = stream(1, Purpose::Simulation, 0);
    let parameters: Vec<f64> = (0..n).map(|i| (i % 2) as f64).collect();
    let data: Vec<f32> = (0..n)
        .map(|i| {
            let z: f32 = StandardNormal.sample(&mut stream);
            let mode = if i % 2 == 0 { 1.5 } else { 0.5 };
            0.15 * z + if i % 4 < 2 { mode } else { -mode }
        })
        .collect();
    let examples = Examples {
        fields: &data,
        parameters: &parameters,
    };
    let device = Cpu::default();
    let mut network = mlp(1);
    let mut observe = quiet;
    let session = Session {
        seed: 1,
        keep: None,
        interrupt: None,
        observe: &mut observe,
    };
    let flow = Matching::default();
    flow.train(
        &trainer(1200),
        &mut network,
        &device,
        [1; 3],
        examples,
        examples,
        session,
    )
    .unwrap();
    let first = network.weights();
    let rectified = Rectified {
        rounds: 2,
        steps: 20,
        ..Rectified::default()
    };
    let run = |network: &mut ConditionedMlp<Cpu>, keep: Option<Keep>, interrupt: bool| {
        let stop = std::sync::atomic::AtomicBool::new(false);
        let mut observe = |event: Event<'_>| {
            if let Event::Step { step: 30, .. } = event {
                stop.store(interrupt, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        };
        let session = Session {
            seed: 2,
            keep,
            interrupt: Some(&stop),
            observe: &mut observe,
        };
        rectified
            .train(
                &trainer(500),
                network,
                &device,
                [1; 3],
                examples,
                examples,
                session,
            )
            .unwrap()
    };
    let found = run(&mut network, None, false);
    let [before, once, twice] = [0, 1, 2].map(|i| &found.rounds[i]);
    assert!(once.straightness < 0.5 * before.straightness, "{found:?}");
    assert!(twice.straightness < 0.5 * before.straightness, "{found:?}");
    assert!(twice.errors[0].1 < 0.5 * before.errors[0].1, "{found:?}");
    assert!(found.loss.unwrap() > 0.0);
    // One step still gives the data: both modes of each condition, at their places.
    for (condition, place) in [(0.0, 1.5), (1.0, 0.5)] {
        let flow = NetworkPredictor::new(&network, &device, [1; 3], Path::Linear, Target::Velocity).unwrap();
        let flow = flow.given(&[condition]).unwrap();
        let x0 = generate::generate(&flow, 2000, Solver::Euler, 1, 9)
            .unwrap()
            .values;
        let mean = x0.iter().map(|x| x.abs()).sum::<f64>() / 2000.0;
        let above = x0.iter().filter(|x| **x > 0.0).count() as f64 / 2000.0;
        assert!((mean - place).abs() < 0.1 * place, "{condition}: {mean}");
        assert!((above - 0.5).abs() < 0.06, "{condition}: {above}");
    }
    // What was interrupted ends with the same bits.
    let folder = tempfile::tempdir().unwrap();
    let keep = || {
        Some(Keep {
            folder: folder.path().into(),
            about: serde_json::Value::Null,
            resume: true,
        })
    };
    let mut again = mlp(1);
    again.load(&first).unwrap();
    assert!(run(&mut again, keep(), true).interrupted);
    again.load(&first).unwrap();
    assert_eq!(run(&mut again, keep(), false), found);
    assert_eq!(again.weights(), network.weights());
    // The first flow is kept, whatever the main training's files hold by now.
    assert_eq!(run(&mut again, keep(), false), found);
    // A main training from the beginning leaves nothing of it.
    let session = Session {
        seed: 3,
        keep: Some(Keep {
            resume: false,
            ..keep().unwrap()
        }),
        interrupt: None,
        observe: &mut quiet,
    };
    flow.train(
        &trainer(1),
        &mut again,
        &device,
        [1; 3],
        examples,
        examples,
        session,
    )
    .unwrap();
    assert!(!folder.path().join("round-0").exists() && !folder.path().join("round-2").exists());
}
