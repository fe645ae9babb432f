//! Keep what a network learns on a device, under the names that PyTorch would give it.

use armilla_samplers::rng::Stream;
use dfdx::tensor::{Gradients, Tape};
use rand::RngExt;

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Flat,
    layers::BatchNorm,
    ops::conv::{Arithmetic, Kept, Packed},
    weights::{Weight, Weights},
};

/// A weight on a device.
#[derive(Debug, Clone)]
pub struct Parameter<D: Device> {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Flat<D>,
    /// Where the composed convolution keeps what it looks up.
    pub(crate) kept: Kept<D>,
    /// Where the convolution on the processor keeps the values as it wants them.
    pub(crate) packed: Packed,
    pub(crate) arithmetic: Arithmetic,
    role: Role,
}

/// What becomes of a parameter when its network is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// An optimiser moves it.
    Learnt,
    /// It could be learnt, but no gradient of it is wanted.
    Frozen,
    /// It is no weight: a running mean, for one.
    Buffer,
}

impl<D: Device> Parameter<D> {
    /// With these values, row-major.
    ///
    /// # Errors
    /// `Shape` where they do not fill the shape, `Device` where memory is short.
    pub fn new(device: &D, shape: Vec<usize>, values: Vec<f32>) -> Result<Self> {
        if values.len() != shape.iter().product::<usize>() {
            let what = format!("{} numbers for a shape of {shape:?}", values.len());
            return Err(ModelError::shape("parameter", what));
        }
        Self::of(device, shape, values, Role::Learnt)
    }

    /// Uniform in ±1/√fan_in, as PyTorch's layers start.
    pub(crate) fn uniform(device: &D, shape: Vec<usize>, fan_in: usize, stream: &mut Stream) -> Result<Self> {
        let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
        let count: usize = shape.iter().product();
        let values = (0..count)
            .map(|_| bound * (2.0 * stream.random::<f32>() - 1.0))
            .collect();
        Self::of(device, shape, values, Role::Learnt)
    }

    /// The same number everywhere.
    pub(crate) fn constant(device: &D, shape: Vec<usize>, value: f32) -> Result<Self> {
        let values = vec![value; shape.iter().product()];
        Self::of(device, shape, values, Role::Learnt)
    }

    /// The same number everywhere, and nothing that is learnt.
    pub(crate) fn buffer(device: &D, count: usize, value: f32) -> Result<Self> {
        Self::of(device, vec![count], vec![value; count], Role::Buffer)
    }

    fn of(device: &D, shape: Vec<usize>, values: Vec<f32>, role: Role) -> Result<Self> {
        let count = values.len();
        let values = device
            .try_tensor_from_vec(values, (count,))
            .map_err(ModelError::device)?;
        Ok(Self {
            shape,
            values,
            kept: Kept::default(),
            packed: Packed::default(),
            arithmetic: Arithmetic::default(),
            role,
        })
    }

    /// How many numbers it holds.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether an optimiser moves it.
    pub(crate) fn learns(&self) -> bool {
        self.role == Role::Learnt
    }

    /// Whether it is a weight at all.
    pub(crate) fn is_weight(&self) -> bool {
        self.role != Role::Buffer
    }

    pub(crate) fn freeze(&mut self, frozen: bool) {
        self.role = match (self.role, frozen) {
            (Role::Buffer, _) => Role::Buffer,
            (_, true) => Role::Frozen,
            (_, false) => Role::Learnt,
        };
    }

    /// The same with values that were computed from it.
    pub(crate) fn with_values(&self, values: Flat<D>) -> Self {
        Self {
            values,
            ..self.clone()
        }
    }

    /// As an operation takes it.
    pub(crate) fn taped<T: Tape<f32, D>>(&self) -> Flat<D, T> {
        self.values.retaped()
    }

    /// The numbers, on the host.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut host = vec![0.0; self.count()];
        self.values.copy_into(&mut host);
        host
    }

    pub(crate) fn clear(&mut self) {
        self.set(&vec![0.0; self.count()]);
    }

    pub(crate) fn set(&mut self, values: &[f32]) {
        // What a clone shares stays as it is.
        self.packed = Packed::default();
        self.values.copy_from(values);
    }
}

/// A part of a network: what it holds, by name, in a fixed order.
pub trait Module<D: Device> {
    /// Every weight and buffer with its name.
    fn parameters(&self) -> Vec<(String, &Parameter<D>)>;

    /// The same, to be changed.
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>>;

    /// The parts that behave differently while training.
    fn batch_norms(&mut self) -> Vec<&mut BatchNorm<D>> {
        Vec::new()
    }

    /// How many numbers are learnt: what PyTorch counts as parameters.
    fn count(&self) -> usize {
        self.parameters()
            .into_iter()
            .filter(|(_, p)| p.is_weight())
            .map(|(_, p)| p.count())
            .sum()
    }

    /// Copies weights and buffers to the host.
    fn weights(&self) -> Weights {
        let copy = |(name, p): (String, &Parameter<D>)| Weight {
            name,
            shape: p.shape.clone(),
            values: p.to_vec(),
            learnt: p.is_weight(),
        };
        Weights(self.parameters().into_iter().map(copy).collect())
    }

    /// Replaces weights and buffers.
    ///
    /// # Errors
    /// `Invalid` where names or shapes differ.
    fn load(&mut self, weights: &Weights) -> Result<()> {
        let shapes: Vec<(String, Vec<usize>)> = self
            .parameters()
            .into_iter()
            .map(|(name, p)| (name, p.shape.clone()))
            .collect();
        let matched = weights.matched(
            shapes
                .iter()
                .map(|(name, shape)| (name.as_str(), shape.as_slice())),
        )?;
        for (p, values) in self.parameters_mut().into_iter().zip(matched) {
            p.set(values);
        }
        Ok(())
    }

    /// With `true`, gradients in the weights are neither computed nor kept: for inference.
    fn freeze(&mut self, frozen: bool) {
        self.parameters_mut().into_iter().for_each(|p| p.freeze(frozen));
    }

    /// Chooses how convolutions and linear maps are computed, and says what the device makes of it: `Full` in place of
    /// [`Reduced`](Arithmetic::Reduced) where it has no instructions for bf16.
    ///
    /// Norms, attention and activations stay in single precision. Weights that are [frozen](Self::freeze) are kept in
    /// the order in which they are used: in `Reduced` as bf16, half their bytes more; in `Full` up to as many again. Where
    /// tiles are faster, a layer keeps four times its bytes for kernels of three by three, and six to nine for those of four
    /// by four that move by two, up to 16 MB each way.
    ///
    /// ```
    /// use armilla_models::{Cpu, Field, Module, nets::{Architecture, Conditioned, Network}, ops::conv::Arithmetic};
    /// let device = Cpu::default();
    /// let mut network = Network::new(&device, &Architecture::LatentVelocityEstimator(Default::default()), 1)?;
    /// network.freeze(true);
    /// if network.set_arithmetic(Arithmetic::Reduced) == Arithmetic::Full {
    ///     eprintln!("this processor has no bf16: full precision is used");
    /// }
    /// let x = Field::new(&device, vec![0.5; 128 * 64], 1, 128, [4, 4, 4])?;
    /// let velocity = network.forward(x, &[0.3], None)?;
    /// # Ok::<(), armilla_models::ModelError>(())
    /// ```
    fn set_arithmetic(&mut self, wanted: Arithmetic) -> Arithmetic {
        let arithmetic = D::arithmetic(wanted);
        for p in self.parameters_mut() {
            p.arithmetic = arithmetic;
            p.packed = Packed::default();
        }
        arithmetic
    }

    /// With `true`, batch norms use the statistics of the batch and observe them; with `false`, as at first,
    /// the running ones.
    fn set_training(&mut self, training: bool) {
        self.batch_norms()
            .into_iter()
            .for_each(|b| b.set_training(training));
    }

    /// Takes the statistics of the last batch into the running ones of batch norms: once after each step of a training.
    /// `weights`, those of this network, then hold them too.
    fn absorb(&mut self, weights: &mut Weights) {
        self.batch_norms().into_iter().for_each(BatchNorm::absorb);
        for ((_, p), w) in self.parameters().into_iter().zip(&mut weights.0) {
            if !p.is_weight() {
                w.values = p.to_vec();
            }
        }
    }

    /// The gradient of every parameter, in order; zeros where none was computed.
    fn gradients(&self, gradients: &mut Gradients<f32, D>) -> Result<Vec<Vec<f32>>> {
        self.parameters()
            .into_iter()
            .map(|(_, p)| D::take_gradient(gradients, &p.values))
            .collect()
    }
}

/// Joins the parameters of named parts.
macro_rules! module {
    ($type:ident, |$this:ident| [$(($name:expr, $part:expr)),* $(,)?]) => {
        impl<D: Device> $crate::parameter::Module<D> for $type<D> {
            fn parameters(&self) -> Vec<(String, &$crate::parameter::Parameter<D>)> {
                let $this = self;
                let mut all = Vec::new();
                $(all.extend($crate::parameter::Module::parameters(&$part).into_iter().map(|(n, p)| (format!("{}.{n}", $name), p)));)*
                all
            }
            fn parameters_mut(&mut self) -> Vec<&mut $crate::parameter::Parameter<D>> {
                let $this = self;
                let mut all = Vec::new();
                $(all.extend($crate::parameter::Module::parameters_mut(&mut $part));)*
                all
            }
            fn batch_norms(&mut self) -> Vec<&mut $crate::layers::BatchNorm<D>> {
                let $this = self;
                let mut all = Vec::new();
                $(all.extend($crate::parameter::Module::<D>::batch_norms(&mut $part));)*
                all
            }
        }
    };
}
pub(crate) use module;

/// A list of equal parts is numbered.
impl<D: Device, M: Module<D>> Module<D> for Vec<M> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        let mut all = Vec::new();
        for (i, m) in self.iter().enumerate() {
            all.extend(m.parameters().into_iter().map(|(n, p)| (format!("{i}.{n}"), p)));
        }
        all
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        self.iter_mut().flat_map(Module::parameters_mut).collect()
    }
    fn batch_norms(&mut self) -> Vec<&mut BatchNorm<D>> {
        self.iter_mut().flat_map(Module::batch_norms).collect()
    }
}

/// A part that need not be there.
impl<D: Device, M: Module<D>> Module<D> for Option<M> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        self.as_ref().map_or_else(Vec::new, Module::parameters)
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        self.as_mut().map_or_else(Vec::new, Module::parameters_mut)
    }
    fn batch_norms(&mut self) -> Vec<&mut BatchNorm<D>> {
        self.as_mut().map_or_else(Vec::new, Module::batch_norms)
    }
}
