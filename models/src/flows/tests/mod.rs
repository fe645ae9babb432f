//! Hold flows against what is known: inverses, Jacobians, gradients, densities and trainings.

mod training;

use armilla_samplers::rng::{Purpose, stream};
use dfdx::{
    tensor::{Cpu, OwnedTape},
    tensor_ops::{Backward, SumTo},
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::{layer::Layer, maximum_likelihood::Rows, rows::MeanNegativeLogDensity, *};
use crate::{Module, field::Field, ops::host};

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

/// Small changes in single precision; a kink of a network can lie between.
const GRADIENT: f64 = 2e-2;

#[test]
fn gradients_in_the_weights_meet_finite_differences() {
    for config in configs(2) {
        let mut flow = moved(config);
        let (n, rows) = (flow.config().numbers(), 6);
        let (x, condition) = (normal(rows * n, 1), normal(rows * 2, 2));
        let batch = Rows {
            x: x.clone(),
            condition: condition.clone(),
            count: rows,
        };
        let (loss, gradients) = flow.loss_and_gradients(batch).unwrap();
        let value = |flow: &NormalizingFlow<Cpu>| {
            let all = flow.log_density(&x, Some(&condition)).unwrap();
            -all.iter().sum::<f64>() / rows as f64
        };
        assert!((loss - value(&flow)).abs() < 1e-4);
        let weights = flow.weights();
        for (i, gradient) in gradients.iter().enumerate().filter(|(i, _)| weights.0[*i].learnt) {
            // Along a random direction: every number counts.
            let mut stream = stream(9, Purpose::Noise, i as u64);
            let scale = 1.0 / (gradient.len() as f32).sqrt();
            let direction: Vec<f32> = gradient
                .iter()
                .map(|_| if stream.random() { scale } else { -scale })
                .collect();
            let mut at = |h: f32| {
                let mut there = weights.clone();
                there.0[i]
                    .values
                    .iter_mut()
                    .zip(&direction)
                    .for_each(|(v, d)| *v += h * d);
                flow.load(&there).unwrap();
                value(&flow)
            };
            let h = 1e-3;
            let numeric = (at(h) - at(-h)) / (2.0 * f64::from(h));
            let found: f64 = gradient
                .iter()
                .zip(&direction)
                .map(|(g, d)| f64::from(g * d))
                .sum();
            let name = &weights.0[i].name;
            assert!(
                (found - numeric).abs() < GRADIENT * numeric.abs().max(1.0),
                "{} {name}: {found} {numeric}",
                flow.config().name()
            );
            flow.load(&weights).unwrap();
        }
    }
}

#[test]
fn gradients_in_data_and_condition_meet_finite_differences() {
    for config in configs(2) {
        let flow = moved(config);
        let n = flow.config().numbers();
        let (x, c) = (normal(2 * n, 1), normal(4, 2));
        let (rows, condition) = flow.fields(&x, c.clone()).unwrap();
        let condition = condition.unwrap();
        let told = condition.retaped::<OwnedTape<f32, Cpu>>();
        let noise = flow.pass(rows.traced(), Some(&told)).unwrap();
        let losses: Field<Cpu, _> = host(
            vec![noise],
            &[],
            MeanNegativeLogDensity { width: n + 1 },
            1,
            [1; 3],
        )
        .unwrap();
        let g = losses.into_values().sum().backward();
        let of_rows = g.get(rows.values()).as_vec();
        let of_condition = g.get(condition.values()).as_vec();
        let value = |x: &[f32], c: &[f32]| -0.5 * flow.log_density(x, Some(c)).unwrap().iter().sum::<f64>();
        let h = 5e-3f32;
        let moved = |list: &[f32], i: usize, h: f32| {
            let mut list = list.to_vec();
            list[i] += h;
            list
        };
        for i in 0..2 * n {
            let ends = [h, -h].map(|h| value(&moved(&x, i, h), &c));
            let numeric = (ends[0] - ends[1]) / (2.0 * f64::from(h));
            let found = f64::from(of_rows[i / n * (n + 1) + i % n]);
            let name = flow.config().name();
            assert!(
                (found - numeric).abs() < GRADIENT * numeric.abs().max(1.0),
                "{name} x{i}: {found} {numeric}"
            );
        }
        for (i, found) in of_condition.into_iter().enumerate() {
            let ends = [h, -h].map(|h| value(&x, &moved(&c, i, h)));
            let numeric = (ends[0] - ends[1]) / (2.0 * f64::from(h));
            let found = f64::from(found);
            let name = flow.config().name();
            assert!(
                (found - numeric).abs() < GRADIENT * numeric.abs().max(1.0),
                "{name} c{i}: {found} {numeric}"
            );
        }
    }
}

#[test]
fn densities_of_the_plane_integrate_to_one() {
    // A sum over a grid of steps of 0.1, in which stretches of a few narrow the density.
    const WHOLE: f64 = 1e-2;
    const STEP: f64 = 0.1;
    let widths = vec![16];
    let (numbers, layers) = (2, 3);
    for config in [
        FlowConfig::RealNvp(RealNvpConfig {
            numbers,
            layers,
            widths: widths.clone(),
            ..Default::default()
        }),
        FlowConfig::Spline(SplineConfig {
            numbers,
            layers,
            widths: widths.clone(),
            mixing: true,
            ..Default::default()
        }),
        FlowConfig::Maf(MafConfig {
            numbers,
            layers,
            widths,
            ..Default::default()
        }),
    ] {
        let flow = moved(config);
        let line: Vec<f32> = (0..240).map(|i| (STEP * (i as f64 - 119.5)) as f32).collect();
        let grid: Vec<f32> = line
            .iter()
            .flat_map(|x| line.iter().flat_map(|y| [*x, *y]))
            .collect();
        let densities = flow.log_density(&grid, None).unwrap();
        let total: f64 = densities.iter().map(|l| l.exp() * STEP * STEP).sum();
        assert!((total - 1.0).abs() < WHOLE, "{}: {total}", flow.config().name());
    }
}

#[test]
fn an_autoregressive_layer_sees_no_later_number() {
    let config = |layers| {
        FlowConfig::Maf(MafConfig {
            numbers: 5,
            cond_dim: 1,
            layers,
            widths: vec![24, 24],
            ..Default::default()
        })
    };
    let flow = moved(config(2));
    let (x, c) = (normal(5, 1), [0.3]);
    for (layer, backwards) in flow.layers.iter().zip([false, true]) {
        let through = |x: &[f32], c: &[f32]| {
            let (rows, condition) = flow.fields(x, c.to_vec()).unwrap();
            layer.forward(rows, condition.as_ref()).unwrap().to_vec()
        };
        let z = through(&x, &c);
        for j in 0..5 {
            let mut other = x.clone();
            other[j] += 0.5;
            let moved = through(&other, &c);
            for i in 0..5 {
                let earlier = if backwards { i > j } else { i < j };
                assert_eq!(z[i] == moved[i], earlier, "{i} {j}");
            }
        }
        // Every number depends on the condition, the first one too.
        let told = through(&x, &[0.9]);
        assert!((0..5).all(|i| told[i] != z[i]));
    }
}

#[test]
fn numbers_that_overflow_spoil_none_before_them() {
    let config = FlowConfig::Maf(MafConfig {
        numbers: 80,
        layers: 1,
        widths: vec![80, 80],
        ..Default::default()
    });
    let mut flow = moved(config);
    let mut weights = flow.weights();
    let all = weights.0.iter_mut().flat_map(|w| &mut w.values);
    all.for_each(|v| *v *= 20.0);
    flow.load(&weights).unwrap();
    let z = normal(80, 2);
    let mut x = flow.to_data(&z, None).unwrap().values;
    assert!(!x[79].is_finite(), "the weights are too weak: {}", x[79]);
    x[8..].fill(0.0);
    let back = flow.to_noise(&x, None).unwrap().values;
    for (i, (z, back)) in z.iter().zip(&back).enumerate().take(3) {
        assert!((z - back).abs() < 1e-2 * (1.0 + x[i].abs()), "{i}: {z} {back}");
    }
}

#[test]
fn squeezing_loses_nothing_and_keeps_blocks_together() {
    let from = build::squeeze(3, [4, 6], 3 * 24 + 1);
    let mut seen = from.to_vec();
    seen.sort_unstable();
    assert_eq!(seen, (0..73).collect::<Vec<_>>());
    // The first block of 2×2 pixels becomes the first position of four channels.
    assert_eq!([0, 6, 12, 18].map(|k| from[k]), [0, 1, 6, 7]);
}

#[test]
fn untrained_flows_of_vectors_are_the_identity() {
    for config in configs(0).into_iter().take(4) {
        let flow = NormalizingFlow::new(&Cpu::default(), config, 1).unwrap();
        let x = normal(3 * flow.config().numbers(), 1);
        let z = flow.to_noise(&x, None).unwrap();
        let apart = x
            .iter()
            .zip(&z.values)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(
            apart < 1e-5 && z.log_determinants.iter().all(|l| l.abs() < 1e-5),
            "{apart}"
        );
    }
}

#[test]
fn weights_lead_to_the_same_flow_whatever_it_started_from() {
    for config in configs(1) {
        let flow = moved(config.clone());
        let mut other = NormalizingFlow::new(&Cpu::default(), config, 99).unwrap();
        other.load(&flow.weights()).unwrap();
        let x = normal(4 * flow.config().numbers(), 1);
        assert_eq!(
            flow.log_density(&x, Some(&[0.5])).unwrap(),
            other.log_density(&x, Some(&[0.5])).unwrap()
        );
        let text = serde_json::to_string(flow.config()).unwrap();
        assert_eq!(&serde_json::from_str::<FlowConfig>(&text).unwrap(), flow.config());
    }
}

#[test]
fn parts_and_conditions_give_what_the_whole_gives() {
    let flow = moved(configs(1)[0].clone());
    let n = flow.config().numbers();
    let rows = flow.rows_at_once() + 3;
    let (x, c) = (normal(rows * n, 1), normal(rows, 2));
    let all = flow.log_density(&x, Some(&c)).unwrap();
    for row in [0, 1, rows - 4, rows - 3, rows - 1] {
        let one = flow
            .log_density(&x[row * n..(row + 1) * n], Some(&c[row..row + 1]))
            .unwrap();
        assert!((one[0] - all[row]).abs() < 1e-4, "{row}");
    }
    let same = flow.log_density(&x, Some(&[0.2])).unwrap();
    let each = flow.log_density(&x, Some(&vec![0.2; rows])).unwrap();
    assert_eq!(same, each);
    // A draw follows from its place, not from how many there are.
    let draws = flow.sample(10, Some(&[0.2]), 3).unwrap();
    let fewer = flow.sample(4, Some(&[0.2]), 3).unwrap();
    let apart = draws
        .iter()
        .zip(&fewer)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(apart < 1e-5);
}

#[test]
fn norms_make_the_first_batch_standard() {
    let mut flow = NormalizingFlow::new(&Cpu::default(), configs(0)[4].clone(), 1).unwrap();
    let x: Vec<f32> = normal(64 * 16, 1).iter().map(|x| 3.0 * x - 2.0).collect();
    let batch = || Rows {
        x: x.clone(),
        condition: Vec::new(),
        count: 64,
    };
    assert!(!flow.has_started());
    flow.start(batch()).unwrap();
    assert!(flow.has_started());
    let (mut rows, _) = flow.fields(&x, Vec::new()).unwrap();
    let mut norms = 0;
    for layer in &flow.layers {
        rows = layer.forward(rows, None).unwrap();
        let Layer::ActNorm(norm) = layer else { continue };
        norms += 1;
        let (channels, values) = (norm.parameters()[0].1.count(), rows.to_vec());
        let positions = if channels == 4 { 4 } else { 1 };
        for c in 0..channels {
            let of = |row: &[f32]| row[c * positions..(c + 1) * positions].to_vec();
            let all: Vec<f64> = values.chunks(17).flat_map(of).map(f64::from).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let variance = all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / all.len() as f64;
            assert!(
                mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4,
                "{mean} {variance}"
            );
        }
    }
    assert_eq!(norms, 4);
    // What has started is not started anew.
    let before = flow.weights();
    flow.start(Rows {
        x: normal(64 * 16, 2),
        ..batch()
    })
    .unwrap();
    assert_eq!(before, flow.weights());
}

#[test]
fn what_does_not_fit_is_named() {
    let flow = moved(configs(2)[0].clone());
    let message = |x: &[f32], c: Option<&[f32]>| flow.log_density(x, c).unwrap_err().to_string();
    let x = vec![0.0; 10];
    assert!(message(&x[..9], Some(&[0.0; 2])).contains("a row has 5"));
    assert!(message(&x, None).contains("a condition 2"));
    assert!(message(&x, Some(&[0.0; 3])).contains("3 of conditions"));
    assert!(
        message(
            &[0.0, 0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0],
            Some(&[0.0; 2])
        )
        .contains("row 1")
    );
    assert!(message(&x, Some(&[0.0, f32::INFINITY])).contains("condition holds inf"));
    let config = |sides| {
        FlowConfig::Glow(GlowConfig {
            sides,
            levels: 2,
            ..Default::default()
        })
    };
    for (config, words) in [
        (config([7, 8]), "multiples of 4"),
        (config([6, 6]), "multiples of 4"),
        (
            FlowConfig::Spline(SplineConfig {
                numbers: 1025,
                mixing: true,
                ..Default::default()
            }),
            "1024 numbers",
        ),
        (
            FlowConfig::Spline(SplineConfig {
                bins: 1,
                ..Default::default()
            }),
            "2 to 64 bins",
        ),
        (
            FlowConfig::Maf(MafConfig {
                bound: f64::NAN,
                ..Default::default()
            }),
            "bound",
        ),
        (
            FlowConfig::RealNvp(RealNvpConfig {
                numbers: 0,
                ..Default::default()
            }),
            "from 1",
        ),
        (
            FlowConfig::RealNvp(RealNvpConfig {
                layers: 0,
                ..Default::default()
            }),
            "layers",
        ),
        (
            FlowConfig::Maf(MafConfig {
                widths: vec![0],
                ..Default::default()
            }),
            "widths",
        ),
    ] {
        let error = NormalizingFlow::new(&Cpu::default(), config, 1)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
}
