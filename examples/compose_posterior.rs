//! Fit a straight line to five measurements, without any network: a likelihood of your own, named priors,
//! and Hamiltonian Monte Carlo. Run with `cargo run --release --example compose_posterior`.

use armilla::samplers::prelude::*;

/// y = intercept + slope · t, measured with a known error.
struct Line {
    points: [(f64, f64); 5],
    error: f64,
}

impl Likelihood for Line {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.value_and_gradient(x, &mut [0.0; 2])
    }
}

impl DifferentiableLikelihood for Line {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let mut value = 0.0;
        gradient.fill(0.0);
        for (t, y) in self.points {
            let pull = (y - x[0] - x[1] * t) / self.error;
            value -= 0.5 * pull * pull;
            gradient[0] += pull / self.error;
            gradient[1] += pull / self.error * t;
        }
        Ok(value)
    }
}

fn main() -> Result<(), SampleError> {
    let line = Line {
        points: [(0.0, 1.1), (1.0, 2.8), (2.0, 5.2), (3.0, 6.9), (4.0, 9.1)],
        error: 0.2,
    };
    let prior = Prior::new()
        .with("intercept", Normal::new(0.0, 5.0)?)?
        .with("slope", Uniform::new(-10.0, 10.0)?)?;
    let posterior = Posterior::new(prior, line)?;
    let run = Hmc::default().sample(&posterior, &RunOptions::default())?;
    print!("{}", run.summary());
    Ok(())
}
