//! Streaming: each window of each array passes through the chain and is written.

use std::collections::HashMap;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

use arraybridge::{DataType, ManagedTensor, Report};

use super::chain::{Chain, Passed};
use super::limit::too_small;
use super::progress::Progress;
use super::report::ArrayReport;
use crate::failure::{Failure, Outcome};
use crate::formats::{
    Array, ArrayFile, Contents, Elements, Order, Outgoing, Writer, bytes_of, in_written_order,
};
use crate::room::Room;

/// A window of this many bytes keeps disks busy and stays in the processor's cache.
const WINDOW: usize = 8 << 20;

/// A window that is cut across the order of the file is larger, since every window reads a bit of
/// all of it.
const WINDOW_ACROSS: usize = 64 << 20;

/// How arrays flow from one file to another.
pub(crate) struct Stream<'a> {
    pub(crate) file: &'a ArrayFile,
    pub(crate) chain: &'a Chain,
    /// Where a window may be while it is read, converted and written.
    pub(crate) room: &'a Room,
    /// A folder with room for what has to be expanded.
    pub(crate) scratch: &'a Path,
    pub(crate) shows_progress: bool,
    /// What the progress is of, where it is not the only file.
    pub(crate) label: &'a str,
}

impl Stream<'_> {
    /// Writes the arrays, each with the name it has in `contents`, to `target`, and says how many bytes
    /// the file has.
    pub(crate) fn run(
        &self,
        arrays: &[(&Array, &str)],
        contents: &Contents,
        target: impl Write + Seek,
    ) -> Outcome<(Vec<ArrayReport>, u64)> {
        let mut total = 0;
        for outgoing in contents.arrays() {
            total += outgoing.bytes()?;
        }
        let mut progress = Progress::new(total, self.shows_progress, self.label);
        let mut writer = Writer::new(target, contents)?;
        let mut reports = Vec::new();
        let by_name: HashMap<&str, &Array> =
            arrays.iter().map(|&(array, name)| (name, array)).collect();
        for outgoing in contents.arrays() {
            let array = by_name
                .get(outgoing.name.as_str())
                .ok_or_else(|| Failure::new(format!("no array \"{}\"", outgoing.name)))?;
            let report = self
                .run_one(array, outgoing, &mut writer, &mut progress)
                .map_err(|failure| failure.within(&format!("the array \"{}\"", array.name)))?;
            reports.push(report);
        }
        Ok((reports, writer.finish()?))
    }

    fn run_one(
        &self,
        array: &Array,
        outgoing: &Outgoing,
        writer: &mut Writer<'_>,
        progress: &mut Progress,
    ) -> Outcome<ArrayReport> {
        let started = Instant::now();
        let mut report = ArrayReport::new(&outgoing.name, outgoing.data_type, &outgoing.shape)
            .left_alone(self.chain.casts().leave_alone(array.spec.data_type));
        writer.begin(outgoing)?;
        let elements = Elements {
            array,
            order: outgoing.order,
            window: self.window(array, outgoing),
            room: self.room,
            scratch: self.scratch,
        };
        let mut elements_done = 0;
        let done = self.file.read(elements, |tensor, window| {
            let first = elements_done;
            let reports = self.convert(tensor, outgoing, self.room, |bytes| {
                writer.write(bytes)?;
                progress.add(bytes.len() as u64);
                Ok(())
            });
            let (reports, inexact) = reports.map_err(|failure| at_element(failure, first))?;
            report.add_window(&reports, inexact);
            elements_done += window.element_count();
            Ok(())
        });
        match done {
            // Without a limit of this program's, it is another budget that has no room.
            Err(failure) if failure.is_shortage() && self.room.limit().is_some() => {
                Err(self.too_small(elements, outgoing)?)
            }
            done => done.map(|()| report.finished(array, Some(started.elapsed().as_secs_f64()))),
        }
    }

    /// Converts one window and hands over its bytes as they are written. Answers what was done, and how many
    /// elements the cast changed.
    fn convert(
        &self,
        tensor: ManagedTensor,
        outgoing: &Outgoing,
        room: &Room,
        write: impl FnOnce(&[u8]) -> Outcome<()>,
    ) -> Outcome<(Vec<Report>, u64)> {
        let Passed { tensor, reports, inexact, held } = self.chain.pass(tensor, room)?;
        check_data_type(&tensor, outgoing.data_type)?;
        bytes_of(in_written_order(tensor, outgoing.order)?, room, write)?;
        drop(held);
        Ok((reports, inexact))
    }

    /// Why the smallest window does not fit the limit: measures how much one takes.
    fn too_small(&self, elements: Elements<'_>, outgoing: &Outgoing) -> Outcome<Failure> {
        let counting = Room::counting()?;
        let smallest = Elements { window: 1, room: &counting, ..elements };
        let mut measured = false;
        let done = self.file.read(smallest, |tensor, _| {
            self.convert(tensor, outgoing, &counting, |_| Ok(()))?;
            measured = true;
            // The others take as much.
            Err(Failure::new("enough is known"))
        });
        match done {
            Err(failure) if !measured => Err(failure),
            _ => Ok(too_small(self.room, counting.peak())),
        }
    }

    /// Bytes of a window, counted in the wider of the two element types and handed over in the
    /// array's own.
    fn window(&self, array: &Array, outgoing: &Outgoing) -> usize {
        let across = match outgoing.order {
            Order::RowMajor => !array.spec.layout.is_row_major(),
            Order::ColumnMajor => !array.spec.layout.is_column_major(),
        };
        let usual = if across { WINDOW_ACROSS } else { WINDOW };
        // Where the limit has no room for it beside what it is converted to, it is read in smaller ones.
        let limit = self.room.limit().and_then(|limit| usize::try_from(limit).ok());
        let most = usual.min(limit.unwrap_or(usize::MAX));
        let (from, to) = (array.spec.data_type.size_in_bits(), outgoing.data_type.size_in_bits());
        // A window has at least one element.
        (most / to.div_ceil(from.max(1)).max(1)).max(1)
    }
}

/// Says which window of a long array failed: an element's index in an error counts within it.
fn at_element(failure: Failure, first: usize) -> Failure {
    if first == 0 {
        return failure;
    }
    failure.within(&format!("in the part that starts at element {first}"))
}

fn check_data_type(tensor: &ManagedTensor, wanted: DataType) -> Outcome<()> {
    if tensor.data_type() == wanted {
        return Ok(());
    }
    Err(Failure::new(format!("the converted elements are {}, not {wanted}", tensor.data_type()))
        .remedy("report this as a bug of arraybridge"))
}
