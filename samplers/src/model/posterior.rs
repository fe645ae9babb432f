//! Hand a model and its data to samplers.

use std::fmt;

use pulp::{Arch, NullaryFnOnce};
use rand::{Rng, RngExt};

use super::log_density::LogDensity;
use super::physical::Physical;
use super::structure::Structure;
use super::walk::{Source, Walk};
use super::{Model, NamedDraws};
use crate::density::{Density, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::number::Dual;
use crate::rng::{Purpose, stream};
use crate::run::Run;

/// Chains start where Stan's do, within this of zero on the real line.
const START: f64 = 2.0;

/// Vectors of up to so many numbers altogether need no memory of their own: less than 2 KiB at the widest, beyond
/// which zeros are written in a way that is slow to begin.
const FEW: usize = 16;

/// The density of a model's unknowns on the real line, given its data.
///
/// Its names are those of the unknowns, then those of the quantities kept; elements of vectors count from 0.
pub struct ModelPosterior<M: Model> {
    model: M,
    derived: M::Derived,
    structure: Structure,
    /// What the processor can do.
    arch: Arch,
}

impl<M: Model + fmt::Debug> fmt::Debug for ModelPosterior<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelPosterior")
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl<M: Model> ModelPosterior<M> {
    pub(super) fn new(model: M) -> Result<Self, SampleError> {
        let (derived, structure) = Structure::of(&model)?;
        Ok(Self {
            model,
            derived,
            structure,
            arch: Arch::new(),
        })
    }

    /// The model and its data.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The names of the observations.
    pub fn observations(&self) -> &[String] {
        &self.structure.observations
    }

    /// z on the real line at the unknowns `x` in physical units; not finite on an edge of the support.
    ///
    /// # Errors
    /// `SampleError::Invalid` where there are not as many numbers as unknowns (what is kept may follow).
    pub fn to_real_line(&self, x: &[f64]) -> Result<Vec<f64>, SampleError> {
        let parameters = self.parameters().len();
        let given = x.get(..parameters).ok_or_else(|| {
            SampleError::Invalid(format!("{} numbers given for {parameters} unknowns", x.len()))
        })?;
        Ok(self.walk(Source::Physical(given), None)?.z)
    }

    /// Draws the observations anew for every draw of `run`, in its order.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the run is of another posterior or there are no observations,
    /// `SampleError::Eval` where a distribution cannot be drawn from.
    pub fn predictive(&self, run: &Run, seed: u64) -> Result<NamedDraws, SampleError> {
        if run.names != self.structure.names {
            return Err(SampleError::Invalid(
                "the run is not one of this posterior: its names are others".into(),
            ));
        }
        if self.structure.observations.is_empty() {
            return Err(SampleError::Invalid(
                "the model has no observation, as in `y ~ Normal(mu, sigma);`".into(),
            ));
        }
        let mut values = Vec::with_capacity(run.len() * self.structure.observations.len());
        for (i, x) in run.draws().enumerate() {
            let mut rng = stream(seed, Purpose::Simulation, i as u64);
            let walk = self.walk(Source::Physical(&x[..self.structure.parameters]), Some(&mut rng))?;
            values.extend(checked(walk.observations, &self.structure.observations)?);
        }
        Ok(NamedDraws {
            names: self.structure.observations.clone(),
            values,
        })
    }

    fn walk<'w>(&self, source: Source<'w>, rng: Option<&'w mut dyn Rng>) -> Result<Walk<'w>, EvalError> {
        let mut walk = Walk::new(source, rng);
        self.model.run(&self.derived, &mut walk)?;
        Ok(walk)
    }

    /// The log density, with its derivatives in the `WIDTH` numbers of z from `first`.
    // One function for each width: the optimiser gives up on long ones.
    #[inline(never)]
    fn evaluate<const WIDTH: usize>(&self, z: &[f64], first: usize) -> Result<Dual<WIDTH>, EvalError> {
        let posterior = self;
        self.arch.dispatch(Evaluation::<WIDTH, M> { posterior, z, first })
    }

    /// The part of the gradient that begins at `first`, and the log density.
    fn chunk<const WIDTH: usize>(
        &self,
        z: &[f64],
        first: usize,
        gradient: &mut [f64],
    ) -> Result<f64, EvalError> {
        let log_density = self.evaluate::<WIDTH>(z, first)?;
        for (derivative, &carried) in gradient[first..].iter_mut().zip(&log_density.gradient) {
            *derivative = carried;
        }
        Ok(log_density.value)
    }

    /// Writes what a draw holds at z and gives ln |dx/dz|, if the model does not fail and there is room.
    fn physical(&self, z: &[f64], x: &mut [f64]) -> Option<f64> {
        let (parameters, kept) = x.split_at_mut_checked(self.structure.parameters)?;
        let mut space = Space::new();
        let mut physical = Physical::new(z, [parameters, kept], space.of(self.structure.space));
        self.model.run(&self.derived, &mut physical).ok()?;
        physical.is_complete().then(|| physical.ln_jacobian())
    }

    fn check_length(&self, z: &[f64]) -> Result<(), EvalError> {
        if z.len() == self.structure.dim {
            return Ok(());
        }
        let (given, dim) = (z.len(), self.structure.dim);
        Err(EvalError::Fatal(format!(
            "{given} numbers given, the model has {dim} unknowns on the real line"
        )))
    }

    /// Passes on a log density if it is one; else says which statement is to blame.
    #[inline]
    fn checked(&self, z: &[f64], log_density: f64) -> Result<f64, EvalError> {
        if log_density.is_nan() || log_density == f64::INFINITY {
            return Err(self.blame(z, log_density));
        }
        Ok(log_density)
    }

    #[cold]
    fn blame(&self, z: &[f64], log_density: f64) -> EvalError {
        match self.walk(Source::RealLine(z), None) {
            Ok(Walk {
                wrong: Some(wrong),
                parameters,
                ..
            }) => {
                let x = self
                    .structure
                    .names
                    .iter()
                    .zip(parameters)
                    .map(|(name, x)| format!("{name} = {x}"));
                EvalError::Recoverable(format!("{wrong} at {}", x.collect::<Vec<_>>().join(", ")))
            }
            Ok(_) => EvalError::Recoverable(format!("the log density is {log_density}")),
            Err(error) => error,
        }
    }
}

/// An evaluation, to be compiled for several kinds of processors. They differ in how many derivatives they take
/// at once, not in what becomes of them.
struct Evaluation<'a, const WIDTH: usize, M: Model> {
    posterior: &'a ModelPosterior<M>,
    z: &'a [f64],
    first: usize,
}

impl<const WIDTH: usize, M: Model> NullaryFnOnce for Evaluation<'_, WIDTH, M> {
    type Output = Result<Dual<WIDTH>, EvalError>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let ModelPosterior {
            model,
            derived,
            structure,
            ..
        } = self.posterior;
        let mut space = Space::new();
        let mut log_density = LogDensity::new(self.z, self.first, space.of(structure.space));
        model.run(derived, &mut log_density)?;
        log_density.sum()
    }
}

/// What the vectors of one evaluation are made of.
struct Space<const WIDTH: usize> {
    few: [Dual<WIDTH>; FEW],
    many: Vec<Dual<WIDTH>>,
}

impl<const WIDTH: usize> Space<WIDTH> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            few: [Dual::from(0.0); FEW],
            many: Vec::new(),
        }
    }

    /// Room for vectors of `len` numbers altogether.
    #[inline(always)]
    fn of(&mut self, len: usize) -> &mut [Dual<WIDTH>] {
        if len <= FEW {
            &mut self.few[..len]
        } else {
            self.many.resize(len, Dual::from(0.0));
            &mut self.many
        }
    }
}

impl<M: Model> Density for ModelPosterior<M> {
    fn dim(&self) -> usize {
        self.structure.dim
    }

    fn names(&self) -> &[String] {
        &self.structure.names
    }

    fn parameters(&self) -> &[String] {
        &self.structure.names[..self.structure.parameters]
    }

    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        self.check_length(z)?;
        self.checked(z, self.evaluate::<0>(z, 0)?.value)
    }

    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        // Where the model fails, or room is missing, there is nothing to write.
        if self.physical(z, x).is_none() {
            x.fill(f64::NAN);
        }
    }

    fn ln_jacobian(&self, z: &[f64]) -> f64 {
        self.physical(z, &mut vec![0.0; self.structure.names.len()])
            .unwrap_or(f64::NAN)
    }

    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        (0..self.dim()).map(|_| rng.random_range(-START..START)).collect()
    }
}

impl<M: Model> DifferentiableDensity for ModelPosterior<M> {
    fn value_and_gradient(&self, z: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        self.check_length(z)?;
        if gradient.len() != z.len() {
            let (room, dim) = (gradient.len(), z.len());
            return Err(EvalError::Fatal(format!(
                "room for {room} derivatives given, there are {dim}"
            )));
        }
        let mut first = 0;
        loop {
            // The narrowest number that holds what is left: all that it carries costs.
            let (width, value) = match z.len() - first {
                0..=2 => (2, self.chunk::<2>(z, first, gradient)?),
                3..=4 => (4, self.chunk::<4>(z, first, gradient)?),
                5..=6 => (6, self.chunk::<6>(z, first, gradient)?),
                7..=8 => (8, self.chunk::<8>(z, first, gradient)?),
                _ => (10, self.chunk::<10>(z, first, gradient)?),
            };
            first += width;
            if first >= z.len() {
                return self.checked(z, value);
            }
        }
    }
}

/// A draw that has as many numbers as there are names.
fn checked(values: Vec<f64>, names: &[String]) -> Result<Vec<f64>, SampleError> {
    if values.len() == names.len() {
        return Ok(values);
    }
    let (given, expected) = (values.len(), names.len());
    Err(SampleError::Invalid(format!(
        "the model has {given} numbers in one draw and {expected} in another: their number depends on unknowns"
    )))
}

pub(super) fn prior_draws<M: Model>(model: &M, seed: u64, n: usize) -> Result<NamedDraws, SampleError> {
    let (derived, structure) = Structure::of(model)?;
    let names = [structure.names, structure.observations].concat();
    let mut values = Vec::with_capacity(n * names.len());
    for i in 0..n {
        let mut rng = stream(seed, Purpose::Simulation, i as u64);
        let mut walk = Walk::new(Source::Prior, Some(&mut rng));
        model.run(&derived, &mut walk)?;
        values.extend(checked(
            [walk.parameters, walk.kept, walk.observations].concat(),
            &names,
        )?);
    }
    Ok(NamedDraws { names, values })
}
