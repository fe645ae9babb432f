//! Hold named draws.

use serde::Serialize;

/// Draws of named numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedDraws {
    /// The names.
    pub names: Vec<String>,
    /// Draws × names, one draw after the other.
    pub values: Vec<f64>,
}

impl NamedDraws {
    /// The number of draws.
    pub fn len(&self) -> usize {
        self.values.len() / self.names.len().max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The draws, one number for each name.
    pub fn draws(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.names.len().max(1))
    }

    /// All draws of one name, if it is there.
    pub fn column(&self, name: &str) -> Option<Vec<f64>> {
        let index = self.names.iter().position(|known| known == name)?;
        Some(self.draws().map(|draw| draw[index]).collect())
    }
}
