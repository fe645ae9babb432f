//! Compare variational fits with what theory says of them.

use armilla_samplers::diagnostics::pareto_k_limit;
use armilla_samplers::prelude::*;
use armilla_samplers::run::Variational;
use rand::Rng;

/// A density whose z are its x.
struct Target {
    names: Vec<String>,
    f: fn(&[f64], &mut [f64]) -> f64,
}

fn target(dim: usize, f: fn(&[f64], &mut [f64]) -> f64) -> Target {
    let names = (0..dim).map(|index| format!("x{index}")).collect();
    Target { names, f }
}

impl Density for Target {
    fn dim(&self) -> usize {
        self.names.len()
    }
    fn names(&self) -> &[String] {
        &self.names
    }
    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        Ok((self.f)(z, &mut vec![0.0; z.len()]))
    }
    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        x.copy_from_slice(z);
    }
    fn ln_jacobian(&self, _z: &[f64]) -> f64 {
        0.0
    }
    fn initial(&self, _rng: &mut dyn Rng) -> Vec<f64> {
        vec![0.5; self.dim()]
    }
}

impl DifferentiableDensity for Target {
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        Ok((self.f)(z, gradient))
    }
}

/// A normal density, not normalised, of precision Λ about `MEAN`: unequal scales, strong correlations.
const MEAN: [f64; 3] = [3.0, -1.0, 0.2];
const PRECISION: [[f64; 3]; 3] = [[1.0, -3.0, 0.0], [-3.0, 25.0, 200.0], [0.0, 200.0, 1e4]];
/// det Λ, by its first column.
const DETERMINANT: f64 = 25.0 * 1e4 - 200.0 * 200.0 - 9.0 * 1e4;

fn gaussian(z: &[f64], gradient: &mut [f64]) -> f64 {
    let off: Vec<f64> = z.iter().zip(MEAN).map(|(z, mean)| z - mean).collect();
    for (gradient, row) in gradient.iter_mut().zip(PRECISION) {
        *gradient = -row.iter().zip(&off).map(|(a, b)| a * b).sum::<f64>();
    }
    0.5 * gradient.iter().zip(&off).map(|(a, b)| a * b).sum::<f64>()
}

/// The covariance: the adjugate over the determinant.
fn covariance() -> [[f64; 3]; 3] {
    let [[a, b, c], [_, d, e], [_, _, f]] = PRECISION;
    let adjugate = [
        [d * f - e * e, c * e - b * f, b * e - c * d],
        [c * e - b * f, a * f - c * c, b * c - a * e],
        [b * e - c * d, b * c - a * e, a * d - b * b],
    ];
    adjugate.map(|row| row.map(|entry| entry / DETERMINANT))
}

fn ln_evidence() -> f64 {
    1.5 * std::f64::consts::TAU.ln() - 0.5 * DETERMINANT.ln()
}

fn options() -> RunOptions {
    RunOptions {
        seed: 5,
        draws: 5000,
        ..RunOptions::default()
    }
}

fn sample(target: &impl DifferentiableDensity, advi: Advi) -> (Run, Variational) {
    let run = advi.sample(target, &options()).unwrap();
    let fit = run.variational.clone().unwrap();
    println!("{}: {fit:?}\n{}", run.method, run.summary());
    (run, fit)
}

/// Weighted means and covariances.
fn moments(run: &Run) -> (Vec<f64>, Vec<Vec<f64>>) {
    let (dim, weights) = (run.dim(), run.weights());
    let mut mean = vec![0.0; dim];
    for (x, w) in run.draws().zip(&weights) {
        (0..dim).for_each(|i| mean[i] += w * x[i]);
    }
    let mut covariance = vec![vec![0.0; dim]; dim];
    for (x, w) in run.draws().zip(&weights) {
        for i in 0..dim {
            (0..dim).for_each(|j| covariance[i][j] += w * (x[i] - mean[i]) * (x[j] - mean[j]));
        }
    }
    (mean, covariance)
}

#[test]
fn full_rank_recovers_a_gaussian() {
    let (run, fit) = sample(&target(3, gaussian), Advi::default());
    let (mean, found) = moments(&run);
    let expected = covariance();
    // 20 000 independent draws; the fit adds less than a tenth of their error.
    let n = run.len() as f64;
    for i in 0..3 {
        let error = (expected[i][i] / n).sqrt();
        assert!((mean[i] - MEAN[i]).abs() < 5.0 * error, "{i}: {mean:?}");
        for j in 0..3 {
            let product = expected[i][i] * expected[j][j];
            let error = ((product + expected[i][j].powi(2)) / n).sqrt();
            assert!(
                (found[i][j] - expected[i][j]).abs() < 5.0 * error,
                "{i} {j}: {found:?}"
            );
        }
    }
    // The bound is the evidence itself, to the square of the fit's error.
    assert!(
        (fit.elbo - ln_evidence()).abs() < 1e-3,
        "{fit:?} for {}",
        ln_evidence()
    );
    assert!((run.log_evidence.unwrap() - ln_evidence()).abs() < 1e-4);
    assert!(fit.pareto_k.unwrap() < 0.7 && run.chains[0].log_weights.is_some());
    assert!(run.summary().warnings.is_empty(), "{}", run.summary());
}

#[test]
fn mean_field_is_too_narrow_by_as_much_as_theory_says() {
    let advi = Advi {
        family: Family::MeanField,
        reweight: false,
        ..Advi::default()
    };
    let (run, fit) = sample(&target(3, gaussian), advi);
    let (mean, found) = moments(&run);
    let n = run.len() as f64;
    for i in 0..3 {
        // The best normal without correlations has the variance 1/Λᵢᵢ; the fit is good to 1% of a deviation.
        let variance = 1.0 / PRECISION[i][i];
        let error = 5.0 * (2.0 / n).sqrt() + 0.02;
        assert!((found[i][i] / variance - 1.0).abs() < error, "{i}: {found:?}");
        assert!(found[i][i] < 0.8 * covariance()[i][i]);
        // Along the correlated direction, the mean is held less tightly than the widths say.
        let error = 5.0 * (variance / n).sqrt() + 0.05 * covariance()[i][i].sqrt();
        assert!((mean[i] - MEAN[i]).abs() < error, "{i}: {mean:?}");
    }
    // What the bound lacks is the divergence from the best q to p: ½ (Σ ln Λᵢᵢ − ln det Λ).
    let diagonal: f64 = (0..3).map(|i| PRECISION[i][i].ln()).sum();
    let elbo = ln_evidence() - 0.5 * (diagonal - DETERMINANT.ln());
    assert!(
        (fit.elbo - elbo).abs() < 5.0 * fit.elbo_se + 0.01,
        "{fit:?} for {elbo}"
    );
    assert!(fit.elbo + 5.0 * fit.elbo_se < ln_evidence());
    assert!(run.chains[0].log_weights.is_none() && run.log_evidence.is_none());
}

/// v ~ Normal(0, 3), eight xᵢ ~ Normal(0, exp(v/2)) (Neal 2003, doi:10.1214/aos/1056562461).
fn funnel(z: &[f64], gradient: &mut [f64]) -> f64 {
    let v = z[0];
    let squares: f64 = z[1..].iter().map(|x| x * x).sum();
    let (precision, count) = ((-v).exp(), (z.len() - 1) as f64);
    gradient[0] = -v / 9.0 + 0.5 * squares * precision - 0.5 * count;
    for (gradient, x) in gradient[1..].iter_mut().zip(&z[1..]) {
        *gradient = -x * precision;
    }
    -v * v / 18.0 - 0.5 * squares * precision - 0.5 * count * v
}

/// Three Cauchy variables.
fn cauchy(z: &[f64], gradient: &mut [f64]) -> f64 {
    for (gradient, x) in gradient.iter_mut().zip(z) {
        *gradient = -2.0 * x / (1.0 + x * x);
    }
    -z.iter().map(|x| (1.0 + x * x).ln()).sum::<f64>()
}

#[test]
fn a_funnel_and_heavy_tails_are_flagged() {
    // Normalised but for these factors: the funnel's nine (2π)^½ and its 3, Cauchy's π each.
    let funnel_evidence = 4.5 * std::f64::consts::TAU.ln() + 3f64.ln();
    let cauchy_evidence = 3.0 * std::f64::consts::PI.ln();
    let targets = [
        (target(9, funnel), funnel_evidence),
        (target(3, cauchy), cauchy_evidence),
    ];
    for (target, evidence) in targets {
        let (run, fit) = sample(&target, Advi::default());
        assert!(fit.pareto_k.unwrap() > pareto_k_limit(run.len()), "{fit:?}");
        assert!(run.chains[0].log_weights.is_none() && run.log_evidence.is_none());
        let warnings = run.summary().warnings.join("\n");
        assert!(warnings.contains("cannot be trusted: k̂"), "{warnings}");
        assert!(fit.elbo < evidence + 5.0 * fit.elbo_se, "{fit:?} for {evidence}");
    }
}

/// The logarithm of a gamma variable of shape 6: skewed to the left. Its mean and variance are ψ(6) and
/// ψ'(6).
fn log_gamma(z: &[f64], gradient: &mut [f64]) -> f64 {
    gradient[0] = 6.0 - z[0].exp();
    6.0 * z[0] - z[0].exp()
}

#[test]
fn weights_mend_what_the_normal_shape_misses() {
    let harmonic = |power: i32| (1..6).map(|k| f64::from(k).powi(-power)).sum::<f64>();
    let euler = 0.577_215_664_901_532_9;
    let (psi, trigamma) = (
        harmonic(1) - euler,
        std::f64::consts::PI.powi(2) / 6.0 - harmonic(2),
    );
    let skewed = target(1, log_gamma);
    let (run, fit) = sample(&skewed, Advi::default());
    let evidence = 120f64.ln();
    assert!(fit.elbo < evidence && fit.elbo > evidence - 0.1, "{fit:?}");
    let weights = run.weights();
    let ess = 1.0 / weights.iter().map(|w| w * w).sum::<f64>();
    let (mean, variance) = moments(&run);
    assert!(
        (mean[0] - psi).abs() < 5.0 * (trigamma / ess).sqrt(),
        "{mean:?} for {psi}"
    );
    // The fourth moment of this skewed density is below 5 variances squared.
    assert!((variance[0][0] / trigamma - 1.0).abs() < 5.0 * (4.0 / ess).sqrt());
    assert!((run.log_evidence.unwrap() - evidence).abs() < 5.0 * (1.0 / ess).sqrt());
    // E x = 6 tells the skewness: a normal of this mean and variance has 5.98, the fit without weights is
    // further off.
    let of_x = |run: &Run| {
        let pairs = run.draws().zip(run.weights());
        pairs.map(|(z, w)| w * z[0].powi(3)).sum::<f64>()
    };
    let plain = Advi {
        reweight: false,
        ..Advi::default()
    };
    let (plain, _) = sample(&skewed, plain);
    // The third moment, by quadrature.
    let (mut sum, mut norm) = (0.0, 0.0);
    for i in -8000..4000 {
        let z = f64::from(i) * 1e-3;
        let p = (6.0 * z - z.exp()).exp();
        sum += p * z.powi(3);
        norm += p;
    }
    let third = sum / norm;
    let (weighted, unweighted) = (of_x(&run), of_x(&plain));
    assert!(
        (weighted - third).abs() < 0.3 * (unweighted - third).abs(),
        "{weighted} {unweighted} {third}"
    );
}

#[test]
fn narrow_and_shifted_targets_are_reached() {
    // A ten-thousandth as wide as the start, and 400 000 of its widths away.
    let (run, fit) = sample(
        &target(2, |z, gradient| {
            let (u, v) = ((z[0] - 40.0) / 1e-4, (z[1] + 3.0) / 50.0);
            gradient[0] = -u / 1e-4;
            gradient[1] = -v / 50.0;
            -0.5 * (u * u + v * v)
        }),
        Advi::default(),
    );
    let evidence = std::f64::consts::TAU.ln() + (1e-4 * 50.0f64).ln();
    assert!((fit.elbo - evidence).abs() < 1e-3, "{fit:?} for {evidence}");
    assert!(run.summary().warnings.is_empty(), "{}", run.summary());
}

/// A chain of forty: x₀ ~ Normal(0, 1), xᵢ ~ Normal(0.9 xᵢ₋₁, 0.1).
fn long(z: &[f64], gradient: &mut [f64]) -> f64 {
    gradient.fill(0.0);
    gradient[0] = -z[0];
    let mut value = -0.5 * z[0] * z[0];
    for i in 1..z.len() {
        let off = z[i] - 0.9 * z[i - 1];
        gradient[i] -= off / 0.01;
        gradient[i - 1] += 0.9 * off / 0.01;
        value -= 0.5 * off * off / 0.01;
    }
    value
}

#[test]
fn many_correlated_parameters_are_fitted() {
    let (run, fit) = sample(&target(40, long), Advi::default());
    let evidence = 20.0 * std::f64::consts::TAU.ln() + 39.0 * 0.1f64.ln();
    assert!((fit.elbo - evidence).abs() < 0.01, "{fit:?} for {evidence}");
    assert!(run.summary().warnings.is_empty(), "{}", run.summary());
    let mut variance = 1.0;
    for parameter in &run.summary().parameters {
        // Five standard errors of 20 000 draws.
        let error = 5.0 * (0.5f64 / 20_000.0).sqrt();
        assert!(
            (parameter.sd / f64::sqrt(variance) - 1.0).abs() < error,
            "{parameter:?}"
        );
        variance = 0.81 * variance + 0.01;
    }
}

#[test]
fn too_few_steps_are_told() {
    let advi = Advi {
        iterations: 50,
        ..Advi::default()
    };
    let (run, _) = sample(&target(3, gaussian), advi);
    let warnings = run.warnings.join("\n");
    assert!(
        warnings.contains("had not settled after 50 iterations"),
        "{warnings}"
    );
}
