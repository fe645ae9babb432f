use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    walk::{evenly, quadratically},
    *,
};
use crate::path::{Chain, Path, Schedule, Target};

/// The best predictions for data whose numbers are independent, each of a mixture of Gaussians.
struct Known {
    path: Path,
    target: Target,
    /// For each number the weight, mean and deviation of each part.
    mixtures: Vec<Vec<[f64; 3]>>,
    calls: AtomicUsize,
}

impl Known {
    fn new(path: &Path, target: Target, mixtures: &[&[[f64; 3]]]) -> Self {
        Self {
            path: path.clone(),
            target,
            mixtures: mixtures.iter().map(|m| m.to_vec()).collect(),
            calls: AtomicUsize::new(0),
        }
    }

    fn gaussian(path: &Path, target: Target) -> Self {
        Self::new(path, target, &[&[[1.0, 1.5, 0.5]], &[[1.0, -0.7, 1.3]]])
    }

    /// Where the flow takes `x` of time `from` (one part only), and what is predicted there.
    fn flow(&self, x: &[f64], from: f64, to: f64) -> [Vec<f64>; 2] {
        let [p, q] = [self.path.at(from), self.path.at(to)];
        let both = x.iter().enumerate().map(|(i, x)| {
            let [_, m, s] = self.mixtures[i % self.mixtures.len()][0];
            let [a, b] = [p, q].map(|p| (p.alpha * s).hypot(p.sigma));
            let y = q.alpha * m + b / a * (x - p.alpha * m);
            (y, m + q.alpha * s * s / (b * b) * (y - q.alpha * m))
        });
        let (state, data) = both.unzip();
        [state, data]
    }
}

impl Predictor for Known {
    fn numbers(&self) -> usize {
        self.mixtures.len()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn target(&self) -> Target {
        self.target
    }

    fn predict(&self, x: &[f64], t: f64) -> Result<Vec<f64>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let p = self.path.at(t);
        let predict = |(i, x): (usize, &f64)| {
            let parts = self.mixtures[i % self.mixtures.len()].iter().map(|[w, m, s]| {
                let (v, off) = ((p.alpha * s).powi(2) + p.sigma.powi(2), x - p.alpha * m);
                let log = w.ln() - 0.5 * off * off / v - 0.5 * v.ln();
                (log, m + p.alpha * s * s / v * off, off / v)
            });
            let parts: Vec<_> = parts.collect();
            let most = parts.iter().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = parts.iter().map(|p| (p.0 - most).exp()).sum();
            let [mut data, mut pull] = [0.0, 0.0];
            for (log, d, u) in parts {
                let share = (log - most).exp() / total;
                data += share * d;
                pull += share * u;
            }
            match self.target {
                Target::Score => -pull,
                target => p.target(target, data, p.sigma * pull),
            }
        };
        Ok(x.iter().enumerate().map(predict).collect())
    }
}

const TARGETS: [Target; 5] = [
    Target::Velocity,
    Target::Noise,
    Target::Data,
    Target::Score,
    Target::V,
];

fn smooth_paths() -> Vec<Path> {
    vec![
        Path::Linear,
        Path::Trigonometric,
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

fn chain(schedule: Schedule, steps: usize) -> Path {
    Path::Chain(Chain::new(schedule, steps).unwrap())
}

fn paths() -> Vec<Path> {
    let mut paths = smooth_paths();
    paths.extend([
        chain(Schedule::default(), 1000),
        chain(Schedule::Cosine, 1000),
        chain(
            Schedule::Linear {
                beta_start: 1e-3,
                beta_end: 0.2,
            },
            100,
        ),
    ]);
    paths
}

/// Noise for a few rows of two numbers.
fn some_noise() -> Vec<f64> {
    noise(0..8, 2, 3)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    (sum / a.len() as f64).sqrt()
}

/// A walk that does not move: for its times.
fn still(known: &Known) -> Walk<'_> {
    Walk::new(known, 0, 0, 2, 0).unwrap()
}

fn drawn(known: &Known, solver: Solver, steps: usize) -> Vec<f64> {
    from_noise(known, some_noise(), solver, steps, 0).unwrap().values
}

#[test]
fn ode_solvers_follow_the_flow_at_their_order() {
    let expected = |known: &Known| {
        let [start, end] = still(known).ends();
        let x = still(known).begin(some_noise(), start);
        let [state, data] = known.flow(&x, start, end);
        if end > 0.0 { data } else { state }
    };
    for path in smooth_paths() {
        let known = Known::gaussian(&path, Target::Velocity);
        let orders = [
            (Solver::Euler, 2.0),
            (Solver::Midpoint, 4.0),
            (Solver::Heun, 4.0),
            (Solver::Rk4, 16.0),
        ];
        for (solver, factor) in orders {
            // The leading error of the midpoint rule is as the third derivative of the variance, 0 for a quadratic one.
            let vanishes = matches!((&path, solver), (Path::Linear, Solver::Midpoint));
            let factor = if vanishes { 8.0 } else { factor };
            let ratio = |error: &dyn Fn(usize) -> f64| error(100) / error(200);
            let whole = ratio(&|n| distance(&drawn(&known, solver, n), &expected(&known)));
            // Over the whole of a path leading errors may cancel by symmetry.
            let part = ratio(&|n| {
                let way = trajectory(&known, some_noise(), solver, n, &[0.25]).unwrap();
                let x = still(&known).begin(some_noise(), 1.0);
                distance(&way.states[0], &known.flow(&x, 1.0, 0.25)[0])
            });
            assert!(
                whole > 0.8 * factor && (part / factor - 1.0).abs() < 0.25,
                "{path:?} {solver}: {whole} {part}"
            );
        }
        let error = distance(&drawn(&known, Solver::Dopri5, 1), &expected(&known));
        assert!(error < 1e-3, "{path:?}: {error}");
    }
    // Every target gives the same flow; on the nodes of a chain rates jump a little.
    for path in paths() {
        for target in TARGETS {
            let known = Known::gaussian(&path, target);
            let error = distance(&drawn(&known, Solver::Heun, 200), &expected(&known));
            assert!(error < 0.02, "{path:?} {target:?}: {error}");
        }
    }
}

#[test]
fn ddim_follows_the_flow_at_first_order() {
    for path in paths() {
        let most = if let Path::Chain(chain) = &path {
            chain.steps()
        } else {
            1000
        };
        for target in TARGETS {
            let known = Known::gaussian(&path, target);
            let start = still(&known).grid(evenly).unwrap()[0];
            let x = still(&known).begin(some_noise(), start);
            let [exact, _] = known.flow(&x, start, 0.0);
            let errors =
                [4, 2].map(|part| distance(&drawn(&known, Solver::Ddim { eta: 0.0 }, most / part), &exact));
            let ratio = errors[0] / errors[1];
            assert!((1.6..2.6).contains(&ratio), "{path:?} {target:?}: {errors:?}");
            assert!(errors[1] < 0.1, "{path:?} {target:?}: {errors:?}");
        }
    }
}

#[test]
fn edm_and_dpm_solver_follow_the_flow_at_second_order() {
    for path in paths() {
        for target in TARGETS {
            let known = Known::gaussian(&path, target);
            let ends = still(&known).levels(|high, low, place| if place == 0.0 { high } else { low });
            let x = still(&known).begin(some_noise(), ends[0].t);
            let [_, exact] = known.flow(&x, ends[0].t, ends[1].t);
            for solver in [Solver::Edm, Solver::DpmSolver] {
                let [coarse, fine] = [100, 200].map(|n| distance(&drawn(&known, solver, n), &exact));
                let ratio = coarse / fine;
                assert!(
                    (3.3..4.7).contains(&ratio) && fine < 1e-2,
                    "{path:?} {target:?} {solver}: {ratio} {fine}"
                );
            }
        }
    }
}

/// Mean and deviation, each with its standard error for nearly normal numbers.
fn moments(values: &[f64]) -> [[f64; 2]; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    [[mean, sd / n.sqrt()], [sd, sd / (2.0 * n).sqrt()]]
}

#[test]
fn stochastic_solvers_reach_the_moments() {
    let solvers = [
        Solver::Ddpm,
        Solver::Ddim { eta: 0.5 },
        Solver::ChurnedEdm { churn: 40.0 },
        Solver::EulerMaruyama,
        Solver::PredictorCorrector,
    ];
    // Ancestral sampling of a short chain is narrow by its nature: its posteriors are those of known data.
    let long = [Schedule::default(), Schedule::Cosine].map(|schedule| chain(schedule, 1000));
    for path in smooth_paths().into_iter().chain(long) {
        let steps = if let Path::Chain(_) = &path { 1000 } else { 500 };
        for solver in solvers {
            let known = Known::new(&path, Target::Velocity, &[&[[1.0, 1.5, 0.5]]]);
            let values = generate(&known, 2000, solver, steps, 11).unwrap().values;
            let [[mean, of_mean], [sd, of_sd]] = moments(&values);
            assert!((mean - 1.5).abs() < 5.0 * of_mean, "{path:?} {solver}: {mean}");
            assert!((sd - 0.5).abs() < 5.0 * of_sd, "{path:?} {solver}: {sd}");
        }
    }
}

#[test]
fn full_noise_in_ddim_is_ddpm() {
    for path in paths() {
        let known = Known::gaussian(&path, Target::V);
        let [a, b] = [Solver::Ddpm, Solver::Ddim { eta: 1.0 }]
            .map(|solver| generate(&known, 50, solver, 30, 5).unwrap().values);
        assert!(distance(&a, &b) < 1e-9, "{path:?}");
        let none = generate(&known, 50, Solver::Ddim { eta: 0.0 }, 30, 5)
            .unwrap()
            .values;
        assert!(distance(&a, &none) > 0.1, "{path:?}");
    }
}

#[test]
fn all_steps_of_a_chain_are_those_of_ho_and_others() {
    let steps = 30;
    let levels = Chain::new(
        Schedule::Linear {
            beta_start: 1e-3,
            beta_end: 0.3,
        },
        steps,
    )
    .unwrap();
    let known = Known::gaussian(&Path::Chain(levels.clone()), Target::Noise);
    let got = generate(&known, 4, Solver::Ddpm, steps, 9).unwrap().values;
    let mut walk = Walk::new(&known, 8, 0, steps, 9).unwrap();
    let mut x = walk.begin(noise(0..4, 2, 9), 1.0);
    for i in (1..=steps).rev() {
        let [now, before] = [levels.alpha_bar(i), levels.alpha_bar(i - 1)];
        let beta = 1.0 - now / before;
        let predicted = known.predict(&x, i as f64 / steps as f64).unwrap();
        for (x, e) in x.iter_mut().zip(predicted) {
            *x = (*x - beta / (1.0 - now).sqrt() * e) / (1.0 - beta).sqrt();
        }
        walk.add_noise(&mut x, (beta * (1.0 - before) / (1.0 - now)).sqrt());
    }
    assert!(distance(&got, &x) < 1e-9, "{got:?} {x:?}");
}

#[test]
fn the_last_step_ends_at_the_predicted_data() {
    /// Always sure of the same.
    struct Sure(Path);
    impl Predictor for Sure {
        fn numbers(&self) -> usize {
            1
        }
        fn path(&self) -> &Path {
            &self.0
        }
        fn target(&self) -> Target {
            Target::Data
        }
        fn predict(&self, x: &[f64], _: f64) -> Result<Vec<f64>> {
            Ok(vec![0.3; x.len()])
        }
    }
    for path in paths() {
        for solver in Solver::ALL {
            let values = generate(&Sure(path.clone()), 3, solver, 20, 1).unwrap().values;
            match solver {
                // No noise is left: ᾱ = 1 to the last bit.
                Solver::Ddpm | Solver::Ddim { .. } => assert_eq!(values, [0.3; 3], "{path:?}"),
                _ => assert!(
                    values.iter().all(|v| (v - 0.3).abs() < 1e-9),
                    "{path:?} {solver}: {values:?}"
                ),
            }
        }
    }
}

/// `Φ(x)`, by a series that converges everywhere.
fn normal_cdf(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut k) = (x, x, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        k += 2.0;
        term *= x * x / k;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

const MODES: [[f64; 3]; 2] = [[0.3, -2.0, 0.3], [0.7, 1.5, 0.5]];

/// Up to `x`, of two modes with noise.
fn modes_cdf(known: &Known, x: f64, t: f64) -> f64 {
    let p = known.path.at(t);
    let parts = MODES.iter();
    parts
        .map(|[w, m, s]| w * normal_cdf((x - p.alpha * m) / (p.alpha * s).hypot(p.sigma)))
        .sum()
}

#[test]
fn flows_to_two_modes_keep_quantiles() {
    // In one dimension a flow keeps the order, and so every quantile.
    let solvers = [
        (Solver::Euler, 400, 0.02),
        (Solver::Heun, 200, 2e-3),
        (Solver::Midpoint, 200, 2e-3),
        (Solver::Rk4, 200, 1e-5),
        (Solver::Dopri5, 1, 1e-4),
        (Solver::Ddim { eta: 0.0 }, 400, 0.02),
        (Solver::Edm, 100, 2e-3),
        (Solver::DpmSolver, 100, 2e-3),
    ];
    for path in smooth_paths() {
        let known = Known::new(&path, Target::Velocity, &[&MODES]);
        let quantiles: Vec<f64> = (1..40).map(|i| -2.5 + 0.125 * i as f64).collect();
        for (solver, steps, allowed) in solvers {
            let values = from_noise(&known, quantiles.clone(), solver, steps, 0)
                .unwrap()
                .values;
            let start = match solver {
                Solver::Edm | Solver::DpmSolver => still(&known).levels(|high, _, _| high)[0].t,
                _ => 1.0,
            };
            let begun = still(&known).begin(quantiles.clone(), start);
            for (x, value) in begun.iter().zip(values) {
                let (want, got) = (modes_cdf(&known, *x, start), modes_cdf(&known, value, 0.0));
                assert!((want - got).abs() < allowed, "{path:?} {solver}: {want} {got}");
            }
        }
    }
}

#[test]
fn stochastic_solvers_find_two_modes() {
    let n = 2000;
    for path in smooth_paths() {
        let known = Known::new(&path, Target::Noise, &[&MODES]);
        for solver in [Solver::Ddpm, Solver::EulerMaruyama, Solver::PredictorCorrector] {
            let mut values = generate(&known, n, solver, 500, 2).unwrap().values;
            values.sort_by(f64::total_cmp);
            let far = values
                .iter()
                .enumerate()
                .map(|(i, v)| (modes_cdf(&known, *v, 0.0) - (i as f64 + 0.5) / n as f64).abs());
            // Kolmogorov's distance: 2 lies beyond one in a thousand; some is left for the finite step.
            let far = far.fold(0.0, f64::max) * (n as f64).sqrt();
            assert!(far < 2.5, "{path:?} {solver}: {far}");
        }
    }
}

#[test]
fn evaluations_are_counted() {
    let counts = [
        (Solver::Euler, 10, 1),
        (Solver::Midpoint, 20, 1),
        (Solver::Heun, 20, 1),
        (Solver::Rk4, 40, 1),
        (Solver::Ddpm, 10, 0),
        (Solver::Ddim { eta: 0.5 }, 10, 0),
        (Solver::Edm, 19, 0),
        (Solver::ChurnedEdm { churn: 10.0 }, 19, 0),
        (Solver::DpmSolver, 10, 0),
        (Solver::EulerMaruyama, 10, 0),
        (Solver::PredictorCorrector, 19, 0),
    ];
    for (path, singular) in [(Path::Linear, 0), (chain(Schedule::default(), 1000), 1)] {
        for (solver, count, last) in counts {
            let known = Known::gaussian(&path, Target::Velocity);
            let drawn = generate(&known, 3, solver, 10, 1).unwrap();
            assert_eq!(drawn.evaluations, count + singular * last, "{path:?} {solver}");
            assert_eq!(
                drawn.evaluations,
                known.calls.load(Ordering::Relaxed),
                "{path:?} {solver}"
            );
            assert_eq!(drawn.values.len(), 6);
        }
        let known = Known::gaussian(&path, Target::Velocity);
        let drawn = generate(&known, 3, Solver::Dopri5, 10, 1).unwrap();
        assert_eq!(drawn.evaluations, known.calls.load(Ordering::Relaxed));
    }
}

#[test]
fn rows_come_from_the_same_noise_in_any_number() {
    let known = Known::gaussian(&smooth_paths()[2], Target::Noise);
    for solver in Solver::ALL {
        let draw = |rows| generate_rows(&known, rows, solver, 20, 4).unwrap().values;
        let whole = draw(0..10);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            assert_eq!(whole, pool.unwrap().install(|| draw(0..10)), "{solver}");
        }
        let parts = [draw(0..3), draw(3..10)].concat();
        match solver {
            Solver::Dopri5 => assert!(distance(&whole, &parts) < 1e-3),
            Solver::PredictorCorrector => {}
            _ => assert_eq!(whole, parts, "{solver}"),
        }
        let other = generate(&known, 10, solver, 20, 5).unwrap().values;
        assert!(distance(&whole, &other) > 0.1);
        if solver.method().is_some() {
            // No noise on the way.
            assert_eq!(
                from_noise(&known, noise(0..10, 2, 4), solver, 20, 9)
                    .unwrap()
                    .values,
                whole
            );
        }
    }
    let none = generate(&known, 0, Solver::EulerMaruyama, 5, 1).unwrap();
    assert!(none.values.is_empty());
}

#[test]
fn trajectories_are_those_of_the_flow() {
    let times = [1.0, 0.8, 0.8, 0.33, 0.1, 0.0];
    for path in [&Path::Linear, &smooth_paths()[2]] {
        let known = Known::gaussian(path, Target::Velocity);
        for solver in [Solver::Rk4, Solver::Dopri5] {
            let way = trajectory(&known, some_noise(), solver, 100, &times).unwrap();
            let x = still(&known).begin(some_noise(), 1.0);
            assert_eq!((way.states.len(), &way.states[0]), (6, &x));
            for (t, state) in times.iter().zip(&way.states) {
                let [exact, _] = known.flow(&x, 1.0, *t);
                assert!(distance(state, &exact) < 1e-4, "{path:?} {solver} {t}");
            }
            let end = from_noise(&known, some_noise(), solver, 100, 0).unwrap().values;
            assert_eq!(way.states[5], end);
        }
        assert!(trajectory(&known, some_noise(), Solver::Ddpm, 10, &times).is_err());
        assert!(trajectory(&known, some_noise(), Solver::Heun, 10, &[0.5, 0.6]).is_err());
    }
}

#[test]
fn solvers_are_read_as_they_are_written() {
    for solver in Solver::ALL.into_iter().chain([Solver::Ddim { eta: 0.25 }]) {
        assert_eq!(solver.to_string().parse::<Solver>().unwrap(), solver);
        let text = serde_json::to_string(&solver).unwrap();
        assert_eq!(serde_json::from_str::<Solver>(&text).unwrap(), solver);
    }
    let said = "leapfrog".parse::<Solver>().unwrap_err().to_string();
    assert!(said.contains("leapfrog") && said.contains("dpm++"), "{said}");
    assert!("heun:3".parse::<Solver>().is_err() && "ddim:x".parse::<Solver>().is_err());
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let known = Known::gaussian(&chain(Schedule::default(), 100), Target::Noise);
    let said = |solver, steps| generate(&known, 2, solver, steps, 1).unwrap_err().to_string();
    assert!(said(Solver::Heun, 0).contains("0 steps"));
    assert!(said(Solver::Ddpm, 101).contains("100 timesteps"));
    assert!(said(Solver::Ddim { eta: 1.5 }, 10).contains("eta"));
    assert!(said(Solver::ChurnedEdm { churn: -1.0 }, 10).contains("churn"));
    assert!(from_noise(&known, vec![0.0; 3], Solver::Euler, 5, 0).is_err());
    let nowhere = Known::new(&Path::Linear, Target::Velocity, &[&[[1.0, f64::NAN, 1.0]]]);
    for solver in Solver::ALL {
        let said = generate(&nowhere, 2, solver, 5, 1).unwrap_err().to_string();
        assert!(said.contains("NaN") && said.contains("t = "), "{solver}: {said}");
    }
}

#[test]
fn an_error_of_the_noise_stays_one() {
    /// Says 1 % too much.
    struct Off(Known);
    impl Predictor for Off {
        fn numbers(&self) -> usize {
            self.0.numbers()
        }
        fn path(&self) -> &Path {
            &self.0.path
        }
        fn target(&self) -> Target {
            self.0.target
        }
        fn predict(&self, x: &[f64], t: f64) -> Result<Vec<f64>> {
            let values = self.0.predict(x, t)?.into_iter();
            Ok(values.map(|v| 1.01 * v).collect())
        }
    }
    let solvers = [
        Solver::Ddim { eta: 0.0 },
        Solver::Heun,
        Solver::Rk4,
        Solver::Dopri5,
        Solver::Ddpm,
    ];
    // The deepest levels of the cosine chain are 20 000 times as noisy as data, and the end of the straight path more.
    for path in [chain(Schedule::Cosine, 1000), Path::Linear] {
        for target in [Target::Noise, Target::Score] {
            for solver in solvers {
                let known = Known::gaussian(&path, target);
                let exact = generate(&known, 200, solver, 50, 3).unwrap().values;
                let found = generate(&Off(known), 200, solver, 50, 3).unwrap().values;
                let error = distance(&exact, &found);
                assert!(error < 0.12, "{path:?} {target:?} {solver}: {error}");
            }
        }
    }
}

#[test]
fn chains_start_at_the_deepest_level_that_counts() {
    let start = |path: &Path, target, steps| {
        let known = Known::gaussian(path, target);
        let grid = Walk::new(&known, 0, 0, steps, 0).unwrap().grid(evenly).unwrap();
        (grid[0], grid.len() - 1)
    };
    let cosine = chain(Schedule::Cosine, 1000);
    for target in [Target::Noise, Target::Score, Target::Velocity] {
        assert_eq!(start(&cosine, target, 50), (0.995, 50));
        // A step for each level, and none that goes nowhere.
        assert_eq!(start(&cosine, target, 1000), (0.995, 995));
        assert_eq!(
            start(&chain(Schedule::default(), 1000), target, 1000),
            (1.0, 1000)
        );
    }
    assert_eq!(start(&cosine, Target::V, 50), (1.0, 50));
}

/// Also where shorter steps to data would meet a level twice.
#[test]
fn no_level_of_a_chain_comes_twice() {
    let path = chain(Schedule::default(), 1000);
    let known = Known::gaussian(&path, Target::Noise);
    for steps in [1, 10, 50, 250, 999, 1000] {
        let walk = Walk::new(&known, 0, 0, steps, 0).unwrap();
        for place in [evenly, quadratically] {
            let grid = walk.grid(place).unwrap();
            assert_eq!((grid.len(), grid[0], grid[steps]), (steps + 1, 1.0, 0.0));
            assert!(grid.windows(2).all(|pair| pair[0] > pair[1]), "{steps}");
        }
    }
}

/// A Gaussian keeps its variance but for the error of the steps, which the recursion of a linear map tells.
#[test]
fn fifty_steps_of_ddim_keep_the_variance_of_wide_and_narrow_data() {
    let path = chain(Schedule::default(), 1000);
    for (deviation, evenly) in [(0.17, 0.72), (0.55, 0.90), (1.0, 0.93)] {
        let known = Known::new(&path, Target::V, &[&[[1.0, 0.0, deviation]]]);
        let found = from_noise(&known, vec![1.0], Solver::Ddim { eta: 0.0 }, 50, 0).unwrap();
        let kept = (found.values[0] / deviation).powi(2);
        assert!(kept > 0.9 && kept > evenly && kept < 1.0, "{deviation}: {kept}");
    }
}
