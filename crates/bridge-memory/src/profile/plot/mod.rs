//! A recording as a picture.

mod draw;
mod letters;
mod marks;
mod pen;
mod scale;

use bridge_core::{Device, Error, Result, TensorError};
use plotters::backend::BitMapBackend;
use plotters::prelude::{IntoDrawingArea, SVGBackend};

use self::letters::Letters;
use super::recording::Recording;
use crate::arguments::invalid;

/// A [`Recording`] as a picture: a line for each series, a dashed line for the budget, and the marks
/// where they happened.
///
/// ```
/// # let recording = bridge_memory::profile::Monitor::every(3600.0)?.start()?.finish();
/// use bridge_memory::profile::Picture;
///
/// let picture = Picture::of(&recording).title("Training").budget("budget", 4 << 30);
/// let svg: String = picture.svg()?;
/// let png: Vec<u8> = picture.png()?;
/// assert!(svg.starts_with("<svg") && png.starts_with(b"\x89PNG"));
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Picture<'a> {
    recording: &'a Recording,
    title: String,
    budget: Option<(String, u64)>,
    size: (u32, u32),
}

impl<'a> Picture<'a> {
    /// The largest width and height.
    pub const LARGEST: u32 = 8192;
    /// The smallest width and height: less leaves no room for the lines.
    pub const SMALLEST: (u32, u32) = (480, 320);

    /// A picture of this recording, 1200 × 640 pixels.
    pub fn of(recording: &'a Recording) -> Self {
        Self { recording, title: "Memory over time".to_owned(), budget: None, size: (1200, 640) }
    }

    /// Names it.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Draws a dashed line at so many bytes.
    #[must_use]
    pub fn budget(mut self, label: impl Into<String>, bytes: u64) -> Self {
        self.budget = Some((label.into(), bytes));
        self
    }

    /// Makes it so many pixels wide and high.
    ///
    /// # Errors
    ///
    /// Where it would be smaller than [`SMALLEST`](Self::SMALLEST) or larger than
    /// [`LARGEST`](Self::LARGEST).
    pub fn size(mut self, width: u32, height: u32) -> Result<Self> {
        let ((least_width, least_height), most) = (Self::SMALLEST, Self::LARGEST);
        if width < least_width || height < least_height || width.max(height) > most {
            let found = format!("{width} x {height}");
            let expected = format!("from {least_width} x {least_height} to {most} x {most} pixels");
            return Err(invalid("size of the picture", &found, &expected));
        }
        self.size = (width, height);
        Ok(self)
    }

    /// The picture as SVG. Its text is in the reader's sans-serif font.
    ///
    /// # Errors
    ///
    /// Where nothing was sampled.
    pub fn svg(&self) -> Result<String> {
        self.check()?;
        let mut text = String::new();
        draw::draw(self, &SVGBackend::with_string(&mut text, self.size).into_drawing_area())?;
        Ok(text)
    }

    /// The picture as PNG. It brings its own letters: of other scripts than Latin they are question
    /// marks.
    ///
    /// # Errors
    ///
    /// Where nothing was sampled, or out of memory.
    pub fn png(&self) -> Result<Vec<u8>> {
        self.check()?;
        let (width, height) = self.size;
        let bytes = width as usize * height as usize * 3;
        let mut pixels = Vec::new();
        pixels.try_reserve_exact(bytes).map_err(|_| {
            let (device, requested) = (Device::CPU, bytes as u64);
            Error::Tensor(TensorError::OutOfMemory { device, requested })
        })?;
        pixels.resize(bytes, 0);
        let backend = Letters(BitMapBackend::with_buffer(&mut pixels, self.size));
        draw::draw(self, &backend.into_drawing_area())?;
        let mut file = Vec::new();
        encode(&mut file, self.size, &pixels).map_err(|error| failed("write a PNG", &error))?;
        Ok(file)
    }

    fn check(&self) -> Result<()> {
        if self.recording.series.is_empty() {
            let expected = "a picture needs at least one sample that did not fail";
            return Err(invalid("recording", &"without samples", expected));
        }
        Ok(())
    }
}

fn encode(
    file: &mut Vec<u8>,
    (width, height): (u32, u32),
    pixels: &[u8],
) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()
}

fn failed(operation: &'static str, error: &dyn std::fmt::Display) -> Error {
    Error::Framework { backend: "plotters", operation, message: error.to_string() }
}
