//! Sample densities and priors of one's own, which may return anything.

use armilla_samplers::distribution::Support;
use armilla_samplers::prelude::*;
use rand::Rng;

/// A standard normal in one parameter, with `strange` in place of its value where `z > 0`.
struct HalfStrange {
    names: Vec<String>,
    strange: f64,
}

impl HalfStrange {
    fn new(strange: f64) -> Self {
        Self {
            names: vec!["a".into()],
            strange,
        }
    }
}

impl Density for HalfStrange {
    fn dim(&self) -> usize {
        1
    }
    fn names(&self) -> &[String] {
        &self.names
    }
    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        Ok(if z[0] > 0.0 {
            self.strange
        } else {
            -0.5 * z[0] * z[0]
        })
    }
    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        x.copy_from_slice(z);
    }
    fn ln_jacobian(&self, _z: &[f64]) -> f64 {
        0.0
    }
    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        vec![if rng.next_u32().is_multiple_of(2) {
            1.0
        } else {
            -1.0
        }]
    }
}

impl DifferentiableDensity for HalfStrange {
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        gradient[0] = -z[0];
        self.log_density(z)
    }
}

#[test]
fn what_is_no_log_density_is_rejected_and_counted() {
    let options = RunOptions {
        warmup: 100,
        draws: 200,
        ..RunOptions::default()
    };
    for strange in [f64::NAN, f64::INFINITY] {
        let target = HalfStrange::new(strange);
        let runs = [
            MetropolisHastings::default().sample(&target, &options).unwrap(),
            Hmc::default().sample(&target, &options).unwrap(),
        ];
        for run in runs {
            assert!(run.draws().all(|x| x[0] <= 0.0), "{} {strange}", run.method);
            let finite = |chain: &armilla_samplers::run::Chain| {
                chain.log_density.iter().all(|density| density.is_finite())
            };
            assert!(run.chains.iter().all(finite), "{} {strange}", run.method);
            let diverged: usize = run.chains.iter().map(|chain| chain.divergences()).sum();
            assert!(diverged > 0, "{} {strange}", run.method);
        }
    }
}

/// A uniform density on 0 to 1, with `strange` as its logarithm above a half.
#[derive(Debug, Clone, Copy)]
struct StrangePrior(f64);

impl Univariate for StrangePrior {
    type Number = f64;

    fn ln_density<X: Number + From<f64>>(&self, x: X) -> X {
        X::from(if x.value() > 0.5 { self.0 } else { 0.0 })
    }
    fn quantile(&self, p: f64) -> f64 {
        p
    }
    fn support(&self) -> Support {
        Support::Between(0.0, 1.0)
    }
}

/// ln p = −a.
struct Falling;

impl Likelihood for Falling {
    fn dim(&self) -> usize {
        1
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(-x[0])
    }
}

impl DifferentiableLikelihood for Falling {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        gradient[0] = -1.0;
        self.log_likelihood(x)
    }
}

#[test]
fn a_prior_that_is_no_density_fails_there_and_nowhere_else() {
    for strange in [f64::NAN, f64::INFINITY] {
        let prior = Prior::new().with("a", StrangePrior(strange)).unwrap();
        let posterior = Posterior::new(prior, Falling).unwrap();
        let expected = Err(EvalError::Recoverable(format!(
            "the log prior is {strange} at a = 0.75"
        )));
        assert_eq!(posterior.log_density_physical(&[0.75]), expected);
        let z = posterior.to_real_line(&[0.75]);
        let (mut value, mut gradient) = ([0.0], [0.0]);
        let points = Points::new(&z, 1).unwrap();
        assert!(posterior.log_density(&z).is_err());
        assert!(posterior.log_density_batch(points, &mut value).is_err());
        assert!(posterior.value_and_gradient(&z, &mut gradient).is_err());
        assert!(
            posterior
                .value_and_gradient_batch(points, &mut value, &mut gradient)
                .is_err()
        );

        let surface = Grid::new(10)
            .evaluate(&posterior, &RunOptions::default())
            .unwrap();
        let masses = surface.marginal(0);
        assert!(
            masses[..5].iter().all(|mass| *mass > 0.0) && masses[5..] == [0.0; 5],
            "{masses:?}"
        );
        assert!(
            surface.warnings[0].starts_with("5 of 10 cells failed"),
            "{:?}",
            surface.warnings
        );
        assert!(surface.best()[0] < 0.5);
        for run in [
            MetropolisHastings::default().sample(&posterior, &RunOptions::default()),
            Hmc::default().sample(&posterior, &RunOptions::default()),
        ] {
            assert!(run.unwrap().draws().all(|x| x[0] <= 0.5));
        }
    }
}
