//! Numbers as people read them. For tables only; JSON and CSV carry them raw.

/// `1.5 GiB`.
#[expect(
    clippy::cast_precision_loss,
    reason = "one digit after the point is shown"
)]
pub(crate) fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{count} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `3d 4h`, at most two units.
pub(crate) fn duration_ms(ms: u64) -> String {
    let mut rest = ms;
    let mut parts = Vec::new();
    for (length, unit) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
        (1, "ms"),
    ] {
        if rest >= length && parts.len() < 2 {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        } else if !parts.is_empty() {
            break;
        }
    }
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        parts.join(" ")
    }
}

/// A limit, or that there is none.
pub(crate) fn limit(value: Option<u64>, show: fn(u64) -> String) -> String {
    value.map_or_else(|| "unlimited".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_people_write_them() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(duration_ms(604_800_000), "7d");
        assert_eq!(duration_ms(273_600_000), "3d 4h");
        assert_eq!(duration_ms(90_500), "1m 30s");
        assert_eq!(duration_ms(86_400_001), "1d");
        assert_eq!(duration_ms(0), "0s");
    }
}
