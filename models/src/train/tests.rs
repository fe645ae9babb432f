use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use armilla_samplers::rng::Stream;
use dfdx::{
    tensor::{AsArray, Cpu},
    tensor_ops::{Backward, MeanTo},
};
use rand::RngExt;
use serde_json::json;

use super::*;
use crate::error::{ModelError, Result};
use crate::layers::BatchNorm;
use crate::ops::Activation;
use crate::weights::Weight;
use crate::{Field, Module};

/// Noisy points of the line 2x − 1.
struct Points(usize);

#[derive(Clone)]
struct Pairs(Vec<[f32; 2]>);

impl Batch for Pairs {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn part(&self, rows: Range<usize>) -> Self {
        Self(self.0[rows].to_vec())
    }
}

impl Source for Points {
    type Batch = Pairs;

    fn examples(&self) -> usize {
        self.0
    }

    fn batch(&self, picks: &[usize], stream: &mut Stream) -> Result<Pairs> {
        let point = |&i: &usize| {
            let x = i as f32 / self.0 as f32;
            [x, 2.0 * x - 1.0 + 0.1 * (stream.random::<f32>() - 0.5)]
        };
        Ok(Pairs(picks.iter().map(point).collect()))
    }
}

/// An error, or what the loss becomes larger by.
type Mishap = fn() -> Result<f64>;

/// A line, and what goes wrong with it at a given call.
#[derive(Clone)]
struct Line {
    weights: Weights,
    calls: usize,
    fails: Option<(usize, Mishap)>,
}

fn line() -> Line {
    let weight = |name: &str| Weight::new(name, vec![1], vec![0.0]);
    Line {
        weights: Weights(vec![weight("slope"), weight("offset")]),
        calls: 0,
        fails: None,
    }
}

impl Learner for Line {
    type Batch = Pairs;

    fn weights(&self) -> Weights {
        self.weights.clone()
    }

    fn load(&mut self, weights: &Weights) -> Result<()> {
        self.weights.clone_from(weights);
        Ok(())
    }

    fn loss_and_gradients(&mut self, batch: Pairs) -> Result<(f64, Vec<Vec<f32>>)> {
        self.calls += 1;
        let mut loss = 0.0;
        if let Some((call, fail)) = self.fails
            && call == self.calls
        {
            loss = fail()?;
        }
        let [a, b] = [0, 1].map(|i| self.weights.0[i].values[0]);
        let share = 1.0 / batch.rows() as f32;
        let (mut da, mut db) = (0.0, 0.0);
        for [x, y] in batch.0 {
            let error = a * x + b - y;
            loss += f64::from(share * error * error);
            da += 2.0 * share * error * x;
            db += 2.0 * share * error;
        }
        Ok((loss, vec![vec![da], vec![db]]))
    }

    fn validation_loss(&mut self) -> Result<f64> {
        let [a, b] = [0, 1].map(|i| f64::from(self.weights.0[i].values[0]));
        Ok((a - 2.0).powi(2) + (b + 1.0).powi(2))
    }
}

fn trainer() -> Trainer {
    Trainer {
        steps: 120,
        batch_size: 8,
        learning_rate: 0.1,
        warmup_steps: 10,
        ema_decay: 0.9,
        validate_every: Some(20),
        ..Trainer::default()
    }
}

/// Trains `line`, in `folder` if there is one, and interrupts after `steps` steps.
fn train<'a>(
    line: &mut Line,
    trainer: &Trainer,
    folder: Option<(&std::path::Path, bool)>,
    observe: &'a mut dyn FnMut(Event<'_>) -> Result<()>,
    interrupt: Option<&'a AtomicBool>,
) -> Result<Training<'a>> {
    let keep = folder.map(|(folder, resume)| Keep {
        folder: folder.into(),
        about: json!({"network": "line"}),
        resume,
    });
    let session = Session {
        seed: 7,
        keep,
        interrupt,
        observe,
    };
    trainer.train(line, &Points(50), session)
}

fn quiet(_: Event<'_>) -> Result<()> {
    Ok(())
}

#[test]
fn learns_a_line() {
    for trainer in [
        Trainer {
            steps: 400,
            ..trainer()
        },
        Trainer {
            epochs: Some(60),
            schedule: Schedule::Plateau,
            ema_decay: 0.0,
            ..trainer()
        },
        Trainer {
            steps: 400,
            optimiser: Optimiser::Adamw,
            weight_decay: 1e-4,
            ..trainer()
        },
    ] {
        let mut line = line();
        let mut observe = quiet;
        let training = train(&mut line, &trainer, None, &mut observe, None).unwrap();
        let found = line.validation_loss().unwrap();
        assert!(found < 2e-3, "{found}");
        assert_eq!(&line.weights, training.state.judged());
        let last = training.state.history().last().unwrap();
        assert_eq!(last.step, training.state.step());
        assert!(last.train_loss < 0.01, "{last:?}");
    }
}

#[test]
fn a_batch_in_parts_gives_the_same_weights_but_for_rounding() {
    let weights = |accumulate| {
        let mut line = line();
        let settings = Trainer {
            accumulate,
            ..trainer()
        };
        let mut observe = quiet;
        train(&mut line, &settings, None, &mut observe, None).unwrap();
        line.weights.0.iter().map(|w| w.values[0]).collect::<Vec<_>>()
    };
    let whole = weights(1);
    for parts in [2, 3, 8] {
        for (a, b) in weights(parts).iter().zip(&whole) {
            assert!((a - b).abs() < 1e-4, "{parts} parts: {a} and {b}");
        }
    }
}

/// A batch norm alone, which holds numbers that no gradient moves.
struct Normed(BatchNorm<Cpu>);

impl Learner for Normed {
    type Batch = Pairs;

    fn weights(&self) -> Weights {
        self.0.weights()
    }

    fn load(&mut self, weights: &Weights) -> Result<()> {
        self.0.load(weights)
    }

    fn loss_and_gradients(&mut self, batch: Pairs) -> Result<(f64, Vec<Vec<f32>>)> {
        let x = Field::rows(&Cpu::default(), batch.0.concat(), batch.rows())?;
        let y = self
            .0
            .forward(x.traced(), Activation::Identity, None)?
            .into_values();
        let loss = y.square().mean::<(), _>();
        let value = f64::from(loss.array());
        Ok((value, self.0.gradients(&mut loss.backward())?))
    }

    fn absorb(&mut self, weights: &mut Weights) {
        Module::absorb(&mut self.0, weights);
    }

    fn validation_loss(&mut self) -> Result<f64> {
        Ok(0.0)
    }
}

#[test]
fn running_statistics_follow_the_batches_and_no_gradient() {
    const POINTS: usize = 8;
    let trainer = Trainer {
        batch_size: POINTS,
        optimiser: Optimiser::Adamw,
        weight_decay: 0.5,
        ..trainer()
    };
    let mut norm = Normed(BatchNorm::new(&Cpu::default(), 2).unwrap());
    norm.0.set_training(true);
    let session = Session {
        seed: 1,
        keep: None,
        interrupt: None,
        observe: &mut quiet,
    };
    let run = trainer.train(&mut norm, &Points(POINTS), session).unwrap();
    // The first channel is the same in each batch; PyTorch's running statistics of it, after as many steps.
    let x: Vec<f32> = (0..POINTS).map(|i| i as f32 / POINTS as f32).collect();
    let mean = x.iter().sum::<f32>() / POINTS as f32;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / (POINTS - 1) as f32;
    let left = 0.9f32.powi(run.state.step() as i32);
    for weights in [&run.state.weights, run.state.judged(), &norm.weights()] {
        let of = |name: &str| weights.0.iter().find(|w| w.name == name).unwrap().values[0];
        assert!((of("running_mean") - (1.0 - left) * mean).abs() < 1e-5);
        assert!((of("running_var") - (left + (1.0 - left) * variance)).abs() < 1e-5);
    }
}

#[test]
fn interrupted_anywhere_and_resumed_ends_in_the_same_bytes() {
    let settings = Trainer {
        early_stopping: Some(5),
        schedule: Schedule::Plateau,
        ..trainer()
    };
    let whole = tempfile::tempdir().unwrap();
    let mut observe = quiet;
    train(
        &mut line(),
        &settings,
        Some((whole.path(), false)),
        &mut observe,
        None,
    )
    .unwrap();
    let files = |folder: &std::path::Path| {
        [LAST_FILE, BEST_FILE, HISTORY_FILE].map(|name| std::fs::read(folder.join(name)).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let mut made = 0;
    for stop in [3, 20, 21, 59, 119, 500] {
        let flag = AtomicBool::new(false);
        let mut observe = |event: Event<'_>| {
            if let Event::Step { step, .. } = event {
                flag.store(step >= stop, Ordering::Relaxed);
                made = step;
            }
            Ok(())
        };
        let keep = Some((folder.path(), true));
        let training = train(&mut line(), &settings, keep, &mut observe, Some(&flag)).unwrap();
        assert_eq!(training.interrupted, stop < 120);
        assert_eq!(steps_made(folder.path()).unwrap(), Some(stop.min(120)));
    }
    assert_eq!(made, 120);
    assert!(files(whole.path()) == files(folder.path()));
    // A state that was killed before its history was written, and one whose history went further.
    std::fs::write(folder.path().join(HISTORY_FILE), "something else\n").unwrap();
    std::fs::write(folder.path().join("checkpoint_last.partial-1"), "half").unwrap();
    let mut observe = quiet;
    train(
        &mut line(),
        &settings,
        Some((folder.path(), true)),
        &mut observe,
        None,
    )
    .unwrap();
    assert!(files(whole.path()) == files(folder.path()));
    assert!(!folder.path().join("checkpoint_last.partial-1").exists());
}

#[test]
fn patience_ends_a_training_once_and_for_all() {
    // Too slow to move: the first validation stays the best.
    let settings = Trainer {
        learning_rate: 1e-30,
        early_stopping: Some(3),
        ..trainer()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let mut observe = quiet;
        let keep = Some((folder.path(), true));
        let training = train(&mut line(), &settings, keep, &mut observe, None).unwrap();
        assert_eq!((training.state.step(), training.stages()), (80, 1));
        let stale: Vec<usize> = training.state.history().iter().map(|e| e.stale).collect();
        assert_eq!(stale, [0, 1, 2, 3]);
        bytes.push(std::fs::read(folder.path().join(LAST_FILE)).unwrap());
    }
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn another_training_or_a_damaged_state_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Some((folder.path(), true));
    let mut observe = quiet;
    train(&mut line(), &trainer(), keep, &mut observe, None).unwrap();
    let mut observe = quiet;
    let mut message = |settings: Trainer| {
        let result = train(&mut line(), &settings, keep, &mut observe, None);
        result.err().map(|e| e.to_string())
    };
    let other = message(Trainer {
        batch_size: 9,
        ..trainer()
    })
    .unwrap();
    assert!(other.contains("training.batch_size is 8"), "{other}");
    // How often it is kept makes no other training.
    assert_eq!(
        message(Trainer {
            checkpoint_minutes: 1.0,
            ..trainer()
        }),
        None
    );
    let path = folder.path().join(LAST_FILE);
    let bytes = std::fs::read(&path).unwrap();
    for damaged in [&bytes[..bytes.len() - 3], &bytes[..40], &[]] {
        std::fs::write(&path, damaged).unwrap();
        let what = message(trainer()).unwrap();
        assert!(what.contains(LAST_FILE) && what.contains("--overwrite"), "{what}");
        assert!(steps_made(folder.path()).is_err() || damaged.len() > 40);
    }
}

#[test]
fn what_is_not_finite_is_named_with_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut line = line();
    line.fails = Some((51, || Ok(f64::NAN)));
    let mut observe = quiet;
    let result = train(
        &mut line,
        &trainer(),
        Some((folder.path(), false)),
        &mut observe,
        None,
    );
    let message = result.err().unwrap().to_string();
    for words in [
        "the loss is NaN",
        "step 50",
        "learning rate 6",
        LAST_FILE,
        "of step 40",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn short_memory_is_told_with_the_batch_size() {
    let mut line = line();
    line.fails = Some((3, || Err(ModelError::Device("OutOfMemory".into()))));
    let mut observe = quiet;
    let settings = Trainer {
        accumulate: 2,
        ..trainer()
    };
    let message = train(&mut line, &settings, None, &mut observe, None)
        .err()
        .unwrap()
        .to_string();
    for words in ["4 examples at once", "batch_size is 8", "accumulate to 4"] {
        assert!(message.contains(words), "{words}: {message}");
    }
}
