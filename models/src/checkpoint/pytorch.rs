//! Read what PyTorch trained: weights under PyTorch's names, and the network that they belong to.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Contents, TensorInfo};
use crate::{
    device::Device,
    error::{ModelError, Result},
    nets::{Architecture, Network},
    parameter::Module,
    weights::Weights,
};

/// Prefixes under which programs put the weights of their network.
const PREFIXES: [&str; 5] = ["weights.", "model.", "module.", "ema_model.", "state_dict."];
/// What files hold beside weights: inputs of a network and its gradients.
const BESIDE: [&str; 2] = ["io.", "grad."];
/// What a batch norm counts; nothing needs it.
const COUNTER: &str = "num_batches_tracked";

/// What a batch norm keeps that is not learnt.
const BUFFERS: [&str; 2] = ["running_mean", "running_var"];

/// A safetensors file, as it is on disk and as a network sees it.
///
/// ```no_run
/// use armilla_models::{Cpu, Module, checkpoint::Checkpoint};
/// let checkpoint = Checkpoint::from_pytorch("unet.safetensors")?;
/// let network = checkpoint.network(&Cpu::default())?;
/// println!("{}: {} parameters", network.architecture().name(), network.count());
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    contents: Contents,
    prefix: &'static str,
    architecture: Option<Architecture>,
}

impl Checkpoint {
    /// Reads a file that was written from PyTorch with `safetensors.torch.save_file(model.state_dict(), path)`.
    ///
    /// A prefix that all weights share (`model.`, `module.`, `weights.`) is left out. Where the names are those of a
    /// network that is known here, its sizes are read off the shapes, and from the file's metadata what shapes do not
    /// tell (the groups of norms, the padding).
    ///
    /// # Errors
    /// `Checkpoint` where the file is missing, truncated or no safetensors file.
    pub fn from_pytorch(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let contents = Contents::read(&path)?;
        // Beside weights with a prefix a file may hold what belongs to no network: inputs and their gradients.
        let shared = |prefix: &&&str| {
            let starts = |t: &TensorInfo| t.name.starts_with(**prefix);
            let beside = |t: &TensorInfo| BESIDE.iter().any(|b| t.name.starts_with(b));
            let tensors = &contents.tensors;
            tensors.iter().any(starts) && tensors.iter().all(|t| starts(t) || beside(t))
        };
        let prefix = PREFIXES.iter().find(shared).copied().unwrap_or("");
        let shapes = Self::stripped(&contents, prefix)
            .map(|(name, t)| (name, t.shape.as_slice()))
            .collect();
        let architecture = Architecture::recognise(&shapes, &contents.metadata);
        Ok(Self {
            path,
            architecture,
            prefix,
            contents,
        })
    }

    fn stripped<'a>(
        contents: &'a Contents,
        prefix: &'static str,
    ) -> impl Iterator<Item = (&'a str, &'a TensorInfo)> {
        let stripped = move |t: &'a TensorInfo| Some((t.name.strip_prefix(prefix)?, t));
        let all = contents.tensors.iter().filter_map(stripped);
        all.filter(|(name, _)| !name.ends_with(COUNTER))
    }

    /// How many numbers of the network are learnt: what PyTorch counts as parameters. Only the header is looked at.
    pub fn parameters(&self) -> usize {
        let learnt = |name: &str| !BUFFERS.iter().any(|b| name.ends_with(b));
        let tensors = Self::stripped(&self.contents, self.prefix);
        tensors
            .filter(|(name, _)| learnt(name))
            .map(|(_, t)| t.count())
            .sum()
    }

    /// Every tensor of the file, in its order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.contents.tensors
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.contents.metadata
    }

    /// The network that the weights belong to, if it is known here.
    pub fn architecture(&self) -> Option<&Architecture> {
        self.architecture.as_ref()
    }

    /// The weights under the names that the network gives them.
    ///
    /// # Errors
    /// `Checkpoint` where one is not of floating-point numbers.
    pub fn weights(&self) -> Result<Weights> {
        let weights = Self::stripped(&self.contents, self.prefix).map(|(name, t)| {
            let mut weight = self.contents.weight(t)?;
            weight.name = name.to_owned();
            Ok(weight)
        });
        Ok(Weights(weights.collect::<Result<_>>()?))
    }

    /// Any tensor of the file by its whole name.
    ///
    /// # Errors
    /// `Checkpoint` where it is missing or not of floating-point numbers.
    pub fn tensor(&self, name: &str) -> Result<Vec<f32>> {
        let fail = |what: String| ModelError::checkpoint(&self.path, what);
        let tensor = self.contents.tensors.iter().find(|t| t.name == name);
        let tensor = tensor.ok_or_else(|| fail(format!("has no tensor {name}")))?;
        Ok(self.contents.weight(tensor)?.values)
    }

    /// The network, with these weights.
    ///
    /// # Errors
    /// `Checkpoint` where the network is not known here, or a weight is missing, superfluous or of another shape.
    pub fn network<D: Device>(&self, device: &D) -> Result<Network<D>> {
        let fail = |what: String| ModelError::checkpoint(&self.path, what);
        let architecture = self.architecture.as_ref().ok_or_else(|| {
            fail(format!(
                "holds the weights of no network known here: {}",
                Architecture::NAMES.join(", ")
            ))
        })?;
        // Before memory is asked for: a file may tell of more than it holds.
        let (widest, held) = (architecture.widest(), self.parameters());
        if widest.saturating_mul(widest) > held {
            let name = architecture.name();
            return Err(fail(format!(
                "{name} with {widest} channels has more than the {held} weights it holds"
            )));
        }
        let mut network = Network::new(device, architecture, 0)?;
        network
            .load(&self.weights()?)
            .map_err(|e| fail(format!("{} does not fit: {e}", architecture.name())))?;
        Ok(network)
    }
}
