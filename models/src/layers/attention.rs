//! Let positions look at each other, beside a path that leaves them alone.

use armilla_samplers::rng::Stream;

use super::{Conv, GroupNorm};
use crate::{
    device::Device,
    error::Result,
    ops::{Activation, Attention, conv::geometry::Geometry},
    parameter::module,
    signal::Signal,
};

/// Channels of one head.
const HEAD: usize = 32;

/// `x + norm(W attend(V norm(x)))` with linear attention.
#[derive(Debug, Clone)]
pub struct LinearAttention<D: Device> {
    norm: GroupNorm<D>,
    to_qkv: Conv<D>,
    to_out: Conv<D>,
    out_norm: GroupNorm<D>,
    heads: usize,
}
module!(LinearAttention, |this| [
    ("fn.norm", this.norm),
    ("fn.fn.to_qkv", this.to_qkv),
    ("fn.fn.to_out.0", this.to_out),
    ("fn.fn.to_out.1", this.out_norm),
]);

impl<D: Device> LinearAttention<D> {
    /// For `channels` channels, with `heads` heads of 32.
    ///
    /// # Errors
    /// As [`Conv::new`].
    pub fn new(device: &D, channels: usize, heads: usize, stream: &mut Stream) -> Result<Self> {
        let [to_qkv, to_out] = projections(device, channels, heads, stream)?;
        Ok(Self {
            norm: GroupNorm::new(device, 1, channels)?,
            to_qkv,
            to_out,
            out_norm: GroupNorm::new(device, 1, channels)?,
            heads,
        })
    }

    /// The field, and what its positions see in each other.
    ///
    /// # Errors
    /// `Shape` where `x` does not fit.
    pub fn forward<S: Signal<D>>(&self, x: S) -> Result<S> {
        let seen = self.norm.forward(x.share(), Activation::Identity, None)?;
        let seen = self.to_qkv.forward(seen)?.attend(self.heads, Attention::Linear)?;
        let seen = self.to_out.forward(seen)?;
        self.out_norm.forward(seen, Activation::Identity, None)?.sum(x)
    }
}

/// `x + W attend(V norm(x))` with full attention.
#[derive(Debug, Clone)]
pub struct FullAttention<D: Device> {
    norm: GroupNorm<D>,
    to_qkv: Conv<D>,
    to_out: Conv<D>,
    heads: usize,
}
module!(FullAttention, |this| [
    ("fn.norm", this.norm),
    ("fn.fn.to_qkv", this.to_qkv),
    ("fn.fn.to_out", this.to_out),
]);

impl<D: Device> FullAttention<D> {
    /// For `channels` channels, with `heads` heads of 32.
    ///
    /// # Errors
    /// As [`Conv::new`].
    pub fn new(device: &D, channels: usize, heads: usize, stream: &mut Stream) -> Result<Self> {
        let [to_qkv, to_out] = projections(device, channels, heads, stream)?;
        Ok(Self {
            norm: GroupNorm::new(device, 1, channels)?,
            to_qkv,
            to_out,
            heads,
        })
    }

    /// The field, and what its positions see in each other.
    ///
    /// # Errors
    /// `Shape` where `x` does not fit.
    pub fn forward<S: Signal<D>>(&self, x: S) -> Result<S> {
        let seen = self.norm.forward(x.share(), Activation::Identity, None)?;
        let seen = self.to_qkv.forward(seen)?.attend(self.heads, Attention::Full)?;
        self.to_out.forward(seen)?.sum(x)
    }
}

fn projections<D: Device>(
    device: &D,
    channels: usize,
    heads: usize,
    stream: &mut Stream,
) -> Result<[Conv<D>; 2]> {
    let hidden = heads * HEAD;
    let conv = |sizes, stream: &mut _| Conv::new(device, sizes, Geometry::pointwise(), 2, stream);
    Ok([
        conv([channels, 3 * hidden], stream)?.without_bias(),
        conv([hidden, channels], stream)?,
    ])
}
