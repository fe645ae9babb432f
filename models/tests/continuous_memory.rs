//! Measure how the memory that a continuous flow is trained in grows with the steps of its solver.
#![cfg(target_os = "linux")]

use armilla_models::{
    Cpu,
    continuous::{Ffjord, Gradient},
    nets::{ConditionedMlp, ConditionedMlpConfig},
    ode::Method,
    ops::Activation,
    train::{Event, Examples, Session, Trainer},
};
use armilla_samplers::rng::{Purpose, stream};

const NUMBERS: usize = 64;
const ROWS: usize = 2048;
/// One state of the batch: numbers of eight bytes.
const STATE: f64 = (NUMBERS * ROWS * 8) as f64 / (1 << 20) as f64;

/// The most memory that this process has held so far, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<f64>().unwrap() / 1024.0
}

/// Makes two steps of a training, each over as many of the solver.
fn train(gradient: Gradient, steps: usize) {
    let device = Cpu::default();
    let config = ConditionedMlpConfig {
        channels: NUMBERS,
        widths: vec![8],
        activation: Activation::Tanh,
        ..Default::default()
    };
    let mut network = ConditionedMlp::new(&device, config, &mut stream(1, Purpose::Weights, 0)).unwrap();
    let data: Vec<f32> = (0..ROWS * NUMBERS).map(|i| (i as f32).sin()).collect();
    let judged = data[..NUMBERS].to_vec();
    let trainer = Trainer {
        steps: 2,
        batch_size: ROWS,
        ..Trainer::default()
    };
    let session = Session {
        seed: 1,
        keep: None,
        interrupt: None,
        observe: &mut |_: Event<'_>| Ok(()),
    };
    let settings = Ffjord {
        method: Method::Euler,
        steps,
        gradient,
        ..Ffjord::default()
    };
    let examples = |fields| Examples {
        fields,
        parameters: &[],
    };
    let (training, judged) = (examples(&data), examples(&judged));
    settings
        .train(&trainer, &mut network, &device, [1; 3], training, judged, session)
        .unwrap();
}

#[test]
fn the_adjoint_needs_no_more_memory_for_more_steps() {
    const FEW: usize = 8;
    const MANY: usize = 96;
    // In this order: a peak never falls.
    let [few, many, discrete] = [
        (Gradient::Adjoint, FEW),
        (Gradient::Adjoint, MANY),
        (Gradient::Discrete, MANY),
    ]
    .map(|(gradient, steps)| {
        train(gradient, steps);
        peak()
    });
    println!(
        "peak: adjoint {few:.0} MiB in {FEW} steps, {many:.0} in {MANY}; steps kept: {discrete:.0} in {MANY}"
    );
    let kept = (MANY - FEW) as f64 * STATE;
    assert!(many - few < 0.1 * kept, "{few} {many}");
    assert!(discrete - many > 0.7 * kept, "{many} {discrete}");
}
