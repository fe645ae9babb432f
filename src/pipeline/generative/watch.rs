//! Write reports and pictures into a run folder while a training goes on.

use std::path::Path;
use std::time::Instant;

use armilla_models::Device;
use armilla_models::train::{Epoch, Event, Trainer};
use armilla_models::weights::Weights;

use super::figures::{self, Comparison};
use super::model::untrained;
use super::{GenerativeCard, Sampling, log, rounds};
use crate::Result;
use crate::data::MapSet;
use crate::pipeline::EpochReport;
use crate::pipeline::train::remove_if_there;
use crate::pipeline::trained::{HISTORY_PICTURE, MODEL_FILE};
use crate::plot::{Curve, Loss, loss};

/// What is written into the folder while a training goes on.
pub(super) struct Watch<'a, D: Device> {
    device: &'a D,
    card: GenerativeCard,
    folder: Option<&'a Path>,
    trainer: Trainer,
    epochs: usize,
    /// Epochs of the rounds that are behind it.
    before: usize,
    lap: Instant,
    shown: Shown,
}

/// The validation maps that are shown, and what they were simulated at.
struct Shown {
    maps: Vec<f32>,
    thetas: Vec<Vec<f64>>,
    /// Maps at each of them.
    each: usize,
    sampling: Option<Sampling>,
}

impl<'a, D: Device> Watch<'a, D> {
    pub fn new(
        device: &'a D,
        card: GenerativeCard,
        set: &MapSet,
        validation: &[usize],
        folder: Option<&'a Path>,
    ) -> Result<Self> {
        Ok(Self {
            device,
            folder,
            trainer: card.config.training,
            epochs: 0,
            before: 0,
            lap: Instant::now(),
            shown: Shown::of(&card, set, validation)?,
            card,
        })
    }

    pub fn hear(&mut self, event: Event<'_>) -> Result<()> {
        let Some(folder) = self.folder else { return Ok(()) };
        match event {
            Event::Started {
                trainer,
                step,
                epochs,
                ..
            } => {
                // A rectified flow is trained in rounds; their epochs are counted on.
                let first = self.epochs == 0;
                self.before += self.epochs;
                (self.trainer, self.epochs, self.lap) = (*trainer, epochs, Instant::now());
                // A folder with a description is whole, which it is not from here on.
                remove_if_there(&folder.join(MODEL_FILE))?;
                match (first, step) {
                    (true, 0) => {
                        figures::remove(&folder.join(figures::FOLDER));
                        log::remove(folder);
                        rounds::remove(folder);
                    }
                    (false, 0) => log::append(folder, "Another round, on pairs that the flow makes\n")?,
                    _ => log::append(folder, &format!("Resumed at step {step}\n"))?,
                }
            }
            Event::Validated {
                epoch,
                weights,
                history,
            } => {
                let number = history.len();
                let seconds = self.lap.elapsed().as_secs_f64();
                let report = EpochReport {
                    trainer: &self.trainer,
                    epoch: &epoch,
                    number,
                    epochs: self.epochs,
                    refined: false,
                    seconds,
                };
                log::append(folder, &report.to_string())?;
                draw_losses(history, &folder.join(HISTORY_PICTURE))?;
                let every = self.card.config.figures.every;
                if every > 0 && (number.is_multiple_of(every) || number == self.epochs) {
                    // A model that is no good yet may generate what cannot be drawn.
                    let epoch = self.before + number;
                    if let Err(e) = self.draw(weights, &folder.join(figures::FOLDER), epoch) {
                        log::append(folder, &format!("No picture of epoch {epoch}: {e}\n"))?;
                    }
                }
                self.lap = Instant::now();
            }
            _ => {}
        }
        Ok(())
    }

    /// What the averaged weights generate at the parameters of validation maps, beside these.
    fn draw(&self, weights: &Weights, folder: &Path, epoch: usize) -> Result<()> {
        let (card, shown) = (&self.card, &self.shown);
        let mut model = untrained(self.device, card)?;
        model.load(weights)?;
        model.freeze();
        let mut generated = Vec::new();
        for (i, theta) in shown.thetas.iter().enumerate() {
            let (maps, _) = model.draw(self.device, card, theta, shown.each, shown.sampling, i as u64)?;
            generated.extend(maps);
        }
        Comparison {
            simulated: &shown.maps,
            generated: &generated,
            side: card.side,
            each: shown.each,
            titles: &titles(&shown.thetas),
            box_size: card
                .origin
                .as_ref()
                .map(|o| o.box_size)
                .or(card.config.figures.box_size),
            label: &card.label(),
        }
        .draw(folder, epoch)
    }
}

impl Shown {
    /// Maps of the validation part, spread over its simulations.
    fn of(card: &GenerativeCard, set: &MapSet, validation: &[usize]) -> Result<Self> {
        let (settings, per) = (card.config.figures, set.maps_per_simulation());
        let wanted = if settings.every == 0 { 0 } else { settings.maps };
        let each = per.min(4).min(wanted.max(1));
        // All maps of a simulation are in the part, one after the other.
        let simulations: Vec<usize> = validation.iter().step_by(per).copied().collect();
        let count = simulations.len().min(wanted.div_ceil(each));
        let firsts: Vec<usize> = (0..count)
            .map(|i| simulations[i * simulations.len() / count])
            .collect();
        let picks: Vec<usize> = firsts.iter().flat_map(|&first| first..first + each).collect();
        let sampling = if card.config.method.is_exact() {
            None
        } else {
            let config = &card.config;
            let sampling = config.sampling.settled(config.method, config.levels())?;
            Some(sampling.quick(settings.steps))
        };
        Ok(Self {
            maps: set.read_maps(&picks)?,
            thetas: firsts.iter().map(|&first| set.theta(first).to_vec()).collect(),
            each,
            sampling,
        })
    }
}

/// Parameters as a title: the first two of them.
fn titles(thetas: &[Vec<f64>]) -> Vec<String> {
    let title = |theta: &Vec<f64>| {
        let shown: Vec<String> = theta.iter().take(2).map(|x| format!("{x:.3}")).collect();
        shown.join(", ")
    };
    thetas.iter().map(title).collect()
}

/// Draws the losses of a training.
pub(super) fn draw_losses(history: &[Epoch], picture: &Path) -> Result<()> {
    let of = |of: fn(&Epoch) -> f64| -> Vec<f64> { history.iter().map(of).collect() };
    let (train, validation) = (of(|e| e.train_loss), of(|e| e.validation_loss));
    let curves = [
        Curve {
            label: "training",
            values: &train,
        },
        Curve {
            label: "validation",
            values: &validation,
        },
    ];
    let plot = Loss {
        title: "Training",
        curves: &curves,
        step: "epoch",
        quantity: "loss",
    };
    loss(&plot, picture)
}
