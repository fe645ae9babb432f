//! Ratios in one run: each CPU kernel against the same operation composed of dfdx's, and a likelihood value by
//! quadratic forms against the passes through the network that it stands for. And the time of a training step.
//!
//! `cargo bench --bench kernels`

use std::time::Instant;

use armilla::models::{
    Cpu, Field, Module,
    dfdx::prelude::{Backward, OwnedTape, SumTo, TensorFromVec},
    flow_matching::{Examples, FlowMatching, Refine},
    layers::Conv,
    likelihoods::EvidenceBound,
    ops::{
        self,
        conv::geometry::{Geometry, Padding, Sizes},
    },
    path::Time,
    train::{Session, Trainer},
    velocity::{VelocityBasis, VelocityConfig, VelocityNetwork},
};
use armilla::samplers::{
    Likelihood,
    rng::{Purpose, stream},
};

/// Fields of unit variance, more or less.
const AMPLITUDE: f32 = 1.4;

/// Median seconds of `repeats` calls.
fn median(repeats: usize, mut call: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[repeats / 2]
}

fn compare(name: &str, work: f64, mut ours: impl FnMut(), mut peer: impl FnMut()) {
    let (a, b) = (median(15, &mut ours), median(5, &mut peer));
    println!(
        "{name:<58}{:>9.2} ms{:>9.1} GFLOP/s{:>9.1}×",
        a * 1e3,
        work / a / 1e9,
        b / a
    );
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.71).sin() * AMPLITUDE).collect()
}

/// Forward to a sum, and back.
fn there_and_back(y: armilla::models::field::Values<Cpu, OwnedTape<f32, Cpu>>) {
    drop(y.sum().backward());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Cpu::default();
    println!(
        "{:<58}{:>12}{:>17}{:>10}",
        "kernel, forward and backward", "time", "rate", "speed-up"
    );
    for (batch, channels, outputs, side, kernel) in [
        (64, 8, 8, 32, 3),
        (64, 16, 16, 16, 3),
        (64, 32, 32, 8, 3),
        (64, 32, 32, 32, 3),
        (64, 64, 32, 16, 1),
    ] {
        let x = Field::new(
            &device,
            numbers(batch * channels * side * side),
            batch,
            channels,
            [1, side, side],
        )?;
        let geometry = Geometry::same([1, kernel, kernel], Padding::Circular);
        let layer = Conv::new(
            &device,
            [channels, outputs],
            geometry,
            2,
            &mut stream(1, Purpose::Weights, 0),
        )?;
        let flat = |values: Vec<f32>| {
            let count = values.len();
            device.tensor_from_vec(values, (count,))
        };
        let weights: Vec<_> = layer.weights().0.into_iter().map(|w| flat(w.values)).collect();
        let kept = ops::conv::Kept::default();
        let extent = x.extent();
        let sizes = Sizes {
            batch,
            channels,
            outputs,
            input: extent,
            output: extent,
            geometry,
        };
        compare(
            &format!("conv {batch}×{channels}→{outputs}×{side}×{side}, {kernel}×{kernel}"),
            6.0 * (batch * outputs * channels * geometry.taps() * side * side) as f64,
            || drop(layer.forward(x.traced()).map(|y| there_and_back(y.into_values()))),
            || {
                let (weight, bias) = (weights[0].retaped(), weights[1].retaped());
                let x = x.traced().into_values();
                let _ = ops::conv::composed(x, weight, Some(bias), &sizes, &kept).map(there_and_back);
            },
        );
    }
    let x = Field::new(&device, numbers(64 * 16 * 32 * 32), 64, 16, [1, 32, 32])?;
    let rows = Field::rows(&device, vec![0.1; 64 * 32], 64)?;
    compare(
        "modulated_silu 64×16×32×32",
        20.0 * (64 * 16 * 32 * 32) as f64,
        || drop(ops::modulated_silu(x.traced(), rows.traced()).map(|y| there_and_back(y.into_values()))),
        || {
            let (x, rows) = (x.traced().into_values(), rows.traced().into_values());
            let _ = ops::modulated_silu::composed(x, rows).map(there_and_back);
        },
    );

    let mut network = VelocityNetwork::new(
        &device,
        VelocityConfig::default(),
        32,
        &[[0.1, 0.5], [0.6, 1.0]],
        1,
    )?;
    let field = numbers(32 * 32);
    let bound = EvidenceBound::default();
    let mut read = None;
    let observe = median(3, || read = bound.observe(&network, &field).ok());
    let surrogate = read.ok_or("the observation could not be read")?;
    let value = median(201, || drop(surrogate.log_likelihood(&[0.3, 0.8])));
    let times = vec![Time::from_t(0.5); 64];
    let one = median(5, || drop(network.basis(field.repeat(64), &times)));
    let passes = one * (2 * bound.times * bound.noises) as f64 / 64.0;
    println!();
    println!("reading a 32×32 observation: {:.0} ms", observe * 1e3);
    println!("a likelihood value after that: {:.3} ms", value * 1e3);
    println!(
        "the network's passes that it stands for: {:.0} ms, {:.0}× more",
        passes * 1e3,
        passes / value
    );
    let trainer = Trainer {
        steps: 8,
        ..Trainer::default()
    };
    let flow = FlowMatching {
        refine: Refine {
            draws: 0,
            ..Refine::default()
        },
        ..FlowMatching::default()
    };
    let (fields, parameters) = (field.repeat(64), [0.3, 0.8].repeat(64));
    let all = Examples {
        fields: &fields,
        parameters: &parameters,
    };
    let whole = median(5, || {
        let session = Session {
            seed: 1,
            keep: None,
            interrupt: None,
            observe: &mut |_| Ok(()),
        };
        drop(flow.train(&trainer, &mut network, all, all, session));
    });
    println!(
        "a training step on {} fields: {:.1} ms",
        trainer.batch_size,
        whole / trainer.steps as f64 * 1e3
    );
    Ok(())
}
