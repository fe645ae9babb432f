//! Ratios in one run: each CPU kernel against the same operation composed of dfdx's, and a likelihood value by
//! quadratic forms against the passes through the network that it stands for.
//!
//! `cargo bench --bench kernels`

use std::time::Instant;

use armilla::models::{
    Cpu, Device,
    dfdx::prelude::*,
    likelihoods::EvidenceBound,
    ops::{self, conv2d::Geometry, conv2d::Padding},
    path::Time,
    velocity::{VelocityBasis, VelocityConfig, VelocityNetwork},
};
use armilla::samplers::Likelihood;

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

fn maps<D: Device>(device: &D, shape: (usize, usize, usize, usize)) -> armilla::models::device::Maps<D> {
    let count = shape.0 * shape.1 * shape.2 * shape.3;
    device.tensor_from_vec((0..count).map(|i| (i as f32 * 0.37).sin()).collect(), shape)
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
        let x = maps(&device, (batch, channels, side, side));
        let weights = outputs * channels * kernel * kernel;
        let weight = device.tensor_from_vec(vec![0.1f32; weights], (weights,));
        let bias = device.tensor_from_vec(vec![0.1f32; outputs], (outputs,));
        let geometry = Geometry {
            kernel,
            padding: Padding::Circular,
        };
        compare(
            &format!("conv2d {batch}×{channels}→{outputs}×{side}×{side}, {kernel}×{kernel}"),
            6.0 * (batch * weights * side * side) as f64,
            || drop(ops::conv2d(x.leaky_trace(), &weight, &bias, geometry).map(|y| y.sum().backward())),
            || {
                drop(
                    ops::conv2d::composed(x.leaky_trace(), weight.retaped(), bias.retaped(), geometry)
                        .map(|y| y.sum().backward()),
                )
            },
        );
    }
    let x = maps(&device, (64, 16, 32, 32));
    let rows = device.tensor_from_vec(vec![0.1f32; 64 * 32], (64, 32));
    compare(
        "modulated_silu 64×16×32×32",
        20.0 * (64 * 16 * 32 * 32) as f64,
        || drop(ops::modulated_silu(x.leaky_trace(), rows.retaped()).map(|y| y.sum().backward())),
        || drop(ops::modulated_silu::composed(x.leaky_trace(), rows.retaped()).map(|y| y.sum().backward())),
    );

    let network = VelocityNetwork::new(
        &device,
        VelocityConfig::default(),
        32,
        &[[0.1, 0.5], [0.6, 1.0]],
        1,
    )?;
    let field: Vec<f32> = (0..32 * 32).map(|i| (i as f32 * 0.71).sin() * 1.4).collect();
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
    Ok(())
}
