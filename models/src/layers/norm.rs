//! Keep numbers in a network near one.

use std::sync::Mutex;

use crate::{
    device::Device,
    error::Result,
    ops::{Activation, Over},
    parameter::{Module, Parameter},
    signal::Signal,
};

/// Share of a batch's statistics in the running ones.
const MOMENTUM: f32 = 0.1;

/// A norm over `OVER` with a weight and a bias for each channel.
macro_rules! norm {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $type<D: Device> {
            weight: Parameter<D>,
            bias: Parameter<D>,
            over: Over,
        }

        impl<D: Device> Module<D> for $type<D> {
            fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
                vec![("weight".into(), &self.weight), ("bias".into(), &self.bias)]
            }
            fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
                vec![&mut self.weight, &mut self.bias]
            }
        }

        impl<D: Device> $type<D> {
            fn over(device: &D, channels: usize, over: Over) -> Result<Self> {
                Ok(Self {
                    weight: Parameter::constant(device, vec![channels], 1.0)?,
                    bias: Parameter::constant(device, vec![channels], 0.0)?,
                    over,
                })
            }

            /// `f(norm(x)) + shift`; see [`ops::normalise`](crate::ops::normalise).
            ///
            /// # Errors
            /// `Shape` where `x` or `shift` does not fit.
            pub fn forward<S: Signal<D>>(&self, x: S, f: Activation, shift: Option<S>) -> Result<S> {
                x.normalise(&self.weight, &self.bias, shift, self.over, f)
            }
        }
    };
}

norm!(
    /// Mean and variance of groups of channels (Wu & He 2018, arXiv 1803.08494).
    GroupNorm
);
norm!(
    /// Mean and variance over the channels of each position (Ba et al. 2016, arXiv 1607.06450).
    LayerNorm
);

impl<D: Device> GroupNorm<D> {
    /// For `channels` channels in `groups` groups.
    ///
    /// # Errors
    /// `Device` where memory is short; groups that do not divide the channels are told when it is used.
    pub fn new(device: &D, groups: usize, channels: usize) -> Result<Self> {
        Self::over(device, channels, Over::Group(groups))
    }
}

impl<D: Device> LayerNorm<D> {
    /// For `channels` channels.
    ///
    /// # Errors
    /// `Device` where memory is short.
    pub fn new(device: &D, channels: usize) -> Result<Self> {
        Self::over(device, channels, Over::Layer)
    }
}

/// Mean and variance of each channel over the batch while training, running ones after (Ioffe & Szegedy 2015,
/// arXiv 1502.03167).
#[derive(Debug)]
pub struct BatchNorm<D: Device> {
    weight: Parameter<D>,
    bias: Parameter<D>,
    running_mean: Parameter<D>,
    running_var: Parameter<D>,
    training: bool,
    /// Mean and unbiased variance of the last batch, until they are taken into the running ones.
    observed: Mutex<Option<[Vec<f32>; 2]>>,
}

impl<D: Device> Clone for BatchNorm<D> {
    fn clone(&self) -> Self {
        Self {
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            running_mean: self.running_mean.clone(),
            running_var: self.running_var.clone(),
            training: self.training,
            observed: Mutex::default(),
        }
    }
}

impl<D: Device> BatchNorm<D> {
    /// For `channels` channels.
    ///
    /// # Errors
    /// `Device` where memory is short.
    pub fn new(device: &D, channels: usize) -> Result<Self> {
        Ok(Self {
            weight: Parameter::constant(device, vec![channels], 1.0)?,
            bias: Parameter::constant(device, vec![channels], 0.0)?,
            running_mean: Parameter::buffer(device, channels, 0.0)?,
            running_var: Parameter::buffer(device, channels, 1.0)?,
            training: false,
            observed: Mutex::default(),
        })
    }

    /// `f(norm(x)) + shift`.
    ///
    /// # Errors
    /// `Shape` where `x` or `shift` does not fit.
    pub fn forward<S: Signal<D>>(&self, x: S, f: Activation, shift: Option<S>) -> Result<S> {
        if !self.training {
            let by = [&self.running_mean, &self.running_var, &self.weight, &self.bias];
            return x.rescale(by, shift, f);
        }
        let moments = x.moments()?;
        // Poisoned or not, the last batch is what counts.
        *self.observed.lock().unwrap_or_else(|e| e.into_inner()) = Some(moments);
        x.normalise(&self.weight, &self.bias, shift, Over::Batch, f)
    }

    pub(crate) fn set_training(&mut self, training: bool) {
        self.training = training;
    }

    /// Takes what the last batch showed into the running statistics: once after each step of a training.
    pub(crate) fn absorb(&mut self) {
        let observed = self.observed.get_mut().unwrap_or_else(|e| e.into_inner()).take();
        let Some([mean, variance]) = observed else { return };
        for (running, seen) in [(&mut self.running_mean, mean), (&mut self.running_var, variance)] {
            let mut values = running.to_vec();
            for (value, seen) in values.iter_mut().zip(seen) {
                *value += MOMENTUM * (seen - *value);
            }
            running.set(&values);
        }
    }
}

impl<D: Device> Module<D> for BatchNorm<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        vec![
            ("weight".into(), &self.weight),
            ("bias".into(), &self.bias),
            ("running_mean".into(), &self.running_mean),
            ("running_var".into(), &self.running_var),
        ]
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        vec![
            &mut self.weight,
            &mut self.bias,
            &mut self.running_mean,
            &mut self.running_var,
        ]
    }
    fn batch_norms(&mut self) -> Vec<&mut BatchNorm<D>> {
        vec![self]
    }
}
