//! Describe normalizing flows: what is needed to rebuild one, but for its weights.

use serde::{Deserialize, Serialize};

use super::spline::MOST_BINS;
use crate::{
    error::{ModelError, Result},
    ops::conv::geometry::Padding,
};

/// Larger counts of layers and numbers are mistakes.
const MOST_LAYERS: usize = 1000;
const MOST_NUMBERS: usize = 1 << 16;
/// Numbers that a matrix of each layer mixes at most: it takes 4 MB then.
const MOST_MIXED: usize = 1024;

/// A flow and its sizes.
///
/// ```
/// use armilla_models::flows::{FlowConfig, SplineConfig};
/// let config = FlowConfig::Spline(SplineConfig { numbers: 2, bins: 8, ..Default::default() });
/// assert_eq!((config.name(), config.numbers(), config.cond_dim()), ("spline", 2, 0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "flow", rename_all = "lowercase")]
pub enum FlowConfig {
    /// Affine coupling (Dinh et al. 2017, arXiv 1605.08803).
    RealNvp(RealNvpConfig),
    /// Coupling by rational quadratic splines (Durkan et al. 2019, arXiv 1906.04032).
    Spline(SplineConfig),
    /// Masked autoregressive (Papamakarios et al. 2017, arXiv 1705.07057).
    Maf(MafConfig),
    /// Affine coupling of images (Kingma & Dhariwal 2018, arXiv 1807.03039).
    Glow(GlowConfig),
}

/// Sizes of a RealNVP for vectors, or for flattened fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealNvpConfig {
    /// Numbers of an example.
    pub numbers: usize,
    /// Numbers of a condition; 0 for none.
    pub cond_dim: usize,
    /// Coupling layers. Two of them together move every number.
    pub layers: usize,
    /// Widths of the hidden layers of each network.
    pub widths: Vec<usize>,
    /// The logarithm of a stretch stays within ± this.
    pub bound: f64,
}

impl Default for RealNvpConfig {
    fn default() -> Self {
        Self {
            numbers: 2,
            cond_dim: 0,
            layers: 8,
            widths: vec![64, 64],
            bound: 3.0,
        }
    }
}

/// Sizes of a spline flow for vectors, or for flattened fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplineConfig {
    /// Numbers of an example.
    pub numbers: usize,
    /// Numbers of a condition; 0 for none.
    pub cond_dim: usize,
    /// Coupling layers. Two of them together move every number.
    pub layers: usize,
    /// Widths of the hidden layers of each network.
    pub widths: Vec<usize>,
    /// Bins of each spline.
    pub bins: usize,
    /// Splines bend numbers within ± this; others stay.
    pub bound: f64,
    /// Whether a learnt invertible matrix mixes the numbers before each coupling.
    pub mixing: bool,
}

impl Default for SplineConfig {
    fn default() -> Self {
        Self {
            numbers: 2,
            cond_dim: 0,
            layers: 6,
            widths: vec![64, 64],
            bins: 8,
            bound: 4.0,
            mixing: false,
        }
    }
}

/// Sizes of a masked autoregressive flow for vectors, or for flattened fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MafConfig {
    /// Numbers of an example.
    pub numbers: usize,
    /// Numbers of a condition; 0 for none.
    pub cond_dim: usize,
    /// Layers. Every second one takes the numbers from last to first.
    pub layers: usize,
    /// Widths of the hidden layers of each network.
    pub widths: Vec<usize>,
    /// The logarithm of a stretch stays within ± this.
    pub bound: f64,
}

impl Default for MafConfig {
    fn default() -> Self {
        Self {
            numbers: 2,
            cond_dim: 0,
            layers: 6,
            widths: vec![64, 64],
            bound: 3.0,
        }
    }
}

/// Sizes of a Glow for images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlowConfig {
    /// Channels of an image.
    pub channels: usize,
    /// Its height and width: multiples of two to the number of levels.
    pub sides: [usize; 2],
    /// Numbers of a condition; 0 for none.
    pub cond_dim: usize,
    /// Times that the image is squeezed; between them, half of the channels leave.
    pub levels: usize,
    /// Steps at each level: a norm, a mixing of channels and a coupling.
    pub steps: usize,
    /// Channels of the hidden layers of each network.
    pub hidden: usize,
    /// The logarithm of a stretch stays within ± this.
    pub bound: f64,
    /// What lies beyond the edge.
    pub padding: Padding,
}

impl Default for GlowConfig {
    fn default() -> Self {
        Self {
            channels: 1,
            sides: [32, 32],
            cond_dim: 0,
            levels: 2,
            steps: 4,
            hidden: 64,
            bound: 3.0,
            padding: Padding::Zeros,
        }
    }
}

impl FlowConfig {
    /// What there is.
    pub const NAMES: [&'static str; 4] = ["realnvp", "spline", "maf", "glow"];

    /// Which it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RealNvp(_) => Self::NAMES[0],
            Self::Spline(_) => Self::NAMES[1],
            Self::Maf(_) => Self::NAMES[2],
            Self::Glow(_) => Self::NAMES[3],
        }
    }

    /// Numbers of an example.
    pub fn numbers(&self) -> usize {
        match self {
            Self::RealNvp(c) => c.numbers,
            Self::Spline(c) => c.numbers,
            Self::Maf(c) => c.numbers,
            Self::Glow(c) => c.channels.saturating_mul(c.sides[0]).saturating_mul(c.sides[1]),
        }
    }

    /// Numbers of a condition; 0 where there is none.
    pub fn cond_dim(&self) -> usize {
        match self {
            Self::RealNvp(c) => c.cond_dim,
            Self::Spline(c) => c.cond_dim,
            Self::Maf(c) => c.cond_dim,
            Self::Glow(c) => c.cond_dim,
        }
    }

    /// Looks whether the sizes make sense.
    ///
    /// # Errors
    /// `Invalid`, naming what is allowed.
    pub fn check(&self) -> Result<()> {
        let name = self.name();
        let wrong = |what: String| Err(ModelError::Invalid(format!("{name}: {what}")));
        let none: &[usize] = &[];
        let (layers, widths, bound) = match self {
            Self::RealNvp(c) => (c.layers, c.widths.as_slice(), c.bound),
            Self::Spline(c) => (c.layers, c.widths.as_slice(), c.bound),
            Self::Maf(c) => (c.layers, c.widths.as_slice(), c.bound),
            Self::Glow(c) => (c.levels.saturating_mul(c.steps), none, c.bound),
        };
        if !(1..=MOST_NUMBERS).contains(&self.numbers()) || self.cond_dim() > MOST_NUMBERS {
            return wrong(format!(
                "an example has from 1 to {MOST_NUMBERS} numbers and a condition at most as many, not {} and {}",
                self.numbers(),
                self.cond_dim()
            ));
        }
        if !(1..=MOST_LAYERS).contains(&layers) {
            return wrong(format!("from 1 to {MOST_LAYERS} layers in all, not {layers}"));
        }
        if widths.len() > 8 || widths.iter().any(|w| !(1..=MOST_NUMBERS).contains(w)) {
            return wrong(format!(
                "at most eight widths from 1 to {MOST_NUMBERS}, not {widths:?}"
            ));
        }
        if !(bound > 0.0 && bound.is_finite()) {
            return wrong(format!("bound must be positive, and is {bound}"));
        }
        match self {
            Self::Spline(c) if !(2..=MOST_BINS).contains(&c.bins) => {
                wrong(format!("from 2 to {MOST_BINS} bins, not {}", c.bins))
            }
            Self::Spline(c) if c.mixing && c.numbers > MOST_MIXED => wrong(format!(
                "mixing is for {MOST_MIXED} numbers at most, not {}: leave it out, or take smaller maps",
                c.numbers
            )),
            Self::Glow(c) => {
                let step = 1usize.checked_shl(c.levels as u32).unwrap_or(0);
                let whole = |side: &usize| step > 0 && *side > 0 && side.is_multiple_of(step);
                if c.levels > 16 || !c.sides.iter().all(whole) {
                    return wrong(format!(
                        "images of sides {:?} cannot be halved {} times: sides must be multiples of {step}",
                        c.sides, c.levels
                    ));
                }
                if !(1..=MOST_NUMBERS).contains(&c.hidden) {
                    return wrong(format!(
                        "hidden must be from 1 to {MOST_NUMBERS}, and is {}",
                        c.hidden
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
