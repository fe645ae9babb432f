//! Walk downhill by values alone, with a simplex that turns over and over.

use serde::{Deserialize, Serialize};

use super::Optimiser;
use super::laplace::{self, Derivatives};
use super::lbfgs::LEAST_GAIN;
use super::objective::Trace;
use super::walk::{Ground, Walk, finite};
use crate::error::{EvalError, SampleError};
use crate::likelihood::Likelihood;

/// The simplex of Nelder & Mead (1965, doi:10.1093/comjnl/7.4.308) on the real line, with the coefficients of
/// Gao & Han (2012, doi:10.1007/s10589-010-9329-3): no gradient is needed. It suits up to about ten parameters.
///
/// A simplex can collapse where there is no optimum (McKinnon 1998, doi:10.1137/S1052623496303482), so a new
/// one is put about the point that one has come to, until that gains nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NelderMead {
    /// The most iterations, over all simplices; each takes one or two values, seldom one per parameter.
    pub iterations: usize,
    /// The edges of the first simplex, on the real line, where priors have a width of order one.
    pub size: f64,
}

impl Default for NelderMead {
    fn default() -> Self {
        Self {
            iterations: 2000,
            size: 0.5,
        }
    }
}

/// A new simplex that gains less than this many nats was the last: a tenth of what an optimum may lack.
const LEAST_RESTART_GAIN: f64 = 1e-4;
/// Each simplex begins with edges shorter by this factor than the one before.
const SHRINK: f64 = 0.3;

/// A value and where it was met.
type Corner = (f64, Vec<f64>);

/// Nelder–Mead between two iterations.
#[derive(Serialize, Deserialize)]
pub struct NelderMeadState {
    /// From the lowest to the highest.
    corners: Vec<Corner>,
    /// The edges the simplex began with, and the value.
    size: f64,
    from: f64,
}

/// What fails is infinitely high.
fn corner<L: Likelihood>(
    ground: &Ground<'_, '_, L>,
    z: Vec<f64>,
    trace: &mut Trace,
) -> Result<Corner, EvalError> {
    let value = match ground.height(&z) {
        Err(EvalError::Fatal(message)) => return Err(EvalError::Fatal(message)),
        value => value.unwrap_or(f64::INFINITY),
    };
    trace.note(value, &z);
    Ok((value, z))
}

/// The point at `t` on the line from `a` (0) to `b` (1).
fn along(a: &[f64], b: &[f64], t: f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + t * (b - a)).collect()
}

impl NelderMeadState {
    /// A simplex with a corner at `lowest`, the others towards the middle of the real line.
    fn about<L: Likelihood>(
        ground: &Ground<'_, '_, L>,
        lowest: Corner,
        size: f64,
        trace: &mut Trace,
    ) -> Result<Self, EvalError> {
        let (from, centre) = lowest.clone();
        let mut corners = vec![lowest];
        for (index, &middle) in centre.iter().enumerate() {
            let mut z = centre.clone();
            z[index] += if middle > 0.0 { -size } else { size };
            corners.push(corner(ground, z, trace)?);
        }
        corners.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(Self { corners, size, from })
    }

    /// Replaces the highest corner or, where no try is lower, all but the lowest.
    fn turn<L: Likelihood>(
        &mut self,
        ground: &Ground<'_, '_, L>,
        trace: &mut Trace,
    ) -> Result<(), EvalError> {
        let dim = self.corners.len() - 1;
        // Those for half as many parameters took fewer values here, up to ten, than their own; for two they
        // are those of 1965.
        let n = (dim / 2).max(2) as f64;
        let (expansion, contraction, shrinkage) = (1.0 + 2.0 / n, 0.75 - 0.5 / n, 1.0 - 1.0 / n);
        let Some((highest, rest)) = self.corners.split_last_mut() else {
            return Ok(());
        };
        let (Some(lowest), Some(second)) = (rest.first(), rest.last()) else {
            return Ok(());
        };
        let mut centre = vec![0.0; dim];
        for (_, z) in rest.iter() {
            let sums = centre.iter_mut().zip(z);
            sums.for_each(|(sum, z)| *sum += z / dim as f64);
        }
        let mut at = |t: f64| corner(ground, along(&centre, &highest.1, t), trace);
        let reflected = at(-1.0)?;
        let next = if reflected.0 < lowest.0 {
            let expanded = at(-expansion)?;
            Some(if expanded.0 < reflected.0 {
                expanded
            } else {
                reflected
            })
        } else if reflected.0 < second.0 {
            Some(reflected)
        } else {
            let outside = reflected.0 < highest.0;
            let contracted = at(if outside { -contraction } else { contraction })?;
            (contracted.0 < reflected.0.min(highest.0)).then_some(contracted)
        };
        match next {
            Some(corner) => *highest = corner,
            None => {
                let (_, lowest) = self.corners[0].clone();
                for other in &mut self.corners[1..] {
                    *other = corner(ground, along(&lowest, &other.1, shrinkage), trace)?;
                }
            }
        }
        self.corners.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(())
    }
}

impl<L: Likelihood> Optimiser<L> for NelderMead {}

impl<L: Likelihood> Walk<L> for NelderMead {
    type State = NelderMeadState;
    type Fallback = Self;

    const NAME: &'static str = "Nelder–Mead";

    fn iterations(&self) -> usize {
        self.iterations
    }

    fn check(&self) -> Result<(), SampleError> {
        if self.iterations == 0 || !(self.size > 0.0 && self.size.is_finite()) {
            let message = format!("{self:?}: iterations and size must be positive");
            return Err(SampleError::Invalid(message));
        }
        Ok(())
    }

    fn begin(
        &self,
        ground: &Ground<'_, '_, L>,
        z: Vec<f64>,
        trace: &mut Trace,
    ) -> Result<NelderMeadState, EvalError> {
        // The first corner must be on solid ground.
        let value = finite(ground.height(&z)?)?;
        trace.note(value, &z);
        trace.history.push(value);
        NelderMeadState::about(ground, (value, z), self.size, trace)
    }

    fn advance(
        &self,
        ground: &Ground<'_, '_, L>,
        state: &mut NelderMeadState,
        trace: &mut Trace,
    ) -> Result<bool, EvalError> {
        state.turn(ground, trace)?;
        let (lowest, highest) = (&state.corners[0], &state.corners[state.corners.len() - 1]);
        trace.history.push(lowest.0);
        if highest.0 - lowest.0 > LEAST_GAIN {
            return Ok(false);
        }
        // The first simplex has nothing to compare with.
        if state.size < self.size && state.from - lowest.0 < LEAST_RESTART_GAIN {
            trace.status = "a new simplex gains nothing".into();
            return Ok(true);
        }
        *state = NelderMeadState::about(ground, lowest.clone(), SHRINK * state.size, trace)?;
        Ok(false)
    }

    fn derivatives(ground: &Ground<'_, '_, L>, z: &[f64]) -> Result<Derivatives, EvalError> {
        laplace::by_values(ground, z)
    }
}
