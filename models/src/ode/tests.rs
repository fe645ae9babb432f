use super::*;

const FIXED: [(Method, f64, usize); 4] = [
    (Method::Euler, 2.0, 1),
    (Method::Midpoint, 4.0, 2),
    (Method::Heun, 4.0, 2),
    (Method::Rk4, 16.0, 4),
];

/// `x' = −x + 2 cos t` has the solution `e^{−t} (x_0 − 1) + cos t + sin t`.
fn forced(t: f64, x: &[f64]) -> Result<Vec<f64>> {
    Ok(x.iter().map(|x| 2.0 * t.cos() - x).collect())
}

fn forced_solution(x0: f64, t: f64) -> f64 {
    (-t).exp() * (x0 - 1.0) + t.cos() + t.sin()
}

/// A circle, once around in 2π.
fn circle(_: f64, x: &[f64]) -> Result<Vec<f64>> {
    Ok(vec![-x[1], x[0]])
}

fn dopri(tolerance: f64) -> Method {
    Method::DormandPrince {
        relative: tolerance,
        absolute: tolerance,
    }
}

#[test]
fn halving_the_step_divides_the_error_by_the_order() {
    let starts = [0.3, -2.0, 5.0];
    for (method, factor, evaluations) in FIXED {
        let error = |steps: usize, from: f64, to: f64| {
            let x = starts.map(|s| forced_solution(s, from)).to_vec();
            let end = solve(&mut forced, x, from, to, method, steps).unwrap();
            assert_eq!(end.evaluations, evaluations * steps);
            assert_eq!((end.steps, end.rejected), (steps, 0));
            let errors = end.x.iter().zip(starts);
            errors
                .map(|(x, s)| (x - forced_solution(s, to)).abs())
                .fold(0.0, f64::max)
        };
        for (from, to) in [(0.0, 2.0), (2.0, 0.0)] {
            let ratio = error(40, from, to) / error(80, from, to);
            assert!((ratio / factor - 1.0).abs() < 0.1, "{method:?} {from}: {ratio}");
        }
    }
}

#[test]
fn coefficients_are_those_of_their_order() {
    let all = FIXED.map(|(method, ..)| method).into_iter().chain([dopri(1e-3)]);
    for method in all {
        let Tableau { a, b, c } = method.tableau();
        assert!((b.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        for (row, c) in a.iter().zip(*c) {
            assert!((row.iter().sum::<f64>() - c).abs() < 1e-13, "{method:?}");
        }
    }
    // What is of fourth order differs by what sums to nothing.
    assert!(tableau::DIFFERENCE.iter().sum::<f64>().abs() < 1e-15);
    assert!(tableau::INTERPOLANT.iter().sum::<f64>().abs() < 1e-12);
}

#[test]
fn equal_steps_of_dormand_and_prince_are_of_fifth_order() {
    let error = |steps: usize| {
        let start = vec![5.0];
        let mut counted = Counted {
            field: &mut forced,
            evaluations: 0,
        };
        let mut asked = Asked::new(&[], true);
        let end = fixed::solve(
            &tableau::DORMAND_PRINCE,
            &mut counted,
            start,
            [0.0, 2.0],
            steps,
            &mut asked,
        );
        (end.unwrap().x[0] - forced_solution(5.0, 2.0)).abs()
    };
    let ratio = error(80) / error(160);
    assert!((ratio / 32.0 - 1.0).abs() < 0.2, "{ratio}");
}

#[test]
fn errors_of_dormand_and_prince_follow_the_tolerance() {
    // Long: 16 times around, both ways.
    let to = 32.0 * std::f64::consts::PI;
    for end in [to, -to] {
        let mut steps = Vec::new();
        for tolerance in [1e-4, 1e-6, 1e-8, 1e-10] {
            let end = solve(&mut circle, vec![1.0, 0.0], 0.0, end, dopri(tolerance), 0).unwrap();
            let error = (end.x[0] - 1.0).hypot(end.x[1]);
            assert!(error < 100.0 * tolerance, "{tolerance}: {error}");
            // One at the start, one for the first step, six for each attempt.
            assert_eq!(end.evaluations, 2 + 6 * (end.steps + end.rejected));
            steps.push(end.steps as f64);
        }
        // A hundredth of the error takes 100^(1/5) times as many.
        for pair in steps.windows(2) {
            let ratio = pair[1] / pair[0];
            assert!((ratio / 100f64.powf(0.2) - 1.0).abs() < 0.15, "{ratio}");
        }
    }
    // Rather stiff: x' = 500 (cos t − x), whose fast part dies out at once.
    let mut stiff = |t: f64, x: &[f64]| Ok(x.iter().map(|x| 500.0 * (t.cos() - x)).collect());
    let end = solve(&mut stiff, vec![3.0], 0.0, 5.0, dopri(1e-6), 0).unwrap();
    let exact = (250_000.0 * 5f64.cos() + 500.0 * 5f64.sin()) / 250_001.0;
    assert!((end.x[0] - exact).abs() < 1e-5, "{} {exact}", end.x[0]);
    assert!(end.steps < 1500, "{}", end.steps);
}

#[test]
fn states_are_read_between_steps() {
    let times: Vec<f64> = (0..=37).map(|i| 2.0 * i as f64 / 37.0).collect();
    let worst = |from: f64, to: f64, method: Method, steps: usize| {
        let times: Vec<f64> = times.iter().map(|t| from + (to - from) * 0.5 * t).collect();
        let x = vec![forced_solution(4.0, from)];
        let (end, states) = solve_through(&mut forced, x, from, to, &times, method, steps).unwrap();
        assert_eq!(states.len(), times.len());
        assert_eq!((&states[37], states[0][0]), (&end.x, forced_solution(4.0, from)));
        let errors = times.iter().zip(&states);
        let worst = errors
            .map(|(t, x)| (x[0] - forced_solution(4.0, *t)).abs())
            .fold(0.0, f64::max);
        (worst, end)
    };
    for (from, to) in [(0.0, 2.0), (2.0, 0.0)] {
        // The cubic is as good as the method of fourth order.
        let (coarse, end) = worst(from, to, Method::Rk4, 10);
        assert_eq!(end.evaluations, 41);
        let (fine, _) = worst(from, to, Method::Rk4, 20);
        let end = (fine, coarse / fine);
        assert!(end.0 < 1e-5 && (9.0..25.0).contains(&end.1), "{end:?}");
        let (error, end) = worst(from, to, dopri(1e-8), 0);
        assert!(error < 1e-7, "{error}");
        // Reading is free, and does not change the steps.
        let x = vec![forced_solution(4.0, from)];
        assert_eq!(solve(&mut forced, x, from, to, dopri(1e-8), 0).unwrap(), end);
    }
    // Asked at nodes alone, nothing is evaluated more often.
    let nodes = [0.5, 1.0, 1.0, 2.0];
    let (end, states) = solve_through(&mut forced, vec![4.0], 0.0, 2.0, &nodes, Method::Heun, 4).unwrap();
    assert_eq!((end.evaluations, states.len()), (8, 4));
    assert_eq!((&states[1], &states[3]), (&states[2], &end.x));
}

#[test]
fn nothing_moves_in_no_time() {
    for method in [Method::Rk4, dopri(1e-6)] {
        let (end, states) = solve_through(&mut circle, vec![1.0, 2.0], 0.5, 0.5, &[0.5], method, 3).unwrap();
        assert_eq!((end.evaluations, end.x), (0, states[0].clone()));
    }
}

#[test]
fn what_cannot_be_solved_is_said() {
    let text = |outcome: Result<Solution>| outcome.unwrap_err().to_string();
    let mut nan = |t: f64, x: &[f64]| Ok(vec![if t > 0.5 { f64::NAN } else { x[0] }]);
    for method in [Method::Euler, dopri(1e-6)] {
        let said = text(solve(&mut nan, vec![1.0], 0.0, 1.0, method, 10));
        assert!(said.contains("NaN") && said.contains("number 0"), "{said}");
    }
    // Infinite at t = 1.
    let mut pole = |_: f64, x: &[f64]| Ok(vec![x[0] * x[0]]);
    let said = text(solve(&mut pole, vec![1.0], 0.0, 2.0, dopri(1e-6), 0));
    assert!(said.contains("singular"), "{said}");
    let mut stiff = |t: f64, x: &[f64]| Ok(vec![1e6 * (t.cos() - x[0])]);
    let said = text(solve(&mut stiff, vec![1.0], 0.0, 10.0, dopri(1e-6), 0));
    assert!(said.contains("100000 steps") && said.contains("stiff"), "{said}");
    let mut short = |_: f64, _: &[f64]| Ok(vec![0.0]);
    let said = text(solve(&mut short, vec![1.0, 2.0], 0.0, 1.0, Method::Heun, 1));
    assert!(said.contains("1 numbers for a state of 2"), "{said}");
    assert!(solve(&mut circle, vec![1.0, 0.0], 0.0, 1.0, Method::Rk4, 0).is_err());
    assert!(solve(&mut circle, vec![1.0, 0.0], 0.0, f64::INFINITY, Method::Rk4, 1).is_err());
    assert!(solve(&mut circle, vec![1.0, 0.0], 0.0, 1.0, dopri(0.0), 1).is_err());
    for times in [[0.6, 0.5], [0.5, 1.5]] {
        let outcome = solve_through(&mut circle, vec![1.0, 0.0], 0.0, 1.0, &times, Method::Rk4, 4);
        assert!(outcome.unwrap_err().to_string().contains("in order"));
    }
    // What the derivative says comes through.
    let mut fails = |_: f64, _: &[f64]| Err(ModelError::Device("full".into()));
    assert!(text(solve(&mut fails, vec![1.0], 0.0, 1.0, Method::Rk4, 4)).contains("full"));
}
