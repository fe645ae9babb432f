//! Take the chains of a run for figures that show one panel for each parameter.

use armilla_samplers::Run;

use super::canvas::Ink;
use super::legend::{Entries, Mark};
use super::style;
use super::text::Label;
use super::tiles::MAX_PANELS;
use crate::{Error, Result};

/// Draws by parameter, chain and number.
pub(super) type Columns = Vec<Vec<Vec<f64>>>;

/// The draws of a run, if they can be drawn.
pub(super) fn columns(what: &str, run: &Run) -> Result<Columns> {
    let fail = |problem: String| Err(Error::Invalid(format!("{what}: {problem}")));
    if run.dim() == 0 || run.dim() > MAX_PANELS {
        return fail(format!(
            "{} parameters cannot be drawn; 1 to {MAX_PANELS} can",
            run.dim()
        ));
    }
    let columns: Columns = (0..run.dim()).map(|i| run.parameter(i)).collect();
    for (name, chains) in run.names.iter().zip(&columns) {
        let shortest = chains.iter().map(Vec::len).min().unwrap_or(0);
        if shortest < 2 {
            return fail(format!("a chain needs two draws or more, and one has {shortest}"));
        }
        for (k, chain) in chains.iter().enumerate() {
            if let Some(i) = chain.iter().position(|x| !x.is_finite()) {
                return fail(format!("draw {i} of {name} in chain {} is {}", k + 1, chain[i]));
            }
        }
    }
    Ok(columns)
}

/// The colour of chain `k` of so many: all alike and faint where there are more than colours.
pub(super) fn ink(k: usize, chains: usize) -> Ink {
    if chains <= style::COLOURS {
        style::series(k)
    } else {
        style::series(0).faint(0.35)
    }
}

/// The entries of the legend for so many chains.
pub(super) fn entries(chains: usize) -> Entries {
    if chains > style::COLOURS {
        return vec![(
            Mark::Line(style::series(0)),
            Label::plain(&format!("{chains} chains")),
        )];
    }
    (0..chains)
        .map(|k| {
            (
                Mark::Line(style::series(k)),
                Label::plain(&format!("chain {}", k + 1)),
            )
        })
        .collect()
}
