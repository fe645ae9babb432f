//! Differentiate what a flow's loss becomes: back through the steps of a solver, or along the adjoint equation.

use serde::{Deserialize, Serialize};

use super::{
    augmented::{Augmented, Pulled},
    log_density::log_normal,
};
use crate::{device::Device, error::Result, nets::Conditioned, ode::Tableau};

/// How a loss at the end of a flow is differentiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gradient {
    /// The gradient of the loss in its steps, to rounding: the state at each step is kept, a step's stages are computed
    /// once more, and one evaluation is on the tape at a time (Gholami et al. 2019, arXiv 1902.10298).
    #[default]
    Discrete,
    /// That of the loss without steps, approximately: points and adjoint are solved backwards together, and nothing is
    /// kept (Chen et al. 2018, arXiv 1806.07366).
    Adjoint,
}

/// The solver of a training: a method from 0 to 1.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    tableau: &'static Tableau,
    /// Where steps begin and end.
    edges: Vec<f64>,
}

impl Steps {
    /// `count` steps, which meet at `(i − ½ + offset)/count`: at ½ all are as long.
    ///
    /// A flow that is always solved in the same few steps learns to be right there alone, with a loss that is none of the
    /// flow itself; so each batch of a training has an offset of its own (as Ghosh et al. 2020, arXiv 2006.10711, move the
    /// end).
    pub(super) fn new(tableau: &'static Tableau, count: usize, offset: f64) -> Self {
        let inside = (1..count).map(|i| (i as f64 - 0.5 + offset) / count as f64);
        Self {
            tableau,
            edges: std::iter::once(0.0).chain(inside).chain([1.0]).collect(),
        }
    }

    fn spans(&self) -> impl DoubleEndedIterator<Item = [f64; 2]> {
        self.edges.windows(2).map(|w| [w[0], w[1]])
    }

    /// Whether anything depends on stage `i`: not so for one that only estimates an error.
    fn uses(&self, i: usize) -> bool {
        let Tableau { a, b, .. } = self.tableau;
        b[i] != 0.0 || a.iter().skip(i + 1).any(|a| a[i] != 0.0)
    }
}

/// A loss and its gradient in each weight.
#[derive(Default)]
pub(super) struct Differentiated {
    pub(super) loss: f64,
    pub(super) weights: Vec<Vec<f32>>,
}

impl Differentiated {
    /// Adds a multiple of a rate and of its gradient.
    fn add(&mut self, pulled: &Pulled, of_rate: f64, of_weights: f64) {
        self.loss += of_rate * pulled.rate;
        self.add_weights(&pulled.weights, of_weights as f32);
    }

    pub(super) fn add_weights(&mut self, weights: &[Vec<f32>], times: f32) {
        if self.weights.is_empty() {
            self.weights = weights.iter().map(|w| vec![0.0; w.len()]).collect();
        }
        for (sum, part) in self.weights.iter_mut().zip(weights) {
            sum.iter_mut().zip(part).for_each(|(s, p)| *s += times * p);
        }
    }
}

/// `share · Σ_rows −ln N(x_1; 0, I) + ∫₀¹ q dt` for the rows `x` at t = 0.
pub(super) fn loss<D: Device, N: Conditioned<D>>(
    flow: &Augmented<'_, D, N>,
    mut x: Vec<f64>,
    steps: &Steps,
    share: f64,
) -> Result<f64> {
    let mut integral = 0.0;
    for span in steps.spans() {
        let mut rates = Vec::with_capacity(steps.tableau.b.len());
        let k = steps.tableau.stages(&x, span, None, |x, t| {
            let (velocity, rate) = flow.rate(x, t)?;
            rates.push(rate);
            Ok(velocity)
        })?;
        let h = span[1] - span[0];
        x = Tableau::combine(&x, h, steps.tableau.b, &k);
        integral += h * rates.iter().zip(steps.tableau.b).map(|(q, b)| q * b).sum::<f64>();
    }
    Ok(integral - share * log_normal(&x, 1.0))
}

/// [`loss`] and its gradient.
pub(super) fn loss_and_gradient<D: Device, N: Conditioned<D>>(
    flow: &Augmented<'_, D, N>,
    x: Vec<f64>,
    steps: &Steps,
    share: f64,
    gradient: Gradient,
) -> Result<Differentiated> {
    let mut kept = vec![x];
    for span in steps.spans() {
        let x = &kept[kept.len() - 1];
        let k = steps.tableau.stages(x, span, None, |x, t| flow.velocity(x, t))?;
        let next = Tableau::combine(x, span[1] - span[0], steps.tableau.b, &k);
        match gradient {
            Gradient::Discrete => kept.push(next),
            Gradient::Adjoint => kept[0] = next,
        }
    }
    // The last state is there: the list never empties before.
    let end = kept.pop().unwrap_or_default();
    let mut all = Differentiated {
        loss: -share * log_normal(&end, 1.0),
        weights: Vec::new(),
    };
    let mut adjoint: Vec<f64> = end.iter().map(|x| share * x).collect();
    let mut x = end;
    for span in steps.spans().rev() {
        match kept.pop() {
            Some(start) => back_through(flow, steps, &start, span, &mut adjoint, &mut all)?,
            None => x = back_along(flow, steps, x, span, &mut adjoint, &mut all)?,
        }
    }
    Ok(all)
}

/// Takes the adjoint from the end of a step to its start `x`, through each of its stages.
fn back_through<D: Device, N: Conditioned<D>>(
    flow: &Augmented<'_, D, N>,
    steps: &Steps,
    x: &[f64],
    [from, to]: [f64; 2],
    adjoint: &mut [f64],
    all: &mut Differentiated,
) -> Result<()> {
    let (tableau, h) = (steps.tableau, to - from);
    let mut points = Vec::with_capacity(tableau.b.len());
    let mut k: Vec<Vec<f64>> = Vec::with_capacity(tableau.b.len());
    for (i, a) in tableau.a.iter().enumerate() {
        let point = Tableau::combine(x, h, a, &k);
        if i + 1 < tableau.a.len() {
            k.push(flow.velocity(&point, tableau.time(i, from, to))?);
        }
        points.push(point);
    }
    // x' = x + h Σ b_i k_i and X_i = x + h Σ_j a_ij k_j, from the last stage to the first.
    let mut of_points: Vec<Vec<f64>> = vec![Vec::new(); points.len()];
    for i in (0..points.len()).rev() {
        let mut of_k: Vec<f64> = adjoint.iter().map(|a| h * tableau.b[i] * a).collect();
        for (a, of_point) in tableau.a.iter().zip(&of_points).skip(i + 1) {
            let weight = h * a[i];
            of_k.iter_mut().zip(of_point).for_each(|(k, p)| *k += weight * p);
        }
        if steps.uses(i) {
            let w = h * tableau.b[i];
            let pulled = flow.pull_back(&points[i], tableau.time(i, from, to), &of_k, w)?;
            all.add(&pulled, w, 1.0);
            of_points[i] = pulled.x;
        }
    }
    for of_point in of_points {
        adjoint.iter_mut().zip(of_point).for_each(|(a, p)| *a += p);
    }
    Ok(())
}

/// Solves points and adjoint over one step backwards, from the end `x`; gives the points at its start.
fn back_along<D: Device, N: Conditioned<D>>(
    flow: &Augmented<'_, D, N>,
    steps: &Steps,
    x: Vec<f64>,
    [from, to]: [f64; 2],
    adjoint: &mut Vec<f64>,
    all: &mut Differentiated,
) -> Result<Vec<f64>> {
    let (tableau, h) = (steps.tableau, to - from);
    let [mut velocities, mut forces] = [(); 2].map(|()| Vec::with_capacity(tableau.b.len()));
    for (i, a) in tableau.a.iter().enumerate().filter(|(i, _)| steps.uses(*i)) {
        // dx/dt = v and dλ/dt = −∂(⟨λ, v⟩ + q)/∂x.
        let point = Tableau::combine(&x, -h, a, &velocities);
        let lambda = Tableau::combine(adjoint, h, a, &forces);
        let pulled = flow.pull_back(&point, tableau.time(i, to, from), &lambda, 1.0)?;
        let weight = h * tableau.b[i];
        if weight != 0.0 {
            all.add(&pulled, weight, weight);
        }
        velocities.push(pulled.velocity);
        forces.push(pulled.x);
    }
    *adjoint = Tableau::combine(adjoint, h, tableau.b, &forces);
    Ok(Tableau::combine(&x, -h, tableau.b, &velocities))
}
