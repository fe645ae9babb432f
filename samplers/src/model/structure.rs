//! Find out, once, what a model consists of.

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Model;
use super::walk::{Names, Source, Walk};
use crate::error::SampleError;

/// What a model consists of, given its data.
#[derive(Debug)]
pub(super) struct Structure {
    /// The number of unknowns on the real line.
    pub(super) dim: usize,
    /// Parameters, then quantities kept.
    pub(super) names: Vec<String>,
    /// How many of them are parameters.
    pub(super) parameters: usize,
    pub(super) observations: Vec<String>,
    /// How many numbers the vectors of one evaluation have.
    pub(super) space: usize,
}

impl Structure {
    /// Computes the derived data and goes through the statements once, at z = 0.
    ///
    /// # Errors
    /// Whatever goes wrong, a panic included: later only the unknowns change.
    pub(super) fn of<M: Model>(model: &M) -> Result<(M::Derived, Self), SampleError> {
        let traced = catch_unwind(AssertUnwindSafe(|| {
            let derived = model.derive()?;
            let mut walk = Walk::new(Source::Zero, None);
            walk.names = Some(Names::default());
            model.run(&derived, &mut walk)?;
            Ok((
                derived,
                walk.dim,
                walk.space,
                walk.names.take().unwrap_or_default(),
            ))
        }));
        let fails = |why: String| SampleError::Invalid(format!("the model and its data do not fit: {why}"));
        let (derived, dim, space, names) = match traced {
            Ok(Ok(traced)) => traced,
            Ok(Err(error)) => return Err(fails(crate::EvalError::to_string(&error))),
            Err(panic) => return Err(fails(message(panic.as_ref()))),
        };
        let parameters = names.parameters.len();
        let all = [names.parameters, names.kept].concat();
        if dim == 0 {
            return Err(fails(
                "there are no unknowns, all vectors of them are empty".into(),
            ));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = all.iter().find(|&name| !seen.insert(name)) {
            return Err(fails(format!("there are two quantities {twice}")));
        }
        let structure = Self {
            dim,
            names: all,
            parameters,
            observations: names.observations,
            space,
        };
        Ok((derived, structure))
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic")
        .to_owned()
}
