//! Divide the warm-up into windows over which the shape of the posterior is estimated.

use serde::{Deserialize, Serialize};

/// The schedule of Stan (reference manual, "Automatic parameter tuning"): a fast start, slow windows of
/// doubling length, each forgetting the one before, and a fast end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Windows {
    start: usize,
    /// One past the last step of each slow window.
    ends: Vec<usize>,
}

impl Windows {
    /// For a warm-up of this many steps. Below 20 there are no slow windows.
    pub(crate) fn new(warmup: usize) -> Self {
        if warmup < 20 {
            return Self {
                start: warmup,
                ends: Vec::new(),
            };
        }
        let (start, first, end) = if warmup < 150 {
            let (start, end) = (warmup * 15 / 100, warmup / 10);
            (start, warmup - start - end, end)
        } else {
            (75, 25, 50)
        };
        let last = warmup - end;
        let (mut ends, mut at, mut length) = (Vec::new(), start, first);
        while at < last {
            // A window is extended to the end where the next one would not fit.
            at = if at.saturating_add(length.saturating_mul(3)) > last {
                last
            } else {
                at + length
            };
            ends.push(at);
            length *= 2;
        }
        Self { start, ends }
    }

    /// Whether step `step`, from 0, lies in a slow window.
    pub(crate) fn contain(&self, step: usize) -> bool {
        self.start <= step && self.ends.last().is_some_and(|&end| step < end)
    }

    /// Whether a slow window ends with step `step`.
    pub(crate) fn close_at(&self, step: usize) -> bool {
        self.ends.contains(&(step + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::Windows;

    #[test]
    fn windows_double_and_fill_the_warmup() {
        let ends = |warmup| Windows::new(warmup).ends;
        assert_eq!(ends(1000), [100, 150, 250, 450, 950]);
        assert_eq!(ends(150), [100]);
        assert_eq!(ends(100), [90]);
        assert!(ends(19).is_empty() && ends(0).is_empty());
        let windows = Windows::new(100);
        assert!(!windows.contain(14) && windows.contain(15) && windows.contain(89) && !windows.contain(90));
        assert!(windows.close_at(89) && !windows.close_at(90));
    }
}
