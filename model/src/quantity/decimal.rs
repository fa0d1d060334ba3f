//! Decimals read exactly: no rounding, no floating point.

/// Why a text is no decimal of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecimalError {
    /// Not digits, or digits with one dot between them.
    NotANumber,
    /// It ends within one of the wanted parts.
    Broken,
    /// It does not fit.
    TooLarge,
}

/// Most digits after the dot: with them and a scale below 2^36 nothing overflows 128 bits.
const MAX_FRACTION_DIGITS: usize = 27;

/// `text` times `scale`, which must give a whole number: `1.5` times 1000 is 1500.
pub(super) fn scaled(text: &str, scale: u32) -> Result<u64, DecimalError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(DecimalError::NotANumber);
    }
    let whole: u64 = whole.parse().map_err(|_| DecimalError::TooLarge)?;
    let whole = whole.checked_mul(u64::from(scale)).ok_or(DecimalError::TooLarge)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > MAX_FRACTION_DIGITS {
        return Err(DecimalError::Broken);
    }
    let one = fraction.bytes().fold(1_u128, |one, _| one * 10);
    let parts = fraction.bytes().fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0')) * u128::from(scale);
    if parts % one != 0 {
        return Err(DecimalError::Broken);
    }
    let parts = u64::try_from(parts / one).map_err(|_| DecimalError::TooLarge)?;
    whole.checked_add(parts).ok_or(DecimalError::TooLarge)
}
