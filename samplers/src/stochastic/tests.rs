use super::*;
use crate::likelihood::{DifferentiableLikelihood, Likelihood};
use crate::posterior::Posterior;
use crate::prior::{Normal, Prior};
use crate::rng::{Purpose, stream};
use crate::sampler::Sampler;

/// y = x + w + e with w, e ~ N(0, 1): p(y | x) = N(y; x, √2), estimated by averaging N(y; x + w, 1) over
/// `samples` draws of w.
#[derive(Debug, Clone)]
struct Latent {
    y: f64,
    samples: usize,
}

impl Latent {
    fn exact(&self, x: f64) -> f64 {
        -0.25 * (self.y - x).powi(2) - 0.5 * (2.0 * std::f64::consts::TAU).ln()
    }

    fn both(&self, x: &[f64], u: &[f64], gradient: &mut [f64]) -> Result<LogEstimate, EvalError> {
        if u.len() != self.samples {
            return Err(EvalError::Fatal(format!("{} numbers of noise", u.len())));
        }
        let n = self.samples as f64;
        let residuals: Vec<f64> = u.iter().map(|u| self.y - x[0] - u).collect();
        let weights: Vec<f64> = residuals
            .iter()
            .map(|r| (-0.5 * r * r).exp() / std::f64::consts::TAU.sqrt())
            .collect();
        let mean = weights.iter().sum::<f64>() / n;
        let variance = weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / (n - 1.0);
        gradient[0] = weights.iter().zip(&residuals).map(|(w, r)| w * r).sum::<f64>() / (n * mean);
        Ok(LogEstimate {
            log_likelihood: mean.ln(),
            standard_error: Some((variance / n).sqrt() / mean),
        })
    }
}

impl StochasticLikelihood for Latent {
    fn dim(&self) -> usize {
        1
    }
    fn unbiased(&self) -> Unbiased {
        Unbiased::Likelihood
    }
    fn estimate(&self, x: &[f64], key: NoiseKey) -> Result<LogEstimate, EvalError> {
        self.estimate_with(x, &key.normals(self.noise_dim()))
    }
}

impl CorrelatedLikelihood for Latent {
    fn noise_dim(&self) -> usize {
        self.samples
    }
    fn estimate_with(&self, x: &[f64], u: &[f64]) -> Result<LogEstimate, EvalError> {
        self.both(x, u, &mut [0.0])
    }
}

impl DifferentiableStochasticLikelihood for Latent {
    fn estimate_and_gradient(
        &self,
        x: &[f64],
        key: NoiseKey,
        gradient: &mut [f64],
    ) -> Result<LogEstimate, EvalError> {
        self.both(x, &key.normals(self.samples), gradient)
    }
}

const LATENT: Latent = Latent { y: 0.7, samples: 50 };

#[test]
fn keys_fix_the_noise_and_nothing_else_does() {
    let (a, b) = (NoiseKey::new(1), NoiseKey::new(2));
    assert_eq!(LATENT.estimate(&[0.2], a), LATENT.estimate(&[0.2], a));
    assert_ne!(LATENT.estimate(&[0.2], a), LATENT.estimate(&[0.2], b));
    let mut rng = stream(1, Purpose::Chain, 0);
    assert_ne!(NoiseKey::draw(&mut rng), NoiseKey::draw(&mut rng));
    assert_eq!(a.normals(3)[..2], a.normals(2)[..]);
    // Streams under one key, and keys, are independent of each other.
    let n = 10_000;
    let normals = |key: NoiseKey, index| {
        use rand::RngExt;
        let mut rng = key.stream(index);
        let draws: Vec<f64> = (0..n).map(|_| rng.sample(rand_distr::StandardNormal)).collect();
        draws
    };
    for other in [normals(a, 1), normals(b, 0)] {
        let product: f64 = normals(a, 0).iter().zip(&other).map(|(a, b)| a * b).sum();
        assert!(product.abs() < 5.0 * f64::from(n).sqrt(), "{product}");
    }
}

#[test]
fn an_average_over_samples_is_unbiased_and_tells_its_error() {
    let n = 4000;
    let estimates: Vec<LogEstimate> = (0..n)
        .map(|key| LATENT.estimate(&[0.2], NoiseKey::new(key)).unwrap())
        .collect();
    let ratios: Vec<f64> = estimates
        .iter()
        .map(|estimate| (estimate.log_likelihood - LATENT.exact(0.2)).exp())
        .collect();
    let mean = ratios.iter().sum::<f64>() / n as f64;
    let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / n as f64;
    assert!((mean - 1.0).abs() < 5.0 * (variance / n as f64).sqrt(), "{mean}");
    // To first order in 1/samples the scatter of the logarithm is that of the ratio.
    let claimed = estimates
        .iter()
        .filter_map(|estimate| estimate.standard_error)
        .sum::<f64>()
        / n as f64;
    assert!((claimed / variance.sqrt() - 1.0).abs() < 0.05, "{claimed}");
}

#[test]
fn frozen_batches_are_loops() {
    let frozen = LATENT.frozen(NoiseKey::new(5));
    assert_eq!(frozen.key(), NoiseKey::new(5));
    let data = [0.1, -0.4, 2.0];
    let xs = Points::new(&data, 1).unwrap();
    let (mut values, mut both, mut gradients) = ([0.0; 3], [0.0; 3], [0.0; 3]);
    frozen.log_likelihood_batch(xs, &mut values).unwrap();
    frozen
        .value_and_gradient_batch(xs, &mut both, &mut gradients)
        .unwrap();
    for (i, x) in xs.iter().enumerate() {
        let mut gradient = [0.0];
        let value = frozen.value_and_gradient(x, &mut gradient).unwrap();
        assert_eq!(
            (value, value, value),
            (frozen.log_likelihood(x).unwrap(), values[i], both[i])
        );
        assert_eq!(gradient[0], gradients[i]);
    }
    for room in [2, 4] {
        let mut values = vec![0.0; room];
        let error = frozen.log_likelihood_batch(xs, &mut values).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("room for {room} values given for 3 points")
        );
        let mut gradients = vec![0.0; room];
        let error = frozen
            .value_and_gradient_batch(xs, &mut [0.0; 3], &mut gradients)
            .unwrap_err();
        assert!(matches!(error, EvalError::Fatal(_)), "{error}");
        let estimate = LATENT.estimate(&[0.0], NoiseKey::new(0)).unwrap();
        let error = LATENT
            .estimate_batch(xs, &vec![NoiseKey::new(0); room], &mut [estimate; 3])
            .unwrap_err();
        assert!(error.to_string().contains(&format!("{room} keys")), "{error}");
    }
}

#[test]
fn frozen_gradients_meet_finite_differences() {
    let frozen = LATENT.frozen(NoiseKey::new(9));
    let xs = Points::new(&[-1.0, 0.3, 2.0], 1).unwrap();
    let check = crate::check_gradient::check_likelihood_gradient(&frozen, xs).unwrap();
    assert!(check.passed(), "{check}");
}

#[test]
fn noise_that_moves_little_moves_the_estimate_little() {
    // u' = ρ u + √(1−ρ²) ε leaves u standard normal; the estimates' difference shrinks with √(1−ρ²).
    let scatter = |rho: f64| {
        let n = 400;
        let squares = (0..n).map(|i| {
            let (u, e) = (NoiseKey::new(i).normals(50), NoiseKey::new(i + n).normals(50));
            let moved: Vec<f64> = u
                .iter()
                .zip(&e)
                .map(|(u, e)| rho * u + (1.0 - rho * rho).sqrt() * e)
                .collect();
            let at = |u: &[f64]| LATENT.estimate_with(&[0.2], u).unwrap().log_likelihood;
            (at(&u) - at(&moved)).powi(2)
        });
        (squares.sum::<f64>() / n as f64).sqrt()
    };
    assert!(scatter(0.999) < 0.1 * scatter(0.0), "{}", scatter(0.999));
    assert!(matches!(
        LATENT.estimate_with(&[0.0], &[0.0]),
        Err(EvalError::Fatal(_))
    ));
}

#[test]
fn frozen_ones_are_sampled_like_any_other() {
    // With many samples the frozen posterior is close to N(y/3, √(2/3)).
    let latent = Latent {
        y: 0.9,
        samples: 2000,
    };
    let boxed: Box<dyn StochasticLikelihood> = Box::new(latent.clone());
    let key = NoiseKey::new(4);
    let x = [0.1];
    assert_eq!(boxed.estimate(&x, key), latent.estimate(&x, key));
    assert_eq!(
        StochasticLikelihood::estimate(&&latent, &x, key),
        latent.estimate(&x, key)
    );
    assert_eq!(boxed.unbiased(), Unbiased::Likelihood);
    let prior = Prior::new().with("x", Normal::new(0.0, 1.0).unwrap()).unwrap();
    let posterior = Posterior::new(prior, (&latent).frozen(key)).unwrap();
    let run = crate::Grid::new(200).sample(&posterior, &crate::RunOptions::default());
    let mean = run.unwrap().summary().parameters[0].mean;
    // The mean of 2000 noise variables shifts it by up to 5 · (1/3) / √2000.
    assert!((mean - 0.3).abs() < 0.04, "{mean}");
}
