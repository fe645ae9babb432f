use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use armilla_samplers::rng::{Purpose, stream};
use dfdx::tensor::Cpu;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::{layer::Layer, maximum_likelihood::Rows, *};
use crate::{
    Module,
    error::Result,
    ops::conv::geometry::Padding,
    train::{Event, Examples, Keep, LAST_FILE, Session, Trainer, Training},
};

/// There and back in single precision, through layers that stretch by up to e³.
const BACK: f32 = 1e-4;
/// Log-determinants of a few numbers in single precision.
const DETERMINANT: f64 = 2e-4;

fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut stream = stream(seed, Purpose::Noise, 0);
    (0..count).map(|_| StandardNormal.sample(&mut stream)).collect()
}

/// One flow of each kind, small.
fn configs(cond_dim: usize) -> [FlowConfig; 5] {
    let widths = vec![16];
    let spline = SplineConfig {
        numbers: 4,
        cond_dim,
        layers: 3,
        widths: widths.clone(),
        ..Default::default()
    };
    [
        FlowConfig::RealNvp(RealNvpConfig {
            numbers: 5,
            cond_dim,
            layers: 4,
            widths: widths.clone(),
            ..Default::default()
        }),
        FlowConfig::Spline(spline.clone()),
        FlowConfig::Spline(SplineConfig {
            mixing: true,
            ..spline
        }),
        FlowConfig::Maf(MafConfig {
            numbers: 4,
            cond_dim,
            layers: 3,
            widths: vec![16, 16],
            ..Default::default()
        }),
        FlowConfig::Glow(GlowConfig {
            channels: 1,
            sides: [4, 4],
            cond_dim,
            levels: 2,
            steps: 2,
            hidden: 8,
            ..Default::default()
        }),
    ]
}

/// A flow whose every weight was moved, so that no layer is the identity.
fn moved(config: FlowConfig) -> NormalizingFlow<Cpu> {
    let mut flow = NormalizingFlow::new(&Cpu::default(), config, 3).unwrap();
    let mut weights = flow.weights();
    for (i, weight) in weights.0.iter_mut().enumerate().filter(|(_, w)| w.learnt) {
        let mut stream = stream(5, Purpose::Weights, i as u64);
        weight
            .values
            .iter_mut()
            .for_each(|v| *v += 0.3 * (2.0 * stream.random::<f32>() - 1.0));
    }
    flow.load(&weights).unwrap();
    flow
}

/// ln |det| of a square matrix.
fn log_determinant(mut m: Vec<f64>) -> f64 {
    let n = m.len().isqrt();
    let mut log = 0.0;
    for k in 0..n {
        let pivot = (k..n)
            .max_by(|a, b| m[a * n + k].abs().total_cmp(&m[b * n + k].abs()))
            .unwrap();
        (0..n).for_each(|j| m.swap(k * n + j, pivot * n + j));
        log += m[k * n + k].abs().ln();
        for i in k + 1..n {
            let factor = m[i * n + k] / m[k * n + k];
            (k..n).for_each(|j| m[i * n + j] -= factor * m[k * n + j]);
        }
    }
    log
}

#[test]
fn noise_leads_back_to_the_data_and_the_determinants_cancel() {
    for cond_dim in [0, 2] {
        for config in configs(cond_dim) {
            let flow = moved(config);
            let n = flow.config().numbers();
            let (x, c) = (normal(7 * n, 1), normal(7 * cond_dim, 2));
            let condition = (cond_dim > 0).then_some(&c[..]);
            let there = flow.to_noise(&x, condition).unwrap();
            let back = flow.to_data(&there.values, condition).unwrap();
            let apart = x
                .iter()
                .zip(&back.values)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(apart < BACK, "{}: {apart}", flow.config().name());
            for (a, b) in there.log_determinants.iter().zip(&back.log_determinants) {
                assert!((a + b).abs() < DETERMINANT, "{}: {a} {b}", flow.config().name());
                assert!(a.abs() > 1e-3, "{}: nothing moved", flow.config().name());
            }
        }
    }
}

#[test]
fn the_determinant_is_that_of_the_numerical_jacobian() {
    // Differences of f32 values over 2e-3: rounding and curvature to a few 1e-3 of a nat for up to 16 numbers.
    const NUMERICAL: f64 = 1e-2;
    let h = 1e-3f32;
    for config in configs(1) {
        let flow = moved(config);
        let n = flow.config().numbers();
        let (x, c) = (normal(n, 4), [0.4]);
        let mut points = Vec::new();
        for (i, sign) in (0..n).flat_map(|i| [(i, 1.0), (i, -1.0)]) {
            let mut point = x.clone();
            point[i] += sign * h;
            points.extend(point);
        }
        let z = flow.to_noise(&points, Some(&c)).unwrap().values;
        let mut jacobian = vec![0.0; n * n];
        for (i, pair) in z.chunks_exact(2 * n).enumerate() {
            let step = f64::from(points[2 * i * n + i]) - f64::from(points[(2 * i + 1) * n + i]);
            for j in 0..n {
                jacobian[j * n + i] = (f64::from(pair[j]) - f64::from(pair[n + j])) / step;
            }
        }
        let numeric = log_determinant(jacobian);
        let found = flow.to_noise(&x, Some(&c)).unwrap().log_determinants[0];
        assert!(
            (found - numeric).abs() < NUMERICAL,
            "{}: {found} {numeric}",
            flow.config().name()
        );
    }
}
