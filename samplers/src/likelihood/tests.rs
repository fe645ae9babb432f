use rand::RngExt;
use rand_distr::StandardNormal;

use super::*;
use crate::check_gradient::check_likelihood_gradient;
use crate::posterior::Posterior;
use crate::prior::{Normal, Uniform};
use crate::rng::{Purpose, stream};

/// Sums of the same numbers in the same order: nothing is lost.
const EXACT: f64 = 0.0;

/// −½ (x·direction − value)², outside of the support where the first parameter is below −9, no number where
/// it is above 9. Batches leave a mark in `asked`.
#[derive(Debug, Default)]
struct Line {
    direction: Vec<f64>,
    value: f64,
    asked: std::sync::atomic::AtomicUsize,
}

fn line(direction: &[f64], value: f64) -> Line {
    Line {
        direction: direction.to_vec(),
        value,
        ..Line::default()
    }
}

impl Line {
    fn batches(&self) -> usize {
        self.asked.load(std::sync::atomic::Ordering::Relaxed)
    }
    fn residual(&self, x: &[f64]) -> f64 {
        self.direction.iter().zip(x).map(|(d, x)| d * x).sum::<f64>() - self.value
    }
}

impl Likelihood for Line {
    fn dim(&self) -> usize {
        self.direction.len()
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        assert_eq!(x.len(), self.dim());
        Ok(match x[0] {
            x if x < -9.0 => f64::NEG_INFINITY,
            x if x > 9.0 => f64::NAN,
            _ => -0.5 * self.residual(x).powi(2),
        })
    }
    fn log_likelihood_batch(&self, xs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(xs.len(), out.len());
        for (x, out) in xs.iter().zip(out) {
            *out = self.log_likelihood(x)?;
        }
        Ok(())
    }
}

impl DifferentiableLikelihood for Line {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        assert_eq!(gradient.len(), self.dim());
        let residual = self.residual(x);
        for (gradient, d) in gradient.iter_mut().zip(&self.direction) {
            *gradient = -residual * d;
        }
        self.log_likelihood(x)
    }
    fn value_and_gradient_batch(
        &self,
        xs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(gradients.len(), xs.len() * xs.dim());
        let points = xs.iter().zip(values).zip(gradients.chunks_exact_mut(xs.dim()));
        for ((x, value), gradient) in points {
            *value = self.value_and_gradient(x, gradient)?;
        }
        Ok(())
    }
}

impl Generative for Line {
    fn simulate(&self, x: &[f64], rng: &mut dyn Rng) -> Result<Vec<f64>, EvalError> {
        let noise: f64 = rng.sample(StandardNormal);
        Ok(vec![self.residual(x) + self.value + noise])
    }
}

/// A likelihood that fails as it is told.
struct Failing(EvalError);

impl Likelihood for Failing {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, _x: &[f64]) -> Result<f64, EvalError> {
        Err(self.0.clone())
    }
}

fn prior() -> Prior {
    let names = ["a", "b", "c", "d", "e"];
    names.iter().fold(Prior::new(), |prior, &name| {
        prior.with(name, Uniform::new(-20.0, 20.0).unwrap()).unwrap()
    })
}

/// Batches must be loops, to the last bit, and gradients meet finite differences, at points of which some are
/// outside the support.
fn check(likelihood: &impl DifferentiableLikelihood) {
    let dim = likelihood.dim();
    let mut rng = stream(1, Purpose::Start, 0);
    let inside: Vec<f64> = (0..4 * dim).map(|_| rng.sample(StandardNormal)).collect();
    let check = check_likelihood_gradient(likelihood, Points::new(&inside, dim).unwrap()).unwrap();
    assert!(check.passed(), "{check}");

    let mut all = inside.clone();
    all.extend(vec![-10.0; dim]);
    all.extend(vec![10.0; dim]);
    let xs = Points::new(&all, dim).unwrap();
    // Nothing of what was there before may stay.
    let (mut values, mut both) = (vec![7.0; xs.len()], vec![7.0; xs.len()]);
    let mut gradients = vec![7.0; all.len()];
    likelihood.log_likelihood_batch(xs, &mut values).unwrap();
    likelihood
        .value_and_gradient_batch(xs, &mut both, &mut gradients)
        .unwrap();
    let mut infinite = 0;
    for (i, x) in xs.iter().enumerate() {
        let mut gradient = vec![7.0; dim];
        let value = likelihood.value_and_gradient(x, &mut gradient).unwrap();
        for other in [likelihood.log_likelihood(x).unwrap(), values[i], both[i]] {
            assert_eq!(value.to_bits(), other.to_bits(), "{x:?}");
        }
        assert_eq!(gradient, gradients[i * dim..(i + 1) * dim]);
        infinite += usize::from(value == f64::NEG_INFINITY);
        assert_eq!(value.is_nan(), x[0] > 9.0, "{x:?}");
    }
    assert_eq!(infinite, 1);
}

#[test]
fn sums_add_and_nest() {
    let (a, b, c) = (
        line(&[1.0, 2.0], 1.0),
        line(&[3.0, -1.0], 0.5),
        line(&[0.0, 1.0], 2.0),
    );
    let x = [0.3, -0.4];
    let expected: f64 = [&a, &b, &c]
        .iter()
        .map(|line| line.log_likelihood(&x).unwrap())
        .sum();
    let sum = (&a).and(&b).unwrap().and(&c).unwrap();
    assert!((sum.log_likelihood(&x).unwrap() - expected).abs() <= EXACT);
    check(&sum);
    // Batches reach every part: one of values, one of gradients.
    assert_eq!([a.batches(), b.batches(), c.batches()], [2, 2, 2]);
    assert_eq!(sum.parts().1.value, 2.0);
    let shared: std::sync::Arc<dyn Likelihood> = std::sync::Arc::new(line(&[1.0, 1.0], 0.0));
    let boxed: Box<dyn Likelihood> = Box::new(shared.clone().and(shared).unwrap());
    assert_eq!(boxed.log_likelihood(&[1.0, 1.0]), Ok(-4.0));
}

#[test]
fn sums_pass_on_what_is_no_number_and_what_fails() {
    let outside = line(&[1.0, 1.0], f64::INFINITY);
    let sum = (&outside).and(line(&[1.0, 1.0], 0.0)).unwrap();
    assert_eq!(sum.log_likelihood(&[0.0, 0.0]), Ok(f64::NEG_INFINITY));
    assert!(sum.log_likelihood(&[10.0, 0.0]).unwrap().is_nan());
    for error in [
        EvalError::Recoverable("here".into()),
        EvalError::Fatal("everywhere".into()),
    ] {
        let sums = [
            line(&[1.0, 1.0], 0.0)
                .and(Box::new(Failing(error.clone())) as Box<dyn Likelihood>)
                .unwrap()
                .log_likelihood(&[0.0, 0.0]),
            Failing(error.clone())
                .and(line(&[1.0, 1.0], 0.0))
                .unwrap()
                .log_likelihood(&[0.0, 0.0]),
            Failing(error.clone())
                .tempered(0.5)
                .unwrap()
                .log_likelihood(&[0.0, 0.0]),
            Repeated::new(vec![Failing(error.clone())])
                .unwrap()
                .log_likelihood(&[0.0, 0.0]),
            Failing(error.clone())
                .on(&prior(), ["a", "b"])
                .unwrap()
                .log_likelihood(&[0.0; 5]),
        ];
        for sum in sums {
            assert_eq!(sum, Err(error.clone()));
        }
    }
}

#[test]
fn sums_of_different_parameters_are_refused() {
    let error = line(&[1.0, 1.0], 0.0).and(line(&[1.0], 0.0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "one likelihood takes 2 parameters, the other 1: choose the parameters of each with `on`"
    );
}

#[test]
fn tempering_scales_and_keeps_the_support() {
    let line = line(&[1.0, 2.0], 1.0);
    for beta in [0.0, 0.3, 1.0, 2.5] {
        let tempered = (&line).tempered(beta).unwrap();
        let x = [0.3, -0.4];
        assert_eq!(
            tempered.log_likelihood(&x).unwrap(),
            beta * line.log_likelihood(&x).unwrap()
        );
        assert_eq!(tempered.log_likelihood(&[-10.0, 0.0]), Ok(f64::NEG_INFINITY));
        assert!(tempered.log_likelihood(&[10.0, 0.0]).unwrap().is_nan());
        check(&tempered);
    }
    assert_eq!(line.batches(), 8);
    for beta in [-0.1, f64::NAN, f64::INFINITY] {
        let error = (&line).tempered(beta).unwrap_err();
        assert!(
            error.to_string().contains("give a finite one, 0 or more"),
            "{error}"
        );
    }
}

#[test]
fn parameters_are_picked_by_name_and_order() {
    let line = line(&[1.0, -2.0], 1.0);
    let on = (&line).on(&prior(), ["d", "b"]).unwrap();
    assert_eq!(on.dim(), 5);
    let x = [0.1, 0.2, 0.3, 0.4, 0.5];
    assert_eq!(on.log_likelihood(&x), line.log_likelihood(&[0.4, 0.2]));
    let mut gradient = [f64::NAN; 5];
    on.value_and_gradient(&x, &mut gradient).unwrap();
    let residual = 0.4 - 2.0 * 0.2 - 1.0;
    assert_eq!(gradient, [0.0, 2.0 * residual, 0.0, -residual, 0.0]);
    check(&on);
    assert_eq!(line.batches(), 2);
    // Likelihoods of different parameters add up, once each knows its own.
    let both = on.and(line_on_others()).unwrap();
    check(&both);
    assert!(Posterior::new(prior(), both).is_ok());
}

fn line_on_others() -> Selected<Line> {
    let names = vec!["a".to_string(), "c".into(), "e".into()];
    line(&[1.0, 1.0, 1.0], 0.0).on(&prior(), &names).unwrap()
}

#[test]
fn one_parameter_may_stand_for_two() {
    // (s − 2 s − 1)² / 2: both derivatives are in s, the second parameter.
    let on = line(&[1.0, -2.0], 1.0).on(&prior(), ["b", "b"]).unwrap();
    let mut gradient = [f64::NAN; 5];
    let value = on
        .value_and_gradient(&[5.0, 0.5, 5.0, 5.0, 5.0], &mut gradient)
        .unwrap();
    assert_eq!(value, -0.5 * 1.5 * 1.5);
    assert_eq!(gradient, [0.0, -1.5, 0.0, 0.0, 0.0]);
    check(&on);
}

#[test]
fn parameters_that_cannot_be_picked_are_refused() {
    let errors = [
        (
            line(&[1.0, 1.0], 0.0).on(&prior(), ["a", "z"]),
            "there is no parameter named z: the prior has a, b, c, d, e",
        ),
        (
            line(&[1.0, 1.0], 0.0).on(&prior(), ["a"]),
            "1 names are given, the likelihood takes 2 parameters",
        ),
        (
            line(&[1.0], 0.0).on(&prior(), ["a", "b"]),
            "2 names are given, the likelihood takes 1 parameters",
        ),
        (
            line(&[], 0.0).on(&prior(), [""; 0]),
            "0 names are given, the likelihood takes 0 parameters",
        ),
    ];
    for (result, text) in errors {
        assert_eq!(result.unwrap_err().to_string(), text);
    }
    let on = line(&[1.0, 1.0], 0.0).on(&prior(), ["a", "b"]).unwrap();
    let short = Points::new(&[0.0; 6], 3).unwrap();
    let errors = [
        on.log_likelihood(&[0.0; 4]).map(|_| ()),
        on.value_and_gradient(&[0.0; 6], &mut [0.0; 5]).map(|_| ()),
        on.value_and_gradient(&[0.0; 5], &mut [0.0; 2]).map(|_| ()),
        on.log_likelihood_batch(short, &mut [0.0; 2]),
        on.value_and_gradient_batch(short, &mut [0.0; 2], &mut [0.0; 6]),
    ];
    for error in errors {
        assert!(matches!(error, Err(EvalError::Fatal(_))), "{error:?}");
    }
}

#[test]
fn observations_add_up() {
    let values = [0.5, 1.0, 2.5];
    let all = Repeated::new(values.map(|value| line(&[1.0, 2.0], value)).into()).unwrap();
    // The sum of squares about any value is that about the mean, and the mean's.
    let mean = 4.0 / 3.0;
    let scatter: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let x = [0.3, -0.4];
    let expected = -0.5 * (scatter + 3.0 * (x[0] + 2.0 * x[1] - mean).powi(2));
    assert!((all.log_likelihood(&x).unwrap() - expected).abs() < 1e-14);
    check(&all);
    assert!(all.likelihoods().iter().all(|line| line.batches() == 2));
    let error = Repeated::<Line>::new(Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "give at least one observation");
    let error = Repeated::new(vec![line(&[1.0], 0.0), line(&[1.0, 1.0], 0.0)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "observation 0 takes 1 parameters, observation 1 takes 2"
    );
}

#[test]
fn composed_likelihoods_draw_the_data_of_their_parts() {
    let repeated = Repeated::new(vec![line(&[1.0], 0.0), line(&[2.0], 0.0)]).unwrap();
    let both = repeated
        .on(&prior(), ["c"])
        .unwrap()
        .and(line(&[1.0; 5], 0.0))
        .unwrap();
    let draw = |rng: &mut dyn Rng| both.simulate(&[1.0, 2.0, 3.0, 4.0, 5.0], rng).unwrap();
    let mut rng = stream(1, Purpose::Simulation, 0);
    let n = 4000;
    let mut sums = [0.0; 3];
    for _ in 0..n {
        let data = draw(&mut rng);
        assert_eq!(data.len(), 3);
        sums.iter_mut().zip(&data).for_each(|(sum, data)| *sum += data);
    }
    for (sum, expected) in sums.iter().zip([3.0, 6.0, 15.0]) {
        let error = 1.0 / f64::from(n).sqrt();
        assert!((sum / f64::from(n) - expected).abs() < 5.0 * error, "{sums:?}");
    }
    // By reference and boxed, the same draws.
    let boxed: Box<dyn Generative + '_> = Box::new(&both);
    let x = [1.0, 2.0, 3.0, 4.0, 5.0];
    assert_eq!(
        boxed.simulate(&x, &mut stream(2, Purpose::Simulation, 0)),
        both.simulate(&x, &mut stream(2, Purpose::Simulation, 0))
    );
    assert!(matches!(
        line(&[1.0], 0.0)
            .on(&prior(), ["a"])
            .unwrap()
            .simulate(&[0.0], &mut rng),
        Err(EvalError::Fatal(_))
    ));
}

#[test]
fn a_composed_posterior_is_that_of_all_the_data() {
    // Three measurements of a sum and one of a difference: a Gaussian of known maximum.
    let prior = Prior::new()
        .with("a", Normal::new(0.0, 2.0).unwrap())
        .unwrap()
        .with("b", Normal::new(0.0, 2.0).unwrap())
        .unwrap();
    let sums = Repeated::new([3.0, 4.0, 5.0].map(|value| line(&[1.0, 1.0], value)).into()).unwrap();
    let difference = line(&[1.0, -1.0], 1.0).on(&prior, ["b", "a"]).unwrap();
    let posterior = Posterior::new(prior, sums.and(difference).unwrap()).unwrap();
    let best = posterior.log_likelihood(&[1.5, 2.5]).unwrap();
    assert_eq!(best, -1.0);
    for x in [[1.4, 2.5], [1.6, 2.5], [1.5, 2.4], [1.5, 2.6]] {
        assert!(posterior.log_likelihood(&x).unwrap() < best);
    }
    let check = crate::check_gradient(&posterior, 3, 1).unwrap();
    assert!(check.passed(), "{check}");
}
