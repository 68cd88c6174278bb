//! Durations as people write them, and as events and messages have them.

use std::time::Duration;

/// Longer than anybody waits, and still small enough to be scaled or added to a time without
/// overflow.
const LONGEST: Duration = Duration::from_secs(3660 * 24 * 3600);

/// Reads `90`, `90s`, `5m`, `1h`, `14d` or `250ms`; a bare number is seconds. At
/// most ten years.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` does not start with a number"))?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(3600)),
        "d" => Duration::from_secs(number.saturating_mul(24 * 3600)),
        _ => return Err(format!("unknown unit `{unit}`: use ms, s, m, h or d")),
    };
    if duration > LONGEST {
        return Err(format!("`{text}` is longer than ten years (3660d)"));
    }
    Ok(duration)
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_default_to_seconds() {
        assert_eq!(parse("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse("2d"), Ok(Duration::from_secs(172_800)));
        assert!(parse("soon").is_err());
        assert!(parse("5 min").is_err());
        assert!(parse("").is_err());
        assert_eq!(parse("3660d"), Ok(LONGEST));
        assert!(parse("3661d").is_err());
        assert!(parse(&u64::MAX.to_string()).is_err());
    }
}
