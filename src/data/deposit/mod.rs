//! Spread particles over the cells of a periodic mesh.

mod scheme;
mod spread;

use serde::{Deserialize, Serialize};

use self::spread::{BATCH, Block, Mesh, add_to_plane, add_to_row, sort, spread};
use crate::{Error, Result};

pub use scheme::Scheme;

/// An axis of the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// The first coordinate.
    X,
    /// The second.
    Y,
    /// The third.
    Z,
}

impl Axis {
    /// All three.
    pub const ALL: [Self; 3] = [Self::X, Self::Y, Self::Z];

    /// Its name.
    pub fn name(self) -> &'static str {
        ["x", "y", "z"][self as usize]
    }

    /// The other two, in order.
    fn plane(self) -> [usize; 2] {
        [[1, 2], [0, 2], [0, 1]][self as usize]
    }
}

/// What the particles weigh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Masses<'a> {
    /// All the same.
    Same(f64),
    /// One for each.
    Each(&'a [f64]),
}

impl Masses<'_> {
    fn of(&self, i: usize) -> f64 {
        match self {
            Self::Same(mass) => *mass,
            Self::Each(masses) => masses[i],
        }
    }
}

/// A periodic mesh that particles are added to, batch after batch.
///
/// A cell hears of its particles in the order in which they come, whatever the batches and however many threads: the
/// cells are divided into bands of rows, the particles of a batch sorted by band, and each band belongs to one thread.
/// So the same particles give the same bits. Beside the mesh it takes some 50 MB.
///
/// ```
/// use armilla::data::{Axis, Deposit, Masses, Scheme};
///
/// // Two slabs of 5 Mpc/h; the particle lies midway between the rows 1 and 2, on column 3 of the second slab.
/// let mut deposit = Deposit::slabs(4, 10.0, Axis::Z, 5.0, Scheme::Cic)?;
/// deposit.add(&[3.75, 7.5, 6.0], Masses::Same(2.0))?;
/// let maps = deposit.finish();
/// assert_eq!((maps.len(), maps[16 + 4 + 3], maps[16 + 8 + 3]), (2 * 4 * 4, 1.0, 1.0));
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct Deposit {
    size: usize,
    box_size: f64,
    scheme: Scheme,
    layout: Layout,
    cells: Vec<f64>,
    /// Rows of a band, and bands of a slab.
    band_rows: usize,
    bands: usize,
    /// The band of each row.
    band_of: Vec<u32>,
    blocks2: Vec<Block<2>>,
    blocks3: Vec<Block<3>>,
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    Grid,
    Slabs { axis: Axis, depth: f64, count: usize },
}

/// A band is about as many cells as stay near a core.
const BAND_CELLS: usize = 1 << 13;
/// But no fewer rows than this many: particles at its edge are looked at twice, and must not come back to it around the
/// box.
const BAND_ROWS: usize = 4;

/// A box that was cut by division may be short of a slab by rounding.
const SLACK: f64 = 1e-9;

impl Deposit {
    /// Maps of `size` × `size` cells of the slabs of thickness `depth` that a box of side `box_size` is cut into across
    /// `axis`, from coordinate 0 on; the last one ends within the box. Rows are along the first of the other two axes.
    ///
    /// # Errors
    ///
    /// Fewer than 4 cells, more than fit in memory, lengths that are not positive, and a depth beyond the box.
    pub fn slabs(size: usize, box_size: f64, axis: Axis, depth: f64, scheme: Scheme) -> Result<Self> {
        let count = slabs_in(box_size, depth)?;
        Self::new(size, box_size, scheme, Layout::Slabs { axis, depth, count })
    }

    /// A grid of `size`³ cells of the whole box, x slowest.
    ///
    /// # Errors
    ///
    /// As [`slabs`](Self::slabs).
    pub fn grid(size: usize, box_size: f64, scheme: Scheme) -> Result<Self> {
        Self::new(size, box_size, scheme, Layout::Grid)
    }

    /// The cells of the mesh that [`slabs`](Self::slabs) makes, before it is made.
    ///
    /// # Errors
    ///
    /// As [`slabs`](Self::slabs).
    pub fn slab_cells(size: usize, box_size: f64, depth: f64) -> Result<usize> {
        cells(slabs_in(box_size, depth)?, size, size)
    }

    /// The cells of the mesh that [`grid`](Self::grid) makes, before it is made.
    ///
    /// # Errors
    ///
    /// As [`grid`](Self::grid).
    pub fn grid_cells(size: usize) -> Result<usize> {
        cells(1, size, size.saturating_mul(size))
    }

    fn new(size: usize, box_size: f64, scheme: Scheme, layout: Layout) -> Result<Self> {
        check_length("the side of the box", box_size)?;
        let (planes, row) = match layout {
            Layout::Grid => (1, size.saturating_mul(size)),
            Layout::Slabs { count, .. } => (count, size),
        };
        let cells = cells(planes, size, row)?;
        // Asked for first, as memory that there is not would end the program; then left to those who fill it to touch.
        Vec::<f64>::new()
            .try_reserve_exact(cells)
            .map_err(|_| Error::Invalid(format!("a mesh of {cells} cells does not fit in memory")))?;
        let mesh = vec![0.0; cells];
        // Where a particle has one node, none is looked at twice.
        let least = if scheme.order() == 1 { 1 } else { BAND_ROWS };
        let most = (size / (BAND_CELLS / row).max(least)).max(1);
        let band_rows = size.div_ceil(most);
        Ok(Self {
            size,
            box_size,
            scheme,
            layout,
            cells: mesh,
            band_rows,
            bands: size.div_ceil(band_rows),
            band_of: (0..size).map(|row| (row / band_rows) as u32).collect(),
            blocks2: Vec::new(),
            blocks3: Vec::new(),
        })
    }

    /// Add particles: their coordinates one after the other, in units of the box, and their masses.
    ///
    /// A particle outside the box is that inside of which it is the periodic image; one outside the slabs is left out.
    ///
    /// # Errors
    ///
    /// Numbers that do not fit each other, and a coordinate or mass that is not finite: some particles are then added
    /// and others are not.
    pub fn add(&mut self, positions: &[f64], masses: Masses<'_>) -> Result<()> {
        let count = positions.len() / 3;
        let fits = match masses {
            Masses::Each(masses) => masses.len() == count,
            Masses::Same(_) => true,
        };
        if !positions.len().is_multiple_of(3) || !fits {
            let masses = match masses {
                Masses::Each(masses) => masses.len(),
                Masses::Same(_) => 1,
            };
            return Err(Error::Invalid(format!(
                "{} coordinates and {masses} masses are not those of the same number of particles",
                positions.len()
            )));
        }
        for first in (0..count).step_by(BATCH) {
            let batch = first..(first + BATCH).min(count);
            let part = &positions[3 * batch.start..3 * batch.end];
            let masses = match masses {
                Masses::Each(masses) => Masses::Each(&masses[batch]),
                same => same,
            };
            match self.scheme {
                Scheme::Ngp => self.batch::<1>(part, masses),
                Scheme::Cic => self.batch::<2>(part, masses),
                Scheme::Tsc => self.batch::<3>(part, masses),
                Scheme::Pcs => self.batch::<4>(part, masses),
            }?;
        }
        Ok(())
    }

    /// The mass in each cell: slab after slab, row after row.
    pub fn finish(self) -> Vec<f64> {
        self.cells
    }

    fn batch<const P: usize>(&mut self, positions: &[f64], masses: Masses<'_>) -> Result<()> {
        let mesh = Mesh {
            size: self.size,
            scale: self.size as f64 / self.box_size,
            band_rows: self.band_rows,
            bands: self.bands,
            band_of: &self.band_of,
        };
        match self.layout {
            Layout::Grid => {
                let place = |p: &[f64; 3]| Some((0, [p[0], p[1], p[2]].map(|x| mesh.cell(x))));
                sort::<P, 3>(mesh, 1, positions, masses, &mut self.blocks3, place)?;
                spread(mesh, &self.blocks3, &mut self.cells, add_to_plane::<P>);
            }
            Layout::Slabs { axis, depth, count } => {
                let ([row, column], box_size) = (axis.plane(), self.box_size);
                let place = move |p: &[f64; 3]| {
                    let along = p[axis as usize];
                    let along = along - box_size * (along / box_size).floor();
                    // Just below zero rounds up to the end of the box, which is its beginning.
                    let along = if along < box_size { along } else { 0.0 };
                    let slab = (along / depth) as usize;
                    // The last slab ends with the box where it does so but for rounding; else the rest is in none.
                    let whole = (count as f64 * depth / box_size - 1.0).abs() < SLACK;
                    let slab = if whole { slab.min(count - 1) } else { slab };
                    (slab < count).then(|| (slab, [mesh.cell(p[row]), mesh.cell(p[column])]))
                };
                sort::<P, 2>(mesh, count, positions, masses, &mut self.blocks2, place)?;
                spread(mesh, &self.blocks2, &mut self.cells, add_to_row::<P>);
            }
        }
        Ok(())
    }
}

/// The number of whole slabs in a box.
fn slabs_in(box_size: f64, depth: f64) -> Result<usize> {
    check_length("the side of the box", box_size)?;
    let slack = 1.0 + SLACK;
    if !(depth > 0.0 && depth <= box_size * slack) {
        return Err(Error::Invalid(format!(
            "a depth of {depth} is not allowed; it must be positive and no more than the side of the box, {box_size}"
        )));
    }
    Ok((box_size * slack / depth).floor() as usize)
}

/// The cells of a mesh of planes of rows.
fn cells(planes: usize, size: usize, row: usize) -> Result<usize> {
    let cells = planes.checked_mul(size).and_then(|n| n.checked_mul(row));
    let allowed = cells.filter(|&n| size >= 4 && n <= isize::MAX as usize / 8);
    allowed.ok_or_else(|| {
        Error::Invalid(format!(
            "{planes} × {size} × {row} cells are not allowed; a mesh has at least 4 along a side, and must fit in memory"
        ))
    })
}

fn check_length(name: &str, length: f64) -> Result<()> {
    if length > 0.0 && length.is_finite() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{name} is {length}; it must be positive and finite"
    )))
}

#[cfg(test)]
mod tests {
    use super::spread::BLOCK;
    use super::*;
    use armilla_samplers::rng::{Purpose, stream};
    use rand::RngExt;

    /// Sums of a few thousand products in another order.
    const ROUNDING: f64 = 1e-11;
    const SCHEMES: [Scheme; 4] = [Scheme::Ngp, Scheme::Cic, Scheme::Tsc, Scheme::Pcs];

    /// The weight of the documentation as a function of the distance.
    fn spline(scheme: Scheme, s: f64) -> f64 {
        match scheme {
            Scheme::Ngp if s < 0.5 => 1.0,
            Scheme::Cic if s < 1.0 => 1.0 - s,
            Scheme::Tsc if s < 0.5 => 0.75 - s * s,
            Scheme::Tsc if s < 1.5 => 0.5 * (1.5 - s).powi(2),
            Scheme::Pcs if s < 1.0 => (4.0 - 6.0 * s * s + 3.0 * s.powi(3)) / 6.0,
            Scheme::Pcs if s < 2.0 => (2.0 - s).powi(3) / 6.0,
            _ => 0.0,
        }
    }

    fn particles(count: usize, box_size: f64) -> (Vec<f64>, Vec<f64>) {
        let mut stream = stream(3, Purpose::Simulation, 0);
        let mut draw = |n: usize| -> Vec<f64> { (0..n).map(|_| stream.random::<f64>()).collect() };
        let positions = draw(3 * count).iter().map(|x| x * box_size).collect();
        (positions, draw(count))
    }

    #[test]
    fn every_cell_holds_what_the_definition_says() {
        let (size, box_size, depth) = (6, 3.0, 1.5);
        let (positions, masses) = particles(50, box_size);
        let cell = box_size / size as f64;
        for scheme in SCHEMES {
            let weight = |x: f64, node: usize| {
                let s = (x / cell - node as f64).abs();
                spline(scheme, s) + spline(scheme, size as f64 - s)
            };
            let mut grid = Deposit::grid(size, box_size, scheme).unwrap();
            grid.add(&positions, Masses::Each(&masses)).unwrap();
            let grid = grid.finish();
            for (i, value) in grid.iter().enumerate() {
                let node = [i / 36, i / 6 % 6, i % 6];
                let expected: f64 = (positions.chunks(3).zip(&masses))
                    .map(|(p, m)| m * (0..3).map(|a| weight(p[a], node[a])).product::<f64>())
                    .sum();
                assert!(
                    (value - expected).abs() < ROUNDING,
                    "{scheme:?} {i}: {value} {expected}"
                );
            }
            for axis in Axis::ALL {
                let mut slabs = Deposit::slabs(size, box_size, axis, depth, scheme).unwrap();
                slabs.add(&positions, Masses::Each(&masses)).unwrap();
                let slabs = slabs.finish();
                assert_eq!(slabs.len(), 2 * 36);
                let [a, b] = axis.plane();
                for (i, value) in slabs.iter().enumerate() {
                    let inside = |p: &[f64]| (p[axis as usize] / depth) as usize == i / 36;
                    let expected: f64 = (positions.chunks(3).zip(&masses))
                        .filter(|(p, _)| inside(p))
                        .map(|(p, m)| m * weight(p[a], i / 6 % 6) * weight(p[b], i % 6))
                        .sum();
                    assert!((value - expected).abs() < ROUNDING, "{scheme:?} {axis:?} {i}");
                }
            }
        }
    }

    #[test]
    fn cells_are_known_before_the_mesh_is_made() {
        let grid = Deposit::grid(6, 3.0, Scheme::Cic).unwrap().finish().len();
        assert_eq!(Deposit::grid_cells(6).unwrap(), grid);
        for depth in [3.0, 1.0, 0.7] {
            let slabs = Deposit::slabs(5, 3.0, Axis::X, depth, Scheme::Cic).unwrap();
            assert_eq!(Deposit::slab_cells(5, 3.0, depth).unwrap(), slabs.finish().len());
        }
        for refused in [
            Deposit::grid_cells(3),
            Deposit::grid_cells(usize::MAX),
            Deposit::slab_cells(8, 1.0, 2.0),
            Deposit::slab_cells(8, f64::NAN, 1.0),
        ] {
            assert!(refused.is_err());
        }
    }

    #[test]
    fn threads_and_batches_leave_the_bits() {
        let (positions, masses) = particles(3 * BLOCK + 17, 25.0);
        let deposit = |threads: usize, batch: usize, grid: bool| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let mut deposit = if grid {
                    Deposit::grid(32, 25.0, Scheme::Tsc).unwrap()
                } else {
                    Deposit::slabs(600, 25.0, Axis::Y, 12.5, Scheme::Pcs).unwrap()
                };
                for (p, m) in positions.chunks(3 * batch).zip(masses.chunks(batch)) {
                    deposit.add(p, Masses::Each(m)).unwrap();
                }
                deposit.finish()
            })
        };
        for grid in [true, false] {
            let one = deposit(1, usize::MAX / 3, grid);
            assert_eq!(one, deposit(3, usize::MAX / 3, grid));
            assert_eq!(one, deposit(2, 1000, grid));
            // No band takes what is another's.
            let total: f64 = masses.iter().sum();
            assert!((one.iter().sum::<f64>() / total - 1.0).abs() < ROUNDING);
        }
    }

    #[test]
    fn mass_is_kept_wherever_the_particles_are() {
        let edges = [
            0.0,
            10.0,
            -1e-18,
            9.999999999999999,
            10.000000000000002,
            -13.0,
            1e6,
            5.0,
        ];
        for scheme in SCHEMES {
            for x in edges {
                let position = [x, -x, 0.3 * x];
                // One band, two and many.
                for size in [5, 9, 44] {
                    let mut grid = Deposit::grid(size, 10.0, scheme).unwrap();
                    grid.add(&position, Masses::Same(1.0)).unwrap();
                    assert!((grid.finish().iter().sum::<f64>() - 1.0).abs() < ROUNDING, "{x}");
                }
                for depth in [10.0, 10.0 / 3.0, 2.0] {
                    let mut maps = Deposit::slabs(5, 10.0, Axis::X, depth, scheme).unwrap();
                    maps.add(&position, Masses::Same(1.0)).unwrap();
                    assert!((maps.finish().iter().sum::<f64>() - 1.0).abs() < ROUNDING, "{x}");
                }
            }
        }
        // The last 4 of 10 belong to no slab of depth 3 twice.
        let mut maps = Deposit::slabs(5, 10.0, Axis::X, 3.0, Scheme::Cic).unwrap();
        maps.add(&[9.5, 1.0, 1.0], Masses::Same(1.0)).unwrap();
        let maps = maps.finish();
        assert_eq!((maps.len(), maps.iter().sum::<f64>()), (3 * 25, 0.0));
    }

    #[test]
    fn senseless_meshes_and_particles_are_refused() {
        for size in [0, 3, usize::MAX] {
            assert!(Deposit::grid(size, 1.0, Scheme::Cic).is_err());
        }
        for side in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Deposit::grid(8, side, Scheme::Cic).is_err());
            assert!(Deposit::slabs(8, 1.0, Axis::X, side, Scheme::Cic).is_err());
        }
        assert!(Deposit::slabs(8, 1.0, Axis::X, 1.1, Scheme::Cic).is_err());
        let mut grid = Deposit::grid(4, 1.0, Scheme::Cic).unwrap();
        assert!(grid.add(&[0.1; 4], Masses::Same(1.0)).is_err());
        assert!(grid.add(&[0.1; 6], Masses::Each(&[1.0])).is_err());
        assert!(grid.add(&[0.1, f64::NAN, 0.1], Masses::Same(1.0)).is_err());
        assert!(grid.add(&[0.1; 3], Masses::Same(f64::INFINITY)).is_err());
        grid.add(&[], Masses::Same(1.0)).unwrap();
    }
}
