#![allow(clippy::excessive_precision)] // Known values are as computed, with a digit to spare.

use super::*;
use crate::number::Dual;
use crate::rng::{Purpose, stream};

/// Simpson's rule of 4000 panels, and the tails left out.
const QUADRATURE: f64 = 1e-8;
/// Closed forms in f64.
const CLOSED_FORM: f64 = 1e-12;
/// Central differences of relative step 1e-5.
const DIFFERENCES: f64 = 1e-8;

fn simpson(f: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    let n = 4000;
    let h = (high - low) / f64::from(n);
    let weight = |i: i32| {
        if i == 0 || i == n {
            1.0
        } else {
            f64::from(2 + 2 * (i % 2))
        }
    };
    (0..=n)
        .map(|i| weight(i) * f(low + f64::from(i) * h))
        .sum::<f64>()
        * h
        / 3.0
}

/// The quantiles are right if the density has the mass they say between them; the draws are if they fall
/// between them as often as they should.
fn check(distribution: impl Univariate<Number = f64>) {
    let support = distribution.support();
    let at = |p| support.unconstrain(distribution.quantile(p));
    let (centre, scale) = (at(0.5), at(0.841) - at(0.159));
    // z = centre + scale sinh(t) reaches the end of the heaviest tails.
    let density = |t: f64| {
        let z = centre + scale * t.sinh();
        let (x, ln_jacobian) = support.constrain(z);
        // Beyond, x has no room left.
        if z.abs() > 700.0 && support != Support::Real {
            return 0.0;
        }
        (distribution.ln_density(x) + ln_jacobian).exp() * scale * t.cosh()
    };
    let mass = simpson(density, -40.0, 0.0) + simpson(density, 0.0, 40.0);
    assert!((mass - 1.0).abs() < QUADRATURE, "{distribution:?}: {mass}");
    for p in [0.001, 0.01, 0.2, 0.5, 0.9, 0.99, 0.999] {
        let t = ((at(p) - centre) / scale).asinh();
        let below = 0.5 + simpson(density, 0.0, t);
        assert!(
            (below - p).abs() < QUADRATURE,
            "{distribution:?}: {below} below the quantile {p}"
        );
    }
    let mut rng = stream(1, Purpose::Simulation, 0);
    let n = 10_000;
    let draws: Vec<f64> = (0..n).map(|_| distribution.sample(&mut rng)).collect();
    for p in [0.02, 0.3, 0.5, 0.8, 0.99] {
        let quantile = distribution.quantile(p);
        let below = draws.iter().filter(|x| **x < quantile).count() as f64 / n as f64;
        let standard_error = (p * (1.0 - p) / n as f64).sqrt();
        assert!(
            (below - p).abs() < 5.0 * standard_error,
            "{distribution:?}: {below} of the draws below {p}"
        );
    }
}

#[test]
fn every_density_is_normalised_and_agrees_with_its_quantiles_and_draws() -> Result<(), SampleError> {
    check(Uniform::new(0.1, 0.5)?);
    check(LogUniform::new(0.25, 4.0)?);
    check(LogUniform::new(1e-9, 1e4)?);
    check(Normal::new(-1.0, 0.3)?);
    check(LogNormal::new(0.3, 0.7)?);
    check(HalfNormal::new(2.0)?);
    check(HalfCauchy::new(2.0)?);
    check(Cauchy::new(1.0, 2.0)?);
    check(Laplace::new(1.0, 2.0)?);
    check(Exponential::new(1.5)?);
    for shape in [0.3, 1.0, 2.5, 200.0] {
        check(Gamma::new(shape, 1.5)?);
        check(InverseGamma::new(shape, 1.5)?);
    }
    for (a, b) in [(2.5, 1.5), (0.5, 0.5), (1.0, 1.0), (30.0, 4.0)] {
        check(Beta::new(a, b)?);
    }
    for degrees in [1.0, 3.5, 30.0, 1e4] {
        check(StudentT::new(degrees, 1.0, 2.0)?);
    }
    let infinity = f64::INFINITY;
    for (mean, sd, low, high) in [
        (1.0, 2.0, 0.0, 5.0),
        (1.0, 2.0, 0.0, infinity),
        (1.0, 2.0, -infinity, 0.5),
        (1.0, 2.0, -infinity, infinity),
        (0.0, 1.0, 8.0, 9.0),
        (0.0, 1.0, -9.0, -8.0),
        (0.0, 1.0, 45.0, infinity),
        (0.0, 1.0, -50.0, -45.0),
    ] {
        check(TruncatedNormal::new(mean, sd, low, high)?);
    }
    Ok(())
}

#[test]
fn densities_have_their_known_values() -> Result<(), SampleError> {
    // By mpmath, in 40 digits.
    for (value, expected) in [
        (
            LogNormal::new(0.3, 0.7)?.ln_density(2.5),
            -1.866_119_898_889_056_3,
        ),
        (HalfNormal::new(2.0)?.ln_density(1.3), -1.130_188_533_204_672_7),
        (HalfCauchy::new(2.0)?.ln_density(1.3), -1.497_145_772_867_749_1),
        (Cauchy::new(1.0, 2.0)?.ln_density(-3.5), -3.639_999_322_672_947_1),
        (
            StudentT::new(3.5, 1.0, 2.0)?.ln_density(4.0),
            -2.799_603_766_025_702_2,
        ),
        (Gamma::new(2.5, 1.5)?.ln_density(0.8), -0.805_735_427_173_822_8),
        (
            InverseGamma::new(2.5, 1.5)?.ln_density(0.8),
            -0.365_017_670_602_774_06,
        ),
        (Beta::new(2.5, 1.5)?.ln_density(0.3), -0.356_437_842_067_889_1),
        (Exponential::new(1.5)?.ln_density(0.8), -0.794_534_891_891_835_6),
        (Laplace::new(1.0, 2.0)?.ln_density(-2.5), -3.136_294_361_119_890_6),
        (
            TruncatedNormal::new(1.0, 2.0, 0.0, 5.0)?.ln_density(3.3),
            -1.870_934_401_426_042_9,
        ),
        (
            TruncatedNormal::new(0.0, 1.0, 8.0, 9.0)?.ln_density(8.5),
            -2.030_319_939_767_524_6,
        ),
        (
            TruncatedNormal::new(0.0, 1.0, f64::NEG_INFINITY, -40.0)?.ln_density(-40.01),
            3.289_453_480_549_115_4,
        ),
        (Poisson::new(3.7)?.ln_density(5.0), -1.945_827_644_531_152_2),
        (Binomial::new(10, 0.3)?.ln_density(4.0), -1.608_833_350_218_669_6),
        (
            NegativeBinomial::new(3.7, 2.5)?.ln_density(5.0),
            -2.389_539_138_942_794_8,
        ),
        (
            Dirichlet::new([1.5, 2.0, 3.5])?.ln_density(&[0.2, 0.3, 0.5]),
            1.757_500_135_355_422_5,
        ),
    ] {
        assert!(
            (value - expected).abs() < CLOSED_FORM * expected.abs(),
            "{value} for {expected}"
        );
    }
    // Large arguments leave no digits to differences of ln Γ.
    let (t, normal) = (StudentT::new(1e14, 0.0, 1.0)?, Normal::new(0.0, 1.0)?);
    assert!((t.ln_density(2.0) - normal.ln_density(2.0)).abs() < 1e-12);
    assert_eq!(
        StudentT::new(1.0, 0.0, 1.0)?.ln_density(1e200),
        Cauchy::new(0.0, 1.0)?.ln_density(1e200)
    );
    Ok(())
}

#[test]
fn quantiles_are_right_in_the_tails() -> Result<(), SampleError> {
    // By mpmath.
    let (gamma, beta, t) = (
        Gamma::new(2.5, 1.5)?,
        Beta::new(2.5, 1.5)?,
        StudentT::new(3.5, 0.0, 1.0)?,
    );
    for (value, expected) in [
        (gamma.quantile(1e-10), 1.077_852_382_083_231_1e-4),
        (gamma.quantile(0.99), 5.028_757_489_796_33),
        (beta.quantile(1e-10), 7.523_027_113_637_954e-5),
        (beta.quantile(0.99), 0.979_193_455_697_691_6),
        (t.quantile(1e-10), -848.543_345_633_476_3),
        (t.quantile(0.99), 4.060_711_359_300_083_7),
        (
            InverseGamma::new(2.5, 1.5)?.quantile(0.01),
            1.0 / 5.028_757_489_796_33,
        ),
        (
            Cauchy::new(0.0, 1.0)?.quantile(1e-12),
            -1e12 / std::f64::consts::PI,
        ),
        (
            HalfCauchy::new(1.0)?.quantile(1e-12),
            1e-12 * std::f64::consts::FRAC_PI_2,
        ),
        (Exponential::new(2.0)?.quantile(1e-20), 5e-21),
    ] {
        assert!((value / expected - 1.0).abs() < 1e-9, "{value} for {expected}");
    }
    let far = TruncatedNormal::new(0.0, 1.0, 60.0, f64::INFINITY)?;
    // Beyond 60 the density falls as e^−60 x and a little faster.
    let median = (far.quantile(0.5) - 60.0) * 60.0;
    assert!((median - std::f64::consts::LN_2).abs() < 1e-3, "{median}");
    assert_eq!((gamma.quantile(0.0), gamma.quantile(1.0)), (0.0, f64::INFINITY));
    assert_eq!((beta.quantile(0.0), beta.quantile(1.0)), (0.0, 1.0));
    Ok(())
}

/// Compares a gradient with central differences, from variable `from` on.
fn compare(name: &str, at: &[f64], f: impl Fn(&[f64]) -> f64, dual: (f64, &[f64]), from: usize) {
    let value = f(at);
    assert!(
        (dual.0 - value).abs() <= 1e-14 * (1.0 + value.abs()),
        "{name}: {} for {value}",
        dual.0
    );
    for i in from..at.len() {
        let h = 1e-5 * at[i].abs().max(0.1);
        let stepped = |steps: f64| {
            let mut at = at.to_vec();
            at[i] += steps * h;
            f(&at)
        };
        let numerical = (8.0 * (stepped(1.0) - stepped(-1.0)) - (stepped(2.0) - stepped(-2.0))) / (12.0 * h);
        let scale = 1.0 + value.abs() + numerical.abs();
        assert!(
            (dual.1[i] - numerical).abs() < DIFFERENCES * scale,
            "{name} {i}: {} for {numerical}",
            dual.1[i]
        );
    }
}

macro_rules! check_gradients {
    ($($name:ident :: $of:ident ($($p:ident = $v:expr),*) at $x:expr, from $from:expr;)*) => {$({
        const N: usize = 1 + [$($v),*].len();
        let at: [f64; N] = [$x, $($v),*];
        let f = |at: &[f64]| {
            let [x, $($p),*] = *at else { unreachable!() };
            $name::<f64>::$of($($p),*).ln_density(x)
        };
        let [x, $($p),*] = Dual::<N>::variables(at);
        let dual = $name::<Dual<N>>::$of($($p),*).ln_density(x);
        compare(stringify!($name), &at, f, (dual.value, &dual.gradient), $from);
        // Known x, and the derivatives in the parameters alone.
        let data = $name::<Dual<N>>::$of($($p),*).ln_density_at($x);
        assert_eq!(data.value, dual.value, "{}", stringify!($name));
        for i in 1..N {
            assert!((data.gradient[i] - dual.gradient[i]).abs() <= 1e-14 * (1.0 + dual.gradient[i].abs()));
        }
        assert_eq!(data.gradient[0], 0.0);
        // Known parameters, and the derivative in x alone.
        let [x] = Dual::<1>::variables([$x]);
        let known = { let [_, $($p),*] = at; $name::<f64>::$of($($p),*).ln_density(x) };
        assert!((known.gradient[0] - dual.gradient[0]).abs() <= 1e-14 * (1.0 + dual.gradient[0].abs()));
    })*};
}

#[test]
fn gradients_in_x_and_in_each_parameter_meet_differences() {
    check_gradients! {
        Normal::of(a = 1.0, b = 2.0) at 2.3, from 0;
        LogNormal::of(a = 0.3, b = 0.7) at 2.5, from 0;
        Uniform::of(a = 1.0, b = 3.0) at 1.3, from 0;
        LogUniform::of(a = 1.0, b = 3.0) at 1.3, from 0;
        HalfNormal::of(a = 2.0) at 1.3, from 0;
        HalfCauchy::of(a = 2.0) at 1.3, from 0;
        HalfCauchy::of(a = 2.0) at 130.0, from 0;
        Cauchy::of(a = 1.0, b = 2.0) at -3.5, from 0;
        StudentT::of(a = 3.5, b = 1.0, c = 2.0) at 4.0, from 0;
        StudentT::of(a = 350.0, b = 1.0, c = 2.0) at -4.0, from 0;
        Gamma::of(a = 2.5, b = 1.5) at 0.8, from 0;
        InverseGamma::of(a = 2.5, b = 1.5) at 0.8, from 0;
        Beta::of(a = 2.5, b = 1.5) at 0.3, from 0;
        Exponential::of(a = 1.5) at 0.8, from 0;
        Laplace::of(a = 1.0, b = 2.0) at -2.5, from 0;
        TruncatedNormal::of(a = 1.0, b = 2.0, c = 0.0, d = 5.0) at 3.3, from 0;
        TruncatedNormal::of(a = 1.0, b = 2.0, c = 2.0, d = 5.0) at 3.3, from 0;
        TruncatedNormal::of(a = 6.0, b = 0.5, c = 2.0, d = 5.0) at 3.3, from 0;
        Poisson::of(a = 3.7) at 5.0, from 1;
        Poisson::of_ln(a = 1.3) at 5.0, from 1;
        Bernoulli::of(a = 0.3) at 1.0, from 1;
        Bernoulli::of_logit(a = 0.3) at 0.0, from 1;
        NegativeBinomial::of(a = 3.7, b = 2.5) at 5.0, from 1;
        NegativeBinomial::of(a = 3.7, b = 2.5) at 0.0, from 1;
    }
    for (unbounded, at) in [(0, [2.3, 1.0, 2.0, 0.5]), (1, [0.3, 1.0, 2.0, 0.5])] {
        let f = |v: &[f64]| {
            let (low, high) = if unbounded == 0 {
                (v[3], f64::INFINITY)
            } else {
                (f64::NEG_INFINITY, v[3])
            };
            TruncatedNormal::<f64>::of(v[1], v[2], low, high).ln_density(v[0])
        };
        let [x, mean, sd, bound] = Dual::<4>::variables(at);
        let (low, high) = if unbounded == 0 {
            (bound, Dual::from(f64::INFINITY))
        } else {
            (Dual::from(f64::NEG_INFINITY), bound)
        };
        let dual = TruncatedNormal::<Dual<4>>::of(mean, sd, low, high).ln_density(x);
        compare("TruncatedNormal", &at, f, (dual.value, &dual.gradient), 0);
    }
    let [p] = Dual::<1>::variables([0.3]);
    let dual = Binomial::<Dual<1>>::of(10, p).ln_density(Dual::from(4.0));
    assert!((dual.gradient[0] - (4.0 / 0.3 - 6.0 / 0.7)).abs() < 1e-13);
    let logit = Binomial::<f64>::of_logit(10, (0.3f64 / 0.7).ln()).ln_density(4.0);
    assert!((logit - dual.value).abs() < 1e-14);
}

#[test]
fn probabilities_of_counts_sum_to_one_and_agree_with_their_draws() -> Result<(), SampleError> {
    fn check(distribution: impl Univariate<Number = f64>, mean: f64, variance: f64) {
        let moment = |f: fn(f64) -> f64| {
            (0..2000)
                .map(|k| f(f64::from(k)) * distribution.ln_density(f64::from(k)).exp())
                .sum::<f64>()
        };
        assert!((moment(|_| 1.0) - 1.0).abs() < 1e-10, "{distribution:?}");
        assert!((moment(|k| k) - mean).abs() < 1e-9, "{distribution:?}");
        assert!(
            (moment(|k| k * k) - mean * mean - variance).abs() < 1e-7,
            "{distribution:?}"
        );
        let mut rng = stream(2, Purpose::Simulation, 0);
        let n = 10_000;
        let drawn = (0..n).map(|_| distribution.sample(&mut rng)).sum::<f64>() / f64::from(n);
        let standard_error = (variance / f64::from(n)).sqrt();
        assert!(
            (drawn - mean).abs() < 5.0 * standard_error,
            "{distribution:?}: {drawn} for {mean}"
        );
        for k in [-1.0, 0.5, f64::NAN, f64::INFINITY] {
            assert!(
                distribution.ln_density(k) == f64::NEG_INFINITY,
                "{distribution:?} at {k}"
            );
        }
        assert!(distribution.quantile(0.5).is_nan());
    }
    check(Poisson::new(3.7)?, 3.7, 3.7);
    check(Poisson::of_ln(3.7f64.ln()), 3.7, 3.7);
    check(Binomial::new(10, 0.3)?, 3.0, 2.1);
    check(Bernoulli::new(0.3)?, 0.3, 0.21);
    check(NegativeBinomial::new(3.7, 2.5)?, 3.7, 3.7 + 3.7 * 3.7 / 2.5);
    assert_eq!(Binomial::new(3, 0.0)?.ln_density(0.0), 0.0);
    assert_eq!(Binomial::new(3, 1.0)?.ln_density(3.0), 0.0);
    assert_eq!(Bernoulli::new(1.0)?.ln_density(0.0), f64::NEG_INFINITY);
    Ok(())
}

#[test]
fn nonsense_is_refused_or_has_no_density() {
    let nan = f64::NAN;
    for bad in [0.0, -1.0, nan, f64::INFINITY] {
        assert!(HalfNormal::new(bad).is_err() && HalfCauchy::new(bad).is_err());
        assert!(Exponential::new(bad).is_err() && Poisson::new(bad).is_err());
        assert!(Normal::new(0.0, bad).is_err() && LogNormal::new(0.0, bad).is_err());
        assert!(Cauchy::new(0.0, bad).is_err() && Laplace::new(0.0, bad).is_err());
        assert!(Gamma::new(1.0, bad).is_err() && Gamma::new(bad, 1.0).is_err());
        assert!(InverseGamma::new(1.0, bad).is_err() && InverseGamma::new(bad, 1.0).is_err());
        assert!(Beta::new(1.0, bad).is_err() && Beta::new(bad, 1.0).is_err());
        assert!(StudentT::new(bad, 0.0, 1.0).is_err() && StudentT::new(1.0, 0.0, bad).is_err());
        assert!(NegativeBinomial::new(bad, 1.0).is_err() && NegativeBinomial::new(1.0, bad).is_err());
        assert!(TruncatedNormal::new(0.0, bad, 0.0, 1.0).is_err());
        assert!(Dirichlet::new([1.0, bad]).is_err() && LkjCholesky::new(3, bad).is_err());
    }
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (nan, 1.0), (0.0, f64::INFINITY)] {
        assert!(Uniform::new(low, high).is_err() && LogUniform::new(low, high).is_err());
    }
    assert!(Uniform::new(-1e308, 1.7e308).is_err() && LogUniform::new(0.0, 1.0).is_err());
    assert!(Normal::new(nan, 1.0).is_err() && StudentT::new(1.0, nan, 1.0).is_err());
    assert!(TruncatedNormal::new(0.0, 1.0, 1.0, 1.0).is_err());
    assert!(
        Binomial::new(2.5, 0.5).is_err() && Binomial::new(2, 1.5).is_err() && Bernoulli::new(nan).is_err()
    );
    assert!(Dirichlet::new([1.0]).is_err() && LkjCholesky::new(1, 1.0).is_err());
    let normal = Normal::<f64>::of(0.0, 1.0);
    assert!(Ordered::new(normal, 0).is_err() && Ordered::new(Exponential::<f64>::of(1.0), 2).is_err());
    for covariance in [
        &[1.0, 2.0, 2.0, 1.0][..],
        &[1.0, 0.5, 0.4, 1.0],
        &[1.0],
        &[1.0, nan, nan, 1.0],
    ] {
        assert!(
            MultivariateNormal::new([0.0, 0.0], covariance).is_err(),
            "{covariance:?}"
        );
    }
    // What is unchecked says so.
    assert!(Normal::<f64>::of(0.0, -1.0).ln_density(0.5).is_nan());
    assert!(normal.ln_density(nan).is_nan());
    for x in [-0.1, -f64::MIN_POSITIVE] {
        assert_eq!(HalfNormal::<f64>::of(1.0).ln_density(x), f64::NEG_INFINITY);
        assert_eq!(HalfCauchy::<f64>::of(1.0).ln_density(x), f64::NEG_INFINITY);
        assert_eq!(Exponential::<f64>::of(1.0).ln_density(x), f64::NEG_INFINITY);
        assert_eq!(Gamma::<f64>::of(1.0, 1.0).ln_density(x), f64::NEG_INFINITY);
        assert_eq!(HalfFlat::<f64>::of().ln_density(x), f64::NEG_INFINITY);
    }
    assert_eq!(
        (
            Flat::<f64>::of().ln_density(-9.0),
            HalfFlat::<f64>::of().ln_density(9.0)
        ),
        (0.0, 0.0)
    );
    assert_eq!(Beta::<f64>::of(2.0, 2.0).ln_density(1.5), f64::NEG_INFINITY);
    assert_eq!(
        Dirichlet::<f64>::of([1.0, 1.0]).ln_density(&[0.5, 0.6]),
        f64::NEG_INFINITY
    );
    assert_eq!(Ordered::of(normal, 2).ln_density(&[1.0, 0.5]), f64::NEG_INFINITY);
}

/// ∫ p(x(z)) |dx/dz| dz over a cube of z, by the trapezoid rule: exact for what is smooth and fades.
fn mass(distribution: &impl Multivariate<Number = f64>, centre: f64, extent: f64, step: f64) -> f64 {
    let support = distribution.support();
    let (dim, points) = (support.dim(), (2.0 * extent / step) as usize + 1);
    let (mut z, mut x) = (vec![0.0; dim], vec![0.0; support.len()]);
    let mut total = 0.0;
    for index in 0..points.pow(dim as u32) {
        let mut rest = index;
        for z in &mut z {
            *z = centre - extent + step * (rest % points) as f64;
            rest /= points;
        }
        let ln_jacobian = support.constrain(&z, &mut x);
        total += (distribution.ln_density(&x) + ln_jacobian).exp();
    }
    total * step.powi(dim as i32)
}

#[test]
fn densities_of_vectors_are_normalised() -> Result<(), SampleError> {
    const TRAPEZOID: f64 = 1e-6;
    for (mass, what) in [
        (
            mass(&Dirichlet::new([1.5, 2.0, 3.5])?, 0.0, 25.0, 0.1),
            "Dirichlet",
        ),
        (
            mass(&Dirichlet::new([0.7, 3.0])?, 0.0, 60.0, 0.05),
            "Dirichlet of two",
        ),
        (mass(&LkjCholesky::new(2, 0.7)?, 0.0, 30.0, 0.05), "LKJ of two"),
        (mass(&LkjCholesky::new(3, 1.0)?, 0.0, 9.0, 0.2), "LKJ of three"),
        (
            mass(&LkjCholesky::new(3, 2.5)?, 0.0, 6.0, 0.2),
            "LKJ of three, shape 2.5",
        ),
        (
            mass(&Ordered::new(Normal::new(0.0, 1.0)?, 2)?, 0.0, 20.0, 0.05),
            "Ordered",
        ),
        (
            mass(
                &MultivariateNormal::new([1.0, -1.0], &[4.0, 1.2, 1.2, 1.0])?,
                0.0,
                20.0,
                0.1,
            ),
            "Normal",
        ),
    ] {
        assert!((mass - 1.0).abs() < TRAPEZOID, "{what}: {mass}");
    }
    Ok(())
}

/// The mean of f over draws is within five standard errors of what it should be.
fn expect(
    name: &str,
    distribution: &impl Multivariate<Number = f64>,
    f: impl Fn(&[f64]) -> f64,
    expected: f64,
) {
    let mut rng = stream(4, Purpose::Simulation, 0);
    let n = 20_000.0;
    let mut x = vec![0.0; distribution.len()];
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..n as usize {
        distribution.sample(&mut rng, &mut x);
        assert!(distribution.ln_density(&x) > f64::NEG_INFINITY, "{name}: {x:?}");
        let y = f(&x);
        sum += y;
        squares += y * y;
    }
    let mean: f64 = sum / n;
    let standard_error = ((squares / n - mean * mean) / n).sqrt();
    assert!(
        (mean - expected).abs() < 5.0 * standard_error,
        "{name}: {mean} for {expected}"
    );
}

#[test]
fn draws_of_vectors_have_their_moments() -> Result<(), SampleError> {
    let dirichlet = Dirichlet::new([0.5, 2.0, 3.5])?;
    for (i, a) in [0.5, 2.0, 3.5].into_iter().enumerate() {
        expect("Dirichlet", &dirichlet, |x| x[i], a / 6.0);
        expect("Dirichlet", &dirichlet, |x| x[i] * x[i], a * (a + 1.0) / 42.0);
    }
    expect("Dirichlet", &dirichlet, |x| x[0] * x[1], 0.5 * 2.0 / 42.0);
    let normal = MultivariateNormal::new([1.0, -1.0], &[4.0, 1.2, 1.2, 1.0])?;
    expect("Normal", &normal, |x| x[0], 1.0);
    expect("Normal", &normal, |x| (x[0] - 1.0) * (x[1] + 1.0), 1.2);
    expect("Normal", &normal, |x| (x[0] - 1.0).powi(2), 4.0);
    expect("Normal", &normal, |x| (x[1] + 1.0).powi(2), 1.0);
    // The least of two standard normal numbers has the mean −1/√π.
    let ordered = Ordered::new(Normal::new(0.0, 1.0)?, 2)?;
    expect(
        "Ordered",
        &ordered,
        |x| x[0],
        -std::f64::consts::FRAC_2_SQRT_PI / 2.0,
    );
    Ok(())
}

#[test]
fn correlations_have_beta_marginals() -> Result<(), SampleError> {
    // (1 + r) / 2 ~ Beta(b, b), b = shape + (size − 2) / 2, for every pair (Lewandowski et al. 2009).
    for (size, shape) in [(2, 0.7), (3, 1.0), (4, 2.5)] {
        let lkj = LkjCholesky::new(size, shape)?;
        let b = shape + 0.5 * (size as f64 - 2.0);
        let marginal = Beta::new(b, b)?;
        for i in 1..size {
            for j in 0..i {
                let (row_i, row_j) = (i * (i + 1) / 2, j * (j + 1) / 2);
                let r = |x: &[f64]| (0..=j).map(|m| x[row_i + m] * x[row_j + m]).sum::<f64>();
                for p in [0.1, 0.5, 0.8] {
                    let quantile = 2.0 * marginal.quantile(p) - 1.0;
                    expect("LKJ", &lkj, |x| f64::from(u8::from(r(x) < quantile)), p);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_of_vectors_meet_differences() {
    let at = [0.2, 0.3, 0.5, 1.5, 2.0, 3.5];
    // The sum of x must stay 1: only the parameters are stepped, and x by hand.
    let f = |v: &[f64]| Dirichlet::<f64>::of([v[3], v[4], v[5]]).ln_density(&v[..3]);
    let v = Dual::<6>::variables(at);
    let dual = Dirichlet::<Dual<6>>::of([v[3], v[4], v[5]]).ln_density(&v[..3]);
    compare("Dirichlet", &at, f, (dual.value, &dual.gradient), 3);
    for i in 0..3 {
        assert!((dual.gradient[i] - (at[i + 3] - 1.0) / at[i]).abs() < 1e-12);
    }

    let at = [0.7, 0.2, 1.0, -1.0, 2.0, 0.6, 0.8];
    let f = |v: &[f64]| MultivariateNormal::<f64>::of([v[2], v[3]], [v[4], v[5], v[6]]).ln_density(&v[..2]);
    let v = Dual::<7>::variables(at);
    let dual = MultivariateNormal::<Dual<7>>::of([v[2], v[3]], [v[4], v[5], v[6]]).ln_density(&v[..2]);
    compare("MultivariateNormal", &at, f, (dual.value, &dual.gradient), 0);
    let normal = MultivariateNormal::new([1.0, -1.0], &[4.0, 1.2, 1.2, 1.0]).unwrap();
    assert!((normal.ln_density(&[0.7, 0.2]) - dual.value).abs() < 1e-14);

    let mut l = [0.0; 6];
    VectorSupport::CholeskyCorrelation(3).constrain(&[0.3, -0.5, 0.8], &mut l);
    let f = |v: &[f64]| LkjCholesky::<f64>::of(3, v[0]).ln_density(&l);
    let [shape] = Dual::<1>::variables([1.7]);
    let dual = LkjCholesky::<Dual<1>>::of(3, shape).ln_density(&l.map(Dual::from));
    compare("LkjCholesky", &[1.7], f, (dual.value, &dual.gradient), 0);
}
