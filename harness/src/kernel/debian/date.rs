//! Dates of Release files.

use chrono::{DateTime, Utc};

/// A date in the format of Release files: `Sat, 28 Nov 2026 08:00:00 UTC`.
pub(super) fn date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim().replace("UTC", "+0000");
    DateTime::parse_from_rfc2822(&text).ok().map(Into::into)
}
