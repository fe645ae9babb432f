//! Spread points over a box so that every parameter alone is covered evenly.

use armilla_samplers::rng::{Purpose, stream};
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::{Error, Result};

/// The stream of the points. Maps of the same seed use the streams from 0 on (see [`super::simulate_set`]).
const INDEX: u64 = u64::MAX;

/// A Latin hypercube (McKay, Beckman & Conover 1979, doi 10.2307/1268522) of `points` points in the box `bounds`.
///
/// Each parameter's range is cut into `points` equal cells; each cell holds one point, uniform within it, and the
/// cells of different parameters are matched at random. Returns the points one after the other,
/// `points` × `bounds.len()` numbers. The same arguments give the same bits.
///
/// ```
/// use armilla::{cosmology::BOUNDS, simulators::latin_hypercube};
/// let theta = latin_hypercube(&BOUNDS, 100, 7)?;
/// assert_eq!(theta.len(), 200);
/// assert!(theta.chunks(2).all(|t| (0.1..0.5).contains(&t[0]) && (0.6..1.0).contains(&t[1])));
/// # Ok::<(), armilla::Error>(())
/// ```
///
/// # Errors
/// No point, no parameter, or bounds that are not finite and ascending.
pub fn latin_hypercube(bounds: &[[f64; 2]], points: usize, seed: u64) -> Result<Vec<f64>> {
    if points == 0 || bounds.is_empty() {
        return Err(Error::Invalid(format!(
            "a Latin hypercube needs at least one point and one parameter; it was given {points} and {}",
            bounds.len()
        )));
    }
    for (i, &[low, high]) in bounds.iter().enumerate() {
        // The width is finite only where both ends are; NaN fails.
        if !(low < high && (high - low).is_finite()) {
            return Err(Error::Invalid(format!(
                "the bounds {low} to {high} of parameter {i} are not allowed; they must be finite and ascending"
            )));
        }
    }
    let dim = bounds.len();
    let mut stream = stream(seed, Purpose::Simulation, INDEX);
    let mut theta = vec![0.0; points * dim];
    let mut cells: Vec<usize> = (0..points).collect();
    for (i, &[low, high]) in bounds.iter().enumerate() {
        cells.shuffle(&mut stream);
        for (point, &cell) in theta.chunks_exact_mut(dim).zip(&cells) {
            let share = (cell as f64 + stream.random::<f64>()) / points as f64;
            // Rounding may reach the upper end, which does not belong to the box.
            point[i] = (low + share * (high - low)).min(high.next_down());
        }
    }
    Ok(theta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_of_every_parameter_holds_one_point() {
        let (bounds, points) = ([[-1.0, 3.0], [0.0, 1e-3], [10.0, 20.0]], 64);
        let theta = latin_hypercube(&bounds, points, 3).unwrap();
        for (i, [low, high]) in bounds.into_iter().enumerate() {
            let mut cells: Vec<usize> = theta
                .chunks(3)
                .map(|t| ((t[i] - low) / (high - low) * points as f64) as usize)
                .collect();
            assert_ne!(cells, (0..points).collect::<Vec<_>>(), "not shuffled");
            cells.sort_unstable();
            assert_eq!(cells, (0..points).collect::<Vec<_>>());
        }
        assert_eq!(theta, latin_hypercube(&bounds, points, 3).unwrap());
        assert_ne!(theta, latin_hypercube(&bounds, points, 4).unwrap());
    }

    #[test]
    fn senseless_boxes_are_refused() {
        assert!(latin_hypercube(&[[0.0, 1.0]], 0, 1).is_err());
        assert!(latin_hypercube(&[], 1, 1).is_err());
        for bounds in [[1.0, 1.0], [1.0, 0.0], [f64::NAN, 1.0], [0.0, f64::INFINITY]] {
            assert!(latin_hypercube(&[bounds], 1, 1).is_err());
        }
    }
}
