//! `user: NAME;`, the deadlines, `lease: TIME;`, `memory: SIZE;`, `cpu: NUMBER;`

use robo_model::quantity::{Bytes, MilliCpu, Millis, QuantityError};

use super::super::Checker;
use super::Given;
use crate::code::Code;
use crate::source::Spanned;
use crate::suggest::did_you_mean;
use crate::syntax::{short, told};

/// Longest name of a user on Linux.
const MAX_USER_BYTES: usize = 32;

pub(super) fn user(checker: &mut Checker<'_>, given: Given<'_>) -> Option<Spanned<String>> {
    let text = given.text;
    let good = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if good && text.len() <= MAX_USER_BYTES {
        return Some(checker.spanned(text.to_owned(), given.span()));
    }
    checker.wrong(
        Code::InvalidUser,
        given.span(),
        format!("`{}` is not a user's name", short(text)),
        "letters, digits, `_`, `-` and `.`, starting with a letter or `_`",
        "write the name of a user of the machine, as in `user: svc;`",
    );
    None
}

/// `part` is the part of the value that is the time.
pub(super) fn duration(checker: &mut Checker<'_>, given: Given<'_>, part: &str) -> Option<Millis> {
    let error: QuantityError = match part.parse() {
        Ok(duration) => return Some(duration),
        Err(error) => error,
    };
    let (code, label, help) = if let QuantityError::LongDuration(_) = error {
        (Code::DurationTooLong, "too long", "write at most `365days`; where nothing is written there is no such limit")
    } else {
        let help = "write a number and its unit: `500ms`, `30s`, `5m`, `24h`, `7days`";
        (Code::InvalidDuration, "not a length of time", help)
    };
    checker.wrong(code, given.span_of(part), told(&error, part), label, help);
    None
}

pub(super) fn memory(checker: &mut Checker<'_>, given: Given<'_>) -> Option<Bytes> {
    let error: QuantityError = match given.text.parse() {
        Ok(bytes) => return Some(bytes),
        Err(error) => error,
    };
    let (part, help) = if let QuantityError::SizeUnit { unit, .. } = &error {
        let (number, unit) = given.text.split_at_checked(given.text.len() - unit.len()).unwrap_or((given.text, ""));
        let part = if unit.is_empty() { given.text } else { unit };
        (part, unit_help(number.trim_end(), unit))
    } else {
        (given.text, "write a number and its unit: `512MiB`, `1.5GiB`, `64MB`".to_owned())
    };
    let message = told(&told(&error, given.text), part);
    checker.wrong(Code::InvalidSize, given.span_of(part), message, "not a size", help);
    None
}

/// `MIB` and `mib` are `MiB`; `M` and `m` are taken for it as well, since programs count memory so.
fn unit_help(number: &str, unit: &str) -> String {
    let unit = if unit.len() == 1 { format!("{unit}iB") } else { unit.to_owned() };
    let known = Bytes::UNITS.map(|(name, _)| name);
    let meant = known.iter().find(|name| name.eq_ignore_ascii_case(&unit));
    let number = short(number);
    let plain = || format!("write the unit as well, as in `{number}MiB`");
    match meant {
        Some(meant) => format!("did you mean `{number}{meant}`?"),
        None if unit.is_empty() => plain(),
        None => did_you_mean(&unit, known, plain),
    }
}

pub(super) fn cpu(checker: &mut Checker<'_>, given: Given<'_>) -> Option<MilliCpu> {
    let error: QuantityError = match given.text.parse() {
        Ok(cpu) => return Some(cpu),
        Err(error) => error,
    };
    let thousandths = given.text.strip_suffix('m').and_then(|number| MilliCpu::new(number.parse().ok()?).ok());
    let help = match thousandths {
        Some(cpu) => format!("did you mean `{cpu}`?"),
        None => "write a number of processors: `0.5` for half of one, `2` for two".to_owned(),
    };
    checker.wrong(Code::InvalidCpu, given.span(), told(&error, given.text), "not a share of processors", help);
    None
}
