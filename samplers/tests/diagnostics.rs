//! Compare the diagnostics with ArviZ, on draws that `fixtures/arviz.py` made in the same way.

use armilla_samplers::diagnostics::*;
use serde_json::Value;

/// Sums in another order, other Fourier transforms and other quantile functions of the normal distribution.
const TOLERANCE: f64 = 1e-6;

/// A linear congruential generator (Knuth's MMIX).
struct Generator(u64);

impl Generator {
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) * 2f64.powi(-53)
    }

    /// Irwin and Hall's sum of twelve: mean zero, variance one.
    fn bell(&mut self) -> f64 {
        (0..12).fold(0.0, |sum, _| sum + self.uniform()) - 6.0
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(number).collect()
}

fn size(value: &Value) -> usize {
    value.as_u64().expect("a count") as usize
}

fn cases(key: &str) -> (Value, Vec<Value>) {
    let mut fixture: Value =
        serde_json::from_str(include_str!("fixtures/arviz.json")).expect("the fixture is JSON");
    let Value::Array(cases) = fixture[key].take() else {
        panic!("the fixture has cases")
    };
    (fixture, cases)
}

fn make_chains(recipe: &Value) -> Vec<Vec<f64>> {
    let mut generator = Generator(size(&recipe["seed"]) as u64);
    let phi = number(&recipe["phi"]);
    let kind = recipe["kind"].as_str().expect("a kind");
    let chain = |index: usize| {
        let mut x = generator.bell();
        let mut next = |draw: usize| {
            x = phi * x + (1.0 - phi * phi).sqrt() * generator.bell();
            match kind {
                "plain" => x,
                "apart" => x + 3.0 * index as f64,
                "scales" => x * (1.0 + 2.0 * index as f64),
                "trend" => x + 0.5 * draw as f64,
                "ties" => (2.0 * x).floor(),
                "cauchy" => x / generator.bell(),
                _ => panic!("{kind} is none of the kinds"),
            }
        };
        (0..size(&recipe["draws"])).map(&mut next).collect()
    };
    (0..size(&recipe["chains"])).map(chain).collect()
}

fn make_log_weights(recipe: &Value) -> Vec<f64> {
    let mut generator = Generator(size(&recipe["seed"]) as u64);
    let k = number(&recipe["k"]);
    let log_weight = |index: usize| {
        let u = generator.uniform();
        match recipe["kind"].as_str().expect("a kind") {
            "pareto" => -k * u.ln(),
            "bounded" => k * u,
            "zeros" if index % 4 == 1 => f64::NEG_INFINITY,
            "zeros" => -k * u.ln(),
            "ties" => -k * (12.0 * u.ln()).floor() / 12.0,
            kind => panic!("{kind} is none of the kinds"),
        }
    };
    (0..size(&recipe["draws"])).map(log_weight).collect()
}

#[track_caller]
fn assert_agree(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(expected) {
        // Correlations near zero, and errors between ties, are to be as near on the scale of one.
        let scale = expected.abs().max(if name.contains("autocorrelation") {
            1.0
        } else {
            0.0
        });
        assert!(
            (found - expected).abs() <= TOLERANCE * scale,
            "{name}: {found} where {expected} is expected"
        );
    }
}

#[test]
fn chains_are_judged_as_by_arviz() {
    let (fixture, cases) = cases("chains");
    let quantiles = numbers(&fixture["quantiles"]);
    let mut compared = 0;
    for case in &cases {
        let chains = make_chains(case);
        let time = autocorrelation_time(&chains).expect("the chains vary");
        for (key, expected) in case["expected"].as_object().expect("values by name") {
            let name = format!("{key} of {}", case["name"]);
            let one = |judge: fn(&[Vec<f64>]) -> Option<f64>| vec![judge(&chains).expect(&name)];
            let each = |judge: fn(&[Vec<f64>], f64) -> Option<f64>| -> Vec<f64> {
                quantiles
                    .iter()
                    .map(|&p| judge(&chains, p).expect(&name))
                    .collect()
            };
            let found = match key.as_str() {
                "split_rhat" => one(split_rhat),
                "rhat" => one(rhat),
                "ess_bulk" => one(ess_bulk),
                "ess_tail" => one(ess_tail),
                "ess_mean" => one(ess_mean),
                "ess_sd" => one(ess_sd),
                "mcse_mean" => one(mcse_mean),
                "mcse_sd" => one(mcse_sd),
                "pareto_k" => one(pareto_k),
                "ess_quantile" => each(ess_quantile),
                "mcse_quantile" => each(mcse_quantile),
                "autocorrelation_time" => vec![time.time],
                "e_bfmi" => e_bfmi(&chains).into_iter().flatten().collect(),
                "reliable" => {
                    assert_eq!(Some(time.reliable), expected.as_bool(), "{name}");
                    continue;
                }
                "autocorrelation" => {
                    let expected: Vec<Vec<f64>> =
                        expected.as_array().expect("a list").iter().map(numbers).collect();
                    let lags = expected[0].len() - 1;
                    for (chain, expected) in chains.iter().zip(&expected) {
                        let found = autocorrelation(&[chain], lags).expect(&name);
                        assert_agree(&name, &found, expected);
                    }
                    let mean = |lag: usize| {
                        expected.iter().map(|of_chain| of_chain[lag]).sum::<f64>() / chains.len() as f64
                    };
                    let mean: Vec<f64> = (0..=lags).map(mean).collect();
                    let found = autocorrelation(&chains, lags).expect(&name);
                    assert_agree(&name, &found, &mean);
                    continue;
                }
                _ => panic!("{name} is not compared"),
            };
            let expected = if expected.is_array() {
                numbers(expected)
            } else {
                vec![number(expected)]
            };
            assert_agree(&name, &found, &expected);
            compared += found.len();
        }
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn importance_weights_are_smoothed_as_by_arviz() {
    let (fixture, cases) = cases("weights");
    let every = size(&fixture["every"]);
    // JSON has no infinity: there null is infinite for k̂ and minus infinite for a weight.
    let or = |infinite: f64| move |value: &Value| value.as_f64().unwrap_or(infinite);
    for case in &cases {
        let name = case["name"].to_string();
        let mut found = psis(&make_log_weights(case), number(&case["r_eff"])).expect(&name);
        let expected = or(f64::INFINITY)(&case["expected"]["pareto_k"]);
        if expected.is_finite() {
            assert_agree(&name, &[found.pareto_k], &[expected]);
        } else {
            assert_eq!(found.pareto_k, expected, "{name}");
        }
        if case["kind"] == "ties" {
            // Which of equal weights becomes which of the smoothed ones is left to chance.
            found.log_weights.sort_by(f64::total_cmp);
        }
        let expected = case["expected"]["log_weights"].as_array().expect("a list");
        let expected: Vec<f64> = expected.iter().map(or(f64::NEG_INFINITY)).collect();
        let found: Vec<f64> = found.log_weights.into_iter().step_by(every).collect();
        let finite = |x: &[f64]| x.iter().copied().filter(|x| x.is_finite()).collect::<Vec<_>>();
        let places = |x: &[f64]| x.iter().map(|x| x.is_finite()).collect::<Vec<_>>();
        assert_eq!(places(&found), places(&expected), "{name}");
        assert_agree(&name, &finite(&found), &finite(&expected));
    }
    assert!(cases.len() >= 12);
}
