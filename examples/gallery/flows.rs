//! Flows from noise to data: of numbers, and in the plane. Their velocities are known in closed form.

use armilla::models::generate::{Solver, noise, trajectory};
use armilla::models::path::{Path, Target};
use armilla::models::predictor::Predictor;
use armilla::plot::{Evolution, PlanePanel, Planes, evolution, planes};

use super::Gallery;

/// What leads to data that are normal about each of some places, on a straight path.
struct Mixture<const N: usize> {
    places: Vec<[f64; N]>,
    sd: f64,
}

impl<const N: usize> Predictor for Mixture<N> {
    fn numbers(&self) -> usize {
        N
    }
    fn path(&self) -> &Path {
        &Path::Linear
    }
    fn target(&self) -> Target {
        Target::Data
    }
    fn predict(&self, x: &[f64], t: f64) -> armilla::models::Result<Vec<f64>> {
        let (alpha, variance) = (1.0 - t, self.sd * self.sd);
        let spread = (alpha * alpha * variance + t * t).max(1e-12);
        let (rows, _) = x.as_chunks::<N>();
        let data = rows.iter().flat_map(|x| {
            let square = |m: &[f64; N]| (0..N).map(|i| (x[i] - alpha * m[i]).powi(2)).sum::<f64>();
            let logs: Vec<f64> = self.places.iter().map(|m| -0.5 * square(m) / spread).collect();
            let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let shares: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
            let total: f64 = shares.iter().sum();
            std::array::from_fn::<f64, N, _>(|i| {
                let of = |m: &[f64; N]| m[i] + alpha * variance / spread * (x[i] - alpha * m[i]);
                self.places
                    .iter()
                    .zip(&shares)
                    .map(|(m, p)| p * of(m))
                    .sum::<f64>()
                    / total
            })
        });
        Ok(data.collect())
    }
}

fn pairs(values: &[f64]) -> Vec<[f64; 2]> {
    values.as_chunks::<2>().0.to_vec()
}

pub fn draw(gallery: &mut Gallery) -> armilla::Result<()> {
    let times: Vec<f64> = (0..=10).map(|i| 1.0 - 0.1 * f64::from(i)).collect();
    let one = Mixture {
        places: vec![[-1.5], [1.5]],
        sd: 0.4,
    };
    let states = trajectory(&one, noise(0..20_000, 1, 7), Solver::Heun, 50, &times)?.states;
    let bell = |x: f64| 0.5 * (-0.5 * (x / one.sd).powi(2)).exp() / (one.sd * std::f64::consts::TAU.sqrt());
    let grid = (-60..=60).map(|i| 0.05 * f64::from(i));
    let target: Vec<(f64, f64)> = grid.map(|x| (x, bell(x - 1.5) + bell(x + 1.5))).collect();
    let plot = Evolution {
        title: "From one bell to two",
        name: "x",
        times: &times,
        values: &states,
        target: Some(&target),
    };
    let caption = "How a flow takes noise, at t = 1, to data, at t = 0.";
    gallery.add("evolution", "evolution", caption, |path| evolution(&plot, path))?;

    let place = |k: u32| (std::f64::consts::TAU * f64::from(k) / 5.0).sin_cos();
    let five = Mixture {
        places: (0..5).map(|k| [1.6 * place(k).0, 1.6 * place(k).1]).collect(),
        sd: 0.15,
    };
    let times: Vec<f64> = (0..=50).map(|i| 1.0 - 0.02 * f64::from(i)).collect();
    let states = trajectory(&five, noise(0..800, 2, 7), Solver::Heun, 50, &times)?.states;
    let at = |i: usize| -2.4 + 4.8 * i as f64 / 16.0;
    let grid: Vec<f64> = (0..289).flat_map(|i| [at(i % 17), at(i / 17)]).collect();
    let back: Vec<f64> = five.velocity(&grid, 0.4)?.iter().map(|v| -v).collect();
    let arrows: Vec<_> = pairs(&grid).into_iter().zip(pairs(&back)).collect();
    let paths: Vec<Vec<[f64; 2]>> = (0..60)
        .map(|row| states.iter().map(|x| [x[2 * row], x[2 * row + 1]]).collect())
        .collect();
    let points = pairs(&states[50]);
    let panel = |title, paths, arrows| PlanePanel {
        title,
        points: &points,
        paths,
        arrows,
    };
    let plot = Planes {
        title: "Five places",
        names: ["x_1", "x_2"],
        panels: &[
            panel("velocity at t = 0.4", &[], &arrows),
            panel("where samples go", &paths, &[]),
        ],
    };
    let caption = "The velocity of a flow in the plane, and the ways of samples from noise to data.";
    gallery.add("planes", "planes", caption, |path| planes(&plot, path))
}
