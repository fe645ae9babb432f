//! Write floating-point numbers so that text formats keep those that JSON has no word for.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// One number, as itself or as `"NaN"`, `"inf"`, `"-inf"`.
struct Real(f64);

impl Serialize for Real {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() || !serializer.is_human_readable() {
            serializer.serialize_f64(self.0)
        } else {
            serializer.serialize_str(&self.0.to_string())
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return f64::deserialize(deserializer).map(Self);
        }
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(x) => Ok(Self(x)),
            NumberOrText::Text(text) => match text.as_str() {
                "NaN" | "inf" | "-inf" => text.parse().map(Self).map_err(D::Error::custom),
                _ => Err(D::Error::custom(format!("{text:?} is not a number"))),
            },
        }
    }
}

pub(super) fn serialize<S: Serializer, C: Reals>(reals: &C, serializer: S) -> Result<S::Ok, S::Error> {
    reals.write(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>, C: Reals>(deserializer: D) -> Result<C, D::Error> {
    C::read(deserializer)
}

/// What can hold such numbers.
pub(super) trait Reals: Sized {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl Reals for f64 {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Real(*self).serialize(serializer)
    }
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Real::deserialize(deserializer)?.0)
    }
}

impl Reals for Option<f64> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.map(Real).serialize(serializer)
    }
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Real>::deserialize(deserializer)?.map(|real| real.0))
    }
}

impl Reals for Vec<f64> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|&x| Real(x)))
    }
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reals = Vec::<Real>::deserialize(deserializer)?;
        Ok(reals.into_iter().map(|real| real.0).collect())
    }
}

impl Reals for Option<Vec<f64>> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reals = self
            .as_ref()
            .map(|reals| reals.iter().map(|&x| Real(x)).collect::<Vec<_>>());
        reals.serialize(serializer)
    }
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reals = Option::<Vec<Real>>::deserialize(deserializer)?;
        Ok(reals.map(|reals| reals.into_iter().map(|real| real.0).collect()))
    }
}

impl Reals for Vec<Option<f64>> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|x| x.map(Real)))
    }
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reals = Vec::<Option<Real>>::deserialize(deserializer)?;
        Ok(reals.into_iter().map(|real| real.map(|real| real.0)).collect())
    }
}
