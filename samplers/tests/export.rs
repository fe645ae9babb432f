//! Write runs, read them back.

use std::fs;

use armilla_samplers::export::{csv, getdist, json, zarr};
use armilla_samplers::prelude::*;

/// Two normal numbers about 1 and 2.
struct Pair;

impl Likelihood for Pair {
    fn dim(&self) -> usize {
        2
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(-0.5 * ((x[0] - 1.0).powi(2) + (x[1] - 2.0).powi(2)))
    }
}

impl DifferentiableLikelihood for Pair {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        gradient[0] = 1.0 - x[0];
        gradient[1] = 2.0 - x[1];
        self.log_likelihood(x)
    }
}

fn posterior() -> Posterior<Pair> {
    let prior = Prior::new()
        .with("eta[0]", Normal::new(0.0, 3.0).unwrap())
        .and_then(|prior| prior.with("eta[1]", Uniform::new(0.0, 4.0).unwrap()))
        .unwrap();
    Posterior::new(prior, Pair).unwrap()
}

fn chains() -> Run {
    let options = RunOptions {
        chains: 2,
        warmup: 100,
        draws: 50,
        ..RunOptions::default()
    };
    Hmc::default().sample(&posterior(), &options).unwrap()
}

fn grid() -> Run {
    Grid::new(12)
        .sample(&posterior(), &RunOptions::default())
        .unwrap()
}

/// The draws and what is known of each, without what a table of draws cannot hold.
fn draws_only(run: &Run) -> Vec<Chain> {
    let stripped = |chain: &Chain| Chain {
        warmup_divergences: 0,
        step_size: None,
        ..chain.clone()
    };
    run.chains.iter().map(stripped).collect()
}

use armilla_samplers::run::Chain;

#[test]
fn csv_and_json_read_back_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for run in [chains(), grid()] {
        let path = folder.path().join("run.csv");
        csv::write(&run, &path).unwrap();
        let read = csv::read(&path).unwrap();
        assert_eq!(draws_only(&read), draws_only(&run));
        assert_eq!(read.names, run.names);
        let path = folder.path().join("run.json");
        json::write(&run, &path).unwrap();
        assert_eq!(json::read(&path).unwrap(), run);
    }
    let mut odd = chains();
    odd.names[0] = "a, \"b\"".into();
    odd.chains[0].draws[0] = f64::INFINITY;
    odd.chains[1].log_density[3] = f64::NEG_INFINITY;
    let path = folder.path().join("odd");
    csv::write(&odd, &path).unwrap();
    assert_eq!(draws_only(&csv::read(&path).unwrap()), draws_only(&odd));
    assert_eq!(csv::read(&path).unwrap().names, odd.names);
    json::write(&odd, &path).unwrap();
    assert_eq!(json::read(&path).unwrap(), odd);
}

#[test]
fn getdist_reads_back_draws_and_weights() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("v1.0_chain");
    let ranges = [(f64::NEG_INFINITY, f64::INFINITY), (0.0, 4.0)];
    for (run, files) in [(chains(), 2), (grid(), 1)] {
        getdist::write(&run, &ranges, &root).unwrap();
        assert!(folder.path().join(format!("v1.0_chain_{files}.txt")).exists());
        let read = getdist::read(&root).unwrap();
        assert_eq!(read.names, run.names);
        let weighted = |run: &Run| -> Vec<(Vec<f64>, f64)> {
            let pairs = run.draws().map(<[f64]>::to_vec).zip(run.weights());
            pairs.filter(|(_, weight)| *weight > 0.0).collect()
        };
        let (read, written) = (weighted(&read), weighted(&run));
        assert_eq!(read.len(), written.len());
        for ((x, w), (y, v)) in read.into_iter().zip(written) {
            assert!(x == y && (w - v).abs() < 1e-15);
        }
        let _ = fs::remove_file(folder.path().join("v1.0_chain_2.txt"));
    }
    let ranges_text = fs::read_to_string(folder.path().join("v1.0_chain.ranges")).unwrap();
    assert_eq!(ranges_text, "eta[0] N N\neta[1] 0.0 4.0\n");
    let names = fs::read_to_string(folder.path().join("v1.0_chain.paramnames")).unwrap();
    assert_eq!(names, "eta[0]\t\\eta_{0}\neta[1]\t\\eta_{1}\n");
    assert!(matches!(
        getdist::write(&chains(), &[], &root),
        Err(SampleError::Invalid(_))
    ));
}

#[test]
fn zarr_reads_back_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    for run in [grid(), chains()] {
        // The second is written over the first.
        zarr::write(&run, &path).unwrap();
        let read = zarr::read(&path).unwrap();
        assert_eq!(read.names, run.names);
        for (a, b) in read.chains.iter().zip(&run.chains) {
            assert_eq!(a.draws, b.draws);
            assert_eq!(a.log_density, b.log_density);
            assert_eq!(a.log_weights, b.log_weights);
            assert_eq!(a.steps, b.steps);
            assert_eq!(a.step_size, b.step_size);
        }
    }
    // One array of a vector's elements.
    let shape = fs::read_to_string(path.join("posterior/eta/.zarray")).unwrap();
    assert!(shape.contains("\"shape\":[2,50,2]"), "{shape}");
}

#[test]
fn bad_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let missing = [
        csv::read(&path),
        json::read(&path),
        getdist::read(&path),
        zarr::read(&path),
    ];
    for error in missing {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
    }
    csv::write(&chains(), &path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 30]).unwrap();
    let error = csv::read(&path).unwrap_err().to_string();
    assert!(error.contains("line 101: not a draw"), "{error}");
    assert!(json::read(&path).is_err() && zarr::write(&chains(), &path).is_err());
    let nowhere = folder.path().join("no/such/folder/run.csv");
    assert!(matches!(
        csv::write(&chains(), &nowhere),
        Err(SampleError::File(_))
    ));

    let path = folder.path().join("run.zarr");
    zarr::write(&chains(), &path).unwrap();
    let chunk = path.join("posterior/eta/0.0.0");
    let bytes = fs::read(&chunk).unwrap();
    fs::write(&chunk, &bytes[..bytes.len() / 2]).unwrap();
    let error = zarr::read(&path).unwrap_err().to_string();
    assert!(error.contains("cut short"), "{error}");
}

#[test]
fn a_run_without_draws_is_written_too() {
    let folder = tempfile::tempdir().unwrap();
    let options = RunOptions {
        draws: 0,
        ..RunOptions::default()
    };
    let run = Hmc::default().sample(&posterior(), &options).unwrap();
    zarr::write(&run, &folder.path().join("z")).unwrap();
    assert!(zarr::read(&folder.path().join("z")).unwrap().is_empty());
    csv::write(&run, &folder.path().join("c")).unwrap();
    assert!(csv::read(&folder.path().join("c")).unwrap().is_empty());
}
