//! Say what went wrong, where, and what to do about it.

use thiserror::Error;

/// Why a density could not be evaluated at a point.
///
/// A point outside the support is no error: its log density is `-inf`.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EvalError {
    /// This point cannot be evaluated, others can: a sampler rejects it (HMC counts a divergence).
    #[error("{0}")]
    Recoverable(String),
    /// No point can be evaluated any more: the run ends and keeps what was drawn.
    #[error("{0}")]
    Fatal(String),
}

/// Why a sampler could not start, or has nothing to return.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SampleError {
    /// The settings or the composition make no sense; the text says which and what to do.
    #[error("{0}")]
    Invalid(String),
    /// No starting point with a finite log density was found.
    #[error(
        "no point with a finite log density among {tries} tries (the last: {last}): evaluate the log density where \
         you expect the parameters to be"
    )]
    NoStart {
        /// How many points were tried: draws from the prior, or all cells of a grid.
        tries: usize,
        /// What the last try gave.
        last: String,
    },
    /// A file of the run could not be read or written; the text says which and why.
    #[error("{0}")]
    File(String),
    /// The density failed before anything was drawn.
    #[error("the density could not be evaluated: {0}")]
    Eval(#[from] EvalError),
}
