//! Hold every figure to the same rules: texts do not meet and do not leave the paper.

use armilla_samplers::prelude::*;

use super::Posterior;
use super::canvas::Picture;
use super::*;

model! {
    /// Two measured numbers.
    struct Two { y: Vec<f64> }
    a ~ Normal(0, 1);
    b ~ Normal(0, 1);
    y[0] ~ Normal(a + b, 0.5);
}

/// What may overlap by rounding, in points.
const SLACK: f64 = 0.3;

fn hold(what: &str, picture: &Picture) {
    let boxes = picture.text_boxes();
    assert!(!boxes.is_empty(), "{what} has no text");
    for (k, ((x, y, w, h), words)) in boxes.iter().enumerate() {
        assert!(
            *x > -SLACK && *y > -SLACK && x + w < picture.width + SLACK && y + h < picture.height + SLACK,
            "{what}: `{words}` leaves the paper"
        );
        for ((a, b, c, d), others) in &boxes[..k] {
            let across = (x + w).min(a + c) - x.max(*a);
            let down = (y + h).min(b + d) - y.max(*b);
            assert!(
                across < SLACK || down < SLACK,
                "{what}: `{words}` overlaps `{others}`"
            );
        }
    }
}

fn run(dim: usize, chains: usize, draws: usize) -> Run {
    let options = RunOptions {
        chains,
        warmup: 10,
        draws: 4,
        ..RunOptions::default()
    };
    let posterior = Two { y: vec![1.0] }.posterior().unwrap();
    let mut run = Hmc::default().sample(&posterior, &options).unwrap();
    run.names = ["Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "eta[5]"][..dim]
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    for chain in &mut run.chains {
        let (mut x, mut all) = (vec![0.5; dim], Vec::new());
        for _ in 0..draws {
            x.iter_mut()
                .for_each(|x| *x = 0.7 * *x + uniform() + uniform() - 1.0);
            all.extend(
                x.iter()
                    .enumerate()
                    .map(|(i, x)| x * 10f64.powi(3 * i as i32 - 5)),
            );
        }
        chain.draws = all;
        chain.log_density = vec![0.0; draws];
        chain.steps.clear();
    }
    run
}

#[test]
fn texts_neither_meet_nor_leave_the_paper() {
    for (dim, chains) in [(1, 1), (2, 4), (4, 6), (6, 20)] {
        let run = run(dim, chains, 60);
        let title = "Map 3 of CV_0, NUTS";
        hold("trace", &trace::picture(&run, title).unwrap());
        hold("rank", &rank::picture(&run, title).unwrap());
        hold("autocorrelation", &autocorrelation::picture(&run, title).unwrap());
        let values: Vec<Vec<f64>> = (0..dim).map(|i| run.parameter(i).concat()).collect();
        let truth: Vec<f64> = values.iter().map(|v| v[3]).collect();
        let label = "flow matching, a name that is long";
        let mut posteriors = vec![Posterior {
            label,
            values: &values,
            weights: None,
        }];
        for _ in 0..2 {
            let corner = Corner {
                names: &run.names,
                posteriors: &posteriors,
                truth: Some(&truth),
                bounds: None,
            };
            hold("corner", &corner::picture(&corner).unwrap());
            posteriors.push(posteriors[0]);
        }
        let histograms = Histograms {
            title,
            names: &run.names,
            values: &values,
            weights: None,
            truth: Some(&truth),
            estimate: Some(&truth),
        };
        hold("histograms", &posterior_histogram::picture(&histograms).unwrap());
        let below = vec![(0..90).map(|i| f64::from(i) / 89.0).collect(); dim];
        let calibration = Calibration {
            title,
            names: &run.names,
            below: &below,
        };
        hold("coverage", &coverage::picture(&calibration).unwrap());
        hold("rank histogram", &rank_histogram::picture(&calibration).unwrap());
        let rows: Vec<ParameterRow<'_>> = run
            .names
            .iter()
            .zip(&truth)
            .map(|(name, &x)| ParameterRow {
                name,
                truth: Some(x),
                estimate: 1.1 * x,
                sd: Some(x.abs()),
            })
            .collect();
        let map: Vec<f32> = (0..64).map(|i| 1e10 + 1e9 * (i % 9) as f32).collect();
        let samples: Vec<&[f32]> = vec![&map; chains.min(5)];
        for box_size in [None, Some(25.0)] {
            let inference = Inference {
                title,
                observation: &map,
                samples: &samples,
                side: 8,
                box_size,
                label: "surface density (M☉ h/Mpc²)",
                parameters: &rows,
            };
            hold("inference", &inference::picture(&inference).unwrap());
        }
        let curve = Curve {
            label: "validation",
            values: &values[0],
        };
        let loss = Loss {
            title,
            curves: &vec![curve; dim],
            step: "epoch",
            quantity: "−ln p(map | θ)",
        };
        hold("loss", &loss::picture(&loss).unwrap());
    }
    let axis: Vec<f64> = (0..12).map(|k| 0.1 + 0.03 * f64::from(k)).collect();
    let square = |y: &f64| {
        axis.iter()
            .map(move |x| -9.0 * (x - y).powi(2))
            .collect::<Vec<_>>()
    };
    let surface = Surface {
        title: "Log likelihood of map 3 of CV_0",
        names: ["Omega_m", "sigma_8"],
        x: &axis,
        y: &axis,
        log_density: &axis.iter().flat_map(square).collect::<Vec<_>>(),
        truth: Some([0.2, 0.3]),
    };
    hold("surface", &likelihood_surface::picture(&surface).unwrap());
    for count in [1, 2, 4, 6, 12] {
        let map: Vec<f32> = (0..64).map(|i| (1 + i) as f32).collect();
        let panel = FieldPanel {
            title: "a title that is long for a map",
            map: &map,
        };
        let plot = Fields {
            panels: &vec![panel; count],
            side: 8,
            box_size: Some(25.0),
            label: "1 + δ",
        };
        hold("maps", &field::picture(&plot).unwrap());
    }
}

#[test]
fn texts_of_flows_neither_meet_nor_leave_the_paper() {
    let values: Vec<Vec<f64>> = (1..=24)
        .map(|k| {
            (0..90)
                .map(|i| f64::from(k) * (0.3 * f64::from(i)).sin())
                .collect()
        })
        .collect();
    let times: Vec<f64> = (0..24).map(|k| 1.0 - f64::from(k) / 23.0).collect();
    for count in [1, 2, 11, 24] {
        let plot = Evolution {
            title: "From noise to data, a title that is long",
            name: "x",
            times: &times[..count],
            values: &values[..count],
            target: Some(&[(0.0, 0.1), (0.5, 0.3)]),
        };
        hold("evolution", &evolution::picture(&plot).unwrap());
    }
    let path: Vec<[f64; 2]> = (0..20)
        .map(|i| [0.1 * f64::from(i), (0.2 * f64::from(i)).cos()])
        .collect();
    let paths = vec![path.clone(); 3];
    let arrows = [([0.0, 0.0], [1.0, 0.3]), ([1.0, 0.0], [-0.2, 0.3])];
    for count in 1..=4 {
        let panel = PlanePanel {
            title: "rectified twice, 10 steps of Heun's method",
            points: &path,
            paths: &paths,
            arrows: &arrows,
        };
        let plot = Planes {
            title: "Two moons",
            names: ["x_1", "x_2"],
            panels: &vec![panel; count],
        };
        hold("planes", &plane::picture(&plot).unwrap());
    }
}

#[test]
fn flows_that_cannot_be_drawn_are_errors() {
    let draw = |times: &[f64], values: &[Vec<f64>]| {
        let plot = Evolution {
            title: "t",
            name: "x",
            times,
            values,
            target: None,
        };
        evolution::picture(&plot).is_ok()
    };
    assert!(draw(&[0.5], &[vec![1.0, 1.0]]));
    assert!(!draw(&[0.5], &[]) && !draw(&[], &[]) && !draw(&[0.5], &[vec![]]));
    assert!(!draw(&[0.5], &[vec![f64::NAN]]) && !draw(&[f64::NAN], &[vec![1.0]]));
    let plane = |panels: &[PlanePanel<'_>]| {
        let plot = Planes {
            title: "t",
            names: ["x", "y"],
            panels,
        };
        plane::picture(&plot).is_ok()
    };
    let points = |points| PlanePanel {
        points,
        ..PlanePanel::default()
    };
    assert!(plane(&[points(&[[0.0, 1.0]])]));
    assert!(!plane(&[]) && !plane(&[points(&[])]) && !plane(&[points(&[[0.0, f64::NAN]])]));
    assert!(!plane(&[points(&[[0.0, 1.0]]); 5]));
}

#[test]
fn runs_that_cannot_be_drawn_are_errors() {
    let good = run(2, 2, 30);
    let with = |change: &dyn Fn(&mut Run)| {
        let mut run = good.clone();
        change(&mut run);
        run
    };
    let nan = with(&|run| run.chains[1].draws[7] = f64::NAN);
    let single = run(2, 2, 1);
    let empty = with(&|run| run.chains.clear());
    let nothing = with(&|run| run.names.clear());
    for (bad, wanted) in [
        (&nan, "sigma_8 in chain 2 is NaN"),
        (&single, "one has 1"),
        (&empty, "one has 0"),
        (&nothing, "0 parameters"),
    ] {
        for picture in [trace::picture, rank::picture, autocorrelation::picture] {
            let message = picture(bad, "t").err().map(|e| e.to_string()).unwrap_or_default();
            assert!(message.contains(wanted), "{message}");
        }
    }
    // A parameter that does not vary is drawn where it is, or said not to vary.
    let constant = with(&|run| run.chains.iter_mut().for_each(|c| c.draws.fill(2.0)));
    let two = run(2, 2, 2);
    for drawn in [&constant, &two] {
        for picture in [trace::picture, rank::picture, autocorrelation::picture] {
            hold("little", &picture(drawn, "t").unwrap());
        }
    }
}

#[test]
fn calibrations_that_cannot_be_drawn_are_errors() {
    let names = ["a".to_owned()];
    let draw = |below: &[Vec<f64>]| {
        let plot = Calibration {
            title: "t",
            names: &names,
            below,
        };
        coverage::picture(&plot).is_ok() && rank_histogram::picture(&plot).is_ok()
    };
    assert!(draw(&[vec![0.0, 1.0, 0.5]]) && draw(&[vec![0.3]]));
    for bad in [vec![], vec![vec![]], vec![vec![f64::NAN]], vec![vec![1.5]]] {
        assert!(!draw(&bad), "{bad:?}");
    }
}
