//! Read the section `ffjord` of a configuration.

use armilla_models::continuous::{Ffjord, Gradient, Trace};
use armilla_models::ode::Method;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the divergence is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceName {
    /// Along one random direction of signs for each probe.
    #[default]
    #[serde(alias = "hutchinson")]
    Rademacher,
    /// Along normal ones.
    Gaussian,
    /// Pixel by pixel: for few of them.
    Exact,
}

/// The solver of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FixedSolver {
    /// First order.
    Euler,
    /// Second order.
    Midpoint,
    /// Second order.
    Heun,
    /// Fourth order.
    #[default]
    Rk4,
}

/// What is peculiar to a continuous normalizing flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FfjordKeys {
    /// How the flow is solved.
    pub solver: FixedSolver,
    /// In how many steps.
    pub steps: usize,
    /// How the divergence is taken.
    pub trace: TraceName,
    /// Directions for each example.
    pub probes: usize,
    /// Weight of the kinetic energy.
    pub kinetic: f64,
    /// Weight of the squared Jacobian.
    pub jacobian: f64,
    /// Differentiate by the adjoint equation, in memory that does not grow with the steps.
    pub adjoint: bool,
}

impl Default for FfjordKeys {
    fn default() -> Self {
        let plain = Ffjord::default();
        Self {
            solver: FixedSolver::default(),
            steps: plain.steps,
            trace: TraceName::default(),
            probes: 1,
            kinetic: plain.kinetic,
            jacobian: plain.jacobian,
            adjoint: false,
        }
    }
}

impl FfjordKeys {
    /// Looks whether every key has an effect.
    pub(super) fn check(&self) -> Result<()> {
        if self.trace == TraceName::Exact && self.probes != Self::default().probes {
            return Err(Error::Invalid(
                "ffjord.probes are directions of a trace that is estimated, and trace is exact: leave them out".to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) fn settings(&self) -> Ffjord {
        let probes = self.probes;
        Ffjord {
            method: match self.solver {
                FixedSolver::Euler => Method::Euler,
                FixedSolver::Midpoint => Method::Midpoint,
                FixedSolver::Heun => Method::Heun,
                FixedSolver::Rk4 => Method::Rk4,
            },
            steps: self.steps,
            trace: Some(match self.trace {
                TraceName::Rademacher => Trace::Rademacher { probes },
                TraceName::Gaussian => Trace::Gaussian { probes },
                TraceName::Exact => Trace::Exact,
            }),
            kinetic: self.kinetic,
            jacobian: self.jacobian,
            gradient: if self.adjoint {
                Gradient::Adjoint
            } else {
                Gradient::Discrete
            },
        }
    }
}
