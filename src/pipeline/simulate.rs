//! Simulate a set of maps over the prior box of a simulator.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::{MapSet, Origin, UnitBox};
use crate::simulators::{GaussianField, LognormalField, Simulator, Slab, simulate_set};

/// A simulator by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A Gaussian density contrast δ.
    Gaussian,
    /// A lognormal density 1 + δ.
    Lognormal,
}

impl Kind {
    /// Its name, as files and the command line have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Lognormal => "lognormal",
        }
    }

    /// The simulator of maps of `slab`.
    ///
    /// # Errors
    ///
    /// A slab whose sizes make no sense.
    pub fn simulator(self, slab: Slab) -> Result<Box<dyn Simulator>> {
        Ok(match self {
            Self::Gaussian => Box::new(GaussianField::new(slab)?),
            Self::Lognormal => Box::new(LognormalField::new(slab)?),
        })
    }
}

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulateSettings {
    /// The simulator.
    pub kind: Kind,
    /// The size of the maps.
    pub slab: Slab,
    /// Points of the Latin hypercube.
    pub simulations: usize,
    /// Maps at each point.
    pub maps_per_simulation: usize,
    /// The only source of randomness.
    pub seed: u64,
}

impl Default for SimulateSettings {
    /// 400 × 5 lognormal maps.
    fn default() -> Self {
        Self {
            kind: Kind::Lognormal,
            slab: Slab::default(),
            simulations: 400,
            maps_per_simulation: 5,
            seed: 0,
        }
    }
}

/// Simulates maps at a Latin hypercube over the simulator's box; `progress` hears how many simulations are complete.
///
/// # Errors
///
/// Settings that make no sense.
///
/// ```
/// use armilla::pipeline::{SimulateSettings, simulate};
/// use armilla::simulators::Slab;
///
/// let slab = Slab { size: 8, ..Slab::default() };
/// let settings = SimulateSettings { slab, simulations: 4, maps_per_simulation: 2, ..Default::default() };
/// let set = simulate(&settings, &|_| ())?;
/// assert_eq!((set.len(), set.names()), (8, &["Omega_m".to_owned(), "sigma_8".to_owned()][..]));
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn simulate(settings: &SimulateSettings, progress: &(dyn Fn(usize) + Sync)) -> Result<MapSet> {
    let simulator = settings.kind.simulator(settings.slab)?;
    let (simulations, per_simulation) = (settings.simulations, settings.maps_per_simulation);
    let simulated = simulate_set(&*simulator, simulations, per_simulation, settings.seed, progress)?;
    let names = simulator
        .parameter_names()
        .iter()
        .map(|&n| n.to_owned())
        .collect();
    let bounds = simulator.bounds();
    let bounds = UnitBox::new(
        bounds.iter().map(|b| b[0]).collect(),
        bounds.iter().map(|b| b[1]).collect(),
    )?;
    let origin = Origin {
        simulator: settings.kind.name().to_owned(),
        box_size: settings.slab.side,
        depth: Some(settings.slab.depth),
    };
    Ok(
        MapSet::new(simulated.maps, settings.slab.size, simulated.parameters, names)?
            .with_bounds(bounds)?
            .with_origin(origin),
    )
}
