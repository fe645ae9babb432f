//! Say what a network, a training or a checkpoint could not do, and what to change.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What the models crate returns.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Tensors whose sizes do not fit an operation; the text names it and both shapes.
    #[error("{operation}: {what}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// Both shapes.
        what: String,
    },
    /// A setting that makes no sense; the text says which and what is allowed.
    #[error("{0}")]
    Invalid(String),
    /// A checkpoint that cannot be read or written, or belongs to another network.
    #[error("{}: {what}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// A differential equation that cannot be solved; the text says where it stopped and what to change.
    #[error("solver: {0}")]
    Solver(String),
    /// The device failed: out of memory, for one.
    #[error("device: {0}")]
    Device(String),
}

impl ModelError {
    pub(crate) fn shape(operation: &'static str, what: impl Into<String>) -> Self {
        Self::Shape {
            operation,
            what: what.into(),
        }
    }

    pub(crate) fn checkpoint(path: impl AsRef<Path>, what: impl ToString) -> Self {
        Self::Checkpoint {
            path: path.as_ref().to_owned(),
            what: what.to_string(),
        }
    }

    /// An error of a dfdx device.
    pub(crate) fn device(error: impl std::fmt::Debug) -> Self {
        Self::Device(format!("{error:?}"))
    }
}

/// The result of fallible functions of this crate.
pub type Result<T> = std::result::Result<T, ModelError>;
