//! Keep all that a training is, so that it can go on elsewhere to the same bits.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Adam, Epoch, schedule::Patience};
use crate::{
    checkpoint::{self, Contents, PARTIAL, Precision, write_tensors, write_whole},
    error::{ModelError, Result},
    weights::{Weight, Weights},
};

/// Where the state is kept, and whether to go on from there.
#[derive(Debug, Clone)]
pub struct Keep {
    /// The folder: `checkpoint_last.safetensors`, `checkpoint_best.safetensors` and `history.jsonl`.
    pub folder: PathBuf,
    /// What is trained on what: it goes into the state, and a state with another is not resumed.
    pub about: Value,
    /// Go on from `checkpoint_last`, where there is one.
    pub resume: bool,
}

/// The state.
pub const LAST_FILE: &str = "checkpoint_last.safetensors";
/// The weights with the lowest validation loss.
pub const BEST_FILE: &str = "checkpoint_best.safetensors";
/// The history, a line of JSON for each validation.
pub const HISTORY_FILE: &str = "history.jsonl";
/// The key of the metadata under which the part of the state that is no tensor is kept.
const KEY: &str = "training";

/// All that a training is between two steps. Batches, noise and order follow from the seed and the step.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The weights that are stepped.
    pub weights: Weights,
    /// Their exponential average; none where there is no averaging.
    pub average: Option<Weights>,
    pub(super) adam: Adam,
    pub(super) position: Position,
}

/// The part of a state that is no tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// What is trained, and how.
    pub(super) about: Value,
    /// Steps made.
    pub(super) step: usize,
    /// Parts of the training that are behind it: the first is the loop over batches.
    pub(super) stages: usize,
    /// Sum and number of the losses since the last validation.
    pub(super) losses: (f64, usize),
    pub(super) patience: Patience,
    pub(super) history: Vec<Epoch>,
}

impl State {
    /// Steps made.
    pub fn step(&self) -> usize {
        self.position.step
    }

    /// What the validations found.
    pub fn history(&self) -> &[Epoch] {
        &self.position.history
    }

    /// The weights that are judged and used: the averaged ones, where there are.
    pub fn judged(&self) -> &Weights {
        self.average.as_ref().unwrap_or(&self.weights)
    }

    /// Writes the state into `folder`: one file, beside its place first, flushed to the disk, then renamed. The same
    /// state gives the same bytes.
    ///
    /// # Errors
    /// `Checkpoint` where the file cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let path = folder.as_ref().join(LAST_FILE);
        let position = serde_json::to_string(&self.position)
            .map_err(|e| ModelError::checkpoint(&path, format!("cannot be written: {e}")))?;
        let parts = [
            ("weights", Some(&self.weights)),
            ("average", self.average.as_ref()),
            ("adam.first", Some(&self.adam.moments[0])),
            ("adam.second", Some(&self.adam.moments[1])),
        ];
        let tensors: Vec<(String, &Weight)> = parts
            .iter()
            .filter_map(|(name, part)| part.map(|part| (name, part)))
            .flat_map(|(name, part)| part.0.iter().map(move |w| (format!("{name}.{}", w.name), w)))
            .collect();
        write_tensors(&path, &tensors, Precision::F32, Some((KEY, position)))
    }

    /// Reads the state in `folder` of a training of weights like those of `fresh`; none if there is no file.
    ///
    /// # Errors
    /// `Checkpoint` where the file is damaged or that of another training: it names the first setting that differs.
    pub(super) fn load(folder: &Path, fresh: &Self) -> Result<Option<Self>> {
        let path = folder.join(LAST_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let fail = |what: String| ModelError::checkpoint(&path, what);
        let damaged = |e: &dyn std::fmt::Display| {
            fail(format!(
                "is no state of a training that can go on ({e}); begin anew with --overwrite"
            ))
        };
        let file = Contents::read(&path).map_err(|e| damaged(&e))?;
        let position = position(&file).map_err(|e| damaged(&e))?;
        if let Some(difference) = difference("", &position.about, &fresh.position.about) {
            return Err(fail(format!("belongs to another training: {difference}")));
        }
        let part = |name: &str, like: &Weights| -> Result<Weights> {
            let read = |w: &Weight| -> Result<Weight> {
                let name = format!("{name}.{}", w.name);
                let tensor = file.tensors.iter().find(|t| t.name == name);
                let tensor = tensor.filter(|t| t.dtype == "F32" && t.shape == w.shape);
                let tensor =
                    tensor.ok_or_else(|| damaged(&format!("{name} is missing or of another shape")))?;
                let values = file.weight(tensor).map_err(|e| damaged(&e))?.values;
                Ok(Weight { values, ..w.clone() })
            };
            Ok(Weights(like.0.iter().map(read).collect::<Result<_>>()?))
        };
        let like = &fresh.weights;
        let mut adam = fresh.adam.clone();
        adam.moments = [part("adam.first", like)?, part("adam.second", like)?];
        adam.steps = position.step as i32;
        Ok(Some(Self {
            weights: part("weights", like)?,
            average: fresh
                .average
                .as_ref()
                .map(|_| part("average", like))
                .transpose()?,
            adam,
            position,
        }))
    }
}

/// How far the training in `folder` has come, in steps; none if there is no state.
///
/// # Errors
/// `Checkpoint` where the file is damaged.
pub fn steps_made(folder: impl AsRef<Path>) -> Result<Option<usize>> {
    let path = folder.as_ref().join(LAST_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let position = Contents::read(&path)
        .map_err(|e| e.to_string())
        .and_then(|file| position(&file));
    match position {
        Ok(position) => Ok(Some(position.step)),
        Err(e) => Err(ModelError::checkpoint(
            &path,
            format!("is no state of a training: {e}"),
        )),
    }
}

/// What is no tensor, from the metadata.
fn position(file: &Contents) -> std::result::Result<Position, String> {
    let text = file.metadata.get(KEY);
    serde_json::from_str(text.ok_or("it holds weights alone")?).map_err(|e| e.to_string())
}

/// The first place where two descriptions differ, in words.
fn difference(place: &str, kept: &Value, given: &Value) -> Option<String> {
    if kept == given {
        return None;
    }
    if let (Value::Object(kept), Value::Object(given)) = (kept, given) {
        let inside = |key: &String| {
            if place.is_empty() {
                key.clone()
            } else {
                format!("{place}.{key}")
            }
        };
        return (kept.keys().chain(given.keys())).find_map(|key| {
            let value = |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or_default();
            difference(&inside(key), &value(kept), &value(given))
        });
    }
    Some(format!("its {place} is {kept}, that of this one {given}"))
}

/// Writes weights alone, as the state is written.
///
/// # Errors
/// `Checkpoint` where the file cannot be written.
pub fn save_best(folder: impl AsRef<Path>, weights: &Weights) -> Result<()> {
    checkpoint::save(folder.as_ref().join(BEST_FILE), weights)
}

/// Writes the whole history, all or nothing.
///
/// # Errors
/// `Checkpoint` where the file cannot be written.
pub fn save_history(folder: impl AsRef<Path>, history: &[Epoch]) -> Result<()> {
    let lines: String = history.iter().map(line).collect();
    write_whole(&folder.as_ref().join(HISTORY_FILE), |out| {
        out.write_all(lines.as_bytes())
    })
}

/// Adds a line to the history.
pub(super) fn append_history(folder: &Path, epoch: &Epoch) -> Result<()> {
    let path = folder.join(HISTORY_FILE);
    File::options()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line(epoch).as_bytes()))
        .map_err(|e| ModelError::checkpoint(&path, format!("cannot be written: {e}")))
}

fn line(epoch: &Epoch) -> String {
    // Numbers and truths alone: there is nothing in it that JSON could not hold.
    serde_json::to_string(epoch).unwrap_or_default() + "\n"
}

/// Removes what an earlier training left: the state first, without which the rest is no training that can go on. The
/// rounds that came after it, in folders `round-0`, `round-1`, …, go with it.
pub(super) fn remove(folder: &Path) -> Result<()> {
    for name in [LAST_FILE, BEST_FILE, HISTORY_FILE] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(ModelError::checkpoint(&path, format!("cannot be removed: {e}")));
            }
            _ => {}
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("round-"));
        let path = entry.path();
        if path.is_dir() && number.is_some_and(|number| number.parse::<usize>().is_ok()) {
            remove(&path)?;
            // Where somebody else keeps something in it, it stays.
            let _ = fs::remove_dir(&path);
        }
    }
    Ok(())
}

/// Removes what earlier trainings left that were killed while they wrote.
pub(super) fn clean(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = [LAST_FILE, BEST_FILE, HISTORY_FILE]
            .iter()
            .filter_map(|file| file.split('.').next())
            .any(|stem| {
                name.strip_prefix(stem)
                    .is_some_and(|rest| rest.starts_with(&format!(".{PARTIAL}")))
            });
        if ours {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let kept = json!({"training": {"steps": 3, "plateau": {"factor": 0.5}}, "seed": 1});
        let mut given = kept.clone();
        assert_eq!(difference("", &kept, &given), None);
        given["training"]["plateau"]["factor"] = json!(0.1);
        let words = difference("", &kept, &given).unwrap();
        assert_eq!(words, "its training.plateau.factor is 0.5, that of this one 0.1");
        given["more"] = json!(1);
        given["training"] = kept["training"].clone();
        assert!(difference("", &kept, &given).unwrap().contains("more is null"));
    }
}
