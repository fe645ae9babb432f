//! Compare diffusion with flow matching, by the same network and training: `cargo run --release --example ddpm_vs_flow`.

use std::{fmt::Write, path::PathBuf, time::Instant};

use armilla::models::generate::generate;
use armilla::models::nets::{ConditionedMlp, ConditionedMlpConfig};
use armilla::models::path::{Chain, Path, Schedule, Target};
use armilla::models::train::{Event, Examples, Session, Trainer};
use armilla::models::{Cpu, matching::Matching, ops::Activation, predictor::NetworkPredictor};
use armilla::models::{toys::Toy, two_sample::c2st};
use armilla::samplers::rng::{Purpose, stream};

const SAMPLES: usize = 5000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "out".into()));
    std::fs::create_dir_all(&folder)?;
    let toy = Toy::TwoMoons;
    let draw = |count, seed| -> Vec<f32> { toy.draw(count, seed).iter().map(|x| *x as f32).collect() };
    let (training, held) = (draw(50_000, 1), draw(2000, 2));
    let device = Cpu::default();
    let config = ConditionedMlpConfig {
        channels: 2,
        cond_dim: 0,
        widths: vec![64; 3],
        activation: Activation::Silu,
    };
    let trainer = Trainer {
        steps: 5000,
        batch_size: 512,
        ema_decay: 0.998,
        ..Trainer::default()
    };
    let diffusion = Matching {
        path: Path::Chain(Chain::new(Schedule::default(), 1000)?),
        target: Target::Noise,
        ..Matching::default()
    };
    let of_diffusion = [("ddpm", 1000), ("ddpm", 50), ("ddim", 50), ("ddim", 10)];
    let of_flow = [("euler", 50), ("euler", 10), ("heun", 10), ("heun", 5)];
    let cases = [
        ("diffusion", diffusion, of_diffusion),
        ("flow", Matching::default(), of_flow),
    ];

    let mut table = String::from("| model | solver | steps | evaluations | C2ST | seconds |\n");
    table += "|---|---|---|---|---|---|\n";
    for (name, matching, runs) in cases {
        let weights = &mut stream(1, Purpose::Weights, 0);
        let mut network = ConditionedMlp::new(&device, config.clone(), weights)?;
        let [training, held] = [&training, &held].map(|points| Examples::alone(points));
        let mut quiet = |_: Event<'_>| Ok(());
        let session = Session::new(1, &mut quiet);
        matching.train(&trainer, &mut network, &device, [1; 3], training, held, session)?;
        let model = NetworkPredictor::new(&network, &device, [1; 3], matching.path, matching.target)?;
        for (solver, steps) in runs {
            let start = Instant::now();
            let drawn = generate(&model, SAMPLES, solver.parse()?, steps, 7)?;
            let seconds = start.elapsed().as_secs_f64();
            let told = c2st(&toy.draw(SAMPLES, 3), &drawn.values, 2, 4)?;
            write!(table, "| {name} | {solver} | {steps} | {} ", drawn.evaluations)?;
            writeln!(table, "| {told:.3} | {seconds:.2} |")?;
        }
    }
    println!("{SAMPLES} samples of two moons; a C2ST of 0.5 is the best\n\n{table}");
    std::fs::write(folder.join("ddpm_vs_flow.md"), table)?;
    Ok(())
}
