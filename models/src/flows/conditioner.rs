//! Tell from some numbers how to move others: the networks inside coupling and autoregressive layers.

use std::sync::Arc;

use armilla_samplers::rng::Stream;
use dfdx::{
    tensor::{SplitTape, Tape},
    tensor_ops::TryMul,
};

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Flat},
    layers::{Conv, Linear},
    ops::{
        Activation, activate,
        conv::{
            self,
            geometry::{Geometry, Padding},
        },
    },
    parameter::{Module, Parameter},
};

/// A network whose last layer starts at zero, so that the layer around it starts as the identity.
#[derive(Debug, Clone)]
pub(super) enum Conditioner<D: Device> {
    /// A perceptron.
    Perceptron(Vec<Linear<D>>),
    /// Convolutions of 3×3, 1×1 and 3×3, as Glow's.
    Convolutions(Vec<Conv<D>>),
    /// A perceptron in which no output sees the numbers that it must not.
    Masked(Vec<Masked<D>>),
}

/// Sizes of all layers.
fn ends(inputs: usize, widths: &[usize], outputs: usize) -> Vec<[usize; 2]> {
    let sizes: Vec<usize> = std::iter::once(inputs)
        .chain(widths.iter().copied())
        .chain([outputs])
        .collect();
    sizes.windows(2).map(|pair| [pair[0], pair[1]]).collect()
}

fn starting_at_zero<D: Device, M: Module<D>>(mut layers: Vec<M>) -> Vec<M> {
    if let Some(last) = layers.last_mut() {
        last.parameters_mut().into_iter().for_each(Parameter::clear);
    }
    layers
}

impl<D: Device> Conditioner<D> {
    pub(super) fn perceptron(
        device: &D,
        [inputs, outputs]: [usize; 2],
        widths: &[usize],
        stream: &mut Stream,
    ) -> Result<Self> {
        let layers = ends(inputs, widths, outputs)
            .into_iter()
            .map(|ends| Linear::new(device, ends, stream));
        Ok(Self::Perceptron(starting_at_zero(layers.collect::<Result<_>>()?)))
    }

    pub(super) fn convolutions(
        device: &D,
        [inputs, outputs]: [usize; 2],
        hidden: usize,
        padding: Padding,
        stream: &mut Stream,
    ) -> Result<Self> {
        let layers = ends(inputs, &[hidden; 2], outputs).into_iter().zip([3, 1, 3]);
        let layers = layers
            .map(|(ends, kernel)| Conv::new(device, ends, Geometry::cube(2, kernel, 1, padding), 2, stream));
        Ok(Self::Convolutions(starting_at_zero(
            layers.collect::<Result<_>>()?,
        )))
    }

    /// A masked perceptron (Germain et al. 2015, arXiv 1502.03509): it sees a vector whose number `i` comes as
    /// `order[i]`-th, from 1 on, and a condition behind it. Its outputs, `each` times one for every number, see the
    /// condition and the numbers that come before.
    pub(super) fn masked(
        device: &D,
        order: &[usize],
        condition: usize,
        each: usize,
        widths: &[usize],
        stream: &mut Stream,
    ) -> Result<Self> {
        let n = order.len();
        // What a unit may see: numbers that come no later. A condition comes before all.
        let mut before: Vec<usize> = order.iter().copied().chain(vec![0; condition]).collect();
        // Units that see the condition alone are of use only where there is one.
        let least = usize::from(condition == 0 && n > 1);
        let mut layers = Vec::new();
        for width in widths {
            let after: Vec<usize> = (0..*width)
                .map(|unit| least + unit % (n - least).max(1))
                .collect();
            layers.push(Masked::new(
                device,
                [&before, &after],
                |from, to| from <= to,
                stream,
            )?);
            before = after;
        }
        let outputs: Vec<usize> = (0..each).flat_map(|_| order.iter().copied()).collect();
        layers.push(Masked::new(
            device,
            [&before, &outputs],
            |from, to| from < to,
            stream,
        )?);
        Ok(Self::Masked(starting_at_zero(layers)))
    }

    /// What the network makes of its input.
    pub(super) fn forward<T: Tape<f32, D>>(&self, x: Field<D, T>) -> Result<Field<D, T>> {
        match self {
            Self::Perceptron(layers) => through(x, layers, Activation::Silu, |layer, x| layer.forward(x)),
            Self::Convolutions(layers) => through(x, layers, Activation::Relu, |layer, x| layer.forward(x)),
            Self::Masked(layers) => through(x, layers, Activation::Silu, |layer, x| layer.forward(x)),
        }
    }
}

fn through<D: Device, T: Tape<f32, D>, L>(
    mut x: Field<D, T>,
    layers: &[L],
    f: Activation,
    pass: impl Fn(&L, Field<D, T>) -> Result<Field<D, T>>,
) -> Result<Field<D, T>> {
    for (i, layer) in layers.iter().enumerate() {
        x = pass(layer, x)?;
        if i + 1 < layers.len() {
            x = activate(x, f)?;
        }
    }
    Ok(x)
}

impl<D: Device> Module<D> for Conditioner<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        match self {
            Self::Perceptron(layers) => layers.parameters(),
            Self::Convolutions(layers) => layers.parameters(),
            Self::Masked(layers) => layers.parameters(),
        }
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        match self {
            Self::Perceptron(layers) => layers.parameters_mut(),
            Self::Convolutions(layers) => layers.parameters_mut(),
            Self::Masked(layers) => layers.parameters_mut(),
        }
    }
}

/// A linear map of which some weights count as zero, whatever they are.
#[derive(Debug, Clone)]
pub(super) struct Masked<D: Device> {
    weight: Parameter<D>,
    bias: Parameter<D>,
    mask: Arc<Flat<D>>,
}

impl<D: Device> Masked<D> {
    fn new(
        device: &D,
        [inputs, outputs]: [&[usize]; 2],
        sees: impl Fn(usize, usize) -> bool,
        stream: &mut Stream,
    ) -> Result<Self> {
        let pairs = outputs
            .iter()
            .flat_map(|to| inputs.iter().map(|from| sees(*from, *to)));
        let mask: Vec<f32> = pairs.map(|sees| f32::from(u8::from(sees))).collect();
        let shape = vec![outputs.len(), inputs.len()];
        let mask = device
            .try_tensor_from_vec(mask, (shape[0] * shape[1],))
            .map_err(ModelError::device)?;
        Ok(Self {
            weight: Parameter::uniform(device, shape, inputs.len(), stream)?,
            bias: Parameter::uniform(device, vec![outputs.len()], inputs.len(), stream)?,
            mask: Arc::new(mask),
        })
    }

    fn forward<T: Tape<f32, D>>(&self, x: Field<D, T>) -> Result<Field<D, T>> {
        let weight = self
            .weight
            .taped::<T>()
            .try_mul((*self.mask).clone())
            .map_err(ModelError::device)?;
        let (weight, tape) = weight.split_tape();
        let weight = self.weight.with_values(weight);
        conv::conv(
            x.with_tape(tape),
            &weight,
            Some(&self.bias),
            Geometry::pointwise(),
        )
    }
}

impl<D: Device> Module<D> for Masked<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        vec![("weight".into(), &self.weight), ("bias".into(), &self.bias)]
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        vec![&mut self.weight, &mut self.bias]
    }
}
