//! Hold the simulated fields and their likelihoods against dense algebra, closed forms and rank statistics.

use std::f64::consts::TAU;

use armilla::cosmology::BOUNDS;
use armilla::samplers::rng::{Purpose, stream};
use armilla::samplers::{DifferentiableLikelihood, EvalError, Likelihood, Points};
use armilla::simulators::{
    FieldLikelihood, GaussianField, LognormalField, Simulator, Slab, SlabSpectrum, latin_hypercube,
    simulate_set,
};
use armilla::stats::power_spectrum;
use nalgebra::{Cholesky, DMatrix, DVector};
use rand::RngExt;
use rayon::prelude::*;

/// f64 algebra of some ten to a thousand terms.
const CLOSED_FORM: f64 = 1e-10;
/// Monte Carlo at fixed seeds, in standard errors.
const STANDARD_ERRORS: f64 = 5.0;
/// χ² tests at fixed seeds.
const P_VALUE: f64 = 0.001;

const THETA: [f64; 2] = [0.3, 0.8];

fn slab(size: usize) -> Slab {
    Slab {
        size,
        ..Slab::default()
    }
}

/// P_2D at (n_x, n_y), by looking for its |k|: knows nothing of how modes are counted.
fn power_at(spectrum: &SlabSpectrum, power: &[f64], nx: i64, ny: i64) -> f64 {
    let k = TAU / spectrum.slab().side * ((nx * nx + ny * ny) as f64).sqrt();
    let close = |found: &f64| (found - k).abs() < 1e-9;
    power[spectrum.wavenumbers().iter().position(close).unwrap()]
}

/// ⟨g(x) g(y)⟩ = L⁻² Σ_k P_2D(k) cos(k·(x − y)) over the residues −N/2 ≤ n < N/2.
fn dense_covariance(spectrum: &SlabSpectrum, theta: &[f64]) -> DMatrix<f64> {
    let (n, power) = (spectrum.slab().size as i64, spectrum.power(theta).unwrap());
    let mut modes = Vec::new();
    for nx in (0..n).map(|i| if 2 * i < n { i } else { i - n }) {
        for ny in (0..n).map(|i| if 2 * i < n { i } else { i - n }) {
            modes.push((nx, ny, power_at(spectrum, &power, nx, ny)));
        }
    }
    let points = (n * n) as usize;
    DMatrix::from_fn(points, points, |a, b| {
        let (a, b) = (a as i64, b as i64);
        let (dx, dy) = (a % n - b % n, a / n - b / n);
        let sum: f64 = modes
            .iter()
            .map(|&(nx, ny, p)| p * (TAU * (nx * dx + ny * dy) as f64 / n as f64).cos())
            .sum();
        sum / spectrum.slab().side.powi(2)
    })
}

fn dense_log_normal(values: &[f64], mean: f64, covariance: DMatrix<f64>) -> f64 {
    let cholesky = Cholesky::new(covariance).unwrap();
    let residual = DVector::from_iterator(values.len(), values.iter().map(|v| v - mean));
    let ln_det: f64 = 2.0 * cholesky.l().diagonal().iter().map(|d| d.ln()).sum::<f64>();
    -0.5 * (values.len() as f64 * TAU.ln() + ln_det + residual.dot(&cholesky.solve(&residual)))
}

#[test]
fn likelihoods_equal_dense_algebra() {
    let mut worst = 0.0f64;
    for size in [2, 5, 6] {
        let (gaussian, lognormal) = (
            GaussianField::new(slab(size)).unwrap(),
            LognormalField::new(slab(size)).unwrap(),
        );
        for (i, theta) in [[0.3, 0.8], [0.12, 0.95], [0.48, 0.62]].into_iter().enumerate() {
            let mut stream = stream(5, Purpose::Simulation, i as u64);
            let g = gaussian.simulate(&THETA, &mut stream).unwrap();
            let f = lognormal.simulate(&THETA, &mut stream).unwrap();
            let covariance = dense_covariance(gaussian.spectrum(), &theta);

            let expected = dense_log_normal(&g, 0.0, covariance.clone());
            let value = gaussian.observe(&g).unwrap().log_likelihood(&theta).unwrap();
            worst = worst.max((value / expected - 1.0).abs());

            let y: Vec<f64> = f.iter().map(|v| v.ln()).collect();
            let mean = -0.5 * covariance[(0, 0)];
            let expected = dense_log_normal(&y, mean, covariance) - y.iter().sum::<f64>();
            let value = lognormal.observe(&f).unwrap().log_likelihood(&theta).unwrap();
            worst = worst.max((value / expected - 1.0).abs());
        }
    }
    println!("worst relative difference {worst:e}");
    assert!(worst < CLOSED_FORM);
}

#[test]
fn gradients_meet_finite_differences() {
    // Order h⁴ with h = 1e-3 relative: truncation 1e-9 of the gradient's scale, rounding below.
    const TOLERANCE: f64 = 1e-8;
    let mut worst = 0.0f64;
    for size in [15, 16] {
        let mut stream = stream(6, Purpose::Simulation, 0);
        let gaussian = GaussianField::new(slab(size)).unwrap();
        let lognormal = LognormalField::new(slab(size)).unwrap();
        let g = gaussian.simulate(&THETA, &mut stream).unwrap();
        let f = lognormal.simulate(&THETA, &mut stream).unwrap();
        for likelihood in [gaussian.observe(&g).unwrap(), lognormal.observe(&f).unwrap()] {
            for theta in [[0.3, 0.8], [0.12, 0.95], [0.48, 0.62]] {
                let mut gradient = [0.0; 2];
                let value = likelihood.value_and_gradient(&theta, &mut gradient).unwrap();
                assert_eq!(value, likelihood.log_likelihood(&theta).unwrap());
                for a in 0..2 {
                    let h = 1e-3 * theta[a];
                    let at = |shift: f64| {
                        let mut theta = theta;
                        theta[a] += shift * h;
                        likelihood.log_likelihood(&theta).unwrap()
                    };
                    let numeric = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * h);
                    // The scale of a derivative that is a sum of size² terms and may vanish itself.
                    let scale = gradient[a].abs().max((size * size) as f64);
                    worst = worst.max((gradient[a] - numeric).abs() / scale);
                }
            }
        }
    }
    println!("worst relative difference {worst:e}");
    assert!(worst < TOLERANCE);
}

#[test]
fn batches_equal_the_loop() {
    let field = GaussianField::new(slab(8)).unwrap();
    let map = field
        .simulate(&THETA, &mut stream(1, Purpose::Simulation, 0))
        .unwrap();
    let likelihood = field.observe(&map).unwrap();
    let thetas = latin_hypercube(&BOUNDS, 5, 2).unwrap();
    let mut batch = [0.0; 5];
    likelihood
        .log_likelihood_batch(Points::new(&thetas, 2).unwrap(), &mut batch)
        .unwrap();
    for (theta, value) in thetas.chunks(2).zip(batch) {
        assert_eq!(likelihood.log_likelihood(theta).unwrap(), value);
    }
}

/// Running mean and its standard error.
#[derive(Default, Clone, Copy)]
struct Mean(f64, f64, f64);

impl Mean {
    fn add(&mut self, value: f64) {
        *self = Self(self.0 + 1.0, self.1 + value, self.2 + value * value);
    }

    fn assert(&self, expected: f64, what: &str) {
        let mean = self.1 / self.0;
        let error = ((self.2 / self.0 - mean * mean) / self.0).sqrt();
        let deviation = (mean - expected) / error;
        println!("{what}: {mean:.6} ± {error:.6}, expected {expected:.6}");
        assert!(
            deviation.abs() < STANDARD_ERRORS,
            "{what}: {deviation} standard errors"
        );
    }
}

#[test]
fn draws_have_the_spectrum_that_was_asked_for() {
    for size in [15, 16] {
        let field = GaussianField::new(slab(size)).unwrap();
        let (spectrum, side) = (field.spectrum(), field.spectrum().slab().side);
        let power = spectrum.power(&THETA).unwrap();

        let mut rings: Vec<(f64, f64)> = Vec::new();
        for (i, &k) in spectrum.wavenumbers().iter().enumerate().skip(1) {
            let ring = (k * side / TAU + 1e-9).floor() as usize - 1;
            rings.resize(rings.len().max(ring + 1), (0.0, 0.0));
            rings[ring].0 += spectrum.modes()[i] as f64;
            rings[ring].1 += spectrum.modes()[i] as f64 * power[i];
        }
        let mut measured = vec![Mean::default(); rings.len()];
        let (mut mean_mode, mut pixel) = (Mean::default(), Mean::default());
        for i in 0..3000 {
            let g = field
                .simulate(&THETA, &mut stream(8, Purpose::Simulation, i))
                .unwrap();
            let rings = power_spectrum(&g, size, side).unwrap();
            measured
                .iter_mut()
                .zip(rings.power)
                .for_each(|(mean, p)| mean.add(p));
            let points = g.len() as f64;
            mean_mode.add((g.iter().sum::<f64>() / points).powi(2));
            pixel.add(g.iter().map(|v| v * v).sum::<f64>() / points);
        }
        for (i, (mean, (modes, sum))) in measured.iter().zip(&rings).enumerate() {
            mean.assert(sum / modes, &format!("ring {i} of size {size}"));
        }
        mean_mode.assert(power[0] / (side * side), "variance of the mean");
        pixel.assert(spectrum.variance(&THETA).unwrap(), "variance of a value");
    }
}

#[test]
fn lognormal_draws_have_mean_one_and_the_right_variance() {
    for size in [15, 16] {
        let field = LognormalField::new(slab(size)).unwrap();
        let (mut mean, mut square) = (Mean::default(), Mean::default());
        for i in 0..3000 {
            let f = field
                .simulate(&THETA, &mut stream(9, Purpose::Simulation, i))
                .unwrap();
            mean.add(f.iter().sum::<f64>() / f.len() as f64);
            square.add(f.iter().map(|v| v * v).sum::<f64>() / f.len() as f64);
        }
        mean.assert(1.0, "mean");
        square.assert(field.spectrum().variance(&THETA).unwrap().exp(), "mean square");
    }
}

#[test]
fn sets_do_not_depend_on_threads_and_grow_in_place() {
    let field = LognormalField::new(slab(8)).unwrap();
    let set = |threads, maps| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let count = std::sync::atomic::AtomicUsize::new(0);
        let highest = std::sync::atomic::AtomicUsize::new(0);
        let order = std::sync::atomic::Ordering::SeqCst;
        let set = pool.install(|| {
            simulate_set(&field, 13, maps, 3, &|complete| {
                count.fetch_add(1, order);
                highest.fetch_max(complete, order);
            })
        });
        assert_eq!((count.into_inner(), highest.into_inner()), (13, 13));
        set.unwrap()
    };
    let one = set(1, 2);
    assert_eq!(one, set(2, 2));
    assert_eq!(one, set(5, 2));
    let more = set(2, 3);
    assert_eq!(one.parameters, more.parameters);
    for (few, many) in one.maps.chunks(2 * 64).zip(more.maps.chunks(3 * 64)) {
        assert_eq!(few, &many[..2 * 64]);
    }
    assert_ne!(one.maps[..64], one.maps[64..128]);
    let again = field
        .simulate(&one.parameters[..2], &mut stream(3, Purpose::Simulation, 0))
        .unwrap();
    assert!(again.iter().zip(&one.maps).all(|(a, b)| *a as f32 == *b));
    for (simulations, maps) in [(0, 1), (1, 0), (usize::MAX, 1)] {
        assert!(simulate_set(&field, simulations, maps, 3, &|_| ()).is_err());
    }
}

#[test]
fn senseless_input_is_refused_by_name() {
    let (gaussian, lognormal) = (
        GaussianField::new(slab(4)).unwrap(),
        LognormalField::new(slab(4)).unwrap(),
    );
    let mut stream = stream(1, Purpose::Simulation, 0);
    for (theta, name) in [
        (&[0.04, 0.8][..], "Omega_m"),
        (&[f64::NAN, 0.8], "Omega_m"),
        (&[0.3, -1.0], "sigma_8"),
        (&[0.3, f64::NAN], "sigma_8"),
        (&[0.3], "theta"),
    ] {
        for error in [
            gaussian.simulate(theta, &mut stream).unwrap_err(),
            lognormal.simulate(theta, &mut stream).unwrap_err(),
        ] {
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
    let likelihood = gaussian.observe(&[0.1; 16]).unwrap();
    for theta in [[0.04, 0.8], [f64::NAN, 0.8], [0.3, 0.0], [0.3, 1e-200]] {
        let error = likelihood.log_likelihood(&theta).unwrap_err();
        assert!(matches!(error, EvalError::Recoverable(_)), "{error}");
    }
    assert!(matches!(
        likelihood.log_likelihood(&[0.3]),
        Err(EvalError::Fatal(_))
    ));
    assert!(matches!(
        likelihood.value_and_gradient(&[0.3, 0.8], &mut [0.0; 3]),
        Err(EvalError::Fatal(_))
    ));

    assert!(
        gaussian
            .observe(&[0.0; 15])
            .unwrap_err()
            .to_string()
            .contains("15 values")
    );
    assert!(
        lognormal
            .observe(&[1.0; 17])
            .unwrap_err()
            .to_string()
            .contains("17 values")
    );
    for wrong in [f64::NAN, f64::INFINITY, 0.0, -0.5] {
        let mut map = [1.0; 16];
        map[7] = wrong;
        assert!(
            lognormal
                .observe(&map)
                .unwrap_err()
                .to_string()
                .contains("value 7")
        );
        if !wrong.is_finite() {
            assert!(
                gaussian
                    .observe(&map)
                    .unwrap_err()
                    .to_string()
                    .contains("value 7")
            );
        }
    }
}

/// The ranks of the true parameters among draws from the exact posterior under a flat prior on the box.
///
/// The posterior is tabulated at the centres of `cells` × `cells`; a draw is a cell by inverse CDF and a uniform place
/// in it.
fn ranks<S: Simulator>(
    simulator: &S,
    observe: impl Fn(&[f64]) -> FieldLikelihood + Sync,
    sets: usize,
    cells: usize,
    draws: usize,
) -> Vec<[usize; 2]> {
    let place = |a: usize, share: f64| BOUNDS[a][0] + share * (BOUNDS[a][1] - BOUNDS[a][0]);
    (0..sets)
        .into_par_iter()
        .map(|set| {
            let mut stream = stream(11, Purpose::Simulation, set as u64);
            let truth = [0, 1].map(|a| place(a, stream.random::<f64>()));
            let likelihood = observe(&simulator.simulate(&truth, &mut stream).unwrap());
            let centre = |i: usize| (i as f64 + 0.5) / cells as f64;
            let values: Vec<f64> = (0..cells * cells)
                .map(|i| [place(0, centre(i % cells)), place(1, centre(i / cells))])
                .map(|theta| likelihood.log_likelihood(&theta).unwrap())
                .collect();
            let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mut total = 0.0;
            let cumulative: Vec<f64> = values
                .iter()
                .map(|value| {
                    total += (value - highest).exp();
                    total
                })
                .collect();
            let mut ranks = [0; 2];
            for _ in 0..draws {
                let at = total * stream.random::<f64>();
                let cell = cumulative.partition_point(|c| *c <= at).min(values.len() - 1);
                for (a, i) in [cell % cells, cell / cells].into_iter().enumerate() {
                    let draw = place(a, (i as f64 + stream.random::<f64>()) / cells as f64);
                    ranks[a] += usize::from(draw < truth[a]);
                }
            }
            ranks
        })
        .collect()
}

/// The p-value of Pearson's χ² of 11 bins against uniform ranks 0 … `draws`.
fn uniformity(ranks: impl Iterator<Item = usize>, draws: usize) -> f64 {
    const BINS: usize = 11;
    assert_eq!((draws + 1) % BINS, 0);
    let mut counts = [0.0; BINS];
    ranks.for_each(|rank| counts[rank * BINS / (draws + 1)] += 1.0);
    let expected = counts.iter().sum::<f64>() / BINS as f64;
    let half = 0.5
        * counts
            .iter()
            .map(|c| (c - expected).powi(2) / expected)
            .sum::<f64>();
    // The tail of χ² with 10 degrees of freedom is Poisson's head: e^(−χ²/2) Σ_{j<5} (χ²/2)^j / j!.
    let (mut term, mut sum) = (1.0, 1.0);
    for j in 1..5 {
        term *= half / j as f64;
        sum += term;
    }
    sum * (-half).exp()
}

fn assert_calibrated(ranks: &[[usize; 2]], draws: usize, what: &str) {
    for (a, name) in armilla::cosmology::PARAMETER_NAMES.iter().enumerate() {
        let p = uniformity(ranks.iter().map(|r| r[a]), draws);
        println!("{what}, {name}: p = {p:.4}");
        assert!(p > P_VALUE, "{what}, {name}: p = {p}");
    }
}

#[test]
fn gaussian_posteriors_are_calibrated() {
    let field = GaussianField::new(slab(16)).unwrap();
    let ranks = ranks(&field, |map| field.observe(map).unwrap(), 200, 48, 109);
    assert_calibrated(&ranks, 109, "Gaussian");
}

#[test]
fn lognormal_posteriors_are_calibrated() {
    let field = LognormalField::new(slab(16)).unwrap();
    let ranks = ranks(&field, |map| field.observe(map).unwrap(), 200, 48, 109);
    assert_calibrated(&ranks, 109, "lognormal");
}

#[test]
#[ignore = "half a minute: 1000 maps of the default size"]
fn posteriors_of_large_fields_are_calibrated() {
    let field = LognormalField::new(Slab::default()).unwrap();
    let ranks = ranks(&field, |map| field.observe(map).unwrap(), 1000, 64, 109);
    assert_calibrated(&ranks, 109, "lognormal, 32 × 32");
}
