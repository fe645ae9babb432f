//! Prepare the maps of a set for a training.

use std::borrow::Cow;

use armilla_models::ModelError;
use armilla_models::flow_matching::Fields;
use rayon::prelude::*;

use crate::data::{FieldScaling, FieldTransform, MapSet};
use crate::{Error, Result};

/// Maps of up to so many bytes are held in memory; others are read anew for every batch.
const HELD: u64 = 1 << 30;
/// As many maps are read at once where all are gone through.
const BLOCK: usize = 64;

/// The set itself, in memory where it is small enough.
pub(super) fn held(set: &MapSet) -> Result<Cow<'_, MapSet>> {
    let bytes = set.len() as u64 * (set.side() * set.side() * size_of::<f32>()) as u64;
    Ok(if bytes <= HELD && !set.is_in_memory() {
        Cow::Owned(set.loaded()?)
    } else {
        Cow::Borrowed(set)
    })
}

/// The simulation of the map that is to be held out.
pub(super) fn held_out(set: &MapSet, map: Option<usize>) -> Result<Option<usize>> {
    match map {
        Some(map) if map >= set.len() => Err(Error::Invalid(format!(
            "map {map} cannot be held out: there are {}, numbered from 0",
            set.len()
        ))),
        map => Ok(map.map(|map| set.simulation_of(map))),
    }
}

/// The transform of pixels that fits the `maps`.
pub(super) fn fit_transform(set: &MapSet, maps: &[usize], scaling: FieldScaling) -> Result<FieldTransform> {
    let blocks = maps.chunks(BLOCK).map(|block| set.read_maps(block));
    FieldTransform::fit(blocks, scaling)
}

/// A part of a set, whose maps are read and transformed when they are asked for.
pub(super) struct Part<'a> {
    pub set: &'a MapSet,
    pub maps: &'a [usize],
    pub transform: &'a FieldTransform,
}

impl<'a> Part<'a> {
    /// The parameters of its maps, one row for each.
    pub fn theta(&self) -> Vec<f64> {
        let rows = self.maps.iter().flat_map(|&i| self.set.theta(i));
        rows.copied().collect()
    }

    /// Its maps as a training takes them: in memory where the set is.
    ///
    /// # Errors
    ///
    /// Pixels that the transform does not take.
    pub fn fields(self) -> Result<Box<dyn Fields + 'a>> {
        Ok(if self.set.is_in_memory() {
            Box::new(self.all()?)
        } else {
            Box::new(self)
        })
    }

    /// All of its maps, in memory.
    fn all(&self) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(self.numbers());
        for block in self.maps.chunks(BLOCK) {
            all.extend(self.transformed(block)?);
        }
        Ok(all)
    }

    fn transformed(&self, maps: &[usize]) -> Result<Vec<f32>> {
        let pixels = self.set.side() * self.set.side();
        let mut fields = self.set.read_maps(maps)?;
        fields
            .par_chunks_exact_mut(pixels)
            .zip(maps)
            .try_for_each(|(field, map)| {
                let z = self.transform.apply(field);
                field.copy_from_slice(&z.map_err(|e| Error::Invalid(format!("map {map}: {e}")))?);
                Ok::<_, Error>(())
            })?;
        Ok(fields)
    }
}

impl Fields for Part<'_> {
    fn numbers(&self) -> usize {
        self.maps.len() * self.set.side() * self.set.side()
    }

    fn read(&self, picks: &[usize], _len: usize) -> armilla_models::Result<Vec<f32>> {
        let maps: Vec<usize> = picks.iter().map(|&i| self.maps[i]).collect();
        self.transformed(&maps)
            .map_err(|e| ModelError::Invalid(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::MapPaths;

    #[test]
    fn maps_read_for_each_batch_are_those_held_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maps.h5");
        let maps = (0..40 * 36).map(|i| 1.0 + (i as f32 * 0.7).sin().abs()).collect();
        let params = (0..20).map(f64::from).collect();
        let memory = MapSet::new(maps, 6, params, vec!["a".into()]).unwrap();
        memory.write(&path).unwrap();
        let files = MapSet::open(&[&path], &MapPaths::default()).unwrap();
        assert!(!files.is_in_memory() && files.loaded().unwrap().is_in_memory());
        let picked: Vec<usize> = (0..40).filter(|i| i % 3 != 0).collect();
        let fit = |set: &MapSet| fit_transform(set, &picked, FieldScaling::default()).unwrap();
        let transform = fit(&memory);
        assert_eq!(transform, fit(&files));
        let part = |set| Part {
            set,
            maps: &picked,
            transform: &transform,
        };
        let held = part(&memory).all().unwrap();
        assert_eq!(part(&files).all().unwrap(), held);
        for picks in [&[3, 20, 0][..], &[5], &[7, 8, 9, 1]] {
            assert_eq!(
                part(&files).read(picks, 36).unwrap(),
                held.read(picks, 36).unwrap()
            );
        }
        // A file that is gone, or damaged while it is read, is an error that names it.
        let shorter = std::fs::metadata(&path).unwrap().len() / 2;
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(shorter)
            .unwrap();
        let message = part(&files).read(&[25], 36).unwrap_err().to_string();
        assert!(message.contains("maps.h5"), "{message}");
    }
}
