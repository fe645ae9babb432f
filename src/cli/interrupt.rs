//! Let Ctrl-C end what is going on with what was done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// The exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// A flag that Ctrl-C raises. Once raised, another Ctrl-C ends the program at once.
pub(super) fn flag() -> Result<Arc<AtomicBool>> {
    let interrupt = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupt);
    let handler = move || {
        // Who asks twice does not want to wait for the step to end.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    };
    ctrlc::set_handler(handler).map_err(|e| Error::Invalid(format!("Ctrl-C cannot be handled: {e}")))?;
    Ok(interrupt)
}
