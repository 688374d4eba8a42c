//! What lines and text look like.

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::element::PathElement;
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontStyle, FontTransform, IntoFont, RGBAColor, RGBColor, ShapeStyle, TextStyle,
};

pub(super) type Area<B> = DrawingArea<B, Shift>;
pub(super) type Drawn<B, T = ()> =
    Result<T, DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Colours that differ to every eye, after Okabe and Ito, without those too light for lines.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
pub(super) const INK: RGBColor = RGBColor(33, 37, 41);
pub(super) const QUIET: RGBColor = RGBColor(92, 99, 106);
pub(super) const GRID: RGBColor = RGBColor(226, 229, 232);
pub(super) const BUDGET: RGBColor = RGBColor(170, 0, 40);

/// The colour of a series; paler where the colours are used a second time.
pub(super) fn color_of(place: usize) -> RGBAColor {
    let color = COLORS[place % COLORS.len()];
    if place < COLORS.len() { color.to_rgba() } else { color.mix(0.45) }
}

/// A straight line with gaps.
pub(super) fn dashed<B: DrawingBackend>(
    area: &Area<B>,
    (x0, y0): (i32, i32),
    (x1, y1): (i32, i32),
    style: ShapeStyle,
) -> Drawn<B> {
    const DASH: i32 = 6;
    const STEP: i32 = 10;
    let length = (x1 - x0).abs().max((y1 - y0).abs());
    let (right, down) = ((x1 - x0).signum(), (y1 - y0).signum());
    let mut at = 0;
    while at < length {
        let end = (at + DASH).min(length);
        let (from, to) = ((x0 + right * at, y0 + down * at), (x0 + right * end, y0 + down * end));
        area.draw(&PathElement::new(vec![from, to], style))?;
        at += STEP;
    }
    Ok(())
}

pub(super) fn style(
    size: i32,
    color: &'static RGBColor,
    across: HPos,
    along: VPos,
    weight: FontStyle,
) -> TextStyle<'static> {
    let font = ("sans-serif", size).into_font().style(weight).transform(FontTransform::None);
    TextStyle::from(font).color(color).pos(Pos::new(across, along))
}
