//! Walk downhill along a curvature learnt on the way.

use std::collections::VecDeque;
use std::mem;

use serde::{Deserialize, Serialize};

use super::Optimiser;
use super::laplace::{self, Derivatives};
use super::objective::Trace;
use super::walk::{Ground, Walk, finite};
use crate::error::{EvalError, SampleError};
use crate::likelihood::DifferentiableLikelihood;

/// L-BFGS (Liu & Nocedal 1989, doi:10.1007/BF01589116) on the real line. It needs a gradient.
///
/// Each step meets the strong conditions of Wolfe, by bracketing and cubic interpolation (Nocedal & Wright
/// 2006, doi:10.1007/978-0-387-40065-5, section 3.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lbfgs {
    /// The most iterations; each takes one gradient or a few.
    pub iterations: usize,
    /// How many past steps shape the curvature.
    pub memory: usize,
}

impl Default for Lbfgs {
    fn default() -> Self {
        Self {
            iterations: 200,
            memory: 10,
        }
    }
}

/// An iteration that gains less than this many nats is the last. Statistically nothing, but within reach
/// of a likelihood in single precision.
pub(super) const LEAST_GAIN: f64 = 1e-7;
/// A gradient below this many nats per unit of z is none.
const LEAST_GRADIENT: f64 = 1e-6;
/// Far more past steps than help.
const MOST_MEMORY: usize = 10_000;
/// A step has to gain this much of what the slope promises.
const SUFFICIENT: f64 = 1e-4;
/// It may leave this much of the slope. Less than the usual 0.9: where parameters are known a thousand times
/// better than others, that spares most of the gradients, and elsewhere it costs a tenth more.
const STEEPEST: f64 = 0.5;
/// While no bracket is known, a step is lengthened by so much of itself at most.
const EXPANSION: f64 = 9.0;
/// Within a bracket it stays so far from the ends, as a fraction.
const MARGIN: f64 = 0.05;
/// So many steps widen or narrow a bracket by more than the real line has use for.
const MOST_STEPS: usize = 30;

/// L-BFGS between two iterations.
#[derive(Serialize, Deserialize)]
pub struct LbfgsState {
    at: Point,
    /// Past steps and what each changed the gradient by, the newest last.
    pairs: VecDeque<(Vec<f64>, Vec<f64>)>,
}

#[derive(Serialize, Deserialize)]
struct Point {
    z: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Point {
    fn at<L: DifferentiableLikelihood>(
        ground: &Ground<'_, '_, L>,
        z: Vec<f64>,
        trace: &mut Trace,
    ) -> Result<Self, EvalError> {
        let mut gradient = vec![0.0; z.len()];
        let value = finite(ground.slope(&z, &mut gradient)?)?;
        trace.note(value, &z);
        Ok(Self { z, value, gradient })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `a` and `factor` times `b`.
fn sum(a: &[f64], factor: f64, b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + factor * b).collect()
}

/// What is met at a length of a direction, and the slope along it.
struct Step {
    length: f64,
    value: f64,
    slope: f64,
}

impl Step {
    /// Where the cubic through both ends, with their slopes, is lowest; kept from the ends.
    fn between(&self, other: &Self) -> f64 {
        let width = other.length - self.length;
        let (here, there) = (width * self.slope, width * other.slope);
        let bend = here + there - 3.0 * (other.value - self.value);
        let root = (bend * bend - here * there).sqrt();
        let fraction = 1.0 - (there + root - bend) / (there - here + 2.0 * root);
        // Halfway to a wall.
        let fraction = if fraction.is_finite() { fraction } else { 0.5 };
        self.length + width * fraction.clamp(MARGIN, 1.0 - MARGIN)
    }
}

impl<L: DifferentiableLikelihood> Optimiser<L> for Lbfgs {}

impl<L: DifferentiableLikelihood> Walk<L> for Lbfgs {
    type State = LbfgsState;
    type Fallback = Self;

    const NAME: &'static str = "L-BFGS";

    fn iterations(&self) -> usize {
        self.iterations
    }

    fn check(&self) -> Result<(), SampleError> {
        if self.iterations == 0 || !(1..=MOST_MEMORY).contains(&self.memory) {
            let message =
                format!("{self:?}: iterations and memory must be positive, memory at most {MOST_MEMORY}");
            return Err(SampleError::Invalid(message));
        }
        Ok(())
    }

    fn begin(
        &self,
        ground: &Ground<'_, '_, L>,
        z: Vec<f64>,
        trace: &mut Trace,
    ) -> Result<LbfgsState, EvalError> {
        let at = Point::at(ground, z, trace)?;
        trace.history.push(at.value);
        let pairs = VecDeque::new();
        Ok(LbfgsState { at, pairs })
    }

    fn advance(
        &self,
        ground: &Ground<'_, '_, L>,
        state: &mut LbfgsState,
        trace: &mut Trace,
    ) -> Result<bool, EvalError> {
        if dot(&state.at.gradient, &state.at.gradient).sqrt() < LEAST_GRADIENT {
            trace.status = "there is no slope".into();
            return Ok(true);
        }
        let Some(next) = state.search(ground, &state.direction(), trace)? else {
            trace.history.push(state.at.value);
            // The curvature learnt may have led astray; the slope itself does not.
            trace.status = "no step along the slope gains".into();
            return Ok(mem::take(&mut state.pairs).is_empty());
        };
        let last = mem::replace(&mut state.at, next);
        trace.history.push(state.at.value);
        let step = sum(&state.at.z, -1.0, &last.z);
        let change = sum(&state.at.gradient, -1.0, &last.gradient);
        // A curvature that is not positive is none to go by.
        if dot(&step, &change) > f64::EPSILON * dot(&change, &change) {
            if state.pairs.len() == self.memory {
                state.pairs.pop_front();
            }
            state.pairs.push_back((step, change));
        }
        let ended = last.value - state.at.value < LEAST_GAIN;
        if ended {
            trace.status = "an iteration gained nothing".into();
        }
        Ok(ended)
    }

    fn derivatives(ground: &Ground<'_, '_, L>, z: &[f64]) -> Result<Derivatives, EvalError> {
        laplace::by_gradients(ground, z)
    }
}

impl LbfgsState {
    /// Minus the inverse curvature times the gradient, by two loops over the pairs (Nocedal 1980,
    /// doi:10.1090/S0025-5718-1980-0572855-7).
    fn direction(&self) -> Vec<f64> {
        let mut direction: Vec<f64> = self.at.gradient.iter().map(|g| -g).collect();
        let mut weights = Vec::with_capacity(self.pairs.len());
        for (step, change) in self.pairs.iter().rev() {
            let weight = dot(step, &direction) / dot(step, change);
            direction = sum(&direction, -weight, change);
            weights.push(weight);
        }
        let scale = match self.pairs.back() {
            Some((step, change)) => dot(step, change) / dot(change, change),
            // A first step no longer than the prior is wide.
            None => dot(&direction, &direction).sqrt().max(1.0).recip(),
        };
        direction.iter_mut().for_each(|direction| *direction *= scale);
        for ((step, change), weight) in self.pairs.iter().zip(weights.into_iter().rev()) {
            let other = dot(change, &direction) / dot(step, change);
            direction = sum(&direction, weight - other, step);
        }
        direction
    }

    /// Looks along `direction` for a point that meets the conditions, or else for one that gains.
    fn search<L: DifferentiableLikelihood>(
        &self,
        ground: &Ground<'_, '_, L>,
        direction: &[f64],
        trace: &mut Trace,
    ) -> Result<Option<Point>, EvalError> {
        let steepest = dot(&self.at.gradient, direction);
        let mut found = None;
        // The lowest so far and, once known, the other end of a bracket: between them it goes down, then up.
        let mut low = Step {
            length: 0.0,
            value: self.at.value,
            slope: steepest,
        };
        let mut high: Option<Step> = None;
        let mut length = 1.0;
        for _ in 0..MOST_STEPS {
            let point = match Point::at(ground, sum(&self.at.z, length, direction), trace) {
                Err(EvalError::Fatal(message)) => return Err(EvalError::Fatal(message)),
                point => point.ok(),
            };
            // A wall where there is no point.
            let (value, slope) = point.as_ref().map_or((f64::INFINITY, f64::NAN), |point| {
                (point.value, dot(&point.gradient, direction))
            });
            let step = Step { length, value, slope };
            let enough = self.at.value + SUFFICIENT * length * steepest;
            if step.value <= enough && step.value < low.value {
                found = point;
                if step.slope.abs() <= -STEEPEST * steepest {
                    break;
                }
                // Where the slope would vanish, were it to go on as it does.
                let nearness = (low.slope / step.slope - 1.0) / (length - low.length);
                length += nearness.max(1.0 / (EXPANSION * length)).recip();
                let beyond = high.as_ref().map_or(1.0, |high| high.length - low.length);
                let last = mem::replace(&mut low, step);
                if low.slope * beyond >= 0.0 {
                    high = Some(last);
                }
            } else {
                high = Some(step);
            }
            if let Some(high) = &high {
                length = low.between(high);
            }
            let left = (low.slope * (length - low.length)).abs();
            // Not a number where the direction is none.
            if left.is_nan() || left < LEAST_GAIN {
                break;
            }
        }
        Ok(found)
    }
}
