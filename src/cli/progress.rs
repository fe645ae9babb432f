//! Show progress on standard error.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use armilla_models::train::{Epoch, Event, Trainer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::EpochReport;

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

/// Shows a training: a bar for its steps, and a line or a report for every epoch.
pub(super) struct Training {
    bar: ProgressBar,
    reports: bool,
    lap: Instant,
    settings: Trainer,
    /// Epochs in all.
    epochs: usize,
    /// What the epoch that comes next belongs to.
    label: &'static str,
}

const TRAINING: &str = "training";
const REFINING: &str = "refining";

impl Training {
    /// A line for every epoch.
    pub(super) fn new(bar: &ProgressBar) -> Self {
        Self {
            bar: bar.clone(),
            reports: false,
            lap: Instant::now(),
            settings: Trainer::default(),
            epochs: 0,
            label: TRAINING,
        }
    }

    /// A report for every epoch.
    pub(super) fn with_reports(bar: &ProgressBar) -> Self {
        Self {
            reports: true,
            ..Self::new(bar)
        }
    }

    /// Show what the training says.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started {
                trainer,
                step,
                total,
                epochs,
                warmup,
            } => {
                (self.settings, self.epochs, self.lap) = (**trainer, *epochs, Instant::now());
                self.step(TRAINING, *step, *total);
                // The time that is left follows from the steps of this process alone.
                self.bar.reset_eta();
                if *step > 0 {
                    self.say(&format!("note: resumed at step {step} of {total}\n"));
                }
                if warmup > total {
                    self.say(&format!(
                        "note: the learning rate rises over {warmup} steps, of which only {total} are made\n"
                    ));
                }
            }
            Event::Step { step, total, .. } => self.step(TRAINING, *step, *total),
            Event::Refining { done, total } => self.step(REFINING, *done, *total),
            Event::Validated { epoch, history, .. } => {
                let seconds = std::mem::replace(&mut self.lap, Instant::now())
                    .elapsed()
                    .as_secs_f64();
                let text = if self.reports {
                    self.report(epoch, history.len(), seconds)
                } else {
                    line(epoch, history.len(), seconds)
                };
                self.say(&text);
            }
            _ => {}
        }
    }

    fn step(&mut self, label: &'static str, done: usize, total: usize) {
        if self.label != label {
            self.label = label;
            self.bar.set_message(label);
            self.bar.reset_eta();
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| {
            // With standard error closed there is nobody left to tell.
            let _ = io::stderr().write_all(text.as_bytes());
        });
    }

    fn report(&self, epoch: &Epoch, number: usize, seconds: f64) -> String {
        let refined = self.label == REFINING;
        EpochReport {
            trainer: &self.settings,
            epoch,
            number,
            epochs: self.epochs,
            refined,
            seconds,
        }
        .to_string()
    }
}

fn line(epoch: &Epoch, number: usize, seconds: f64) -> String {
    format!(
        "epoch {number:>3}  step {:>6}  train {:.5}  validation {:.5}  rate {:.1e}  {seconds:>6.1} s{}\n",
        epoch.step,
        epoch.train_loss,
        epoch.validation_loss,
        epoch.learning_rate,
        if epoch.best { "  best" } else { "" }
    )
}

/// Shows that something is going on whose length is not known.
pub(super) fn spinner(label: &'static str) -> ProgressBar {
    let spinner =
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)).with_message(label);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
