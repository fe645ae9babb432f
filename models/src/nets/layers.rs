//! Layers on dfdx's tape: convolution, linear map, residual block.

use armilla_samplers::rng::Stream;
use dfdx::{
    shapes::{Axes2, Axis, HasShape},
    tensor::{Gradients, Merge, Tape, WithEmptyTape},
    tensor_ops::{BroadcastTo, PermuteTo, ReshapeTo, TryAdd, TryMatMul, TryMul},
};
use rand::RngExt;

use crate::{
    device::{Device, Flat, Maps, Rows},
    error::{ModelError, Result},
    ops::{
        add, conv2d,
        conv2d::{Geometry, Padding},
        modulated_silu,
    },
    weights::{Weight, Weights},
};

/// A weight on a device.
#[derive(Debug, Clone)]
pub struct Parameter<D: Device> {
    shape: Vec<usize>,
    values: Flat<D>,
}

impl<D: Device> Parameter<D> {
    /// Uniform in ±1/√fan_in, as PyTorch's layers start; zero where `fan_in` is 0.
    fn new(device: &D, shape: Vec<usize>, fan_in: usize, stream: &mut Stream) -> Result<Self> {
        let bound = if fan_in == 0 {
            0.0
        } else {
            1.0 / (fan_in as f32).sqrt()
        };
        let count: usize = shape.iter().product();
        let values = (0..count)
            .map(|_| bound * (2.0 * stream.random::<f32>() - 1.0))
            .collect();
        let values = device
            .try_tensor_from_vec(values, (count,))
            .map_err(ModelError::device)?;
        Ok(Self { shape, values })
    }

    /// The numbers of a tensor of this parameter's size.
    fn to_host(&self, values: &Flat<D>) -> Vec<f32> {
        let mut host = vec![0.0; self.shape.iter().product()];
        values.copy_into(&mut host);
        host
    }
}

/// A part of a network: what it holds, by name, in a fixed order.
pub trait Module<D: Device> {
    /// Every weight with its name.
    fn parameters(&self) -> Vec<(String, &Parameter<D>)>;

    /// The same, to be changed.
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>>;

    /// Copies the weights to the host.
    fn weights(&self) -> Weights {
        let copy = |(name, p): (String, &Parameter<D>)| Weight {
            name,
            shape: p.shape.clone(),
            values: p.to_host(&p.values),
        };
        Weights(self.parameters().into_iter().map(copy).collect())
    }

    /// Replaces the weights.
    ///
    /// # Errors
    /// `Invalid` where names or shapes differ.
    fn load(&mut self, weights: &Weights) -> Result<()> {
        let own = self.weights();
        for (p, values) in self
            .parameters_mut()
            .into_iter()
            .zip(weights.matched(own.shapes())?)
        {
            p.values.copy_from(values);
        }
        Ok(())
    }

    /// The gradient of every weight, in order.
    fn gradients(&self, gradients: &Gradients<f32, D>) -> Vec<Vec<f32>> {
        self.parameters()
            .into_iter()
            .map(|(_, p)| p.to_host(&gradients.get(&p.values)))
            .collect()
    }
}

/// Joins the parameters of named parts.
macro_rules! module {
    ($type:ident, |$this:ident| [$(($name:expr, $part:expr)),* $(,)?]) => {
        impl<D: Device> Module<D> for $type<D> {
            fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
                let $this = self;
                let mut all = Vec::new();
                $(all.extend($part.parameters().into_iter().map(|(n, p)| (format!("{}.{n}", $name), p)));)*
                all
            }
            fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
                let $this = self;
                let mut all = Vec::new();
                $(all.extend($part.parameters_mut());)*
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
}

/// A weight and a bias: shared by convolution and linear map.
macro_rules! weight_and_bias {
    ($type:ident) => {
        impl<D: Device> Module<D> for $type<D> {
            fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
                vec![("weight".into(), &self.weight), ("bias".into(), &self.bias)]
            }
            fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
                vec![&mut self.weight, &mut self.bias]
            }
        }
    };
}

/// A convolution that keeps height and width.
#[derive(Debug, Clone)]
pub struct Conv2d<D: Device> {
    weight: Parameter<D>,
    bias: Parameter<D>,
    geometry: Geometry,
}
weight_and_bias!(Conv2d);

impl<D: Device> Conv2d<D> {
    /// `channels` in, `outputs` out; with `start_at_zero` it first gives nothing.
    pub(crate) fn new(
        device: &D,
        [channels, outputs]: [usize; 2],
        kernel: usize,
        padding: Padding,
        start_at_zero: bool,
        stream: &mut Stream,
    ) -> Result<Self> {
        let fan_in = if start_at_zero {
            0
        } else {
            channels * kernel * kernel
        };
        Ok(Self {
            weight: Parameter::new(device, vec![outputs, channels, kernel, kernel], fan_in, stream)?,
            bias: Parameter::new(device, vec![outputs], fan_in, stream)?,
            geometry: Geometry { kernel, padding },
        })
    }

    pub(crate) fn forward<T: Tape<f32, D>>(&self, x: Maps<D, T>) -> Result<Maps<D, T>> {
        conv2d(x, &self.weight.values, &self.bias.values, self.geometry)
    }
}

/// y = W x + b for each row.
#[derive(Debug, Clone)]
pub struct Linear<D: Device> {
    weight: Parameter<D>,
    bias: Parameter<D>,
}
weight_and_bias!(Linear);

impl<D: Device> Linear<D> {
    pub(crate) fn new(device: &D, [inputs, outputs]: [usize; 2], stream: &mut Stream) -> Result<Self> {
        Ok(Self {
            weight: Parameter::new(device, vec![outputs, inputs], inputs, stream)?,
            bias: Parameter::new(device, vec![outputs], inputs, stream)?,
        })
    }

    pub(crate) fn forward<T: Tape<f32, D> + Merge<T>>(&self, x: Rows<D, T>) -> Result<Rows<D, T>> {
        let (outputs, inputs) = (self.weight.shape[0], self.weight.shape[1]);
        let run = || -> std::result::Result<_, D::Err> {
            let weight = self
                .weight
                .values
                .retaped::<T>()
                .try_reshape_like(&(outputs, inputs))?;
            let y = x.try_matmul(weight.try_permute::<_, Axes2<1, 0>>()?)?;
            let shape = *y.shape();
            y.try_add(
                self.bias
                    .values
                    .retaped::<T>()
                    .try_broadcast_like::<_, Axis<0>>(&shape)?,
            )
        };
        run().map_err(ModelError::device)
    }
}

/// silu(x) for rows.
pub(crate) fn silu<D: Device, T: Tape<f32, D> + Merge<T>>(x: Rows<D, T>) -> Result<Rows<D, T>> {
    let run = || x.with_empty_tape().try_mul(x.try_sigmoid()?);
    run().map_err(ModelError::device)
}

/// silu(x) for maps: modulated by nothing.
pub(crate) fn silu_maps<D: Device, T: Tape<f32, D>>(x: Maps<D, T>) -> Result<Maps<D, T>> {
    let (batch, channels, ..) = *x.shape();
    let none = x
        .device()
        .try_zeros_like(&(batch, 2 * channels))
        .map_err(ModelError::device)?;
    modulated_silu(x, none.retaped::<T>())
}

/// x + conv(silu(modulated conv(silu(x)))): keeps the channels, and starts as the identity.
///
/// Without normalisation, on purpose: the amplitude of a field is what tells its parameters.
#[derive(Debug, Clone)]
pub struct ResidualBlock<D: Device> {
    conv1: Conv2d<D>,
    conv2: Conv2d<D>,
    modulation: Linear<D>,
}
module!(ResidualBlock, |this| [
    ("conv1", this.conv1),
    ("conv2", this.conv2),
    ("modulation", this.modulation),
]);

impl<D: Device> ResidualBlock<D> {
    pub(crate) fn new(
        device: &D,
        channels: usize,
        time_dim: usize,
        padding: Padding,
        stream: &mut Stream,
    ) -> Result<Self> {
        Ok(Self {
            conv1: Conv2d::new(device, [channels; 2], 3, padding, false, stream)?,
            conv2: Conv2d::new(device, [channels; 2], 3, padding, true, stream)?,
            modulation: Linear::new(device, [time_dim, 2 * channels], stream)?,
        })
    }

    pub(crate) fn forward<T: Tape<f32, D> + Merge<T>>(
        &self,
        x: Maps<D, T>,
        time: Rows<D, T>,
    ) -> Result<Maps<D, T>> {
        let skip = x.with_empty_tape();
        let h = self.conv1.forward(silu_maps(x)?)?;
        let h = self
            .conv2
            .forward(modulated_silu(h, self.modulation.forward(time)?)?)?;
        add(h, skip)
    }
}
