//! Put the verdicts into words and a table.

use std::fmt;

use super::{Derivative, GradientCheck, Problem, SAFETY, TOLERANCE, Verdict};

impl Derivative {
    /// The verdict in words.
    fn words(&self) -> String {
        let Self {
            analytic,
            numerical,
            error,
            verdict,
        } = *self;
        let same = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()) + SAFETY * error;
        match verdict {
            Verdict::Agrees => "agrees".into(),
            Verdict::Undetermined if numerical.is_nan() => {
                "undetermined: no finite, settled values around this point".into()
            }
            Verdict::Undetermined => "undetermined: the values around this point are too rough".into(),
            Verdict::Wrong if !analytic.is_finite() => {
                "WRONG: no finite number; write each derivative, add to none".into()
            }
            Verdict::Wrong if analytic == 0.0 => "WRONG: zero, yet the value changes".into(),
            Verdict::Wrong if same(numerical, 0.0) => "WRONG: should be zero".into(),
            Verdict::Wrong if same(analytic, -numerical) => "WRONG: has the opposite sign".into(),
            Verdict::Wrong => format!("WRONG: {:.4} times the numerical one", analytic / numerical),
        }
    }
}

impl fmt::Display for GradientCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.points.len();
        for (i, name) in self.names.iter().enumerate() {
            let (wrong, right) = (self.count(i, Verdict::Wrong), self.count(i, Verdict::Agrees));
            if wrong > 0 {
                writeln!(
                    f,
                    "The derivative in {name} is WRONG at {wrong} of {total} points."
                )?;
            } else if right == 0 {
                writeln!(f, "The derivative in {name} could not be checked.")?;
            } else {
                writeln!(f, "The derivative in {name} agrees at {right} of {total} points.")?;
            }
        }
        let width = self.names.iter().map(|name| name.chars().count()).max();
        let width = width.unwrap_or(0).max("parameter".len());
        for point in &self.points {
            writeln!(f, "\nat {}", point.place)?;
            match &point.problem {
                Some(Problem::Skipped(why)) => writeln!(f, "  not checked: {why}")?,
                Some(Problem::Inconsistent(what)) => writeln!(f, "  INCONSISTENT: {what}")?,
                None => {}
            }
            if !point.derivatives.is_empty() {
                let (analytic, numerical) = ("gradient", "numerical");
                writeln!(
                    f,
                    "  {:width$}  {analytic:>13}  {numerical:>13}  {:>8}",
                    "parameter", "±"
                )?;
            }
            for (name, derivative) in self.names.iter().zip(&point.derivatives) {
                let Derivative {
                    analytic,
                    numerical,
                    error,
                    ..
                } = derivative;
                let words = derivative.words();
                writeln!(
                    f,
                    "  {name:width$}  {analytic:>13.6e}  {numerical:>13.6e}  {error:>8.1e}  {words}"
                )?;
            }
        }
        Ok(())
    }
}
