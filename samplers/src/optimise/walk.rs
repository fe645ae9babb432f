//! Say what an optimiser is to those who drive it: a state, and an iteration that moves it downhill.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::laplace::Derivatives;
use super::objective::{Objective, Trace};
use crate::density::{Counted, Density, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::likelihood::{DifferentiableLikelihood, Likelihood};

/// What is walked on: the objective's negative, counted.
pub struct Ground<'a, 'b, L> {
    counted: &'a Counted<'a, Objective<'b, L>>,
}

impl<'a, 'b, L: Likelihood> Ground<'a, 'b, L> {
    pub(crate) fn new(counted: &'a Counted<'a, Objective<'b, L>>) -> Self {
        Self { counted }
    }

    /// The objective's negative.
    pub(super) fn height(&self, z: &[f64]) -> Result<f64, EvalError> {
        Ok(-self.counted.log_density(z)?)
    }
}

impl<L: DifferentiableLikelihood> Ground<'_, '_, L> {
    /// The objective's negative and the gradient of that.
    pub(super) fn slope(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let value = self.counted.value_and_gradient(z, gradient)?;
        gradient.iter_mut().for_each(|gradient| *gradient = -*gradient);
        Ok(-value)
    }
}

/// An optimiser, taken apart into its iterations. Outside this crate there are none.
#[doc(hidden)]
pub trait Walk<L: Likelihood>: Debug + Clone + Send + Sync {
    /// All that one iteration hands to the next.
    type State: Serialize + DeserializeOwned + Send;
    /// What finds another optimum near by, when one turns out to be none.
    type Fallback: Walk<L> + Default;

    /// Its name.
    const NAME: &'static str;

    /// The most iterations.
    fn iterations(&self) -> usize;

    /// Refuses settings that make no sense.
    fn check(&self) -> Result<(), SampleError>;

    /// Begins at `z`; an objective that is not finite there is a recoverable error.
    fn begin(
        &self,
        ground: &Ground<'_, '_, L>,
        z: Vec<f64>,
        trace: &mut Trace,
    ) -> Result<Self::State, EvalError>;

    /// Makes one iteration. Tells whether it was the last, with the reason in `trace.status`.
    fn advance(
        &self,
        ground: &Ground<'_, '_, L>,
        state: &mut Self::State,
        trace: &mut Trace,
    ) -> Result<bool, EvalError>;

    /// Value, gradient and Hessian of the objective's negative at `z`.
    fn derivatives(ground: &Ground<'_, '_, L>, z: &[f64]) -> Result<Derivatives, EvalError>;
}

/// Walks from `z` to the end at once, and tells whether that was an end of its own.
pub(crate) fn walk<L: Likelihood, O: Walk<L>>(
    optimiser: &O,
    ground: &Ground<'_, '_, L>,
    z: Vec<f64>,
) -> Result<(Trace, bool), EvalError> {
    let mut trace = Trace::default();
    let mut state = optimiser.begin(ground, z, &mut trace)?;
    for _ in 0..optimiser.iterations() {
        if optimiser.advance(ground, &mut state, &mut trace)? {
            return Ok((trace, true));
        }
    }
    Ok((trace, false))
}

pub(super) fn spent(iterations: usize) -> String {
    format!("took all {iterations} iterations")
}

/// A value to begin at.
pub(super) fn finite(value: f64) -> Result<f64, EvalError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(EvalError::Recoverable(format!("a log density of {}", -value)))
}

#[cfg(test)]
mod tests {
    use super::super::{Lbfgs, NelderMead};
    use super::*;
    use crate::distribution::Normal;
    use crate::posterior::{Posterior, Terms};
    use crate::prior::Prior;

    /// What is walked down, and its gradient.
    type Cost = fn(&[f64], &mut [f64]) -> f64;

    struct Function(usize, Cost);
    impl Likelihood for Function {
        fn dim(&self) -> usize {
            self.0
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            self.value_and_gradient(x, &mut vec![0.0; self.0])
        }
    }
    impl DifferentiableLikelihood for Function {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            let cost = self.1(x, gradient);
            gradient.iter_mut().for_each(|g| *g = -*g);
            Ok(-cost)
        }
    }

    /// Where a walk from `start` ended: the trace, whether by itself, and how many evaluations it took.
    fn descend<O: Walk<Function>>(optimiser: &O, cost: Cost, start: &[f64]) -> (Trace, bool, u64) {
        // z is x.
        let mut prior = Prior::new();
        for index in 0..start.len() {
            prior = prior
                .with(format!("x{index}"), Normal::new(0.0, 1.0).unwrap())
                .unwrap();
        }
        let posterior = Posterior::new(prior, Function(start.len(), cost)).unwrap();
        let objective = Objective::new(&posterior, Terms::Likelihood);
        let counted = Counted::new(&objective);
        let (trace, ended) = walk(optimiser, &Ground::new(&counted), start.to_vec()).unwrap();
        let spent = counted.evaluations();
        (trace, ended, spent.values + spent.gradients)
    }

    /// Rosenbrock (1960, doi:10.1093/comjnl/3.3.175): from 1, 1, … nothing goes down.
    fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut value = 0.0;
        for i in 1..x.len() {
            let (off, left) = (x[i] - x[i - 1] * x[i - 1], 1.0 - x[i - 1]);
            value += 100.0 * off * off + left * left;
            gradient[i] += 200.0 * off;
            gradient[i - 1] += -400.0 * off * x[i - 1] - 2.0 * left;
        }
        value
    }

    /// Curvatures from 1 to a million.
    fn steep(x: &[f64], gradient: &mut [f64]) -> f64 {
        let mut value = 0.0;
        for (i, x) in x.iter().enumerate() {
            let curvature = 1e6f64.powf(i as f64 / 9.0);
            gradient[i] = curvature * x;
            value += 0.5 * curvature * x * x;
        }
        value
    }

    /// Gamma densities of shape 4 and rate 10: nothing below 0, and not a number above 2.
    fn walled(x: &[f64], gradient: &mut [f64]) -> f64 {
        if x.iter().any(|x| *x > 2.0) {
            return f64::NAN;
        }
        if x.iter().any(|x| *x <= 0.0) {
            return f64::INFINITY;
        }
        for (gradient, x) in gradient.iter_mut().zip(x) {
            *gradient = 10.0 - 3.0 / x;
        }
        x.iter().map(|x| 10.0 * x - 3.0 * x.ln()).sum()
    }

    fn flat(_x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        7.0
    }

    /// In single precision, on top of a thousand nats.
    fn single(x: &[f64], gradient: &mut [f64]) -> f64 {
        let value = rosenbrock(x, gradient) as f32 + 1000.0;
        gradient.iter_mut().for_each(|g| *g = f64::from(*g as f32));
        f64::from(value)
    }

    /// A tenth of what an optimum may lack.
    const LOWEST: f64 = 1e-4;

    #[test]
    fn lbfgs_takes_few_gradients() {
        let crooked = [-1.2, 1.0].repeat(5);
        // At most a fifth more than with the search of Moré & Thuente (1994, doi:10.1145/192115.192132) at its
        // usual 0.9; that was not done with the curvatures of ten parameters after 222.
        let cases: [(Cost, &[f64], u64); 6] = [
            (rosenbrock, &crooked[..2], 51),
            (rosenbrock, &crooked, 103),
            (rosenbrock, &[0.0; 10], 91),
            (steep, &[1.0; 5], 26),
            (steep, &[1.0; 10], 60),
            (steep, &[1.0], 3),
        ];
        for (cost, start, most) in cases {
            let (trace, ended, spent) = descend(&Lbfgs::default(), cost, start);
            assert!(
                ended && trace.lowest() < LOWEST && spent <= most,
                "{start:?}: {spent} {trace:?}"
            );
            assert!(
                trace.history.windows(2).all(|pair| pair[1] <= pair[0]),
                "{trace:?}"
            );
        }
    }

    #[test]
    fn a_simplex_takes_few_values() {
        let simplex = NelderMead {
            iterations: 10_000,
            ..NelderMead::default()
        };
        // At most a fifth more than with the coefficients of 1965; no more in ten dimensions.
        let cases: [(Cost, &[f64], u64); 5] = [
            (rosenbrock, &[-1.2, 1.0], 198),
            (rosenbrock, &[0.0; 10], 3681),
            (steep, &[1.0; 5], 662),
            (steep, &[1.0; 10], 4463),
            (steep, &[1.0], 80),
        ];
        for (cost, start, most) in cases {
            let (trace, ended, spent) = descend(&simplex, cost, start);
            assert!(
                ended && trace.lowest() < LOWEST && spent <= most,
                "{start:?}: {spent} {trace:?}"
            );
        }
    }

    #[test]
    fn walls_are_turned_from() {
        for start in [vec![1.9], vec![1e-3, 1.9, 1.0]] {
            let lowest = start.len() as f64 * walled(&[0.3], &mut [0.0]);
            for (trace, ended, _) in [
                descend(&Lbfgs::default(), walled, &start),
                descend(&NelderMead::default(), walled, &start),
            ] {
                assert!(ended && trace.lowest() - lowest < LOWEST, "{start:?}: {trace:?}");
            }
        }
    }

    #[test]
    fn where_nothing_goes_down_a_walk_ends() {
        for (cost, value) in [(flat as Cost, 7.0), (rosenbrock, 0.0)] {
            let (trace, ended, spent) = descend(&Lbfgs::default(), cost, &[1.0; 3]);
            assert!(ended && spent == 1 && trace.history == [value], "{trace:?}");
            let (trace, ended, spent) = descend(&NelderMead::default(), cost, &[1.0; 3]);
            assert!(
                ended && spent < 300 && trace.lowest() == value,
                "{spent} {trace:?}"
            );
        }
    }

    #[test]
    fn rounding_ends_a_walk_soon() {
        let (trace, ended, spent) = descend(&Lbfgs::default(), single, &[-1.2, 1.0]);
        // Six hundred-thousandths are what single precision tells from a thousand.
        assert!(
            ended && spent < 80 && trace.lowest() - 1000.0 < 1e-3,
            "{spent} {trace:?}"
        );
    }
}
