//! Times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use robo_model::quantity::{Millis, UnixMillis};

/// Now, by this machine's clock.
pub(crate) fn now() -> UnixMillis {
    UnixMillis(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default())
}

/// How long it is, in one unit that says enough: `0s`, `59s`, `12m`, `3h`, `5d`.
pub(crate) fn short(span: Millis) -> String {
    let seconds = span.0 / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago `at` was.
pub(crate) fn ago(at: UnixMillis, now: UnixMillis) -> String {
    short(now.since(at))
}

/// `2026-01-31 13:45:02` in `zone`.
pub(crate) fn full(at: UnixMillis, zone: &TimeZone) -> String {
    zoned(at, zone).map_or_else(|| "?".into(), |t| t.strftime("%F %T").to_string())
}

/// `13:45:02` in `zone` when it is of the same day as `now`, `Jan 31 13:45:02` else.
pub(crate) fn clock(at: UnixMillis, now: UnixMillis, zone: &TimeZone) -> String {
    let (Some(time), Some(today)) = (zoned(at, zone), zoned(now, zone)) else { return "?".into() };
    let form = if time.date() == today.date() { "%T" } else { "%b %d %T" };
    time.strftime(form).to_string()
}

fn zoned(at: UnixMillis, zone: &TimeZone) -> Option<jiff::Zoned> {
    let millis = i64::try_from(at.0).ok()?;
    Some(Timestamp::from_millisecond(millis).ok()?.to_zoned(zone.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_unit() {
        let told = [0, 59, 60, 3599, 7200, 200_000].map(|s| short(Millis::from_secs(s)));
        assert_eq!(told, ["0s", "59s", "1m", "59m", "2h", "2d"]);
        assert_eq!(ago(UnixMillis(5000), UnixMillis(2000)), "0s", "a clock that went back");
    }

    #[test]
    fn only_other_days_show_their_date() {
        let (at, later) = (UnixMillis(1_000), UnixMillis(90_000_000));
        assert_eq!(clock(at, at, &TimeZone::UTC), "00:00:01");
        assert_eq!(clock(at, later, &TimeZone::UTC), "Jan 01 00:00:01");
        assert_eq!(full(at, &TimeZone::UTC), "1970-01-01 00:00:01");
    }
}
