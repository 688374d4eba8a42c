//! Recordings as pictures.

use std::sync::Arc;
use std::time::Duration;

use bridge_memory::ManualClock;
use bridge_memory::profile::{Monitor, Picture, Reading, Recording};

const MIB: u64 = 1 << 20;

/// A recording of a training run: a ramp, steps, a short peak, out of memory, a trim.
fn training() -> Recording {
    let clock = Arc::new(ManualClock::new());
    let mut step = 0_u64;
    let sampler = move || -> Result<Vec<Reading>, bridge_memory::profile::SampleError> {
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

#[test]
fn a_picture_shows_series_budget_and_marks() {
    let recording = training();
    let picture = Picture::of(&recording).title("Fine-tuning <a> & b").budget("budget", 2100 * MIB);
    let svg = picture.svg().unwrap();
    if let Some(folder) = std::env::var_os("PICTURES") {
        let folder = std::path::Path::new(&folder);
        std::fs::write(folder.join("training.svg"), &svg).unwrap();
        std::fs::write(folder.join("training.png"), picture.png().unwrap()).unwrap();
    }
}
