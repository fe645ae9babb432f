//! Glide at constant speed: the turn and the leapfrog of microcanonical paths.

use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::hmc::leapfrog::Position;
use crate::hmc::metric::{Metric, axpy, dot, draw_momentum};
use crate::rng::Stream;

/// A point that moves at constant speed.
#[derive(Debug, Clone, Default)]
pub(super) struct Gliding {
    pub(super) at: Position,
    /// Of length one.
    pub(super) direction: Vec<f64>,
    force: Vec<f64>,
}

impl Gliding {
    pub(super) fn start(&mut self, metric: &Metric, at: &Position, direction: &[f64]) {
        self.at.copy_from(at);
        self.direction.clear();
        self.direction.extend_from_slice(direction);
        self.force.resize(at.z.len(), 0.0);
        metric.pull_back(&at.gradient, &mut self.force);
    }

    /// Half a turn, a stretch, half a turn: reversible. Gives the energy error, whose exponential is by how much
    /// the step keeps the density; `None` outside the support.
    ///
    /// # Errors
    /// As the target.
    pub(super) fn leapfrog<T: DifferentiableDensity + ?Sized>(
        &mut self,
        target: &Counted<'_, T>,
        metric: &Metric,
        step_size: f64,
    ) -> Result<Option<f64>, EvalError> {
        let time = step_size * (self.direction.len() as f64 - 1.0).sqrt();
        let mut error = self.at.log_density + turn(&mut self.direction, &self.force, 0.5 * time);
        metric.advance(&mut self.at.z, &self.direction, time);
        self.at.log_density = target.value_and_gradient(&self.at.z, &mut self.at.gradient)?;
        if self.at.log_density == f64::NEG_INFINITY {
            return Ok(None);
        }
        metric.pull_back(&self.at.gradient, &mut self.force);
        error += turn(&mut self.direction, &self.force, 0.5 * time) - self.at.log_density;
        Ok(Some(error))
    }
}

/// Turns a unit `direction` towards `force` for a time at unit speed, and gives the change in kinetic energy,
/// which is that in the logarithm of the area on the sphere (Robnik et al. 2023, section 3).
///
/// With e the direction of the force, c = e·u and δ = time · |force| / (d − 1), the new direction is along
/// u + e (sinh δ + c (cosh δ − 1)) and the energy changes by (d − 1) ln(cosh δ + c sinh δ). All of it is
/// written in e^−δ, which does not overflow.
fn turn(direction: &mut [f64], force: &[f64], time: f64) -> f64 {
    let strength = dot(force, force).sqrt();
    if strength == 0.0 {
        return 0.0;
    }
    let others = direction.len() as f64 - 1.0;
    let delta = time * strength / others;
    let cosine = (dot(direction, force) / strength).clamp(-1.0, 1.0);
    let decay = (-delta).exp();
    let along = (1.0 - decay * decay) + cosine * (1.0 - decay).powi(2);
    direction.iter_mut().for_each(|u| *u *= 2.0 * decay);
    axpy(along / strength, force, direction);
    if !normalise(direction) {
        // Straight against a strong force: it does not turn, as neither side is nearer.
        direction
            .iter_mut()
            .zip(force)
            .for_each(|(u, f)| *u = -f / strength);
    }
    let (with, against) = (0.5 * (1.0 + cosine), 0.5 * (1.0 - cosine));
    let shrinkage = if with > 0.0 {
        (with + against * decay * decay).ln()
    } else {
        -2.0 * delta
    };
    others * (delta + shrinkage)
}

/// Gives a vector length one, if it has a length.
pub(super) fn normalise(vector: &mut [f64]) -> bool {
    let length = dot(vector, vector).sqrt();
    let sound = length.is_normal();
    if sound {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    sound
}

/// Draws a direction: normal numbers lie evenly around the origin.
pub(super) fn draw_direction(direction: &mut [f64], rng: &mut Stream) {
    loop {
        draw_momentum(direction, rng);
        if normalise(direction) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hmc::leapfrog::tests::Quartic;

    fn unit(values: &[f64]) -> Vec<f64> {
        let mut unit = values.to_vec();
        assert!(normalise(&mut unit));
        unit
    }

    #[test]
    fn a_turn_follows_the_formula_and_comes_back() {
        let begun = unit(&[0.3, -1.0, 0.5]);
        let (force, time) = ([2.0, 0.5, -1.0], 0.7);
        let mut direction = begun.clone();
        let change = turn(&mut direction, &force, time);
        let strength = 5.25f64.sqrt();
        let (delta, cosine) = (time * strength / 2.0, dot(&begun, &force) / strength);
        let along = delta.sinh() + cosine * (delta.cosh() - 1.0);
        let expected: Vec<f64> = (0..3).map(|i| begun[i] + along * force[i] / strength).collect();
        let expected = unit(&expected);
        let energy = 2.0 * (delta.cosh() + cosine * delta.sinh()).ln();
        assert!((change - energy).abs() < 1e-14);
        assert!((0..3).all(|i| (direction[i] - expected[i]).abs() < 1e-14));
        // Turned about, it goes back, and the energy with it.
        direction.iter_mut().for_each(|u| *u = -*u);
        let back = turn(&mut direction, &force, time);
        assert!((change + back).abs() < 1e-14);
        assert!((0..3).all(|i| (direction[i] + begun[i]).abs() < 1e-14));
    }

    #[test]
    fn the_energy_is_the_logarithm_of_the_area() {
        // In the plane the area is an angle: what a turn makes of a small one, by finite differences.
        let (force, time, h) = ([1.0, 2.0], 0.4, 1e-5);
        let turned = |angle: f64| {
            let mut direction = [angle.cos(), angle.sin()];
            let change = turn(&mut direction, &force, time);
            (direction[1].atan2(direction[0]), change)
        };
        for angle in [0.3, 1.5, -2.0] {
            let slope = (turned(angle + h).0 - turned(angle - h).0) / (2.0 * h);
            assert!((slope.ln() + turned(angle).1).abs() < 1e-8, "{slope}");
        }
    }

    #[test]
    fn overwhelming_forces_do_not_overflow() {
        let force = [1e100, 0.0];
        for (begun, end, expected) in [
            ([1.0, 0.0], 1.0, 1e100),
            ([-1.0, 0.0], -1.0, -1e100),
            ([0.6, -0.8], 1.0, 1e100),
        ] {
            let mut direction = begun;
            let change = turn(&mut direction, &force, 1.0);
            assert_eq!(direction, [end, 0.0]);
            assert!((change / expected - 1.0).abs() < 1e-12, "{change}");
        }
    }

    fn begin(target: &Counted<'_, Quartic>, metric: &Metric) -> Gliding {
        let at = Position::new(target, vec![0.8, -0.3]).unwrap();
        let mut moving = Gliding::default();
        moving.start(metric, &at, &unit(&[1.0, 0.4]));
        moving
    }

    #[test]
    fn paths_are_reversible_and_of_second_order() {
        let density = Quartic::new();
        let target = Counted::new(&density);
        let factor = nalgebra::DMatrix::from_row_slice(2, 2, &[0.8, 0.0, 0.5, 1.2]);
        for metric in [Metric::Diagonal(vec![0.7, 1.3]), Metric::Dense(factor)] {
            let go = |moving: &mut Gliding, steps: i32| -> f64 {
                let step = || {
                    moving
                        .leapfrog(&target, &metric, 1.5 / f64::from(steps))
                        .unwrap()
                        .unwrap()
                };
                std::iter::repeat_with(step).take(steps as usize).sum()
            };
            let begun = begin(&target, &metric);
            let mut moving = begun.clone();
            let there = go(&mut moving, 20);
            assert!((0..2).any(|i| (moving.at.z[i] - begun.at.z[i]).abs() > 0.1));
            moving.direction.iter_mut().for_each(|u| *u = -*u);
            let back = go(&mut moving, 20);
            assert!((there + back).abs() < 1e-12 && there.abs() > 1e-6);
            for i in 0..2 {
                assert!((moving.at.z[i] - begun.at.z[i]).abs() < 1e-12);
                assert!((moving.direction[i] + begun.direction[i]).abs() < 1e-12);
            }
            let ratio = go(&mut begun.clone(), 100) / go(&mut begun.clone(), 200);
            assert!((ratio - 4.0).abs() < 0.05, "{ratio}");
        }
    }
}
