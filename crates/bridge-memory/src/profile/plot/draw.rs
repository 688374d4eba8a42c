//! Drawing a recording, with whatever draws lines and text.

use bridge_core::Result;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::element::{Circle, PathElement, Polygon, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, FontStyle, RGBAColor, WHITE};

use super::marks::{LETTER, Placed, place, rows, shortened};
use super::pen::{Area, BUDGET, Drawn, GRID, INK, QUIET, color_of, dashed, style};
use super::scale::{Unit, digits, size};
use super::{Picture, failed};
use crate::profile::recording::{Point, Recording, Series, SeriesKind};

const TEXT: i32 = 15;
const TITLE: i32 = 22;
/// Pixels of a row of text, of the margin, of the title and what is around it, of the labels left of
/// the lines, and of an entry of the legend, which has two rows.
const ROW: i32 = 20;
const MARGIN: i32 = 20;
const HEAD: i32 = 68;
const Y_LABELS: i32 = 56;
const ENTRY: i32 = 2 * ROW + 8;

type Axes<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub(super) fn draw<B: DrawingBackend>(picture: &Picture<'_>, area: &Area<B>) -> Result<()> {
    let drawn = try_draw(picture, area);
    drawn.map_err(|error| failed("draw a picture", &error))
}

fn try_draw<B: DrawingBackend>(picture: &Picture<'_>, area: &Area<B>) -> Drawn<B> {
    area.fill(&WHITE)?;
    let (width, height) = (picture.size.0.cast_signed(), picture.size.1.cast_signed());
    let recording = picture.recording;
    let ranges = Ranges::of(picture);

    let title_letters = usize::try_from((width - 2 * MARGIN) / 12).unwrap_or(0);
    let title = shortened(&picture.title, title_letters);
    let bold = style(TITLE, &INK, HPos::Left, VPos::Center, FontStyle::Bold);
    area.draw(&Text::new(title, (MARGIN, 28), bold))?;

    let legend_width = legend_width(picture, &ranges, width);
    let (left, right) = (MARGIN + Y_LABELS, width - legend_width - MARGIN);
    let x = |seconds: f64| {
        let part = seconds / ranges.seconds.size / ranges.right;
        left + (part * f64::from(right - left)).round() as i32
    };
    let marks = place(&recording.marks, x, left, right);

    let mut builder = ChartBuilder::on(area);
    builder.margin_left(MARGIN).margin_right(width - right).margin_bottom(MARGIN - 8);
    builder.margin_top(HEAD + rows(&marks) * ROW);
    builder.x_label_area_size(52).y_label_area_size(Y_LABELS);
    let mut chart = builder.build_cartesian_2d(0.0..ranges.right, 0.0..ranges.top)?;
    draw_axes(&mut chart, &ranges)?;
    let (corner, bottom) =
        (chart.backend_coord(&(0.0, ranges.top)), chart.backend_coord(&(0.0, 0.0)).1);
    let unit = style(TEXT, &QUIET, HPos::Right, VPos::Bottom, FontStyle::Normal);
    area.draw(&Text::new(ranges.bytes.name, (corner.0 - 8, corner.1 - 6), unit))?;

    draw_marks(area, &marks, (corner.1, bottom))?;
    for (place, series) in recording.series.iter().enumerate() {
        match series.kind {
            SeriesKind::Capacity if ranges.shows(series) => {
                draw_capacity(area, &chart, &ranges, recording, place)?;
            }
            SeriesKind::Capacity => {}
            _ => draw_series(area, &chart, &ranges, recording, place)?,
        }
    }
    draw_budget(area, &chart, &ranges, picture)?;
    let legend = (width - legend_width, corner.1);
    draw_legend(area, picture, &ranges, legend, (legend_width - MARGIN, height - MARGIN - ROW))?;
    let unlabelled =
        recording.marks.len() - marks.iter().filter(|mark| mark.label.is_some()).count();
    if unlabelled > 0 {
        let note = format!("{unlabelled} marks unlabelled");
        let quiet = style(TEXT, &QUIET, HPos::Left, VPos::Center, FontStyle::Normal);
        area.draw(&Text::new(note, (legend.0, height - MARGIN), quiet))?;
    }
    area.present()
}

/// The units of the axes and how far they go, in these units.
struct Ranges {
    bytes: Unit,
    seconds: Unit,
    top: f64,
    right: f64,
    /// The most bytes that are drawn.
    highest: u64,
    /// Where the budget's line is, where it can be shown.
    budget: Option<f64>,
}

impl Ranges {
    /// The most bytes shown. A budget that is far above everything would press the lines flat, and
    /// is only told.
    fn of(picture: &Picture<'_>) -> Self {
        let recording = picture.recording;
        let (capacities, others): (Vec<_>, Vec<_>) =
            recording.series.iter().partition(|series| series.kind == SeriesKind::Capacity);
        let most = others.iter().map(|series| series.summary.max).max().unwrap_or(0);
        let is_near = |limit: &u64| *limit <= most.saturating_mul(5);
        let shown_limit = picture.budget.as_ref().map(|(_, bytes)| *bytes).filter(is_near);
        let capacities = capacities.iter().map(|series| series.summary.max).filter(is_near);
        let highest = capacities.chain(shown_limit).fold(most, u64::max).max(1);
        let ends = recording.points.iter().map(|point| point.until);
        let latest =
            ends.chain(recording.marks.iter().map(|mark| mark.seconds)).fold(0.0, f64::max);
        let (bytes, seconds) = (Unit::of_bytes(highest), Unit::of_seconds(latest));
        Self {
            top: highest as f64 * 1.1 / bytes.size,
            right: if latest > 0.0 { latest / seconds.size } else { 1.0 },
            budget: shown_limit.map(|limit| limit as f64 / bytes.size),
            highest,
            bytes,
            seconds,
        }
    }

    /// Whether the whole series is within the picture.
    fn shows(&self, series: &Series) -> bool {
        series.summary.max <= self.highest
    }
}

/// The colour of a series; that of what is reserved is also its capacity's.
fn color(recording: &Recording, place: usize) -> RGBAColor {
    let before = &recording.series[..place];
    let lines = before.iter().filter(|series| series.kind != SeriesKind::Capacity).count();
    let is_capacity = recording.series[place].kind == SeriesKind::Capacity;
    color_of(if is_capacity { lines.saturating_sub(1) } else { lines })
}

fn draw_axes<B: DrawingBackend>(chart: &mut Axes<'_, B>, ranges: &Ranges) -> Drawn<B> {
    let labels = style(TEXT, &QUIET, HPos::Left, VPos::Top, FontStyle::Normal);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(1)
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(QUIET)
        .label_style(labels.clone())
        .axis_desc_style(labels)
        .x_desc(format!("time ({})", ranges.seconds.name))
        .x_label_formatter(&|x| digits(*x))
        .y_label_formatter(&|y| digits(*y))
        .x_labels(10)
        .y_labels(8)
        .draw()
}

fn draw_series<B: DrawingBackend>(
    area: &Area<B>,
    chart: &Axes<'_, B>,
    ranges: &Ranges,
    recording: &Recording,
    place: usize,
) -> Drawn<B> {
    let color = color(recording, place);
    let at = |seconds: f64, bytes: u64| {
        chart.backend_coord(&(seconds / ranges.seconds.size, bytes as f64 / ranges.bytes.size))
    };
    let line_style = color.stroke_width(2);
    let has = |point: &Point| point.values.get(place).copied().flatten();
    // Where a sample is missing, the line has a gap.
    for run in recording.points.split(|point| has(point).is_none()) {
        let seen: Vec<_> = run.iter().filter_map(|point| Some((point, has(point)?))).collect();
        if seen.iter().any(|(_, seen)| seen.min < seen.max) {
            let upper = seen.iter().flat_map(|&(point, seen)| {
                [at(point.seconds, seen.max), at(point.until, seen.max)]
            });
            let lower = seen.iter().rev().flat_map(|&(point, seen)| {
                [at(point.until, seen.min), at(point.seconds, seen.min)]
            });
            area.draw(&Polygon::new(upper.chain(lower).collect::<Vec<_>>(), color.mix(0.2)))?;
        }
        let line: Vec<_> = seen.iter().map(|&(point, seen)| at(point.until, seen.last)).collect();
        match (line.first(), line.last()) {
            // Too short to be seen as a line.
            (Some(first), Some(last)) if first.0 == last.0 => {
                area.draw(&Circle::new(*last, 3, color.filled()))?;
            }
            (None, _) => {}
            _ => area.draw(&PathElement::new(line, line_style))?,
        }
    }
    Ok(())
}

/// A dashed line in steps: from each sample to the next, the capacity was what it was then.
fn draw_capacity<B: DrawingBackend>(
    area: &Area<B>,
    chart: &Axes<'_, B>,
    ranges: &Ranges,
    recording: &Recording,
    place: usize,
) -> Drawn<B> {
    let at = |seconds: f64, bytes: u64| {
        chart.backend_coord(&(seconds / ranges.seconds.size, bytes as f64 / ranges.bytes.size))
    };
    let seen =
        |point: &Point| Some((point.until, point.values.get(place).copied().flatten()?.last));
    let style = color(recording, place).stroke_width(2);
    for run in recording.points.split(|point| seen(point).is_none()) {
        let mut steps: Vec<(i32, i32)> = Vec::new();
        for (seconds, bytes) in run.iter().filter_map(seen) {
            let (x, y) = at(seconds, bytes);
            if let Some(&(_, before)) = steps.last()
                && before != y
            {
                steps.extend([(x, before), (x, y)]);
            } else if steps.is_empty() {
                steps.push((x, y));
            }
        }
        let end = run.iter().filter_map(seen).next_back();
        steps.extend(end.map(|(seconds, bytes)| at(seconds, bytes)));
        for step in steps.windows(2) {
            dashed(area, step[0], step[1], style)?;
        }
    }
    Ok(())
}

fn draw_budget<B: DrawingBackend>(
    area: &Area<B>,
    chart: &Axes<'_, B>,
    ranges: &Ranges,
    picture: &Picture<'_>,
) -> Drawn<B> {
    let (Some((label, bytes)), Some(budget)) = (&picture.budget, ranges.budget) else {
        return Ok(());
    };
    let (left, y) = chart.backend_coord(&(0.0, budget));
    let right = chart.backend_coord(&(ranges.right, budget)).0;
    dashed(area, (left, y), (right, y), BUDGET.stroke_width(2))?;
    let style = style(TEXT, &BUDGET, HPos::Left, VPos::Bottom, FontStyle::Bold);
    area.draw(&Text::new(format!("{label} {}", size(*bytes)), (left + 10, y - 5), style))
}

/// A line for each mark, and its label where there is room for one.
fn draw_marks<B: DrawingBackend>(
    area: &Area<B>,
    placed: &[Placed],
    (top, bottom): (i32, i32),
) -> Drawn<B> {
    for Placed { x, label } in placed {
        let row = label.as_ref().map(|label| top - ROW / 2 - label.row as i32 * ROW);
        let start = row.map_or(top, |y| y - ROW / 2 + 2);
        dashed(area, (*x, start), (*x, bottom), QUIET.stroke_width(1))?;
        if let (Some(label), Some(y)) = (label, row) {
            let (at, anchor) =
                if label.left > *x { (label.left, HPos::Left) } else { (label.right, HPos::Right) };
            let style = style(TEXT, &INK, anchor, VPos::Center, FontStyle::Normal);
            area.draw(&Text::new(label.text.as_str(), (at, y), style))?;
        }
    }
    Ok(())
}

/// What the colours mean, and a budget that is too high to be shown.
fn draw_legend<B: DrawingBackend>(
    area: &Area<B>,
    picture: &Picture<'_>,
    ranges: &Ranges,
    (left, top): (i32, i32),
    (room, bottom): (i32, i32),
) -> Drawn<B> {
    let series = &picture.recording.series;
    let letters = usize::try_from((room - 30) / LETTER).unwrap_or(0);
    let normal = |color| style(TEXT, color, HPos::Left, VPos::Center, FontStyle::Normal);
    let entry = |y, label: &str, note: String, color| {
        let label = shortened(label, letters);
        area.draw(&Text::new(label, (left + 28, y), normal(color)))?;
        area.draw(&Text::new(note, (left + 28, y + ROW), normal(&QUIET)))
    };
    let mut y = top + ROW / 2;
    if let (Some((label, bytes)), None) = (&picture.budget, ranges.budget) {
        dashed(area, (left, y), (left + 20, y), BUDGET.stroke_width(2))?;
        entry(y, label, format!("{}, above this picture", size(*bytes)), &BUDGET)?;
        y += ENTRY;
    }
    let fitting = usize::try_from((bottom - y) / ENTRY).unwrap_or(0);
    let shown = if series.len() > fitting { fitting.saturating_sub(1) } else { series.len() };
    for (place, series) in series.iter().enumerate().take(shown) {
        let color = color(picture.recording, place);
        let (from, to) = ((left, y), (left + 20, y));
        if series.kind == SeriesKind::Capacity {
            dashed(area, from, to, color.stroke_width(2))?;
        } else {
            area.draw(&PathElement::new(vec![from, to], color.stroke_width(4)))?;
        }
        entry(y, &series.label, note(series, ranges), &INK)?;
        y += ENTRY;
    }
    if shown < series.len() {
        let rest = format!("and {} more", series.len() - shown);
        area.draw(&Text::new(rest, (left + 28, y), normal(&QUIET)))?;
    }
    Ok(())
}

/// What the legend says of a series.
fn note(series: &Series, ranges: &Ranges) -> String {
    let summary = series.summary;
    match series.kind {
        SeriesKind::Capacity if !ranges.shows(series) => {
            format!("{}, above this picture", size(summary.max))
        }
        SeriesKind::Capacity if summary.min < summary.max => {
            format!("{} to {}", size(summary.min), size(summary.max))
        }
        SeriesKind::Capacity => size(summary.max),
        _ => format!("most {}", size(summary.max)),
    }
}

fn legend_width(picture: &Picture<'_>, ranges: &Ranges, width: i32) -> i32 {
    let labels = picture.recording.series.iter().map(|series| series.label.as_str());
    let above = picture.budget.as_ref().filter(|_| ranges.budget.is_none());
    let labels = labels.chain(above.map(|(label, _)| label.as_str()));
    let longest = labels.map(|label| label.chars().count()).max().unwrap_or(0);
    let is_told = |series: &Series| series.kind == SeriesKind::Capacity && !ranges.shows(series);
    let above = above.is_some() || picture.recording.series.iter().any(is_told);
    let least = if above { 28 } else { 18 };
    let wanted = longest.clamp(least, 40) as i32 * LETTER + 28 + MARGIN + 8;
    wanted.min(width / 3)
}
