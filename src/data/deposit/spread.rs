//! Add sorted particles to bands of a mesh, each band on one thread.

use std::ops::Range;

use rayon::prelude::*;

use super::Masses;
use super::scheme::weights;
use crate::{Error, Result};

/// Particles that are sorted by one thread at a time, and how many of them at once.
pub(super) const BLOCK: usize = 1 << 14;
pub(super) const BATCH: usize = 64 * BLOCK;

/// Particles of a block, band after band.
#[derive(Debug, Clone)]
pub(super) struct Block<const D: usize> {
    entries: Vec<Entry<D>>,
    /// Where each band starts, and the end.
    starts: Vec<u32>,
}

/// A particle in units of cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<const D: usize> {
    at: [f64; D],
    mass: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Mesh<'a> {
    pub size: usize,
    /// Cells in a unit of length.
    pub scale: f64,
    pub band_rows: usize,
    pub bands: usize,
    /// The band of each row: quicker looked up than divided.
    pub band_of: &'a [u32],
}

impl Mesh<'_> {
    /// A coordinate in units of cells, 0 ≤ u < N.
    #[inline]
    pub fn cell(&self, x: f64) -> f64 {
        let (u, n) = (x * self.scale, self.size as f64);
        if u >= 0.0 && u < n {
            return u;
        }
        let u = u - n * (u / n).floor();
        // Just below zero rounds up to N, and far away rounding is larger than cells.
        if u >= 0.0 && u < n { u } else { 0.0 }
    }

    /// Tells each band that a particle in row `u` of a slab has nodes in, once.
    #[inline]
    fn reached<const P: usize>(&self, slab: usize, u: f64, mut tell: impl FnMut(usize)) {
        let (first, _) = weights::<P>(u);
        let band = |k: usize| slab * self.bands + self.band_of[self.node(first, k)] as usize;
        let mut last = band(0);
        tell(last);
        // The nodes follow each other, and outside a band there are either no rows or at least as many as nodes, so that
        // none is met twice.
        for k in 1..P {
            let next = band(k);
            if next != last {
                tell(next);
                last = next;
            }
        }
    }

    /// The node `first` + `k`, for a first one of at least −1 and at most N.
    #[inline]
    pub fn node(&self, first: isize, k: usize) -> usize {
        let (i, n) = (first + k as isize, self.size as isize);
        (if i < 0 {
            i + n
        } else if i >= n {
            i - n
        } else {
            i
        }) as usize
    }
}

/// Sorts the particles of each block by the bands that they reach; one that reaches two is in both.
pub(super) fn sort<const P: usize, const D: usize>(
    mesh: Mesh<'_>,
    slabs: usize,
    positions: &[f64],
    masses: Masses<'_>,
    blocks: &mut Vec<Block<D>>,
    place: impl Fn(&[f64; 3]) -> Option<(usize, [f64; D])> + Sync,
) -> Result<()> {
    let (particles, _) = positions.as_chunks::<3>();
    let bands = slabs * mesh.bands;
    let block = || Block {
        entries: Vec::new(),
        starts: vec![0; bands + 1],
    };
    blocks.resize_with(particles.len().div_ceil(BLOCK), block);
    particles
        .par_chunks(BLOCK)
        .zip(blocks.par_iter_mut())
        .enumerate()
        .try_for_each(|(number, (particles, block))| {
            let mut counts = vec![0u32; bands + 1];
            for (i, particle) in particles.iter().enumerate() {
                let mass = masses.of(number * BLOCK + i);
                if !(particle.iter().all(|x| x.is_finite()) && mass.is_finite()) {
                    return Err(Error::Invalid(format!(
                        "a particle at {particle:?} has the mass {mass}; all must be finite"
                    )));
                }
                if let Some((slab, at)) = place(particle) {
                    mesh.reached::<P>(slab, at[0], |band| counts[band + 1] += 1);
                }
            }
            for band in 0..bands {
                counts[band + 1] += counts[band];
            }
            block.starts.copy_from_slice(&counts);
            let empty = Entry {
                at: [0.0; D],
                mass: 0.0,
            };
            block.entries.resize(counts[bands] as usize, empty);
            // To find the place again is cheaper than to keep it.
            for (i, particle) in particles.iter().enumerate() {
                if let Some((slab, at)) = place(particle) {
                    let entry = Entry {
                        at,
                        mass: masses.of(number * BLOCK + i),
                    };
                    mesh.reached::<P>(slab, at[0], |band| {
                        block.entries[counts[band] as usize] = entry;
                        counts[band] += 1;
                    });
                }
            }
            Ok(())
        })
}

/// Adds the sorted particles to the cells, each band on a thread of its own.
pub(super) fn spread<const D: usize>(
    mesh: Mesh<'_>,
    blocks: &[Block<D>],
    cells: &mut [f64],
    add: impl Fn(Mesh<'_>, &Entry<D>, Range<usize>, &mut [f64]) + Sync,
) {
    let row = mesh.size.pow(D as u32 - 1);
    cells
        .par_chunks_mut(mesh.size * row)
        .enumerate()
        .for_each(|(slab, cells)| {
            cells
                .par_chunks_mut(mesh.band_rows * row)
                .enumerate()
                .for_each(|(band, cells)| {
                    let first = band * mesh.band_rows;
                    let rows = first..first + cells.len() / row;
                    let band = slab * mesh.bands + band;
                    for block in blocks {
                        let part = block.starts[band] as usize..block.starts[band + 1] as usize;
                        for entry in &block.entries[part] {
                            add(mesh, entry, rows.clone(), cells);
                        }
                    }
                });
        });
}

#[inline]
pub(super) fn add_to_row<const P: usize>(
    mesh: Mesh<'_>,
    entry: &Entry<2>,
    rows: Range<usize>,
    cells: &mut [f64],
) {
    let (row, by_row) = weights::<P>(entry.at[0]);
    let (column, by_column) = weights::<P>(entry.at[1]);
    let columns: [usize; P] = std::array::from_fn(|k| mesh.node(column, k));
    for (k, weight) in by_row.into_iter().enumerate() {
        let row = mesh.node(row, k);
        if rows.contains(&row) {
            let line = &mut cells[(row - rows.start) * mesh.size..][..mesh.size];
            for (&column, by_column) in columns.iter().zip(by_column) {
                line[column] += entry.mass * weight * by_column;
            }
        }
    }
}

#[inline]
pub(super) fn add_to_plane<const P: usize>(
    mesh: Mesh<'_>,
    entry: &Entry<3>,
    rows: Range<usize>,
    cells: &mut [f64],
) {
    let (x, by_x) = weights::<P>(entry.at[0]);
    let (y, by_y) = weights::<P>(entry.at[1]);
    let (z, by_z) = weights::<P>(entry.at[2]);
    let zs: [usize; P] = std::array::from_fn(|k| mesh.node(z, k));
    for (k, by_x) in by_x.into_iter().enumerate() {
        let x = mesh.node(x, k);
        if rows.contains(&x) {
            for (l, by_y) in by_y.into_iter().enumerate() {
                let line = ((x - rows.start) * mesh.size + mesh.node(y, l)) * mesh.size;
                let line = &mut cells[line..][..mesh.size];
                let weight = entry.mass * by_x * by_y;
                for (&z, by_z) in zs.iter().zip(by_z) {
                    line[z] += weight * by_z;
                }
            }
        }
    }
}
