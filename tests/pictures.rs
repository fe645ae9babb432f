//! Draws every picture from synthetic draws, and hands every function what cannot be drawn.
//!
//! To look at the pictures: `ARMILLA_PICTURES=folder cargo test --test pictures`.

use std::path::PathBuf;

use armilla::plot::{
    Calibration, Corner, Curve, FieldPanel, Fields, Histograms, Inference, Loss, ParameterRow, Posterior,
    Surface, corner, coverage, fields, inference, likelihood_surface, loss, posterior_histogram,
    rank_histogram,
};
use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

const CAMELS: [&str; 6] = ["Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2"];
const BOUNDS: [(f64, f64); 6] = [
    (0.1, 0.5),
    (0.6, 1.0),
    (0.25, 4.0),
    (0.25, 4.0),
    (0.5, 2.0),
    (0.5, 2.0),
];
const TRUTH: [f64; 6] = [0.309, 0.816, 1.1, 0.9, 1.0, 1.2];

fn names(count: usize) -> Vec<String> {
    CAMELS[..count].iter().map(|&n| n.to_owned()).collect()
}

/// Where pictures go, and what keeps the folder alive.
fn folder() -> (PathBuf, Option<tempfile::TempDir>) {
    match std::env::var_os("ARMILLA_PICTURES") {
        Some(folder) => (PathBuf::from(folder), None),
        None => {
            let folder = tempfile::tempdir().unwrap();
            (folder.path().to_owned(), Some(folder))
        }
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A posterior such as a map gives: two parameters narrow and anticorrelated, the last four as wide as the prior.
fn posterior(seed: u64, count: usize, draws: usize, shift: f64) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values = vec![Vec::new(); count];
    while values[0].len() < draws {
        let (a, b) = (normal(&mut rng), normal(&mut rng));
        let mut x = vec![
            0.31 + shift + 0.02 * a,
            0.82 - 0.016 * a + 0.008 * b,
            1.2 * (0.35 * normal(&mut rng)).exp(),
        ];
        x.extend(
            BOUNDS[3..]
                .iter()
                .map(|(low, high)| rng.random_range(*low..*high)),
        );
        if x.iter()
            .zip(BOUNDS)
            .all(|(x, (low, high))| (low..=high).contains(x))
        {
            for (column, x) in values.iter_mut().zip(x) {
                column.push(x);
            }
        }
    }
    values
}

/// A smooth positive map of blobs.
fn blobs(seed: u64, side: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let centres: Vec<(f64, f64, f64)> = (0..40)
        .map(|_| {
            (
                rng.random::<f64>(),
                rng.random::<f64>(),
                0.02 + 0.08 * rng.random::<f64>(),
            )
        })
        .collect();
    let mut map = Vec::new();
    for i in 0..side {
        for j in 0..side {
            let (x, y) = (j as f64 / side as f64, i as f64 / side as f64);
            let periodic = |d: f64| d.abs().min(1.0 - d.abs());
            let sum: f64 = centres
                .iter()
                .map(|(a, b, r)| (-0.5 * (periodic(x - a).hypot(periodic(y - b)) / r).powi(2)).exp())
                .sum();
            map.push((1e10 * (0.2 + 8.0 * sum * sum)) as f32);
        }
    }
    map
}

#[test]
fn corner_plots() {
    let (folder, _keep) = folder();
    let (a, b) = (posterior(1, 6, 4000, 0.0), posterior(2, 6, 1500, 0.03));
    let weights: Vec<f64> = (0..1500).map(|i| 1.0 + f64::from(i % 3)).collect();
    let two = [
        Posterior {
            label: "flow matching, NUTS",
            values: &a,
            weights: None,
        },
        Posterior {
            label: "moment network",
            values: &b,
            weights: Some(&weights),
        },
    ];
    for (name, count, used) in [
        ("six", 6, 2),
        ("six_single", 6, 1),
        ("two", 2, 2),
        ("two_single", 2, 1),
        ("one", 1, 2),
    ] {
        let posteriors: Vec<Posterior> = two[..used]
            .iter()
            .map(|p| Posterior {
                values: &p.values[..count],
                ..*p
            })
            .collect();
        let plot = Corner {
            names: &names(count),
            posteriors: &posteriors,
            truth: Some(&TRUTH[..count]),
            bounds: Some(&BOUNDS[..count]),
        };
        for format in ["png", "svg"] {
            corner(&plot, folder.join(format!("corner_{name}.{format}"))).unwrap();
        }
    }
    // A ring, two modes and heavy tails.
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut odd = vec![Vec::new(); 3];
    for i in 0..6000 {
        let angle = std::f64::consts::TAU * rng.random::<f64>();
        let radius = 1.0 + 0.08 * normal(&mut rng);
        odd[0].push(radius * angle.cos());
        odd[1].push(radius * angle.sin());
        odd[2].push(1e-4 * (if i % 3 == 0 { 2.0 } else { -1.0 } + 0.3 * normal(&mut rng)));
    }
    let names = ["x", "y", "log_mass"].map(str::to_owned);
    let posteriors = [Posterior {
        label: "ring",
        values: &odd,
        weights: None,
    }];
    let plot = Corner {
        names: &names,
        posteriors: &posteriors,
        truth: None,
        bounds: None,
    };
    corner(&plot, folder.join("corner_ring.png")).unwrap();
}

#[test]
fn corner_plots_of_nothing_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corner.png");
    let good = vec![vec![1.0, 2.0, 3.0]];
    let draw = |values: &[Vec<f64>],
                weights: Option<&[f64]>,
                truth: Option<&[f64]>,
                bounds: Option<&[(f64, f64)]>| {
        let posteriors = [Posterior {
            label: "p",
            values,
            weights,
        }];
        corner(
            &Corner {
                names: &names(1),
                posteriors: &posteriors,
                truth,
                bounds,
            },
            &path,
        )
    };
    draw(&good, None, None, None).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(draw(&[], None, None, None).is_err());
    assert!(draw(&[vec![]], None, None, None).is_err());
    assert!(draw(&[vec![2.0; 9]], None, None, None).is_err());
    assert!(draw(&[vec![1.0, f64::NAN]], None, None, None).is_err());
    assert!(draw(&good, Some(&[0.0; 3]), None, None).is_err());
    assert!(draw(&good, None, Some(&[f64::NAN]), None).is_err());
    assert!(draw(&good, None, None, Some(&[(1.0, 1.0)])).is_err());
    assert!(
        corner(
            &Corner {
                names: &[],
                posteriors: &[],
                truth: None,
                bounds: None
            },
            &path
        )
        .is_err()
    );
    // One far outlier, draws that differ by rounding, and huge numbers are drawn, not refused.
    draw(&[vec![1.0, 1.0, 1.0, 1e9]], None, None, None).unwrap();
    draw(&[vec![1.0, 1.0 + f64::EPSILON]], None, None, None).unwrap();
    draw(&[vec![-1e300, 1e300, 0.0]], None, None, None).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn maps() {
    let (folder, _keep) = folder();
    let maps: Vec<Vec<f32>> = (0..4).map(|k| blobs(k, 64)).collect();
    let titles = ["simulated", "flow matching", "diffusion", "RealNVP"];
    let panels: Vec<FieldPanel> = titles
        .iter()
        .zip(&maps)
        .map(|(title, map)| FieldPanel { title, map })
        .collect();
    let plot = Fields {
        panels: &panels,
        side: 64,
        box_size: Some(25.0),
        label: "Σ (M☉/h / (Mpc/h)²)",
    };
    fields(&plot, folder.join("fields.png")).unwrap();
    fields(&plot, folder.join("fields.svg")).unwrap();
    let linear: Vec<f32> = maps[0].iter().map(|x| x.ln() - 24.0).collect();
    let one = [FieldPanel {
        title: "ln density",
        map: &linear,
    }];
    fields(
        &Fields {
            panels: &one,
            side: 64,
            box_size: None,
            label: "ln δ",
        },
        folder.join("field_one.png"),
    )
    .unwrap();
}

#[test]
fn maps_that_cannot_be_drawn_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.png");
    let draw = |map: &[f32], side: usize| {
        let panels = [FieldPanel { title: "map", map }];
        fields(
            &Fields {
                panels: &panels,
                side,
                box_size: None,
                label: "",
            },
            &path,
        )
    };
    draw(&[2.0; 9], 3).unwrap();
    assert!(draw(&[], 0).is_err());
    assert!(draw(&[1.0; 8], 3).is_err());
    assert!(draw(&[1.0, f32::NAN, 1.0, 1.0], 2).is_err());
    assert!(
        fields(
            &Fields {
                panels: &[],
                side: 3,
                box_size: None,
                label: ""
            },
            &path
        )
        .is_err()
    );
}

#[test]
fn inferences() {
    let (folder, _keep) = folder();
    let observation = blobs(10, 64);
    let samples: Vec<Vec<f32>> = (11..15).map(|k| blobs(k, 64)).collect();
    let samples: Vec<&[f32]> = samples.iter().map(Vec::as_slice).collect();
    for (count, name) in [(6, "inference_mle_idx3"), (2, "inference_mle_idx4")] {
        let parameters: Vec<ParameterRow> = (0..count)
            .map(|k| ParameterRow {
                name: CAMELS[k],
                truth: (count == 6).then_some(TRUTH[k]),
                estimate: TRUTH[k] * if k % 2 == 0 { 1.02 } else { 0.97 },
                sd: (k < 4).then_some(0.03),
            })
            .collect();
        let plot = Inference {
            title: "Maximum likelihood of map 3",
            observation: &observation,
            samples: &samples,
            side: 64,
            box_size: Some(25.0),
            label: "surface density (M☉ h/Mpc²)",
            parameters: &parameters,
        };
        inference(&plot, folder.join(format!("{name}.png"))).unwrap();
        inference(&plot, folder.join(format!("{name}.svg"))).unwrap();
    }
    let bad = [ParameterRow {
        name: "a",
        truth: None,
        estimate: f64::NAN,
        sd: None,
    }];
    for parameters in [&bad[..], &[]] {
        let plot = Inference {
            title: "",
            observation: &observation,
            samples: &samples,
            side: 64,
            box_size: None,
            label: "",
            parameters,
        };
        assert!(inference(&plot, folder.join("never.png")).is_err());
    }
}

/// A decoded PNG: width, height, dots per metre, and its pixels of three bytes.
fn decode(path: &std::path::Path) -> (usize, usize, Option<u32>, Vec<u8>) {
    let decoder = png::Decoder::new(std::fs::File::open(path).unwrap());
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size()];
    reader.next_frame(&mut pixels).unwrap();
    let info = reader.info();
    let dots = info.pixel_dims.map(|dims| dims.xppu);
    (info.width as usize, info.height as usize, dots, pixels)
}

#[test]
fn calibrations() {
    let (folder, _keep) = folder();
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut tests = |power: f64| -> Vec<f64> {
        (0..300)
            .map(|_| rng.random::<f64>().powf(power))
            .collect::<Vec<_>>()
    };
    let below = [tests(1.0), tests(1.6)];
    let plot = Calibration {
        title: "300 maps",
        names: &names(2),
        below: &below,
    };
    let path = folder.join("coverage.png");
    coverage(&plot, &path).unwrap();
    rank_histogram(&plot, folder.join("rank_histogram.png")).unwrap();
    // A column of a journal, at 200 dots per inch, which is 7874 per metre.
    let (width, height, dots, pixels) = decode(&path);
    assert_eq!((width, dots), (700, Some(7874)));
    let ink = |x: std::ops::Range<usize>, y: std::ops::Range<usize>, colour: [i32; 3]| {
        let close = |at: usize| {
            let pixel = &pixels[3 * at..3 * at + 3];
            pixel
                .iter()
                .zip(colour)
                .all(|(&a, b)| (i32::from(a) - b).abs() < 40)
        };
        y.flat_map(|row| x.clone().map(move |column| row * width + column))
            .filter(|&at| close(at))
            .count()
    };
    // Both curves are there, on light paper, and the margins are free.
    for colour in [[0, 114, 178], [213, 94, 0]] {
        assert!(ink(0..width, 0..height, colour) > 500);
    }
    assert!(ink(0..width, 0..height, [255; 3]) > width * height / 2);
    assert_eq!(ink(0..width, 0..2, [255; 3]), 2 * width);
    assert_eq!(ink(width - 2..width, 0..height, [255; 3]), 2 * height);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let draws = posterior(1, 2, 500, 0.0);
    let posteriors = [Posterior {
        label: "<a> & \"b\"",
        values: &draws,
        weights: None,
    }];
    let plot = Corner {
        names: &names(2),
        posteriors: &posteriors,
        truth: Some(&TRUTH[..2]),
        bounds: None,
    };
    for format in ["png", "svg"] {
        let [a, b] = ["a", "b"].map(|name| {
            let path = folder.path().join(format!("{name}.{format}"));
            corner(&plot, &path).unwrap();
            std::fs::read(path).unwrap()
        });
        assert!(a == b, "{format}");
    }
    let svg = std::fs::read_to_string(folder.path().join("a.svg")).unwrap();
    // Letters are outlines: neither text nor a font is left to the viewer, and words are escaped.
    assert!(!svg.contains("<text") && !svg.contains("font"));
    assert!(svg.contains("aria-label=\"&lt;a&gt; &amp; &quot;b&quot;\"") && svg.contains("aria-label=\"Ω\""));
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    // What is referred to is there.
    for reference in svg.split("href=\"#").skip(1) {
        let name = &reference[..reference.find('"').unwrap()];
        assert!(svg.contains(&format!("id=\"{name}\"")), "{name}");
    }
}

#[test]
fn losses() {
    let (folder, _keep) = folder();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut falling = |floor: f64| -> Vec<f64> {
        (1..=200)
            .map(|i| floor + 2.0 / f64::from(i) * (0.2 * normal(&mut rng)).exp())
            .collect()
    };
    let (train, mut validation) = (falling(0.01), falling(0.03));
    validation[60] = f64::NAN;
    let curves = [
        Curve {
            label: "train",
            values: &train,
        },
        Curve {
            label: "validation",
            values: &validation,
        },
    ];
    let plot = Loss {
        title: "Training history",
        curves: &curves,
        step: "epoch",
        quantity: "loss",
    };
    loss(&plot, folder.join("training_history.png")).unwrap();
    loss(&plot, folder.join("training_history.svg")).unwrap();
    let negative: Vec<f64> = train.iter().map(|x| 1000.0 * (x - 0.7)).collect();
    let curves = [Curve {
        label: "start 1",
        values: &negative,
    }];
    let plot = Loss {
        title: "Maximum likelihood of map 3",
        curves: &curves,
        step: "iteration",
        quantity: "−log likelihood",
    };
    loss(&plot, folder.join("mle_loss_idx3.png")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let draw = |values: &[f64]| {
        let curves = [Curve { label: "a", values }];
        loss(
            &Loss {
                title: "t",
                curves: &curves,
                step: "s",
                quantity: "q",
            },
            scratch.path().join("l.png"),
        )
    };
    draw(&[0.5]).unwrap();
    draw(&[0.5; 10]).unwrap();
    draw(&[1.0, f64::NAN, 2.0, f64::INFINITY]).unwrap();
    assert!(draw(&[]).is_err() && draw(&[f64::NAN]).is_err());
}

#[test]
fn histograms() {
    let (folder, _keep) = folder();
    let draws = posterior(1, 6, 4000, 0.0);
    let means: Vec<f64> = draws
        .iter()
        .map(|c| c.iter().sum::<f64>() / c.len() as f64)
        .collect();
    for (count, name) in [
        (6, "mcmc_posterior_idx3"),
        (2, "mcmc_posterior_idx4"),
        (1, "mcmc_posterior_idx5"),
    ] {
        let plot = Histograms {
            title: "Posterior of map 3: NUTS, 4 × 1000 draws",
            names: &names(count),
            values: &draws[..count],
            weights: None,
            truth: Some(&TRUTH[..count]),
            estimate: Some(&means[..count]),
        };
        posterior_histogram(&plot, folder.join(format!("{name}.png"))).unwrap();
        posterior_histogram(&plot, folder.join(format!("{name}.svg"))).unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    let draw = |values: &[Vec<f64>], truth: Option<&[f64]>| {
        let plot = Histograms {
            title: "t",
            names: &names(1),
            values,
            weights: None,
            truth,
            estimate: None,
        };
        posterior_histogram(&plot, scratch.path().join("h.png"))
    };
    draw(&[vec![1.0, 2.0]], Some(&[1e6])).unwrap();
    draw(&[vec![1.0, 1.0, 1.0, 1.0, 2.0]], None).unwrap();
    for values in [vec![], vec![3.0; 4], vec![1.0, f64::INFINITY]] {
        assert!(draw(&[values], None).is_err());
    }
    assert!(draw(&[vec![1.0, 2.0]], Some(&[])).is_err());
}

#[test]
fn surfaces() {
    let (folder, _keep) = folder();
    let axis = |low: f64, high: f64, n: usize| -> Vec<f64> {
        (0..n)
            .map(|k| low + (high - low) * k as f64 / (n - 1) as f64)
            .collect()
    };
    for (n, name) in [(30, "grid_likelihood_idx3"), (20, "grid_likelihood_idx4")] {
        let (x, y) = (axis(0.1, 0.5, n), axis(0.6, 1.0, n));
        let log_density: Vec<f64> = y
            .iter()
            .flat_map(|&b| {
                x.iter().map(move |&a| {
                    if n == 20 && a + b > 1.4 {
                        return f64::NEG_INFINITY;
                    }
                    let s = b * (a / 0.3).powf(0.5);
                    -1234.5 - 0.5 * ((s - 0.83) / 0.02).powi(2) - 0.5 * ((a - 0.3) / 0.08).powi(2)
                })
            })
            .collect();
        let plot = Surface {
            title: "Log likelihood of map 3",
            names: ["Omega_m", "sigma_8"],
            x: &x,
            y: &y,
            log_density: &log_density,
            truth: Some([0.309, 0.816]),
        };
        likelihood_surface(&plot, folder.join(format!("{name}.png"))).unwrap();
        likelihood_surface(&plot, folder.join(format!("{name}.svg"))).unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    let draw = |x: &[f64], log_density: &[f64]| {
        let plot = Surface {
            title: "t",
            names: ["a", "b"],
            x,
            y: &[0.0, 1.0],
            log_density,
            truth: None,
        };
        likelihood_surface(&plot, scratch.path().join("s.png"))
    };
    let outside = f64::NEG_INFINITY;
    draw(&[0.0, 1.0], &[0.0; 4]).unwrap();
    draw(&[0.0, 1.0], &[0.0, outside, outside, outside]).unwrap();
    assert!(draw(&[0.0, 1.0], &[outside; 4]).is_err());
    assert!(draw(&[0.0, 1.0], &[f64::NAN, 0.0, 0.0, 0.0]).is_err());
    assert!(draw(&[0.0, 1.0], &[0.0; 3]).is_err());
    assert!(draw(&[0.0], &[0.0; 2]).is_err());
    assert!(draw(&[1.0, 0.0], &[0.0; 4]).is_err());
    assert!(draw(&[0.0, 1.0, 3.0], &[0.0; 6]).is_err());
}
