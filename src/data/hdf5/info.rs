//! Say what is known of datasets and groups without reading them.

use hdf5_pure::{Datatype, DatatypeByteOrder};
use serde::Serialize;

use super::attribute::{Attributes, one_line};

/// What is known of a dataset without reading it. Displays as `maps (30, 64, 64) f32`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetInfo {
    /// The full path inside the file, without a leading slash.
    pub path: String,
    /// The length of each axis, slowest first; empty for a single value.
    pub shape: Vec<u64>,
    /// The element type in short: `f32`, `u64`, `f64 (big-endian)`, `string`…
    pub dtype: String,
    /// The shape of a chunk, where the dataset is stored in chunks.
    pub chunks: Option<Vec<u64>>,
    /// The filters that a chunk goes through when written, in order.
    pub filters: Vec<Filter>,
    /// The attributes.
    pub attributes: Attributes,
    /// The path of the dataset that this one is by a soft link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_to: Option<String>,
}

/// A group and its attributes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupInfo {
    /// The full path inside the file, without a leading slash; the root group is empty.
    pub path: String,
    /// The attributes.
    pub attributes: Attributes,
}

/// One filter of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// Its registered number.
    pub id: u16,
    /// Its name, as far as it is known.
    pub name: Option<String>,
}

impl std::fmt::Display for DatasetInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape: Vec<String> = self.shape.iter().map(u64::to_string).collect();
        write!(
            f,
            "{} ({}) {}",
            one_line(&self.path),
            shape.join(", "),
            self.dtype
        )?;
        match &self.link_to {
            Some(target) => write!(f, " = {}", one_line(target)),
            None => Ok(()),
        }
    }
}

/// The element type in short.
pub(super) fn short(datatype: &Datatype) -> String {
    let order = |order: &DatatypeByteOrder| match order {
        DatatypeByteOrder::LittleEndian => "",
        DatatypeByteOrder::BigEndian => " (big-endian)",
        DatatypeByteOrder::Vax => " (VAX)",
    };
    match datatype {
        Datatype::FloatingPoint { size, byte_order, .. } => {
            format!("f{}{}", u64::from(*size) * 8, order(byte_order))
        }
        Datatype::FixedPoint {
            size,
            byte_order,
            layout,
        } => {
            let sign = if layout.signed { 'i' } else { 'u' };
            // One byte has no order, whatever its flag says.
            let order = if *size == 1 { "" } else { order(byte_order) };
            format!("{sign}{}{order}", u64::from(*size) * 8)
        }
        Datatype::String { size, .. } => format!("string[{size}]"),
        Datatype::VariableLength { is_string: true, .. } => "string".to_owned(),
        other => one_line(&other.to_string()),
    }
}
