//! Choose scales, and the round numbers along them.

use super::text::{Label, superscript};

/// A range of values along a side of a panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub low: f64,
    pub high: f64,
    pub log: bool,
}

/// Marks along an axis, and the power of ten that their numbers leave out.
pub(super) struct Ticks {
    pub marks: Vec<(f64, String)>,
    pub minor: Vec<f64>,
    pub exponent: i32,
}

impl Ticks {
    /// The label of the axis, with the power of ten that the numbers leave out.
    pub fn complete(&self, label: Label) -> Label {
        match self.exponent {
            0 => label,
            e => label.then(&format!(" (×10{})", superscript(e))),
        }
    }
}

impl Axis {
    /// A linear axis that encloses `low..high`, widened where they are equal.
    pub fn new(low: f64, high: f64) -> Self {
        if high > low && (high - low).is_finite() {
            return Self {
                low,
                high,
                log: false,
            };
        }
        let margin = if low == 0.0 { 1.0 } else { 0.05 * low.abs() };
        Self {
            low: low - margin,
            high: low + margin,
            log: false,
        }
    }

    pub fn fraction(&self, value: f64) -> f64 {
        if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// At most `most` numbered ticks.
    pub fn ticks(&self, most: usize) -> Ticks {
        if self.log && self.high / self.low >= 8.0 {
            return self.decades(most);
        }
        let step = nice((self.high - self.low) / most.max(1) as f64);
        let first = (self.low / step - 1e-9).ceil();
        let count = ((self.high - self.low) / step + 1e-9).floor() as usize + 1;
        let values: Vec<f64> = (0..count)
            .map(|k| (first + k as f64) * step)
            .filter(|&v| v <= self.high + 1e-9 * (self.high - self.low))
            .collect();
        let largest = values.iter().fold(0f64, |m, v| m.max(v.abs()));
        let exponent = match largest {
            m if m >= 1e5 || (m > 0.0 && m < 1e-2) => m.log10().floor() as i32,
            _ => 0,
        };
        let scale = 10f64.powi(exponent);
        let decimals = (-(step / scale * 1.0001).log10().floor()).clamp(0.0, 12.0) as usize;
        let write = |v: f64| {
            let text = format!("{:.decimals$}", v / scale);
            // No minus zero, and a minus sign as long as a plus sign.
            let zero = text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.');
            if zero {
                "0".to_owned()
            } else {
                text.replace('-', "−")
            }
        };
        Ticks {
            marks: values.iter().map(|&v| (v, write(v))).collect(),
            minor: Vec::new(),
            exponent,
        }
    }

    fn decades(&self, most: usize) -> Ticks {
        let (first, last) = (
            (self.low.log10() - 1e-9).ceil() as i32,
            (self.high.log10() + 1e-9).floor() as i32,
        );
        let inside = |v: &f64| (self.low * (1.0 - 1e-9)..=self.high * (1.0 + 1e-9)).contains(v);
        let every = ((last - first + 1).max(1) as usize).div_ceil(most.max(1)) as i32;
        let power = |e: i32| match e {
            -2..=3 => format!("{}", 10f64.powi(e)),
            _ => format!("10{}", superscript(e)),
        };
        let mut marks: Vec<(f64, String)> = (first..=last)
            .filter(|e| e.rem_euclid(every) == 0)
            .map(|e| (10f64.powi(e), power(e)))
            .collect();
        let minor = (first - 1..=last)
            .flat_map(|e| (2..10).map(move |k| f64::from(k) * 10f64.powi(e)))
            .filter(inside)
            .collect();
        if marks.len() < 2 {
            // Under two decades the twos and fives are numbered too.
            for e in first - 1..=last {
                for k in [2.0, 5.0] {
                    let value = k * 10f64.powi(e);
                    let text = match e {
                        -3..=3 => format!("{value:.*}", (-e).max(0) as usize),
                        _ => format!("{k}×10{}", superscript(e)),
                    };
                    marks.extend(inside(&value).then_some((value, text)));
                }
            }
        }
        Ticks {
            marks,
            minor,
            exponent: 0,
        }
    }
}

/// The next 1, 2 or 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let digit = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|d| d * power >= step * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_inside_and_few() {
        for (low, high) in [
            (0.0, 1.0),
            (0.1, 0.5),
            (-3.7, 12.1),
            (8.6e10, 2.8e11),
            (1000.0, 1000.1),
            (-1e-9, 1e-9),
        ] {
            for most in 2..7 {
                let ticks = Axis::new(low, high).ticks(most);
                assert!(
                    ticks.marks.len() <= most + 1 && !ticks.marks.is_empty(),
                    "{low} {high} {most}"
                );
                let slack = 1e-6 * (high - low);
                assert!(
                    ticks
                        .marks
                        .iter()
                        .all(|m| m.0 >= low - slack && m.0 <= high + slack)
                );
                let mut texts: Vec<&String> = ticks.marks.iter().map(|m| &m.1).collect();
                texts.dedup();
                assert_eq!(texts.len(), ticks.marks.len(), "numbers repeat: {texts:?}");
            }
        }
        let ticks = Axis {
            low: 1e-4,
            high: 30.0,
            log: true,
        }
        .ticks(6);
        let texts: Vec<&str> = ticks.marks.iter().map(|m| m.1.as_str()).collect();
        assert_eq!(texts, ["10⁻⁴", "10⁻³", "0.01", "0.1", "1", "10"]);
    }
}
