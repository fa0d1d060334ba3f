//! Sizes of memory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::QuantityError;
use super::decimal::{DecimalError, scaled};

/// A size in whole bytes; written `512MiB`, `1.5GiB`, `64MB`, `100kB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bytes(pub u64);

impl Bytes {
    /// The units as written, each with its bytes. Upper and lower case differ: `kB` are 1000 bytes, `KiB` are 1024.
    pub const UNITS: [(&'static str, u32); 7] = [
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("kB", 1000),
        ("B", 1),
    ];
}

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim();
        let all = || text.to_owned();
        let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(end).unwrap_or((text, ""));
        let unit = unit.trim_start();
        let known = Self::UNITS.iter().find(|(name, _)| *name == unit);
        // A wrong number is told of before a wrong unit.
        let bytes = scaled(number, known.map_or(1 << 30, |(_, scale)| *scale)).map_err(|error| match error {
            DecimalError::NotANumber => QuantityError::Size(all()),
            DecimalError::Broken => QuantityError::BrokenSize(all()),
            DecimalError::TooLarge => QuantityError::LargeSize(all()),
        });
        if known.is_none() && !matches!(bytes, Err(QuantityError::Size(_))) {
            return Err(QuantityError::SizeUnit { text: all(), unit: unit.to_owned() });
        }
        match bytes? {
            0 => Err(QuantityError::ZeroSize(all())),
            bytes => Ok(Self(bytes)),
        }
    }
}

/// In the largest unit that gives a whole number.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = Self::UNITS.iter().find(|(_, scale)| self.0 != 0 && self.0.is_multiple_of(u64::from(*scale)));
        let (unit, scale) = fitting.copied().unwrap_or(("B", 1));
        f.pad(&format!("{}{unit}", self.0 / u64::from(scale)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_exact() {
        for (text, bytes, shown) in [
            ("512MiB", 512 << 20, "512MiB"),
            ("1.5GiB", 3 << 29, "1536MiB"),
            ("0.5 KiB", 512, "512B"),
            ("64MB", 64_000_000, "64MB"),
            ("2000kB", 2_000_000, "2MB"),
            ("1024B", 1024, "1KiB"),
            ("007B", 7, "7B"),
            ("17179869183GiB", 17_179_869_183 << 30, "17179869183GiB"),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
    }

    #[test]
    fn wrong_sizes_say_why() {
        let check = |text: &str, expect: fn(String) -> QuantityError| {
            assert_eq!(text.parse::<Bytes>(), Err(expect(text.to_owned())));
        };
        for text in ["", "MiB", "-1MiB", ".5GiB", "1.GiB", "1..5GiB", "1,5GiB", "a lot", "1.5.2MiB"] {
            check(text, QuantityError::Size);
        }
        for (text, unit) in [("5", ""), ("5mb", "mb"), ("5M", "M"), ("5KB", "KB"), ("5 MiB x", "MiB x"), ("5é", "é")]
        {
            let expect = QuantityError::SizeUnit { text: text.to_owned(), unit: unit.to_owned() };
            assert_eq!(text.parse::<Bytes>(), Err(expect));
        }
        check("0.3KiB", QuantityError::BrokenSize);
        check("1.5B", QuantityError::BrokenSize);
        check("0.0000000000000000000000000001GiB", QuantityError::BrokenSize);
        check("0MiB", QuantityError::ZeroSize);
        check("17179869184GiB", QuantityError::LargeSize);
        check("99999999999999999999B", QuantityError::LargeSize);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(bytes in 1_u64..) {
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }
    }
}
