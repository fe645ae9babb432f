//! Refuse settings that make no sense, in words.

use crate::error::SampleError;

/// # Errors
/// `Invalid` where a target acceptance is no probability, or leaves nothing to aim at.
pub(crate) fn check_acceptance(target_acceptance: f64) -> Result<(), SampleError> {
    if 0.0 < target_acceptance && target_acceptance < 1.0 {
        return Ok(());
    }
    let message = format!("target_acceptance is {target_acceptance}: choose it between 0 and 1");
    Err(SampleError::Invalid(message))
}

/// # Errors
/// `Invalid` where a path has no length.
pub(crate) fn check_path_length(path_length: f64) -> Result<(), SampleError> {
    if path_length > 0.0 && path_length.is_finite() {
        return Ok(());
    }
    let message = format!("path_length is {path_length}: choose a positive one");
    Err(SampleError::Invalid(message))
}

/// # Errors
/// `Invalid` where a path may not take a step.
pub(crate) fn check_leapfrogs(max_leapfrogs: usize) -> Result<(), SampleError> {
    if max_leapfrogs > 0 {
        return Ok(());
    }
    let message = "max_leapfrogs is 0: allow at least one";
    Err(SampleError::Invalid(message.into()))
}
