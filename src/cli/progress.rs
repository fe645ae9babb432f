//! Show progress on standard error.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use armilla_models::train::{Epoch, Event};
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

/// Shows a training: a bar for its steps and a line for every epoch.
pub(super) struct Training {
    bar: ProgressBar,
    start: Instant,
    epochs: usize,
}

impl Training {
    pub(super) fn new(bar: &ProgressBar) -> Self {
        Self {
            bar: bar.clone(),
            start: Instant::now(),
            epochs: 0,
        }
    }

    /// Show what the training says.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Step { step, total, .. } => self.step("training", *step, *total),
            Event::Refining { done, total } => self.step("refining", *done, *total),
            Event::Validated { epoch, .. } => self.epoch(epoch),
            _ => {}
        }
    }

    fn step(&self, label: &'static str, done: usize, total: usize) {
        if self.bar.message() != label {
            self.bar.set_message(label);
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn epoch(&mut self, epoch: &Epoch) {
        self.epochs += 1;
        let line = format!(
            "epoch {:>3}  step {:>6}  train {:.5}  validation {:.5}  rate {:.1e}  {:>6.1} s{}",
            self.epochs,
            epoch.step,
            epoch.train_loss,
            epoch.validation_loss,
            epoch.learning_rate,
            self.start.elapsed().as_secs_f64(),
            if epoch.best { "  best" } else { "" }
        );
        self.bar.suspend(|| {
            // With standard error closed there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{line}");
        });
    }
}

/// Shows that something is going on whose length is not known.
pub(super) fn spinner(label: &'static str) -> ProgressBar {
    let spinner =
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)).with_message(label);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
