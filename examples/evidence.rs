//! Ask by the evidence which of two models made the data: `cargo run --release --example evidence`.

use armilla::samplers::prelude::*;

/// Points with an error of 0.5 about a polynomial of as many coefficients as there are parameters.
struct Polynomial {
    points: Vec<(f64, f64)>,
    coefficients: usize,
}

impl Likelihood for Polynomial {
    fn dim(&self) -> usize {
        self.coefficients
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        let term = |(t, y): &(f64, f64)| {
            let model = x.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
            -0.5 * ((y - model) / 0.5).powi(2) - (0.5 * std::f64::consts::TAU.sqrt()).ln()
        };
        Ok(self.points.iter().map(term).sum())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A straight line, with scatter that is no straight line's fault.
    let scatter = [0.3, -0.6, 0.2, 0.5, -0.4, -0.1, 0.7, -0.3, -0.5, 0.4, 0.1, -0.2];
    let point = |(i, scatter): (usize, &f64)| {
        let t = 0.25 * i as f64 - 1.4;
        (t, 1.0 + 0.8 * t + scatter)
    };
    let points: Vec<(f64, f64)> = scatter.iter().enumerate().map(point).collect();

    let mut evidences = Vec::new();
    for coefficients in [2, 3] {
        let mut prior = Prior::new();
        for power in 0..coefficients {
            prior = prior.with(format!("c[{power}]"), Normal::new(0.0, 3.0)?)?;
        }
        let model = Polynomial {
            points: points.clone(),
            coefficients,
        };
        let posterior = Posterior::new(prior, model)?;
        let run = Smc::default().sample(&posterior, &RunOptions::default())?;
        print!("{}", run.summary());
        // Three parameters are few enough to check on a grid.
        let grid = Grid {
            refine: true,
            ..Grid::new(40)
        };
        let exact = grid.sample(&posterior, &RunOptions::default())?.log_evidence;
        let evidence = run.log_evidence.ok_or("the run was cut short")?;
        println!("on a grid: {:.3}\n", exact.ok_or("the grid was cut short")?);
        evidences.push(evidence);
    }
    println!(
        "the line is {:.1} times as probable as the parabola, if they were equally so before",
        (evidences[0] - evidences[1]).exp()
    );
    Ok(())
}
