//! Read the sections `realnvp`, `spline`, `maf` and `glow` of a configuration.

use armilla_models::flows::{FlowConfig, GlowConfig, MafConfig, RealNvpConfig, SplineConfig};
use armilla_models::ops::conv::geometry::Padding;
use serde::{Deserialize, Serialize};

/// Widths of hidden layers where nothing else is said: maps have more numbers than the vectors that flows are shown on.
const WIDTHS: [usize; 2] = [128, 128];

/// Sizes of a RealNVP: see [`RealNvpConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealNvpKeys {
    /// Coupling layers.
    pub layers: usize,
    /// Widths of the hidden layers of each network.
    pub widths: Vec<usize>,
    /// The logarithm of a stretch stays within ± this.
    pub bound: f64,
}

impl Default for RealNvpKeys {
    fn default() -> Self {
        let plain = RealNvpConfig::default();
        Self {
            layers: plain.layers,
            widths: WIDTHS.to_vec(),
            bound: plain.bound,
        }
    }
}

/// Sizes of a spline flow: see [`SplineConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplineKeys {
    /// Coupling layers.
    pub layers: usize,
    /// Widths of the hidden layers of each network.
    pub widths: Vec<usize>,
    /// Bins of each spline.
    pub bins: usize,
    /// Splines bend numbers within ± this.
    pub bound: f64,
    /// Whether a learnt matrix mixes the numbers before each coupling.
    pub mixing: bool,
}

impl Default for SplineKeys {
    fn default() -> Self {
        let plain = SplineConfig::default();
        Self {
            layers: plain.layers,
            widths: WIDTHS.to_vec(),
            bins: plain.bins,
            bound: plain.bound,
            mixing: plain.mixing,
        }
    }
}

/// Sizes of a masked autoregressive flow: see [`MafConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MafKeys {
    /// Layers.
    pub layers: usize,
    /// Widths of the hidden layers of each network.
    pub widths: Vec<usize>,
    /// The logarithm of a stretch stays within ± this.
    pub bound: f64,
}

impl Default for MafKeys {
    fn default() -> Self {
        let plain = MafConfig::default();
        Self {
            layers: plain.layers,
            widths: WIDTHS.to_vec(),
            bound: plain.bound,
        }
    }
}

/// Sizes of a Glow: see [`GlowConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlowKeys {
    /// Times that a map is squeezed.
    pub levels: usize,
    /// Steps at each level.
    pub steps: usize,
    /// Channels of the hidden layers of each network.
    pub hidden: usize,
    /// The logarithm of a stretch stays within ± this.
    pub bound: f64,
    /// What lies beyond the edge of a map.
    pub padding: Padding,
}

impl Default for GlowKeys {
    fn default() -> Self {
        let plain = GlowConfig::default();
        Self {
            levels: plain.levels,
            steps: plain.steps,
            hidden: plain.hidden,
            bound: plain.bound,
            padding: plain.padding,
        }
    }
}

impl RealNvpKeys {
    /// The flow for maps of `side` pixels to a side.
    pub(super) fn layers(&self, side: usize, cond_dim: usize) -> FlowConfig {
        FlowConfig::RealNvp(RealNvpConfig {
            numbers: side * side,
            cond_dim,
            layers: self.layers,
            widths: self.widths.clone(),
            bound: self.bound,
        })
    }
}

impl SplineKeys {
    /// As [`RealNvpKeys::layers`].
    pub(super) fn layers(&self, side: usize, cond_dim: usize) -> FlowConfig {
        FlowConfig::Spline(SplineConfig {
            numbers: side * side,
            cond_dim,
            layers: self.layers,
            widths: self.widths.clone(),
            bins: self.bins,
            bound: self.bound,
            mixing: self.mixing,
        })
    }
}

impl MafKeys {
    /// As [`RealNvpKeys::layers`].
    pub(super) fn layers(&self, side: usize, cond_dim: usize) -> FlowConfig {
        FlowConfig::Maf(MafConfig {
            numbers: side * side,
            cond_dim,
            layers: self.layers,
            widths: self.widths.clone(),
            bound: self.bound,
        })
    }
}

impl GlowKeys {
    /// As [`RealNvpKeys::layers`].
    pub(super) fn layers(&self, side: usize, cond_dim: usize) -> FlowConfig {
        FlowConfig::Glow(GlowConfig {
            channels: 1,
            sides: [side, side],
            cond_dim,
            levels: self.levels,
            steps: self.steps,
            hidden: self.hidden,
            bound: self.bound,
            padding: self.padding,
        })
    }
}
