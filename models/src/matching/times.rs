//! Draw the times that a training looks at.

use armilla_samplers::distribution::{Normal, Univariate};
use serde::{Deserialize, Serialize};

use super::Weighting;
use crate::{
    error::{ModelError, Result},
    path::{Path, Point, Target},
};

/// Where on the path a training looks. Times are stratified over a batch; those of a chain are its levels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSampling {
    /// Everywhere alike.
    #[default]
    Uniform,
    /// `ln(t/(1 − t))` from a normal distribution, whose density weighs errors too (Esser et al. 2024, arXiv
    /// 2403.03206).
    LogitNormal {
        /// Its mean: above 0 there are more times near the noise.
        mean: f64,
        /// Its standard deviation.
        sd: f64,
    },
    /// Where an error of the noise weighs more, more often, and all count the same then: the loss of uniform times with
    /// less noise. (With a uniform weighting, uniform.)
    Importance,
}

/// Cells of a table for a path without levels of its own.
const CELLS: usize = 2048;
/// Closer to an end of a path no time is drawn: some target or weight is infinite there.
const EDGE: f64 = 1e-6;
/// Largest |ln SNR| where the weight is that of the bound: σ = 1e-3, as in Kingma et al. 2021.
const MOST_LOG_SNR: f64 = 13.8;

/// Times and their weights, ready to be drawn.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    path: Path,
    target: Target,
    weighting: Weighting,
    sampling: TimeSampling,
    /// Where cells begin and end.
    edges: Vec<f64>,
    /// The integral of the weight up to each edge.
    masses: Vec<f64>,
}

impl Times {
    pub(crate) fn new(
        path: &Path,
        target: Target,
        weighting: Weighting,
        sampling: TimeSampling,
    ) -> Result<Self> {
        path.check()?;
        weighting.check()?;
        if let TimeSampling::LogitNormal { mean, sd } = sampling
            && !(mean.is_finite() && sd > 0.0 && sd.is_finite())
        {
            return Err(ModelError::Invalid(format!(
                "logit-normal times need a finite mean and a positive sd, not {mean} and {sd}"
            )));
        }
        let edges = edges(path, weighting);
        let mut masses = vec![0.0];
        let mut sum = 0.0;
        for cell in edges.windows(2) {
            let t = match path {
                Path::Chain(_) => cell[1],
                _ => 0.5 * (cell[0] + cell[1]),
            };
            sum += weighting.of_noise(&path.at(t)) * (cell[1] - cell[0]);
            masses.push(sum);
        }
        if !(sum > 0.0 && sum.is_finite()) {
            return Err(ModelError::Invalid(format!(
                "{weighting:?} cannot weigh the path {path:?}: its weights sum to {sum}"
            )));
        }
        Ok(Self {
            path: path.clone(),
            target,
            weighting,
            sampling,
            edges,
            masses,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The time below which a share `p` of all lies, and what a squared error of the target counts there.
    pub(crate) fn at(&self, p: f64) -> (Point, f64) {
        let (low, high) = (self.edges[0], self.edges[self.edges.len() - 1]);
        let total = self.masses[self.masses.len() - 1];
        let place = match self.sampling {
            TimeSampling::LogitNormal { mean, sd } => {
                let p = p.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
                1.0 / (1.0 + (-Normal::<f64>::of(mean, sd).quantile(p)).exp())
            }
            _ => p,
        };
        let by_weight = self.sampling == TimeSampling::Importance && self.weighting != Weighting::Uniform;
        let (t, share) = if by_weight {
            let mass = place * total;
            let i = self
                .masses
                .partition_point(|m| *m <= mass)
                .clamp(1, self.edges.len() - 1);
            let (here, width) = (
                self.masses[i] - self.masses[i - 1],
                self.edges[i] - self.edges[i - 1],
            );
            let into = ((mass - self.masses[i - 1]) / here).clamp(0.0, 1.0);
            // Weight over density: 1 but for what changes inside the cell.
            (self.edges[i - 1] + into * width, width / here)
        } else {
            (low + place * (high - low), (high - low) / total)
        };
        let point = self.path.at(self.level(t));
        let weight = match self.weighting {
            Weighting::Uniform => 1.0,
            weighting => share * weighting.of_noise(&point),
        };
        (point, weight * self.weighting.of_target(self.target, &point))
    }

    /// The level of a chain that ends the step in which `t` lies.
    fn level(&self, t: f64) -> f64 {
        match &self.path {
            Path::Chain(chain) => {
                let steps = chain.steps() as f64;
                // A quantile of 0 lies at the data, an edge up to rounding at its own level.
                (t * steps - 1e-9).ceil().clamp(1.0, steps) / steps
            }
            _ => t,
        }
    }
}

/// Edges of cells from the first time to the last, closer together at the ends of the path.
fn edges(path: &Path, weighting: Weighting) -> Vec<f64> {
    if let Path::Chain(chain) = path {
        let steps = chain.steps();
        return (0..=steps).map(|i| i as f64 / steps as f64).collect();
    }
    let [mut low, mut high] = path.range();
    (low, high) = (low.max(EDGE), high.min(1.0 - EDGE));
    if weighting == Weighting::EvidenceBound {
        (low, high) = (
            low.max(path.time_of(MOST_LOG_SNR)),
            high.min(path.time_of(-MOST_LOG_SNR)),
        );
    }
    let [from, to] = [low, high].map(|t| (t / (1.0 - t)).ln());
    let mut edges: Vec<f64> = (0..=CELLS)
        .map(|i| 1.0 / (1.0 + (-(from + (to - from) * i as f64 / CELLS as f64)).exp()))
        .collect();
    (edges[0], edges[CELLS]) = (low, high);
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Chain, Schedule};

    const TARGETS: [Target; 5] = [
        Target::Velocity,
        Target::Noise,
        Target::Data,
        Target::Score,
        Target::V,
    ];

    fn paths() -> Vec<Path> {
        vec![
            Path::Linear,
            Path::Trigonometric,
            Path::Chain(Chain::new(Schedule::Cosine, 200).unwrap()),
            Path::VariancePreserving {
                beta_min: 0.1,
                beta_max: 20.0,
            },
            Path::SubVariancePreserving {
                beta_min: 0.1,
                beta_max: 20.0,
            },
            Path::VarianceExploding {
                sigma_min: 0.01,
                sigma_max: 10.0,
            },
        ]
    }

    /// The loss of a prediction whose error of the noise is `error(ln SNR)`: a mean over many quantiles.
    fn loss(times: &Times, error: impl Fn(&Point) -> f64) -> f64 {
        let n = 200_000;
        let each = |i: usize| {
            let (p, weight) = times.at((i as f64 + 0.5) / n as f64);
            let own = p.conversion(Target::Noise, times.target)[1];
            weight * (own * error(&p)).powi(2)
        };
        (0..n).map(each).sum::<f64>() / n as f64
    }

    #[test]
    fn a_weighting_is_the_same_loss_for_each_target_and_each_way_to_draw_it() {
        // As a perfect network errs less where there is more noise.
        let error = |p: &Point| p.alpha / (p.alpha * p.alpha + p.sigma * p.sigma).sqrt();
        for path in paths() {
            for weighting in [Weighting::MinSnr { gamma: 5.0 }, Weighting::EvidenceBound] {
                let of = |target, sampling| {
                    let times = Times::new(&path, target, weighting, sampling).unwrap();
                    loss(&times, error)
                };
                let expected = of(Target::Noise, TimeSampling::Importance);
                for target in TARGETS {
                    // The sums over uniform times converge slowly at a singular weight.
                    for (sampling, tolerance) in
                        [(TimeSampling::Importance, 1e-9), (TimeSampling::Uniform, 2e-2)]
                    {
                        let found = of(target, sampling);
                        assert!(
                            (found / expected - 1.0).abs() < tolerance,
                            "{path:?} {weighting:?} {target:?} {sampling:?}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn weights_are_those_of_the_papers_and_their_mean_is_one() {
        for path in paths() {
            for t in [0.1, 0.35, 0.8] {
                let p = path.at(if matches!(path, Path::Chain(_)) {
                    t
                } else {
                    t + 0.003
                });
                let snr = (p.alpha / p.sigma).powi(2);
                let weight = |w: Weighting, target| w.of_noise(&p) * w.of_target(target, &p);
                let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{path:?} {t}: {a} {b}");
                let min = Weighting::MinSnr { gamma: 5.0 };
                close(weight(min, Target::Data), snr.min(5.0));
                close(weight(min, Target::Noise), snr.min(5.0) / snr);
                let unit = p.alpha * p.alpha + p.sigma * p.sigma;
                if (unit - 1.0).abs() < 1e-12 {
                    close(weight(min, Target::V), snr.min(5.0) / (snr + 1.0));
                }
                if !matches!(path, Path::Chain(_)) {
                    let h = 1e-5;
                    let snr_at = |t| path.at(t).log_snr().exp();
                    let rate = (snr_at(p.t + h) - snr_at(p.t - h)) / (2.0 * h);
                    let found = weight(Weighting::EvidenceBound, Target::Data);
                    assert!((found / (-0.5 * rate) - 1.0).abs() < 1e-5, "{path:?} {t}");
                }
            }
            let times = Times::new(
                &path,
                Target::Noise,
                Weighting::EvidenceBound,
                TimeSampling::Importance,
            )
            .unwrap();
            assert!((loss(&times, |_| 1.0) - 1.0).abs() < 2e-3, "{path:?}");
        }
    }

    #[test]
    fn times_have_the_distribution_that_was_asked_for() {
        let logit = Times::new(
            &Path::Linear,
            Target::Velocity,
            Weighting::Uniform,
            TimeSampling::LogitNormal { mean: 0.5, sd: 0.8 },
        )
        .unwrap();
        let n = 20_000;
        let logits: Vec<f64> = (0..n)
            .map(|i| {
                let (p, weight) = logit.at((i as f64 + 0.5) / n as f64);
                assert_eq!(weight, 1.0);
                (p.t / (1.0 - p.t)).ln()
            })
            .collect();
        let mean = logits.iter().sum::<f64>() / n as f64;
        let variance = logits.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n as f64;
        assert!(
            (mean - 0.5).abs() < 1e-3 && (variance - 0.64).abs() < 1e-2,
            "{mean} {variance}"
        );
        // Every level of a chain, each as often.
        let chain = Path::Chain(Chain::new(Schedule::Cosine, 10).unwrap());
        let times = Times::new(&chain, Target::Noise, Weighting::Uniform, TimeSampling::Uniform).unwrap();
        let mut seen = [0; 11];
        (0..1000).for_each(|i| seen[(10.0 * times.at(i as f64 / 1000.0).0.t).round() as usize] += 1);
        assert!(
            seen[0] == 0 && seen[1..].iter().all(|n| (99..=101).contains(n)),
            "{seen:?}"
        );
        // Equal shares of ln SNR where the bound's weight leads.
        let bound = Times::new(
            &Path::Linear,
            Target::Noise,
            Weighting::EvidenceBound,
            TimeSampling::Importance,
        )
        .unwrap();
        for p in [0.1, 0.5, 0.7] {
            let expected = MOST_LOG_SNR * (1.0 - 2.0 * p);
            assert!((bound.at(p).0.log_snr() - expected).abs() < 0.02, "{p}");
        }
        for sd in [0.0, f64::NAN] {
            let sampling = TimeSampling::LogitNormal { mean: 0.0, sd };
            assert!(Times::new(&Path::Linear, Target::Data, Weighting::Uniform, sampling).is_err());
        }
    }
}
