//! Compare the samplers with each other and with other packages: `cargo bench --bench compare_samplers`.
//!
//! Prints, for every target and sampler, the effective draws (bulk, of the worst parameter) per second of wall time
//! with warm-up, per evaluation, the largest R̂ and the largest bias of a mean in standard errors; each the median over
//! seeds. Where `benches/peers/results.jsonl` holds what other packages reach on this machine, the ratio to the best
//! of them follows. Names after `--` choose targets: `cargo bench --bench compare_samplers -- blr arK`.

#[path = "../../samplers/tests/posteriordb/models.rs"]
#[allow(dead_code)]
mod models;
mod peers;
#[path = "../../samplers/tests/posteriordb/reference.rs"]
#[allow(dead_code)]
mod reference;
mod targets;

use std::time::Instant;

use armilla::samplers::diagnostics::{ess_bulk, mcse_mean, rhat};
use armilla::samplers::prelude::*;

use peers::Peers;

const SEEDS: u64 = 3;

/// What is known of a parameter: its mean, and how well that is known.
type Truth = Vec<Option<(f64, f64)>>;

type Named<'a, T> = (&'static str, Box<dyn Sampler<T> + 'a>, RunOptions);

struct Bench {
    peers: Peers,
    chosen: Vec<String>,
}

struct Row {
    ess_per_second: f64,
    ess_per_evaluation: f64,
    rhat: f64,
    bias: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds options of its own.
    let chosen = std::env::args()
        .skip(1)
        .filter(|name| !name.starts_with('-'))
        .collect();
    let bench = Bench {
        peers: Peers::read()?,
        chosen,
    };
    println!(
        "{:14} {:24} {:>11} {:>11} {:>7} {:>7}  ratio to the best peer",
        "target", "sampler", "ESS/s", "ESS/eval", "R̂ ", "bias/se"
    );
    for (name, dim) in [("gaussian_2", 2), ("gaussian_10", 10), ("gaussian_100", 100)] {
        bench.smooth(name, &targets::gaussian(dim), &vec![Some((0.0, 0.0)); dim]);
    }
    let mut truth = vec![None; 10];
    truth[0] = Some((0.0, 0.0));
    bench.smooth("funnel", &targets::funnel(), &truth);
    bench.smooth("banana", &targets::banana(), &vec![Some((0.0, 0.0)); 2]);
    bench.posteriordb("eight_schools", reference::eight_schools());
    bench.posteriordb("blr", reference::blr());
    bench.posteriordb("arK", reference::ark());
    bench.two_moons()?;
    Ok(())
}

/// Samplers of any density with a gradient.
fn gradient_samplers<T: DifferentiableDensity + ?Sized>(dim: usize) -> Vec<Named<'static, T>> {
    let mut samplers: Vec<Named<'static, T>> = vec![
        ("NUTS", Box::new(Nuts::default()), options(500, 1000)),
        (
            "NUTS, 10000 draws",
            Box::new(Nuts::default()),
            options(500, 10_000),
        ),
        ("HMC", Box::new(Hmc::default()), options(1000, 10_000)),
        ("MALA", Box::new(Mala::default()), options(2000, 10_000)),
        ("MCLMC", Box::new(Mclmc::default()), options(1000, 10_000)),
        ("ChEES-HMC", Box::new(ChEesHmc::default()), options(1000, 2000)),
    ];
    if dim <= 20 {
        samplers.extend(value_samplers());
    }
    samplers
}

/// Samplers of any density.
fn value_samplers<T: Density + ?Sized>() -> Vec<Named<'static, T>> {
    vec![
        (
            "Metropolis–Hastings",
            Box::new(MetropolisHastings::default()),
            options(2000, 20_000),
        ),
        ("ensemble", Box::new(Ensemble::default()), options(1000, 5000)),
    ]
}

fn options(warmup: usize, draws: usize) -> RunOptions {
    RunOptions {
        warmup,
        draws,
        ..RunOptions::default()
    }
}

impl Bench {
    fn smooth<T: DifferentiableDensity>(&self, name: &str, target: &T, truth: &Truth) {
        self.compare(name, target, target.dim(), truth, gradient_samplers(target.dim()));
    }

    fn posteriordb<M: Model>(&self, name: &str, loaded: Option<(reference::Reference, ModelPosterior<M>)>) {
        let Some((reference, target)) = loaded else {
            return;
        };
        let of = |name: &String| {
            let column = reference
                .names
                .iter()
                .position(|other| counted_from_zero(other) == *name)?;
            Some(mean_and_error(&reference.column(column)))
        };
        let truth = target.names().iter().map(of).collect();
        self.compare(
            name,
            &target,
            target.dim(),
            &truth,
            gradient_samplers(target.dim()),
        );
    }

    fn two_moons(&self) -> Result<(), Box<dyn std::error::Error>> {
        let Some((observation, draws)) = reference::two_moons() else {
            return Ok(());
        };
        let truth = [0, 1].map(|k| {
            let column: Vec<f64> = draws.iter().map(|draw| draw[k]).collect();
            Some(mean_and_error(&column))
        });
        let truth = truth.to_vec();
        let prior = Prior::new()
            .with("theta[0]", Uniform::new(-1.0, 1.0)?)?
            .with("theta[1]", Uniform::new(-1.0, 1.0)?)?;
        let target = Posterior::new(prior, targets::TwoMoons(observation))?;
        let mut samplers = value_samplers();
        samplers.push((
            "parallel tempering",
            Box::new(ParallelTempering::default()),
            options(1000, 10_000),
        ));
        samplers.push(("SMC", Box::new(Smc::default()), options(0, 10_000)));
        self.compare("two_moons", &target, 2, &truth, samplers);
        Ok(())
    }

    /// Runs every sampler on a target of `dim` unknowns, and prints its row.
    fn compare<T: ?Sized>(
        &self,
        name: &str,
        target: &T,
        dim: usize,
        truth: &Truth,
        samplers: Vec<Named<'_, T>>,
    ) {
        if !self.chosen.is_empty() && !self.chosen.iter().any(|chosen| chosen == name) {
            return;
        }
        for (method, sampler, options) in samplers {
            let rows: Result<Vec<Row>, SampleError> = (0..SEEDS)
                .map(|seed| {
                    let options = RunOptions {
                        seed,
                        ..options.clone()
                    };
                    let began = Instant::now();
                    let run = sampler.sample(target, &options)?;
                    Ok(judge(&run, dim, truth, began.elapsed().as_secs_f64()))
                })
                .collect();
            match rows {
                Ok(rows) => {
                    let median = |of: fn(&Row) -> f64| {
                        let mut numbers: Vec<f64> = rows.iter().map(of).collect();
                        numbers.sort_by(f64::total_cmp);
                        numbers[numbers.len() / 2]
                    };
                    let per_second = median(|row| row.ess_per_second);
                    println!(
                        "{name:14} {method:24} {per_second:>11.0} {:>11.5} {:>7.3} {:>7.1}  {}",
                        median(|row| row.ess_per_evaluation),
                        median(|row| row.rhat),
                        median(|row| row.bias),
                        self.peers.ratios(name, method, per_second)
                    );
                }
                Err(error) => println!("{name:14} {method:24} {error}"),
            }
        }
        println!();
    }
}

/// `beta[1]` of the reference, which counts from 1, is `beta[0]`.
fn counted_from_zero(name: &str) -> String {
    let element = name.strip_suffix(']').and_then(|name| name.split_once('['));
    match element.and_then(|(stem, index)| Some((stem, index.parse::<usize>().ok()?.checked_sub(1)?))) {
        Some((stem, index)) => format!("{stem}[{index}]"),
        None => name.to_owned(),
    }
}

/// The mean of independent draws, and its standard error.
fn mean_and_error(draws: &[f64]) -> (f64, f64) {
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    (mean, (variance / n).sqrt())
}

fn judge(run: &Run, dim: usize, truth: &Truth, seconds: f64) -> Row {
    let (mut ess, mut worst, mut bias) = (f64::INFINITY, 1.0_f64, 0.0_f64);
    for index in 0..dim {
        let chains = run.parameter(index);
        ess = ess.min(ess_bulk(&chains).unwrap_or(0.0));
        worst = worst.max(rhat(&chains).unwrap_or(f64::INFINITY));
    }
    for (index, truth) in truth.iter().enumerate() {
        if let Some((mean, error)) = truth {
            let chains = run.parameter(index);
            let draws = chains.concat();
            let found = draws.iter().sum::<f64>() / draws.len() as f64;
            let error = error.hypot(mcse_mean(&chains).unwrap_or(f64::INFINITY));
            bias = bias.max((found - mean).abs() / error);
        }
    }
    let evaluations = (run.evaluations.values + run.evaluations.gradients) as f64;
    Row {
        ess_per_second: ess / seconds,
        ess_per_evaluation: ess / evaluations,
        rhat: worst,
        bias,
    }
}
