//! Map channels to channels: at each position, with a neighbourhood, and to a finer field.

use armilla_samplers::rng::Stream;

use crate::{
    device::Device,
    error::{ModelError, Result},
    ops::conv::geometry::Geometry,
    parameter::{Module, Parameter},
    signal::Signal,
};

/// Wider layers are mistakes.
const MOST_CHANNELS: usize = 1 << 16;

fn sizes_make_sense(channels: usize, outputs: usize, groups: usize) -> Result<()> {
    let fits = |n: usize| (1..=MOST_CHANNELS).contains(&n) && groups > 0 && n.is_multiple_of(groups);
    if fits(channels) && fits(outputs) {
        return Ok(());
    }
    Err(ModelError::Invalid(format!(
        "{channels} channels to {outputs} in {groups} groups: numbers from 1 to {MOST_CHANNELS}, divisible by the groups"
    )))
}

/// A weight and perhaps a bias.
macro_rules! weight_and_bias {
    ($type:ident) => {
        impl<D: Device> Module<D> for $type<D> {
            fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
                let bias = self.bias.as_ref().map(|b| ("bias".into(), b));
                std::iter::once(("weight".into(), &self.weight))
                    .chain(bias)
                    .collect()
            }
            fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
                std::iter::once(&mut self.weight)
                    .chain(self.bias.as_mut())
                    .collect()
            }
        }
    };
}

/// A convolution; see [`ops::conv`](crate::ops::conv()).
#[derive(Debug, Clone)]
pub struct Conv<D: Device> {
    weight: Parameter<D>,
    bias: Option<Parameter<D>>,
    geometry: Geometry,
}
weight_and_bias!(Conv);

impl<D: Device> Conv<D> {
    /// `channels` in, `outputs` out. The weight has as many dimensions as `dimensions` says, as in PyTorch.
    ///
    /// # Errors
    /// `Invalid` for sizes that make no sense, `Device` where memory is short.
    pub fn new(
        device: &D,
        [channels, outputs]: [usize; 2],
        geometry: Geometry,
        dimensions: usize,
        stream: &mut Stream,
    ) -> Result<Self> {
        sizes_make_sense(channels, outputs, geometry.groups)?;
        let ends = [outputs, channels / geometry.groups];
        let (weight, bias) = first_weights(device, ends, outputs, (geometry, dimensions), stream)?;
        Ok(Self {
            weight,
            bias: Some(bias),
            geometry,
        })
    }

    /// The same without a bias.
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }

    /// A convolution that first gives nothing: the end of a residual branch, for one.
    pub fn starting_at_zero(mut self) -> Self {
        self.weight.clear();
        self.bias.iter_mut().for_each(Parameter::clear);
        self
    }

    /// The convolution of `x`.
    ///
    /// # Errors
    /// `Shape` where `x` does not fit.
    pub fn forward<S: Signal<D>>(&self, x: S) -> Result<S> {
        x.conv(&self.weight, self.bias.as_ref(), self.geometry)
    }
}

/// A weight of `ends` by the kernel, and a bias, as PyTorch starts them: from the second axis of the weight, also where it
/// is that of the outputs.
fn first_weights<D: Device>(
    device: &D,
    ends: [usize; 2],
    outputs: usize,
    (geometry, dimensions): (Geometry, usize),
    stream: &mut Stream,
) -> Result<(Parameter<D>, Parameter<D>)> {
    let fan_in = ends[1] * geometry.taps();
    let shape = weight_shape(ends, geometry, dimensions)?;
    let weight = Parameter::uniform(device, shape, fan_in, stream)?;
    Ok((weight, Parameter::uniform(device, vec![outputs], fan_in, stream)?))
}

fn weight_shape(ends: [usize; 2], geometry: Geometry, dimensions: usize) -> Result<Vec<usize>> {
    let kernel = geometry.kernel.get(3_usize.wrapping_sub(dimensions)..);
    let Some(kernel) = kernel.filter(|k| k.iter().product::<usize>() == geometry.taps()) else {
        return Err(ModelError::Invalid(format!(
            "a kernel of {:?} has not {dimensions} dimensions",
            geometry.kernel
        )));
    };
    Ok(ends.iter().chain(kernel).copied().collect())
}

/// A transposed convolution; see [`ops::conv_transposed`](crate::ops::conv_transposed).
#[derive(Debug, Clone)]
pub struct ConvTransposed<D: Device> {
    weight: Parameter<D>,
    bias: Option<Parameter<D>>,
    geometry: Geometry,
}
weight_and_bias!(ConvTransposed);

impl<D: Device> ConvTransposed<D> {
    /// `channels` in, `outputs` out; `geometry` is that of the convolution that goes the other way.
    ///
    /// # Errors
    /// As [`Conv::new`].
    pub fn new(
        device: &D,
        [channels, outputs]: [usize; 2],
        geometry: Geometry,
        dimensions: usize,
        stream: &mut Stream,
    ) -> Result<Self> {
        sizes_make_sense(channels, outputs, geometry.groups)?;
        let ends = [channels, outputs / geometry.groups];
        let (weight, bias) = first_weights(device, ends, outputs, (geometry, dimensions), stream)?;
        Ok(Self {
            weight,
            bias: Some(bias),
            geometry,
        })
    }

    /// The finer field.
    ///
    /// # Errors
    /// `Shape` where `x` does not fit.
    pub fn forward<S: Signal<D>>(&self, x: S) -> Result<S> {
        x.conv_transposed(&self.weight, self.bias.as_ref(), self.geometry)
    }
}

/// `y = W x + b` at each position.
#[derive(Debug, Clone)]
pub struct Linear<D: Device> {
    weight: Parameter<D>,
    bias: Option<Parameter<D>>,
}
weight_and_bias!(Linear);

impl<D: Device> Linear<D> {
    /// `inputs` in, `outputs` out.
    ///
    /// # Errors
    /// As [`Conv::new`].
    pub fn new(device: &D, [inputs, outputs]: [usize; 2], stream: &mut Stream) -> Result<Self> {
        sizes_make_sense(inputs, outputs, 1)?;
        let point = (Geometry::pointwise(), 0);
        let (weight, bias) = first_weights(device, [outputs, inputs], outputs, point, stream)?;
        Ok(Self {
            weight,
            bias: Some(bias),
        })
    }

    /// The linear map of the channels of `x`.
    ///
    /// # Errors
    /// `Shape` where `x` does not fit.
    pub fn forward<S: Signal<D>>(&self, x: S) -> Result<S> {
        x.conv(&self.weight, self.bias.as_ref(), Geometry::pointwise())
    }
}
