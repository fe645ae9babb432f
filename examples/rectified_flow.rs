//! Straighten a flow to eight Gaussians, and draw both: `cargo run --release --example rectified_flow -- out`.

use std::{error::Error, path::PathBuf};

use armilla::models::generate::{Solver, noise, trajectory};
use armilla::models::nets::{ConditionedMlp, ConditionedMlpConfig};
use armilla::models::train::{Event, Examples, Session, Trainer};
use armilla::models::{Cpu, matching::Matching, ops::Activation, predictor::NetworkPredictor};
use armilla::models::{rectified::Rectified, toys::Toy};
use armilla::plot::{PlanePanel, Planes, planes};
use armilla::samplers::rng::{Purpose, stream};

/// Where samples go from the same noise, in 50 steps of Heun's method.
fn paths(network: &ConditionedMlp<Cpu>) -> Result<Vec<Vec<[f64; 2]>>, Box<dyn Error>> {
    let flow = Matching::default();
    let flow = NetworkPredictor::new(network, &Cpu::default(), [1; 3], flow.path, flow.target)?;
    let times: Vec<f64> = (0..=50).map(|i| 1.0 - 0.02 * f64::from(i)).collect();
    let states = trajectory(&flow, noise(0..120, 2, 7), Solver::Heun, 50, &times)?.states;
    let path = |row: usize| states.iter().map(|x| [x[2 * row], x[2 * row + 1]]).collect();
    Ok((0..120).map(path).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "out".into()));
    std::fs::create_dir_all(&folder)?;
    let [training, held] = [(20_000, 1), (1000, 2)].map(|(count, seed)| -> Vec<f32> {
        let points = Toy::EightGaussians.draw(count, seed);
        points.iter().map(|x| *x as f32).collect()
    });
    let [training, held] = [&training, &held].map(|points| Examples::alone(points));
    let device = Cpu::default();
    let config = ConditionedMlpConfig {
        channels: 2,
        cond_dim: 0,
        widths: vec![64; 3],
        activation: Activation::Silu,
    };
    let mut network = ConditionedMlp::new(&device, config, &mut stream(1, Purpose::Weights, 0))?;
    let trainer = Trainer {
        steps: 3000,
        batch_size: 512,
        ..Trainer::default()
    };
    let mut quiet = |_: Event<'_>| Ok(());
    let (flow, session) = (Matching::default(), Session::new(1, &mut quiet));
    flow.train(&trainer, &mut network, &device, [1; 3], training, held, session)?;
    let curved = paths(&network)?;

    let (rectified, session) = (Rectified::default(), Session::new(2, &mut quiet));
    let found = rectified.train(&trainer, &mut network, &device, [1; 3], training, held, session)?;
    let straight = paths(&network)?;
    println!("round  straightness  distance from the end of the flow in 1, 2, 5, 10 steps of Euler's method");
    for (round, found) in found.rounds.iter().enumerate() {
        let errors: Vec<String> = found.errors.iter().map(|(_, e)| format!("{e:.4}")).collect();
        println!("{round:>5}  {:>12.4}  {}", found.straightness, errors.join("  "));
    }
    let panel = |title, paths| PlanePanel {
        title,
        paths,
        ..PlanePanel::default()
    };
    let plot = Planes {
        title: "From noise to eight Gaussians",
        names: ["x_1", "x_2"],
        panels: &[
            panel("flow matching", &curved),
            panel("rectified once", &straight),
        ],
    };
    for format in ["png", "svg"] {
        planes(&plot, folder.join(format!("rectified_flow.{format}")))?;
    }
    Ok(())
}
