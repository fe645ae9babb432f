//! Draw data as a model expects it, before the data is known and after.

use rand::{Rng, RngExt};
use rayon::prelude::*;

use crate::error::{EvalError, SampleError};
use crate::likelihood::Generative;
use crate::prior::Prior;
use crate::rng::{Purpose, Stream, stream};
use crate::run::Run;

/// Parameters, and data drawn under them.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The parameters in physical units.
    pub x: Vec<f64>,
    /// A draw from p(data | x).
    pub data: Vec<f64>,
}

/// `n` draws of parameters from the prior, each with a draw of the data: what is expected before the data is
/// known. One that looks like nothing that could be observed speaks against the prior.
///
/// # Errors
/// `SampleError::Invalid` where the prior has not as many parameters as the likelihood, `SampleError::Eval`
/// where data could not be drawn, with the point.
pub fn prior_predictive<L: Generative + ?Sized>(
    prior: &Prior,
    likelihood: &L,
    n: usize,
    seed: u64,
) -> Result<Vec<Prediction>, SampleError> {
    check_dim("prior", prior.names(), likelihood)?;
    let indices = (0..n as u64).into_par_iter();
    let predictions = indices.map(|i| {
        let mut rng = stream(seed, Purpose::Simulation, i);
        let x = prior.sample(&mut rng);
        predict(likelihood, prior.names(), x, &mut rng)
    });
    predictions.collect()
}

/// `n` draws of a run, each with a new draw of the data: what further observations are expected to look like.
/// Data unlike them speaks against the model (Gelman, Meng & Stern 1996, Statistica Sinica 6, 733).
///
/// The draws are spread evenly over the run, in its order, each as often as its weight says (Kitagawa 1996,
/// doi:10.2307/1390750): `run.len()` of an unweighted run are all of its draws once.
///
/// # Errors
/// `SampleError::Invalid` where the run has not as many parameters as the likelihood, or no draw of any
/// weight; `SampleError::Eval` where data could not be drawn, with the point.
pub fn posterior_predictive<L: Generative + ?Sized>(
    run: &Run,
    likelihood: &L,
    n: usize,
    seed: u64,
) -> Result<Vec<Prediction>, SampleError> {
    check_dim("run", &run.names, likelihood)?;
    let weights = run.weights();
    if !weights.iter().any(|&weight| weight > 0.0) {
        return Err(SampleError::Invalid(
            "the run has no draw of any weight to predict from".into(),
        ));
    }
    let draws: Vec<&[f64]> = run.draws().collect();
    let chosen = systematic(&weights, n, &mut stream(seed, Purpose::Resample, 0));
    let predictions = chosen.into_par_iter().enumerate().map(|(i, index)| {
        let mut rng = stream(seed, Purpose::Simulation, i as u64);
        predict(likelihood, &run.names, draws[index].to_vec(), &mut rng)
    });
    predictions.collect()
}

fn check_dim<L: Generative + ?Sized>(
    what: &str,
    names: &[String],
    likelihood: &L,
) -> Result<(), SampleError> {
    if names.len() == likelihood.dim() {
        return Ok(());
    }
    Err(SampleError::Invalid(format!(
        "the {what} has {} parameters ({}), the likelihood takes {}",
        names.len(),
        names.join(", "),
        likelihood.dim()
    )))
}

fn predict<L: Generative + ?Sized>(
    likelihood: &L,
    names: &[String],
    x: Vec<f64>,
    rng: &mut Stream,
) -> Result<Prediction, SampleError> {
    let data = likelihood.simulate(&x, rng).map_err(|error| {
        let pairs = names.iter().zip(&x).map(|(name, x)| format!("{name} = {x}"));
        let at = pairs.collect::<Vec<_>>().join(", ");
        match error {
            EvalError::Recoverable(message) => EvalError::Recoverable(format!("{message} (at {at})")),
            EvalError::Fatal(message) => EvalError::Fatal(format!("{message} (at {at})")),
        }
    })?;
    Ok(Prediction { x, data })
}

/// `n` indices, ascending, each about `n` times its weight often: never more than one off. The weights have
/// sum one.
fn systematic(weights: &[f64], n: usize, rng: &mut dyn Rng) -> Vec<usize> {
    let offset: f64 = rng.random();
    let (mut index, mut below) = (0, 0.0);
    // Rounding may leave the sum below one: the last of any weight takes what is left.
    let last = weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
    let mut choose = |i: usize| {
        let wanted = (i as f64 + offset) / n as f64;
        while index < last && below + weights[index] <= wanted {
            below += weights[index];
            index += 1;
        }
        index
    };
    (0..n).map(&mut choose).collect()
}

#[cfg(test)]
mod tests {
    use rand_distr::StandardNormal;

    use super::*;
    use crate::grid::Grid;
    use crate::likelihood::Likelihood;
    use crate::posterior::Posterior;
    use crate::prior::Normal;
    use crate::run::RunOptions;
    use crate::sampler::Sampler;

    /// A value measured with error 1; negative means cannot be simulated if `positive`.
    #[derive(Debug)]
    struct Measured {
        value: f64,
        positive: bool,
    }

    const MEASURED: Measured = Measured {
        value: 3.0,
        positive: false,
    };

    impl Likelihood for Measured {
        fn dim(&self) -> usize {
            1
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-0.5 * (x[0] - self.value).powi(2))
        }
    }

    impl Generative for Measured {
        fn simulate(&self, x: &[f64], rng: &mut dyn Rng) -> Result<Vec<f64>, EvalError> {
            if self.positive && x[0] < 0.0 {
                return Err(EvalError::Recoverable("a negative mean".into()));
            }
            Ok(vec![x[0] + rng.sample::<f64, _>(StandardNormal)])
        }
    }

    fn prior() -> Prior {
        Prior::new().with("mu", Normal::new(0.0, 2.0).unwrap()).unwrap()
    }

    /// Mean and variance of the data against those of a normal distribution, to five standard errors.
    fn check_moments(predictions: &[Prediction], mean: f64, variance: f64) {
        let n = predictions.len() as f64;
        let sum: f64 = predictions.iter().map(|prediction| prediction.data[0]).sum();
        let squares = predictions
            .iter()
            .map(|prediction| (prediction.data[0] - mean).powi(2));
        let squares: f64 = squares.sum();
        assert!(
            (sum / n - mean).abs() < 5.0 * (variance / n).sqrt(),
            "{}",
            sum / n
        );
        let error = variance * (2.0 / n).sqrt();
        assert!((squares / n - variance).abs() < 5.0 * error, "{}", squares / n);
    }

    /// A run of these draws alone.
    fn run(draws: Vec<f64>, log_weights: Option<Vec<f64>>) -> Run {
        let posterior = Posterior::new(prior(), MEASURED).unwrap();
        let mut run = Grid::new(2).sample(&posterior, &RunOptions::default()).unwrap();
        run.chains.truncate(1);
        run.chains[0].log_density = vec![0.0; draws.len()];
        run.chains[0].draws = draws;
        run.chains[0].log_weights = log_weights;
        run
    }

    #[test]
    fn before_the_data_the_prior_is_widened_by_the_noise() {
        let predictions = prior_predictive(&prior(), &MEASURED, 20_000, 1).unwrap();
        check_moments(&predictions, 0.0, 5.0);
        assert_eq!(
            predictions[..10],
            prior_predictive(&prior(), &MEASURED, 10, 1).unwrap()
        );
        assert_ne!(
            predictions[..10],
            prior_predictive(&prior(), &MEASURED, 10, 2).unwrap()
        );
        assert_eq!(prior_predictive(&prior(), &MEASURED, 0, 1), Ok(Vec::new()));
    }

    #[test]
    fn after_the_data_a_weighted_run_is_widened_by_the_noise() {
        // Posterior N(2.4, 0.8): the cells of a grid weigh very differently.
        let posterior = Posterior::new(prior(), MEASURED).unwrap();
        let run = Grid::new(400).sample(&posterior, &RunOptions::default()).unwrap();
        let predictions = posterior_predictive(&run, &MEASURED, 20_000, 1).unwrap();
        check_moments(&predictions, 2.4, 1.8);
    }

    #[test]
    fn an_unweighted_run_is_used_once_and_weights_are_kept() {
        let draws: Vec<f64> = (0..7).map(f64::from).collect();
        let used = |run: &Run, n| -> Vec<f64> {
            let predictions = posterior_predictive(run, &MEASURED, n, 1).unwrap();
            predictions.iter().map(|prediction| prediction.x[0]).collect()
        };
        assert_eq!(used(&run(draws.clone(), None), 7), draws);
        assert_eq!(used(&run(draws, None), 3).len(), 3);
        let ln = |p: f64| p.ln();
        let weighted = run(vec![1.0, 2.0, 3.0], Some(vec![ln(0.25), ln(0.75), ln(0.0)]));
        assert_eq!(used(&weighted, 4), [1.0, 2.0, 2.0, 2.0]);
        let only_last = run(vec![1.0, 2.0], Some(vec![ln(0.0), ln(1.0)]));
        assert_eq!(used(&only_last, 3), [2.0; 3]);
    }

    #[test]
    fn what_cannot_be_predicted_is_said() {
        let positive = Measured {
            positive: true,
            ..MEASURED
        };
        let error = posterior_predictive(&run(vec![-1.0], None), &positive, 1, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the density could not be evaluated: a negative mean (at mu = -1)"
        );
        assert!(prior_predictive(&prior(), &positive, 100, 1).is_err());
        for run in [
            run(Vec::new(), None),
            run(vec![1.0], Some(vec![f64::NEG_INFINITY])),
        ] {
            let error = posterior_predictive(&run, &MEASURED, 1, 1).unwrap_err();
            assert!(error.to_string().contains("no draw of any weight"), "{error}");
        }
        let two = prior().with("b", Normal::new(0.0, 1.0).unwrap()).unwrap();
        let error = prior_predictive(&two, &MEASURED, 1, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the prior has 2 parameters (mu, b), the likelihood takes 1"
        );
    }
}
