//! Points in time as parts of file names: in UTC, and in the order of the times when they are sorted as texts.

use robo_model::quantity::UnixMillis;

/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// Days of 400 years; then the calendar begins anew.
const ERA: u64 = 146_097;

/// Days from the first of March of the year 0 to 1970-01-01. Years begin in March here, so that a leap day is the last one.
const SHIFT: u64 = 719_468;

/// The last millisecond of the year 9999: one more digit would break the order.
const LAST: u64 = 253_402_300_799_999;

/// As in `20260131T134502.123Z`.
pub(super) fn written(at: UnixMillis) -> String {
    let at = at.0.min(LAST);
    let (year, month, day) = date(at / DAY);
    let rest = at % DAY;
    let (seconds, millis) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{millis:03}Z")
}

/// What [`written`] wrote; nothing for any other text.
pub(super) fn read(text: &str) -> Option<UnixMillis> {
    let (day, rest) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, millis) = rest.split_once('.')?;
    let number = |text: &str, length| {
        let fits = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| text.parse::<u64>().ok())?
    };
    let (day, time, millis) = (number(day, 8)?, number(time, 6)?, number(millis, 3)?);
    let seconds = time / 10_000 * 3600 + time / 100 % 100 * 60 + time % 100;
    let days = days(day / 10_000, day / 100 % 100, day % 100)?;
    let at = UnixMillis(days * DAY + seconds * 1000 + millis);
    // A thirtieth of February is another day.
    (written(at) == text).then_some(at)
}

/// Year, month and day of the day that is so many after 1970-01-01.
const fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + SHIFT;
    let of_era = shifted % ERA;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + shifted / ERA * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// So many days after 1970-01-01; nothing for what is before, or no month or day.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let in_era = year % 400;
    let of_era = in_era * 365 + in_era / 4 - in_era / 100 + of_year;
    (year / 400 * ERA + of_era).checked_sub(SHIFT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_are_written_as_they_are_known() {
        let check = |at: u64, text: &str| {
            assert_eq!((written(UnixMillis(at)).as_str(), read(text)), (text, Some(UnixMillis(at))));
        };
        check(0, "19700101T000000.000Z");
        check(951_782_400_000, "20000229T000000.000Z");
        check(1_769_867_102_123, "20260131T134502.123Z");
        check(LAST, "99991231T235959.999Z");
        assert_eq!(written(UnixMillis(u64::MAX)), "99991231T235959.999Z");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for bad in [
            "",
            "20260131",
            "20260131T134502Z",
            "20260230T000000.000Z",
            "20261301T000000.000Z",
            "20260100T000000.000Z",
            "20260131T246060.000Z",
            "00000101T000000.000Z",
            "19691231T235959.999Z",
            "+2026131T134502.123Z",
            "20260131T134502.123",
            "20260131T134502.1234Z",
            "２0260131T134502.123Z",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn texts_have_the_order_of_the_times(a in 0..=LAST, b in 0..=LAST) {
            let (first, second) = (written(UnixMillis(a)), written(UnixMillis(b)));
            prop_assert_eq!(a.cmp(&b), first.cmp(&second));
            prop_assert_eq!(read(&first), Some(UnixMillis(a)));
        }
    }
}
