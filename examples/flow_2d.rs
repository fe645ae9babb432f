//! Learn a flow to two moons, and draw its velocity and where samples go: `cargo run --release --example flow_2d -- out`.

use std::path::PathBuf;

use armilla::models::generate::{Solver, noise, trajectory};
use armilla::models::nets::{ConditionedMlp, ConditionedMlpConfig};
use armilla::models::predictor::{NetworkPredictor, Predictor};
use armilla::models::train::{Event, Examples, Session, Trainer};
use armilla::models::{Cpu, matching::Matching, ops::Activation, toys::Toy};
use armilla::plot::{PlanePanel, Planes, planes};
use armilla::samplers::rng::{Purpose, stream};

fn pairs(values: &[f64]) -> Vec<[f64; 2]> {
    values.chunks_exact(2).map(|x| [x[0], x[1]]).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "out".into()));
    std::fs::create_dir_all(&folder)?;
    let [training, held] = [(20_000, 1), (2000, 2)].map(|(count, seed)| -> Vec<f32> {
        let points = Toy::TwoMoons.draw(count, seed);
        points.iter().map(|x| *x as f32).collect()
    });
    let device = Cpu::default();
    let config = ConditionedMlpConfig {
        channels: 2,
        cond_dim: 0,
        widths: vec![64; 3],
        activation: Activation::Silu,
    };
    let mut network = ConditionedMlp::new(&device, config, &mut stream(1, Purpose::Weights, 0))?;
    let trainer = Trainer {
        steps: 4000,
        batch_size: 512,
        ..Trainer::default()
    };
    let mut quiet = |_: Event<'_>| Ok(());
    let [training, held] = [&training, &held].map(|points| Examples::alone(points));
    let (flow, session) = (Matching::default(), Session::new(1, &mut quiet));
    flow.train(&trainer, &mut network, &device, [1; 3], training, held, session)?;
    let flow = NetworkPredictor::new(&network, &device, [1; 3], flow.path, flow.target)?;

    // Where the flow goes at a time, drawn the way that samples go: from noise to data.
    let place = |i: usize| -2.5 + 5.0 * i as f64 / 18.0;
    let grid: Vec<f64> = (0..361).flat_map(|i| [place(i % 19), place(i / 19)]).collect();
    let arrows = |t: f64| -> armilla::models::Result<Vec<_>> {
        let back: Vec<f64> = flow.velocity(&grid, t)?.iter().map(|v| -v).collect();
        Ok(pairs(&grid).into_iter().zip(pairs(&back)).collect())
    };
    let times: Vec<f64> = (0..=50).map(|i| 1.0 - 0.02 * f64::from(i)).collect();
    let states = trajectory(&flow, noise(0..800, 2, 7), Solver::Heun, 50, &times)?.states;
    let path = |row: usize| states.iter().map(|x| [x[2 * row], x[2 * row + 1]]).collect();
    let (points, paths) = (pairs(&states[50]), (0..60).map(path).collect::<Vec<_>>());
    let (early, late) = (arrows(0.7)?, arrows(0.2)?);
    let panel = |title, paths, arrows| PlanePanel {
        title,
        points: &points,
        paths,
        arrows,
    };
    let plot = Planes {
        title: "Two moons",
        names: ["x_1", "x_2"],
        panels: &[
            panel("velocity at t = 0.7", &[], &early),
            panel("velocity at t = 0.2", &[], &late),
            panel("where samples go", &paths, &[]),
        ],
    };
    for format in ["png", "svg"] {
        planes(&plot, folder.join(format!("flow_2d.{format}")))?;
    }
    Ok(())
}
