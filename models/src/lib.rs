//! Train conditional generative models and read them as differentiable likelihoods.

pub mod checkpoint;
mod choice;
pub mod continuous;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub mod device;
pub mod error;
pub mod field;
pub mod flow_matching;
pub mod flows;
pub mod generate;
mod gram;
pub mod layers;
pub mod likelihoods;
pub mod matching;
pub mod nets;
pub mod ode;
pub mod ops;
pub mod parameter;
pub mod path;
pub mod predictor;
pub mod rectified;
pub mod score;
pub mod signal;
pub mod toys;
pub mod train;
pub mod two_sample;
pub mod velocity;
pub mod weights;

pub use choice::{DeviceChoice, OnDevice};
pub use device::Device;
/// The tensors, the tape and the devices that this crate builds on.
pub use dfdx;
/// The processor as a device.
pub use dfdx::tensor::Cpu;
/// A graphics processor of NVIDIA's as a device.
#[cfg(feature = "cuda")]
pub use dfdx::tensor::Cuda;
pub use error::{ModelError, Result};
pub use field::Field;
pub use parameter::Module;
pub use signal::{Dual, Signal};
