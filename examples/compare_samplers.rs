//! Hand one posterior to many samplers and compare what they cost: `cargo run --release --example compare_samplers`.

use std::time::Instant;

use armilla::samplers::prelude::*;

model! {
    /// A regression with outliers: errors of a Student t distribution of unknown freedom.
    struct Robust { t: Vec<f64>, y: Vec<f64> }

    intercept ~ Normal(0, 10);
    slope ~ Normal(0, 10);
    scale ~ HalfNormal(2);
    freedom ~ Gamma(2, 0.1);
    y[i in 0..t.len()] ~ StudentT(freedom, intercept + slope * t[i], scale);
}

type Named = (&'static str, Box<dyn Sampler<dyn DifferentiableDensity>>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let t: Vec<f64> = (0..40).map(|i| 0.1 * f64::from(i)).collect();
    // Every ninth point is far off.
    let off = |i: usize| if i % 9 == 4 { 6.0 } else { (12.9 * i as f64).sin() };
    let y = t
        .iter()
        .enumerate()
        .map(|(i, t)| 1.0 + 2.0 * t + 0.5 * off(i))
        .collect();
    let posterior = Robust { t, y }.posterior()?;
    let target: &dyn DifferentiableDensity = &posterior;

    let samplers: Vec<Named> = vec![
        ("NUTS", Box::new(Nuts::default())),
        ("HMC", Box::new(Hmc::default())),
        ("MALA", Box::new(Mala::default())),
        ("microcanonical", Box::new(Mclmc::default())),
        ("Metropolis–Hastings", Box::new(MetropolisHastings::default())),
        ("ensemble", Box::new(Ensemble::default())),
    ];
    println!(
        "{:20} {:>7} {:>7} {:>7} {:>7} {:>9} {:>9}",
        "sampler", "slope", "sd", "R̂ ", "ESS", "ESS/eval", "ESS/s"
    );
    for (name, sampler) in samplers {
        let began = Instant::now();
        let run = sampler.sample(target, &RunOptions::default())?;
        let seconds = began.elapsed().as_secs_f64();
        let slope = &run.summary().parameters[1];
        let ess = slope.ess.unwrap_or(0.0);
        let evaluations = (run.evaluations.values + run.evaluations.gradients) as f64;
        println!(
            "{name:20} {:>7.4} {:>7.4} {:>7.3} {ess:>7.0} {:>9.4} {:>9.0}",
            slope.mean,
            slope.sd,
            slope.rhat.unwrap_or(f64::NAN),
            ess / evaluations,
            ess / seconds
        );
    }
    Ok(())
}
