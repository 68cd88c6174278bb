//! What a comparison of kernels finds.

use serde::Serialize;

use super::parts::Part;

/// The kind of a thing that kernels are compared by, in the order of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A struct.
    Struct,
    /// A union.
    Union,
    /// An enum with a name.
    Enum,
    /// A value of an enum without.
    Constant,
    /// A typedef.
    Typedef,
    /// A function.
    Function,
    /// A function that BPF programs may call.
    Kfunc,
    /// The arguments of a tracepoint.
    Tracepoint,
    /// A variable.
    Variable,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Of what kind of thing.
    pub class: Class,
    /// Its name.
    pub name: String,
    /// The module that it is in; `None` for the image.
    pub module: Option<String>,
    /// What happened.
    #[serde(rename = "change")]
    pub happened: Happened,
    /// What it was, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What changed of its members or values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// What happened to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Happened {
    /// Only the newer kernel has it.
    Added,
    /// Only the older one.
    Removed,
    /// Both, but it is not the same.
    Changed,
}

/// The step from one kernel to another.
#[derive(Debug, Serialize)]
pub struct Step {
    /// The name of the first kernel.
    pub before: String,
    /// That of the second.
    pub after: String,
    /// Why they could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<String>,
    /// What was left out of the comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The differences, by kind and name.
    pub changes: Vec<Change>,
}
