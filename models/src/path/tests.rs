use super::*;

/// Identities in f64, a few of them in a row.
const SAME: f64 = 1e-9;

fn paths() -> Vec<Path> {
    let chain = |schedule, steps| Path::Chain(Chain::new(schedule, steps).unwrap());
    vec![
        Path::Linear,
        Path::Trigonometric,
        chain(Schedule::default(), 1000),
        chain(Schedule::Cosine, 1000),
        chain(Schedule::DIFFUSION_HMC, 1000),
        chain(Schedule::default(), 50),
        Path::VariancePreserving {
            beta_min: 0.1,
            beta_max: 20.0,
        },
        Path::SubVariancePreserving {
            beta_min: 0.1,
            beta_max: 20.0,
        },
        Path::VarianceExploding {
            sigma_min: 0.01,
            sigma_max: 50.0,
        },
    ]
}

const TARGETS: [Target; 5] = [
    Target::Velocity,
    Target::Noise,
    Target::Data,
    Target::Score,
    Target::V,
];

#[test]
fn every_target_follows_from_every_other() {
    let (x0, x1) = (0.7, -1.3);
    for path in paths() {
        for t in [0.05, 0.31, 0.5, 0.83] {
            let point = path.at(t);
            let x = point.alpha * x0 + point.sigma * x1;
            for from in TARGETS {
                for to in TARGETS {
                    let [a, b] = point.conversion(from, to);
                    let (got, want) = (a * x + b * point.target(from, x0, x1), point.target(to, x0, x1));
                    let scale = want.abs().max((a * x).abs()).max(1.0);
                    assert!(
                        (got - want).abs() < SAME * scale,
                        "{path:?} {t} {from:?} to {to:?}: {got} {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn rates_are_derivatives() {
    for path in paths() {
        // Between the nodes of a chain.
        for t in [0.0503, 0.3107, 0.5009, 0.8305] {
            let h = 1e-6;
            let (up, down, at) = (path.at(t + h), path.at(t - h), path.at(t));
            let alpha = (up.alpha - down.alpha) / (2.0 * h);
            let sigma = (up.sigma - down.sigma) / (2.0 * h);
            assert!(
                (alpha - at.alpha_rate).abs() < 1e-6 * alpha.abs().max(1.0),
                "{path:?} {t}"
            );
            assert!(
                (sigma - at.sigma_rate).abs() < 1e-6 * sigma.abs().max(1.0),
                "{path:?} {t}"
            );
            let back = path.time_of(at.log_snr());
            assert!((back - t).abs() < 1e-9, "{path:?}: {back} {t}");
        }
    }
}

#[test]
fn the_forward_equation_has_the_marginals_of_the_path() {
    // dα/dt = f α and dσ²/dt = 2 f σ² + g².
    for path in paths() {
        let p = path.at(0.4);
        let (f, g2) = p.forward_sde();
        assert!((f * p.alpha - p.alpha_rate).abs() < SAME && g2 > 0.0, "{path:?}");
        let rate = 2.0 * p.sigma * p.sigma_rate;
        assert!((2.0 * f * p.sigma * p.sigma + g2 - rate).abs() < SAME * rate.abs().max(1.0));
    }
}

#[test]
fn chains_begin_at_the_data_and_meet_their_products() {
    let chain = Chain::new(Schedule::DIFFUSION_HMC, 1000).unwrap();
    let mut product = 1.0;
    for i in 0..1000 {
        let base = 1e-4 + (0.01 - 1e-4) * i as f64 / 999.0;
        let factor = if i < 500 {
            1.0
        } else {
            1.0 + 2.0 * (i - 500) as f64 / 499.0
        };
        product *= 1.0 - base * factor;
        assert!((chain.alpha_bar(i + 1) / product - 1.0).abs() < 1e-11);
        let p = Path::Chain(chain.clone()).at((i + 1) as f64 / 1000.0);
        assert!((p.alpha * p.alpha / product - 1.0).abs() < 1e-11);
    }
    for path in paths() {
        let start = path.at(0.0);
        assert_eq!((start.alpha, start.sigma), (1.0, 0.0), "{path:?}");
    }
    assert!(
        Chain::new(
            Schedule::Linear {
                beta_start: -0.1,
                beta_end: 0.02
            },
            10
        )
        .is_err()
    );
    assert!(Chain::new(Schedule::Cosine, 0).is_err());
    let text = serde_json::to_string(&chain).unwrap();
    assert_eq!(serde_json::from_str::<Chain>(&text).unwrap(), chain);
    assert!(serde_json::from_str::<Chain>(&text.replace("1000", "0")).is_err());
}

#[test]
fn a_chain_is_written_as_it_was_made() {
    let text = format!("{:?}", Chain::new(Schedule::Cosine, 1000).unwrap());
    assert_eq!(text, "Chain { schedule: Cosine, steps: 1000 }");
}

#[test]
fn numbers_of_a_path_that_make_no_sense_are_refused() {
    for path in paths() {
        path.check().unwrap();
    }
    let preserving = |beta_min, beta_max| Path::VariancePreserving { beta_min, beta_max };
    let sub = |beta_min, beta_max| Path::SubVariancePreserving { beta_min, beta_max };
    let exploding = |sigma_min, sigma_max| Path::VarianceExploding { sigma_min, sigma_max };
    for [low, high] in [
        [-0.1, 20.0],
        [2.0, 1.0],
        [0.0, 0.0],
        [0.1, f64::INFINITY],
        [f64::NAN, 20.0],
    ] {
        assert!(preserving(low, high).check().is_err(), "{low} {high}");
        assert!(sub(low, high).check().is_err(), "{low} {high}");
    }
    for [low, high] in [
        [0.0, 1.0],
        [1.0, 1.0],
        [0.1, f64::NAN],
        [-1.0, 1.0],
        [0.1, f64::INFINITY],
    ] {
        let said = exploding(low, high).check().unwrap_err().to_string();
        assert!(said.contains("sigma_min"), "{said}");
    }
}
