//! Dates of Release files.

use chrono::{DateTime, Utc};

/// A date as Release files have it: `Sat, 28 Nov 2026 08:00:00 UTC`.
pub(super) fn date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim().replace("UTC", "+0000");
    DateTime::parse_from_rfc2822(&text).ok().map(Into::into)
}
