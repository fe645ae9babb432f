//! Show progress on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of `length` steps after a label. It is hidden where `shown` is false, as with `--json` and `--quiet`, and where
/// standard error is not a terminal.
///
/// ```
/// let bar = armilla::cli::progress::bar(100, "simulating", false);
/// for _ in 0..100 {
///     bar.inc(1);
/// }
/// bar.finish_and_clear();
/// assert!(bar.is_hidden());
/// ```
pub fn bar(length: u64, label: &'static str, shown: bool) -> ProgressBar {
    // Ten a second are smooth, and cost nothing however many steps there are.
    let target = if shown {
        ProgressDrawTarget::stderr_with_hz(10)
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed} (left {eta}) ")
        // A template that did not parse would be a mistake above; the plain style still shows the bar.
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target)
        .with_style(style)
        .with_message(label)
}
