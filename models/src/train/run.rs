//! Train: step by step, judged, kept on disk, to be stopped and resumed at any moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use super::{
    Adam, Epoch, Event, Keep, Learner, Plan, Source, Trainer, adam,
    batches::prefetched,
    learner::in_parts,
    state::{self, BEST_FILE, LAST_FILE, Position, State},
};
use crate::{
    checkpoint,
    error::{ModelError, Result},
    weights::Weights,
};

/// What a training is given besides its settings, network and examples.
pub struct Session<'a> {
    /// The only source of randomness.
    pub seed: u64,
    /// Where the state is kept; nowhere, if not given.
    pub keep: Option<Keep>,
    /// Becomes true when the training should end before the next step.
    pub interrupt: Option<&'a AtomicBool>,
    /// Hears of every step and validation; its error ends the training.
    pub observe: &'a mut dyn FnMut(Event<'_>) -> Result<()>,
}

impl<'a> Session<'a> {
    /// A training that is kept nowhere, and that nobody interrupts.
    pub fn new(seed: u64, observe: &'a mut dyn FnMut(Event<'_>) -> Result<()>) -> Self {
        Self {
            seed,
            keep: None,
            interrupt: None,
            observe,
        }
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// A training: where it stands, and what it found.
pub struct Training<'a> {
    /// All that it is between two steps.
    pub state: State,
    /// The weights with the lowest validation loss.
    pub best: Weights,
    /// Whether it was interrupted: it can be resumed.
    pub interrupted: bool,
    pub(crate) session: Session<'a>,
    plan: Plan,
    saved: Instant,
    /// The step of the state on disk.
    on_disk: Option<usize>,
}

impl Trainer {
    /// Trains `learner` on the examples of `source` until the steps are made, patience ends or somebody interrupts, and
    /// leaves the averaged weights in it.
    ///
    /// Batches are made ahead on another thread, and follow from the seed and the step alone. With [`Keep`], the state
    /// is written at each validation, every `checkpoint_minutes` and when interrupted: a training that is killed and
    /// resumed ends with the same bits as one that is not.
    ///
    /// # Errors
    /// `Invalid` where a setting makes no sense, or a loss or gradient is not finite: the step, the learning rate and
    /// the last good checkpoint are named. `Device` where memory is short, naming the batch size. `Checkpoint` where
    /// the state cannot be written, or is that of another training.
    pub fn train<'a, L, S>(&self, learner: &mut L, source: &S, session: Session<'a>) -> Result<Training<'a>>
    where
        L: Learner,
        S: Source<Batch = L::Batch>,
    {
        self.check()?;
        if source.examples() == 0 {
            return Err(ModelError::Invalid(
                "the training part is empty: simulate more fields".into(),
            ));
        }
        let plan = self.plan(source.examples());
        let mut training = Training::begin(self, plan, learner.weights(), session)?;
        training.tell(Event::Started {
            trainer: self,
            step: training.state.step(),
            total: plan.total,
            epochs: plan.epochs(),
            warmup: plan.warmup,
        })?;
        training.tidy()?;
        if training.stages() == 0 {
            learner.load(&training.state.weights)?;
            training.run(self, learner, source)?;
        }
        learner.load(training.state.judged())?;
        Ok(training)
    }

    /// What the settings, the seed and the caller say about a training; how often it is kept changes nothing.
    fn about(&self, session: &Session<'_>) -> Result<serde_json::Value> {
        let mut settings = serde_json::to_value(self).map_err(|e| ModelError::Invalid(e.to_string()))?;
        if let Some(settings) = settings.as_object_mut() {
            settings.remove("checkpoint_minutes");
        }
        let trained_on = session.keep.as_ref().map(|keep| keep.about.clone());
        Ok(json!({ "training": settings, "seed": session.seed, "trained_on": trained_on }))
    }
}

impl<'a> Training<'a> {
    /// From the beginning, or from where the state on disk left off.
    fn begin(trainer: &Trainer, plan: Plan, weights: Weights, session: Session<'a>) -> Result<Self> {
        let fresh = State {
            average: (trainer.ema_decay > 0.0).then(|| weights.clone()),
            adam: Adam::new(&weights, trainer),
            position: Position {
                about: trainer.about(&session)?,
                step: 0,
                stages: 0,
                losses: (0.0, 0),
                patience: Default::default(),
                history: Vec::new(),
            },
            weights,
        };
        let mut kept = None;
        if let Some(keep) = &session.keep {
            state::clean(&keep.folder);
            if keep.resume {
                kept = State::load(&keep.folder, &fresh)?;
            }
        }
        let on_disk = kept.as_ref().map(State::step);
        let state = kept.unwrap_or(fresh);
        let best = match &session.keep {
            // Where it is of a later step than the state, it will be written again as it is.
            Some(keep) if !state.history().is_empty() => checkpoint::load(keep.folder.join(BEST_FILE))?,
            _ => state.judged().clone(),
        };
        Ok(Self {
            state,
            best,
            interrupted: false,
            session,
            plan,
            saved: Instant::now(),
            on_disk,
        })
    }

    /// The loop over batches.
    fn run<L, S>(&mut self, trainer: &Trainer, learner: &mut L, source: &S) -> Result<()>
    where
        L: Learner,
        S: Source<Batch = L::Batch>,
    {
        let (seed, steps) = (self.session.seed, self.state.step()..self.plan.total);
        prefetched(source, seed, trainer.batch_size, steps.clone(), |batches| {
            for _ in steps {
                // Asked first: a state may have been kept just before the end was.
                if self.state.position.patience.is_over(trainer) {
                    break;
                }
                if self.session.is_interrupted() {
                    self.interrupted = true;
                    return self.save();
                }
                self.step(trainer, learner, batches.next()?)?;
            }
            self.state.position.stages += 1;
            self.save()
        })
    }

    /// Makes one step, and judges and keeps the weights where it is time.
    fn step<L: Learner>(&mut self, trainer: &Trainer, learner: &mut L, batch: L::Batch) -> Result<()> {
        let plan = self.plan;
        let step = self.state.step();
        let rate = self.state.position.patience.rate(trainer, &plan, step);
        let (loss, gradients) =
            in_parts(learner, batch, trainer.accumulate).map_err(|e| self.explain(e, trainer))?;
        check_gradients(&self.state.weights, &gradients)?;
        let norm = adam::norm(&gradients);
        if !(loss.is_finite() && norm.is_finite()) {
            let (what, value) = if loss.is_finite() {
                ("gradient", norm)
            } else {
                ("loss", loss)
            };
            return Err(self.diverged(what, value, step, rate));
        }
        let state = &mut self.state;
        state.adam.step(&mut state.weights, &gradients, norm, rate);
        learner.absorb(&mut state.weights);
        learner.load(&state.weights)?;
        if let Some(average) = &mut state.average {
            // Early on the average forgets faster: it would remember the random start.
            let decay = trainer.ema_decay.min((step + 1) as f64 / (step + 10) as f64);
            average.average(&state.weights, decay as f32);
        }
        let position = &mut state.position;
        position.losses = (position.losses.0 + loss, position.losses.1 + 1);
        position.step += 1;
        self.tell(Event::Step {
            step: step + 1,
            total: plan.total,
            loss,
        })?;
        if (step + 1).is_multiple_of(plan.validate_every) || step + 1 == plan.total {
            learner.load(self.state.judged())?;
            let validation_loss = learner.validation_loss().map_err(|e| self.explain(e, trainer))?;
            learner.load(&self.state.weights)?;
            let (sum, count) = std::mem::take(&mut self.state.position.losses);
            let warmup = step < plan.warmup;
            self.judge(
                trainer,
                step + 1,
                [sum / count as f64, validation_loss, rate],
                warmup,
            )?;
        } else if self.saved.elapsed().as_secs_f64() >= 60.0 * trainer.checkpoint_minutes {
            self.save()?;
        }
        Ok(())
    }

    /// Adds a line to the history for the weights that are judged, and keeps the state.
    fn judge(
        &mut self,
        trainer: &Trainer,
        step: usize,
        [train_loss, validation_loss, learning_rate]: [f64; 3],
        warmup: bool,
    ) -> Result<()> {
        if !validation_loss.is_finite() {
            return Err(self.diverged("validation loss", validation_loss, step, learning_rate));
        }
        let position = &mut self.state.position;
        let best = position.patience.judge(trainer, validation_loss, warmup);
        let epoch = Epoch {
            step,
            train_loss,
            validation_loss,
            learning_rate,
            best,
            warmup,
            bad: position.patience.bad,
            stale: position.patience.stale,
        };
        position.history.push(epoch);
        if best {
            self.best.clone_from(self.state.judged());
        }
        if let Some(folder) = self.session.keep.as_ref().map(|keep| keep.folder.clone()) {
            // The best first: a state on disk must find the best weights it speaks of. The history last: it is written
            // anew from the state when a training is resumed.
            if best {
                state::save_best(&folder, &self.best)?;
            }
            self.save()?;
            state::append_history(&folder, &epoch)?;
        }
        let (weights, history) = (self.state.judged(), &self.state.position.history[..]);
        (self.session.observe)(Event::Validated {
            epoch,
            weights,
            history,
        })
    }

    /// Marks what came after the loop as done, with a line of the history.
    pub(crate) fn end_stage(&mut self, trainer: &Trainer, step: usize, losses: [f64; 3]) -> Result<()> {
        // Before it is judged: both go into the same state.
        self.state.position.stages += 1;
        self.judge(trainer, step, losses, false)
    }

    /// Parts of the training that are behind it: the loop over batches is the first, what refines its result the second.
    pub fn stages(&self) -> usize {
        self.state.position.stages
    }

    /// Replaces the weights that are judged by what came after the loop.
    pub(crate) fn replace(&mut self, weights: Weights) {
        match &mut self.state.average {
            Some(average) => *average = weights,
            None => self.state.weights = weights,
        }
    }

    /// Keeps the state, where that is wanted.
    fn save(&mut self) -> Result<()> {
        if let Some(keep) = &self.session.keep {
            self.state.save(&keep.folder)?;
            self.on_disk = Some(self.state.step());
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// Cuts the history back to the state that is gone on with; without one, nothing of an earlier training stays.
    fn tidy(&self) -> Result<()> {
        match &self.session.keep {
            Some(keep) if self.on_disk.is_some() => state::save_history(&keep.folder, self.state.history()),
            Some(keep) => state::remove(&keep.folder),
            None => Ok(()),
        }
    }

    fn tell(&mut self, event: Event<'_>) -> Result<()> {
        (self.session.observe)(event)
    }

    /// The last state on disk, in words.
    fn last_good(&self) -> String {
        let path = self.session.keep.as_ref().map(|keep| keep.folder.join(LAST_FILE));
        match (path, self.on_disk) {
            (Some(path), Some(step)) => {
                format!("the last good checkpoint is {}, of step {step}", path.display())
            }
            _ => "no checkpoint was written yet".into(),
        }
    }

    /// The error for a number that is not finite.
    pub(crate) fn diverged(&self, what: &str, value: f64, step: usize, rate: f64) -> ModelError {
        ModelError::Invalid(format!(
            "the {what} is {value} at step {step} with learning rate {rate:.2e}: lower learning_rate or max_norm; {}",
            self.last_good()
        ))
    }

    /// Says what to do where memory is short.
    fn explain(&self, error: ModelError, trainer: &Trainer) -> ModelError {
        match error {
            ModelError::Device(text) if is_out_of_memory(&text) => {
                let parts = trainer.accumulate;
                let rows = trainer.batch_size.div_ceil(parts);
                ModelError::Device(format!(
                    "out of memory with {rows} examples at once at step {}: batch_size is {}; set accumulate to {} (the same training in smaller parts) or lower batch_size; {} ({text})",
                    self.state.step(),
                    trainer.batch_size,
                    2 * parts,
                    self.last_good()
                ))
            }
            other => other,
        }
    }
}

/// Whether there is a number for each of the weights.
fn check_gradients(weights: &Weights, gradients: &[Vec<f32>]) -> Result<()> {
    let given = gradients.iter().map(Vec::len);
    let wrong = weights.0.iter().zip(given.chain(std::iter::repeat(0)));
    let wrong = wrong.into_iter().find(|(w, given)| w.values.len() != *given);
    if let Some((w, given)) = wrong {
        let what = format!(
            "{given} numbers in the gradient of {}, which has {}",
            w.name,
            w.values.len()
        );
        return Err(ModelError::shape("training", what));
    }
    Ok(())
}

/// As the devices spell it: `OutOfMemory`, `CUDA_ERROR_OUT_OF_MEMORY`, `out of memory`.
fn is_out_of_memory(text: &str) -> bool {
    let letters: String = text.chars().filter(|c| c.is_ascii_alphabetic()).collect();
    letters.to_ascii_lowercase().contains("outofmemory")
}
