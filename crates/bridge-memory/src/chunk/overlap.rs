//! Three at work at a time: who brings the next chunk, who works on one, and who writes the last result.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, scope};

use bridge_core::{Array, Error, ManagedTensor, Result, SharedTensor, Stream};

use super::result::ChunkResult;
use super::source::{Chunk, ChunkSource};
use crate::budget::{Reservation, Shortage};

/// What makes a result of a chunk.
pub(super) type Map<'a> = dyn FnMut(Array) -> Result<Array> + 'a;

/// Chunks that are worked on while the last result is written and, where they come from elsewhere, the next
/// one is brought.
pub(super) struct Overlap<'a> {
    pub source: ChunkSource<'a>,
    pub whole: &'a SharedTensor,
    pub brings: bool,
}

/// The result of a chunk, and the room of the chunk, which it can be.
struct Made {
    index: usize,
    result: ManagedTensor,
    room: Option<Reservation>,
}

impl Made {
    /// Whether the function that made it may change it when it is called again, as where it keeps a handle of
    /// the memory, or who waits for it has to be this thread.
    fn is_to_be_written_at_once(&self) -> bool {
        /// The default stream of each thread is another one.
        const PER_THREAD: Option<Stream> = Some(Stream(2));
        self.result.others_may_write() || self.result.stream() == PER_THREAD
    }
}

impl Overlap<'_> {
    /// Works on all chunks, in order, on this thread. `done` is called, on this thread too, once for each
    /// chunk whose result has been written.
    pub(super) fn run(
        &self,
        first: Chunk,
        map: &mut Map<'_>,
        result: &mut ChunkResult<'_>,
        done: &mut dyn FnMut(usize),
    ) -> Result<()> {
        let written = &Written::to(result);
        let mut told = 0;
        let mut tell = || {
            let count = written.count();
            (told..count).for_each(&mut *done);
            told = count;
        };
        let mut first = Some(first);
        // In a budget, the result has its room before the next chunk takes some.
        if self.source.admission().is_some()
            && let Some(chunk) = first.take()
        {
            written.write(worked_on(0, chunk, map)?)?;
            tell();
        }
        let ended = scope(|scope| {
            // Nobody gives or hands over more than one ahead. All ends are dropped before the threads are
            // waited for, so that these end where the work fails or panics.
            let (give, take) = sync_channel(0);
            let (hand, handed) = sync_channel(0);
            let thread = || Builder::new().name("map_chunks".to_owned());
            // What cannot have a thread is done on this one.
            if self.brings {
                drop(thread().spawn_scoped(scope, move || self.bring(&give, written)));
            } else {
                drop(give);
            }
            let writer = thread().spawn_scoped(scope, move || written.write_all(handed)).ok();
            let hand = writer.is_some().then_some(hand);
            let worked = self.work(first, map, (&take, hand.as_ref()), written, &mut tell);
            drop((take, hand));
            let wrote =
                writer.map(|writer| writer.join().unwrap_or_else(|panic| resume_unwind(panic)));
            // A result that could not be written is of an earlier chunk than the one that was worked on.
            wrote.unwrap_or(Ok(())).and(worked)
        });
        tell();
        ended
    }

    /// Works on the chunks of which no result has been written.
    fn work(
        &self,
        mut first: Option<Chunk>,
        map: &mut Map<'_>,
        (take, hand): (&Receiver<Result<Chunk>>, Option<&SyncSender<Made>>),
        written: &Written<'_, '_>,
        tell: &mut dyn FnMut(),
    ) -> Result<()> {
        for index in written.count()..self.source.plan.count() {
            let chunk = match first.take() {
                Some(first) => first,
                None => self.next(index, take, written)?,
            };
            if written.has_ended() {
                // A result could not be written; the writer says why.
                return Ok(());
            }
            let made = worked_on(index, chunk, map)?;
            if made.is_to_be_written_at_once() {
                written.wait_for(index);
                if written.has_ended() {
                    return Ok(());
                }
                written.write(made)?;
            } else if let Some(hand) = hand {
                if hand.send(made).is_err() {
                    return Ok(());
                }
            } else {
                written.write(made)?;
            }
            tell();
        }
        Ok(())
    }

    /// The chunk that somebody brings, or that nobody does.
    fn next(
        &self,
        index: usize,
        take: &Receiver<Result<Chunk>>,
        written: &Written<'_, '_>,
    ) -> Result<Chunk> {
        let brought = take.recv().unwrap_or_else(|_| self.source.chunk(self.whole, index));
        if !brought.as_ref().is_err_and(has_no_room) {
            return brought;
        }
        // Where there is no room beside the last chunk and its result, there is when both are gone.
        drop(brought);
        written.wait_for(index);
        self.source.chunk(self.whole, index)
    }

    /// Brings one chunk after the other, each of which it gives away before it begins another.
    fn bring(&self, give: &SyncSender<Result<Chunk>>, written: &Written<'_, '_>) {
        for index in 1..self.source.plan.count() {
            let mut chunk = self.source.chunk(self.whole, index);
            if chunk.as_ref().is_err_and(has_no_room) {
                // Beside the chunk that is worked on there may be room, when the results before have been
                // written: all of them have been handed over.
                written.wait_for(index - 1);
                chunk = self.source.chunk(self.whole, index);
            }
            let failed = chunk.is_err();
            // Nobody takes it where the work has failed.
            if give.send(chunk).is_err() || failed {
                return;
            }
        }
    }
}

/// The result is exported here: frameworks say on the thread that made it what it is ready on, and keep it
/// from being changed from then on.
fn worked_on(index: usize, chunk: Chunk, map: &mut Map<'_>) -> Result<Made> {
    let Chunk { array, room } = chunk;
    Ok(Made { index, result: map(array)?.export()?, room })
}

/// Whether a budget or a device has no room now, and may have some later.
fn has_no_room(error: &Error) -> bool {
    let passes = Shortage::of(error).is_some_and(Shortage::is_passing);
    passes || error.out_of_memory().is_some()
}

/// The results that have been written.
struct Written<'a, 'r> {
    result: Mutex<&'a mut ChunkResult<'r>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many: those of the first chunks.
    count: usize,
    /// Whether the thread has ended that writes them.
    ended: bool,
}

impl<'a, 'r> Written<'a, 'r> {
    fn to(result: &'a mut ChunkResult<'r>) -> Self {
        Self { result: Mutex::new(result), state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        self.state().count
    }

    fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Writes what is handed over, until nobody hands anything over.
    fn write_all(&self, handed: Receiver<Made>) -> Result<()> {
        let _ended = Ended(self);
        handed.into_iter().try_for_each(|made| self.write(made))
    }

    fn write(&self, Made { index, result, room }: Made) -> Result<()> {
        let mut whole = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        let wrote = whole.write(index, &result);
        drop(whole);
        drop((result, room));
        wrote?;
        self.state().count = index + 1;
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until so many results have been written, or no more will be.
    fn wait_for(&self, count: usize) {
        let mut state = self.state();
        while state.count < count && !state.ended {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Says at its drop, also in a panic, that the thread has ended.
struct Ended<'w, 'a, 'r>(&'w Written<'a, 'r>);

impl Drop for Ended<'_, '_, '_> {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.changed.notify_all();
    }
}
