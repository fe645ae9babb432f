//! Decide between which bounds parameters are learned and inferred.

use std::str::FromStr;

use armilla_samplers::Prior;
use armilla_samplers::prior::{LogUniform, Uniform};
use serde::{Deserialize, Serialize};

use crate::data::{MapSet, camels_range};
use crate::suggest::closest;
use crate::{Error, Result};

/// What is known of one parameter beforehand.
///
/// ```
/// use armilla::pipeline::PriorRange;
/// let range: PriorRange = "Omega_m=0.1:0.5".parse()?;
/// assert_eq!((range.name.as_str(), range.low, range.high, range.logarithmic), ("Omega_m", 0.1, 0.5, false));
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorRange {
    /// Its name.
    pub name: String,
    /// Its least value.
    pub low: f64,
    /// Its greatest value.
    pub high: f64,
    /// Whether it is uniform in the logarithm.
    pub logarithmic: bool,
}

impl FromStr for PriorRange {
    type Err = Error;

    /// From `NAME=LOW:HIGH`; a parameter of CAMELS that is sampled in the logarithm is uniform there.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::Invalid(format!(
                "`{text}` is no prior: write NAME=LOW:HIGH, such as Omega_m=0.1:0.5"
            ))
        };
        let (name, range) = text.split_once('=').ok_or_else(wrong)?;
        let (low, high) = range.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
        let (low, high) = (number(low)?, number(high)?);
        // Written so that NaN fails.
        if !(low < high && (high - low).is_finite()) {
            return Err(wrong());
        }
        let logarithmic = low > 0.0 && camels_range(name.trim()).is_some_and(|(_, logarithmic)| logarithmic);
        Ok(Self {
            name: name.trim().to_owned(),
            low,
            high,
            logarithmic,
        })
    }
}

/// The prior: one range for each parameter, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PriorBox(pub Vec<PriorRange>);

/// How much wider than the data the prior is on either side, where nothing better is known.
const MARGIN: f64 = 0.02;

impl PriorBox {
    /// The box of the parameters of `set`: what `given` says, else the bounds stored with the set, else those of CAMELS if
    /// all parameters are CAMELS', else the range of the data, slightly widened; then the text says so.
    ///
    /// # Errors
    ///
    /// A given name that the set does not have, parameters that are all equal, and parameters outside the box.
    pub fn of(set: &MapSet, given: &[PriorRange]) -> Result<(Self, Option<String>)> {
        let names = set.names();
        for range in given {
            if !names.contains(&range.name) {
                let hint = closest(&range.name, names.iter().map(String::as_str));
                let hint = hint.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
                let known = names.join(", ");
                return Err(Error::Invalid(format!(
                    "a prior is given for `{}`, but the parameters are {known}{hint}",
                    range.name
                )));
            }
        }
        let camels: Option<Vec<_>> = names.iter().map(|name| camels_range(name)).collect();
        let mut guessed = Vec::new();
        let mut ranges = Vec::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            if let Some(range) = given.iter().rfind(|range| range.name == *name) {
                ranges.push(range.clone());
                continue;
            }
            let (low, high, logarithmic) = match (set.bounds(), &camels) {
                (Some(bounds), _) => (bounds.low()[i], bounds.high()[i], set.logarithmic()[i]),
                (None, Some(camels)) => (camels[i].0[0], camels[i].0[1], camels[i].1),
                (None, None) => {
                    let (low, high) = data_range(set, i)?;
                    guessed.push(format!("{name} {low:.6} to {high:.6}"));
                    (low, high, false)
                }
            };
            ranges.push(PriorRange {
                name: name.clone(),
                low,
                high,
                logarithmic,
            });
        }
        let prior = Self(ranges);
        for (simulation, row) in set.params().chunks_exact(names.len()).enumerate() {
            prior.check(row, &format!("simulation {simulation}"))?;
        }
        let note = (!guessed.is_empty()).then(|| {
            format!(
                "the prior is taken from the range of the data: {}; set it with --prior NAME=LOW:HIGH",
                guessed.join(", ")
            )
        });
        Ok((prior, note))
    }

    /// The names of the parameters.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|range| range.name.clone()).collect()
    }

    /// The least and the greatest value of each parameter.
    pub fn bounds(&self) -> Vec<[f64; 2]> {
        self.0.iter().map(|range| [range.low, range.high]).collect()
    }

    /// Parameters in physical units to the unit box, in which the prior is uniform: that of a logarithmic one is even in
    /// the logarithm. `x` may hold several rows, one after the other.
    pub fn to_unit(&self, x: &[f64]) -> Vec<f64> {
        let ranges = self.0.iter().cycle();
        let unit = |(x, range): (&f64, &PriorRange)| {
            let [x, low, high] = match range.logarithmic {
                true => [x.ln(), range.low.ln(), range.high.ln()],
                false => [*x, range.low, range.high],
            };
            (x - low) / (high - low)
        };
        x.iter().zip(ranges).map(unit).collect()
    }

    /// It as a prior of the samplers.
    ///
    /// # Errors
    ///
    /// Bounds that are none, names that are empty or occur twice.
    pub fn prior(&self) -> Result<Prior> {
        let mut prior = Prior::new();
        for range in &self.0 {
            prior = if range.logarithmic {
                prior.with(&range.name, LogUniform::new(range.low, range.high)?)?
            } else {
                prior.with(&range.name, Uniform::new(range.low, range.high)?)?
            };
        }
        Ok(prior)
    }

    /// Looks whether the parameters `theta` of `owner` lie in the box.
    ///
    /// # Errors
    ///
    /// The first parameter that does not.
    pub fn check(&self, theta: &[f64], owner: &str) -> Result<()> {
        let outside = |(range, value): &(&PriorRange, &f64)| !(range.low..=range.high).contains(value);
        match self.0.iter().zip(theta).find(outside) {
            None => Ok(()),
            Some((range, value)) => Err(Error::Invalid(format!(
                "{owner} has {} = {value}, outside the prior from {} to {}",
                range.name, range.low, range.high
            ))),
        }
    }
}

fn data_range(set: &MapSet, parameter: usize) -> Result<(f64, f64)> {
    let count = set.names().len();
    let values = || set.params().iter().skip(parameter).step_by(count);
    let low = values().copied().fold(f64::INFINITY, f64::min);
    let high = values().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = MARGIN * (high - low);
    if margin > 0.0 && margin.is_finite() {
        return Ok((low - margin, high + margin));
    }
    let name = &set.names()[parameter];
    Err(Error::Invalid(format!(
        "all simulations have {name} = {low}: its prior cannot be told from the data; give it with --prior {name}=LOW:HIGH"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str], params: Vec<f64>) -> MapSet {
        let simulations = params.len() / names.len();
        let names = names.iter().map(|&n| n.to_owned()).collect();
        MapSet::new(vec![1.0; 4 * simulations], 2, params, names).unwrap()
    }

    #[test]
    fn the_box_comes_from_what_is_known() {
        let (prior, note) = PriorBox::of(&set(&["Omega_m", "A_SN1"], vec![0.2, 1.0]), &[]).unwrap();
        assert!(note.is_none() && prior.0[1].logarithmic && !prior.0[0].logarithmic);
        assert_eq!(prior.bounds(), [[0.1, 0.5], [0.25, 4.0]]);

        let (prior, note) = PriorBox::of(&set(&["a"], vec![0.0, 1.0]), &[]).unwrap();
        assert_eq!(prior.bounds(), [[-0.02, 1.02]]);
        assert!(note.unwrap().contains("--prior"));

        let given: PriorRange = "a=-1:2".parse().unwrap();
        let (prior, note) = PriorBox::of(&set(&["a"], vec![0.0, 1.0]), &[given]).unwrap();
        assert_eq!((prior.bounds(), note), (vec![[-1.0, 2.0]], None));
    }

    #[test]
    fn the_unit_box_is_even_where_the_prior_is() {
        let ranges = ["Omega_m=0.1:0.5", "A_SN1=0.25:4"].map(|text| text.parse().unwrap());
        let prior = PriorBox(ranges.to_vec());
        let unit = prior.to_unit(&[0.1, 4.0, 0.3, 1.0]);
        for (found, expected) in unit.iter().zip([0.0, 1.0, 0.5, 0.5]) {
            assert!((found - expected).abs() < 1e-12, "{unit:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |set: &MapSet, given: &[PriorRange]| PriorBox::of(set, given).unwrap_err().to_string();
        let outside = message(&set(&["Omega_m"], vec![0.2, 0.3, 0.7]), &[]);
        for words in ["simulation 2", "Omega_m = 0.7", "0.1 to 0.5"] {
            assert!(outside.contains(words), "{outside}");
        }
        let unknown = message(&set(&["Omega_m"], vec![0.2]), &["omega_m=0:1".parse().unwrap()]);
        assert!(unknown.contains("did you mean `Omega_m`"), "{unknown}");
        assert!(message(&set(&["a"], vec![0.5; 3]), &[]).contains("a = 0.5"));
        for text in ["a", "a=1", "a=1:x", "a=2:1", "a=1:nan"] {
            assert!(
                text.parse::<PriorRange>()
                    .unwrap_err()
                    .to_string()
                    .contains("NAME=LOW:HIGH")
            );
        }
    }
}
