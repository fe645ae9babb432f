//! Fit a straight line with a likelihood of your own: `cargo run --release --example compose_posterior`.

use armilla::samplers::prelude::*;

/// y = intercept + slope · t at five times, each measured with an error of 0.2.
struct Line([(f64, f64); 5]);

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
        let pulls = self.0.map(|(t, y)| (t, (y - x[0] - x[1] * t) / 0.2));
        gradient[0] = pulls.iter().map(|(_, pull)| pull / 0.2).sum();
        gradient[1] = pulls.iter().map(|(t, pull)| t * pull / 0.2).sum();
        Ok(pulls.iter().map(|(_, pull)| -0.5 * pull * pull).sum())
    }
}

fn main() -> Result<(), SampleError> {
    let line = Line([(0.0, 1.1), (1.0, 2.8), (2.0, 5.2), (3.0, 6.9), (4.0, 9.1)]);
    let prior = Prior::new()
        .with("intercept", Normal::new(0.0, 5.0)?)?
        .with("slope", Uniform::new(-10.0, 10.0)?)?;
    let posterior = Posterior::new(prior, line)?;
    let run = Hmc::default().sample(&posterior, &RunOptions::default())?;
    print!("{}", run.summary());
    Ok(())
}
