//! Build networks from layers whose sizes are known at run time, with the names and the first weights of PyTorch.

mod attention;
mod convolution;
mod embedding;
mod norm;

pub use attention::{FullAttention, LinearAttention};
pub use convolution::{Conv, ConvTransposed, Linear};
pub use embedding::{Embedding, embedding};
pub use norm::{BatchNorm, GroupNorm, LayerNorm};
