//! Show how far each chain has come.

use std::sync::{Arc, OnceLock};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::options::{Event, Observer, Progress};

/// More workers than this share one bar.
const MOST_BARS: usize = 8;

/// An observer that draws a bar for every chain on standard error, or one for all where there are many;
/// nothing where standard error is no terminal.
///
/// ```
/// use armilla_samplers::run::{RunOptions, progress_bars};
/// let options = RunOptions { observer: Some(progress_bars()), ..RunOptions::default() };
/// assert!(options.observer.is_some());
/// ```
pub fn progress_bars() -> Observer {
    let bars: OnceLock<Bars> = OnceLock::new();
    Arc::new(move |event| match event {
        Event::Step(progress) => bars.get_or_init(|| Bars::new(progress.workers)).show(progress),
        Event::Judged { draws, rhat, ess } => {
            if let Some(bars) = bars.get() {
                let text = format!("{draws} draws: R̂ {rhat:.3}, {ess:.0} effective");
                bars.last().set_message(text);
            }
        }
        Event::Checkpoint { .. } => {}
    })
}

struct Bars {
    /// Keeps the bars below each other.
    _group: MultiProgress,
    bars: Vec<ProgressBar>,
    shared: bool,
}

impl Bars {
    fn new(workers: usize) -> Self {
        let group = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let shared = workers > MOST_BARS;
        let style =
            ProgressStyle::with_template("{prefix:>8} {wide_bar} {pos}/{len} {elapsed} (left {eta}) {msg}")
                // A template that did not parse would be a mistake above; the plain style still shows the bar.
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |index: usize| {
            let bar = ProgressBar::new(0).with_style(style.clone());
            let bar = group.add(bar.with_finish(ProgressFinish::AndClear));
            bar.set_prefix(if shared {
                format!("{workers} chains")
            } else {
                format!("chain {index}")
            });
            bar
        };
        let bars = (0..if shared { 1 } else { workers }).map(bar).collect();
        Self {
            _group: group,
            bars,
            shared,
        }
    }

    fn last(&self) -> &ProgressBar {
        // There is at least one worker, since one reported.
        &self.bars[self.bars.len() - 1]
    }

    fn show(&self, progress: &Progress) {
        if self.shared {
            let bar = self.last();
            bar.set_length(progress.total.saturating_mul(progress.workers) as u64);
            bar.inc(1);
            return;
        }
        let Some(bar) = self.bars.get(progress.worker) else {
            return;
        };
        bar.set_length(progress.total as u64);
        bar.set_position(progress.step as u64);
        let phase = if progress.warmup { "warm-up" } else { "" };
        bar.set_message(match progress.divergences {
            0 => phase.to_owned(),
            some => format!("{phase} {some} divergences"),
        });
    }
}
