//! Say how long, how fast and how carefully to train.

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};

/// Larger counts are mistakes: a training of a hundred million steps takes years.
const MOST: usize = 100_000_000;
/// Steps between validations where nothing else is said.
const VALIDATE_EVERY: usize = 50;

/// How to train any network on any examples.
///
/// An epoch is one pass over the training part, rounded up to whole batches.
///
/// ```
/// use armilla_models::train::{Schedule, Trainer};
/// let trainer = Trainer {
///     epochs: Some(200),
///     warmup_epochs: Some(5),
///     schedule: Schedule::Plateau,
///     early_stopping: Some(10),
///     ..Trainer::default()
/// };
/// assert_eq!(trainer.plan(6_400).total, 200 * 100);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trainer {
    /// Steps in all.
    pub steps: usize,
    /// Epochs in all; where given, `steps` does not count.
    pub epochs: Option<usize>,
    /// Examples in a batch.
    pub batch_size: usize,
    /// Parts in which a batch goes through the network: more of them take less memory, and give the same gradient but
    /// for rounding, where no batch norm looks at all of it.
    pub accumulate: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises.
    pub warmup_steps: usize,
    /// Epochs over which the learning rate rises; where given, `warmup_steps` does not count.
    pub warmup_epochs: Option<usize>,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// When it falls, with [`Schedule::Plateau`].
    pub plateau: Plateau,
    /// Validations without a new lowest loss after which the training ends; never, if not given.
    pub early_stopping: Option<usize>,
    /// What makes a step of a gradient.
    pub optimiser: Optimiser,
    /// How much the averages of the gradient and of its square keep at each step.
    pub betas: [f64; 2],
    /// How strongly weights are drawn to zero.
    pub weight_decay: f64,
    /// Longer gradients are shortened to this norm.
    pub max_norm: f64,
    /// Share that the averaged weights keep at each step; with 0 the weights themselves are judged and kept.
    pub ema_decay: f64,
    /// Steps between validations; if not given, an epoch where `epochs` is, else 50.
    pub validate_every: Option<usize>,
    /// Minutes after which the state is kept on disk, besides at each validation.
    pub checkpoint_minutes: f64,
}

impl Default for Trainer {
    fn default() -> Self {
        Self {
            steps: 300,
            epochs: None,
            batch_size: 64,
            accumulate: 1,
            learning_rate: 3e-3,
            warmup_steps: 50,
            warmup_epochs: None,
            schedule: Schedule::Cosine,
            plateau: Plateau::default(),
            early_stopping: None,
            optimiser: Optimiser::Adam,
            betas: [0.9, 0.99],
            weight_decay: 0.0,
            max_norm: 1.0,
            ema_decay: 0.99,
            validate_every: None,
            checkpoint_minutes: 10.0,
        }
    }
}

/// How the learning rate goes on after it has risen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls to zero as a cosine.
    Cosine,
    /// It falls when the validation loss has stopped falling.
    Plateau,
}

/// When a plateau is one, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plateau {
    /// Validations in a row without a new lowest loss.
    pub patience: usize,
    /// What the learning rate is then multiplied by.
    pub factor: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            patience: 2,
            factor: 0.5,
        }
    }
}

/// What makes a step of a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimiser {
    /// Adam; its weight decay is part of the gradient.
    Adam,
    /// Adam with weight decay beside the gradient.
    Adamw,
}

/// The settings in steps, for a number of examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Steps in all.
    pub total: usize,
    /// Steps over which the learning rate rises.
    pub warmup: usize,
    /// Steps between validations.
    pub validate_every: usize,
}

impl Plan {
    /// Validations in all.
    pub fn epochs(&self) -> usize {
        self.total.div_ceil(self.validate_every)
    }
}

impl Trainer {
    /// The settings in steps, for `examples` examples.
    pub fn plan(&self, examples: usize) -> Plan {
        let epoch = examples.div_ceil(self.batch_size.max(1)).max(1);
        let validate_every = self.validate_every.unwrap_or(match self.epochs {
            Some(_) => epoch,
            None => VALIDATE_EVERY,
        });
        Plan {
            total: self
                .epochs
                .map_or(self.steps, |epochs| epochs.saturating_mul(epoch)),
            warmup: self
                .warmup_epochs
                .map_or(self.warmup_steps, |epochs| epochs.saturating_mul(epoch)),
            validate_every: validate_every.max(1),
        }
    }

    /// Looks whether the settings make sense.
    ///
    /// # Errors
    /// `Invalid`, naming what is allowed.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("steps", self.steps),
            ("epochs", self.epochs.unwrap_or(1)),
            ("batch_size", self.batch_size),
            ("accumulate", self.accumulate),
            ("validate_every", self.validate_every.unwrap_or(1)),
            ("early_stopping", self.early_stopping.unwrap_or(1)),
            ("plateau.patience", self.plateau.patience),
        ];
        if let Some((name, value)) = counts.iter().find(|(_, n)| !(1..=MOST).contains(n)) {
            return Err(ModelError::Invalid(format!(
                "{name} must be between 1 and {MOST}, and is {value}"
            )));
        }
        if self.accumulate > self.batch_size {
            return Err(ModelError::Invalid(format!(
                "accumulate is {}, but a batch of {} cannot go in more parts than it has examples",
                self.accumulate, self.batch_size
            )));
        }
        let positive = [
            ("learning_rate", self.learning_rate),
            ("max_norm", self.max_norm),
            ("checkpoint_minutes", self.checkpoint_minutes),
        ];
        if let Some((name, value)) = positive.iter().find(|(_, v)| !(*v > 0.0 && v.is_finite())) {
            return Err(ModelError::Invalid(format!(
                "{name} must be positive, and is {value}"
            )));
        }
        let shares = [
            ("ema_decay", self.ema_decay),
            ("betas[0]", self.betas[0]),
            ("betas[1]", self.betas[1]),
            ("plateau.factor", self.plateau.factor),
        ];
        if let Some((name, value)) = shares.iter().find(|(_, v)| !(0.0..1.0).contains(v)) {
            return Err(ModelError::Invalid(format!(
                "{name} must be from 0 to below 1, and is {value}"
            )));
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(ModelError::Invalid(format!(
                "weight_decay must not be negative, and is {}",
                self.weight_decay
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_become_steps() {
        let trainer = Trainer {
            epochs: Some(3),
            warmup_epochs: Some(1),
            batch_size: 32,
            ..Trainer::default()
        };
        let plan = trainer.plan(100);
        assert_eq!((plan.total, plan.warmup, plan.validate_every), (12, 4, 4));
        assert_eq!(plan.epochs(), 3);
        let plan = Trainer::default().plan(100);
        assert_eq!((plan.total, plan.warmup, plan.validate_every), (300, 50, 50));
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let good = Trainer::default();
        for (settings, name) in [
            (Trainer { steps: 0, ..good }, "steps"),
            (
                Trainer {
                    epochs: Some(0),
                    ..good
                },
                "epochs",
            ),
            (
                Trainer {
                    accumulate: 65,
                    ..good
                },
                "accumulate",
            ),
            (
                Trainer {
                    learning_rate: f64::NAN,
                    ..good
                },
                "learning_rate",
            ),
            (
                Trainer {
                    max_norm: 0.0,
                    ..good
                },
                "max_norm",
            ),
            (
                Trainer {
                    ema_decay: 1.0,
                    ..good
                },
                "ema_decay",
            ),
            (
                Trainer {
                    betas: [0.9, 1.0],
                    ..good
                },
                "betas[1]",
            ),
            (
                Trainer {
                    weight_decay: -1.0,
                    ..good
                },
                "weight_decay",
            ),
            (
                Trainer {
                    early_stopping: Some(0),
                    ..good
                },
                "early_stopping",
            ),
        ] {
            let message = settings.check().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        good.check().unwrap();
    }
}
