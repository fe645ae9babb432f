//! Walk from data to noise in a straight line, and convert what can be said about a point on the way.
//!
//! Data `x0` is at t = 0 and noise `x1 ~ N(0, I)` at t = 1:
//!
//! ```text
//! x_t = (1 − t) x0 + t x1,      v = dx_t/dt = x1 − x0,      λ(t) = ln SNR = 2 ln((1 − t)/t)
//! ```
//!
//! (Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003.) For data of unit variance,
//! `x_t` has the standard deviation `σ = √((1−t)² + t²)`, and `u = ((1 − t) x1 − t x0)/σ` is the
//! combination of data and noise that is not correlated with it, of unit variance too. So
//! `v = ((2t − 1) x_t + σ u)/σ²`, and only `u` is left to be learned: its error is σ times that of v.

/// A time on the straight path, with what depends on it alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    /// From 0 (data) to 1 (noise).
    pub t: f64,
    /// Log signal-to-noise ratio, 2 ln((1 − t)/t).
    pub log_snr: f64,
    /// Standard deviation of x_t for data of unit variance.
    pub scale: f64,
}

impl Time {
    /// The time with this log signal-to-noise ratio: t = 1/(1 + exp(λ/2)).
    pub fn from_log_snr(log_snr: f64) -> Self {
        let t = 1.0 / (1.0 + (0.5 * log_snr).exp());
        Self {
            t,
            log_snr,
            scale: t.hypot(1.0 - t),
        }
    }

    /// The time `t`, strictly between 0 and 1.
    pub fn from_t(t: f64) -> Self {
        Self {
            t,
            log_snr: 2.0 * ((1.0 - t) / t).ln(),
            scale: t.hypot(1.0 - t),
        }
    }

    /// `x_t/σ`, of unit variance, and the target `u`, for one number of data and of noise.
    pub fn mix(self, x0: f32, x1: f32) -> (f32, f32) {
        let (a, b) = (((1.0 - self.t) / self.scale) as f32, (self.t / self.scale) as f32);
        (a * x0 + b * x1, a * x1 - b * x0)
    }
}

/// Where on the path training looks: λ from a logistic distribution, cut where next to nothing is left to
/// learn.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeDistribution {
    /// The λ looked at most.
    pub centre: f64,
    /// Width of the logistic distribution.
    pub scale: f64,
    /// Smallest and largest λ; a likelihood integrates over the same range.
    pub range: [f64; 2],
}

impl Default for TimeDistribution {
    fn default() -> Self {
        Self {
            centre: 0.0,
            scale: 1.5,
            range: [-9.0, 9.0],
        }
    }
}

impl TimeDistribution {
    /// The λ below which a fraction `p` of the distribution lies.
    pub fn quantile(&self, p: f64) -> f64 {
        let [low, high] = self.range.map(|l| logistic((l - self.centre) / self.scale));
        let p = low + p.clamp(0.0, 1.0) * (high - low);
        (self.centre + self.scale * (p / (1.0 - p)).ln()).clamp(self.range[0], self.range[1])
    }

    /// Probability density in λ.
    pub fn density(&self, log_snr: f64) -> f64 {
        let [low, high] = self.range.map(|l| logistic((l - self.centre) / self.scale));
        let p = logistic((log_snr - self.centre) / self.scale);
        p * (1.0 - p) / (self.scale * (high - low))
    }
}

fn logistic(a: f64) -> f64 {
    1.0 / (1.0 + (-a).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Identities between f32 numbers.
    const SAME: f64 = 1e-6;

    #[test]
    fn conversions_are_identities() {
        for t in [0.01, 0.3, 0.5, 0.9] {
            let time = Time::from_t(t);
            let back = Time::from_log_snr(time.log_snr);
            assert!((back.t - t).abs() < 1e-12 && (back.scale - time.scale).abs() < 1e-12);
            let (x0, x1) = (0.7f32, -1.2f32);
            let (x, u) = time.mix(x0, x1);
            let xt = (1.0 - t) * x0 as f64 + t * x1 as f64;
            assert!((x as f64 * time.scale - xt).abs() < SAME);
            let v = ((2.0 * t - 1.0) * xt + time.scale * u as f64) / time.scale.powi(2);
            assert!((v - (x1 - x0) as f64).abs() < SAME);
        }
    }

    #[test]
    fn the_distribution_of_times_normalises_and_inverts() {
        let times = TimeDistribution::default();
        let n = 20_000;
        let step = (times.range[1] - times.range[0]) / n as f64;
        let mut mass = 0.0;
        for i in 0..n {
            let l = times.range[0] + (i as f64 + 0.5) * step;
            mass += times.density(l) * step;
            if i % 1000 == 0 {
                assert!((times.quantile(mass) - l).abs() < 0.05, "{l}");
            }
        }
        assert!((mass - 1.0).abs() < 1e-6);
    }
}
