//! Take fields to finer and coarser grids.

pub(crate) mod cpu;

use crate::{
    error::{ModelError, Result},
    ops::conv::geometry::Extent,
};

/// A linear map over positions: each new one a weighted sum of a few old ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Resample {
    /// Extent of what goes in.
    pub input: Extent,
    /// Extent of what comes out.
    pub output: Extent,
    /// Where the terms of each new position begin, and where those of the last end.
    starts: Vec<u32>,
    /// Old position and weight.
    terms: Vec<(u32, f32)>,
    /// The same the other way: where the terms of each old position begin.
    back_starts: Vec<u32>,
    /// New position and weight, in order of new positions.
    back_terms: Vec<(u32, f32)>,
}

/// Old indices and weights of each new index along one axis.
type Axis = Vec<Vec<(usize, f64)>>;

impl Resample {
    /// Repeats each number `factor` times along each axis.
    ///
    /// # Errors
    /// `Shape` for an empty field or a factor of zero.
    pub fn nearest_up(input: Extent, factor: Extent) -> Result<Self> {
        Self::per_axis(input, factor, |size, factor| {
            (0..size * factor).map(|o| vec![(o / factor, 1.0)]).collect()
        })
    }

    /// Interpolates linearly along each axis: bilinear for images, trilinear for volumes.
    ///
    /// Number i stands for the middle of its cell, at (i + ½) / size of the way, and beyond the outermost middles the outermost
    /// numbers go on: PyTorch's `align_corners=False`.
    ///
    /// # Errors
    /// `Shape` for an empty field or a factor of zero.
    pub fn linear_up(input: Extent, factor: Extent) -> Result<Self> {
        Self::per_axis(input, factor, |size, factor| {
            (0..size * factor)
                .map(|o| {
                    let at = ((o as f64 + 0.5) / factor as f64 - 0.5).max(0.0);
                    let (low, part) = (at as usize, at.fract());
                    if part == 0.0 || low + 1 == size {
                        vec![(low, 1.0)]
                    } else {
                        vec![(low, 1.0 - part), (low + 1, part)]
                    }
                })
                .collect()
        })
    }

    /// Averages blocks of `kernel`, side by side; what is left at the far edges is dropped.
    ///
    /// # Errors
    /// `Shape` for a field smaller than a block, or a block of zero.
    pub fn average_pool(input: Extent, kernel: Extent) -> Result<Self> {
        pooled(input, kernel)?;
        Self::per_axis(input, kernel, |size, kernel| {
            (0..size / kernel)
                .map(|o| {
                    (0..kernel)
                        .map(|k| (o * kernel + k, 1.0 / kernel as f64))
                        .collect()
                })
                .collect()
        })
    }

    /// The product of one map along each axis.
    fn per_axis(input: Extent, factor: Extent, axis: impl Fn(usize, usize) -> Axis) -> Result<Self> {
        if input.contains(&0) || factor.contains(&0) {
            return Err(ModelError::shape(
                "resample",
                format!("a field of {input:?} by factors {factor:?} holds no number"),
            ));
        }
        let axes: [Axis; 3] = std::array::from_fn(|a| axis(input[a], factor[a]));
        let output = axes.each_ref().map(Vec::len);
        let (mut starts, mut terms) = (vec![0], Vec::new());
        for z in &axes[0] {
            for y in &axes[1] {
                for x in &axes[2] {
                    for (i, a) in z {
                        for (j, b) in y {
                            for (k, c) in x {
                                let from = (i * input[1] + j) * input[2] + k;
                                terms.push((from as u32, (a * b * c) as f32));
                            }
                        }
                    }
                    starts.push(terms.len() as u32);
                }
            }
        }
        let mut back = vec![Vec::new(); input.iter().product()];
        for (to, span) in starts.windows(2).enumerate() {
            for (from, weight) in &terms[span[0] as usize..span[1] as usize] {
                back[*from as usize].push((to as u32, *weight));
            }
        }
        let (mut back_starts, mut back_terms) = (vec![0], Vec::new());
        for list in back {
            back_terms.extend(list);
            back_starts.push(back_terms.len() as u32);
        }
        Ok(Self {
            input,
            output,
            starts,
            terms,
            back_starts,
            back_terms,
        })
    }
}

/// The extent of a field pooled in blocks of `kernel`.
///
/// # Errors
/// `Shape` for a field smaller than a block, or a block of zero.
pub fn pooled(input: Extent, kernel: Extent) -> Result<Extent> {
    if kernel.contains(&0) || input.iter().zip(kernel).any(|(size, kernel)| *size < kernel) {
        return Err(ModelError::shape(
            "pool",
            format!("a field of {input:?} does not fill blocks of {kernel:?}"),
        ));
    }
    Ok(std::array::from_fn(|axis| input[axis] / kernel[axis]))
}
