//! Write a density as on paper, with [`model!`](crate::model!).
//!
//! ```
//! use armilla_samplers::prelude::*;
//!
//! model! {
//!     /// Effects of coaching in eight schools (Rubin 1981, doi:10.3102/10769986006004377), non-centred.
//!     pub struct EightSchools { y: Vec<f64>, sigma: Vec<f64> }
//!
//!     mu ~ Normal(0, 5);
//!     tau ~ HalfCauchy(5);
//!     eta[y.len()] ~ Normal(0, 1);
//!     keep theta[j in 0..y.len()] = mu + tau * eta[j];
//!     y[j in 0..y.len()] ~ Normal(theta[j], sigma[j]);
//! }
//!
//! let y = vec![28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
//! let sigma = vec![15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
//! let posterior = EightSchools { y, sigma }.posterior()?;
//! assert_eq!(posterior.dim(), 10);
//! assert_eq!(posterior.names()[1..4], ["tau", "eta[0]", "eta[1]"]);
//! assert_eq!(posterior.names()[10], "theta[0]");
//! // A density on the real line: z of tau is its logarithm.
//! let mut gradient = [0.0; 10];
//! posterior.value_and_gradient(&[0.0; 10], &mut gradient)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The language
//!
//! First the data, a struct with public fields, then statements:
//!
//! | statement | meaning |
//! |---|---|
//! | `mu ~ Normal(0, 5);` | an unknown; a vector where the distribution is [`Multivariate`] |
//! | `eta[8] ~ Normal(0, 1);` | a vector of unknowns, all of one distribution |
//! | `x[t in 0..n] ~ Normal(f(t), 1);` | one of its own for each, which may use the elements before: `x[t - 1]` |
//! | `mu: ordered[2] ~ Normal(0, 2);` | a vector under a constraint: `ordered` or `simplex` |
//! | `b: between(0, 1 - a) ~ Flat();` | an unknown within bounds: `above`, `below` or `between`; its density is not renormalised |
//! | `y ~ p * Normal(a, s) + (1 - p) * Normal(b, s);` | a mixture |
//! | `y ~ Normal(mu, sigma);` | an observation: `y` is data. All numbers of `y`, or the vector, as the distribution wants |
//! | `y[j in 0..n] ~ Normal(theta[j], 1);` | an observation for each |
//! | `y[i][j] ~ Normal(theta, 1);` | an observation, in a loop for instance |
//! | `let v[j in 0..n] = x[j] * a;` | a vector |
//! | `keep theta = mu + tau;`, `keep v[j in 0..n] = …;` | a quantity kept with the draws |
//! | `keep v[j] = …;` | the same in a loop; it defines no variable |
//! | `add term;` | any other term of the log density |
//! | `data logs: Vec<f64> = …;` | data computed from data, once |
//! | `let`, `for`, `if`, `while`, calls | Rust |
//!
//! A name on the left of `~` is data where it is a field, or declared by `data`; else it is an unknown.
//! Unknowns and what is computed from them are [`Dual`]s: they have the functions of [`Number`](crate::number::Number), and mix with
//! `f64`. Functions of your own take them as `impl Number`, or as a type parameter for several. Numbers are
//! written as on paper: the 2 of `2 * mu` is a number, and so is an integer `n` in `mu * n` where its type can be
//! seen, and a variable declared `let mut s = 0.0;`, whose type is not, can be assigned what depends on unknowns.
//! A distribution on the right of `~` is a type: one of [`distribution`](crate::distribution), or of your own,
//! generic over the number of its parameters, made by `of`.
//!
//! An element that is not there is an error that names the vector, where its type is seen to be one and no closure
//! is around; elsewhere it is the panic of Rust, which `posterior` turns into an error. `add` is no part of a
//! generative process: prior and predictive draws leave it out.
//!
//! ```
//! use armilla_samplers::number::Number;
//! use armilla_samplers::prelude::*;
//!
//! fn logistic<N: Number>(age: f64, midpoint: N, width: N) -> N {
//!     ((midpoint * -1.0 + age) / width).sigmoid()
//! }
//!
//! model! {
//!     /// Heights of children, in metres, at some ages, in years.
//!     pub struct Growth { age: Vec<f64>, height: Vec<f64> }
//!
//!     adult ~ Normal(1.7, 0.2);
//!     midpoint ~ Normal(5, 3);
//!     width ~ HalfNormal(5);
//!     noise ~ HalfNormal(0.1);
//!     for i in 0..age.len() {
//!         let mean = adult * logistic(age[i], midpoint, width);
//!         height[i] ~ Normal(mean, noise);
//!     }
//!     keep at_six = adult * logistic(6.0, midpoint, width);
//! }
//!
//! let model = Growth { age: vec![2.0, 4.0, 8.0, 16.0], height: vec![0.86, 1.02, 1.28, 1.73] };
//! // What does the prior expect, before any child is measured?
//! let prior = model.prior_draws(1, 1000)?;
//! assert_eq!(prior.names[4..], ["at_six", "height[0]", "height[1]", "height[2]", "height[3]"]);
//! // And what the posterior?
//! let posterior = model.posterior()?;
//! let run = Hmc::default().sample(&posterior, &RunOptions { warmup: 200, draws: 100, ..RunOptions::default() })?;
//! let predicted = posterior.predictive(&run, 2)?;
//! assert_eq!((predicted.names.len(), predicted.len()), (4, 400));
//! # Ok::<(), SampleError>(())
//! ```

mod bounded;
mod cholesky;
mod draws;
mod log_density;
mod mixture;
mod physical;
mod posterior;
mod structure;
mod walk;

use std::fmt::{self, Display};
use std::ops::DerefMut;
use std::slice::SliceIndex;

use crate::bijector::VectorSupport;
use crate::distribution::{Multivariate, Univariate};
use crate::error::{EvalError, SampleError};
use crate::number::Dual;

pub use cholesky::cholesky;
pub use draws::NamedDraws;
pub use posterior::ModelPosterior;

#[doc(hidden)]
pub use bounded::Bounded;
#[doc(hidden)]
pub use mixture::Mixture;

#[doc(hidden)]
pub use armilla_samplers_macros::model as __model;

/// A density over unknowns and data, written with [`model!`](crate::model!).
pub trait Model: Send + Sync + Sized {
    /// What `data` statements compute.
    type Derived: Send + Sync;

    /// Computes it.
    ///
    /// # Errors
    /// Those of the model's own.
    fn derive(&self) -> Result<Self::Derived, EvalError>;

    /// Executes the statements in order.
    ///
    /// # Errors
    /// Those of the interpreter, and the model's own.
    fn run<const WIDTH: usize, I: Interpreter<WIDTH>>(
        &self,
        derived: &Self::Derived,
        interpreter: &mut I,
    ) -> Result<(), EvalError>;

    /// The density of the unknowns given the data.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the data do not fit the model, or each other.
    fn posterior(self) -> Result<ModelPosterior<Self>, SampleError> {
        ModelPosterior::new(self)
    }

    /// Draws unknowns, quantities kept, and observations (in place of the data) from the model, `n` times.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the data do not fit the model, or a distribution has no draws: an improper
    /// one, or one under a constraint other than `ordered`.
    fn prior_draws(&self, seed: u64, n: usize) -> Result<NamedDraws, SampleError> {
        posterior::prior_draws(self, seed, n)
    }
}

/// What executes a model: each statement of statistics is a call.
///
/// Numbers are [`Dual`]s with `WIDTH` derivatives. Nobody but `model!` needs it.
pub trait Interpreter<const WIDTH: usize> {
    /// Where vectors are.
    type Vector: DerefMut<Target = [Dual<WIDTH>]>;

    /// The next unknown, one number.
    ///
    /// # Errors
    /// Where there is none.
    fn number<D: Univariate>(&mut self, place: Place<'_>, distribution: &D) -> Result<Dual<WIDTH>, EvalError>
    where
        Dual<WIDTH>: From<D::Number>;

    /// The next unknown, a vector.
    ///
    /// # Errors
    /// Where there is none.
    fn vector<D: Multivariate>(
        &mut self,
        name: &'static str,
        distribution: &D,
    ) -> Result<Self::Vector, EvalError>
    where
        Dual<WIDTH>: From<D::Number>;

    /// The next unknown, a vector under a constraint, whose numbers are of one distribution.
    ///
    /// # Errors
    /// Where there is none.
    fn constrained<D: Univariate>(
        &mut self,
        name: &'static str,
        support: VectorSupport,
        distribution: &D,
    ) -> Result<Self::Vector, EvalError>
    where
        Dual<WIDTH>: From<D::Number>;

    /// Room for a vector, of zeros.
    ///
    /// # Errors
    /// Where there is none.
    fn space(&mut self, len: usize) -> Result<Self::Vector, EvalError>;

    /// An observation, one number.
    ///
    /// # Errors
    /// Where it cannot be.
    fn observe<D: Univariate>(&mut self, place: Place<'_>, distribution: &D, y: f64) -> Result<(), EvalError>
    where
        Dual<WIDTH>: From<D::Number>;

    /// An observation, a vector.
    ///
    /// # Errors
    /// Where it cannot be.
    fn observe_vector<D: Multivariate>(
        &mut self,
        place: Place<'_>,
        distribution: &D,
        y: &[f64],
    ) -> Result<(), EvalError>
    where
        Dual<WIDTH>: From<D::Number>;

    /// A term of the log density.
    fn add(&mut self, term: Dual<WIDTH>);

    /// A number kept with the draws.
    fn keep(&mut self, place: Place<'_>, value: f64);
}

/// What a statement is about: `y`, or `y[2][0]`.
#[derive(Debug, Clone, Copy)]
pub struct Place<'i> {
    name: &'static str,
    indices: &'i [usize],
    /// Which number of a vector.
    element: Option<usize>,
}

impl<'i> Place<'i> {
    /// The variable and its indices.
    #[inline(always)]
    pub fn new(name: &'static str, indices: &'i [usize]) -> Self {
        let element = None;
        Self {
            name,
            indices,
            element,
        }
    }

    #[inline(always)]
    fn at(self, element: Option<usize>) -> Self {
        Self { element, ..self }
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.indices
            .iter()
            .chain(&self.element)
            .try_for_each(|index| write!(f, "[{index}]"))
    }
}

/// One number, or several: what is observed, and what is kept.
pub trait Numbers {
    /// The numbers, and which of several each is.
    fn each(&self) -> impl Iterator<Item = (Option<usize>, f64)>;
}

macro_rules! numbers {
    ($([$($generics:tt)*] $kind:ty: $value:expr),*) => {$(
        impl<$($generics)*> Numbers for $kind {
            #[inline(always)]
            fn each(&self) -> impl Iterator<Item = (Option<usize>, f64)> {
                let value: fn(&$kind) -> f64 = $value;
                std::iter::once((None, value(self)))
            }
        }
        impl<$($generics)*> Numbers for [$kind] {
            #[inline(always)]
            fn each(&self) -> impl Iterator<Item = (Option<usize>, f64)> {
                let value: fn(&$kind) -> f64 = $value;
                self.iter().enumerate().map(move |(i, x)| (Some(i), value(x)))
            }
        }
    )*};
}
numbers!([] f64: |x| *x, [] u64: |x| *x as f64, [] i64: |x| *x as f64, [] usize: |x| *x as f64);
numbers!([] u32: |x| f64::from(*x), [] i32: |x| f64::from(*x), [] bool: |x| f64::from(u8::from(*x)));
numbers!([const WIDTH: usize] Dual<WIDTH>: |x| x.value);

impl<T> Numbers for Vec<T>
where
    [T]: Numbers,
{
    #[inline(always)]
    fn each(&self) -> impl Iterator<Item = (Option<usize>, f64)> {
        self.as_slice().each()
    }
}
impl<T, const LEN: usize> Numbers for [T; LEN]
where
    [T]: Numbers,
{
    #[inline(always)]
    fn each(&self) -> impl Iterator<Item = (Option<usize>, f64)> {
        self.as_slice().each()
    }
}
impl<T: Numbers + ?Sized> Numbers for &T {
    #[inline(always)]
    fn each(&self) -> impl Iterator<Item = (Option<usize>, f64)> {
        (**self).each()
    }
}

/// The right-hand side of `~`. What it is a distribution of decides which of the two traits below has the
/// method that `model!` calls.
#[doc(hidden)]
pub struct Term<'d, D>(pub &'d D);

#[doc(hidden)]
pub trait TermOfNumber<D: Univariate> {
    fn distribution(&self) -> &D;

    #[inline(always)]
    fn unknown<const WIDTH: usize, I: Interpreter<WIDTH>>(
        &self,
        interpreter: &mut I,
        name: &'static str,
    ) -> Result<Dual<WIDTH>, EvalError>
    where
        Dual<WIDTH>: From<D::Number>,
    {
        interpreter.number(Place::new(name, &[]), self.distribution())
    }

    #[inline(always)]
    fn bind<const WIDTH: usize>(&self, x: &Dual<WIDTH>) -> Dual<WIDTH> {
        *x
    }

    #[inline(always)]
    fn observe<const WIDTH: usize, I: Interpreter<WIDTH>>(
        &self,
        interpreter: &mut I,
        place: Place<'_>,
        y: &(impl Numbers + ?Sized),
    ) -> Result<(), EvalError>
    where
        Dual<WIDTH>: From<D::Number>,
    {
        // A loop, not a closure: the compiler makes it part of the model's function.
        for (element, y) in y.each() {
            interpreter.observe(place.at(element), self.distribution(), y)?;
        }
        Ok(())
    }
}

impl<D: Univariate> TermOfNumber<D> for &Term<'_, D> {
    #[inline(always)]
    fn distribution(&self) -> &D {
        self.0
    }
}

#[doc(hidden)]
pub trait TermOfVector<D: Multivariate> {
    fn distribution(&self) -> &D;

    #[inline(always)]
    fn unknown<const WIDTH: usize, I: Interpreter<WIDTH>>(
        &self,
        interpreter: &mut I,
        name: &'static str,
    ) -> Result<I::Vector, EvalError>
    where
        Dual<WIDTH>: From<D::Number>,
    {
        interpreter.vector(name, self.distribution())
    }

    #[inline(always)]
    fn bind<'x, const WIDTH: usize>(
        &self,
        x: &'x impl std::ops::Deref<Target = [Dual<WIDTH>]>,
    ) -> &'x [Dual<WIDTH>] {
        x
    }

    #[inline(always)]
    fn observe<const WIDTH: usize, I: Interpreter<WIDTH>>(
        &self,
        interpreter: &mut I,
        place: Place<'_>,
        y: &(impl AsRef<[f64]> + ?Sized),
    ) -> Result<(), EvalError>
    where
        Dual<WIDTH>: From<D::Number>,
    {
        interpreter.observe_vector(place, self.distribution(), y.as_ref())
    }
}

impl<D: Multivariate> TermOfVector<D> for Term<'_, D> {
    #[inline(always)]
    fn distribution(&self) -> &D {
        self.0
    }
}

/// Keeps a number or several.
#[doc(hidden)]
#[inline(always)]
pub fn keep<const WIDTH: usize>(
    interpreter: &mut impl Interpreter<WIDTH>,
    name: &'static str,
    values: &(impl Numbers + ?Sized),
) {
    for (element, value) in values.each() {
        interpreter.keep(Place::new(name, &[]).at(element), value);
    }
}

/// An element of a vector, or a part of it.
#[doc(hidden)]
#[inline(always)]
pub fn element<'v, T, S: SliceIndex<[T]> + Clone + fmt::Debug>(
    name: &str,
    values: &'v [T],
    index: S,
) -> Result<&'v S::Output, EvalError> {
    match values.get(index.clone()) {
        Some(element) => Ok(element),
        None => Err(EvalError::Recoverable(no_element(name, values.len(), &index))),
    }
}

/// Not the error itself: the compiler would look at which of its kinds it is, and keep the numbers of the
/// loop around in memory until it knew.
#[cold]
#[inline(never)]
fn no_element(name: &str, len: usize, index: &dyn fmt::Debug) -> String {
    format!("there is no {name}[{index:?}]: {name} has {len} elements")
}

/// A number without derivatives. Where a distribution's numbers convert too, `from` is ambiguous.
#[inline(always)]
fn constant<const WIDTH: usize>(x: f64) -> Dual<WIDTH> {
    Dual::from(x)
}

/// There were another number of unknowns when the model was traced.
#[cold]
#[inline(never)]
fn changed() -> String {
    "the number of unknowns, or the length of a vector, depends on the values of unknowns".into()
}

/// The error of a vector of another length than its distribution.
#[cold]
#[inline(never)]
fn other_length(place: Place<'_>, given: usize, expected: usize) -> String {
    format!("{place} has {given} numbers, its distribution {expected}")
}

/// Writes a density as on paper; the module [`model`](mod@crate::model) describes the language.
#[macro_export]
macro_rules! model {
    ($($tokens:tt)*) => { $crate::model::__model! { $crate; $($tokens)* } };
}
