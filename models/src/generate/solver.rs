//! Name the solvers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Generated, ddim, ddpm, dpm_solver, edm, euler_maruyama, flow, predictor_corrector, walk::Walk};
use crate::{
    error::{ModelError, Result},
    ode::Method,
};

/// How to go from noise to data. Written as on the command line: `heun`, `dpm++`, `ddim:0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Solver {
    /// The probability flow by Euler's method. 1 evaluation a step, as all of these and one for the last step to the data
    /// where the path's flow is singular there.
    Euler,
    /// The probability flow by the midpoint rule: 2 evaluations a step.
    Midpoint,
    /// The probability flow by Heun's method: 2 evaluations a step.
    Heun,
    /// The probability flow by the classical Runge–Kutta method: 4 evaluations a step.
    Rk4,
    /// The probability flow by Dormand and Prince's method, within errors of 1e-5; the number of steps is its own.
    Dopri5,
    /// Ancestral sampling (Ho et al. 2020, arXiv 2006.11239): 1 evaluation a step. Fewer steps than levels are shorter to
    /// data, quadratically, here and in DDIM.
    Ddpm,
    /// Implicit sampling (Song et al. 2021, arXiv 2010.02502): 1 evaluation a step.
    Ddim {
        /// How much noise is added: 0 none, 1 as much as ancestral sampling.
        eta: f64,
    },
    /// Heun's method in σ/α with the steps of Karras et al. (2022, arXiv 2206.00364): 2 evaluations a step, 1 in the last.
    Edm,
    /// The same with noise added before every step: `edm:40`.
    ChurnedEdm {
        /// Their `S_churn`: the share of noise that is renewed, in all steps together.
        churn: f64,
    },
    /// DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095): 1 evaluation a step.
    DpmSolver,
    /// The reverse SDE by Euler and Maruyama's method (Song et al. 2021, arXiv 2011.13456): 1 evaluation a step.
    EulerMaruyama,
    /// The same, and a Langevin step after every step but the last (Song et al. 2021): 2 evaluations a step, 1 in the last.
    PredictorCorrector,
}

impl Solver {
    /// Every solver, with its usual options.
    pub const ALL: [Self; 12] = [
        Self::Euler,
        Self::Midpoint,
        Self::Heun,
        Self::Rk4,
        Self::Dopri5,
        Self::Ddpm,
        Self::Ddim { eta: 0.0 },
        Self::Edm,
        Self::ChurnedEdm { churn: 40.0 },
        Self::DpmSolver,
        Self::EulerMaruyama,
        Self::PredictorCorrector,
    ];

    /// The method in t of those that follow the probability flow.
    pub fn method(self) -> Option<Method> {
        match self {
            Self::Euler => Some(Method::Euler),
            Self::Midpoint => Some(Method::Midpoint),
            Self::Heun => Some(Method::Heun),
            Self::Rk4 => Some(Method::Rk4),
            Self::Dopri5 => Some(Method::DORMAND_PRINCE),
            _ => None,
        }
    }
}

impl Walk<'_> {
    /// From standard normal `noise` to data.
    pub(super) fn run(mut self, solver: Solver, noise: Vec<f64>) -> Result<Generated> {
        let values = match solver {
            Solver::Ddpm => ddpm::solve(&mut self, noise),
            Solver::Ddim { eta } => ddim::solve(&mut self, noise, eta),
            Solver::Edm => edm::solve(&mut self, noise, 0.0),
            Solver::ChurnedEdm { churn } => edm::solve(&mut self, noise, churn),
            Solver::DpmSolver => dpm_solver::solve(&mut self, noise),
            Solver::EulerMaruyama => euler_maruyama::solve(&mut self, noise),
            Solver::PredictorCorrector => predictor_corrector::solve(&mut self, noise),
            Solver::Euler => flow::solve(&mut self, noise, Method::Euler),
            Solver::Midpoint => flow::solve(&mut self, noise, Method::Midpoint),
            Solver::Heun => flow::solve(&mut self, noise, Method::Heun),
            Solver::Rk4 => flow::solve(&mut self, noise, Method::Rk4),
            Solver::Dopri5 => flow::solve(&mut self, noise, Method::DORMAND_PRINCE),
        }?;
        Ok(Generated {
            values,
            evaluations: self.evaluations,
        })
    }
}

impl fmt::Display for Solver {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = match self {
            Self::Euler => "euler",
            Self::Midpoint => "midpoint",
            Self::Heun => "heun",
            Self::Rk4 => "rk4",
            Self::Dopri5 => "dopri5",
            Self::Ddpm => "ddpm",
            Self::Ddim { eta: 0.0 } => "ddim",
            Self::Ddim { eta } => return write!(f, "ddim:{eta}"),
            Self::Edm => "edm",
            Self::ChurnedEdm { churn } => return write!(f, "edm:{churn}"),
            Self::DpmSolver => "dpm++",
            Self::EulerMaruyama => "em",
            Self::PredictorCorrector => "pc",
        };
        f.write_str(name)
    }
}

impl FromStr for Solver {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        let option = text
            .split_once(':')
            .and_then(|(name, option)| Some((name, option.parse::<f64>().ok()?)));
        match option {
            Some(("ddim", eta)) => Ok(Self::Ddim { eta }),
            Some(("edm", churn)) => Ok(Self::ChurnedEdm { churn }),
            _ => Self::ALL
                .into_iter()
                .find(|solver| solver.to_string() == text)
                .ok_or_else(|| {
                    ModelError::Invalid(format!(
                        "no sampler is called {text:?}: choose euler, midpoint, heun, rk4, dopri5, ddpm, ddim (or ddim:ETA), \
                         edm (or edm:CHURN), dpm++, em or pc"
                    ))
                }),
        }
    }
}

impl TryFrom<String> for Solver {
    type Error = ModelError;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Solver> for String {
    fn from(solver: Solver) -> Self {
        solver.to_string()
    }
}
