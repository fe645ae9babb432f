//! Sample under a log likelihood with noise: `cargo run --release --example noisy_likelihood`.

use armilla::samplers::prelude::*;

/// a and b, each measured as 1 ± 0.5, with noise of standard deviation σ on the log likelihood: a wave in a.
struct Noisy(f64);

impl StochasticLikelihood for Noisy {
    fn dim(&self) -> usize {
        2
    }
    fn unbiased(&self) -> Unbiased {
        Unbiased::LogLikelihood
    }
    fn estimate(&self, x: &[f64], key: NoiseKey) -> Result<LogEstimate, EvalError> {
        self.estimate_with(x, &key.normals(2))
    }
}

impl CorrelatedLikelihood for Noisy {
    fn noise_dim(&self) -> usize {
        2
    }
    fn estimate_with(&self, x: &[f64], u: &[f64]) -> Result<LogEstimate, EvalError> {
        let noise = self.0 * (u[0] * (2.0 * x[0]).cos() + u[1] * (2.0 * x[0]).sin());
        Ok(LogEstimate {
            log_likelihood: -2.0 * ((x[0] - 1.0).powi(2) + (x[1] - 1.0).powi(2)) + noise,
            standard_error: Some(self.0),
        })
    }
}

type Estimated = Result<LogEstimate, EvalError>;

impl DifferentiableStochasticLikelihood for Noisy {
    fn estimate_and_gradient(&self, x: &[f64], key: NoiseKey, gradient: &mut [f64]) -> Estimated {
        let u = key.normals(2);
        let noise = 2.0 * self.0 * (u[1] * (2.0 * x[0]).cos() - u[0] * (2.0 * x[0]).sin());
        gradient.copy_from_slice(&[4.0 * (1.0 - x[0]) + noise, 4.0 * (1.0 - x[1])]);
        self.estimate_with(x, &u)
    }
}

/// How far E f(a) is from 0, in standard errors from the scatter over chains (whose draws all weigh the same).
fn off(run: &Run, f: impl Fn(f64) -> f64) -> f64 {
    let average = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let of_chain = |draws: Vec<f64>| average(&draws.into_iter().map(&f).collect::<Vec<_>>());
    let means: Vec<f64> = run.parameter(0).into_iter().map(of_chain).collect();
    let mean = average(&means);
    let scatter = average(&means.iter().map(|x| (x - mean).powi(2)).collect::<Vec<_>>());
    mean / (scatter / (means.len() - 1) as f64).sqrt()
}

fn main() -> Result<(), SampleError> {
    let mut options = RunOptions::default();
    (options.chains, options.draws) = (32, 5000);
    let mut sgld = Sgld::default();
    (sgld.step_size, sgld.decay) = (1.0, 0.0);
    println!("bias of mean and variance in standard errors (HMC: with frozen noise)");
    for sigma in [0.0, 0.5, 1.0, 2.0] {
        let (a, b) = (Normal::new(0.0, 1.0)?, Normal::new(0.0, 1.0)?);
        let posterior = NoisyPosterior::new(Prior::new().with("a", a)?.with("b", b)?, Noisy(sigma))?;
        for run in [
            PseudoMarginal::default().sample(&posterior, &options)?,
            CorrelatedPseudoMarginal::default().sample(&posterior, &options)?,
            Penalty::default().sample(&posterior, &options)?,
            sgld.sample(&posterior, &options)?,
            Hmc::default().sample(&posterior.frozen(NoiseKey::new(1))?, &options)?,
        ] {
            // Under the prior N(0, 1) the posterior of a is N(0.8, 0.2).
            let (mean, variance) = (off(&run, |a| a - 0.8), off(&run, |a| (a - 0.8).powi(2) - 0.2));
            println!("σ = {sigma:3.1}  {:52} {mean:+8.1} {variance:+8.1}", run.method);
        }
    }
    println!("noise of one size, up to 1.5: pseudo-marginal; larger, from normals: the correlated one");
    println!("Gaussian noise on the logarithm, its size known or told by repeats: the penalty");
    println!("cheap noisy gradients: SGLD, in smaller steps until the answer stays; frozen: a first look");
    Ok(())
}
