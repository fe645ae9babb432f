//! Networks, with sizes chosen at run time.

mod architecture;
mod attention_unet;
mod autoencoder;
mod conditioned;
mod conditioned_mlp;
mod latent_velocity;
pub mod mlp;
mod regression;
mod simple_unet;
pub mod unet;

pub use architecture::{Architecture, Network};
pub use attention_unet::{AttentionUnet, AttentionUnetConfig};
pub use autoencoder::{Autoencoder, AutoencoderConfig};
pub use conditioned::Conditioned;
use conditioned::check_widths;
pub use conditioned_mlp::{ConditionedMlp, ConditionedMlpConfig};
pub use latent_velocity::{LatentVelocityConfig, LatentVelocityEstimator};
pub use mlp::Mlp;
pub use regression::{MomentNetwork, MomentNetworkConfig};
pub use simple_unet::{SimpleUnet, SimpleUnetConfig};
use unet::MOST_CHANNELS;
pub use unet::{Unet, UnetConfig};

/// Smooth functions of a log signal-to-noise ratio, the input of what depends on time: λ/4 and the sine and
/// cosine of its first multiples.
pub fn time_features(log_snr: f64) -> [f64; TIME_FEATURES] {
    let l = log_snr / 4.0;
    std::array::from_fn(|i| match i {
        0 => l,
        _ => {
            let angle = l * i.div_ceil(2) as f64;
            if i % 2 == 1 { angle.sin() } else { angle.cos() }
        }
    })
}

/// How many [`time_features`] there are.
pub const TIME_FEATURES: usize = 9;
