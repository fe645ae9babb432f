//! Hold what figures of calibration take: where truths lie in their posteriors.

use super::tiles::MAX_PANELS;
use crate::{Error, Result};

/// Tests of posteriors by data whose parameters are known; [`coverage`](super::coverage()) and
/// [`rank_histogram`](super::rank_histogram()) draw it.
#[derive(Debug, Clone, Copy)]
pub struct Calibration<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// The names of the parameters.
    pub names: &'a [String],
    /// For each parameter and test, the fraction of the posterior's mass that lies below the truth; evenly spread between 0
    /// and 1 where posteriors are right (Talts et al. 2018, arXiv 1804.06788).
    pub below: &'a [Vec<f64>],
}

impl Calibration<'_> {
    /// The number of tests, if they can be drawn.
    pub(super) fn check(&self) -> Result<usize> {
        let fail = |problem: String| Err(Error::Invalid(format!("picture of a calibration: {problem}")));
        let count = self.names.len();
        if count == 0 || count > MAX_PANELS || self.below.len() != count {
            return fail(format!(
                "{} parameters with {count} names; 1 to {MAX_PANELS} of both are needed",
                self.below.len()
            ));
        }
        let tests = self.below[0].len();
        if tests == 0 {
            return fail("there are no tests to draw".into());
        }
        for (name, below) in self.names.iter().zip(self.below) {
            if below.len() != tests {
                return fail(format!(
                    "{} tests of {name} but {tests} of the first parameter",
                    below.len()
                ));
            }
            if let Some(i) = below.iter().position(|u| !(0.0..=1.0).contains(u)) {
                return fail(format!(
                    "the fraction of test {i} of {name} is {}, not between 0 and 1",
                    below[i]
                ));
            }
        }
        Ok(tests)
    }
}
