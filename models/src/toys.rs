//! Draw points of the plane from distributions that models are tried on, with their exact densities.

use std::f64::consts::{PI, TAU};

use armilla_samplers::rng::{Purpose, Stream, stream};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// A distribution over the plane, centred, of a deviation of about one.
///
/// ```
/// use armilla_models::toys::Toy;
/// let points = Toy::Checkerboard.draw(100, 1);
/// assert_eq!(points.len(), 200);
/// assert!((Toy::Checkerboard.log_density([points[0], points[1]]) + 8f64.ln()).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toy {
    /// Two interleaved half circles of radius 1.5, with noise of deviation 0.15.
    TwoMoons,
    /// Eight Gaussians of deviation 0.175 on a circle of radius √2.
    EightGaussians,
    /// Every other of the sixteen unit squares of [−2, 2]².
    Checkerboard,
    /// One and a half turns of a spiral, with noise of deviation 1/7.
    SwissRoll,
}

/// Of the half circles, before noise of a tenth of it.
const MOON: f64 = 1.5;
const MOON_NOISE: f64 = 0.15;
const RING: f64 = std::f64::consts::SQRT_2;
const RING_SD: f64 = 0.175;
/// What the usual roll, with noise of deviation 1, is divided by.
const ROLL: f64 = 7.0;
/// Points of the integrals over curves, closer to each other than the noise is wide.
const NODES: usize = 400;

impl Toy {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::TwoMoons,
        Self::EightGaussians,
        Self::Checkerboard,
        Self::SwissRoll,
    ];

    /// `count` points, one after the other.
    pub fn draw(self, count: usize, seed: u64) -> Vec<f64> {
        let mut stream = stream(seed, Purpose::Simulation, 0);
        (0..count).flat_map(|_| self.point(&mut stream)).collect()
    }

    fn point(self, stream: &mut Stream) -> [f64; 2] {
        if self == Self::Checkerboard {
            let [u, v]: [f64; 2] = [stream.random(), stream.random()];
            let (row, column) = (stream.random_range(0..4), stream.random_range(0..2));
            return [u + (2 * column + row % 2) as f64 - 2.0, v + row as f64 - 2.0];
        }
        let centre = match self {
            Self::EightGaussians => corner(stream.random_range(0..8)),
            _ => self.curve(stream.random_range(0..2), stream.random()),
        };
        let sd = self.noise();
        centre.map(|c| {
            let e: f64 = StandardNormal.sample(stream);
            c + sd * e
        })
    }

    /// ln p(x): in closed form, or by an integral over the curve to 1e-6.
    pub fn log_density(self, x: [f64; 2]) -> f64 {
        let sd = self.noise();
        let norm = (TAU * sd * sd).ln();
        let gaussian =
            |c: [f64; 2]| -0.5 * ((x[0] - c[0]).powi(2) + (x[1] - c[1]).powi(2)) / (sd * sd) - norm;
        match self {
            Self::Checkerboard => {
                let inside = x.iter().all(|x| (-2.0..2.0).contains(x));
                let square = (x[0].floor() + x[1].floor()).rem_euclid(2.0);
                if inside && square == 0.0 {
                    -8f64.ln()
                } else {
                    f64::NEG_INFINITY
                }
            }
            Self::EightGaussians => log_mean((0..8).map(|k| gaussian(corner(k)))),
            Self::TwoMoons | Self::SwissRoll => log_mean((0..2 * NODES).map(|k| {
                let at = ((k / 2) as f64 + 0.5) / NODES as f64;
                gaussian(self.curve(k % 2, at))
            })),
        }
    }

    /// Deviation of the noise about centres and curves.
    fn noise(self) -> f64 {
        match self {
            Self::TwoMoons => MOON_NOISE,
            Self::EightGaussians => RING_SD,
            Self::Checkerboard => 0.0,
            Self::SwissRoll => 1.0 / ROLL,
        }
    }

    /// Where the curve, or the `side`-th of two, is at a fraction of its parameter.
    fn curve(self, side: usize, at: f64) -> [f64; 2] {
        match self {
            Self::SwissRoll => {
                let t = 1.5 * PI * (1.0 + 2.0 * at);
                [t * t.cos() / ROLL, t * t.sin() / ROLL]
            }
            _ => {
                let (sin, cos) = (PI * at).sin_cos();
                let (x, y) = if side == 0 {
                    (cos, sin)
                } else {
                    (1.0 - cos, 0.5 - sin)
                };
                [MOON * (x - 0.5), MOON * (y - 0.25)]
            }
        }
    }
}

fn corner(k: usize) -> [f64; 2] {
    let (sin, cos) = (TAU * k as f64 / 8.0).sin_cos();
    [RING * cos, RING * sin]
}

/// ln of the mean of exponentials.
fn log_mean(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    let (sum, count) = logs.fold((0.0, 0.0), |(sum, count), l| (sum + (l - top).exp(), count + 1.0));
    top + f64::ln(sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_integrate_to_one() {
        for toy in Toy::ALL {
            // The middles of cells: those of the checkerboard are its squares' too.
            let (cells, half) = (120, 3.0);
            let step = 2.0 * half / cells as f64;
            let at = |i: usize| -half + (i as f64 + 0.5) * step;
            let mass: f64 = (0..cells * cells)
                .map(|i| toy.log_density([at(i / cells), at(i % cells)]).exp() * step * step)
                .sum();
            assert!((mass - 1.0).abs() < 1e-5, "{toy:?}: {mass}");
        }
    }

    #[test]
    fn draws_follow_their_density() {
        // By the mean log density of the draws, and the integral of p ln p on a grid.
        for toy in Toy::ALL {
            let draws = toy.draw(20_000, 1);
            let logs: Vec<f64> = draws
                .chunks_exact(2)
                .map(|x| toy.log_density([x[0], x[1]]))
                .collect();
            let n = logs.len() as f64;
            let mean = logs.iter().sum::<f64>() / n;
            let se = (logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n / n).sqrt();
            let (cells, half) = (120, 3.0);
            let step = 2.0 * half / cells as f64;
            let at = |i: usize| -half + (i as f64 + 0.5) * step;
            let expected: f64 = (0..cells * cells)
                .map(|i| {
                    let log = toy.log_density([at(i / cells), at(i % cells)]);
                    if log.is_finite() {
                        log * log.exp() * step * step
                    } else {
                        0.0
                    }
                })
                .sum();
            assert!(
                (mean - expected).abs() < 5.0 * se + 1e-3,
                "{toy:?}: {mean} {expected}"
            );
            for i in 0..2 {
                let values = || draws.iter().skip(i).step_by(2);
                let mean = values().sum::<f64>() / n;
                let sd = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
                assert!(
                    (0.6..1.4).contains(&sd) && mean.abs() < 0.35,
                    "{toy:?}: {mean} {sd}"
                );
            }
        }
    }

    #[test]
    fn seeds_fix_the_draws() {
        assert_eq!(Toy::SwissRoll.draw(5, 1), Toy::SwissRoll.draw(5, 1));
        assert_ne!(Toy::SwissRoll.draw(5, 1), Toy::SwissRoll.draw(5, 2));
    }
}
