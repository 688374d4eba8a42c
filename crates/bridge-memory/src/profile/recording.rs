//! What a monitor has seen: series over time in bounded memory.

use std::io;
use std::time::Duration;

use serde::Serialize;

/// What was sampled, thinned out so that it never has more than the points it was given room for.
///
/// When there are too many points, each two that follow each other become one, and from then on a point
/// is made of twice as many samples. A point keeps the least, the most and the last of its samples, so
/// that no peak is lost. With serde it becomes JSON: `serde_json::to_writer(file, &recording)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recording {
    /// What each series was: points refer to it by place.
    pub series: Vec<Series>,
    /// The points, in the order of time.
    pub points: Vec<Point>,
    /// What happened meanwhile.
    pub marks: Vec<Mark>,
    /// How many marks were not kept, because there were too many.
    pub marks_dropped: u64,
    /// How many samples were asked for.
    pub samples: u64,
    /// How many of them failed.
    pub missing: u64,
    /// Why the last one that failed did.
    pub last_failure: Option<String>,
    #[serde(skip)]
    room: usize,
    #[serde(skip)]
    samples_a_point: u64,
}

/// One series: what its values were, over all samples and not only over the points kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// What was measured: "process", "torch on cuda:0", "reserved in images".
    pub label: String,
    /// What kind of figure it is.
    pub kind: SeriesKind,
    /// Its values.
    pub summary: Summary,
}

/// What kind of figure a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SeriesKind {
    /// Memory that is taken.
    #[default]
    Memory,
    /// What is reserved of a budget.
    Reserved,
    /// What can be reserved of a budget in all.
    Capacity,
}

/// The values of one series, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
    /// Their mean.
    pub mean: f64,
    /// The last.
    pub last: u64,
    /// How many there were.
    pub count: u64,
}

/// Some samples that follow each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// When the first was taken, in seconds since the monitor started.
    pub seconds: f64,
    /// When the last was.
    pub until: f64,
    /// How many there are, those that failed included.
    pub samples: u64,
    /// What each series was, by place; `None` where no sample had it.
    pub values: Vec<Option<Seen>>,
}

/// What one series was in one point, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
    /// The last.
    pub last: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mark {
    /// When, in seconds since the monitor started.
    pub seconds: f64,
    /// What.
    pub what: String,
}

impl Recording {
    /// The most series that are kept: whatever a sampler calls by a new name each time must not fill
    /// the memory it measures.
    pub const MOST_SERIES: usize = 64;

    /// Nothing yet, with room for so many points and as many marks, at least 2.
    pub(super) fn with_room(room: usize) -> Self {
        Self {
            series: Vec::new(),
            points: Vec::new(),
            marks: Vec::new(),
            marks_dropped: 0,
            samples: 0,
            missing: 0,
            last_failure: None,
            room: room.max(2),
            samples_a_point: 1,
        }
    }

    /// The series of this label.
    pub fn series(&self, label: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.label == label)
    }

    /// Adds a sample; `failure`: why not all of it could be taken.
    pub(super) fn add<'r>(
        &mut self,
        at: Duration,
        readings: impl IntoIterator<Item = (&'r str, SeriesKind, u64)>,
        failure: Option<String>,
    ) {
        let mut values = Vec::new();
        if failure.is_some() {
            self.missing += 1;
            self.last_failure = failure;
        } else {
            values.resize(self.series.len(), None);
        }
        for (label, kind, bytes) in readings {
            let Some(index) = self.place_of(label, kind) else { continue };
            self.series[index].summary.add(bytes);
            if values.len() <= index {
                values.resize(index + 1, None);
            }
            values[index] = Some(Seen { min: bytes, max: bytes, last: bytes });
        }
        self.append(at, values);
    }

    pub(super) fn mark(&mut self, at: Duration, what: String) {
        if self.marks.len() < self.room {
            self.marks.push(Mark { seconds: at.as_secs_f64(), what });
        } else {
            self.marks_dropped += 1;
        }
    }

    fn place_of(&mut self, label: &str, kind: SeriesKind) -> Option<usize> {
        let is_it = |series: &Series| series.kind == kind && series.label == label;
        let known = self.series.iter().position(is_it);
        if known.is_none() && self.series.len() < Self::MOST_SERIES {
            let (label, summary) = (label.to_owned(), Summary::none());
            self.series.push(Series { label, kind, summary });
            return Some(self.series.len() - 1);
        }
        known
    }

    fn append(&mut self, at: Duration, values: Vec<Option<Seen>>) {
        self.samples += 1;
        let seconds = at.as_secs_f64();
        let point = Point { seconds, until: seconds, samples: 1, values };
        match self.points.last_mut() {
            Some(last) if last.samples < self.samples_a_point => last.merge(point),
            _ => {
                if self.points.len() == self.room {
                    self.halve();
                }
                // Halving an odd number of points leaves the last one half full.
                match self.points.last_mut() {
                    Some(last) if last.samples < self.samples_a_point => last.merge(point),
                    _ => self.points.push(point),
                }
            }
        }
    }

    fn halve(&mut self) {
        self.samples_a_point *= 2;
        let mut merged: Vec<Point> = Vec::with_capacity(self.room);
        for point in self.points.drain(..) {
            match merged.last_mut() {
                Some(last) if last.samples < self.samples_a_point => last.merge(point),
                _ => merged.push(point),
            }
        }
        self.points = merged;
    }

    /// Writes the points as CSV (RFC 4180): a line for each point, with its time in seconds, the most
    /// that each series was in bytes, and the marks since the point before. A cell is empty where a
    /// series was not sampled.
    ///
    /// # Errors
    ///
    /// What `target` reports.
    pub fn write_csv(&self, mut target: impl io::Write) -> io::Result<()> {
        let labels = self.series.iter().map(|series| series.label.clone());
        let header = std::iter::once("seconds".to_owned()).chain(labels);
        write_row(&mut target, header.chain(std::iter::once("event".to_owned())))?;
        let mut marks = self.marks.iter().peekable();
        for (index, point) in self.points.iter().enumerate() {
            let is_last = index + 1 == self.points.len();
            let mut row = vec![point.seconds.to_string()];
            for place in 0..self.series.len() {
                let seen = point.values.get(place).copied().flatten();
                row.push(seen.map_or_else(String::new, |seen| seen.max.to_string()));
            }
            let mut events = Vec::new();
            while let Some(mark) = marks.next_if(|mark| is_last || mark.seconds <= point.until) {
                events.push(mark.what.as_str());
            }
            row.push(events.join("; "));
            write_row(&mut target, row)?;
        }
        Ok(())
    }
}

fn write_row(
    target: &mut impl io::Write,
    cells: impl IntoIterator<Item = String>,
) -> io::Result<()> {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            target.write_all(b",")?;
        }
        if cell.contains([',', '"', '\r', '\n']) {
            write!(target, "\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            target.write_all(cell.as_bytes())?;
        }
    }
    target.write_all(b"\r\n")
}

impl Point {
    fn merge(&mut self, later: Self) {
        self.until = later.until;
        self.samples += later.samples;
        if self.values.len() < later.values.len() {
            self.values.resize(later.values.len(), None);
        }
        for (mine, other) in self.values.iter_mut().zip(later.values) {
            let Some(other) = other else { continue };
            *mine = Some(match *mine {
                Some(seen) => Seen {
                    min: seen.min.min(other.min),
                    max: seen.max.max(other.max),
                    last: other.last,
                },
                None => other,
            });
        }
    }
}

impl Summary {
    fn none() -> Self {
        Self { min: u64::MAX, max: 0, mean: 0.0, last: 0, count: 0 }
    }

    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.min = self.min.min(bytes);
        self.max = self.max.max(bytes);
        self.last = bytes;
        self.mean += (bytes as f64 - self.mean) / self.count as f64;
    }
}
