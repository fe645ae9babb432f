//! The eight densities of the reference data, as they are written on paper.

use armilla_samplers::distribution::*;
use armilla_samplers::model;
use armilla_samplers::model::cholesky;
use armilla_samplers::number::Number;

/// Σ aᵢ bᵢ.
#[inline(always)]
fn dot<N: Number>(a: &[N], b: &[f64]) -> N {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}

model! {
    /// Effects of coaching in eight schools, non-centred.
    pub struct EightSchools { y: Vec<f64>, sigma: Vec<f64> }

    mu ~ Normal(0, 5);
    tau ~ HalfCauchy(5);
    eta[y.len()] ~ Normal(0, 1);
    keep theta[j in 0..y.len()] = mu + tau * eta[j];
    y[j in 0..y.len()] ~ Normal(theta[j], sigma[j]);
}

model! {
    /// A linear regression.
    pub struct Blr { x: Vec<Vec<f64>>, y: Vec<f64> }

    beta[x[0].len()] ~ Normal(0, 10);
    sigma ~ HalfNormal(10);
    for n in 0..y.len() {
        let mean = dot(beta, &x[n]);
        y[n] ~ Normal(mean, sigma);
    }
}

model! {
    /// An autoregressive time series of order `k`.
    pub struct ArK { y: Vec<f64>, k: usize }

    alpha ~ Normal(0, 10);
    beta[k] ~ Normal(0, 10);
    sigma ~ HalfCauchy(2.5);
    for t in k..y.len() {
        let mut mean = alpha;
        for i in 0..k {
            mean += beta[i] * y[t - 1 - i];
        }
        y[t] ~ Normal(mean, sigma);
    }
}

model! {
    /// A child's score by its mother's.
    pub struct KidIq { kid_score: Vec<f64>, mom_iq: Vec<f64> }

    beta[2] ~ Flat();
    sigma ~ HalfCauchy(2.5);
    kid_score[i in 0..mom_iq.len()] ~ Normal(beta[0] + beta[1] * mom_iq[i], sigma);
}

model! {
    /// A series of changing volatility.
    pub struct Garch { y: Vec<f64>, sigma1: f64 }

    mu ~ Flat();
    alpha0 ~ HalfFlat();
    alpha1 ~ Uniform(0, 1);
    beta1: between(0, 1 - alpha1) ~ Flat();
    let mut sigma = sigma1;
    for t in 0..y.len() {
        if t > 0 {
            sigma = (alpha0 + alpha1 * (y[t - 1] - mu).square() + beta1 * sigma.square()).sqrt();
        }
        y[t] ~ Normal(mu, sigma);
    }
}

model! {
    /// Two clusters on a line.
    pub struct GaussMix { y: Vec<f64> }

    mu: ordered[2] ~ Normal(0, 2);
    sigma[2] ~ HalfNormal(2);
    theta ~ Beta(5, 5);
    y ~ theta * Normal(mu[0], sigma[0]) + (1 - theta) * Normal(mu[1], sigma[1]);
}

model! {
    /// A Gaussian process.
    pub struct GaussianProcess { x: Vec<f64>, y: Vec<f64> }

    rho ~ Gamma(25, 4);
    alpha ~ HalfNormal(2);
    sigma ~ HalfNormal(1);
    let factor = cholesky(x.len(), |i, j| {
        let noise = if i == j { sigma } else { 0 * sigma };
        alpha.square() * (-((x[i] - x[j]) / rho).square() / 2).exp() + noise
    });
    y ~ MultivariateNormal(vec![0.0; x.len()], factor);
}

model! {
    /// The weight of mesquite bushes, by their measures.
    pub struct Mesquite {
        weight: Vec<f64>, diam1: Vec<f64>, diam2: Vec<f64>, canopy_height: Vec<f64>,
        total_height: Vec<f64>, density: Vec<f64>, group: Vec<f64>,
    }

    data log_weight: Vec<f64> = weight.iter().map(|w| w.ln()).collect();
    data columns: Vec<[f64; 6]> = (0..weight.len())
        .map(|i| {
            let area = diam1[i] * diam2[i];
            [(area * canopy_height[i]).ln(), area.ln(), (diam1[i] / diam2[i]).ln(), total_height[i].ln(),
                density[i].ln(), group[i]]
        })
        .collect();
    beta[7] ~ Flat();
    sigma ~ HalfFlat();
    for i in 0..log_weight.len() {
        let mean = beta[0] + dot(&beta[1..], &columns[i]);
        log_weight[i] ~ Normal(mean, sigma);
    }
}
