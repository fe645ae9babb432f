//! Write chains as GetDist, Cobaya and CosmoMC read them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{invalid, read_text, run_of_draws};
use crate::error::SampleError;
use crate::run::checkpoint::write_whole;
use crate::run::{Chain, Run};

/// Writes `root_1.txt`, `root_2.txt`, … (a row for each draw: its weight, −ln p, the parameters),
/// `root.paramnames` and `root.ranges`. `ranges` are the bounds of the parameters in their order, infinite where
/// there are none, as [`Prior::support`](crate::Prior::support) gives them.
///
/// # Errors
/// `SampleError::Invalid` where there is not one range for each parameter, `File` where a file cannot be written.
pub fn write(run: &Run, ranges: &[(f64, f64)], root: &Path) -> Result<(), SampleError> {
    if ranges.len() != run.dim() {
        let message = format!("{} ranges given for {} parameters", ranges.len(), run.dim());
        return Err(SampleError::Invalid(message));
    }
    let mut weights = run.weights().into_iter();
    // Weights of one read better than 1/n, and a weighted run's greatest becomes one.
    let greatest = run.weights().into_iter().fold(f64::MIN_POSITIVE, f64::max);
    for (number, chain) in run.chains.iter().enumerate() {
        let mut text = String::new();
        for (draw, log_density) in chain.draws.chunks_exact(run.dim().max(1)).zip(&chain.log_density) {
            let weight = weights.next().unwrap_or(0.0) / greatest;
            // A row of no weight says nothing, and GetDist takes the logarithm of none.
            if weight == 0.0 {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "{weight:?} {:?}", -log_density);
            for x in draw {
                let _ = write!(text, " {x:?}");
            }
            text.push('\n');
        }
        write_whole(&with(root, &format!("_{}.txt", number + 1)), text.as_bytes())?;
    }
    let (mut names, mut bounds) = (String::new(), String::new());
    for (name, (low, high)) in run.names.iter().zip(ranges) {
        let bound = |x: &f64| {
            if x.is_finite() {
                format!("{x:?}")
            } else {
                "N".to_owned()
            }
        };
        let name = one_word(name);
        let _ = writeln!(names, "{name}\t{}", label(&name));
        let _ = writeln!(bounds, "{name} {} {}", bound(low), bound(high));
    }
    write_whole(&with(root, ".paramnames"), names.as_bytes())?;
    write_whole(&with(root, ".ranges"), bounds.as_bytes())
}

/// Reads `root_1.txt` and so on until one is missing, with the names of `root.paramnames`.
///
/// # Errors
/// `SampleError::File`, with the line, where a file is missing or holds something else.
pub fn read(root: &Path) -> Result<Run, SampleError> {
    let names = read_text(&with(root, ".paramnames"))?;
    let names: Vec<String> = names
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.trim_end_matches('*').to_owned())
        .collect();
    let mut chains = Vec::new();
    for number in 1.. {
        let path = with(root, &format!("_{number}.txt"));
        if number > 1 && !path.exists() {
            break;
        }
        let (mut chain, mut log_weights) = (Chain::default(), Vec::new());
        for (line, row) in read_text(&path)?.lines().enumerate() {
            let numbers: Option<Vec<f64>> = row.split_whitespace().map(|cell| cell.parse().ok()).collect();
            let numbers = numbers.filter(|numbers| numbers.len() == names.len() + 2);
            let numbers = numbers.ok_or_else(|| {
                let columns = names.len() + 2;
                invalid(&path, format!("line {}: not {columns} numbers", line + 1))
            })?;
            log_weights.push(numbers[0].ln());
            chain.log_density.push(-numbers[1]);
            chain.draws.extend_from_slice(&numbers[2..]);
        }
        chain.log_weights = log_weights
            .iter()
            .any(|&weight| weight != 0.0)
            .then_some(log_weights);
        chains.push(chain);
    }
    Ok(run_of_draws(root, names, chains))
}

/// The root with something behind it, whatever dots it has.
fn with(root: &Path, end: &str) -> PathBuf {
    let mut name = root.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// GetDist splits at white space.
fn one_word(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join("_")
}

/// `Omega_m` becomes `\Omega_{m}`, `theta[2]` becomes `\theta_{2}`.
fn label(name: &str) -> String {
    const GREEK: [&str; 24] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda",
        "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    ];
    let (stem, index) = match name.split_once(['_', '[']) {
        Some((stem, index)) => (stem, index.trim_end_matches(']').replace('_', " ")),
        None => (name, String::new()),
    };
    let stem = if GREEK.contains(&stem.to_lowercase().as_str()) {
        format!("\\{stem}")
    } else {
        stem.to_owned()
    };
    if index.is_empty() {
        stem
    } else {
        format!("{stem}_{{{index}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_symbols() {
        assert_eq!(label("Omega_m"), "\\Omega_{m}");
        assert_eq!(label("theta[2]"), "\\theta_{2}");
        assert_eq!(label("A_SN1"), "A_{SN1}");
        assert_eq!(label("x"), "x");
        assert_eq!(one_word("a b"), "a_b");
    }
}
