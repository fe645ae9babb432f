//! Learn the flow from N(0, 1) to N(2, 0.5²), and watch it on the way: `cargo run --release --example flow_1d -- out`.

use std::path::PathBuf;

use armilla::models::generate::{Solver, noise, trajectory};
use armilla::models::train::{Event, Examples, Schedule, Session, Trainer};
use armilla::models::{Cpu, matching::Matching, nets::ConditionedMlp, predictor::NetworkPredictor};
use armilla::plot::{Evolution, evolution};
use armilla::samplers::rng::{Purpose, stream};
use rand::RngExt;

const MEAN: f64 = 2.0;
const SD: f64 = 0.5;
const STEPS: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "out".into()));
    std::fs::create_dir_all(&folder)?;
    let (mut random, data) = (
        stream(1, Purpose::Simulation, 0),
        rand_distr::Normal::new(MEAN, SD)?,
    );
    let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| random.sample(data) as f32).collect() };
    let (training, held) = (draw(2048), draw(512));

    // 2-32-32-1: a number and its time go in, its velocity comes out.
    let device = Cpu::default();
    let mut network = ConditionedMlp::new(&device, Default::default(), &mut stream(1, Purpose::Weights, 0))?;
    let trainer = Trainer {
        epochs: Some(1000),
        batch_size: 512,
        learning_rate: 1e-3,
        schedule: Schedule::Constant,
        validate_every: Some(400),
        ..Trainer::default()
    };
    let mut quiet = |_: Event<'_>| Ok(());
    let [training, held] = [&training, &held].map(|points| Examples::alone(points));
    let (flow, session) = (Matching::default(), Session::new(1, &mut quiet));
    flow.train(&trainer, &mut network, &device, [1; 3], training, held, session)?;

    // Noise is at t = 1, data at t = 0.
    let flow = NetworkPredictor::new(&network, &device, [1; 3], flow.path, flow.target)?;
    let times: Vec<f64> = (0..=STEPS).map(|i| 1.0 - i as f64 / STEPS as f64).collect();
    let states = trajectory(&flow, noise(0..20_000, 1, 7), Solver::Heun, STEPS, &times)?.states;
    let bell = |x: f64| (-0.5 * ((x - MEAN) / SD).powi(2)).exp() / (SD * std::f64::consts::TAU.sqrt());
    let grid = (0..=80).map(|i| 0.05 * f64::from(i));
    let target: Vec<(f64, f64)> = grid.map(|x| (x, bell(x))).collect();
    let plot = Evolution {
        title: "From N(0, 1) to N(2, 0.5²) in 10 steps",
        name: "x",
        times: &times,
        values: &states,
        target: Some(&target),
    };
    for format in ["png", "svg"] {
        evolution(&plot, folder.join(format!("flow_1d.{format}")))?;
    }

    let (last, n) = (&states[STEPS], states[STEPS].len() as f64);
    let mean = last.iter().sum::<f64>() / n;
    let sd = (last.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    println!("mean {mean:.3} for {MEAN}, standard deviation {sd:.3} for {SD}");
    if (mean - MEAN).abs() > 0.05 || (sd - SD).abs() > 0.05 {
        return Err("the flow misses its target by more than 0.05".into());
    }
    Ok(())
}
