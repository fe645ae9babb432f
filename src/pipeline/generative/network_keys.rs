//! Read the section `model` of a configuration as the network that it means.

use armilla_models::nets::{Architecture, AttentionUnetConfig, ConditionedMlpConfig, SimpleUnetConfig};
use armilla_models::ops::Activation;
use armilla_models::ops::conv::geometry::Padding;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A network by the name that `model.from` gives it; capitals, `-` and `_` do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum NetworkKind {
    /// See [`SimpleUnet`](armilla_models::nets::SimpleUnet).
    SimpleUnet,
    /// That of Diffusion-HMC: see [`AttentionUnet`](armilla_models::nets::AttentionUnet).
    AttentionUnet,
    /// A perceptron that sees all pixels: see [`ConditionedMlp`](armilla_models::nets::ConditionedMlp).
    Mlp,
}

impl TryFrom<String> for NetworkKind {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let plain: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
        match plain.to_lowercase().as_str() {
            "simpleunet" | "unet" => Ok(Self::SimpleUnet),
            "attentionunet" | "diffusionhmc" | "diffusionhmcunet" => Ok(Self::AttentionUnet),
            "mlp" | "conditionedmlp" => Ok(Self::Mlp),
            _ => Err(format!(
                "`{text}` is no network: from is SimpleUNet, AttentionUNet (DiffusionHMC) or MLP"
            )),
        }
    }
}

impl From<NetworkKind> for &'static str {
    fn from(kind: NetworkKind) -> Self {
        match kind {
            NetworkKind::SimpleUnet => "SimpleUNet",
            NetworkKind::AttentionUnet => "AttentionUNet",
            NetworkKind::Mlp => "MLP",
        }
    }
}

/// The network, as far as it is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkKeys {
    /// Which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<NetworkKind>,
    /// Channels of the first level of a U-Net.
    #[serde(alias = "dim", skip_serializing_if = "Option::is_none")]
    pub base_channels: Option<usize>,
    /// Those of each level as multiples of it.
    #[serde(
        alias = "dim_mults",
        alias = "multipliers",
        skip_serializing_if = "Option::is_none"
    )]
    pub channel_mults: Option<Vec<usize>>,
    /// Features of a time in a SimpleUNet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_dim: Option<usize>,
    /// Groups of the norms of an AttentionUNet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// What lies beyond the edge of a map in an AttentionUNet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<Padding>,
    /// Widths of the hidden layers of a perceptron.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub widths: Option<Vec<usize>>,
    /// What follows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
}

/// Multiples for the levels of a U-Net: as many as a map can be halved.
const MULTIPLES: [usize; 4] = [1, 2, 4, 8];
/// Channels of the first level where nothing else is said: what a processor trains in minutes.
const CHANNELS: usize = 32;

impl NetworkKeys {
    /// The network of this `kind` for maps of `side` pixels to a side and conditions of `conditions` numbers.
    ///
    /// # Errors
    ///
    /// Keys of another network.
    pub fn architecture(&self, kind: NetworkKind, side: usize, conditions: usize) -> Result<Architecture> {
        self.check(kind)?;
        let base = self.base_channels.unwrap_or(CHANNELS);
        let multiples = |halvings: usize| match &self.channel_mults {
            Some(given) => given.clone(),
            None => MULTIPLES[..halvings.clamp(1, MULTIPLES.len())].to_vec(),
        };
        let halvings = side.trailing_zeros() as usize;
        Ok(match kind {
            NetworkKind::SimpleUnet => {
                let config = SimpleUnetConfig {
                    channels: 1,
                    base_channels: base,
                    channel_mults: multiples(halvings),
                    time_dim: self.time_dim.unwrap_or(4 * base.next_multiple_of(2)),
                    // A U-Net is always told something: 1, where there is nothing to tell.
                    cond_dim: conditions.max(1),
                };
                Architecture::SimpleUnet(config)
            }
            NetworkKind::AttentionUnet => {
                let plain = AttentionUnetConfig::default();
                let config = AttentionUnetConfig {
                    channels: 1,
                    dim: base,
                    // The last level is not halved.
                    dim_mults: multiples(halvings + 1),
                    cond_dim: conditions.max(1),
                    groups: self.groups.unwrap_or(plain.groups),
                    padding: self.padding.unwrap_or(plain.padding),
                };
                Architecture::AttentionUnet(config)
            }
            NetworkKind::Mlp => {
                let config = ConditionedMlpConfig {
                    channels: side * side,
                    cond_dim: conditions,
                    widths: self.widths.clone().unwrap_or_else(|| vec![256, 256]),
                    // Smooth, so that the derivative of a divergence tells something.
                    activation: self.activation.unwrap_or(Activation::Silu),
                };
                Architecture::ConditionedMlp(config)
            }
        })
    }

    /// Looks whether every key is one of `kind`.
    fn check(&self, kind: NetworkKind) -> Result<()> {
        use NetworkKind::{AttentionUnet, Mlp, SimpleUnet};
        let keys: [(&str, bool, &[NetworkKind]); 7] = [
            (
                "base_channels",
                self.base_channels.is_some(),
                &[SimpleUnet, AttentionUnet],
            ),
            (
                "channel_mults",
                self.channel_mults.is_some(),
                &[SimpleUnet, AttentionUnet],
            ),
            ("time_dim", self.time_dim.is_some(), &[SimpleUnet]),
            ("groups", self.groups.is_some(), &[AttentionUnet]),
            ("padding", self.padding.is_some(), &[AttentionUnet]),
            ("widths", self.widths.is_some(), &[Mlp]),
            ("activation", self.activation.is_some(), &[Mlp]),
        ];
        match keys.iter().find(|(_, given, of)| *given && !of.contains(&kind)) {
            None => Ok(()),
            Some((key, _, _)) => {
                let takes = keys.iter().filter(|(_, _, of)| of.contains(&kind));
                let takes: Vec<&str> = takes.map(|(name, ..)| *name).collect();
                let name: &str = kind.into();
                Err(Error::Invalid(format!(
                    "model.{key} is no key of {name}, which takes {}",
                    takes.join(", ")
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, side: usize) -> Result<Architecture> {
        let keys: NetworkKeys = serde_norway::from_str(text).map_err(|e| Error::Invalid(e.to_string()))?;
        keys.architecture(keys.from.unwrap_or(NetworkKind::SimpleUnet), side, 3)
    }

    #[test]
    fn names_and_sizes_are_those_of_the_literature() {
        let seed = "{from: \"SimpleUNet\", base_channels: 128, time_dim: 256}";
        let mut expected = SimpleUnetConfig {
            cond_dim: 3,
            ..SimpleUnetConfig::default()
        };
        let found = read(seed, 256).unwrap();
        assert_eq!(found, Architecture::SimpleUnet(expected.clone()));
        // Small maps have fewer levels.
        expected.channel_mults = vec![1, 2, 4];
        assert_eq!(read(seed, 8).unwrap(), Architecture::SimpleUnet(expected));
        for name in ["AttentionUNet", "attention_unet", "DiffusionHMC", "diffusion-hmc"] {
            let text = format!("{{from: {name}, dim: 64}}");
            let Architecture::AttentionUnet(config) = read(&text, 64).unwrap() else {
                panic!("{name}")
            };
            assert_eq!((config.dim, config.dim_mults), (64, vec![1, 2, 4, 8]));
        }
        let Architecture::ConditionedMlp(config) = read("{from: mlp, widths: [5]}", 4).unwrap() else {
            panic!()
        };
        assert_eq!((config.channels, config.cond_dim), (16, 3));
    }

    #[test]
    fn keys_of_others_are_named() {
        for (text, words) in [
            ("{from: ResNet}", &["`ResNet`", "SimpleUNet", "AttentionUNet"][..]),
            ("{widths: [3]}", &["model.widths", "SimpleUNet", "base_channels"]),
            (
                "{from: MLP, base_channels: 3}",
                &["model.base_channels", "MLP", "widths"],
            ),
            ("{base: 3}", &["`base`", "`base_channels`"]),
        ] {
            let message = read(text, 8).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
}
