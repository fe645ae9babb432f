//! Train generative models by any method, keep them in run folders, and draw new maps from them.
//!
//! ```text
//! MapSet ─▶ train_generative ─▶ GenerativeModel ─▶ generate ─▶ maps in physical units, with their parameters
//! ```
//!
//! Methods that predict along a path from data to noise share one loop and one set of solvers; normalizing flows of layers
//! are trained by their likelihood and sampled exactly. All are conditional on the parameters, normalised to \[0, 1\] over
//! the prior.

mod card;
mod config;
mod ffjord_keys;
mod figures;
mod layer_keys;
mod log;
mod method;
mod model;
mod network_keys;
mod path_keys;
pub(crate) mod rounds;
mod sampling;
mod train;
mod training_keys;
mod watch;

pub use card::{Body, GenerativeCard, GenerativeModel};
pub use config::GenerativeConfig;
pub use ffjord_keys::{FfjordKeys, FixedSolver, TraceName};
pub use figures::FigureSettings;
pub use layer_keys::{GlowKeys, MafKeys, RealNvpKeys, SplineKeys};
pub use method::GenerativeMethod;
pub use model::Generated;
pub use network_keys::{NetworkKeys, NetworkKind};
pub use path_keys::{
    DiffusionKeys, DiffusionTarget, FlowKeys, FlowPath, RectifiedKeys, ScheduleName, ScoreKeys,
    ScoreObjective, ScorePath, Times, Weights,
};
pub use sampling::{Sampling, SamplingKeys};
pub use train::{GenerativeSettings, train_generative};
