//! Say in a few lines what an epoch of a training found.

use std::fmt;

use armilla_models::train::{Epoch, Schedule, Trainer};

/// The report of one epoch; as text it is a banner and a line for each number.
///
/// ```
/// use armilla::models::train::{Epoch, Trainer};
/// use armilla::pipeline::EpochReport;
/// let epoch = Epoch {
///     step: 100,
///     train_loss: 0.1234,
///     validation_loss: 0.1456,
///     learning_rate: 2e-5,
///     best: true,
///     warmup: true,
///     bad: 0,
///     stale: 0,
/// };
/// let trainer = Trainer::default();
/// let report = EpochReport { trainer: &trainer, epoch: &epoch, number: 1, epochs: 200, refined: false, seconds: 120.5 };
/// let text = report.to_string();
/// assert!(text.contains("Epoch 1/200 [WARMUP]") && text.contains("  LR:         2.00e-05"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EpochReport<'a> {
    /// How it is trained.
    pub trainer: &'a Trainer,
    /// What was found.
    pub epoch: &'a Epoch,
    /// Its number, from 1.
    pub number: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Whether it is that of a second stage.
    pub refined: bool,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for EpochReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trainer, epoch, .. } = self;
        let rule = "=".repeat(80);
        let title = match (self.refined, epoch.warmup) {
            (true, _) => format!("Refined, step {}", epoch.step),
            (false, true) => format!("Epoch {}/{} [WARMUP]", self.number, self.epochs),
            (false, false) => format!("Epoch {}/{}", self.number, self.epochs),
        };
        writeln!(f, "{rule}\n{title}\n{rule}")?;
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<11} {value}");
        row("Train Loss:", shown(epoch.train_loss))?;
        row("Val Loss:", shown(epoch.validation_loss))?;
        row("LR:", scientific(epoch.learning_rate))?;
        row(
            "Time:",
            format!("{:.1}s ({:.1}m)", self.seconds, self.seconds / 60.0),
        )?;
        if trainer.schedule == Schedule::Plateau && !self.refined {
            let patience = trainer.plateau.patience;
            row("Plateau:", format!("{}/{patience} bad epochs", epoch.bad))?;
        }
        if let (Some(patience), false) = (trainer.early_stopping, self.refined) {
            row("Early Stop:", format!("{}/{patience} patience", epoch.stale))?;
        }
        if epoch.best {
            writeln!(f, "  ✓ New best model!")?;
        }
        Ok(())
    }
}

/// Four decimals, or three digits of what is small.
fn shown(loss: f64) -> String {
    if loss.abs() < 0.01 {
        scientific(loss)
    } else {
        format!("{loss:.4}")
    }
}

/// As C and Python write it: `2.00e-05`.
fn scientific(value: f64) -> String {
    let text = format!("{value:.2e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_everything_that_is_counted() {
        let trainer = Trainer {
            schedule: Schedule::Plateau,
            early_stopping: Some(10),
            ..Trainer::default()
        };
        let mut epoch = Epoch {
            step: 5,
            train_loss: 0.1234,
            validation_loss: 0.1456,
            learning_rate: 2e-5,
            best: true,
            warmup: true,
            bad: 0,
            stale: 0,
        };
        let report = |epoch: &Epoch, number, seconds| {
            EpochReport {
                trainer: &trainer,
                epoch,
                number,
                epochs: 200,
                refined: false,
                seconds,
            }
            .to_string()
        };
        let rule = "=".repeat(80);
        let wanted = format!(
            "{rule}\nEpoch 1/200 [WARMUP]\n{rule}\n  Train Loss: 0.1234\n  Val Loss:   0.1456\n  LR:         2.00e-05\n  \
             Time:       120.5s (2.0m)\n  Plateau:    0/2 bad epochs\n  Early Stop: 0/10 patience\n  ✓ New best model!\n"
        );
        assert_eq!(report(&epoch, 1, 120.5), wanted);
        (epoch.best, epoch.warmup, epoch.bad, epoch.stale) = (false, false, 1, 3);
        let text = report(&epoch, 7, 1.0);
        for words in ["Epoch 7/200\n", "1/2 bad", "3/10 patience"] {
            assert!(text.contains(words), "{text}");
        }
        assert!(!text.contains("best"), "{text}");
    }
}
