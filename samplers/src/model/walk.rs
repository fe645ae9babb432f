//! Interpret a model slowly: names, values in physical units, draws, and what is wrong where.

use rand::Rng;

use super::{Interpreter, Place, constant, other_length};
use crate::bijector::{Support, VectorSupport};
use crate::distribution::{Multivariate, Univariate};
use crate::error::EvalError;
use crate::number::Dual;

/// Where the unknowns come from.
pub(super) enum Source<'w> {
    /// z.
    RealLine(&'w [f64]),
    /// z = 0, however many there are.
    Zero,
    /// x.
    Physical(&'w [f64]),
    /// A draw from their distributions.
    Prior,
}

/// The names of all numbers, in order.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) parameters: Vec<String>,
    pub(super) kept: Vec<String>,
    pub(super) observations: Vec<String>,
}

/// Goes through a model once and notes down what it meets.
pub(super) struct Walk<'w> {
    source: Source<'w>,
    /// How many numbers of the source are used.
    used: usize,
    /// Draws unknowns from the prior, and observations.
    rng: Option<&'w mut dyn Rng>,
    /// Names, if they are asked for.
    pub(super) names: Option<Names>,
    /// The numbers of all unknowns on the real line; noted where the source is in physical units.
    pub(super) z: Vec<f64>,
    pub(super) dim: usize,
    /// The numbers of all unknowns in physical units.
    pub(super) parameters: Vec<f64>,
    pub(super) kept: Vec<f64>,
    /// Draws in place of the data.
    pub(super) observations: Vec<f64>,
    /// The first term of the log density that is none, and its value.
    pub(super) wrong: Option<String>,
    /// How many numbers the vectors have.
    pub(super) space: usize,
}

impl<'w> Walk<'w> {
    pub(super) fn new(source: Source<'w>, rng: Option<&'w mut dyn Rng>) -> Self {
        Self {
            source,
            used: 0,
            rng,
            names: None,
            z: Vec::new(),
            dim: 0,
            parameters: Vec::new(),
            kept: Vec::new(),
            observations: Vec::new(),
            wrong: None,
            space: 0,
        }
    }

    /// The next `n` numbers of the source.
    fn next(&mut self, n: usize) -> Result<&'w [f64], EvalError> {
        let (Source::RealLine(numbers) | Source::Physical(numbers)) = self.source else {
            return Ok(&[]);
        };
        let next = numbers.get(self.used..self.used + n);
        self.used += n;
        next.ok_or_else(|| EvalError::Fatal("there are fewer numbers than the model has unknowns".into()))
    }

    fn unknown(&mut self, name: impl FnOnce() -> String, x: f64) {
        if let Some(names) = &mut self.names {
            names.parameters.push(name());
        }
        self.parameters.push(x);
    }

    /// Notes a term of the log density that is none.
    fn check(&mut self, what: impl FnOnce() -> String, term: f64) {
        if self.wrong.is_none() && (term.is_nan() || term == f64::INFINITY) {
            self.wrong = Some(format!("the log density of {} is {term}", what()));
        }
    }

    fn observation(&mut self, place: Place<'_>, y: f64) {
        if let Some(names) = &mut self.names {
            names.observations.push(place.to_string());
        }
        self.observations.push(y);
    }

    /// Sets x to the next unknown, which lives on `support`.
    fn constrain(&mut self, support: VectorSupport, x: &mut [Dual<0>]) -> Result<(), EvalError> {
        self.dim += support.dim();
        let constrain = |z: &[f64], x: &mut [Dual<0>]| {
            let z: Vec<Dual<0>> = z.iter().map(|&z| constant(z)).collect();
            support.constrain(&z, x);
        };
        match self.source {
            Source::RealLine(_) => {
                let z = self.next(support.dim())?;
                constrain(z, x);
            }
            Source::Physical(_) => {
                let given = self.next(support.len())?;
                let mut z = vec![0.0; support.dim()];
                support.unconstrain(given, &mut z);
                self.z.append(&mut z);
                set(x, given);
            }
            Source::Zero | Source::Prior => constrain(&vec![0.0; support.dim()], x),
        }
        Ok(())
    }
}

fn set(x: &mut [Dual<0>], values: &[f64]) {
    for (x, &value) in x.iter_mut().zip(values) {
        *x = constant(value);
    }
}

fn no_draws(what: impl std::fmt::Display, distribution: &dyn std::fmt::Debug) -> EvalError {
    EvalError::Recoverable(format!("{what} cannot be drawn from {distribution:?}"))
}

impl Interpreter<0> for Walk<'_> {
    type Vector = Vec<Dual<0>>;

    fn number<D: Univariate>(&mut self, place: Place<'_>, distribution: &D) -> Result<Dual<0>, EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        let support: Support<Dual<0>> = distribution.support().cast();
        self.dim += 1;
        let constrain = |z: f64| support.constrain(constant(z)).0.value;
        let x = match self.source {
            Source::RealLine(_) => constrain(self.next(1)?[0]),
            Source::Zero => constrain(0.0),
            Source::Physical(_) => {
                let x = self.next(1)?[0];
                self.z.push(support.unconstrain(x));
                x
            }
            Source::Prior => self
                .rng
                .as_mut()
                .map_or(f64::NAN, |rng| distribution.sample(*rng)),
        };
        if matches!(self.source, Source::Prior) && x.is_nan() {
            return Err(no_draws(place, distribution));
        }
        let x = constant(x);
        self.check(|| place.to_string(), distribution.ln_density(x).value);
        self.unknown(|| place.to_string(), x.value);
        Ok(x)
    }

    fn vector<D: Multivariate>(
        &mut self,
        name: &'static str,
        distribution: &D,
    ) -> Result<Self::Vector, EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        let support = distribution.support();
        let mut x = vec![constant(0.0); support.len()];
        self.constrain(support, &mut x)?;
        self.space += support.dim() + support.len();
        if let (Source::Prior, Some(rng)) = (&self.source, &mut self.rng) {
            let mut draw = vec![0.0; support.len()];
            distribution.sample(*rng, &mut draw);
            if draw.iter().any(|x| x.is_nan()) {
                return Err(no_draws(name, distribution));
            }
            set(&mut x, &draw);
        }
        self.check(|| name.into(), distribution.ln_density(&x).value);
        for (i, x) in x.iter().enumerate() {
            self.unknown(|| format!("{name}[{i}]"), x.value);
        }
        Ok(x)
    }

    fn constrained<D: Univariate>(
        &mut self,
        name: &'static str,
        support: VectorSupport,
        distribution: &D,
    ) -> Result<Self::Vector, EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        let mut x = vec![constant(0.0); support.len()];
        self.constrain(support, &mut x)?;
        self.space += support.dim() + support.len();
        if let (Source::Prior, Some(rng)) = (&self.source, &mut self.rng) {
            let mut draw: Vec<f64> = x.iter().map(|_| distribution.sample(*rng)).collect();
            // Independent draws that happen to be in order are as many as any others, sorted.
            draw.sort_by(f64::total_cmp);
            if !matches!(support, VectorSupport::Ordered(_)) || draw.iter().any(|x| x.is_nan()) {
                return Err(no_draws(format!("{name}, on {support:?},"), distribution));
            }
            set(&mut x, &draw);
        }
        for (i, &x) in x.iter().enumerate() {
            self.check(|| format!("{name}[{i}]"), distribution.ln_density(x).value);
            self.unknown(|| format!("{name}[{i}]"), x.value);
        }
        Ok(x)
    }

    fn space(&mut self, len: usize) -> Result<Self::Vector, EvalError> {
        self.space += len;
        Ok(vec![constant(0.0); len])
    }

    fn observe<D: Univariate>(&mut self, place: Place<'_>, distribution: &D, y: f64) -> Result<(), EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        self.check(|| place.to_string(), distribution.ln_density(constant(y)).value);
        let drawn = self.rng.as_mut().map_or(y, |rng| distribution.sample(*rng));
        self.observation(place, drawn);
        Ok(())
    }

    fn observe_vector<D: Multivariate>(
        &mut self,
        place: Place<'_>,
        distribution: &D,
        y: &[f64],
    ) -> Result<(), EvalError>
    where
        Dual<0>: From<D::Number>,
    {
        if y.len() != distribution.len() {
            return Err(EvalError::Recoverable(other_length(
                place,
                y.len(),
                distribution.len(),
            )));
        }
        self.space += y.len();
        let observed: Vec<Dual<0>> = y.iter().map(|&y| constant(y)).collect();
        self.check(|| place.to_string(), distribution.ln_density(&observed).value);
        let mut drawn = y.to_vec();
        if let Some(rng) = &mut self.rng {
            distribution.sample(*rng, &mut drawn);
        }
        for (i, y) in drawn.into_iter().enumerate() {
            self.observation(place.at(Some(i)), y);
        }
        Ok(())
    }

    fn add(&mut self, term: Dual<0>) {
        self.check(|| "an added term".into(), term.value);
    }

    fn keep(&mut self, place: Place<'_>, value: f64) {
        if let Some(names) = &mut self.names {
            names.kept.push(place.to_string());
        }
        self.kept.push(value);
    }
}
