//! Keep the coefficients of explicit Runge–Kutta methods.

use crate::error::Result;

/// An explicit Runge–Kutta method: `k_i = f(t + c_i h, x + h Σ_j a_ij k_j)`, then `x + h Σ_i b_i k_i`.
#[derive(Debug)]
pub(crate) struct Tableau {
    /// Row i has the i weights of the stages before.
    pub(crate) a: &'static [&'static [f64]],
    /// Weights of the stages in the step.
    pub(crate) b: &'static [f64],
    /// Where in the step each stage lies.
    pub(crate) c: &'static [f64],
}

impl Tableau {
    /// `x + h Σ_j weights_j k_j`.
    pub(crate) fn combine(x: &[f64], h: f64, weights: &[f64], k: &[Vec<f64>]) -> Vec<f64> {
        let mut sum = x.to_vec();
        for (weight, k) in weights.iter().zip(k).filter(|(w, _)| **w != 0.0) {
            let weight = h * weight;
            sum.iter_mut().zip(k).for_each(|(s, k)| *s += weight * k);
        }
        sum
    }

    /// The rates at the stages of the step from `from` to `to`, where `x` is before it; `first` is the first, if it is known.
    pub(crate) fn stages(
        &self,
        x: &[f64],
        [from, to]: [f64; 2],
        first: Option<Vec<f64>>,
        mut rate: impl FnMut(&[f64], f64) -> Result<Vec<f64>>,
    ) -> Result<Vec<Vec<f64>>> {
        let mut k = Vec::with_capacity(self.b.len());
        k.extend(first);
        for (i, a) in self.a.iter().enumerate().skip(k.len()) {
            let point = Self::combine(x, to - from, a, &k);
            k.push(rate(&point, self.time(i, from, to))?);
        }
        Ok(k)
    }

    /// The time of stage `i` in a step from `from` to `to`, never past either.
    pub(crate) fn time(&self, i: usize, from: f64, to: f64) -> f64 {
        if self.c[i] == 1.0 {
            to
        } else {
            from + self.c[i] * (to - from)
        }
    }
}

pub(super) const EULER: Tableau = Tableau {
    a: &[&[]],
    b: &[1.0],
    c: &[0.0],
};

pub(super) const MIDPOINT: Tableau = Tableau {
    a: &[&[], &[0.5]],
    b: &[0.0, 1.0],
    c: &[0.0, 0.5],
};

pub(super) const HEUN: Tableau = Tableau {
    a: &[&[], &[1.0]],
    b: &[0.5, 0.5],
    c: &[0.0, 1.0],
};

pub(super) const RK4: Tableau = Tableau {
    a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    c: &[0.0, 0.5, 0.5, 1.0],
};

/// Dormand & Prince (1980). The last stage is the derivative where the step ends.
pub(super) const DORMAND_PRINCE: Tableau = Tableau {
    a: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[
            19372.0 / 6561.0,
            -25360.0 / 2187.0,
            64448.0 / 6561.0,
            -212.0 / 729.0,
        ],
        &[
            9017.0 / 3168.0,
            -355.0 / 33.0,
            46732.0 / 5247.0,
            49.0 / 176.0,
            -5103.0 / 18656.0,
        ],
        &[
            35.0 / 384.0,
            0.0,
            500.0 / 1113.0,
            125.0 / 192.0,
            -2187.0 / 6784.0,
            11.0 / 84.0,
        ],
    ],
    b: &[
        35.0 / 384.0,
        0.0,
        500.0 / 1113.0,
        125.0 / 192.0,
        -2187.0 / 6784.0,
        11.0 / 84.0,
        0.0,
    ],
    c: &[0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0],
};

/// What the weights of [`DORMAND_PRINCE`] differ by from those of the method of fourth order inside it.
pub(super) const DIFFERENCE: [f64; 7] = [
    71.0 / 57600.0,
    0.0,
    -71.0 / 16695.0,
    71.0 / 1920.0,
    -17253.0 / 339200.0,
    22.0 / 525.0,
    -1.0 / 40.0,
];

/// Weights of the highest term of its interpolant (Hairer, Nørsett & Wanner 1993, *Solving Ordinary Differential
/// Equations I*, II.6).
pub(super) const INTERPOLANT: [f64; 7] = [
    -12715105075.0 / 11282082432.0,
    0.0,
    87487479700.0 / 32700410799.0,
    -10690763975.0 / 1880347072.0,
    701980252875.0 / 199316789632.0,
    -1453857185.0 / 822651844.0,
    69997945.0 / 29380423.0,
];
