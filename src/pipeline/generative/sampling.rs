//! Say how maps are drawn from a generative model.

use armilla_models::generate::Solver;
use serde::{Deserialize, Serialize};

use super::GenerativeMethod;
use crate::{Error, Result};

/// The section `sampling` of a configuration, and what the command line says instead; what is left out follows from the
/// method.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingKeys {
    /// The solver.
    #[serde(alias = "sampler", alias = "solver", skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Its steps.
    #[serde(
        alias = "ddim_timesteps",
        alias = "timesteps",
        skip_serializing_if = "Option::is_none"
    )]
    pub steps: Option<usize>,
    /// The share of noise that DDIM adds at each step: from 0 (none) to 1 (as much as DDPM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    /// Guidance: 0 is the model itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
}

/// How maps are drawn, in full.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The solver.
    pub solver: Solver,
    /// Its steps.
    pub steps: usize,
    /// Guidance: 0 is the model itself.
    pub guidance: f64,
}

impl SamplingKeys {
    /// These, and what they leave out as `other` says it. Steps and eta are those of a solver: another one does not take
    /// them over.
    pub fn or(&self, other: &Self) -> Self {
        let same = self.method.is_none() || self.method == other.method;
        Self {
            method: self.method.clone().or_else(|| other.method.clone()),
            steps: self.steps.or(other.steps.filter(|_| same)),
            eta: self.eta.or(other.eta.filter(|_| same)),
            guidance: self.guidance.or(other.guidance),
        }
    }

    /// All of it, for a model of `method`; `levels` are those of its chain, if it has one.
    ///
    /// # Errors
    ///
    /// A solver that there is not or that the method cannot use, and numbers that make no sense.
    pub fn settled(&self, method: GenerativeMethod, levels: Option<usize>) -> Result<Sampling> {
        let wrong = |what: String| Err(Error::Invalid(what));
        let name = self.method.as_deref().unwrap_or(match method {
            GenerativeMethod::Diffusion => "ddim",
            GenerativeMethod::Score => "edm",
            GenerativeMethod::Ffjord => "dopri5",
            _ => "heun",
        });
        let solver: Solver = name.parse()?;
        let solver = match (solver, self.eta) {
            (Solver::Ddim { .. }, Some(eta)) if (0.0..=1.0).contains(&eta) => Solver::Ddim { eta },
            (Solver::Ddim { .. }, Some(eta)) => return wrong(format!("eta is from 0 to 1, not {eta}")),
            (solver, None) => solver,
            (_, Some(_)) => return wrong(format!("eta belongs to the sampler ddim, not to {name}")),
        };
        let of_a_flow = matches!(
            solver,
            Solver::Euler | Solver::Midpoint | Solver::Heun | Solver::Rk4 | Solver::Dopri5
        );
        if method == GenerativeMethod::Ffjord && !of_a_flow {
            return wrong(format!(
                "the sampler {name} needs a path of noise, which a run of method ffjord has not: use euler, midpoint, heun, rk4 or dopri5"
            ));
        }
        let usual = match solver {
            Solver::Ddim { .. } => 50,
            Solver::Ddpm => 1000,
            Solver::EulerMaruyama | Solver::PredictorCorrector => 500,
            Solver::Rk4 => 8,
            _ => 20,
        };
        let steps = self.steps.unwrap_or(usual.min(levels.unwrap_or(usual)));
        if steps == 0 {
            return wrong("maps are made in 1 step at least, not in 0".to_owned());
        }
        let on_levels = matches!(solver, Solver::Ddpm | Solver::Ddim { .. });
        if let Some(levels) = levels.filter(|levels| on_levels && steps > *levels) {
            return wrong(format!(
                "{name} takes no more steps than the diffusion has timesteps: {steps} are asked for, and there are {levels} levels"
            ));
        }
        let guidance = self.guidance.unwrap_or(0.0);
        if !guidance.is_finite() {
            return wrong(format!("guidance is a finite number, not {guidance}"));
        }
        Ok(Sampling {
            solver,
            steps,
            guidance,
        })
    }
}

impl Sampling {
    /// The same in at most so many steps of a solver that can do with few, and without chance: for a first look.
    pub(super) fn quick(self, steps: usize) -> Self {
        let solver = match self.solver {
            Solver::Ddpm => Solver::Ddim { eta: 0.0 },
            Solver::EulerMaruyama | Solver::PredictorCorrector => Solver::Heun,
            solver => solver,
        };
        Self {
            solver,
            steps: self.steps.min(steps).max(1),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> SamplingKeys {
        serde_norway::from_str(text).unwrap()
    }

    #[test]
    fn what_is_said_later_goes_before() {
        let run = keys("{method: ddim, ddim_timesteps: 100, eta: 0.0, guidance: 1}");
        let said = keys("{steps: 20}").or(&run);
        assert_eq!(said, keys("{method: ddim, steps: 20, eta: 0.0, guidance: 1}"));
        let other = keys("{method: heun}")
            .or(&run)
            .settled(GenerativeMethod::Diffusion, Some(1000))
            .unwrap();
        assert_eq!(
            (other.solver, other.steps, other.guidance),
            (Solver::Heun, 20, 1.0)
        );
        let short = keys("{method: ddpm}")
            .settled(GenerativeMethod::Diffusion, Some(30))
            .unwrap();
        assert_eq!(short.steps, 30);
        let plain = SamplingKeys::default()
            .settled(GenerativeMethod::Diffusion, Some(1000))
            .unwrap();
        assert_eq!((plain.solver, plain.steps), (Solver::Ddim { eta: 0.0 }, 50));
    }

    #[test]
    fn mistakes_are_named_with_what_is_allowed() {
        for (text, words) in [
            ("{method: heum}", &["heum", "heun", "dpm++"][..]),
            ("{method: ddim, eta: 2}", &["eta", "0 to 1"]),
            ("{method: heun, eta: 0.5}", &["eta", "ddim"]),
            ("{steps: 0}", &["1 step"]),
            ("{guidance: .inf}", &["guidance"]),
        ] {
            let message = keys(text)
                .settled(GenerativeMethod::Flow, None)
                .unwrap_err()
                .to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
        let message = keys("{method: ddpm}")
            .settled(GenerativeMethod::Ffjord, None)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("ffjord") && message.contains("dopri5"),
            "{message}"
        );
    }
}
