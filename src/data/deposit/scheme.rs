//! Share a particle among the nodes around it.

use serde::{Deserialize, Serialize};

/// How a particle is shared among the nodes around it: the order p of the spline, for which it has p nodes along an axis
/// (Hockney & Eastwood 1988; Sefusatti et al. 2016, arXiv 1512.07295).
///
/// Nodes lie at i · L/N, i = 0 … N − 1, as in Pylians. With s the distance to a node in cells the weight along an axis is
///
/// | scheme | weight |
/// |---|---|
/// | `ngp` | 1 for the nearest node |
/// | `cic` | 1 − s for s < 1 |
/// | `tsc` | ¾ − s² for s < ½, ½ (3/2 − s)² for s < 3/2 |
/// | `pcs` | (4 − 6 s² + 3 s³)/6 for s < 1, (2 − s)³/6 for s < 2 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Nearest grid point.
    Ngp,
    /// Cloud in cell.
    Cic,
    /// Triangular-shaped cloud.
    Tsc,
    /// Piecewise cubic spline.
    Pcs,
}

impl Scheme {
    /// Its name, as files and the command line have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ngp => "ngp",
            Self::Cic => "cic",
            Self::Tsc => "tsc",
            Self::Pcs => "pcs",
        }
    }

    /// The number p of nodes that share a particle along an axis.
    pub fn order(self) -> usize {
        match self {
            Self::Ngp => 1,
            Self::Cic => 2,
            Self::Tsc => 3,
            Self::Pcs => 4,
        }
    }
}

/// The first of the P nodes about `u`, and the weights of all; see [`Scheme`].
#[inline]
pub(super) fn weights<const P: usize>(u: f64) -> (isize, [f64; P]) {
    let mut w = [0.0; P];
    // Numbers from 0 to N are cut off as they are rounded down, without a call.
    let floor = |u: f64| u as isize as f64;
    let below = floor(u);
    let d = u - below;
    match P {
        1 => {
            w[0] = 1.0;
            ((u + 0.5) as isize, w)
        }
        2 => {
            w[0] = 1.0 - d;
            w[1] = d;
            (below as isize, w)
        }
        3 => {
            let nearest = floor(u + 0.5);
            let d = u - nearest;
            w[0] = 0.5 * (0.5 - d) * (0.5 - d);
            w[1] = 0.75 - d * d;
            w[2] = 0.5 * (0.5 + d) * (0.5 + d);
            (nearest as isize - 1, w)
        }
        _ => {
            let near = |s: f64| (4.0 + s * s * (3.0 * s - 6.0)) / 6.0;
            let e = 1.0 - d;
            w[0] = e * e * e / 6.0;
            w[1] = near(d);
            w[2] = near(e);
            w[3] = d * d * d / 6.0;
            (below as isize - 1, w)
        }
    }
}
