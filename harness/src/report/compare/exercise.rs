//! Everything that a comparison does with a file of somebody else, for the fuzz target.

use super::comparison::Comparison;
use super::junit_side;
use super::words::CompareFormat;

/// Compares a JUnit file with itself, in all formats; returns whether a test regressed.
pub fn compare_junit(file: &[u8]) -> Result<bool, String> {
    let run = junit_side::parse(file)?;
    let comparison = Comparison::new(&run, &run, &[]).map_err(|error| error.to_string())?;
    for format in [
        CompareFormat::Text,
        CompareFormat::Markdown,
        CompareFormat::Json,
    ] {
        comparison
            .text_in(format)
            .map_err(|error| error.to_string())?;
    }
    Ok(comparison.has_regressed())
}
