//! Patterns of dates, as Java's `SimpleDateFormat` has them.
//!
//! Letters are fields and how often one stands there is its width; `'…'` is text, `''` a quote; what is no ASCII
//! letter stands for itself.

use std::fmt::Write as _;

/// The letters that are fields.
const LETTERS: &str = "GyMdkHmsSEDFwWahKzZYuXL";

/// The widest ISO 8601 zone, `XXX`: `+00:00`.
const WIDEST_ISO_ZONE: usize = 3;

/// Widest number that is written. Java has no bound; a pattern is one line, and no field has that many digits.
const WIDEST: usize = 64;

const NANOS_PER_MILLI: u64 = 1_000_000;
const MILLIS_PER_DAY: u64 = 86_400_000;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From the weekday of the first day of 1970.
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// Why a pattern is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DatePatternError {
    /// A letter that is no field.
    #[error("`{letter}` is no field of a date")]
    Letter {
        /// The letter.
        letter: char,
        /// Its first byte in the pattern.
        at: usize,
    },
    /// A quote that is not closed.
    #[error("the quote `'` is not closed")]
    Quote {
        /// Its byte in the pattern.
        at: usize,
    },
    /// More than three `X`.
    #[error("`X` stands there {width} times, and may three times at most")]
    Zone {
        /// The byte of the first.
        at: usize,
        /// How many.
        width: usize,
    },
}

impl DatePatternError {
    /// The bytes of the pattern that are wrong.
    pub(super) fn range(self) -> std::ops::Range<usize> {
        match self {
            Self::Letter { at, .. } | Self::Quote { at } => at..at + 1,
            Self::Zone { at, width } => at..at + width,
        }
    }
}

/// The time `nanos` after the beginning of 1970, in UTC, as `pattern` has it.
///
/// # Errors
/// When the pattern is none.
pub(super) fn format(pattern: &str, nanos: u64) -> Result<String, DatePatternError> {
    let moment = Fields::of(nanos);
    let mut out = String::new();
    let mut quote = None;
    let mut chars = pattern.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\'' {
            if chars.next_if(|(_, next)| *next == '\'').is_some() {
                out.push('\'');
            } else {
                quote = if quote.is_some() { None } else { Some(at) };
            }
        } else if quote.is_some() || !c.is_ascii_alphabetic() {
            out.push(c);
        } else {
            let mut width = 1;
            while chars.next_if(|(_, next)| *next == c).is_some() {
                width += 1;
            }
            if !LETTERS.contains(c) {
                return Err(DatePatternError::Letter { letter: c, at });
            }
            if c == 'X' && width > WIDEST_ISO_ZONE {
                return Err(DatePatternError::Zone { at, width });
            }
            moment.field(c, width, &mut out);
        }
    }
    quote.map_or(Ok(out), |at| Err(DatePatternError::Quote { at }))
}

/// A point in time, taken apart.
#[derive(Debug, Clone, Copy)]
struct Fields {
    day: u64,
    milli_of_day: u64,
    year: u64,
    month: u64,
    day_of_month: u64,
    day_of_year: u64,
}

impl Fields {
    fn of(nanos: u64) -> Self {
        let millis = nanos / NANOS_PER_MILLI;
        let day = millis / MILLIS_PER_DAY;
        let (mut year, mut rest) = (1970, day);
        // 64 bits of nanoseconds end in 2554.
        while rest >= days_of(year) {
            rest -= days_of(year);
            year += 1;
        }
        let day_of_year = rest;
        let mut month = 0;
        while rest >= days_of_month(year, month) {
            rest -= days_of_month(year, month);
            month += 1;
        }
        let milli_of_day = millis % MILLIS_PER_DAY;
        Self { day, milli_of_day, year, month, day_of_month: rest + 1, day_of_year: day_of_year + 1 }
    }

    fn field(self, letter: char, width: usize, out: &mut String) {
        let hour = self.milli_of_day / 3_600_000;
        let weekday = self.day % 7;
        // Weeks begin on Sunday, as in Java where nothing else is said.
        let since_sunday = (weekday + 4) % 7;
        let week = |day: u64| (day + 5 - since_sunday) / 7 + 1;
        let number = match letter {
            'G' => return out.push_str("AD"),
            'y' | 'Y' if width == 2 => return number(self.year % 100, 2, out),
            'y' | 'Y' => self.year,
            'M' | 'L' if width >= 3 => return name(&MONTHS, self.month, width, out),
            'M' | 'L' => self.month + 1,
            'E' => return name(&DAYS, weekday, width, out),
            'a' => return out.push_str(if hour < 12 { "AM" } else { "PM" }),
            'z' => return out.push_str("UTC"),
            'Z' => return out.push_str("+0000"),
            'X' => return out.push('Z'),
            'd' => self.day_of_month,
            'k' => (hour + 23) % 24 + 1,
            'H' => hour,
            'K' => hour % 12,
            'h' => (hour + 11) % 12 + 1,
            'm' => self.milli_of_day / 60_000 % 60,
            's' => self.milli_of_day / 1000 % 60,
            'S' => self.milli_of_day % 1000,
            'D' => self.day_of_year,
            'F' => (self.day_of_month - 1) / 7 + 1,
            'w' => week(self.day_of_year),
            'W' => week(self.day_of_month),
            // `u`: Monday is 1, Sunday 7. No other letter gets here.
            _ => (weekday + 3) % 7 + 1,
        };
        self::number(number, width, out);
    }
}

fn number(value: u64, width: usize, out: &mut String) {
    let width = width.min(WIDEST);
    // Writing to a text cannot fail.
    write!(out, "{value:0width$}").unwrap_or_default();
}

/// A name, whole from four letters on, else its first three.
fn name(names: &[&str], index: u64, width: usize, out: &mut String) {
    let name = usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default();
    out.push_str(if width >= 4 { name } else { name.get(..3).unwrap_or(name) });
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

const fn days_of(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// `month` from 0.
const fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-29 (a Thursday), 13:07:09.045.
    const LEAP: u64 = 1_709_212_029_045 * NANOS_PER_MILLI;

    fn check(pattern: &str, expect: Result<&str, std::ops::Range<usize>>) {
        let got = format(pattern, LEAP).map_err(DatePatternError::range);
        assert_eq!(got, expect.map(str::to_owned), "{pattern}");
    }

    #[test]
    fn patterns_are_those_of_java() {
        check("", Ok(""));
        check("yyyy-MM-dd'T'HH:mm:ss.SSSX", Ok("2024-02-29T13:07:09.045Z"));
        check("yy MMM MMMM LLL E EEEE a h K k H", Ok("24 Feb February Feb Thu Thursday PM 1 1 13 13"));
        check("G D DDDD F w W u z Z XXX YYYY", Ok("AD 60 0060 5 9 5 4 UTC +0000 Z 2024"));
        check("'o''clock' '' é1_", Ok("o'clock ' é1_"));
        check("''''", Ok("''"));
        check("invalid pattern", Err(0..1));
        check("yyyy b", Err(5..6));
        check("HH 'h", Err(3..4));
        check("HHXXXX", Err(2..6));
        assert_eq!(format("yyyy D EEE HH", 0).unwrap(), "1970 1 Thu 00");
        assert!(format(&"S".repeat(100_000), 0).unwrap().len() <= WIDEST);
        assert!(format("yyyy", u64::MAX).is_ok());
    }
}
