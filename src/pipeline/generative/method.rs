//! Name the methods that a generative model can be trained by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a generative model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GenerativeMethod {
    /// Flow matching (Lipman et al. 2023, arXiv 2210.02747).
    #[serde(alias = "flow_matching")]
    Flow,
    /// Rectified flow: flow matching, then again on the pairs that the flow itself makes (Liu et al. 2023, arXiv
    /// 2209.03003).
    #[serde(alias = "rectified_flow")]
    Rectified,
    /// A denoising diffusion chain (Ho et al. 2020, arXiv 2006.11239).
    #[default]
    #[serde(alias = "ddpm")]
    Diffusion,
    /// Score matching along a stochastic differential equation (Song et al. 2021, arXiv 2011.13456).
    Score,
    /// Affine couplings (Dinh et al. 2017, arXiv 1605.08803).
    #[serde(alias = "real_nvp")]
    RealNvp,
    /// Affine couplings and invertible convolutions at several scales (Kingma & Dhariwal 2018, arXiv 1807.03039).
    Glow,
    /// Couplings by rational-quadratic splines (Durkan et al. 2019, arXiv 1906.04032).
    Spline,
    /// Masked autoregressive layers (Papamakarios et al. 2017, arXiv 1705.07057).
    Maf,
    /// A continuous normalizing flow trained by its likelihood (Grathwohl et al. 2019, arXiv 1810.01367).
    Ffjord,
}

impl GenerativeMethod {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Flow,
        Self::Rectified,
        Self::Diffusion,
        Self::Score,
        Self::RealNvp,
        Self::Glow,
        Self::Spline,
        Self::Maf,
        Self::Ffjord,
    ];

    /// Its name, as configurations have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Rectified => "rectified",
            Self::Diffusion => "diffusion",
            Self::Score => "score",
            Self::RealNvp => "realnvp",
            Self::Glow => "glow",
            Self::Spline => "spline",
            Self::Maf => "maf",
            Self::Ffjord => "ffjord",
        }
    }

    /// Whether it is a normalizing flow of layers: it samples exactly, without steps.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::RealNvp | Self::Glow | Self::Spline | Self::Maf)
    }
}

impl fmt::Display for GenerativeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
