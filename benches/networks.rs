//! Time the networks and their heaviest operations: forward, with the gradient in field and condition, and training;
//! networks also forward in reduced precision, where the processor has bf16.
//!
//! `cargo bench --bench networks` prints two tables; a name (`cargo bench --bench networks -- n3`) takes only the cases
//! that contain it. Each case runs in a process of its own, so that its peak memory is its own. The lines go to
//! `benches/peers/networks_ours.jsonl` too, of which `benches/peers/networks.py` makes ratios to PyTorch.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use armilla::models::{
    Cpu, Field, Module, Signal,
    dfdx::{
        tensor::OwnedTape,
        tensor_ops::{Backward, MeanTo, SumTo, TryMul, TrySub},
    },
    layers::{Conv, GroupNorm},
    nets::{Architecture, AttentionUnetConfig, Conditioned, LatentVelocityConfig, Network, SimpleUnetConfig},
    ops::{
        Activation, Attention,
        conv::{
            Arithmetic,
            geometry::{Extent, Geometry, Padding},
        },
        peak,
    },
    train::{Adam, Trainer, adam::norm},
};
use armilla::samplers::rng::{Purpose, stream};
use rand::RngExt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Error = Box<dyn std::error::Error>;
type Traced = Field<Cpu, OwnedTape<f32, Cpu>>;

/// How long a case is repeated, and how often at least.
const WHILE: Duration = Duration::from_secs(3);
const AT_LEAST: usize = 3;
const PASSES: [&str; 3] = ["forward", "gradient", "train"];
/// The first of them in bf16.
const REDUCED: &str = "reduced";

/// What is timed.
struct Case {
    name: &'static str,
    /// Batch, channels and extent of the field.
    x: (usize, usize, Extent),
    what: What,
    /// Multiplications and additions of a forward pass, in billions, as they are written.
    gflop: f64,
}

enum What {
    /// A network, and the largest time.
    Network(Architecture, f64),
    Conv(usize, Geometry),
    Norm,
    Attention(Attention),
}

fn cases() -> Vec<Case> {
    let network = |name, architecture, x, time, gflop| Case {
        name,
        x,
        what: What::Network(architecture, time),
        gflop,
    };
    let hmc = || Architecture::AttentionUnet(AttentionUnetConfig::default());
    let conv = |name, x: (usize, usize, Extent), outputs: usize| {
        let sides = x.2.map(|n| n.min(3));
        let positions: usize = x.2.iter().product();
        let taps: usize = sides.iter().product();
        Case {
            name,
            x,
            what: What::Conv(outputs, Geometry::same(sides, Padding::Zeros)),
            gflop: 2e-9 * (x.0 * x.1 * outputs * positions * taps) as f64,
        }
    };
    let attention = |name, kind, side: usize| {
        let (positions, heads, dim) = ((side * side) as f64, 4.0, 32.0);
        let pairs = match kind {
            Attention::Full => positions * positions * dim,
            Attention::Linear => positions * dim * dim,
        };
        Case {
            name,
            x: (10, 384, [1, side, side]),
            what: What::Attention(kind),
            gflop: 2.0 * 2e-9 * 10.0 * heads * pairs,
        }
    };
    let small = SimpleUnetConfig {
        base_channels: 64,
        ..Default::default()
    };
    let latent = Architecture::LatentVelocityEstimator(LatentVelocityConfig::default());
    vec![
        network(
            "n2_base64_batch4",
            Architecture::SimpleUnet(small),
            (4, 1, [1, 64, 64]),
            1.0,
            38.6,
        ),
        network("n3_batch1", hmc(), (1, 1, [1, 64, 64]), 999.0, 9.2),
        network("n3_batch10", hmc(), (10, 1, [1, 64, 64]), 999.0, 92.0),
        network("n4_batch2", latent, (2, 128, [8, 16, 16]), 1.0, 10.9),
        conv("conv2d_8x64x64x64", (8, 64, [1, 64, 64]), 64),
        conv("conv2d_8x128x32x32", (8, 128, [1, 32, 32]), 128),
        conv("conv2d_1x64x64x64", (1, 64, [1, 64, 64]), 64),
        conv("conv3d_2x128to64x8x16x16", (2, 128, [8, 16, 16]), 64),
        Case {
            name: "group_norm_silu_10x64x64x64",
            x: (10, 64, [1, 64, 64]),
            what: What::Norm,
            gflop: 0.0,
        },
        attention("linear_attention_10x384x64x64", Attention::Linear, 64),
        attention("full_attention_10x384x8x8", Attention::Full, 8),
        attention("full_attention_10x384x32x32", Attention::Full, 32),
    ]
}

impl Case {
    fn passes(&self) -> Vec<&'static str> {
        let mut passes = PASSES.to_vec();
        match self.what {
            What::Attention(_) => passes.truncate(2),
            What::Network(..) if Arithmetic::Reduced.available() == Arithmetic::Reduced => {
                passes.insert(1, REDUCED);
            }
            _ => {}
        }
        passes
    }

    /// Seconds of one repeat, the least of them.
    fn time(&self, pass: &str) -> Result<f64, Error> {
        let device = Cpu::default();
        let mut random = stream(1, Purpose::Noise, 0);
        let mut numbers =
            |n: usize| -> Vec<f32> { (0..n).map(|_| 2.0 * random.random::<f32>() - 1.0).collect() };
        let (batch, channels, extent) = self.x;
        let positions: usize = extent.iter().product();
        let x = Field::new(
            &device,
            numbers(batch * channels * positions),
            batch,
            channels,
            extent,
        )?;
        // Against which the result is held: in the gradient its weights, in a training its target.
        let held = |y: &Traced, values: Vec<f32>| Field::new(&device, values, batch, y.channels(), extent);
        match &self.what {
            What::Network(architecture, time) => {
                let mut network = Network::new(&device, architecture, 1)?;
                network.set_training(pass == "train");
                network.freeze(pass != "train");
                if pass == REDUCED {
                    network.set_arithmetic(Arithmetic::Reduced);
                }
                let times: Vec<f64> = (0..batch)
                    .map(|i| time * (i as f64 + 0.5) / batch as f64)
                    .collect();
                let told = network.condition_len();
                let condition = (told > 0).then(|| Field::rows(&device, numbers(batch * told), batch));
                let condition = condition.transpose()?;
                let target = numbers(batch * channels * positions);
                let mut training = (pass == "train").then(|| {
                    let weights = network.weights();
                    (Adam::new(&weights, &Trainer::default()), weights)
                });
                repeat(|| {
                    if ["forward", REDUCED].contains(&pass) {
                        network.forward(x.clone(), &times, condition.clone())?;
                        return Ok(());
                    }
                    let y = network.forward(x.traced(), &times, condition.as_ref().map(Field::traced))?;
                    let target = held(&y, target.clone())?.into_values();
                    let Some((adam, weights)) = &mut training else {
                        y.into_values()
                            .try_mul(target)?
                            .try_sum::<(), _>()?
                            .try_backward()?;
                        return Ok(());
                    };
                    let error = y.into_values().try_sub(target)?.try_square()?;
                    let mut gradients = error.try_mean::<(), _>()?.try_backward()?;
                    let gradients = network.gradients(&mut gradients)?;
                    adam.step(weights, &gradients, norm(&gradients), 1e-4);
                    network.absorb(weights);
                    Ok(network.load(weights)?)
                })
            }
            What::Conv(outputs, geometry) => {
                let stream = &mut stream(1, Purpose::Weights, 0);
                let mut layer = Conv::new(&device, [channels, *outputs], *geometry, 3, stream)?;
                layer.freeze(pass != "train");
                self.operation(pass, &x, |x| layer.forward(x), |x| layer.forward(x))
            }
            What::Norm => {
                let mut layer = GroupNorm::new(&device, 8, channels)?;
                layer.freeze(pass != "train");
                let f = Activation::Silu;
                self.operation(
                    pass,
                    &x,
                    |x| layer.forward(x, f, None),
                    |x| layer.forward(x, f, None),
                )
            }
            What::Attention(kind) => self.operation(pass, &x, |x| x.attend(4, *kind), |x| x.attend(4, *kind)),
        }
    }

    fn operation(
        &self,
        pass: &str,
        x: &Field<Cpu>,
        forward: impl Fn(Field<Cpu>) -> armilla::models::Result<Field<Cpu>>,
        traced: impl Fn(Traced) -> armilla::models::Result<Traced>,
    ) -> Result<f64, Error> {
        repeat(|| {
            if pass == "forward" {
                forward(x.clone())?;
            } else {
                let y = traced(x.traced())?.into_values();
                y.try_sum::<(), _>()?.try_backward()?;
            }
            Ok(())
        })
    }
}

/// The least seconds of several calls, after one that warms up.
fn repeat(mut call: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    call()?;
    let (start, mut least, mut count) = (Instant::now(), f64::INFINITY, 0);
    while count < AT_LEAST || start.elapsed() < WHILE {
        let begin = Instant::now();
        call()?;
        least = least.min(begin.elapsed().as_secs_f64());
        count += 1;
    }
    Ok(least)
}

/// The largest resident size of this process so far, in MB; where the system tells.
fn resident_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

const CHILD: &str = "ARMILLA_BENCH_CASE";

fn main() -> Result<(), Error> {
    let cases = cases();
    if let Ok(told) = env::var(CHILD) {
        let (name, pass) = told.split_once(' ').ok_or("a case and a pass")?;
        let case = cases
            .iter()
            .find(|case| case.name == name)
            .ok_or("no such case")?;
        let start = resident_mb();
        let seconds = case.time(pass)?;
        let line = serde_json::json!({
            "case": name, "pass": pass, "seconds": seconds, "peak_mb": resident_mb(), "import_mb": start,
            "gflops": gflops(case, pass, seconds),
        });
        println!("{line}");
        return Ok(());
    }
    let wanted: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let chosen = |case: &&Case| wanted.is_empty() || wanted.iter().any(|w| case.name.contains(w.as_str()));
    let peak = peak();
    println!("peak of single precision on all cores: {peak:.0} GFLOP/s");
    let mut lines = Vec::new();
    for (title, networks) in [("network", true), ("operation", false)] {
        println!(
            "\n{title:<32}{:>10}{:>12}{:>12}{:>10}{:>10}",
            "pass", "seconds", "GFLOP/s", "of peak", "MB"
        );
        let of_table = |case: &&Case| matches!(case.what, What::Network(..)) == networks;
        for case in cases.iter().filter(of_table).filter(chosen) {
            for pass in case.passes() {
                let child = Command::new(env::current_exe()?)
                    .env(CHILD, format!("{} {pass}", case.name))
                    .output()?;
                let text = String::from_utf8_lossy(&child.stdout).trim().to_owned();
                if !child.status.success() {
                    return Err(
                        format!("{} {pass}: {}", case.name, String::from_utf8_lossy(&child.stderr)).into(),
                    );
                }
                let line: serde_json::Value = serde_json::from_str(&text)?;
                let seconds = line["seconds"].as_f64().unwrap_or(f64::NAN);
                let rate = gflops(case, pass, seconds);
                let shown = |value: Option<f64>, digits: usize| {
                    value.map_or_else(|| "–".into(), |value| format!("{value:.digits$}"))
                };
                println!(
                    "{:<32}{pass:>10}{seconds:>12.5}{:>12}{:>10}{:>10}",
                    case.name,
                    shown(rate, 0),
                    shown(rate.map(|rate| rate / peak), 2),
                    shown(line["peak_mb"].as_f64(), 0)
                );
                lines.push(text);
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/networks_ours.jsonl");
    fs::write(path, lines.join("\n") + "\n")?;
    Ok(())
}

/// The rate of a pass: a gradient in the field doubles the work of a forward pass, one in the weights triples it.
fn gflops(case: &Case, pass: &str, seconds: f64) -> Option<f64> {
    let passes = match pass {
        REDUCED => 1,
        _ => PASSES.iter().position(|p| *p == pass)? + 1,
    };
    (case.gflop > 0.0).then(|| passes as f64 * case.gflop / seconds)
}
