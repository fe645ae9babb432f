//! Divide simulations into a training, a validation and a test part.

use armilla_samplers::rng::{Purpose, stream};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The fractions of the simulations that go into each part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fractions {
    /// For training.
    pub train: f64,
    /// For watching the training.
    pub validation: f64,
    /// For judging the result.
    pub test: f64,
}

impl Default for Fractions {
    /// 80 %, 10 % and 10 %.
    fn default() -> Self {
        Self {
            train: 0.8,
            validation: 0.1,
            test: 0.1,
        }
    }
}

/// Which items, in increasing order, belong to which part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// For training.
    pub train: Vec<usize>,
    /// For watching the training.
    pub validation: Vec<usize>,
    /// For judging the result.
    pub test: Vec<usize>,
}

impl Split {
    /// Divide simulations `0..simulations` at random. The same seed gives the same parts.
    ///
    /// A part whose fraction is not zero has at least one simulation.
    ///
    /// # Errors
    ///
    /// Fractions that are negative, do not add up to 1 or leave nothing for training, and too few simulations for the
    /// parts that were asked for.
    ///
    /// ```
    /// use armilla::data::{Fractions, Split};
    /// let split = Split::simulations(10, Fractions::default(), 1)?;
    /// assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (8, 1, 1));
    /// # Ok::<(), armilla::Error>(())
    /// ```
    pub fn simulations(simulations: usize, fractions: Fractions, seed: u64) -> Result<Self> {
        let Fractions {
            train,
            validation,
            test,
        } = fractions;
        let in_range = [train, validation, test].iter().all(|f| (0.0..=1.0).contains(f));
        if !in_range || train == 0.0 || (train + validation + test - 1.0).abs() > 1e-9 {
            return Err(Error::Invalid(format!(
                "fractions {train}, {validation}, {test} for training, validation and test must not be negative, must \
                 add up to 1, and the first must not be 0"
            )));
        }
        let share = |f: f64| {
            if f > 0.0 {
                ((f * simulations as f64).round() as usize).max(1)
            } else {
                0
            }
        };
        let (in_validation, in_test) = (share(validation), share(test));
        if in_validation + in_test >= simulations {
            return Err(Error::Invalid(format!(
                "{simulations} simulations are too few to divide into training, validation and test parts of \
                 {train}, {validation}, {test}"
            )));
        }
        let mut order: Vec<usize> = (0..simulations).collect();
        order.shuffle(&mut stream(seed, Purpose::Split, 0));
        let mut test = order.split_off(simulations - in_test);
        let mut validation = order.split_off(order.len() - in_validation);
        order.sort_unstable();
        validation.sort_unstable();
        test.sort_unstable();
        Ok(Self {
            train: order,
            validation,
            test,
        })
    }

    /// The same split with `simulation` in the test part; it changes places with the first one there, if there is one.
    ///
    /// ```
    /// use armilla::data::{Fractions, Split};
    /// let split = Split::simulations(10, Fractions::default(), 1)?.holding_out(3);
    /// assert_eq!((split.test, split.train.len()), (vec![3], 8));
    /// # Ok::<(), armilla::Error>(())
    /// ```
    pub fn holding_out(mut self, simulation: usize) -> Self {
        if self.test.contains(&simulation) {
            return self;
        }
        for part in [&mut self.train, &mut self.validation] {
            if let Some(place) = part.iter().position(|&s| s == simulation) {
                match self.test.first_mut() {
                    Some(first) => part[place] = std::mem::replace(first, simulation),
                    None => {
                        part.remove(place);
                        self.test.push(simulation);
                    }
                }
                part.sort_unstable();
                self.test.sort_unstable();
                break;
            }
        }
        self
    }

    /// The same split of maps, `per_simulation` of which follow each other for each simulation.
    pub fn of_maps(&self, per_simulation: usize) -> Self {
        let expand = |part: &[usize]| {
            part.iter()
                .flat_map(|&s| s * per_simulation..(s + 1) * per_simulation)
                .collect()
        };
        Self {
            train: expand(&self.train),
            validation: expand(&self.validation),
            test: expand(&self.test),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_complete_and_repeatable() {
        for n in [3, 10, 97, 1000] {
            let split = Split::simulations(n, Fractions::default(), 7).unwrap();
            let mut all = [&split.train[..], &split.validation, &split.test].concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
            assert_eq!(split, Split::simulations(n, Fractions::default(), 7).unwrap());
            assert!(!split.validation.is_empty() && !split.test.is_empty());
        }
        let other = Split::simulations(1000, Fractions::default(), 8).unwrap();
        assert_ne!(other, Split::simulations(1000, Fractions::default(), 7).unwrap());
    }

    #[test]
    fn maps_of_a_simulation_stay_together() {
        let maps = Split::simulations(20, Fractions::default(), 1)
            .unwrap()
            .of_maps(15);
        for part in [&maps.train, &maps.validation, &maps.test] {
            assert!(part.chunks(15).all(|c| c[0] % 15 == 0 && c[14] == c[0] + 14));
        }
        assert_eq!(maps.train.len() + maps.validation.len() + maps.test.len(), 300);
    }

    #[test]
    fn impossible_splits_are_refused() {
        let of = |train, validation, test| Fractions {
            train,
            validation,
            test,
        };
        for fractions in [
            of(0.0, 0.5, 0.5),
            of(0.5, 0.5, 0.5),
            of(1.2, -0.2, 0.0),
            of(f64::NAN, 0.5, 0.5),
        ] {
            assert!(Split::simulations(10, fractions, 0).is_err());
        }
        assert!(Split::simulations(2, Fractions::default(), 0).is_err());
        assert!(Split::simulations(0, of(1.0, 0.0, 0.0), 0).is_err());
        assert_eq!(Split::simulations(2, of(1.0, 0.0, 0.0), 0).unwrap().train, [0, 1]);
    }
}
