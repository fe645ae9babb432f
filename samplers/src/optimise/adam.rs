//! Walk downhill with a step for each parameter.

use std::f64::consts::PI;

use super::{Objective, Trace};
use crate::error::{EvalError, SampleError};
use crate::likelihood::DifferentiableLikelihood;

/// Adam (Kingma & Ba 2015, arXiv 1412.6980) on the real line, with gradients clipped to a norm and a
/// learning rate that falls to zero along a cosine. It uses up all its iterations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Gradients to take.
    pub iterations: usize,
    /// The first learning rate, on the real line, where priors have a width of order one.
    pub learning_rate: f64,
    /// Longer gradients are shortened to this norm.
    pub max_norm: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            iterations: 500,
            learning_rate: 0.05,
            max_norm: 10.0,
        }
    }
}

/// The constants of the paper.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// So many failed points end a start: each halves the learning rate, to a millionth by then.
const MOST_FAILURES: usize = 20;

impl Adam {
    pub(super) fn check(&self) -> Result<(), SampleError> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        if self.iterations == 0 || !positive(self.learning_rate) || !positive(self.max_norm) {
            let message = format!("{self:?}: iterations, learning_rate and max_norm must be positive");
            return Err(SampleError::Invalid(message));
        }
        Ok(())
    }

    pub(super) fn minimise<L: DifferentiableLikelihood>(
        &self,
        objective: &Objective<'_, L>,
        mut z: Vec<f64>,
        report: impl Fn(usize, usize),
    ) -> Trace {
        let dim = z.len();
        let mut trace = Trace::default();
        let mut gradient = vec![0.0; dim];
        let (mut first, mut second) = (vec![0.0; dim], vec![0.0; dim]);
        let (mut rate, mut age, mut failures) = (self.learning_rate, 0, 0);
        for iteration in 0..self.iterations {
            let value = match objective.value_and_gradient(&z, &mut gradient) {
                Ok(value) if value.is_finite() => value,
                Err(EvalError::Fatal(message)) => {
                    trace.fatal = Some(message);
                    trace.status = "the likelihood failed for good".into();
                    return trace;
                }
                failed => {
                    failures += 1;
                    let Some((_, best)) = trace.best.as_ref().filter(|_| failures < MOST_FAILURES) else {
                        let reason = failed.map_or_else(|error| error.to_string(), |_| "outside".into());
                        trace.status = format!("stopped where the likelihood failed: {reason}");
                        return trace;
                    };
                    // Back to solid ground, with shorter steps and no memory of the way there.
                    z.clone_from(best);
                    rate *= 0.5;
                    age = 0;
                    first.fill(0.0);
                    second.fill(0.0);
                    report(iteration + 1, self.iterations);
                    continue;
                }
            };
            trace.note(value, &z);
            trace.history.push(value);
            age += 1;
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            let clip = (self.max_norm / norm).min(1.0);
            let cosine = 0.5 * (1.0 + (PI * iteration as f64 / self.iterations as f64).cos());
            let correct1 = 1.0 - BETA1.powi(age);
            let correct2 = 1.0 - BETA2.powi(age);
            for i in 0..dim {
                let g = clip * gradient[i];
                first[i] += (1.0 - BETA1) * (g - first[i]);
                second[i] += (1.0 - BETA2) * (g * g - second[i]);
                let direction = first[i] / correct1 / ((second[i] / correct2).sqrt() + EPSILON);
                z[i] -= rate * cosine * direction;
            }
            report(iteration + 1, self.iterations);
        }
        trace.status = format!("took all {} iterations", self.iterations);
        trace
    }
}
