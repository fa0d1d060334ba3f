//! Durations, sizes, shares and points in time: as written in a file, and as sent.

mod decimal;
mod share;
mod size;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_DURATION;

pub use self::share::{MilliCpu, Percent};
pub use self::size::Bytes;

/// A length of time in whole milliseconds; written `500ms`, `30s`, `5m`, `24h`, `7days`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Millis(pub u64);

impl Millis {
    /// `seconds` seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1000;

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The crate's months of 30.44 days make `2months 29days 2h 52m 48s` of 90 days.
        let rest = humantime::format_duration(Duration::from_millis(self.0 % DAY));
        let days = match self.0 / DAY {
            0 => return f.pad(&rest.to_string()),
            1 => "1day".to_owned(),
            days => format!("{days}days"),
        };
        f.pad(&if self.0.is_multiple_of(DAY) { days } else { format!("{days} {rest}") })
    }
}

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a duration.
    #[error("`{0}` is not a duration; write a number and a unit, as in `500ms`, `30s`, `5m`, `24h`")]
    Duration(String),
    /// A duration of nothing where something is needed.
    #[error("`{0}` is no time at all; a deadline must be longer than zero")]
    ZeroDuration(String),
    /// A duration longer than [`MAX_DURATION`].
    #[error("`{0}` is too long; at most {MAX_DURATION} are allowed")]
    LongDuration(String),
    /// Not a size.
    #[error("`{0}` is not a size; write a number and a unit, as in `512MiB`, `1.5GiB`, `64MB`")]
    Size(String),
    /// A number without a unit, or with one that there is not.
    #[error("`{text}` has {}; one of `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB` is needed", unit_told(.unit))]
    SizeUnit {
        /// The whole text.
        text: String,
        /// What stands after the number.
        unit: String,
    },
    /// A decimal that ends within a byte.
    #[error("`{0}` is not a whole number of bytes")]
    BrokenSize(String),
    /// More than fits into 64 bits.
    #[error("`{0}` is more than any machine has")]
    LargeSize(String),
    /// A size of nothing.
    #[error("`{0}` is nothing; a limit must be larger than zero")]
    ZeroSize(String),
    /// Not a share of processors.
    #[error("`{0}` is not a number of processors from 0.001 to 1024, in thousandths at most")]
    Cpu(String),
    /// Not a percentage.
    #[error("`{0}` is not a percentage from `1%` to `100%`")]
    Percent(String),
}

impl FromStr for Millis {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let long = || QuantityError::LongDuration(text.to_owned());
        let duration = humantime::parse_duration(text.trim()).map_err(|error| {
            let overflow = error == humantime::DurationError::NumberOverflow;
            if overflow { long() } else { QuantityError::Duration(text.to_owned()) }
        })?;
        let millis = u64::try_from(duration.as_millis()).map_err(|_| long())?;
        if millis == 0 {
            return Err(QuantityError::ZeroDuration(text.to_owned()));
        }
        if Self(millis) > MAX_DURATION {
            return Err(long());
        }
        Ok(Self(millis))
    }
}

fn unit_told(unit: &str) -> String {
    if unit.is_empty() { "no unit".to_owned() } else { format!("the unit `{unit}`, which there is not") }
}

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The time that has passed from `earlier` to `self`; zero when the clock went back.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// The point `by` later.
    #[must_use]
    pub const fn plus(self, by: Millis) -> Self {
        Self(self.0.saturating_add(by.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_read() {
        let check = |text: &str| assert_eq!(text.parse::<Millis>().unwrap().to_string(), text);
        for text in ["500ms", "1m 30s", "1day", "7days", "90days", "365days", "31days 1h", "1day 1ms"] {
            check(text);
        }
        assert_eq!(Millis(0).to_string(), "0s");
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!("5m".parse(), Ok(Millis::from_secs(300)));
        assert_eq!("1h 30m".parse(), Ok(Millis::from_secs(5400)));
        assert_eq!("500ms".parse(), Ok(Millis(500)));
        assert_eq!("365days".parse(), Ok(MAX_DURATION));
        for bad in ["", "5", "m", "-5s", "5 parsecs"] {
            assert_eq!(bad.parse::<Millis>(), Err(QuantityError::Duration(bad.to_owned())));
        }
        assert_eq!("0s".parse::<Millis>(), Err(QuantityError::ZeroDuration("0s".to_owned())));
        for long in ["366days", "9000years", "18446744073709551615s", "99999999999999999999s"] {
            assert_eq!(long.parse::<Millis>(), Err(QuantityError::LongDuration(long.to_owned())));
        }
    }
}
