//! Compare gradients with finite differences, and say in words which are wrong and where: `check_gradient` for
//! densities, `check_likelihood_gradient` for likelihoods, both giving a `GradientCheck`.

mod finite_difference;
mod report;

use crate::density::DifferentiableDensity;
use crate::error::{EvalError, SampleError};
use crate::likelihood::{DifferentiableLikelihood, Points};
use crate::rng::{Purpose, stream};

use finite_difference::{Numerical, differentiate};

/// A derivative is wrong if it is off by more than this fraction, beyond the uncertainty of the numerical one:
/// far above what rounding in single precision does to a gradient, far below what a mistake does.
const TOLERANCE: f64 = 1e-4;
/// How many times the estimated error of a numerical derivative it is trusted to.
const SAFETY: f64 = 10.0;
/// Uncertain by more than this fraction, a numerical derivative decides nothing.
const UNDETERMINED: f64 = 0.1;
/// Derivatives that change the log density by less than this over one step count as this large.
const NEGLIGIBLE: f64 = 1e-3;

/// What [`check_gradient`] found; printed, a table with the verdict in words on top.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientCheck {
    /// The names of the parameters; `z[0]`, `z[1]`, … where a draw has more or fewer numbers than z.
    pub names: Vec<String>,
    /// One report for each point.
    pub points: Vec<PointCheck>,
}

/// The comparison at one point.
#[derive(Debug, Clone, PartialEq)]
pub struct PointCheck {
    /// The point: z for a density, x in physical units for a likelihood.
    pub point: Vec<f64>,
    /// The point in words, in physical units.
    pub place: String,
    /// One comparison for each parameter; empty where there is nothing to compare.
    pub derivatives: Vec<Derivative>,
    /// What else there is to say.
    pub problem: Option<Problem>,
}

/// What is the matter with a point other than its derivatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// There is no log density here, and so no derivative: choose another point.
    Skipped(String),
    /// The value that comes with the gradient is not the value without.
    Inconsistent(String),
}

/// One derivative, given and numerical.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Derivative {
    /// As the gradient says.
    pub analytic: f64,
    /// By finite differences; NaN where the log density is not finite around the point.
    pub numerical: f64,
    /// The estimated error of `numerical`.
    pub error: f64,
    /// Whether they agree.
    pub verdict: Verdict,
}

/// Whether a derivative is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It agrees with finite differences.
    Agrees,
    /// It does not.
    Wrong,
    /// The log density is too rough, or not finite, around the point.
    Undetermined,
}

/// Compares the gradient of `density` with finite differences of its `log_density` at `points` draws from the
/// prior, on the real line. The differences are central, extrapolated to a step of zero from steps over which
/// the log density changes by about one (Ridders 1982, doi:10.1016/S0141-1195(82)80057-0); what
/// scatter is left between the finest steps, as from single precision, says how far to trust them. Each
/// derivative costs about twenty evaluations of the log density.
///
/// The gradient is handed over full of NaN: a derivative that is not written, or added to what was there,
/// shows.
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Line;
/// impl Likelihood for Line {
///     fn dim(&self) -> usize { 2 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
///         Ok(-0.5 * (x[0] + 2.0 * x[1] - 3.0).powi(2))
///     }
/// }
/// impl DifferentiableLikelihood for Line {
///     fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
///         let residual = x[0] + 2.0 * x[1] - 3.0;
///         gradient[0] = -residual;
///         gradient[1] = -residual; // The factor 2 is forgotten.
///         self.log_likelihood(x)
///     }
/// }
/// let prior = Prior::new()
///     .with("offset", Normal::new(0.0, 1.0)?)?
///     .with("slope", Normal::new(0.0, 1.0)?)?;
/// let check = check_gradient(&Posterior::new(prior, Line)?, 3, 1)?;
/// assert!(!check.passed());
/// assert_eq!(check.wrong(), ["slope"]);
/// println!("{check}");
/// # Ok::<(), SampleError>(())
/// ```
///
/// # Errors
/// `SampleError::Invalid` where `points` is 0, `SampleError::Eval` where the density fails for good.
pub fn check_gradient<T: DifferentiableDensity + ?Sized>(
    density: &T,
    points: usize,
    seed: u64,
) -> Result<GradientCheck, SampleError> {
    let starts = (0..points as u64).map(|i| density.initial(&mut stream(seed, Purpose::Start, i)));
    let starts: Vec<f64> = starts.flatten().collect();
    check_gradient_at(density, Points::new(&starts, density.dim())?)
}

/// As [`check_gradient`], at points z of your choice.
///
/// # Errors
/// `SampleError::Invalid` where there is no point, or of another dimension, `SampleError::Eval` where the
/// density fails for good.
pub fn check_gradient_at<T: DifferentiableDensity + ?Sized>(
    density: &T,
    zs: Points<'_>,
) -> Result<GradientCheck, SampleError> {
    let place = |z: &[f64]| {
        let mut x = vec![0.0; density.names().len()];
        density.to_physical(z, &mut x);
        join(density.names(), &x)
    };
    let function = Function {
        value: &|z| density.log_density(z),
        both: &|z, gradient| density.value_and_gradient(z, gradient),
        place: &place,
    };
    // A vector under a constraint has fewer unknowns than numbers.
    let names = if density.parameters().len() == density.dim() {
        density.parameters().to_vec()
    } else {
        (0..density.dim()).map(|i| format!("z[{i}]")).collect()
    };
    function.check(names, zs)
}

/// As [`check_gradient`], of a likelihood alone at points x in physical units. The parameters are called
/// `x[0]`, `x[1]`, … A likelihood is asked for values up to a quarter of each coordinate away from it (at 0:
/// a quarter), and takes `-inf` or `Recoverable` there as a bound.
///
/// # Errors
/// As for [`check_gradient_at`].
pub fn check_likelihood_gradient<L: DifferentiableLikelihood + ?Sized>(
    likelihood: &L,
    xs: Points<'_>,
) -> Result<GradientCheck, SampleError> {
    let names: Vec<String> = (0..likelihood.dim()).map(|i| format!("x[{i}]")).collect();
    let function = Function {
        value: &|x| likelihood.log_likelihood(x),
        both: &|x, gradient| likelihood.value_and_gradient(x, gradient),
        place: &|x| join(&names, x),
    };
    function.check(names.clone(), xs)
}

fn join(names: &[String], x: &[f64]) -> String {
    let pairs = names.iter().zip(x).map(|(name, x)| format!("{name} = {x}"));
    pairs.collect::<Vec<_>>().join(", ")
}

type ValueAndGradient<'a> = dyn Fn(&[f64], &mut [f64]) -> Result<f64, EvalError> + 'a;

/// A function with a gradient, whatever it belongs to.
struct Function<'a> {
    value: &'a dyn Fn(&[f64]) -> Result<f64, EvalError>,
    both: &'a ValueAndGradient<'a>,
    place: &'a dyn Fn(&[f64]) -> String,
}

impl Function<'_> {
    fn check(&self, names: Vec<String>, points: Points<'_>) -> Result<GradientCheck, SampleError> {
        if points.is_empty() {
            return Err(SampleError::Invalid(
                "no point to check the gradient at: give at least one".into(),
            ));
        }
        if points.dim() != names.len() {
            return Err(SampleError::Invalid(format!(
                "points of {} numbers given for {} parameters",
                points.dim(),
                names.len()
            )));
        }
        let points = points.iter().map(|point| self.check_point(point));
        let points = points.collect::<Result<_, EvalError>>()?;
        Ok(GradientCheck { names, points })
    }

    fn check_point(&self, point: &[f64]) -> Result<PointCheck, EvalError> {
        let mut check = PointCheck {
            point: point.to_vec(),
            place: (self.place)(point),
            derivatives: Vec::new(),
            problem: None,
        };
        let value = match recoverable((self.value)(point))? {
            Ok(value) if value.is_finite() => value,
            Ok(value) => {
                check.problem = Some(Problem::Skipped(format!("the value is {value}")));
                return Ok(check);
            }
            Err(message) => {
                check.problem = Some(Problem::Skipped(message));
                return Ok(check);
            }
        };
        let mut gradient = vec![f64::NAN; point.len()];
        match recoverable((self.both)(point, &mut gradient))? {
            Ok(other) => {
                // Written so that a NaN is inconsistent too.
                let consistent = (other - value).abs() <= TOLERANCE * value.abs().max(1.0);
                if !consistent {
                    check.problem = Some(Problem::Inconsistent(format!(
                        "the value is {value}, with the gradient comes {other}"
                    )));
                }
            }
            Err(message) => {
                let message = format!("the value is {value}, the gradient fails: {message}");
                check.problem = Some(Problem::Inconsistent(message));
                return Ok(check);
            }
        }
        for (i, &analytic) in gradient.iter().enumerate() {
            let mut moved = point.to_vec();
            let mut along = |coordinate: f64| {
                moved[i] = coordinate;
                let value = recoverable((self.value)(&moved))?;
                Ok(value.ok().filter(|value| value.is_finite()))
            };
            let numerical = differentiate(&mut along, point[i], value)?;
            check.derivatives.push(judge(analytic, numerical));
        }
        Ok(check)
    }
}

/// Splits what is said of one point from what ends the check.
fn recoverable(result: Result<f64, EvalError>) -> Result<Result<f64, String>, EvalError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(EvalError::Recoverable(message)) => Ok(Err(message)),
        Err(fatal) => Err(fatal),
    }
}

fn judge(analytic: f64, numerical: Option<Numerical>) -> Derivative {
    let Some(Numerical {
        derivative: numerical,
        error,
        step,
    }) = numerical
    else {
        let verdict = if analytic.is_finite() {
            Verdict::Undetermined
        } else {
            Verdict::Wrong
        };
        return Derivative {
            analytic,
            numerical: f64::NAN,
            error: f64::INFINITY,
            verdict,
        };
    };
    let scale = analytic.abs().max(numerical.abs()).max(NEGLIGIBLE / step);
    let verdict =
        if !analytic.is_finite() || (analytic - numerical).abs() > TOLERANCE * scale + SAFETY * error {
            Verdict::Wrong
        } else if SAFETY * error > UNDETERMINED * scale {
            Verdict::Undetermined
        } else {
            Verdict::Agrees
        };
    Derivative {
        analytic,
        numerical,
        error,
        verdict,
    }
}

impl GradientCheck {
    /// Whether every derivative was found right somewhere and wrong nowhere, and values agreed everywhere.
    pub fn passed(&self) -> bool {
        let consistent = |point: &PointCheck| !matches!(point.problem, Some(Problem::Inconsistent(_)));
        self.points.iter().all(consistent)
            && (0..self.names.len())
                .all(|i| self.count(i, Verdict::Wrong) == 0 && self.count(i, Verdict::Agrees) > 0)
    }

    /// The names of the parameters whose derivative is wrong somewhere.
    pub fn wrong(&self) -> Vec<&str> {
        let wrong = (0..self.names.len()).filter(|&i| self.count(i, Verdict::Wrong) > 0);
        wrong.map(|i| self.names[i].as_str()).collect()
    }

    fn count(&self, parameter: usize, verdict: Verdict) -> usize {
        let derivatives = self
            .points
            .iter()
            .filter_map(|point| point.derivatives.get(parameter));
        derivatives
            .filter(|derivative| derivative.verdict == verdict)
            .count()
    }
}

#[cfg(test)]
mod tests;
