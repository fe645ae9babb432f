//! Choose the device at run time, and run on it what is written for any.

use std::{fmt, str::FromStr};

use crate::{
    Cpu, Device,
    error::{ModelError, Result},
};

/// Where networks run: `cpu`, `cuda`, `cuda:N`, or `auto`, which takes the first graphics processor where there is one.
///
/// ```
/// use armilla_models::{Device, DeviceChoice, Field, OnDevice};
///
/// struct Total(Vec<f32>);
///
/// impl OnDevice for Total {
///     type Output = f32;
///     fn run<D: Device>(self, device: D) -> f32 {
///         let field = Field::rows(&device, self.0, 1).unwrap();
///         field.to_vec().iter().sum()
///     }
/// }
///
/// let device: DeviceChoice = "cpu".parse()?;
/// assert_eq!(device.run(Total(vec![1.0, 2.0]))?, 3.0);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A graphics processor if there is one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The graphics processor of this number.
    Cuda(usize),
}

/// What can run on any device.
pub trait OnDevice {
    /// What it gives.
    type Output;

    /// Runs on `device`.
    fn run<D: Device>(self, device: D) -> Self::Output;
}

impl DeviceChoice {
    /// The device that is meant: never [`Auto`](Self::Auto), and one that is there.
    ///
    /// # Errors
    /// `Invalid` for a graphics processor that is not there, or where this build knows none: the text says what to do.
    pub fn settled(self) -> Result<Self> {
        let found = graphics_processors();
        match (self, found) {
            (Self::Auto, Some(1..)) => Ok(Self::Cuda(0)),
            (Self::Auto | Self::Cpu, _) => Ok(Self::Cpu),
            (Self::Cuda(n), Some(count)) if n < count => Ok(self),
            (Self::Cuda(_), Some(0)) => Err(ModelError::Invalid(format!(
                "there is no {self}: no graphics processor of NVIDIA's answers; use cpu or auto"
            ))),
            (Self::Cuda(_), Some(count)) => {
                let names: Vec<_> = (0..count).map(|n| Self::Cuda(n).to_string()).collect();
                Err(ModelError::Invalid(format!(
                    "there is no {self}; there are cpu, {}",
                    names.join(", ")
                )))
            }
            (Self::Cuda(_), None) => Err(ModelError::Invalid(format!(
                "{self} is not in this build: build with `--features cuda`, or use cpu"
            ))),
        }
    }

    /// Runs `job` on the device that is meant.
    ///
    /// # Errors
    /// As [`settled`](Self::settled), and `Device` where the device cannot be started.
    pub fn run<J: OnDevice>(self, job: J) -> Result<J::Output> {
        match self.settled()? {
            #[cfg(feature = "cuda")]
            Self::Cuda(n) => {
                // The seed is of a generator that nothing here draws from.
                let device = crate::Cuda::try_build(n, 0).map_err(ModelError::device)?;
                Ok(job.run(device))
            }
            _ => Ok(job.run(Cpu::default())),
        }
    }
}

/// How many graphics processors answer; `None` where this build cannot ask.
fn graphics_processors() -> Option<usize> {
    #[cfg(feature = "cuda")]
    {
        use cudarc::driver::result;
        // Without a driver, or with one that finds no device, there is none.
        let count = result::init().and_then(|()| result::device::get_count());
        Some(count.map_or(0, |count| usize::try_from(count).unwrap_or(0)))
    }
    #[cfg(not(feature = "cuda"))]
    None
}

impl FromStr for DeviceChoice {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| {
                    ModelError::Invalid(format!(
                        "`{text}` is no device: use auto, cpu, cuda or cuda:N with a number N"
                    ))
                }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda:0", DeviceChoice::Cuda(0)),
            ("cuda:12", DeviceChoice::Cuda(12)),
        ] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap(), choice);
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains("auto, cpu, cuda or cuda:N"), "{error}");
        }
    }

    #[test]
    fn what_is_meant_is_there() {
        assert_eq!(DeviceChoice::Cpu.settled().unwrap(), DeviceChoice::Cpu);
        assert_ne!(DeviceChoice::Auto.settled().unwrap(), DeviceChoice::Auto);
        let error = DeviceChoice::Cuda(99).settled().unwrap_err().to_string();
        let what = if cfg!(feature = "cuda") {
            "there is no cuda:99"
        } else {
            "--features cuda"
        };
        assert!(error.contains(what), "{error}");
    }

    #[test]
    fn a_job_runs_on_what_is_meant() {
        struct Name;
        impl OnDevice for Name {
            type Output = &'static str;
            fn run<D: Device>(self, _: D) -> &'static str {
                std::any::type_name::<D>()
            }
        }
        assert!(DeviceChoice::Cpu.run(Name).unwrap().ends_with("Cpu"));
    }
}
