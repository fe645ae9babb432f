//! Simulate many maps in parallel, with the same bits for any number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use armilla_samplers::rng::{Purpose, stream};
use rayon::prelude::*;

use super::{Simulator, latin_hypercube};
use crate::{Error, Result};

/// Maps and the parameters they were made with.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationSet {
    /// Simulations × parameters, in physical units.
    pub parameters: Vec<f64>,
    /// Simulations × maps per simulation × size × size.
    pub maps: Vec<f32>,
}

/// Simulates `maps_per_simulation` maps at each of `simulations` points of a Latin hypercube over the simulator's
/// bounds.
///
/// Every map has a random stream of its own, keyed by the seed, its simulation and its number there; threads share
/// nothing. `progress` is told how many simulations are complete, from whichever thread completed one.
///
/// ```
/// use armilla::simulators::{LognormalField, Slab, simulate_set};
/// let field = LognormalField::new(Slab { size: 8, ..Slab::default() })?;
/// let set = simulate_set(&field, 10, 3, 1, &|_| ())?;
/// assert_eq!((set.parameters.len(), set.maps.len()), (10 * 2, 10 * 3 * 8 * 8));
/// # Ok::<(), armilla::Error>(())
/// ```
///
/// # Errors
/// No simulation or no map, more than 2³² of either or more values than fit in memory's addresses, or what the
/// simulator returns.
pub fn simulate_set<S: Simulator + ?Sized>(
    simulator: &S,
    simulations: usize,
    maps_per_simulation: usize,
    seed: u64,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<SimulationSet> {
    for (name, count) in [
        ("simulations", simulations),
        ("maps_per_simulation", maps_per_simulation),
    ] {
        if count == 0 || u32::try_from(count).is_err() {
            return Err(Error::Invalid(format!(
                "{name} = {count} is not allowed; it must be 1 to {}",
                u32::MAX
            )));
        }
    }
    let values = simulator.size() * simulator.size();
    let per_simulation = maps_per_simulation.checked_mul(values);
    let Some(total) = per_simulation.and_then(|n| n.checked_mul(simulations)) else {
        return Err(Error::Invalid(format!(
            "{simulations} × {maps_per_simulation} maps of {values} values do not fit in memory"
        )));
    };
    let parameters = latin_hypercube(simulator.bounds(), simulations, seed)?;
    let dim = simulator.bounds().len();
    let mut maps = vec![0.0f32; total];
    let complete = AtomicUsize::new(0);
    maps.par_chunks_exact_mut(maps_per_simulation * values)
        .zip(parameters.par_chunks_exact(dim))
        .enumerate()
        .try_for_each(|(simulation, (maps, theta))| {
            for (number, map) in maps.chunks_exact_mut(values).enumerate() {
                // The number below, the simulation above: more maps or simulations leave these streams as they are,
                // and none is that of the Latin hypercube.
                let index = (simulation as u64) << 32 | number as u64;
                let mut stream = stream(seed, Purpose::Simulation, index);
                for (to, from) in map.iter_mut().zip(simulator.simulate(theta, &mut stream)?) {
                    *to = from as f32;
                }
            }
            progress(complete.fetch_add(1, Ordering::Relaxed) + 1);
            Ok::<_, Error>(())
        })?;
    Ok(SimulationSet { parameters, maps })
}
