//! Keep a run in a folder while it goes on, and find it there again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::options::Checkpoint;
use super::table;
use super::worker::Worker;
use super::{Chain, Evaluations, RunOptions};
use crate::density::Density;
use crate::error::SampleError;
use crate::rng::Stream;

/// The layout of the folder's files; another one is not read.
const FORMAT: u32 = 1;

/// What was asked for: a folder goes on only with the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    format: u32,
    method: String,
    settings: String,
    names: Vec<String>,
    seed: u64,
    chains: usize,
    warmup: usize,
}

impl Identity {
    pub(super) fn new<T: Density + ?Sized>(
        method: String,
        settings: String,
        target: &T,
        options: &RunOptions,
    ) -> Self {
        Self {
            format: FORMAT,
            method,
            settings,
            names: target.names().to_vec(),
            seed: options.seed,
            chains: options.chains,
            warmup: options.warmup,
        }
    }

    /// The first thing in which the two differ, in words.
    fn difference(&self, other: &Self) -> Option<String> {
        let texts = |identity: &Self| {
            [
                ("format", identity.format.to_string()),
                ("method", identity.method.clone()),
                ("settings", identity.settings.clone()),
                ("parameters", identity.names.join(", ")),
                ("seed", identity.seed.to_string()),
                ("chains", identity.chains.to_string()),
                ("warmup", identity.warmup.to_string()),
            ]
        };
        let pairs = texts(self).into_iter().zip(texts(other));
        let differ = |((what, a), (_, b)): (_, (_, String))| (a != b).then(|| format!("{what} {a}, not {b}"));
        pairs
            .map(differ)
            .find_map(|difference: Option<String>| difference)
    }
}

/// A worker as it is written. Its draws are in the tables.
#[derive(Serialize, Deserialize)]
struct Saved<S> {
    state: S,
    /// Where its random stream is.
    word: u128,
    evaluations: Evaluations,
    chains: Vec<SavedChain>,
}

#[derive(Serialize, Deserialize)]
struct SavedChain {
    draws: usize,
    /// The length of the table that holds them.
    bytes: u64,
    warmup_divergences: usize,
    step_size: Option<f64>,
}

/// A folder that this run alone writes to.
pub(super) struct Folder {
    path: PathBuf,
    names: Vec<String>,
    /// Held as long as the run lasts; the system lets go of it when the process ends.
    lock: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing the file would not do while a process that was just forked has it too. A lock that cannot be
        // let go of ends with the process.
        let _ = self.lock.unlock();
    }
}

impl Folder {
    /// Opens the folder for a run of this identity.
    ///
    /// # Errors
    /// Where it belongs to another run, or cannot be written to.
    pub(super) fn open(checkpoint: &Checkpoint, identity: Identity) -> Result<Self, SampleError> {
        let path = checkpoint.folder.clone();
        if path.is_file() {
            return Err(SampleError::File(format!(
                "{}: this is a file: give a folder to keep the run in",
                path.display()
            )));
        }
        fs::create_dir_all(&path).map_err(|error| file_error(&path, &error))?;
        let lock_path = path.join("run.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path);
        let lock = lock.map_err(|error| file_error(&lock_path, &error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SampleError::File(format!(
                "{}: another run is writing to this folder: wait for it, or choose another folder",
                path.display()
            )),
            TryLockError::Error(error) => file_error(&lock_path, &error),
        })?;
        // From here on the lock is let go of whatever happens.
        let folder = Self {
            path,
            names: identity.names.clone(),
            lock,
        };
        folder.belongs_to(&identity)?;
        Ok(folder)
    }

    /// Leaves a record of the run, or compares with the one that is there.
    fn belongs_to(&self, identity: &Identity) -> Result<(), SampleError> {
        let record = self.path.join("run.json");
        match fs::read(&record) {
            Ok(bytes) => {
                let found: Identity = serde_json::from_slice(&bytes).map_err(|error| {
                    SampleError::File(format!(
                        "{}: no record of a run ({error}): delete the folder",
                        record.display()
                    ))
                })?;
                if let Some(difference) = found.difference(identity) {
                    return Err(SampleError::File(format!(
                        "{}: the folder holds a run with {difference}; ask for the same, or choose another folder",
                        self.path.display()
                    )));
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = serde_json::to_vec_pretty(identity)
                    .map_err(|error| SampleError::File(format!("{}: {error}", record.display())))?;
                write_whole(&record, &text)
            }
            Err(error) => Err(file_error(&record, &error)),
        }
    }

    fn state_path(&self, worker: usize) -> PathBuf {
        self.path.join(format!("worker-{worker}.state"))
    }

    fn table_path(&self, chain: usize) -> PathBuf {
        self.path.join(format!("chain-{chain}.csv"))
    }

    /// The worker as its last checkpoint left it, on its random stream `rng`; `None` where there is none.
    ///
    /// # Errors
    /// Where a file is damaged or cannot be read.
    pub(super) fn load<S: DeserializeOwned>(
        &self,
        index: usize,
        chains: usize,
        mut rng: Stream,
    ) -> Result<Option<Worker<S>>, SampleError> {
        let path = self.state_path(index);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error(&path, &error)),
        };
        let damaged =
            |what: &str| SampleError::File(format!("{}: {what}: delete the folder", path.display()));
        let saved: Saved<S> =
            postcard::from_bytes(&bytes).map_err(|error| damaged(&format!("no checkpoint ({error})")))?;
        if saved.chains.len() != chains {
            return Err(damaged("a checkpoint of other chains"));
        }
        let (mut loaded, mut written) = (Vec::with_capacity(chains), Vec::with_capacity(chains));
        for (offset, saved) in saved.chains.into_iter().enumerate() {
            let path = self.table_path(index * chains + offset);
            let mut chain = self.read_table(&path, saved.bytes)?;
            if chain.len() != saved.draws {
                return Err(damaged(&format!(
                    "it counts {} draws where {} has {}",
                    saved.draws,
                    path.display(),
                    chain.len()
                )));
            }
            chain.warmup_divergences = saved.warmup_divergences;
            chain.step_size = saved.step_size;
            written.push((saved.draws, saved.bytes));
            loaded.push(chain);
        }
        rng.set_word_pos(saved.word);
        let mut worker = Worker::new(index, saved.state, rng, loaded, saved.evaluations);
        worker.written = written;
        Ok(Some(worker))
    }

    /// Reads the first `bytes` of a table and cuts off what came after the checkpoint.
    fn read_table(&self, path: &Path, bytes: u64) -> Result<Chain, SampleError> {
        let failed = |error: io::Error| file_error(path, &error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => SampleError::File(format!(
                    "{}: the draws of the checkpoint are gone: delete the folder",
                    path.display()
                )),
                _ => failed(error),
            })?;
        if file.metadata().map_err(failed)?.len() < bytes {
            return Err(SampleError::File(format!(
                "{}: it is shorter than its checkpoint says: delete the folder",
                path.display()
            )));
        }
        file.set_len(bytes).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        table::parse(&text, &self.names)
            .map_err(|message| SampleError::File(format!("{}: {message}", path.display())))
    }

    /// Appends the new draws to the tables, then writes the state: a cut between the two loses nothing,
    /// since what the state does not know of is cut off and drawn again.
    ///
    /// # Errors
    /// Where a file cannot be written, as on a full disk.
    pub(super) fn save<S: Serialize>(&self, worker: &mut Worker<S>) -> Result<(), SampleError> {
        let chains = worker.chains.len();
        let mut saved = Vec::with_capacity(chains);
        for (offset, chain) in worker.chains.iter().enumerate() {
            let path = self.table_path(worker.index * chains + offset);
            let written = &mut worker.written[offset];
            let bytes =
                append(&path, &self.names, chain, *written).map_err(|error| file_error(&path, &error))?;
            *written = (chain.len(), bytes);
            saved.push(SavedChain {
                draws: chain.len(),
                bytes,
                warmup_divergences: chain.warmup_divergences,
                step_size: chain.step_size,
            });
        }
        let path = self.state_path(worker.index);
        let saved = Saved {
            state: &worker.state,
            word: worker.rng.get_word_pos(),
            evaluations: worker.evaluations,
            chains: saved,
        };
        let bytes = postcard::to_stdvec(&saved)
            .map_err(|error| SampleError::File(format!("{}: {error}", path.display())))?;
        write_whole(&path, &bytes)
    }
}

/// Writes the draws from `from` on behind the first `bytes` of the file, and gives its new length. An
/// earlier part that was never confirmed is overwritten.
fn append(path: &Path, names: &[String], chain: &Chain, (from, bytes): (usize, u64)) -> io::Result<u64> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    file.set_len(bytes)?;
    let end = file.seek(SeekFrom::Start(bytes))?;
    let mut writer = BufWriter::new(file);
    if end == 0 {
        table::write_header(&mut writer, names)?;
    }
    table::write_rows(&mut writer, "", names.len(), chain, from)?;
    let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_data()?;
    file.stream_position()
}

/// Writes a file as a whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SampleError> {
    let partial = path.with_extension("partial");
    let written = || -> io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&partial, path)
    };
    written().map_err(|error| file_error(path, &error))
}

pub(crate) fn file_error(path: &Path, error: &io::Error) -> SampleError {
    SampleError::File(format!("{}: {error}", path.display()))
}
