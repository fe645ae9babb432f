//! Differentiate in one coordinate by extrapolated central differences.

use crate::error::EvalError;

/// The widest step, as a fraction of the coordinate or, where that is below one, of one.
const WIDEST: f64 = 0.25;
/// The log density may change by 1 over the widest difference, or by this fraction of itself: enough to be
/// seen over its rounding.
const CHANGE: f64 = 1e-3;
/// Where it changes by less than this, the step grows.
const FLAT: f64 = 1e-2;
/// Quarterings of the step before giving up.
const QUARTERINGS: usize = 40;
/// Differences in the table, each over half the step of the last.
const LEVELS: usize = 8;

/// A derivative by finite differences.
pub(super) struct Numerical {
    pub(super) derivative: f64,
    /// Its estimated error.
    pub(super) error: f64,
    /// The widest step of its differences.
    pub(super) step: f64,
}

/// One coordinate's function: `None` where it is not finite.
pub(super) type Along<'a> = dyn FnMut(f64) -> Result<Option<f64>, EvalError> + 'a;

/// The derivative of `f` at `at`, where it is `value`; `None` where no step is found over which it is finite
/// and settled.
pub(super) fn differentiate(f: &mut Along<'_>, at: f64, value: f64) -> Result<Option<Numerical>, EvalError> {
    let Some(step) = find_step(f, at, value)? else {
        return Ok(None);
    };
    // table[i][j]: differences over step / 2^i, their errors of order up to 2j removed.
    let mut table: Vec<Vec<f64>> = Vec::with_capacity(LEVELS);
    let mut rows: Vec<Row> = Vec::with_capacity(LEVELS);
    for i in 0..LEVELS {
        let h = step / f64::from(1u32 << i);
        let (right, left) = (at + h, at - h);
        let (Some(above), Some(below)) = (f(right)?, f(left)?) else {
            return Ok(None);
        };
        if right == left {
            break;
        }
        let mut differences = vec![(above - below) / (right - left)];
        let rounding = 2.0 * f64::EPSILON * (above.abs() + below.abs()) / (right - left);
        let mut best = (differences[0], f64::INFINITY);
        if let Some(coarser) = table.last() {
            let mut factor = 1.0;
            for (j, &coarse) in coarser.iter().enumerate() {
                factor *= 4.0;
                let given = differences[j];
                let refined = given + (given - coarse) / (factor - 1.0);
                let error = (refined - given).abs().max((refined - coarse).abs()) + rounding;
                if error < best.1 {
                    best = (refined, error);
                }
                differences.push(refined);
            }
            rows.push(Row {
                derivative: best.0,
                error: best.1,
                once_refined: differences[1],
                h,
            });
        }
        table.push(differences);
    }
    let noise = noise(&rows);
    let error = |row: &Row| row.error + noise / row.h;
    let best = rows.iter().min_by(|a, b| error(a).total_cmp(&error(b)));
    Ok(best.map(|row| Numerical {
        derivative: row.derivative,
        error: error(row),
        step,
    }))
}

/// The best extrapolation to a step of zero from steps down to `h`.
struct Row {
    derivative: f64,
    /// As far as its neighbours in the table tell.
    error: f64,
    /// The difference over `h` with its leading error removed.
    once_refined: f64,
    h: f64,
}

/// How far values are off the smooth function they stand for, as by rounding in single precision: over the
/// finest steps nothing else is left of the differences between rows. Small steps in the table may be luck,
/// more so with values on a lattice; three of them in a row hardly.
fn noise(rows: &[Row]) -> f64 {
    let finest = rows.windows(2).rev().take(3);
    finest
        .map(|pair| (pair[1].once_refined - pair[0].once_refined).abs() * pair[1].h)
        .fold(0.0, f64::max)
}

/// A step over which `f` is finite and changes by about one, if it changes at all.
fn find_step(f: &mut Along<'_>, at: f64, value: f64) -> Result<Option<f64>, EvalError> {
    let mut change = |step: f64| -> Result<f64, EvalError> {
        let (Some(above), Some(below)) = (f(at + step)?, f(at - step)?) else {
            return Ok(f64::INFINITY);
        };
        Ok((above - value).abs().max((below - value).abs()))
    };
    let widest = WIDEST * at.abs().max(1.0);
    let most = (CHANGE * value.abs()).max(1.0);
    let mut step = if at == 0.0 { widest } else { WIDEST * at.abs() };
    let mut changed = change(step)?;
    for _ in 0..QUARTERINGS {
        if changed <= most {
            break;
        }
        step /= 4.0;
        changed = change(step)?;
    }
    if changed > most {
        return Ok(None);
    }
    while changed < FLAT && 4.0 * step <= widest {
        changed = change(4.0 * step)?;
        if changed > most {
            break;
        }
        step *= 4.0;
    }
    Ok(Some(step))
}
