//! Shares: of processors, and of a number of instances.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::QuantityError;
use super::decimal::scaled;

/// Processor time in thousandths of a processor: `0.5` is half of one, `2` are two. From 0.001 to 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = u32))]
pub struct MilliCpu(u32);

/// The most that may be asked for, in thousandths: no machine that robo runs on has more processors.
const MAX_MILLI_CPU: u32 = 1024 * 1000;

impl MilliCpu {
    /// From thousandths of a processor.
    ///
    /// # Errors
    /// When they are 0, or more than 1024 processors.
    pub fn new(thousandths: u32) -> Result<Self, QuantityError> {
        let cpu = Self(thousandths);
        if (1..=MAX_MILLI_CPU).contains(&thousandths) { Ok(cpu) } else { Err(QuantityError::Cpu(cpu.to_string())) }
    }

    /// In thousandths of a processor.
    #[must_use]
    pub const fn thousandths(self) -> u32 {
        self.0
    }
}

impl FromStr for MilliCpu {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let found = scaled(text.trim(), 1000).ok().and_then(|number| u32::try_from(number).ok());
        found.and_then(|number| Self::new(number).ok()).ok_or_else(|| QuantityError::Cpu(text.to_owned()))
    }
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl TryFrom<u32> for MilliCpu {
    type Error = QuantityError;
    fn try_from(thousandths: u32) -> Result<Self, QuantityError> {
        Self::new(thousandths)
    }
}

impl From<MilliCpu> for u32 {
    fn from(cpu: MilliCpu) -> Self {
        cpu.0
    }
}

/// A whole percentage from 1 to 100; written `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    /// All of it.
    pub const ALL: Self = Self(100);

    /// The number before `%`, from 1 to 100.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// How many of `count` that is, rounded up, so that a percentage of something is never nothing.
    #[must_use]
    pub fn of(self, count: usize) -> usize {
        let percent = usize::from(self.0);
        // Hundreds and the rest apart, so that nothing overflows.
        count / 100 * percent + (count % 100 * percent).div_ceil(100)
    }
}

impl FromStr for Percent {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| (1..=100).contains(number));
        number.map(Self).ok_or_else(|| QuantityError::Percent(text.to_owned()))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_in_thousandths() {
        for (text, thousandths, shown) in [
            ("0.5", 500, "0.5"),
            ("2", 2000, "2"),
            ("0.001", 1, "0.001"),
            ("1024", MAX_MILLI_CPU, "1024"),
            ("1.250", 1250, "1.25"),
        ] {
            assert_eq!(text.parse(), MilliCpu::new(thousandths), "{text}");
            assert_eq!(MilliCpu::new(thousandths).unwrap().to_string(), shown);
        }
        for bad in ["", "0", "0.0001", "0.0005", "1024.001", "500m", "-1", "1e3", ".5", "99999999999999999999"] {
            assert_eq!(bad.parse::<MilliCpu>(), Err(QuantityError::Cpu(bad.to_owned())));
        }
        assert!(serde_json::from_str::<MilliCpu>("0").is_err());
    }

    #[test]
    fn percentages_are_whole_and_round_up() {
        for (text, count, expect) in
            [("1%", 3, 1), ("10%", 100, 10), ("50%", 3, 2), ("100%", usize::MAX, usize::MAX), ("7%", 0, 0)]
        {
            let percent: Percent = text.parse().unwrap();
            assert_eq!(percent.of(count), expect, "{text} of {count}");
            assert_eq!(percent.to_string(), text);
        }
        for bad in ["", "%", "0%", "101%", "10", "1.5%", "-1%", "+1%", "10 %", "256%"] {
            assert_eq!(bad.parse::<Percent>(), Err(QuantityError::Percent(bad.to_owned())));
        }
    }
}
