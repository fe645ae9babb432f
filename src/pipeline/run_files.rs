//! Read and write the files that every run folder has, whatever was trained.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use armilla_models::checkpoint;
use armilla_models::train::{BEST_FILE, Epoch, HISTORY_FILE, LAST_FILE, save_best, save_history};
use armilla_models::weights::Weights;
use serde::{Deserialize, Serialize};

use super::OutFolder;
use super::trained::{HISTORY_PICTURE, MODEL_FILE, Trained};
use crate::atomic::{cannot_write, write_atomically};
use crate::{Error, Result};

/// Reads the description of the run in the folder `path`: its file and its text.
pub(super) fn read_description(path: &Path) -> Result<(PathBuf, String)> {
    let model = path.join(MODEL_FILE);
    if !path.is_dir() {
        return Err(Error::file(
            path,
            "there is no such run folder; make one with `armilla train`",
        ));
    }
    match fs::read_to_string(&model) {
        Ok(text) => Ok((model, text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::file(
            path,
            format!("this is no run folder: it has no {MODEL_FILE}; make one with `armilla train`"),
        )),
        Err(e) => Err(Error::file(&model, format!("cannot be read: {e}"))),
    }
}

/// What every description begins with. It is read first: what a later version writes may not parse otherwise.
#[derive(Deserialize)]
pub(super) struct Head {
    format: u32,
    /// How a generative model was trained; none for a surrogate.
    pub method: Option<String>,
}

impl Head {
    pub fn of(text: &str) -> std::result::Result<Self, String> {
        serde_json::from_str(text).map_err(|e| format!("is no description of a run: {e}"))
    }

    /// Looks whether it is of the format that is read.
    pub fn check(&self, read: u32) -> std::result::Result<(), String> {
        if self.format == read {
            return Ok(());
        }
        Err(format!(
            "the run has format {}, this version reads {read}; train again or use another version",
            self.format
        ))
    }
}

/// The best weights of the run in the folder `path`.
pub(super) fn best_weights(path: &Path) -> Result<Weights> {
    let best = path.join(BEST_FILE);
    if !best.exists() {
        return Err(Error::file(
            &best,
            "the checkpoint is missing; train again with --overwrite",
        ));
    }
    Ok(checkpoint::load(&best)?)
}

/// Writes a run into `folder`, its description last: a folder that has one is whole.
pub(super) fn save_run(
    best: &Weights,
    trained: &Trained,
    card: &impl Serialize,
    draw: &dyn Fn(&[Epoch], &Path) -> Result<()>,
    folder: &mut OutFolder,
) -> Result<()> {
    let model = folder.file(MODEL_FILE);
    if model.exists() {
        fs::remove_file(&model).map_err(|e| Error::file(&model, cannot_write(&e)))?;
    }
    folder.file(BEST_FILE);
    save_best(folder.path(), best)?;
    folder.file(LAST_FILE);
    trained.state.save(folder.path())?;
    let history = trained.state.history();
    folder.file(HISTORY_FILE);
    save_history(folder.path(), history)?;
    draw(history, &folder.file(HISTORY_PICTURE))?;
    write_json(&model, card)
}

/// Writes `value` to `path` as JSON, all or nothing.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomically(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
            .map_err(|e| Error::file(path, cannot_write(&e)))
    })
}
