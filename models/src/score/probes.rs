//! Lay directions through points of a path.

use std::ops::Range;

use armilla_samplers::rng::{Purpose, Stream, stream};
use rand::RngExt;

use super::{Estimator, MOST};
use crate::{
    error::{ModelError, Result},
    matching::{Drawing, Noised},
    train::{Batch, Source},
};

/// Points, each as often as there are directions through it.
#[derive(Debug, Clone)]
pub(super) struct Probed {
    pub points: Noised,
    /// One for each row, of mean outer product 1.
    pub directions: Vec<f32>,
    /// Directions through a point.
    probes: usize,
}

/// Where they are drawn from.
#[derive(Clone)]
pub(super) struct Probing<'a> {
    pub drawing: Drawing<'a>,
    estimator: Estimator,
}

/// Streams of the directions in validation, far from those of the points.
const DIRECTIONS: u64 = 1 << 61;

impl<'a> Probing<'a> {
    pub fn new(drawing: Drawing<'a>, estimator: Estimator) -> Result<Self> {
        if estimator == Estimator::Exact && drawing.numbers() > MOST {
            return Err(ModelError::Invalid(format!(
                "exact score matching looks along each of {} numbers, and {MOST} are the most: take sliced",
                drawing.numbers()
            )));
        }
        Ok(Self { drawing, estimator })
    }

    /// Directions through a point.
    pub fn probes(&self) -> usize {
        match self.estimator {
            Estimator::Sliced { projections } => projections,
            Estimator::Exact => self.drawing.numbers(),
        }
    }

    fn probed(&self, points: Noised, stream: &mut Stream) -> Probed {
        let n = self.drawing.numbers();
        let rows = points.points.len();
        let probes = self.probes();
        let mut directions = vec![0.0; rows * probes * n];
        for (row, direction) in directions.chunks_exact_mut(n).enumerate() {
            match self.estimator {
                // The mean over all coordinates is that of their outer products: 1.
                Estimator::Exact => direction[row % n] = (n as f32).sqrt(),
                Estimator::Sliced { .. } => direction
                    .iter_mut()
                    .for_each(|v| *v = if stream.random::<bool>() { 1.0 } else { -1.0 }),
            }
        }
        let repeated = |values: &[f32]| -> Vec<f32> {
            let n = values.len() / rows;
            (0..rows)
                .flat_map(|row| values[row * n..(row + 1) * n].repeat(probes))
                .collect()
        };
        let points = Noised {
            x: repeated(&points.x),
            wanted: Vec::new(),
            conditions: repeated(&points.conditions),
            points: (points.points.iter())
                .flat_map(|p| std::iter::repeat_n(*p, probes))
                .collect(),
            weights: (points.weights.iter())
                .flat_map(|w| std::iter::repeat_n(*w, probes))
                .collect(),
        };
        Probed {
            points,
            directions,
            probes,
        }
    }

    /// The same directions each time.
    pub fn along(&self, points: Noised, seed: u64, part: u64) -> Probed {
        self.probed(points, &mut stream(seed, Purpose::Training, DIRECTIONS | part))
    }
}

impl Source for Probing<'_> {
    type Batch = Probed;

    fn examples(&self) -> usize {
        self.drawing.fields()
    }

    fn batch(&self, picks: &[usize], stream: &mut Stream) -> Result<Probed> {
        let points = self.drawing.draw(picks, stream)?;
        Ok(self.probed(points, stream))
    }
}

impl Batch for Probed {
    fn rows(&self) -> usize {
        self.points.rows() / self.probes
    }

    fn part(&self, rows: Range<usize>) -> Self {
        let n = self.directions.len() / self.points.rows();
        let rows = rows.start * self.probes..rows.end * self.probes;
        Self {
            points: self.points.part(rows.clone()),
            directions: self.directions[rows.start * n..rows.end * n].to_vec(),
            probes: self.probes,
        }
    }
}
