//! The way of each arrow around the boxes.
//!
//! The layout gives an arrow one free column in each rank it passes. Inside a rank the line stays in its
//! column, and between ranks, where no box is, it bends: so no line crosses a box.

use super::layout::{Line, Rect};

/// An arrow as the layout has it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) edge: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    /// From box to box, downwards or upwards.
    pub(super) points: Vec<(f64, f64)>,
    pub(super) label: Option<(String, f64, f64)>,
}

/// Between the ends of two lines at one side of a box.
const PORT_GAP: f64 = 16.0;

/// Between a box's corner and the end of a line.
const CORNER: f64 = 12.0;

/// Heights that are one rank differ by less.
const SAME: f64 = 0.5;

/// From where to where a rank reaches.
#[derive(Debug, Clone, Copy)]
struct Band {
    middle: f64,
    half: f64,
}

/// A line for each way; `flip` exchanges the axes of what is written.
pub(super) fn lines(boxes: &[Rect], ways: Vec<Way>, flip: bool) -> Vec<Line> {
    let bands = bands(boxes, &ways);
    let ports = ports(boxes, &ways);
    let flat = |(x, y): (f64, f64)| if flip { (y, x) } else { (x, y) };
    ways.into_iter()
        .zip(ports)
        .map(|(way, (start, end))| {
            let path = path(&corners(&way, boxes, &bands, start, end), flip);
            let label = way.label.map(|(text, x, y)| {
                let (x, y) = flat((x, y));
                (text, x, y)
            });
            Line { edge: way.edge, path, label }
        })
        .collect()
}

/// The ranks, from the top, by the boxes and labels in them.
fn bands(boxes: &[Rect], ways: &[Way]) -> Vec<Band> {
    let labels = ways.iter().filter_map(|way| way.label.as_ref()).map(|(_, _, y)| Band { middle: *y, half: 8.0 });
    let mut all: Vec<Band> = boxes.iter().map(|b| Band { middle: b.y, half: b.height / 2.0 }).chain(labels).collect();
    all.sort_by(|a, b| a.middle.total_cmp(&b.middle));
    let mut bands: Vec<Band> = Vec::new();
    for band in all {
        match bands.last_mut() {
            Some(last) if (last.middle - band.middle).abs() < SAME => last.half = last.half.max(band.half),
            Some(_) | None => bands.push(band),
        }
    }
    bands
}

/// Half of the height of the rank at `y`; nothing where there is none.
fn half_at(bands: &[Band], y: f64) -> f64 {
    let at = bands.partition_point(|band| band.middle < y - SAME);
    bands.get(at).filter(|band| (band.middle - y).abs() < SAME).map_or(0.0, |band| band.half)
}

/// Where each way leaves and arrives: side by side, in the order of where they come from.
fn ports(boxes: &[Rect], ways: &[Way]) -> Vec<(f64, f64)> {
    // At each box, above and below: the next point of a line, and which end of which way it is.
    let mut sides: Vec<[Vec<(f64, usize, bool)>; 2]> = vec![Default::default(); boxes.len()];
    for (at, way) in ways.iter().enumerate() {
        let down = goes_down(way, boxes);
        let inner = way.points.get(1..way.points.len().saturating_sub(1)).unwrap_or_default();
        let x_of = |node: usize| boxes.get(node).map_or(0.0, |rect| rect.x);
        let first = inner.first().map_or_else(|| x_of(way.to), |point| point.0);
        let last = inner.last().map_or_else(|| x_of(way.from), |point| point.0);
        if let Some(side) = sides.get_mut(way.from).and_then(|sides| sides.get_mut(usize::from(down))) {
            side.push((first, at, true));
        }
        if let Some(side) = sides.get_mut(way.to).and_then(|sides| sides.get_mut(usize::from(!down))) {
            side.push((last, at, false));
        }
    }
    let mut ports = vec![(0.0, 0.0); ways.len()];
    for (rect, sides) in boxes.iter().zip(&mut sides) {
        for side in sides {
            side.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            spread(rect, side, &mut ports);
        }
    }
    ports
}

fn spread(rect: &Rect, side: &[(f64, usize, bool)], ports: &mut [(f64, f64)]) {
    let room = (rect.width - 2.0 * CORNER).max(0.0);
    #[expect(clippy::cast_precision_loss, reason = "at most as many as arrows are drawn")]
    let (gaps, number) = (side.len().saturating_sub(1).max(1) as f64, side.len() as f64);
    let gap = PORT_GAP.min(room / gaps);
    let mut x = rect.x - gap * (number - 1.0) / 2.0;
    for (_, way, start) in side {
        if let Some(port) = ports.get_mut(*way) {
            if *start {
                port.0 = x;
            } else {
                port.1 = x;
            }
        }
        x += gap;
    }
}

fn goes_down(way: &Way, boxes: &[Rect]) -> bool {
    let y_of = |node: usize| boxes.get(node).map_or(0.0, |rect| rect.y);
    y_of(way.from) <= y_of(way.to)
}

/// Where a line turns: into and out of each rank it passes.
fn corners(way: &Way, boxes: &[Rect], bands: &[Band], start: f64, end: f64) -> Vec<(f64, f64)> {
    let sign = if goes_down(way, boxes) { 1.0 } else { -1.0 };
    let rect = |node: usize| boxes.get(node).copied().unwrap_or_default();
    let (from, to) = (rect(way.from), rect(way.to));
    let mut corners = vec![(start, from.y + sign * from.height / 2.0), (start, from.y + sign * half_at(bands, from.y))];
    for (x, y) in way.points.get(1..way.points.len().saturating_sub(1)).unwrap_or_default() {
        let half = half_at(bands, *y);
        corners.push((*x, y - sign * half));
        corners.push((*x, y + sign * half));
    }
    corners.push((end, to.y - sign * half_at(bands, to.y)));
    corners.push((end, to.y - sign * to.height / 2.0));
    corners
}

/// Straight along a rank, a bend between two.
fn path(corners: &[(f64, f64)], flip: bool) -> String {
    let shown = |x: f64, y: f64| if flip { format!("{y:.1},{x:.1}") } else { format!("{x:.1},{y:.1}") };
    let mut path = String::new();
    let mut before: Option<(f64, f64)> = None;
    for (x, y) in corners {
        match before {
            None => path.push_str(&format!("M{}", shown(*x, *y))),
            Some((bx, by)) if (bx - x).abs() < SAME => {
                if (by - y).abs() >= SAME {
                    path.push_str(&format!("L{}", shown(*x, *y)));
                }
            }
            Some((bx, by)) => {
                let middle = f64::midpoint(by, *y);
                path.push_str(&format!("C{} {} {}", shown(bx, middle), shown(*x, middle), shown(*x, *y)));
            }
        }
        before = Some((*x, *y));
    }
    path
}
