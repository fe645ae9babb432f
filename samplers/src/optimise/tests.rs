//! Hold the optimisers to known answers.

use super::*;
use crate::distribution::{LogUniform, Normal, Uniform};
use crate::error::EvalError;
use crate::likelihood::DifferentiableLikelihood;
use crate::prior::Prior;
use crate::run::StopReason;

/// A normal likelihood in a (mean 0.45, sd 0.2) and in ln b (mean `ln_b`, sd 0.1), correlated by 0.5.
struct Toy {
    ln_b: f64,
}
impl Toy {
    fn residuals(&self, x: &[f64]) -> (f64, f64) {
        ((x[0] - 0.45) / 0.2, (x[1].ln() - self.ln_b) / 0.1)
    }
}
impl Likelihood for Toy {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        let (u, v) = self.residuals(x);
        Ok(-0.5 * (u * u - u * v + v * v) / 0.75)
    }
}
impl DifferentiableLikelihood for Toy {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let (u, v) = self.residuals(x);
        gradient[0] = -(u - 0.5 * v) / 0.75 / 0.2;
        gradient[1] = -(v - 0.5 * u) / 0.75 / (0.1 * x[1]);
        self.log_likelihood(x)
    }
}

fn posterior(ln_b: f64) -> Posterior<Toy> {
    let prior = Prior::new().with("a", Normal::new(0.0, 1.0).unwrap()).unwrap();
    Posterior::new(
        prior.with("b", LogUniform::new(0.25, 4.0).unwrap()).unwrap(),
        Toy { ln_b },
    )
    .unwrap()
}

type Any<L> = Box<dyn Sampler<Posterior<L>>>;

fn optimisers<L: DifferentiableLikelihood + 'static>(starts: usize) -> [Any<L>; 3] {
    [
        Box::new(Mle {
            starts,
            ..Mle::default()
        }),
        Box::new(Mle {
            optimiser: Adam::default(),
            starts,
        }),
        Box::new(Mle {
            optimiser: NelderMead::default(),
            starts,
        }),
    ]
}

#[test]
fn all_optimisers_find_the_maximum_and_its_width() {
    for optimiser in optimisers(3) {
        let run = optimiser.sample(&posterior(0.5), &RunOptions::default()).unwrap();
        let estimate = run.estimate.as_ref().unwrap();
        assert!(
            estimate.converged && run.warnings.is_empty(),
            "{:?} {:?}",
            run.estimate,
            run.warnings
        );
        // 0.002 is a hundredth of a standard deviation.
        assert!((estimate.x[0] - 0.45).abs() < 0.002 && (estimate.x[1].ln() - 0.5).abs() < 0.001);
        assert!(estimate.log_likelihood > -1e-3 && estimate.history.len() > 2);
        assert!(estimate.history.last().unwrap() < &1e-3);
        let summary = run.summary();
        // 4000 draws: a standard deviation is known to 1.1% (one standard error).
        assert!((summary.parameters[0].sd / 0.2 - 1.0).abs() < 0.06, "{summary}");
        let median = &summary.parameters[1];
        assert!(
            ((median.q84.ln() - median.q16.ln()) / 0.1989 - 1.0).abs() < 0.06,
            "{summary}"
        );
        assert!(summary.approximation.is_some() && median.rhat.is_none());
    }
}

#[test]
fn the_prior_pulls_the_most_probable_point_in_physical_units() {
    // With b held by symmetry of the algebra: minimise ½ Q(u, v)/0.75 + ½ a² + ln b, in (a, ln b).
    let run = Map::default()
        .sample(&posterior(0.5), &RunOptions::default())
        .unwrap();
    let estimate = run.estimate.unwrap();
    let (u, v) = Toy { ln_b: 0.5 }.residuals(&estimate.x);
    let in_a = (u - 0.5 * v) / 0.75 / 0.2 + estimate.x[0];
    let in_ln_b = (v - 0.5 * u) / 0.75 / 0.1 + 1.0;
    assert!(in_a.abs() < 0.01 && in_ln_b.abs() < 0.02, "{in_a} {in_ln_b}");
    assert!(estimate.converged);
    let posterior = posterior(0.5);
    let log_density = posterior.log_density_physical(&estimate.x).unwrap();
    assert!((estimate.log_density - log_density).abs() < 1e-12);
    assert!((estimate.log_likelihood - posterior.log_likelihood(&estimate.x).unwrap()).abs() < 1e-12);
}

#[test]
fn an_optimum_beyond_the_prior_is_told_and_still_has_a_width() {
    for optimiser in optimisers(1) {
        let run = optimiser.sample(&posterior(1.6), &RunOptions::default()).unwrap();
        assert_eq!(
            run.warnings,
            [
                "b ends at the edge of its prior: the maximum may lie beyond",
                "there is no peak at an edge, so the draws are about the peak of the whole posterior",
            ],
            "{:?}",
            run.estimate
        );
        let b = &run.summary().parameters[1];
        // ln 4 = 1.386 is 2.1 standard deviations below the optimum: b crowds below 4.
        assert!(b.sd > 0.03 && b.sd < 0.5 && b.q50 > 3.3 && b.q95 <= 4.0, "{b:?}");
    }
}

#[test]
fn a_peak_near_a_bound_is_a_peak() {
    // Half a percent of the prior lies beyond, five standard deviations of the likelihood.
    struct Sharp;
    impl Likelihood for Sharp {
        fn dim(&self) -> usize {
            1
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-0.5 * ((x[0] - 0.995) / 0.001).powi(2))
        }
    }
    impl DifferentiableLikelihood for Sharp {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            gradient[0] = (0.995 - x[0]) / 1e-6;
            self.log_likelihood(x)
        }
    }
    let prior = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
    let run = Mle::default()
        .sample(&Posterior::new(prior, Sharp).unwrap(), &RunOptions::default())
        .unwrap();
    assert!(run.estimate.as_ref().unwrap().converged, "{:?}", run.estimate);
    assert_eq!(run.warnings, [""; 0]);
}

#[test]
fn too_few_iterations_are_no_convergence() {
    let few: [Any<Toy>; 3] = [
        Box::new(Mle::new(Lbfgs {
            iterations: 1,
            ..Lbfgs::default()
        })),
        Box::new(Mle::new(Adam {
            iterations: 3,
            ..Adam::default()
        })),
        Box::new(Map::new(NelderMead {
            iterations: 10,
            ..NelderMead::default()
        })),
    ];
    for optimiser in few {
        let run = optimiser.sample(&posterior(0.5), &RunOptions::default()).unwrap();
        assert!(
            !run.estimate.as_ref().unwrap().converged,
            "{:?} {:?}",
            run.estimate,
            run.warnings
        );
        assert!(
            run.summary()
                .warnings
                .iter()
                .any(|warning| warning.contains("has not converged"))
        );
    }
}

#[test]
fn single_precision_is_enough() {
    struct Single(Toy);
    impl Likelihood for Single {
        fn dim(&self) -> usize {
            2
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            self.value_and_gradient(x, &mut [0.0; 2])
        }
    }
    impl DifferentiableLikelihood for Single {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            // On top of a constant of a thousand nats, as networks have it.
            let value = self.0.value_and_gradient(x, gradient)? - 1000.0;
            gradient.iter_mut().for_each(|g| *g = f64::from(*g as f32));
            Ok(f64::from(value as f32))
        }
    }
    let single = Posterior::new(posterior(0.5).prior().clone(), Single(Toy { ln_b: 0.5 })).unwrap();
    for optimiser in optimisers(2) {
        let run = optimiser.sample(&single, &RunOptions::default()).unwrap();
        assert!(
            run.estimate.as_ref().is_some_and(|estimate| estimate.converged),
            "{:?}",
            run.estimate
        );
        let summary = run.summary();
        assert!((summary.parameters[0].mean - 0.45).abs() < 0.02, "{summary}");
        assert!((summary.parameters[0].sd / 0.2 - 1.0).abs() < 0.06, "{summary}");
        assert!(summary.warnings.is_empty(), "{summary}");
    }
}

#[test]
fn a_flat_direction_falls_back_on_the_prior() {
    struct Flat;
    impl Likelihood for Flat {
        fn dim(&self) -> usize {
            2
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            Ok(-0.5 * ((x[0] - 0.5) / 0.01).powi(2))
        }
    }
    impl DifferentiableLikelihood for Flat {
        fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
            gradient.copy_from_slice(&[(0.5 - x[0]) / 1e-4, 0.0]);
            self.log_likelihood(x)
        }
    }
    let prior = Prior::new().with("a", Uniform::new(0.0, 1.0).unwrap()).unwrap();
    let posterior = Posterior::new(prior.with("b", Uniform::new(0.0, 1.0).unwrap()).unwrap(), Flat).unwrap();
    let run = Mle::default().sample(&posterior, &RunOptions::default()).unwrap();
    assert!(
        run.warnings[0].contains("leave a direction open"),
        "{:?}",
        run.warnings
    );
    let summary = run.summary();
    assert!((summary.parameters[0].sd / 0.01 - 1.0).abs() < 0.06);
    assert!(summary.parameters[1].sd > 0.2, "{summary}");
}

/// −¼ (x² − 1)² 40 + x/4: a peak of each sign, the right one higher by half a nat.
struct TwoPeaks;
impl Likelihood for TwoPeaks {
    fn dim(&self) -> usize {
        1
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(-10.0 * (x[0] * x[0] - 1.0).powi(2) + 0.25 * x[0])
    }
}

#[test]
fn starts_that_disagree_are_averaged_by_likelihood() {
    let prior = Prior::new().with("x", Normal::new(0.0, 1.0).unwrap()).unwrap();
    let posterior = Posterior::new(prior, TwoPeaks).unwrap();
    let mle = Mle {
        optimiser: NelderMead::default(),
        starts: 9,
    };
    let run = mle.sample(&posterior, &RunOptions::default()).unwrap();
    let estimate = run.estimate.unwrap();
    assert!((estimate.x[0] - 1.003).abs() < 2e-3, "{estimate:?}");
    let best = estimate
        .starts
        .iter()
        .flatten()
        .fold(f64::INFINITY, |a, b| a.min(*b));
    let right = estimate
        .starts
        .iter()
        .flatten()
        .filter(|value| **value - best < 0.1)
        .count();
    let left = 9 - right;
    assert!(left > 0, "the test shows nothing: {estimate:?}");
    // The peaks are near ±1, their likelihoods differ by a factor of √e; 0.01 covers their shifts.
    let (right, left) = (right as f64, left as f64 * (-0.5f64).exp());
    let mean = (right - left) / (right + left);
    let ensemble = &estimate.ensemble;
    assert!((ensemble.x[0] - mean).abs() < 0.01, "{ensemble:?} for {mean}");
    assert!(
        (ensemble.sd[0] - (1.0 - mean * mean).sqrt()).abs() < 0.01,
        "{ensemble:?}"
    );
}

#[test]
fn values_alone_give_the_covariance() {
    let run = |sampler: &dyn Sampler<Posterior<Toy>>| {
        let options = RunOptions {
            draws: 20_000,
            chains: 1,
            ..RunOptions::default()
        };
        sampler.sample(&posterior(0.5), &options).unwrap()
    };
    // The same noise for both: what differs is the covariance, by the truncation error.
    let (by_gradients, by_values) = (run(&Mle::default()), run(&Mle::new(NelderMead::default())));
    let (a, b) = (by_gradients.summary(), by_values.summary());
    for (a, b) in a.parameters.iter().zip(&b.parameters) {
        assert!((a.sd / b.sd - 1.0).abs() < 0.01, "{a:?} {b:?}");
    }
    assert_eq!(by_values.evaluations.gradients, 0);
    // A correlation of one half in (a, ln b).
    let (mut product, mut squares) = (0.0, [0.0; 2]);
    for x in by_values.draws() {
        let (u, v) = (x[0] - 0.45, x[1].ln() - 0.5);
        product += u * v;
        squares[0] += u * u;
        squares[1] += v * v;
    }
    let correlation = product / (squares[0] * squares[1]).sqrt();
    // Five standard errors (1 − ρ²)/√n.
    assert!(
        (correlation - 0.5).abs() < 5.0 * 0.75 / 20_000f64.sqrt(),
        "{correlation}"
    );
}

#[test]
fn nelder_mead_crosses_a_curved_valley() {
    /// Rosenbrock's valley (1960, doi:10.1093/comjnl/3.3.175) in four parameters.
    struct Valley;
    impl Likelihood for Valley {
        fn dim(&self) -> usize {
            4
        }
        fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
            let pair = |pair: &[f64]| 100.0 * (pair[1] - pair[0] * pair[0]).powi(2) + (1.0 - pair[0]).powi(2);
            Ok(-x.windows(2).map(pair).sum::<f64>())
        }
    }
    let mut prior = Prior::new();
    for name in ["a", "b", "c", "d"] {
        prior = prior.with(name, Normal::new(0.0, 1.0).unwrap()).unwrap();
    }
    let posterior = Posterior::new(prior, Valley).unwrap();
    let run = Mle::new(NelderMead::default()).sample(&posterior, &RunOptions::default());
    let estimate = run.unwrap().estimate.unwrap();
    // A hundredth of a standard deviation in every direction.
    assert!(
        estimate.converged && estimate.x.iter().all(|x| (x - 1.0).abs() < 0.01),
        "{estimate:?}"
    );
}

#[test]
fn a_constant_rate_stays() {
    let constant = Mle::new(Adam {
        schedule: Schedule::Constant,
        iterations: 2000,
        ..Adam::default()
    });
    let run = constant.sample(&posterior(0.5), &RunOptions::default()).unwrap();
    let estimate = run.estimate.unwrap();
    assert!(
        estimate.converged && (estimate.x[0] - 0.45).abs() < 0.01,
        "{estimate:?}"
    );
    assert_eq!(estimate.history.len(), 2001);
}

#[test]
fn long_gradients_are_shortened() {
    // With one step left, Adam's own scaling takes out any length; with two, the longer gradient outweighs.
    let mut clipped = Momenta::new(1, 0.999);
    let mut z = [0.0];
    clipped.descend(&mut z, &[1e6], 1.0, 2.0);
    let mut same = Momenta::new(1, 0.999);
    let mut other = [0.0];
    same.descend(&mut other, &[2.0], 1.0, 2.0);
    clipped.descend(&mut z, &[-1.0], 1.0, 2.0);
    same.descend(&mut other, &[-1.0], 1.0, 2.0);
    assert_eq!(z, other);
}

#[test]
fn who_is_out_of_time_gets_the_best_so_far() {
    let options = RunOptions {
        time_limit: Some(std::time::Duration::ZERO),
        ..RunOptions::default()
    };
    for optimiser in optimisers(2) {
        let run = optimiser.sample(&posterior(0.5), &options).unwrap();
        let estimate = run.estimate.as_ref().unwrap();
        assert!(run.is_empty() && run.stop == StopReason::TimeLimit && !estimate.converged);
        assert_eq!(
            (estimate.status.as_str(), estimate.history.len()),
            ("stopped after 0 iterations", 1)
        );
        // The centre of the prior is (0, 1), or a draw was better.
        let at_centre = posterior(0.5).log_likelihood(&[0.0, 1.0]).unwrap();
        assert!(estimate.log_likelihood >= at_centre - 1e-9, "{estimate:?}");
    }
}
