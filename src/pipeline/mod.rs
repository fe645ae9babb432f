//! Do what the commands do, callable from Rust: [`simulate()`], [`train()`], [`infer()`] and [`demo()`];
//! [`generative`] trains models that draw new maps, for [`AnyRun::generate`];
//! [`simulate_snapshots`] and [`project`] make maps by way of particles, [`spectra`] measures and compares them.
//!
//! ```text
//! simulate ─▶ MapSet ─▶ train ─▶ TrainedFlow ─▶ observe ─▶ infer ─▶ Inference: report, draws, pictures
//! ```

pub mod config;
pub mod demo;
pub mod epoch_report;
pub mod generate;
pub mod generative;
pub mod infer;
pub mod observation;
pub mod out_folder;
mod parts;
mod pictures;
pub mod prior_box;
pub mod report;
mod report_html;
mod run_files;
pub mod simulate;
pub mod snapshots;
pub mod spectra;
pub mod train;
pub mod trained;

pub use config::TrainConfig;
pub use demo::{DemoSettings, demo};
pub use epoch_report::EpochReport;
pub use generate::{AnyRun, GenerateSettings, GeneratedMaps};
pub use infer::{InferSettings, Inference, Method, infer};
pub use observation::Observation;
pub use out_folder::OutFolder;
pub use pictures::Figure;
pub use prior_box::{PriorBox, PriorRange};
pub use report::Report;
pub use simulate::{Kind, SimulateSettings, simulate};
pub use snapshots::{ProjectSettings, Projection, find_simulations, project, simulate_snapshots};
pub use train::{TrainRun, TrainSettings, train};
pub use trained::{LikelihoodSettings, TrainedFlow};
