//! Ports that are never handed out: `5432,6000-6100`.

use std::fmt;
use std::str::FromStr;

/// Most ranges in one list. Somebody wrote them by hand.
pub const MAX_PORT_RANGES: usize = 256;

/// Ports, as ranges: in their order, none touches another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortRanges(Vec<(u16, u16)>);

/// Why a text is no list of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortRangesError {
    /// A part of it is neither a port nor a range.
    #[error("`{0}` is neither a port (1 to 65535) nor a range of ports, as in `5432,6000-6100`")]
    Part(String),
    /// The second port of a range is lower than the first.
    #[error("the range `{0}` ends before it begins: write `{second}-{first}`", first = .1.0, second = .1.1)]
    Backwards(String, (u16, u16)),
    /// Too many.
    #[error("{0} ranges, at most {MAX_PORT_RANGES} are allowed")]
    TooMany(usize),
}

impl PortRanges {
    /// True when `port` is among them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= port);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| port <= *last)
    }

    /// True when there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for PortRanges {
    type Err = PortRangesError;

    fn from_str(text: &str) -> Result<Self, PortRangesError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let count = text.split(',').count();
        if count > MAX_PORT_RANGES {
            return Err(PortRangesError::TooMany(count));
        }
        let mut ranges = text.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if u32::from(first) <= u32::from(*end) + 1 => *end = last.max(*end),
                Some(_) | None => merged.push((first, last)),
            }
        }
        Ok(Self(merged))
    }
}

impl fmt::Display for PortRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{first}")?;
            if first != last {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

fn range(part: &str) -> Result<(u16, u16), PortRangesError> {
    let part = part.trim();
    let wrong = || PortRangesError::Part(part.to_owned());
    let port = |text: &str| match text.trim().parse::<u16>() {
        Ok(0) | Err(_) => Err(wrong()),
        Ok(port) => Ok(port),
    };
    let (first, last) = match part.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(part)?, port(part)?),
    };
    if last < first {
        return Err(PortRangesError::Backwards(part.to_owned(), (first, last)));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ports_are_read() {
        let check = |text: &str, expect: Result<&str, &str>| match (text.parse::<PortRanges>(), expect) {
            (Ok(ranges), Ok(expect)) => {
                assert_eq!(ranges.to_string(), expect, "{text}");
                for port in [1, 9, 10, 11, 20, 21, 5432, u16::MAX] {
                    let plain = expect.split(',').filter(|part| !part.is_empty()).any(|part| {
                        let (first, last) = part.split_once('-').unwrap_or((part, part));
                        (first.parse().unwrap()..=last.parse().unwrap()).contains(&port)
                    });
                    assert_eq!(ranges.contains(port), plain, "{text}: {port}");
                }
            }
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
            (got, expect) => panic!("{text}: {got:?}, expected {expect:?}"),
        };
        check("", Ok(""));
        check("5432", Ok("5432"));
        check(" 5432 , 10-20,15-30,31 ", Ok("10-31,5432"));
        check("65535,1-10", Ok("1-10,65535"));
        check("0", Err("`0` is neither a port"));
        check("70000", Err("`70000` is neither"));
        check("10-", Err("`10-` is neither"));
        check("10,,20", Err("`` is neither"));
        check("a-b", Err("`a-b` is neither"));
        check("20-10", Err("write `10-20`"));
        check(&vec!["1"; MAX_PORT_RANGES + 1].join(","), Err("257 ranges"));
    }
}
