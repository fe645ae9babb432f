//! Read states between the steps of a solution.

/// A solution within one step: a cubic through both ends with their derivatives, and a term of fourth order for methods
/// that have one.
#[derive(Debug)]
pub(super) struct Interpolant<'a> {
    /// Where the step starts and ends.
    pub(super) times: [f64; 2],
    /// The states there.
    pub(super) states: [&'a [f64]; 2],
    /// `dx/dt` there.
    pub(super) rates: [&'a [f64]; 2],
    /// The term of fourth order, already multiplied by the step; empty where there is none.
    pub(super) fourth: Vec<f64>,
}

impl Interpolant<'_> {
    /// The state at `t` within the step.
    pub(super) fn at(&self, t: f64) -> Vec<f64> {
        let h = self.times[1] - self.times[0];
        let p = (t - self.times[0]) / h;
        let q = 1.0 - p;
        let [x, end] = self.states;
        let [first, last] = self.rates;
        (0..x.len())
            .map(|i| {
                let rise = end[i] - x[i];
                let bend = h * first[i] - rise;
                let twist = rise - h * last[i] - bend;
                let fourth = self.fourth.get(i).copied().unwrap_or(0.0);
                x[i] + p * (rise + q * (bend + p * (twist + q * fourth)))
            })
            .collect()
    }
}

/// The states at asked times, collected as the solution passes them.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// Those not yet passed, in the order of the solution.
    left: &'a [f64],
    forward: bool,
    pub(super) states: Vec<Vec<f64>>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(times: &'a [f64], forward: bool) -> Self {
        Self {
            left: times,
            forward,
            states: Vec::with_capacity(times.len()),
        }
    }

    /// Takes the asked times that equal `t`, where the state is `x`.
    pub(super) fn meet(&mut self, t: f64, x: &[f64]) {
        while let Some((_, rest)) = self.left.split_first().filter(|(first, _)| **first == t) {
            self.states.push(x.to_vec());
            self.left = rest;
        }
    }

    /// Whether some asked time lies before `t`.
    pub(super) fn before(&self, t: f64) -> bool {
        self.left
            .first()
            .is_some_and(|first| if self.forward { *first < t } else { *first > t })
    }

    /// Takes those that lie before the end of `step`.
    pub(super) fn pass(&mut self, step: &Interpolant) {
        while self.before(step.times[1]) {
            self.states.push(step.at(self.left[0]));
            self.left = &self.left[1..];
        }
    }
}
