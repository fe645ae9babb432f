//! Say how fast to learn, and when to stop.

use serde::{Deserialize, Serialize};

use super::settings::{Plan, Schedule, Trainer};

/// What the validations so far say about the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    /// The lowest validation loss.
    best: Option<f64>,
    /// Validations since then, or since the rate was lowered.
    pub(super) bad: usize,
    /// Validations since then.
    pub(super) stale: usize,
    /// What plateaus have left of the learning rate.
    factor: f64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            best: None,
            bad: 0,
            stale: 0,
            factor: 1.0,
        }
    }
}

impl Patience {
    /// The learning rate of `step`, from 0.
    pub(super) fn rate(&self, settings: &Trainer, plan: &Plan, step: usize) -> f64 {
        let peak = settings.learning_rate;
        match settings.schedule {
            Schedule::Cosine => cosine_rate(peak, step, plan.total, plan.warmup),
            Schedule::Constant => peak * rise(step, plan.warmup),
            Schedule::Plateau => peak * rise(step, plan.warmup) * self.factor,
        }
    }

    /// Takes a validation loss; true if no earlier one was as low. While warming up nothing is held against it.
    pub(super) fn judge(&mut self, settings: &Trainer, loss: f64, warmup: bool) -> bool {
        let best = self.best.is_none_or(|best| loss < best);
        if best {
            (self.best, self.bad, self.stale) = (Some(loss), 0, 0);
        } else if !warmup {
            (self.bad, self.stale) = (self.bad + 1, self.stale + 1);
        }
        if settings.schedule == Schedule::Plateau && self.bad >= settings.plateau.patience {
            (self.bad, self.factor) = (0, self.factor * settings.plateau.factor);
        }
        best
    }

    /// Whether the training has not improved for too long.
    pub(super) fn is_over(&self, settings: &Trainer) -> bool {
        settings
            .early_stopping
            .is_some_and(|patience| self.stale >= patience)
    }
}

fn rise(step: usize, warmup: usize) -> f64 {
    ((step + 1) as f64 / warmup.max(1) as f64).min(1.0)
}

/// A learning rate that rises over `warmup` steps and falls to zero as a cosine.
pub(crate) fn cosine_rate(peak: f64, step: usize, total: usize, warmup: usize) -> f64 {
    let fall = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / total.max(1) as f64).cos());
    peak * rise(step, warmup) * fall
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        total: 100,
        warmup: 5,
        validate_every: 1,
    };

    #[test]
    fn rises_then_follows_the_schedule() {
        let rate = |schedule, step| {
            let settings = Trainer {
                schedule,
                learning_rate: 1.0,
                ..Trainer::default()
            };
            Patience::default().rate(&settings, &PLAN, step)
        };
        for schedule in [Schedule::Constant, Schedule::Plateau] {
            assert_eq!(rate(schedule, 0), 0.2);
            assert_eq!(rate(schedule, 60), 1.0);
        }
        assert!((rate(Schedule::Cosine, 50) - 0.5).abs() < 1e-12);
        assert!(rate(Schedule::Cosine, 99) < 1e-3);
    }

    #[test]
    fn a_plateau_halves_the_rate_and_patience_ends() {
        let settings = Trainer {
            schedule: Schedule::Plateau,
            early_stopping: Some(4),
            learning_rate: 1.0,
            ..Trainer::default()
        };
        let mut patience = Patience::default();
        let mut after = |loss, warmup| {
            let best = patience.judge(&settings, loss, warmup);
            (
                best,
                patience.rate(&settings, &PLAN, 50),
                patience.is_over(&settings),
            )
        };
        assert_eq!(after(1.0, true), (true, 1.0, false));
        // Not held against it.
        assert_eq!(after(2.0, true), (false, 1.0, false));
        assert_eq!(after(2.0, true), (false, 1.0, false));
        assert_eq!(after(2.0, false), (false, 1.0, false));
        assert_eq!(after(1.0, false), (false, 0.5, false));
        assert_eq!(after(0.5, false), (true, 0.5, false));
        assert_eq!(after(0.6, false), (false, 0.5, false));
        assert_eq!(after(0.6, false), (false, 0.25, false));
        assert_eq!(after(0.6, false), (false, 0.25, false));
        assert_eq!(after(0.6, false), (false, 0.125, true));
    }
}
