//! Hold the attributes of groups and datasets.

use std::collections::BTreeMap;
use std::fmt;

use hdf5_pure::{AttrValue, Datatype};
use serde::Serialize;

/// The attributes of one object, by name.
pub type Attributes = BTreeMap<String, Attribute>;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Attribute {
    /// One integer.
    Integer(i64),
    /// One number.
    Number(f64),
    /// One text.
    Text(String),
    /// Several integers.
    Integers(Vec<i64>),
    /// Several numbers.
    Numbers(Vec<f64>),
    /// Several texts.
    Texts(Vec<String>),
    /// Something this version cannot hold, in words.
    Other(String),
}

impl Attribute {
    /// The value as one number; integers convert, a list of one counts.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(x) => Some(*x),
            Self::Integer(i) => Some(*i as f64),
            Self::Numbers(x) if x.len() == 1 => Some(x[0]),
            Self::Integers(i) if i.len() == 1 => Some(i[0] as f64),
            _ => None,
        }
    }

    /// The value as numbers; integers convert, one counts as a list of one.
    pub fn to_f64s(&self) -> Option<Vec<f64>> {
        match self {
            Self::Numbers(x) => Some(x.clone()),
            Self::Integers(i) => Some(i.iter().map(|&i| i as f64).collect()),
            _ => Some(vec![self.as_f64()?]),
        }
    }

    /// The value as one text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as texts; one counts as a list of one.
    pub fn to_texts(&self) -> Option<Vec<String>> {
        match self {
            Self::Texts(texts) => Some(texts.clone()),
            Self::Text(text) => Some(vec![text.clone()]),
            _ => None,
        }
    }

    pub(super) fn from_file(value: &AttrValue) -> Self {
        if let Some(text) = value.as_str() {
            return Self::Text(text.to_owned());
        }
        if let Some(texts) = value.as_strings() {
            return Self::Texts(texts.to_vec());
        }
        let scalar = !value.type_name().ends_with("[]");
        if let Some(integers) = value.to_i64s() {
            return match integers[..] {
                [one] if scalar => Self::Integer(one),
                _ => Self::Integers(integers),
            };
        }
        if let Some(numbers) = value.to_f64s() {
            return match numbers[..] {
                [one] if scalar => Self::Number(one),
                _ => Self::Numbers(numbers),
            };
        }
        // What is left are unsigned integers beyond the range of i64.
        Self::Other(one_line(&value.to_string()))
    }

    pub(super) fn unsupported(datatype: &Datatype) -> Self {
        Self::Other(format!("({})", one_line(&datatype.to_string())))
    }

    pub(super) fn to_file(&self) -> Option<AttrValue> {
        Some(match self {
            Self::Integer(i) => AttrValue::I64(*i),
            Self::Number(x) => AttrValue::F64(*x),
            Self::Integers(i) => AttrValue::I64Array(i.clone()),
            Self::Numbers(x) => AttrValue::F64Array(x.clone()),
            // Variable-length UTF-8, which is what h5py itself writes for a `str`.
            Self::Text(text) => AttrValue::VarLenString(text.clone()),
            Self::Texts(texts) => AttrValue::VarLenStringArray(texts.clone()),
            Self::Other(_) => return None,
        })
    }
}

/// Text from a file, made safe to print: on one line and without control characters.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Debug>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
            // Long enough for the mass table of a snapshot and the names of a large table.
            const SHOWN: usize = 12;
            write!(f, "[")?;
            for (i, item) in items.iter().take(SHOWN).enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                write!(f, "{comma}{item:?}")?;
            }
            if items.len() > SHOWN {
                write!(f, ", … {} in all", items.len())?;
            }
            write!(f, "]")
        }
        match self {
            Self::Integer(i) => write!(f, "{i}"),
            Self::Number(x) => write!(f, "{x}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integers(i) => list(f, i),
            Self::Numbers(x) => list(f, x),
            Self::Texts(t) => list(f, t),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl From<f64> for Attribute {
    fn from(x: f64) -> Self {
        Self::Number(x)
    }
}

impl From<i64> for Attribute {
    fn from(i: i64) -> Self {
        Self::Integer(i)
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&[String]> for Attribute {
    fn from(texts: &[String]) -> Self {
        Self::Texts(texts.to_vec())
    }
}

impl From<&[i64]> for Attribute {
    fn from(numbers: &[i64]) -> Self {
        Self::Integers(numbers.to_vec())
    }
}

impl From<&[f64]> for Attribute {
    fn from(numbers: &[f64]) -> Self {
        Self::Numbers(numbers.to_vec())
    }
}
