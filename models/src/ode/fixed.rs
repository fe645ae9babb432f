//! Solve in equal steps.

use super::{Counted, Solution, Tableau, dense::Asked, dense::Interpolant};
use crate::error::Result;

/// From `span[0]` to `span[1]` in `steps` equal steps.
pub(super) fn solve(
    tableau: &Tableau,
    field: &mut Counted,
    mut x: Vec<f64>,
    span: [f64; 2],
    steps: usize,
    asked: &mut Asked,
) -> Result<Solution> {
    let at = |i: usize| {
        if i == steps {
            span[1]
        } else {
            span[0] + (span[1] - span[0]) * i as f64 / steps as f64
        }
    };
    asked.meet(span[0], &x);
    // The derivative where the step starts, if it is already known.
    let mut known = None;
    for i in 0..steps {
        let (from, to) = (at(i), at(i + 1));
        let k = tableau.stages(&x, [from, to], known.take(), |x, t| field.at(t, x))?;
        let end = Tableau::combine(&x, to - from, tableau.b, &k);
        if asked.before(to) {
            let last = field.at(to, &end)?;
            asked.pass(&Interpolant {
                times: [from, to],
                states: [&x, &end],
                rates: [&k[0], &last],
                fourth: Vec::new(),
            });
            known = Some(last);
        }
        x = end;
        asked.meet(to, &x);
    }
    Ok(Solution {
        x,
        evaluations: field.evaluations,
        steps,
        rejected: 0,
    })
}
