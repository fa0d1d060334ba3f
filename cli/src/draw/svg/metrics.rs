//! How wide a text is in Helvetica, and so in Arial and Liberation Sans, which are as wide.
//!
//! A drawing cannot ask the browser; these are the advance widths of the font's metrics, in thousandths of its size.

/// From U+0020 to U+007E.
const ADVANCES: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
];

/// Of any other letter, by the columns it takes in a terminal.
const OTHER: u16 = 600;

/// Bold letters are this much wider.
const BOLD: f64 = 1.08;

/// The width of `text` at `size`, for regular weight.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| f64::from(advance(c)) * size / 1000.0).sum()
}

/// The width of `text` at `size`, for bold weight.
pub(super) fn bold_width(text: &str, size: f64) -> f64 {
    width(text, size) * BOLD
}

fn advance(c: char) -> u16 {
    let at = u32::from(c).checked_sub(0x20).and_then(|at| usize::try_from(at).ok());
    let known = at.and_then(|at| ADVANCES.get(at).copied());
    known.unwrap_or_else(|| {
        let columns = console::measure_text_width(c.encode_utf8(&mut [0; 4]));
        OTHER.saturating_mul(u16::try_from(columns).unwrap_or(1))
    })
}
