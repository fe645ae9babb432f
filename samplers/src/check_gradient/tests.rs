use super::*;
use crate::density::Density;
use crate::likelihood::Likelihood;
use crate::posterior::Posterior;
use crate::prior::{LogUniform, Normal, Prior, Uniform};

type Value = fn(&[f64]) -> f64;
type Gradient = fn(&[f64], &mut [f64]);

/// A likelihood of two parameters given as a function and what is claimed to be its gradient.
struct Claimed(Value, Gradient);

impl Likelihood for Claimed {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        let value = (self.0)(x);
        match value {
            f64::INFINITY => Err(EvalError::Recoverable("too much".into())),
            _ if value > 1e300 => Err(EvalError::Fatal("out of order".into())),
            value => Ok(value),
        }
    }
}

impl DifferentiableLikelihood for Claimed {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        (self.1)(x, gradient);
        self.log_likelihood(x)
    }
}

/// −½ (x₀ − 1)² + ln x₁ − x₁, outside the support where x₁ ≤ 0.
fn curve(x: &[f64]) -> f64 {
    if x[1] <= 0.0 {
        return f64::NEG_INFINITY;
    }
    -0.5 * (x[0] - 1.0).powi(2) + x[1].ln() - x[1]
}

fn right(x: &[f64], gradient: &mut [f64]) {
    gradient.copy_from_slice(&[1.0 - x[0], 1.0 / x[1] - 1.0]);
}

fn at(likelihood: &Claimed, x: [f64; 2]) -> GradientCheck {
    check_likelihood_gradient(likelihood, Points::new(&x, 2).unwrap()).unwrap()
}

#[test]
fn right_gradients_pass_on_the_real_line_too() {
    let prior = Prior::new()
        .with("a", Normal::new(1.0, 2.0).unwrap())
        .unwrap()
        .with("b", LogUniform::new(0.1, 10.0).unwrap())
        .unwrap();
    let posterior = Posterior::new(prior, Claimed(curve, right)).unwrap();
    let check = check_gradient(&posterior, 20, 1).unwrap();
    assert!(check.passed() && check.wrong().is_empty(), "{check}");
    // Every derivative, and far more closely than they are judged.
    for derivative in check.points.iter().flat_map(|point| &point.derivatives) {
        assert_eq!(derivative.verdict, Verdict::Agrees);
        let off = (derivative.analytic - derivative.numerical).abs();
        assert!(off < 1e-8 * (1.0 + derivative.analytic.abs()), "{derivative:?}");
    }
    assert_eq!(check, check_gradient(&posterior, 20, 1).unwrap());
    assert_ne!(check, check_gradient(&posterior, 20, 2).unwrap());
    // At the optimum both derivatives vanish.
    let check = at(&Claimed(curve, right), [1.0, 1.0]);
    assert!(check.passed(), "{check}");
}

#[test]
fn mistakes_are_named() {
    let mistakes: [(Gradient, &str); 6] = [
        (
            |x, g| g.copy_from_slice(&[x[0] - 1.0, 1.0 / x[1] - 1.0]),
            "WRONG: has the opposite sign",
        ),
        (
            |x, g| g.copy_from_slice(&[0.0, 1.0 / x[1] - 1.0]),
            "WRONG: zero, yet the value changes",
        ),
        (
            |x, g| g.copy_from_slice(&[2.0 - 2.0 * x[0], 1.0 / x[1] - 1.0]),
            "WRONG: 2.0000 times the numerical one",
        ),
        (
            |x, g| {
                g[0] += 1.0 - x[0];
                g[1] = 1.0 / x[1] - 1.0;
            },
            "WRONG: no finite number; write each derivative, add to none",
        ),
        (|x, g| g[1] = 1.0 / x[1] - 1.0, "WRONG: no finite number"),
        // A thousandth off is a mistake too.
        (
            |x, g| g.copy_from_slice(&[1.001 * (1.0 - x[0]), 1.0 / x[1] - 1.0]),
            "WRONG: 1.0010 times the numerical one",
        ),
    ];
    for (gradient, words) in mistakes {
        let check = at(&Claimed(curve, gradient), [3.0, 0.5]);
        let text = check.to_string();
        assert!(text.contains(words), "{text}");
        assert!(!check.passed());
        assert_eq!(check.wrong(), ["x[0]"], "{text}");
        assert!(
            text.starts_with(
                "The derivative in x[0] is WRONG at 1 of 1 points.\nThe derivative in x[1] agrees"
            ),
            "{text}"
        );
        assert!(text.contains("\nat x[0] = 3, x[1] = 0.5\n"), "{text}");
    }
    let check = at(
        &Claimed(curve, |x, g| g.copy_from_slice(&[1e-3, 1.0 / x[1] - 1.0])),
        [1.0, 0.5],
    );
    assert!(check.to_string().contains("WRONG: should be zero"), "{check}");
    // One wrong point of several is enough, and is told from the others.
    let sometimes: Gradient = |x, g| {
        right(x, g);
        if x[0] > 2.0 {
            g[1] = 0.0;
        }
    };
    let xs = [0.0, 0.5, 3.0, 0.5];
    let xs = Points::new(&xs, 2).unwrap();
    let check = check_likelihood_gradient(&Claimed(curve, sometimes), xs).unwrap();
    let text = check.to_string();
    assert!(
        text.contains("The derivative in x[1] is WRONG at 1 of 2 points."),
        "{text}"
    );
    assert!(!check.passed());
}

#[test]
fn values_must_agree_with_and_without_the_gradient() {
    struct Shifted(f64);
    impl Likelihood for Shifted {
        fn dim(&self) -> usize {
            2
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(curve(x))
        }
    }
    impl DifferentiableLikelihood for Shifted {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            right(x, gradient);
            if self.0 > 5.0 {
                return Err(EvalError::Recoverable("no tape".into()));
            }
            Ok(curve(x) + self.0)
        }
    }
    let xs = Points::new(&[3.0, 0.5], 2).unwrap();
    for (shift, words) in [
        (1.0, "INCONSISTENT: the value is -3.19"),
        (f64::NAN, "with the gradient comes NaN"),
        (6.0, "the gradient fails: no tape"),
    ] {
        let check = check_likelihood_gradient(&Shifted(shift), xs).unwrap();
        assert!(!check.passed() && check.wrong().is_empty());
        assert!(check.to_string().contains(words), "{check}");
    }
    assert!(check_likelihood_gradient(&Shifted(0.0), xs).unwrap().passed());
}

#[test]
fn points_that_cannot_be_compared_are_told() {
    let check = at(&Claimed(curve, right), [0.0, -1.0]);
    assert!(!check.passed());
    let text = check.to_string();
    assert!(text.contains("not checked: the value is -inf"), "{text}");
    assert!(text.contains("The derivative in x[0] could not be checked."));
    let recoverable = at(&Claimed(|_| f64::INFINITY, right), [0.0, 1.0]);
    assert_eq!(
        recoverable.points[0].problem,
        Some(Problem::Skipped("too much".into()))
    );
    let nan = at(&Claimed(|_| f64::NAN, right), [0.0, 1.0]);
    assert!(nan.to_string().contains("not checked: the value is NaN"));
    // A bound close by shortens the step; on the bound there is no difference to take.
    let check = at(&Claimed(curve, right), [0.0, 1e-9]);
    assert!(check.passed(), "{check}");
    let edge: Value = |x| {
        if x[1] < 0.0 {
            f64::NEG_INFINITY
        } else {
            x[0] - x[1]
        }
    };
    let check = at(&Claimed(edge, |_, g| g.copy_from_slice(&[1.0, -1.0])), [0.5, 0.0]);
    assert_eq!(check.points[0].derivatives[0].verdict, Verdict::Agrees);
    assert_eq!(check.points[0].derivatives[1].verdict, Verdict::Undetermined);
    assert!(check.to_string().contains("no finite, settled values"), "{check}");
    assert!(!check.passed());
}

#[test]
fn failures_for_good_and_nonsense_are_errors() {
    let likelihood = Claimed(curve, right);
    let error = check_likelihood_gradient(&likelihood, Points::new(&[], 2).unwrap()).unwrap_err();
    assert!(error.to_string().contains("give at least one"), "{error}");
    let error = check_likelihood_gradient(&likelihood, Points::new(&[1.0; 3], 3).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "points of 3 numbers given for 2 parameters");
    let broken = Claimed(|x| if x[0] == 1.0 { 0.0 } else { 1e301 }, right);
    for x in [[1.0, 1.0], [2.0, 1.0]] {
        let error = check_likelihood_gradient(&broken, Points::new(&x, 2).unwrap());
        assert_eq!(
            error,
            Err(SampleError::Eval(EvalError::Fatal("out of order".into())))
        );
    }
    let prior = Prior::new()
        .with("a", Uniform::new(0.0, 1.0).unwrap())
        .unwrap()
        .with("b", Uniform::new(0.1, 1.0).unwrap())
        .unwrap();
    let posterior = Posterior::new(prior, likelihood).unwrap();
    let error = check_gradient(&posterior, 0, 1).unwrap_err();
    assert!(error.to_string().contains("give at least one"), "{error}");
    // Names and places are those of the parameters, in physical units.
    let check = check_gradient_at(&posterior, Points::new(&[0.0, 0.0], 2).unwrap()).unwrap();
    assert_eq!(check.names, posterior.names());
    assert_eq!(check.points[0].place, "a = 0.5, b = 0.55");
}

#[test]
fn single_precision_is_no_mistake() {
    let single: Value = |x| {
        let (a, b) = (x[0] as f32, x[1] as f32);
        f64::from(-0.5 * (a - 1.0).powi(2) + (2.0 * b).sin() - 500.0)
    };
    let gradient: Gradient = |x, g| {
        let (a, b) = (x[0] as f32, x[1] as f32);
        g.copy_from_slice(&[f64::from(1.0 - a), f64::from(2.0 * (2.0 * b).cos())]);
    };
    let doubled: Gradient = |x, g| {
        let b = x[1] as f32;
        g.copy_from_slice(&[1.0 - x[0], f64::from((2.0 * b).cos())]);
    };
    let xs: Vec<f64> = (0..40).map(|i| 0.37 * f64::from(i % 17) - 3.0).collect();
    let xs = Points::new(&xs, 2).unwrap();
    let check = check_likelihood_gradient(&Claimed(single, gradient), xs).unwrap();
    assert!(check.passed(), "{check}");
    let check = check_likelihood_gradient(&Claimed(single, doubled), xs).unwrap();
    assert_eq!(check.wrong(), ["x[1]"], "{check}");
}

#[test]
fn noise_decides_nothing() {
    // A value that jumps by up to 0.1 from one point to the next has no derivative to find.
    let noisy: Value = |x| {
        let bits = (x[0].to_bits() ^ x[1].to_bits().rotate_left(7)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        0.1 * (bits >> 11) as f64 / (1u64 << 53) as f64 - 0.5 * x[0] * x[0]
    };
    let gradient: Gradient = |x, g| g.copy_from_slice(&[-x[0], 0.0]);
    let xs: Vec<f64> = (0..40).map(|i| 0.1 + 0.03 * f64::from(i)).collect();
    let check = check_likelihood_gradient(&Claimed(noisy, gradient), Points::new(&xs, 2).unwrap()).unwrap();
    assert_eq!(check.count(1, Verdict::Agrees), 0, "{check}");
    assert!(check.to_string().contains("too rough"), "{check}");
    assert!(!check.passed());
}

#[test]
fn numerical_derivatives_hold_what_they_promise() {
    type Case = (fn(f64) -> f64, fn(f64) -> f64, f64);
    let cases: [Case; 12] = [
        (f64::sin, f64::cos, 0.7),
        (f64::exp, f64::exp, 3.0),
        (f64::exp, f64::exp, -30.0),
        (|x| x.ln(), |x| 1.0 / x, 1e-7),
        // Narrow, seen from its flank and from far away.
        (|x| -0.5 * (x / 1e-5).powi(2), |x| -x / 1e-10, 2e-5),
        (|x| -0.5 * (x / 1e-5).powi(2), |x| -x / 1e-10, 0.3),
        // Small numbers, as amplitudes of spectra are.
        (
            |x| -0.5 * ((x / 2e-9).ln() / 0.02).powi(2),
            |x| -(x / 2e-9).ln() / (4e-4 * x),
            2.1e-9,
        ),
        // Small by accident, on a scale of one.
        (|x| x.sin(), f64::cos, 1e-13),
        // A large constant, an oscillation, heavy tails, a far power.
        (|x| 1e8 - x * x, |x| -2.0 * x, 0.5),
        (|x| (200.0 * x).cos(), |x| -200.0 * (200.0 * x).sin(), 0.41),
        (|x| -2.0 * (1.0 + x * x).ln(), |x| -4.0 * x / (1.0 + x * x), 40.0),
        (|x| -x.powi(4), |x| -4.0 * x.powi(3), 100.0),
    ];
    for (i, (f, derivative, x)) in cases.into_iter().enumerate() {
        let mut along = |x| Ok(Some(f(x)).filter(|value| value.is_finite()));
        let numerical = differentiate(&mut along, x, f(x)).unwrap().unwrap();
        let truth = derivative(x);
        let off = (numerical.derivative - truth).abs();
        assert!(
            off <= SAFETY * numerical.error + 1e-12 * truth.abs(),
            "{i}: {off}"
        );
        let scale = truth.abs().max(NEGLIGIBLE / numerical.step);
        assert!(
            SAFETY * numerical.error < 0.1 * UNDETERMINED * scale,
            "{i}: {}",
            numerical.error
        );
        assert!(off < 1e-6 * scale, "{i}: {off}");
    }
}
