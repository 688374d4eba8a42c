//! Recordings as pictures.

use std::sync::Arc;
use std::time::Duration;

use bridge_memory::ManualClock;
use bridge_memory::budget::Budget;
use bridge_memory::profile::{Monitor, Picture, Reading, Recording, SampleError};

const MIB: u64 = 1 << 20;

/// A recording of a training run: a ramp, steps, a short peak, out of memory, a trim.
fn training() -> Recording {
    let clock = Arc::new(ManualClock::new());
    let mut step = 0_u64;
    let sampler = move || -> Result<Vec<Reading>, SampleError> {
        let now = step;
        step += 1;
        if (60..64).contains(&now) {
            return Err("the driver does not answer".into());
        }
        let grown = 180 + 6 * now.min(80);
        let torch = match now {
            0..20 => 200 + 30 * now,
            20..90 => 800 + 40 * (now % 10) + 8 * (now - 20),
            90 => 2000,
            91..100 => 700,
            _ => 900 + 30 * (now % 7),
        };
        let candle = if now < 40 { 120 } else { 400 };
        Ok(vec![
            ("process".to_owned(), grown * MIB),
            ("torch on cuda:0".to_owned(), torch * MIB),
            ("candle on cuda:0".to_owned(), candle * MIB),
        ])
    };
    let monitor = Monitor::builder(Duration::from_secs(3600))
        .sampler(sampler)
        .clock(clock.clone())
        .start()
        .unwrap();
    for step in 1..140 {
        clock.advance(Duration::from_millis(250));
        monitor.sample();
        match step {
            20 => monitor.mark("first epoch"),
            90 => monitor.mark("out of memory: torch on cuda:0"),
            92 => monitor.mark("trimmed 1.3 GiB"),
            _ => {}
        }
    }
    monitor.finish()
}

/// Writes a picture to be looked at: PICTURES=folder cargo test -p bridge-memory --features plot pictures
fn look_at(name: &str, picture: &Picture<'_>) {
    let Some(folder) = std::env::var_os("PICTURES") else { return };
    let folder = std::path::Path::new(&folder);
    std::fs::write(folder.join(format!("{name}.svg")), picture.svg().unwrap()).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), picture.png().unwrap()).unwrap();
}

fn lines_of(svg: &str, color: &str) -> usize {
    let stroke = format!("stroke=\"{color}\" stroke-width=\"2\"");
    svg.lines().filter(|line| line.starts_with("<polyline") && line.contains(&stroke)).count()
}

/// How many pixels of a PNG have this colour.
fn pixels_of(png: &[u8], color: [u8; 3]) -> usize {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels.chunks_exact(3).filter(|pixel| *pixel == color).count()
}

#[test]
fn a_picture_shows_series_budget_and_marks() {
    let recording = training();
    let picture = Picture::of(&recording).title("Fine-tuning <a> & b").budget("budget", 2100 * MIB);
    let svg = picture.svg().unwrap();
    for told in [
        "Fine-tuning &lt;a&gt; &amp; b",
        "torch on cuda:0",
        "most 1.95 GiB",
        "most 400 MiB",
        "budget 2.05 GiB",
        "first epoch",
        "out of memory: torch on cuda:0",
        "trimmed 1.3 GiB",
        "time (s)",
        "\nGiB\n",
    ] {
        assert!(svg.contains(told), "{told}");
    }
    // Each series is two lines, as no sample was there for a second.
    for color in ["#0072B2", "#D55E00", "#009E73"] {
        assert_eq!(lines_of(&svg, color), 2, "{color}");
    }
    let dashes = lines_of(&svg, "#AA0028");
    assert!((50..150).contains(&dashes), "the budget's line has {dashes} dashes");
    look_at("training", &picture);
}

#[test]
fn a_png_has_the_same_lines_and_letters_of_its_own() {
    let recording = training();
    let picture = Picture::of(&recording).title("A title").size(800, 400).unwrap();
    let png = picture.png().unwrap();
    let reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (800, 400));
    for color in [[0, 114, 178], [213, 94, 0], [0, 158, 115]] {
        assert!(pixels_of(&png, color) > 400, "{color:?}");
    }
    // Only the letters of the title and of the legend are of this ink.
    assert!(pixels_of(&png, [33, 37, 41]) > 100);
    let untitled = picture.title("").png().unwrap();
    assert!(pixels_of(&untitled, [33, 37, 41]) < pixels_of(&png, [33, 37, 41]));
}

#[test]
fn a_budget_far_above_everything_is_told_and_not_drawn() {
    let recording = training();
    let picture = Picture::of(&recording).budget("all of the GPU", 80 << 30);
    look_at("large-budget", &picture);
    let svg = picture.svg().unwrap();
    assert!(svg.contains("\nall of the GPU\n") && svg.contains("\n80 GiB, above this picture\n"));
    // Two dashes, in the legend.
    assert_eq!(lines_of(&svg, "#AA0028"), 2);
}

/// A recording of a budget whose capacity falls to a half, beside memory of this size.
fn watched(memory: u64, capacity: u64) -> Recording {
    let budget = Budget::new("images", capacity * MIB).unwrap();
    let clock = Arc::new(ManualClock::new());
    let monitor = Monitor::builder(Duration::from_secs(3600))
        .sampler(move || Ok(vec![("process".to_owned(), memory * MIB)]))
        .clock(clock.clone())
        .watch(&budget)
        .start()
        .unwrap();
    let mut rooms = Vec::new();
    for step in 1..100 {
        clock.advance(Duration::from_millis(100));
        rooms.extend(budget.reserve(MIB));
        if step == 60 {
            budget.set_capacity(capacity * MIB / 2).unwrap();
        }
        monitor.sample();
    }
    monitor.finish()
}

#[test]
fn a_watched_budget_is_a_line_with_its_capacity_dashed_above_it() {
    let recording = watched(50, 120);
    look_at("watched", &Picture::of(&recording));
    let svg = Picture::of(&recording).svg().unwrap();
    for told in ["\nreserved in images\n", "\ncapacity of images\n", "\n60 MiB to 120 MiB\n"] {
        assert!(svg.contains(told), "{told}");
    }
    assert_eq!(lines_of(&svg, "#0072B2"), 1, "the process");
    // The line of what is reserved, and the dashes of the capacity in its colour, down the step too.
    let dashes = lines_of(&svg, "#D55E00");
    assert!((50..150).contains(&dashes), "{dashes}");
    let is_upright = |line: &&str| {
        let points = line.split("points=\"").nth(1).and_then(|rest| rest.split('"').next());
        let mut xs =
            points.into_iter().flat_map(str::split_whitespace).map(|one| one.split(',').next());
        line.contains("#D55E00") && matches!((xs.next(), xs.next()), (Some(a), Some(b)) if a == b)
    };
    assert!(svg.lines().filter(is_upright).count() > 3);

    // Far above everything it would press the lines flat: it is told, and two dashes are the legend's.
    let svg = Picture::of(&watched(50, 100_000)).svg().unwrap();
    assert!(svg.contains("\n97.7 GiB, above this picture\n"));
    assert_eq!(lines_of(&svg, "#D55E00"), 1 + 2);
}

#[test]
fn a_thinned_recording_shows_the_range_of_each_point() {
    let mut step = 0;
    let sampler = move || -> Result<Vec<Reading>, SampleError> {
        step += 1;
        Ok(vec![("memory".to_owned(), (step % 7) * MIB)])
    };
    let clock = Arc::new(ManualClock::new());
    let monitor = Monitor::builder(Duration::from_secs(3600))
        .sampler(sampler)
        .clock(clock.clone())
        .keep(20)
        .start()
        .unwrap();
    for _ in 0..100 {
        clock.advance(Duration::from_secs(60));
        monitor.sample();
    }
    let recording = monitor.finish();
    look_at("thinned", &Picture::of(&recording));
    let svg = Picture::of(&recording).svg().unwrap();
    assert!(svg.contains("<polygon") && svg.contains("opacity=\"0.2\""));
    assert!(svg.contains("time (min)") && svg.contains("\nMiB\n"));
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let failing = || Err("no driver".into());
    let empty = Monitor::builder(Duration::from_secs(3600)).sampler(failing).start().unwrap();
    let empty = empty.finish();
    for error in [Picture::of(&empty).svg().unwrap_err(), Picture::of(&empty).png().unwrap_err()] {
        assert!(error.to_string().contains("at least one sample"), "{error}");
    }
    for (width, height) in [(0, 0), (479, 640), (1200, 319), (8193, 640), (1200, u32::MAX)] {
        let error = Picture::of(&empty).size(width, height).unwrap_err();
        assert!(error.to_string().contains("8192"), "{error}");
    }
}

#[test]
fn odd_recordings_have_pictures_too() {
    // One sample at time zero, of zero bytes, with a name longer than the picture, and many series.
    let mut readings: Vec<Reading> =
        (0..40).map(|series| (format!("series {series}"), series * MIB)).collect();
    readings.insert(0, ("ä".repeat(500), 0));
    for readings in [readings, vec![("nothing".to_owned(), 0)], vec![("all".to_owned(), u64::MAX)]]
    {
        let (clock, samples) = (Arc::new(ManualClock::new()), readings.clone());
        let monitor = Monitor::builder(Duration::from_secs(3600))
            .sampler(move || Ok(samples.clone()))
            .clock(clock)
            .start()
            .unwrap();
        for mark in 0..100 {
            monitor.mark(format!("mark {mark}"));
        }
        let recording = monitor.finish();
        let (width, height) = Picture::SMALLEST;
        let picture = Picture::of(&recording).size(width, height).unwrap();
        let picture = picture.budget("none", 0).title("long ".repeat(200));
        assert!(picture.svg().unwrap().ends_with("</svg>\n"));
        assert!(!picture.png().unwrap().is_empty());
        look_at(&format!("odd-{}", readings.len()), &picture);
        assert!(picture.svg().unwrap().contains("\n96 marks unlabelled\n"));
        if readings.len() > 40 {
            assert!(picture.svg().unwrap().contains(" more\n"));
        }
    }
}
