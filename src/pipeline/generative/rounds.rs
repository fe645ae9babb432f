//! Know the folders of the rounds of a rectified flow in a run folder.

use std::fs;
use std::path::Path;

use armilla_models::train::{BEST_FILE, HISTORY_FILE, LAST_FILE};

/// Whether a folder of this name is that of a round.
pub(crate) fn is_round(name: &str) -> bool {
    name.strip_prefix("round-")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Removes the rounds of an earlier training in the folder `run`: else they would be resumed.
pub(super) fn remove(run: &Path) {
    for entry in fs::read_dir(run).into_iter().flatten().flatten() {
        if !is_round(&entry.file_name().to_string_lossy()) {
            continue;
        }
        // What cannot be removed is no state of this training, which a resumed one says.
        for ours in [BEST_FILE, LAST_FILE, HISTORY_FILE] {
            let _ = fs::remove_file(entry.path().join(ours));
        }
        // Other people's files stay, and their folder with them.
        let _ = fs::remove_dir(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_and_what_else_is_there_stays() {
        let run = tempfile::tempdir().unwrap();
        for (folder, file) in [
            ("round-1", LAST_FILE),
            ("round-2", "notes.txt"),
            ("round-2", BEST_FILE),
            ("round-off", LAST_FILE),
        ] {
            fs::create_dir_all(run.path().join(folder)).unwrap();
            fs::write(run.path().join(folder).join(file), "1").unwrap();
        }
        remove(run.path());
        assert!(!run.path().join("round-1").exists());
        assert!(run.path().join("round-2/notes.txt").exists());
        assert!(!run.path().join("round-2").join(BEST_FILE).exists());
        assert!(run.path().join("round-off").join(LAST_FILE).exists());
    }
}
