//! Measure the solvers: their error against the number of evaluations, and samples per second of a U-Net.
//!
//! `cargo bench --bench generative` prints two tables. The lines of the second go to `benches/peers/generative_ours.jsonl`
//! too, of which `benches/peers/generative.py` makes ratios to PyTorch. `-- error` or `-- speed` takes one of them.

use std::{env, fs, time::Instant};

use armilla::models::{
    Cpu, Module, Result,
    generate::{Solver, from_noise, noise},
    nets::{Architecture, AttentionUnetConfig, Conditioned, Network, SimpleUnetConfig},
    path::{Path, Target},
    predictor::{NetworkPredictor, Predictor},
    toys::Toy,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Eight Gaussians, whose velocity is known: nothing but the solver errs.
struct Mixture {
    path: Path,
}

/// Of [`Toy::EightGaussians`].
const RADIUS: f64 = std::f64::consts::SQRT_2;
const SD: f64 = 0.175;

impl Predictor for Mixture {
    fn numbers(&self) -> usize {
        2
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn target(&self) -> Target {
        Target::Velocity
    }

    fn predict(&self, x: &[f64], t: f64) -> Result<Vec<f64>> {
        let at = self.path.at(t);
        let variance = (at.alpha * SD).powi(2) + at.sigma.powi(2);
        let velocity = |x: &[f64]| {
            let (mut sum, mut total) = ([0.0; 2], 0.0);
            for k in 0..8 {
                let (sin, cos) = (std::f64::consts::TAU * f64::from(k) / 8.0).sin_cos();
                let centre = [RADIUS * cos, RADIUS * sin];
                let away = [0, 1].map(|i| x[i] - at.alpha * centre[i]);
                let weight = (-0.5 * (away[0].powi(2) + away[1].powi(2)) / variance).exp();
                for i in 0..2 {
                    // What data and noise are in the mean, of this Gaussian.
                    let x0 = centre[i] + at.alpha * SD * SD / variance * away[i];
                    let x1 = at.sigma / variance * away[i];
                    sum[i] += weight * at.target(Target::Velocity, x0, x1);
                }
                total += weight;
            }
            sum.map(|sum| sum / total.max(f64::MIN_POSITIVE))
        };
        Ok(x.chunks_exact(2).flat_map(velocity).collect())
    }
}

/// Solvers that end where the flow from their noise does.
const DETERMINISTIC: [Solver; 7] = [
    Solver::Euler,
    Solver::Midpoint,
    Solver::Heun,
    Solver::Rk4,
    Solver::Ddim { eta: 0.0 },
    Solver::Edm,
    Solver::DpmSolver,
];
const STOCHASTIC: [Solver; 3] = [Solver::Ddpm, Solver::EulerMaruyama, Solver::PredictorCorrector];
const ROWS: usize = 20_000;

fn errors() -> Result<()> {
    let paths = [
        ("linear", Path::Linear),
        (
            "variance-preserving",
            Path::VariancePreserving {
                beta_min: 0.1,
                beta_max: 20.0,
            },
        ),
    ];
    let entropy = {
        let draws = Toy::EightGaussians.draw(ROWS, 1);
        mean(
            draws
                .chunks_exact(2)
                .map(|x| Toy::EightGaussians.log_density([x[0], x[1]])),
        )
    };
    println!(
        "eight Gaussians, closed-form velocity; distance from the end of the flow, and mean log density above the truth's"
    );
    for (name, path) in paths {
        let mixture = Mixture { path };
        let start = noise(0..ROWS, 2, 7);
        let end = from_noise(&mixture, start.clone(), Solver::Rk4, 2000, 0)?.values;
        println!(
            "\n{name:<22}{:>8}{:>14}{:>12}{:>12}{:>10}",
            "steps", "evaluations", "distance", "nats", "ms"
        );
        let solvers = DETERMINISTIC.iter().chain(&STOCHASTIC).copied();
        let cases = solvers.flat_map(|solver| [5, 10, 20, 50, 100].map(|steps| (solver, steps)));
        for (solver, steps) in cases.chain([(Solver::Dopri5, 1)]) {
            let begin = Instant::now();
            let found = from_noise(&mixture, start.clone(), solver, steps, 1)?;
            let seconds = begin.elapsed().as_secs_f64();
            let square = mean(found.values.iter().zip(&end).map(|(a, b)| (a - b).powi(2)));
            let distance = match STOCHASTIC.contains(&solver) {
                true => "–".to_owned(),
                false => format!("{:.2e}", square.sqrt()),
            };
            let logs = found
                .values
                .chunks_exact(2)
                .map(|x| Toy::EightGaussians.log_density([x[0], x[1]]));
            println!(
                "{:<22}{steps:>8}{:>14}{distance:>12}{:>12.4}{:>10.1}",
                solver.to_string(),
                found.evaluations,
                mean(logs) - entropy,
                1e3 * seconds
            );
        }
    }
    Ok(())
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
    sum / count
}

/// Fields that are made at once, and the side of each.
const BATCH: usize = 16;
const SIDE: usize = 32;

/// The networks of `generative.py`, random.
fn networks() -> [(&'static str, Architecture); 2] {
    let simple = SimpleUnetConfig {
        base_channels: 32,
        channel_mults: vec![1, 2, 4],
        cond_dim: 2,
        ..Default::default()
    };
    let attention = AttentionUnetConfig {
        dim: 32,
        dim_mults: vec![1, 2, 4],
        ..Default::default()
    };
    [
        ("simple_unet", Architecture::SimpleUnet(simple)),
        ("attention_unet", Architecture::AttentionUnet(attention)),
    ]
}

fn speed() -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let device = Cpu::default();
    let chain = Path::Chain(armilla::models::path::Chain::new(Default::default(), 1000)?);
    let ddim = Solver::Ddim { eta: 0.0 };
    let cases = [
        (Path::Linear, Target::Velocity, Solver::Euler, 20),
        (Path::Linear, Target::Velocity, Solver::Midpoint, 10),
        (Path::Linear, Target::Velocity, Solver::Heun, 10),
        (Path::Linear, Target::Velocity, Solver::Rk4, 5),
        (chain.clone(), Target::Noise, ddim, 20),
        (chain.clone(), Target::Noise, Solver::Ddpm, 20),
        (chain.clone(), Target::Noise, Solver::Edm, 10),
        (chain.clone(), Target::Noise, Solver::DpmSolver, 20),
        (chain.clone(), Target::Noise, Solver::EulerMaruyama, 20),
        (chain, Target::Noise, Solver::PredictorCorrector, 10),
    ];
    let mut lines = Vec::new();
    println!("\n{BATCH} fields of {SIDE} × {SIDE} at once");
    println!(
        "{:<18}{:>10}{:>8}{:>14}{:>14}",
        "network", "solver", "steps", "evaluations", "samples/s"
    );
    for (name, architecture) in networks() {
        let mut network = Network::new(&device, &architecture, 1)?;
        network.freeze(true);
        let condition = vec![0.5; network.condition_len()];
        for (path, target, solver, steps) in &cases {
            let model = NetworkPredictor::new(&network, &device, [1, SIDE, SIDE], path.clone(), *target)?;
            let model = model.given(&condition)?;
            let start = noise(0..BATCH, SIDE * SIDE, 7);
            let (mut least, mut evaluations) = (f64::INFINITY, 0);
            for _ in 0..4 {
                let begin = Instant::now();
                evaluations = from_noise(&model, start.clone(), *solver, *steps, 1)?.evaluations;
                least = least.min(begin.elapsed().as_secs_f64());
            }
            let rate = BATCH as f64 / least;
            println!(
                "{name:<18}{:>10}{steps:>8}{evaluations:>14}{rate:>14.2}",
                solver.to_string()
            );
            let line = serde_json::json!({
                "network": name, "solver": solver.to_string(), "steps": steps, "evaluations": evaluations,
                "samples_per_second": rate,
            });
            lines.push(line.to_string());
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/generative_ours.jsonl");
    fs::write(path, lines.join("\n") + "\n")?;
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let wanted: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    if chosen("error") {
        errors()?;
    }
    if chosen("speed") {
        // On a thread of the pool, as the program does: asking it from outside costs a tenth.
        rayon::join(speed, || ()).0?;
    }
    Ok(())
}
