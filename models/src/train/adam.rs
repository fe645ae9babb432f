//! Step weights along their gradients, scaled by their own history.

use rayon::prelude::*;

use super::settings::{Optimiser, Trainer};
use crate::weights::{Weight, Weights};

/// Adam (Kingma & Ba 2015, arXiv 1412.6980), or AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), with gradients
/// clipped at a maximal norm.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    /// Averages of the gradients and of their squares, named and shaped as the weights.
    pub(super) moments: [Weights; 2],
    pub(super) steps: i32,
    betas: [f32; 2],
    max_norm: f64,
    decay: f32,
    kind: Optimiser,
}

const EPSILON: f32 = 1e-8;

impl Adam {
    /// For weights like these, as `settings` say: kind, betas, weight decay and the norm to which longer gradients are
    /// shortened.
    pub fn new(weights: &Weights, settings: &Trainer) -> Self {
        let zeros = |w: &Weight| Weight::new(w.name.clone(), w.shape.clone(), vec![0.0; w.values.len()]);
        let moments = Weights(weights.0.iter().map(zeros).collect());
        Self {
            moments: [moments.clone(), moments],
            steps: 0,
            betas: settings.betas.map(|b| b as f32),
            max_norm: settings.max_norm,
            decay: settings.weight_decay as f32,
            kind: settings.optimiser,
        }
    }

    /// Makes one step with gradients of this [`norm`].
    pub fn step(&mut self, weights: &mut Weights, gradients: &[Vec<f32>], norm: f64, learning_rate: f64) {
        self.steps += 1;
        let clip = (self.max_norm / norm.max(1e-30)).min(1.0) as f32;
        let betas = self.betas;
        let correction = betas.map(|b| 1.0 - b.powi(self.steps));
        let rate = learning_rate as f32 / correction[0];
        let (coupled, decoupled) = match self.kind {
            Optimiser::Adam => (self.decay, 0.0),
            Optimiser::Adamw => (0.0, self.decay * learning_rate as f32),
        };
        let [first, second] = &mut self.moments;
        // Number by number: threads cannot change the result.
        (weights.0.par_iter_mut().zip(gradients))
            .zip(first.0.par_iter_mut().zip(&mut second.0))
            .filter(|((w, _), _)| w.learnt)
            .for_each(|((w, g), (m, v))| {
                for (((w, g), m), v) in w.values.iter_mut().zip(g).zip(&mut m.values).zip(&mut v.values) {
                    let g = clip * g + coupled * *w;
                    *m = betas[0] * *m + (1.0 - betas[0]) * g;
                    *v = betas[1] * *v + (1.0 - betas[1]) * g * g;
                    *w -= decoupled * *w + rate * *m / ((*v / correction[1]).sqrt() + EPSILON);
                }
            });
    }
}

/// The Euclidean norm of all gradients together; not finite if one of them is not.
pub fn norm(gradients: &[Vec<f32>]) -> f64 {
    // Summed weight by weight in a fixed order.
    let squares: Vec<f64> = gradients
        .par_iter()
        .map(|g| g.iter().map(|g| f64::from(*g).powi(2)).sum())
        .collect();
    squares.iter().sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::schedule::cosine_rate;
    use super::*;

    fn point(values: [f32; 2]) -> Weights {
        Weights(vec![Weight::new("w", vec![2], values.into())])
    }

    #[test]
    fn finds_the_bottom_of_a_bowl() {
        let mut w = point([3.0, -2.0]);
        let mut adam = Adam::new(&w, &Trainer::default());
        for step in 0..400 {
            let gradient = [vec![w.0[0].values[0] - 1.0, 10.0 * (w.0[0].values[1] - 0.5)]];
            adam.step(
                &mut w,
                &gradient,
                norm(&gradient),
                cosine_rate(0.1, step, 400, 10),
            );
        }
        assert!(
            (w.0[0].values[0] - 1.0).abs() < 1e-2 && (w.0[0].values[1] - 0.5).abs() < 1e-2,
            "{w:?}"
        );
    }

    /// Weights after three steps of PyTorch 2.15's Adam and AdamW with a rate of 0.1 and a weight decay of 0.3, betas
    /// (0.9, 0.999), from (3, −2) along the gradient (w₀ − 1, 10 (w₁ − 0.5)).
    #[test]
    fn decays_weights_as_pytorch_does() {
        for (optimiser, wanted) in [(Optimiser::Adam, PYTORCH[0]), (Optimiser::Adamw, PYTORCH[1])] {
            let settings = Trainer {
                optimiser,
                weight_decay: 0.3,
                betas: [0.9, 0.999],
                max_norm: 1e9,
                ..Trainer::default()
            };
            let mut w = point([3.0, -2.0]);
            let mut adam = Adam::new(&w, &settings);
            for _ in 0..3 {
                let gradient = [vec![w.0[0].values[0] - 1.0, 10.0 * (w.0[0].values[1] - 0.5)]];
                adam.step(&mut w, &gradient, norm(&gradient), 0.1);
            }
            for (w, wanted) in w.0[0].values.iter().zip(wanted) {
                assert!((w - wanted).abs() < 1e-5, "{optimiser:?}: {w} and {wanted}");
            }
        }
    }

    const PYTORCH: [[f32; 2]; 2] = [[2.700_544_6, -1.700_477_2], [2.448_368, -1.535_092_8]];
}
