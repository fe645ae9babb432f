//! Read the section `training` of a configuration as a [`Trainer`].

use armilla_models::matching::Augment;
use armilla_models::train::{Optimiser, Plateau, Schedule, Trainer};
use serde::Deserialize;

use crate::{Error, Result};

/// The keys of the section, with the other names that they go by.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TrainingKeys {
    epochs: Option<usize>,
    steps: Option<usize>,
    batch_size: Option<usize>,
    #[serde(alias = "gradient_accumulation")]
    accumulate: Option<usize>,
    #[serde(alias = "lr")]
    learning_rate: Option<f64>,
    warmup_epochs: Option<usize>,
    warmup_steps: Option<usize>,
    #[serde(alias = "scheduler")]
    schedule: Option<Schedule>,
    plateau: Option<Plateau>,
    plateau_patience: Option<usize>,
    plateau_factor: Option<f64>,
    /// 0 for never.
    #[serde(alias = "early_stopping_patience", alias = "patience")]
    early_stopping: Option<usize>,
    #[serde(alias = "optimizer")]
    optimiser: Option<Optimiser>,
    betas: Option<[f64; 2]>,
    weight_decay: Option<f64>,
    #[serde(alias = "gradient_clipping", alias = "gradient_clip", alias = "grad_clip")]
    max_norm: Option<f64>,
    #[serde(alias = "ema")]
    ema_decay: Option<f64>,
    validate_every: Option<usize>,
    checkpoint_minutes: Option<f64>,
    /// Batches are made ahead by as many threads as there are, whatever is asked for.
    num_workers: Option<usize>,
    /// By what maps are moved at random.
    pub(super) augment: Option<Augment>,
}

/// Epochs where nothing else is said.
const EPOCHS: usize = 50;
/// Epochs over which the learning rate rises in a training that is long enough.
const WARMUP: usize = 5;

impl TrainingKeys {
    /// Looks whether nothing is said twice.
    ///
    /// # Errors
    ///
    /// Epochs together with steps.
    pub(super) fn check(&self) -> Result<()> {
        for (both, [epochs, steps]) in [
            (self.epochs.is_some() && self.steps.is_some(), ["epochs", "steps"]),
            (
                self.warmup_epochs.is_some() && self.warmup_steps.is_some(),
                ["warmup_epochs", "warmup_steps"],
            ),
        ] {
            if both {
                return Err(Error::Invalid(format!(
                    "training: {epochs} and {steps} say the same in other units: leave one of them out"
                )));
            }
        }
        Ok(())
    }

    /// What they say, over what a generative model is trained by otherwise.
    pub(super) fn trainer(&self) -> Trainer {
        let epochs = match (self.epochs, self.steps) {
            (None, Some(_)) => None,
            (epochs, _) => Some(epochs.unwrap_or(EPOCHS)),
        };
        let warmup = match (self.warmup_epochs, self.warmup_steps) {
            (None, Some(_)) => None,
            (None, None) => epochs.map(|epochs| WARMUP.min(epochs.div_ceil(10))),
            (given, _) => given,
        };
        let plain = Trainer {
            learning_rate: 5e-4,
            schedule: Schedule::Plateau,
            ema_decay: 0.995,
            ..Trainer::default()
        };
        let plateau = self.plateau.unwrap_or(plain.plateau);
        Trainer {
            steps: self.steps.unwrap_or(plain.steps),
            epochs,
            batch_size: self.batch_size.unwrap_or(plain.batch_size),
            accumulate: self.accumulate.unwrap_or(plain.accumulate),
            learning_rate: self.learning_rate.unwrap_or(plain.learning_rate),
            warmup_steps: self.warmup_steps.unwrap_or(plain.warmup_steps),
            warmup_epochs: warmup,
            schedule: self.schedule.unwrap_or(plain.schedule),
            plateau: Plateau {
                patience: self.plateau_patience.unwrap_or(plateau.patience),
                factor: self.plateau_factor.unwrap_or(plateau.factor),
            },
            early_stopping: Some(self.early_stopping.unwrap_or(10)).filter(|patience| *patience > 0),
            optimiser: self.optimiser.unwrap_or(plain.optimiser),
            betas: self.betas.unwrap_or(plain.betas),
            weight_decay: self.weight_decay.unwrap_or(plain.weight_decay),
            max_norm: self.max_norm.unwrap_or(plain.max_norm),
            ema_decay: self.ema_decay.unwrap_or(plain.ema_decay),
            validate_every: self.validate_every,
            checkpoint_minutes: self.checkpoint_minutes.unwrap_or(plain.checkpoint_minutes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trainer(text: &str) -> Trainer {
        let keys: TrainingKeys = serde_norway::from_str(text).unwrap();
        keys.trainer()
    }

    #[test]
    fn other_names_mean_the_same() {
        let trainer = trainer(
            "{epochs: 200, lr: 1.0e-4, warmup_epochs: 5, plateau_patience: 2, patience: 10, grad_clip: 0.5, num_workers: 4}",
        );
        assert_eq!((trainer.epochs, trainer.warmup_epochs), (Some(200), Some(5)));
        assert_eq!((trainer.learning_rate, trainer.max_norm), (1e-4, 0.5));
        assert_eq!((trainer.plateau.patience, trainer.early_stopping), (2, Some(10)));
        trainer.check().unwrap();
    }

    #[test]
    fn what_is_left_out_is_sensible() {
        let plain = trainer("{}");
        assert_eq!((plain.epochs, plain.warmup_epochs), (Some(50), Some(5)));
        assert_eq!(
            (plain.schedule, plain.early_stopping),
            (Schedule::Plateau, Some(10))
        );
        // Two epochs do not consist of warming up.
        assert_eq!(trainer("{epochs: 2}").warmup_epochs, Some(1));
        let steps = trainer("{steps: 40, early_stopping: 0}");
        assert_eq!(
            (steps.epochs, steps.steps, steps.early_stopping),
            (None, 40, None)
        );
        assert_eq!(steps.plan(1000).warmup, 50);
    }
}
