//! Hold what a generative model is trained on.

use crate::error::{ModelError, Result};

/// Fields that are in memory, or are read when a batch needs them.
pub trait Fields: Sync {
    /// The numbers of all fields together.
    fn numbers(&self) -> usize;

    /// The fields `picks`, of `len` numbers each, one after the other.
    ///
    /// # Errors
    /// A field that cannot be read.
    fn read(&self, picks: &[usize], len: usize) -> Result<Vec<f32>>;
}

impl Fields for Vec<f32> {
    fn numbers(&self) -> usize {
        self.len()
    }

    fn read(&self, picks: &[usize], len: usize) -> Result<Vec<f32>> {
        let mut fields = Vec::with_capacity(picks.len() * len);
        for pick in picks {
            fields.extend_from_slice(&self[pick * len..(pick + 1) * len]);
        }
        Ok(fields)
    }
}

/// Fields of about unit variance, and what each was made with.
#[derive(Clone, Copy)]
pub struct Examples<'a> {
    /// The fields, or vectors: as many numbers for each.
    pub fields: &'a dyn Fields,
    /// One vector of parameters for each field, one after the other; empty where there are none.
    ///
    /// In physical units for a network that knows their bounds, else as conditions that the network takes as they are.
    pub parameters: &'a [f64],
}

impl<'a> Examples<'a> {
    /// Fields without parameters.
    pub fn alone(fields: &'a dyn Fields) -> Self {
        Self {
            fields,
            parameters: &[],
        }
    }

    /// How many fields of `numbers` numbers there are, and how many parameters each has.
    ///
    /// `part` is their name in an error.
    ///
    /// # Errors
    /// `Shape` where the numbers do not make whole fields, or the parameters not as many for each; `Invalid` where there
    /// is no field, and where a parameter is not finite.
    pub(crate) fn sizes(&self, part: &str, numbers: usize) -> Result<(usize, usize)> {
        let (all, parameters) = (self.fields.numbers(), self.parameters.len());
        if all == 0 {
            return Err(ModelError::Invalid(format!(
                "the {part} part is empty: give it examples"
            )));
        }
        let fields = all / numbers.max(1);
        if fields == 0 || fields * numbers != all || !parameters.is_multiple_of(fields) {
            let what = format!(
                "{all} numbers and {parameters} parameters are not {part} fields of {numbers} numbers, each with as many parameters"
            );
            return Err(ModelError::shape("train", what));
        }
        let each = parameters / fields;
        if let Some(i) = self.parameters.iter().position(|p| !p.is_finite()) {
            return Err(ModelError::Invalid(format!(
                "parameter {} of {part} example {} is {}: leave the example out",
                i % each,
                i / each,
                self.parameters[i]
            )));
        }
        Ok((fields, each))
    }

    /// As [`sizes`](Self::sizes), where a network takes conditions of `takes` numbers: the parameters, and one number for
    /// the null, which may be there though it is not `needed`.
    ///
    /// # Errors
    /// `Shape` where it takes others, too.
    pub(crate) fn sizes_for(
        &self,
        part: &str,
        numbers: usize,
        takes: usize,
        needed: bool,
    ) -> Result<(usize, usize)> {
        let (fields, each) = self.sizes(part, numbers)?;
        if takes == each + 1 || takes == each && !needed {
            return Ok((fields, each));
        }
        let what = format!(
            "the network takes conditions of {takes} numbers, and {part} fields have {each} parameters{}",
            if needed {
                " and one number for the null"
            } else {
                ""
            }
        );
        Err(ModelError::shape("train", what))
    }

    /// Adds the condition of example `pick`, of `each` parameters, to those of a network that takes `takes` numbers: the
    /// null where there are none, or where they are left out.
    pub(crate) fn tell(
        &self,
        pick: usize,
        [each, takes]: [usize; 2],
        left_out: bool,
        conditions: &mut Vec<f32>,
    ) {
        let given = &self.parameters[pick * each..(pick + 1) * each];
        conditions.extend(given.iter().map(|c| if left_out { 0.0 } else { *c as f32 }));
        if takes > each {
            conditions.push(f32::from(u8::from(left_out || each == 0)));
        }
    }

    /// The fields `picks`, of `numbers` numbers each, one after the other.
    ///
    /// # Errors
    /// A field that cannot be read, and `Invalid` for one with a number that is not finite.
    pub(crate) fn read(&self, picks: &[usize], numbers: usize) -> Result<Vec<f32>> {
        let fields = self.fields.read(picks, numbers)?;
        match fields.iter().position(|x| !x.is_finite()) {
            None => Ok(fields),
            Some(i) => Err(ModelError::Invalid(format!(
                "number {} of example {} is {}: leave the example out",
                i % numbers,
                picks[i / numbers],
                fields[i]
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_named() {
        let fields = vec![0.0, 1.0, 2.0, f32::NAN, 4.0, 5.0];
        let mut parameters = vec![0.1, 0.2, 0.3];
        fn of<'a>(fields: &'a Vec<f32>, parameters: &'a [f64]) -> Examples<'a> {
            Examples { fields, parameters }
        }
        assert_eq!(of(&fields, &parameters).sizes("training", 2).unwrap(), (3, 1));
        assert_eq!(
            of(&fields, &parameters).read(&[2, 0], 2).unwrap(),
            [4.0, 5.0, 0.0, 1.0]
        );
        let said = of(&fields, &parameters).read(&[2, 1], 2).unwrap_err().to_string();
        assert!(said.contains("number 1 of example 1 is NaN"), "{said}");
        parameters[2] = f64::INFINITY;
        let said = of(&fields, &parameters)
            .sizes("training", 2)
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("parameter 0 of training example 2 is inf"),
            "{said}"
        );
    }
}
