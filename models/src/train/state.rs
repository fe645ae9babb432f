//! Keep all that a training is, so that it can go on elsewhere to the same bits.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Adam, Epoch, schedule::Patience};
use crate::{
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
/// How a state that is being written is called until it is whole.
const PARTIAL: &str = "partial-";

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
        write_tensors(&path, &tensors, Some(position))
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
        let data = fs::read(&path).map_err(|e| fail(format!("cannot be read: {e}")))?;
        let damaged = |e: &dyn std::fmt::Display| {
            fail(format!(
                "is no state of a training that can go on ({e}); begin anew with --overwrite"
            ))
        };
        let position = position(&path).map_err(|e| damaged(&e))?;
        if let Some(difference) = difference("", &position.about, &fresh.position.about) {
            return Err(fail(format!("belongs to another training: {difference}")));
        }
        let file = SafeTensors::deserialize(&data).map_err(|e| damaged(&e))?;
        let part = |name: &str, like: &Weights| -> Result<Weights> {
            let read = |w: &Weight| -> Result<Weight> {
                let tensor = file
                    .tensor(&format!("{name}.{}", w.name))
                    .map_err(|e| damaged(&e))?;
                if tensor.dtype() != Dtype::F32 || tensor.shape() != w.shape {
                    return Err(damaged(&format!("{name}.{} has another shape", w.name)));
                }
                let (chunks, _) = tensor.data().as_chunks::<4>();
                Ok(Weight {
                    values: chunks.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                    ..w.clone()
                })
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
    match position(&path) {
        Ok(position) => Ok(Some(position.step)),
        Err(e) => Err(ModelError::checkpoint(
            &path,
            format!("is no state of a training: {e}"),
        )),
    }
}

/// Reads the header alone: the tensors after it may be large.
fn position(path: &Path) -> std::result::Result<Position, String> {
    let header = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let mut header = Vec::new();
        file.take(u64::from_le_bytes(length)).read_to_end(&mut header)?;
        Ok(header)
    };
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__")]
        metadata: Option<HashMap<String, String>>,
    }
    let header = header().map_err(|e| e.to_string())?;
    let header: Header = serde_json::from_slice(&header).map_err(|e| e.to_string())?;
    let text = header.metadata.as_ref().and_then(|m| m.get(KEY));
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
    let tensors: Vec<_> = weights.0.iter().map(|w| (w.name.clone(), w)).collect();
    write_tensors(&folder.as_ref().join(BEST_FILE), &tensors, None)
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

/// Writes a safetensors file tensor by tensor, without a copy of all of them in memory.
fn write_tensors(path: &Path, tensors: &[(String, &Weight)], about: Option<String>) -> Result<()> {
    let mut header = serde_json::Map::new();
    if let Some(about) = about {
        header.insert("__metadata__".into(), json!({ KEY: about }));
    }
    let mut end = 0;
    for (name, w) in tensors {
        let start = end;
        end += 4 * w.values.len();
        let place = json!({ "dtype": "F32", "shape": w.shape, "data_offsets": [start, end] });
        header.insert(name.clone(), place);
    }
    let mut header = Value::Object(header).to_string();
    // Tensors are aligned to eight bytes.
    let padding = header.len().next_multiple_of(8) - header.len();
    header.extend(std::iter::repeat_n(' ', padding));
    write_whole(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        let mut values = tensors.iter().flat_map(|(_, w)| &w.values);
        values.try_for_each(|v| out.write_all(&v.to_le_bytes()))
    })
}

/// Writes a file: beside its place first, flushed to the disk, then renamed.
fn write_whole(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let beside = path.with_extension(format!("{PARTIAL}{}", std::process::id()));
    let write = || {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&beside)?);
        fill(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|e| {
        // Nothing half-written stays; that it was there is the error to report.
        let _ = fs::remove_file(&beside);
        ModelError::checkpoint(path, format!("cannot be written: {e}"))
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

/// Removes what an earlier training left: the state first, without which the rest is no training that can go on.
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
