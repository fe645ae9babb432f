use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use dfdx::tensor::Cpu;
use serde_json::json;

use super::*;
use crate::{
    error::Result,
    matching::Augment,
    train::{Event, Examples, Keep, LAST_FILE, Session, Trainer},
    weights::Weights,
};

fn quiet(_: Event<'_>) -> Result<()> {
    Ok(())
}

fn fit(
    flow: &mut NormalizingFlow<Cpu>,
    trainer: &Trainer,
    fields: &Vec<f32>,
    parameters: &[f64],
) -> Result<Weights> {
    let examples = Examples { fields, parameters };
    let mut observe = quiet;
    let session = Session {
        seed: 1,
        keep: None,
        interrupt: None,
        observe: &mut observe,
    };
    let training = MaximumLikelihood::default().train(trainer, flow, examples, examples, session)?;
    Ok(training.state.weights.clone())
}

fn trainer(steps: usize) -> Trainer {
    Trainer {
        steps,
        batch_size: 128,
        learning_rate: 1e-2,
        warmup_steps: 10,
        max_norm: 10.0,
        validate_every: Some(steps),
        ..Trainer::default()
    }
}

/// Pairs of unit variance with correlation 0.8.
fn correlated(count: usize, seed: u64) -> Vec<f32> {
    let pair = |e: &[f32]| [e[0], 0.8 * e[0] + 0.6 * e[1]];
    normal(2 * count, seed).chunks(2).flat_map(pair).collect()
}

#[test]
fn a_correlated_gaussian_is_recovered() {
    // Nats of Kullback–Leibler distance.
    const NEAR: f64 = 0.02;
    let widths = vec![16];
    let data = correlated(5000, 1);
    let fresh = correlated(4000, 2);
    let exact = fresh.chunks(2).map(|p| {
        let [x, y] = [f64::from(p[0]), f64::from(p[1])];
        let square = (x * x - 1.6 * x * y + y * y) / 0.36;
        -0.5 * square - (2.0 * std::f64::consts::PI * 0.6).ln()
    });
    let exact: Vec<f64> = exact.collect();
    for config in [
        FlowConfig::RealNvp(RealNvpConfig {
            layers: 2,
            widths: widths.clone(),
            ..Default::default()
        }),
        FlowConfig::Maf(MafConfig {
            layers: 2,
            widths: widths.clone(),
            ..Default::default()
        }),
        FlowConfig::Spline(SplineConfig {
            layers: 2,
            widths,
            mixing: true,
            ..Default::default()
        }),
    ] {
        let mut flow = NormalizingFlow::new(&Cpu::default(), config, 1).unwrap();
        fit(&mut flow, &trainer(400), &data, &[]).unwrap();
        let found = flow.log_density(&fresh, None).unwrap();
        let gaps = exact.iter().zip(&found).map(|(a, b)| a - b);
        let distance = gaps.sum::<f64>() / exact.len() as f64;
        assert!(distance.abs() < NEAR, "{}: {distance}", flow.config().name());
        let draws = flow.sample(4000, None, 5).unwrap();
        let product: f64 = draws.chunks(2).map(|p| f64::from(p[0] * p[1])).sum::<f64>() / 4000.0;
        assert!((product - 0.8).abs() < 0.1, "{}: {product}", flow.config().name());
    }
}

#[test]
fn a_condition_is_followed() {
    // Means and deviations of 4000 draws to 5 standard errors, and the fit's own error.
    const NEAR: f64 = 0.06;
    let c: Vec<f64> = (0..4000).map(|i| f64::from(i % 100) / 99.0).collect();
    let x: Vec<f32> = normal(4000, 1)
        .iter()
        .zip(&c)
        .map(|(e, c)| *c as f32 + 0.5 * e)
        .collect();
    let (numbers, cond_dim, layers, widths) = (1, 1, 2, vec![16]);
    for config in [
        FlowConfig::RealNvp(RealNvpConfig {
            numbers,
            cond_dim,
            layers,
            widths: widths.clone(),
            bound: 3.0,
        }),
        FlowConfig::Maf(MafConfig {
            numbers,
            cond_dim,
            layers,
            widths: widths.clone(),
            bound: 3.0,
        }),
        FlowConfig::Spline(SplineConfig {
            numbers,
            cond_dim,
            layers,
            widths,
            ..Default::default()
        }),
    ] {
        let mut flow = NormalizingFlow::new(&Cpu::default(), config, 1).unwrap();
        fit(&mut flow, &trainer(400), &x, &c).unwrap();
        for c in [0.1f32, 0.9] {
            let draws = flow.sample(4000, Some(&[c]), 3).unwrap();
            let mean = draws.iter().map(|x| f64::from(*x)).sum::<f64>() / 4000.0;
            let variance = draws.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 4000.0;
            let near = (mean - f64::from(c)).abs() < NEAR && (variance.sqrt() - 0.5).abs() < NEAR;
            assert!(
                near,
                "{} at {c}: {mean} {}",
                flow.config().name(),
                variance.sqrt()
            );
        }
    }
}

#[test]
fn glow_learns_images_on_a_condition() {
    // Pixels of a common level c and noise: the gap to the exact density, in nats a pixel.
    const NEAR: f64 = 0.1;
    let c: Vec<f64> = (0..1000).map(|i| f64::from(i % 2)).collect();
    let noise = normal(16_000, 1);
    let x: Vec<f32> = noise
        .iter()
        .enumerate()
        .map(|(i, e)| 0.5 * e + c[i / 16] as f32 - 0.5)
        .collect();
    let mut flow = NormalizingFlow::new(&Cpu::default(), configs(1)[4].clone(), 1).unwrap();
    let short = Trainer {
        batch_size: 64,
        ..trainer(250)
    };
    fit(&mut flow, &short, &x, &c).unwrap();
    let told: Vec<f32> = c.iter().map(|c| *c as f32).collect();
    let found = flow.log_density(&x, Some(&told)).unwrap().iter().sum::<f64>() / 16_000.0;
    let exact = -(0.5f64).ln() - 0.5 * (1.0 + (2.0 * std::f64::consts::PI).ln());
    assert!((found - exact).abs() < NEAR, "{found} {exact}");
    for c in [0.0f32, 1.0] {
        let draws = flow.sample(200, Some(&[c]), 3).unwrap();
        let mean = draws.iter().sum::<f32>() / 3200.0;
        assert!((mean - (c - 0.5)).abs() < 0.1, "{c}: {mean}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for i in [2, 3, 4] {
        let bits = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let mut flow = NormalizingFlow::new(&Cpu::default(), configs(0)[i].clone(), 1).unwrap();
                let n = flow.config().numbers();
                let short = Trainer {
                    batch_size: 40,
                    ..trainer(5)
                };
                let weights = fit(&mut flow, &short, &normal(100 * n, 1), &[]).unwrap();
                let mut all: Vec<u32> = weights
                    .0
                    .iter()
                    .flat_map(|w| &w.values)
                    .map(|v| v.to_bits())
                    .collect();
                all.extend(flow.sample(50, None, 2).unwrap().iter().map(|v| v.to_bits()));
                all
            })
        });
        assert!(bits[0] == bits[1], "{i}");
    }
}

#[test]
fn an_interrupted_training_ends_with_the_same_bytes() {
    let data = normal(100 * 16, 1);
    let examples = Examples {
        fields: &data,
        parameters: &[],
    };
    let settings = MaximumLikelihood {
        augment: Augment::Torus,
        dequantise: 0.1,
    };
    let short = Trainer {
        batch_size: 16,
        validate_every: Some(4),
        ..trainer(12)
    };
    let run = |folder: &Path, resume: bool, stop_at: Option<usize>| {
        let mut flow = NormalizingFlow::new(&Cpu::default(), configs(0)[4].clone(), 1).unwrap();
        let stop = AtomicBool::new(false);
        let mut observe = |event: Event<'_>| {
            if let Event::Step { step, .. } = event {
                stop.store(stop_at == Some(step), Ordering::Relaxed);
            }
            Ok(())
        };
        let keep = Some(Keep {
            folder: folder.into(),
            about: json!({"flow": flow.config()}),
            resume,
        });
        let session = Session {
            seed: 3,
            keep,
            interrupt: Some(&stop),
            observe: &mut observe,
        };
        let training = settings
            .train(&short, &mut flow, examples, examples, session)
            .unwrap();
        assert_eq!(training.interrupted, stop_at.is_some());
        std::fs::read(folder.join(LAST_FILE)).unwrap()
    };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let whole = run(folders[0].path(), false, None);
    run(folders[1].path(), false, Some(6));
    assert!(whole == run(folders[1].path(), true, None));
}

#[test]
fn examples_that_do_not_fit_are_named() {
    let mut flow = NormalizingFlow::new(&Cpu::default(), configs(1)[0].clone(), 1).unwrap();
    let mut message = |settings: MaximumLikelihood, fields: &Vec<f32>, parameters: &[f64]| {
        let examples = Examples { fields, parameters };
        let mut observe = quiet;
        let session = Session {
            seed: 1,
            keep: None,
            interrupt: None,
            observe: &mut observe,
        };
        let result = settings.train(&trainer(2), &mut flow, examples, examples, session);
        result.err().unwrap().to_string()
    };
    let plain = MaximumLikelihood::default();
    assert!(message(plain, &vec![0.0; 9], &[0.0]).contains("training fields of 5 numbers"));
    assert!(message(plain, &vec![0.0; 10], &[0.0; 4]).contains("2 parameters, and the flow takes 1"));
    assert!(message(plain, &Vec::new(), &[]).contains("empty"));
    let mut damaged = vec![0.0; 10];
    damaged[7] = f32::NAN;
    assert!(message(plain, &damaged, &[0.0; 2]).contains("number 2 of example 1 is NaN"));
    let said = message(plain, &vec![0.0; 10], &[0.0, f64::NAN]);
    assert!(
        said.contains("parameter 0 of training example 1 is NaN"),
        "{said}"
    );
    let augment = MaximumLikelihood {
        augment: Augment::Torus,
        ..plain
    };
    assert!(message(augment, &vec![0.0; 10], &[0.0; 2]).contains("square images"));
    let dequantise = MaximumLikelihood {
        dequantise: -1.0,
        ..plain
    };
    assert!(message(dequantise, &vec![0.0; 10], &[0.0; 2]).contains("dequantise"));
}
