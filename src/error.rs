//! One error for the whole crate: what, where, and what to do, in one line.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What the library returns and the command line prints as one line before it exits with code 2.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or written; the text says why and what to do.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// A setting or value that makes no sense; the text says which and what is allowed.
    #[error("{0}")]
    Invalid(String),
    /// The output could not be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
    /// A sampler could not start.
    #[error(transparent)]
    Sample(#[from] armilla_samplers::SampleError),
    /// A density could not be evaluated.
    #[error(transparent)]
    Eval(#[from] armilla_samplers::EvalError),
    /// A network, a training or a checkpoint failed.
    #[error(transparent)]
    Model(#[from] armilla_models::ModelError),
}

impl Error {
    /// An error about the file at `path`.
    pub fn file(path: impl AsRef<Path>, what: impl ToString) -> Self {
        Self::File {
            path: path.as_ref().to_owned(),
            what: what.to_string(),
        }
    }
}

/// The result of fallible functions of this crate.
pub type Result<T> = std::result::Result<T, Error>;
