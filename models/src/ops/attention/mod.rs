//! Let every position of a field ask all others.

pub(crate) mod cpu;
mod matrix;
mod plain;

/// How positions weigh each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Σ_j softmax_j(q_i · k_j / √dim) v_j: Vaswani et al. 2017, arXiv 1706.03762. Time ∝ positions².
    Full,
    /// Σ_d softmax_d(q_i) / √dim · Σ_j softmax_j(k_j) v_j: Shen et al. 2018, arXiv 1812.01243. Time ∝ positions.
    Linear,
}

/// Sizes: `qkv` (batch, 3 · heads · dim, positions), queries, keys, then values, heads inside each; the output
/// (batch, heads · dim, positions).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    pub batch: usize,
    pub heads: usize,
    pub dim: usize,
    pub positions: usize,
}
