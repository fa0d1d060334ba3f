//! A picture as SVG: boxes, arrows, a title and a legend; no script, nothing from elsewhere.
//!
//! - `boxes`: what stands in a box, and how large it is; `metrics`: how wide a text is.
//! - `layout`: where everything goes; `route`: the way of each arrow around the boxes.
//! - `paint`: the document.

mod boxes;
mod layout;
mod metrics;
mod paint;
mod route;

use super::picture::Picture;
pub(super) use layout::Direction;
use layout::Layout;

/// Most boxes of one drawing: more are not readable on any screen, and the layout takes much more than linear time.
const BOXES: usize = 100;

/// Most arrows of one drawing, for the same reasons.
const ARROWS: usize = 200;

/// A drawing wider than this is tried on its side. A page has about this width.
const WIDTH: f64 = 1400.0;

/// Why there is no drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{boxes} boxes and {arrows} arrows are too many for one picture; at most {BOXES} and {ARROWS} are drawn")]
pub(crate) struct TooLarge {
    boxes: usize,
    arrows: usize,
}

/// Where a drawing will stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Alone, as a file.
    File,
    /// In a page that has a title of its own.
    Page,
}

/// Draws `picture`.
///
/// # Errors
/// When it is too large to be read, or to be laid out soon.
pub(crate) fn svg(picture: &Picture<'_>, place: Place) -> Result<String, TooLarge> {
    let (boxes, arrows) = (picture.nodes.len(), picture.edges.len());
    if boxes > BOXES || arrows > ARROWS {
        return Err(TooLarge { boxes, arrows });
    }
    let contents = boxes::contents(picture);
    let down = layout::layout(picture, &contents, Direction::Down);
    let layout = if down.width > WIDTH && down.width > 2.0 * down.height {
        let right = layout::layout(picture, &contents, Direction::Right);
        if lengthy(&right) < lengthy(&down) { right } else { down }
    } else {
        down
    };
    Ok(paint::document(picture, &contents, &layout, place))
}

/// Everything at its place, for tests to look at.
#[cfg(test)]
pub(super) fn placed(picture: &Picture<'_>, direction: Direction) -> Layout {
    layout::layout(picture, &boxes::contents(picture), direction)
}

/// How far a drawing is from the shape of a page.
fn lengthy(layout: &Layout) -> f64 {
    (layout.width / layout.height).max(layout.height / layout.width)
}
