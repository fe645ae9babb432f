//! Meet the reference data of posteriordb with densities written as on paper.

#[path = "posteriordb/models.rs"]
mod models;
#[path = "posteriordb/reference.rs"]
mod reference;

use std::f64::consts::{PI, TAU};
use std::hint::black_box;
use std::time::Instant;

use armilla_samplers::model::{Model, ModelPosterior};
use armilla_samplers::prelude::*;

/// Central differences of step 1e-5 are good to about 1e-10 of the third derivative.
const DIFFERENCES: f64 = 1e-6;
/// Sums of hundreds of terms, in another order.
const SUMS: f64 = 1e-10;
/// The reference draws are nearly independent.
const STANDARD_ERRORS: f64 = 5.0;

fn normal(x: f64, mean: f64, sd: f64) -> f64 {
    -0.5 * ((x - mean) / sd).powi(2) - sd.ln() - 0.5 * TAU.ln()
}

fn half_cauchy(x: f64, scale: f64) -> f64 {
    (2.0 / PI / scale / (1.0 + (x / scale).powi(2))).ln()
}

/// The posterior must have these unknowns; its density must be `plain`, up to a constant; its derivatives those
/// of differences; and under the reference draws, `unknowns` of each, the gradient must have mean 0 and
/// its product with z mean −1, which integrals by parts give.
fn check<M: Model>(
    posterior: &ModelPosterior<M>,
    names: &[&str],
    draws: impl Iterator<Item = Vec<f64>>,
    plain: impl Fn(&M, &[f64]) -> f64,
) {
    assert_eq!(posterior.parameters(), names);
    let dim = posterior.dim();
    let mut gradient = vec![0.0; dim];
    let (mut sums, mut squares, mut n) = (vec![0.0; 2 * dim], vec![0.0; 2 * dim], 0.0);
    let mut first = None;
    for (i, x) in draws.enumerate() {
        let z = posterior.to_real_line(&x).unwrap();
        let value = posterior.value_and_gradient(&z, &mut gradient).unwrap();
        for k in 0..dim {
            for (at, g) in [(k, gradient[k]), (dim + k, z[k] * gradient[k] + 1.0)] {
                sums[at] += g;
                squares[at] += g * g;
            }
        }
        n += 1.0;
        if i % 1000 != 0 {
            continue;
        }
        assert_eq!(posterior.log_density(&z).unwrap(), value);
        let difference = value - posterior.ln_jacobian(&z) - plain(posterior.model(), &x);
        let first = *first.get_or_insert(difference);
        assert!(
            (difference - first).abs() < SUMS * value.abs().max(1.0),
            "{x:?}: {difference} for {first}"
        );
        let mut physical = vec![0.0; posterior.names().len()];
        posterior.to_physical(&z, &mut physical);
        for (physical, x) in physical.iter().zip(&x) {
            assert!((physical - x).abs() < SUMS * x.abs().max(1.0));
        }
        for k in 0..dim {
            let at = |step: f64| {
                let mut z = z.clone();
                z[k] += step;
                posterior.log_density(&z).unwrap()
            };
            let numerical = (at(1e-5) - at(-1e-5)) / 2e-5;
            let scale = value.abs().max(numerical.abs()).max(1.0);
            assert!(
                (numerical - gradient[k]).abs() < DIFFERENCES * scale,
                "{numerical} for {}",
                gradient[k]
            );
        }
    }
    for (sum, square) in sums.iter().zip(&squares) {
        let (mean, mean_square) = (sum / n, square / n);
        let error = ((mean_square - mean * mean) / n).sqrt();
        assert!(mean.abs() < STANDARD_ERRORS * error, "{mean} ± {error}");
    }
}

#[test]
fn eight_schools() {
    let Some((reference, posterior)) = reference::eight_schools() else {
        return;
    };
    let names = [
        "mu", "tau", "eta[0]", "eta[1]", "eta[2]", "eta[3]", "eta[4]", "eta[5]", "eta[6]", "eta[7]",
    ];
    // The columns of the reference are theta, mu, tau.
    let draws = reference.draws.iter().map(|x| {
        let eta = x[..8].iter().map(|theta| (theta - x[8]) / x[9]);
        [x[8], x[9]].into_iter().chain(eta).collect()
    });
    check(&posterior, &names, draws, |data, x| {
        let eta = &x[2..];
        let prior = normal(x[0], 0.0, 5.0) + half_cauchy(x[1], 5.0);
        prior
            + (0..8)
                .map(|j| normal(eta[j], 0.0, 1.0) + normal(data.y[j], x[0] + x[1] * eta[j], data.sigma[j]))
                .sum::<f64>()
    });
    // What is kept follows.
    let x = &reference.draws[7];
    let theta = (x[3] - x[8]) / x[9];
    let mut z = vec![0.0; 10];
    (z[0], z[1], z[5]) = (x[8], x[9].ln(), theta);
    let mut physical = [0.0; 18];
    posterior.to_physical(&z, &mut physical);
    assert_eq!(posterior.names()[13], "theta[3]");
    assert!((physical[13] - x[3]).abs() < 1e-12);
}

#[test]
fn blr() {
    let Some((reference, posterior)) = reference::blr() else {
        return;
    };
    let names = ["beta[0]", "beta[1]", "beta[2]", "beta[3]", "beta[4]", "sigma"];
    check(&posterior, &names, reference.draws.iter().cloned(), |data, x| {
        let prior: f64 = x.iter().map(|&x| normal(x, 0.0, 10.0)).sum();
        let mean = |row: &[f64]| -> f64 { row.iter().zip(x).map(|(a, b)| a * b).sum() };
        prior
            + data
                .x
                .iter()
                .zip(&data.y)
                .map(|(row, &y)| normal(y, mean(row), x[5]))
                .sum::<f64>()
    });
}

#[test]
fn ark() {
    let Some((reference, posterior)) = reference::ark() else {
        return;
    };
    let names = [
        "alpha", "beta[0]", "beta[1]", "beta[2]", "beta[3]", "beta[4]", "sigma",
    ];
    check(&posterior, &names, reference.draws.iter().cloned(), |data, x| {
        let prior: f64 = x[..6].iter().map(|&x| normal(x, 0.0, 10.0)).sum();
        let mean = |past: &[f64]| x[0] + past.iter().rev().zip(&x[1..]).map(|(y, b)| y * b).sum::<f64>();
        let terms = data.y.windows(6).map(|y| normal(y[5], mean(&y[..5]), x[6]));
        prior + half_cauchy(x[6], 2.5) + terms.sum::<f64>()
    });
}

#[test]
fn kid_iq() {
    let Some((reference, posterior)) = reference::kid_iq() else {
        return;
    };
    check(
        &posterior,
        &["beta[0]", "beta[1]", "sigma"],
        reference.draws.iter().cloned(),
        |data, x| {
            let pairs = data.kid_score.iter().zip(&data.mom_iq);
            half_cauchy(x[2], 2.5)
                + pairs
                    .map(|(&y, iq)| normal(y, x[0] + x[1] * iq, x[2]))
                    .sum::<f64>()
        },
    );
}

#[test]
fn garch() {
    let Some((reference, posterior)) = reference::garch() else {
        return;
    };
    let names = ["mu", "alpha0", "alpha1", "beta1"];
    check(&posterior, &names, reference.draws.iter().cloned(), |data, x| {
        let mut variance = data.sigma1 * data.sigma1;
        let mut sum = normal(data.y[0], x[0], variance.sqrt());
        for pair in data.y.windows(2) {
            variance = x[1] + x[2] * (pair[0] - x[0]).powi(2) + x[3] * variance;
            sum += normal(pair[1], x[0], variance.sqrt());
        }
        sum
    });
}

#[test]
fn gauss_mix() {
    let Some((reference, posterior)) = reference::gauss_mix() else {
        return;
    };
    let names = ["mu[0]", "mu[1]", "sigma[0]", "sigma[1]", "theta"];
    check(&posterior, &names, reference.draws.iter().cloned(), |data, x| {
        let prior: f64 = x[..4].iter().map(|&x| normal(x, 0.0, 2.0)).sum();
        let theta = x[4];
        let density = |&y: &f64| {
            (theta * normal(y, x[0], x[2]).exp() + (1.0 - theta) * normal(y, x[1], x[3]).exp()).ln()
        };
        prior + 4.0 * (theta * (1.0 - theta)).ln() + data.y.iter().map(density).sum::<f64>()
    });
}

#[test]
fn gaussian_process() {
    let Some((reference, posterior)) = reference::gaussian_process() else {
        return;
    };
    check(
        &posterior,
        &["rho", "alpha", "sigma"],
        reference.draws.iter().cloned(),
        |data, x| {
            let prior = 24.0 * x[0].ln() - 4.0 * x[0] + normal(x[1], 0.0, 2.0) + normal(x[2], 0.0, 1.0);
            let n = data.x.len();
            let covariance = nalgebra::DMatrix::from_fn(n, n, |i, j| {
                let distance = (data.x[i] - data.x[j]) / x[0];
                x[1] * x[1] * (-0.5 * distance * distance).exp() + if i == j { x[2] } else { 0.0 }
            });
            let y = nalgebra::DVector::from_column_slice(&data.y);
            let lu = covariance.lu();
            let quadratic = y.dot(&lu.solve(&y).unwrap());
            prior - 0.5 * (quadratic + lu.determinant().ln())
        },
    );
}

#[test]
fn mesquite() {
    let Some((reference, posterior)) = reference::mesquite() else {
        return;
    };
    let names = [
        "beta[0]", "beta[1]", "beta[2]", "beta[3]", "beta[4]", "beta[5]", "beta[6]", "sigma",
    ];
    check(&posterior, &names, reference.draws.iter().cloned(), |data, x| {
        let term = |i: usize| {
            let (diam1, diam2) = (data.diam1[i], data.diam2[i]);
            let mean = x[0]
                + x[1] * (diam1 * diam2 * data.canopy_height[i]).ln()
                + x[2] * (diam1 * diam2).ln()
                + x[3] * (diam1 / diam2).ln()
                + x[4] * data.total_height[i].ln()
                + x[5] * data.density[i].ln()
                + x[6] * data.group[i];
            normal(data.weight[i].ln(), mean, x[7])
        };
        (0..data.weight.len()).map(term).sum()
    });
}

/// The best of many timings of value and gradient, in microseconds.
fn time<M: Model>(posterior: &ModelPosterior<M>) -> f64 {
    let z = vec![0.1; posterior.dim()];
    let mut gradient = vec![0.0; posterior.dim()];
    let timings = (0..200).map(|_| {
        let start = Instant::now();
        for _ in 0..100 {
            black_box(
                posterior
                    .value_and_gradient(black_box(&z), &mut gradient)
                    .unwrap(),
            );
        }
        start.elapsed().as_secs_f64() * 1e6 / 100.0
    });
    timings.fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "timings, to be read"]
fn timings() {
    let Some((_, posterior)) = reference::eight_schools() else {
        return;
    };
    eprintln!("eight schools: {:.3} µs", time(&posterior));
    let Some((_, posterior)) = reference::blr() else {
        return;
    };
    eprintln!("blr: {:.3} µs", time(&posterior));
    let Some((_, posterior)) = reference::ark() else {
        return;
    };
    eprintln!("arK: {:.3} µs", time(&posterior));
    let Some((_, posterior)) = reference::kid_iq() else {
        return;
    };
    eprintln!("kidiq: {:.3} µs", time(&posterior));
    let Some((_, posterior)) = reference::garch() else {
        return;
    };
    eprintln!("garch: {:.3} µs", time(&posterior));
    let Some((_, posterior)) = reference::gauss_mix() else {
        return;
    };
    eprintln!("gauss_mix: {:.3} µs", time(&posterior));
    let Some((_, posterior)) = reference::mesquite() else {
        return;
    };
    eprintln!("mesquite: {:.3} µs", time(&posterior));
    let Some((_, posterior)) = reference::gaussian_process() else {
        return;
    };
    eprintln!("gp: {:.3} µs", time(&posterior));
}
