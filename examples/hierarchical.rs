//! Write a hierarchical model as on paper and sample it: `cargo run --release --example hierarchical`.

use armilla::samplers::prelude::*;
use armilla::samplers::run::progress_bars;

model! {
    /// How much coaching helps in each of several schools (Rubin 1981, doi:10.3102/10769986006004377).
    struct Schools { y: Vec<f64>, sigma: Vec<f64> }

    mu ~ Normal(0, 5);
    tau ~ HalfCauchy(5);
    eta[y.len()] ~ Normal(0, 1);
    keep theta[j in 0..y.len()] = mu + tau * eta[j];
    y[j in 0..y.len()] ~ Normal(theta[j], sigma[j]);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schools = Schools {
        y: vec![28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0],
        sigma: vec![15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0],
    };
    let posterior = schools.posterior()?;
    let check = check_gradient(&posterior, 3, 0)?;
    println!("gradients wrong in: {:?}\n", check.wrong());

    let options = RunOptions {
        draws: 5000,
        observer: Some(progress_bars()),
        ..RunOptions::default()
    };
    let run = Nuts::default().sample(&posterior, &options)?;
    print!("{}", run.summary());

    // Does the model make data like those that were seen?
    let predicted = posterior.predictive(&run, 1)?;
    println!("\nschool  seen  predicted (mean ± sd)");
    for (j, seen) in posterior.model().y.iter().enumerate() {
        let draws = predicted
            .column(&format!("y[{j}]"))
            .ok_or("no such observation")?;
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        println!("{j:6}  {seen:4}  {mean:5.1} ± {:.1}", variance.sqrt());
    }
    Ok(())
}
