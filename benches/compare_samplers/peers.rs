//! Read what other packages reached on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use serde::Deserialize;

/// Where `benches/peers/*_run.py` write, from the root of the repository.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/results.jsonl");
/// Chains further apart than this have no effective draws to compare with.
const RHAT_LIMIT: f64 = 1.05;

#[derive(Deserialize)]
struct Line {
    peer: String,
    target: String,
    ess_per_second: f64,
    max_rhat: f64,
}

/// Effective draws per second by target and peer: the best of the settings tried.
pub struct Peers(BTreeMap<(String, String), f64>);

impl Peers {
    /// Reads the results; without a file there are none.
    pub fn read() -> Result<Self, Box<dyn std::error::Error>> {
        let text = match fs::read_to_string(RESULTS) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut best = BTreeMap::new();
        for line in text.lines() {
            let line: Line = serde_json::from_str(line)?;
            if line.max_rhat < RHAT_LIMIT {
                let entry = best.entry((line.target, line.peer)).or_insert(0.0_f64);
                *entry = entry.max(line.ess_per_second);
            }
        }
        Ok(Self(best))
    }

    /// `3.1× nutpie  8.0× numpyro`, with the peers of the same kind first thought of: an ensemble is compared
    /// with an ensemble.
    pub fn ratios(&self, target: &str, method: &str, per_second: f64) -> String {
        let peers = self.0.iter().filter(|((of, peer), _)| {
            of == target && (method.starts_with("ensemble") || method.starts_with("NUTS") || peer == "emcee")
        });
        let ratios = peers.map(|((_, peer), theirs)| format!("{:.1}× {peer}", per_second / theirs));
        ratios.collect::<Vec<_>>().join("  ")
    }
}
