//! Text in PNG pictures: letters that were drawn beforehand, so that no font is searched for.

use noto_sans_mono_bitmap::{
    FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width,
};
use plotters::backend::BitMapBackend;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontStyle,
};

/// Pixels, and letters on them. Text is never turned.
pub(super) struct Letters<'a>(pub(super) BitMapBackend<'a>);

type Failed<'a> = <BitMapBackend<'a> as DrawingBackend>::ErrorType;
type Result<'a, T> = std::result::Result<T, DrawingErrorKind<Failed<'a>>>;

/// The size and weight of letters nearest to a style.
fn face<S: BackendTextStyle>(style: &S) -> (FontWeight, RasterHeight) {
    let height = if style.size() < 19.0 { RasterHeight::Size16 } else { RasterHeight::Size20 };
    match style.style() {
        FontStyle::Bold => (FontWeight::Bold, height),
        _ => (FontWeight::Regular, height),
    }
}

fn letter(one: char, weight: FontWeight, height: RasterHeight) -> Option<RasterizedChar> {
    get_raster(one, weight, height).or_else(|| get_raster('?', weight, height))
}

impl<'a> DrawingBackend for Letters<'a> {
    type ErrorType = Failed<'a>;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Result<'a, ()> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Result<'a, ()> {
        self.0.present()
    }

    fn draw_pixel(&mut self, at: BackendCoord, color: BackendColor) -> Result<'a, ()> {
        self.0.draw_pixel(at, color)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Result<'a, ()> {
        self.0.draw_line(from, to, style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Result<'a, ()> {
        self.0.draw_rect(from, to, style, fill)
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<'a, (u32, u32)> {
        let (weight, height) = face(style);
        let width = text.chars().count() * get_raster_width(weight, height);
        Ok((u32::try_from(width).unwrap_or(u32::MAX), height.val() as u32))
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Result<'a, ()> {
        let (width, height) = self.estimate_text_size(text, style)?;
        let (width, height) = (width.cast_signed(), height.cast_signed());
        let left = match style.anchor().h_pos {
            HPos::Left => x,
            HPos::Center => x - width / 2,
            HPos::Right => x - width,
        };
        let top = match style.anchor().v_pos {
            VPos::Top => y,
            VPos::Center => y - height / 2,
            VPos::Bottom => y - height,
        };
        let (weight, size) = face(style);
        let color = style.color();
        let mut pen = left;
        for one in text.chars() {
            let Some(letter) = letter(one, weight, size) else { continue };
            for (row, at_y) in letter.rows().zip(top..) {
                for (&ink, at_x) in row.iter().zip(pen..) {
                    if ink > 0 {
                        let alpha = color.alpha * f64::from(ink) / 255.0;
                        self.0.draw_pixel((at_x, at_y), BackendColor { alpha, ..color })?;
                    }
                }
            }
            pen += letter.width() as i32;
        }
        Ok(())
    }
}
