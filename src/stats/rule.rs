//! stub until the merge
/// Goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// a
    Superior,
    /// b
    NonInferior,
    /// c
    Equivalent,
}
