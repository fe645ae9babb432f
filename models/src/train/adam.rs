//! Step weights along their gradients, scaled by their own history.

use crate::weights::Weights;

/// Adam (Kingma & Ba 2015, arXiv 1412.6980) with gradients clipped at a maximal norm.
#[derive(Debug, Clone)]
pub struct Adam {
    moments: Vec<[Vec<f32>; 2]>,
    steps: i32,
    max_norm: f64,
}

const BETAS: [f32; 2] = [0.9, 0.99];
const EPSILON: f32 = 1e-8;

impl Adam {
    /// For weights like these; a gradient with a larger norm than `max_norm` is shortened to it.
    pub fn new(weights: &Weights, max_norm: f64) -> Self {
        let zeros = |w: &crate::weights::Weight| [vec![0.0; w.values.len()], vec![0.0; w.values.len()]];
        Self {
            moments: weights.0.iter().map(zeros).collect(),
            steps: 0,
            max_norm,
        }
    }

    /// Makes one step.
    pub fn step(&mut self, weights: &mut Weights, gradients: &[Vec<f32>], learning_rate: f64) {
        self.steps += 1;
        let norm = gradients
            .iter()
            .flatten()
            .map(|g| f64::from(*g).powi(2))
            .sum::<f64>()
            .sqrt();
        let clip = (self.max_norm / norm.max(1e-30)).min(1.0) as f32;
        let correction = BETAS.map(|b| 1.0 - b.powi(self.steps));
        let rate = learning_rate as f32 / correction[0];
        for ((w, g), [m, v]) in weights.0.iter_mut().zip(gradients).zip(&mut self.moments) {
            for (((w, g), m), v) in w.values.iter_mut().zip(g).zip(m).zip(v) {
                let g = clip * g;
                *m = BETAS[0] * *m + (1.0 - BETAS[0]) * g;
                *v = BETAS[1] * *v + (1.0 - BETAS[1]) * g * g;
                *w -= rate * *m / ((*v / correction[1]).sqrt() + EPSILON);
            }
        }
    }
}

/// A learning rate that rises over `warmup` steps and falls to zero as a cosine.
pub(crate) fn cosine_rate(peak: f64, step: usize, total: usize, warmup: usize) -> f64 {
    let rise = ((step + 1) as f64 / warmup.max(1) as f64).min(1.0);
    peak * rise * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / total.max(1) as f64).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weight;

    #[test]
    fn finds_the_bottom_of_a_bowl() {
        let mut w = Weights(vec![Weight {
            name: "w".into(),
            shape: vec![2],
            values: vec![3.0, -2.0],
        }]);
        let mut adam = Adam::new(&w, 1.0);
        for step in 0..400 {
            let gradient = vec![w.0[0].values[0] - 1.0, 10.0 * (w.0[0].values[1] - 0.5)];
            adam.step(&mut w, &[gradient], cosine_rate(0.1, step, 400, 10));
        }
        assert!(
            (w.0[0].values[0] - 1.0).abs() < 1e-2 && (w.0[0].values[1] - 0.5).abs() < 1e-2,
            "{w:?}"
        );
    }
}
