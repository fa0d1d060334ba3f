//! Durations, sizes and points in time: as written in a file, and as sent.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&humantime::format_duration(self.duration()).to_string())
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
}

impl FromStr for Millis {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bad = || QuantityError::Duration(text.to_owned());
        let duration = humantime::parse_duration(text.trim()).map_err(|_| bad())?;
        let millis = u64::try_from(duration.as_millis()).map_err(|_| bad())?;
        if millis == 0 {
            return Err(QuantityError::ZeroDuration(text.to_owned()));
        }
        Ok(Self(millis))
    }
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
    fn durations_are_read_with_their_unit() {
        assert_eq!("5m".parse(), Ok(Millis::from_secs(300)));
        assert_eq!("1h 30m".parse(), Ok(Millis::from_secs(5400)));
        assert_eq!("500ms".parse(), Ok(Millis(500)));
        for bad in ["", "5", "m", "-5s", "5 parsecs", "0s"] {
            assert!(bad.parse::<Millis>().is_err(), "{bad}");
        }
    }
}
