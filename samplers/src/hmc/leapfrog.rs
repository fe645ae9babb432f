//! Integrate Hamilton's equations: one leapfrog, for every sampler that follows them.

use serde::{Deserialize, Serialize};

use super::metric::{Metric, axpy, draw_momentum, kinetic_energy};
use crate::density::{Counted, DifferentiableDensity};
use crate::error::EvalError;
use crate::rng::Stream;

/// An energy error beyond which the integrator has left the level set for good (the bound of Stan).
pub(crate) const DIVERGENCE: f64 = 1000.0;

/// A point of a chain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) z: Vec<f64>,
    pub(crate) log_density: f64,
    pub(crate) gradient: Vec<f64>,
}

impl Position {
    /// The point `z`.
    ///
    /// # Errors
    /// As the target.
    pub(crate) fn new<T: DifferentiableDensity + ?Sized>(
        target: &Counted<'_, T>,
        z: Vec<f64>,
    ) -> Result<Self, EvalError> {
        let mut gradient = vec![0.0; z.len()];
        let log_density = target.value_and_gradient(&z, &mut gradient)?;
        Ok(Self {
            z,
            log_density,
            gradient,
        })
    }

    /// Becomes `other` without new memory, once it has some.
    #[inline]
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.z.clone_from(&other.z);
        self.gradient.clone_from(&other.gradient);
        self.log_density = other.log_density;
    }
}

/// A point that moves: its momentum and the force on it are those of the metric's round coordinates.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moving {
    pub(crate) at: Position,
    pub(crate) momentum: Vec<f64>,
    force: Vec<f64>,
}

/// What became of a leapfrog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leap {
    /// There is a density where it ended.
    Inside,
    /// It ended outside the support, where there is no gradient to go on with.
    Outside,
    /// It ended where the density cannot be evaluated.
    Failed,
}

impl Moving {
    /// Stands at `position`, with a momentum to be drawn.
    #[inline]
    pub(crate) fn start(&mut self, metric: &Metric, position: &Position) {
        self.at.copy_from(position);
        let dim = position.z.len();
        self.momentum.resize(dim, 0.0);
        self.force.resize(dim, 0.0);
        metric.pull_back(&position.gradient, &mut self.force);
    }

    /// Draws a new momentum.
    #[inline]
    pub(crate) fn refresh(&mut self, rng: &mut Stream) {
        draw_momentum(&mut self.momentum, rng);
    }

    /// Becomes `other` without new memory, once it has some.
    #[inline]
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.at.copy_from(&other.at);
        self.momentum.clone_from(&other.momentum);
        self.force.clone_from(&other.force);
    }

    /// Kinetic energy less log density.
    #[inline]
    pub(crate) fn energy(&self) -> f64 {
        kinetic_energy(&self.momentum) - self.at.log_density
    }

    /// One leapfrog (Neal 2011, arXiv 1206.1901, section 2.3): reversible, keeps volumes, and has an energy
    /// error of the order of `step`². A negative `step` goes back in time.
    ///
    /// # Errors
    /// `Fatal` errors of the target.
    pub(crate) fn leapfrog<T: DifferentiableDensity + ?Sized>(
        &mut self,
        target: &Counted<'_, T>,
        metric: &Metric,
        step: f64,
    ) -> Result<Leap, EvalError> {
        self.depart(metric, step);
        self.at.log_density = match target.value_and_gradient(&self.at.z, &mut self.at.gradient) {
            Ok(f64::NEG_INFINITY) => return Ok(Leap::Outside),
            Ok(log_density) => log_density,
            Err(EvalError::Recoverable(_)) => return Ok(Leap::Failed),
            Err(fatal) => return Err(fatal),
        };
        self.arrive(metric, step);
        Ok(Leap::Inside)
    }

    /// The first half of a leapfrog, up to where a new gradient is needed.
    pub(crate) fn depart(&mut self, metric: &Metric, step: f64) {
        axpy(0.5 * step, &self.force, &mut self.momentum);
        metric.advance(&mut self.at.z, &self.momentum, step);
    }

    /// The second half, once the density and the gradient of the new place are known.
    pub(crate) fn arrive(&mut self, metric: &Metric, step: f64) {
        metric.pull_back(&self.at.gradient, &mut self.force);
        axpy(0.5 * step, &self.force, &mut self.momentum);
    }
}

/// Doubles or halves `step_size` until a single leapfrog's acceptance crosses `acceptance`.
///
/// # Errors
/// `Fatal` errors of the target.
pub(crate) fn find_step_size<T: DifferentiableDensity + ?Sized>(
    target: &Counted<'_, T>,
    metric: &Metric,
    position: &Position,
    step_size: f64,
    acceptance: f64,
    rng: &mut Stream,
) -> Result<f64, EvalError> {
    let mut moving = Moving::default();
    cross_acceptance(step_size, acceptance, |step_size| {
        moving.start(metric, position);
        moving.refresh(rng);
        let energy = moving.energy();
        Ok(match moving.leapfrog(target, metric, step_size)? {
            Leap::Inside => (energy - moving.energy()).exp(),
            Leap::Outside | Leap::Failed => 0.0,
        })
    })
}

/// Doubles or halves `step_size` until what is `accepted` crosses `acceptance` (Hoffman & Gelman 2014, arXiv
/// 1111.4246, algorithm 4).
///
/// # Errors
/// As `accepted`.
pub(crate) fn cross_acceptance(
    mut step_size: f64,
    acceptance: f64,
    mut accepted: impl FnMut(f64) -> Result<f64, EvalError>,
) -> Result<f64, EvalError> {
    let mut growing = None;
    // 2^±60 is beyond all sense; a density that is flat to there gets what it has.
    for _ in 0..60 {
        let grow = accepted(step_size)? > acceptance;
        if growing.is_some_and(|growing| growing != grow) {
            break;
        }
        growing = Some(grow);
        step_size *= if grow { 2.0 } else { 0.5 };
    }
    Ok(step_size)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::density::Density;
    use crate::rng::{Purpose, stream};
    use rand::Rng;

    /// −x⁴/4 − (x − y)²/2: neither Gaussian nor separable.
    pub(crate) struct Quartic {
        names: Vec<String>,
    }

    impl Quartic {
        pub(crate) fn new() -> Self {
            Self {
                names: vec!["x".into(), "y".into()],
            }
        }
    }

    impl Density for Quartic {
        fn dim(&self) -> usize {
            2
        }
        fn names(&self) -> &[String] {
            &self.names
        }
        fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
            self.value_and_gradient(z, &mut [0.0; 2])
        }
        fn to_physical(&self, z: &[f64], x: &mut [f64]) {
            x.copy_from_slice(z);
        }
        fn ln_jacobian(&self, _z: &[f64]) -> f64 {
            0.0
        }
        fn initial(&self, _rng: &mut dyn Rng) -> Vec<f64> {
            vec![0.8, -0.3]
        }
    }

    impl DifferentiableDensity for Quartic {
        fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            let (x, y) = (z[0], z[1]);
            gradient[0] = -x.powi(3) - (x - y);
            gradient[1] = x - y;
            Ok(-0.25 * x.powi(4) - 0.5 * (x - y).powi(2))
        }
    }

    fn metrics() -> [Metric; 2] {
        let factor = nalgebra::DMatrix::from_row_slice(2, 2, &[0.8, 0.0, 0.5, 1.2]);
        [Metric::Diagonal(vec![0.7, 1.3]), Metric::Dense(factor)]
    }

    fn begin(metric: &Metric) -> Moving {
        let density = Quartic::new();
        let position = Position::new(&Counted::new(&density), vec![0.8, -0.3]).unwrap();
        let mut moving = Moving::default();
        moving.start(metric, &position);
        moving.refresh(&mut stream(1, Purpose::Chain, 0));
        moving
    }

    #[test]
    fn leapfrogs_are_reversible() {
        let density = Quartic::new();
        let target = Counted::new(&density);
        for metric in metrics() {
            let begun = begin(&metric);
            let mut moving = begun.clone();
            for step in [0.3, -0.3] {
                for _ in 0..20 {
                    assert_eq!(moving.leapfrog(&target, &metric, step).unwrap(), Leap::Inside);
                }
                if step > 0.0 {
                    assert!((moving.at.z[0] - begun.at.z[0]).abs() > 0.1);
                }
            }
            for i in 0..2 {
                assert!((moving.at.z[i] - begun.at.z[i]).abs() < 1e-12);
                assert!((moving.momentum[i] - begun.momentum[i]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_energy_error_is_of_second_order() {
        let density = Quartic::new();
        let target = Counted::new(&density);
        for metric in metrics() {
            let error = |leapfrogs: i32| {
                let mut moving = begin(&metric);
                let energy = moving.energy();
                for _ in 0..leapfrogs {
                    let step = 1.0 / f64::from(leapfrogs);
                    moving.leapfrog(&target, &metric, step).unwrap();
                }
                moving.energy() - energy
            };
            // Over the same time: a quarter of the error for half the step, up to the fourth order.
            let ratio = error(64) / error(128);
            assert!((ratio - 4.0).abs() < 0.02, "{ratio}");
            assert!(error(64).abs() < 1e-3);
        }
    }
}
