//! Queues work and runs it: late, in a random order that keeps to what has to happen before what.

use std::sync::Arc;

use super::clock::Clock;
use super::code::{Code, Outcome};
use super::handle::{ContextId, EventId, StreamId};
use super::simulation::{Origin, Record, Simulation, Stream};
use super::work::{Actor, Operation, Work};

/// Work that is about to be queued.
pub(crate) struct Queued {
    pub(crate) work: Work,
    pub(crate) uses: Vec<u64>,
    pub(crate) after: Option<Clock>,
    pub(crate) fails: Option<Code>,
    pub(crate) delay: u64,
}

impl Queued {
    pub(crate) fn of(work: Work) -> Self {
        Self { work, uses: Vec::new(), after: None, fails: None, delay: 0 }
    }
}

impl Simulation {
    /// Queues work behind everything that its stream orders before it; gives its number in the stream.
    pub(crate) fn enqueue(&mut self, stream: StreamId, queued: Queued) -> u64 {
        let Queued { work, uses, after, fails, delay } = queued;
        let ticket = self.number();
        let mut clock = self.tail(stream);
        clock.join(&self.host);
        if let Some(after) = &after {
            clock.join(after);
        }
        let target = &self.streams[&stream];
        let (context, origin) = (target.context, target.origin);
        match origin {
            // The legacy stream waits for all blocking streams of its context, and they for it.
            Origin::Legacy => {
                let blocking: Vec<_> = self
                    .streams
                    .iter()
                    .filter(|(_, other)| other.context == context && other.is_blocking())
                    .map(|(&id, _)| id)
                    .collect();
                blocking.into_iter().for_each(|other| clock.join(&self.tail(other)));
            }
            _ if target.is_blocking() => {
                if let Some(legacy) = self.contexts.get(&context).map(|context| context.legacy) {
                    clock.join(&self.tail(legacy));
                }
            }
            _ => {}
        }
        for start in &uses {
            if let Some(block) = self.memory().at_mut(*start) {
                block.pending += 1;
            }
        }
        let label: Arc<str> = format!("{} #{ticket}", self.call).into();
        let Some(target) = self.streams.get_mut(&stream) else { return 0 };
        target.last += 1;
        let number = target.last;
        target.clock = clock.clone();
        target.queue.push_back(Operation {
            ticket,
            number,
            clock,
            label,
            work,
            uses,
            delay,
            fails,
        });
        number
    }

    /// Everything that has happened when all that is in a stream now has.
    pub(crate) fn tail(&self, stream: StreamId) -> Clock {
        let Some(found) = self.streams.get(&stream) else { return Clock::default() };
        let mut clock = found.clock.clone();
        clock.add(stream, found.last);
        clock
    }

    /// Whether all of it has happened. A stream that is gone has done all its work.
    pub(crate) fn has_happened(&self, clock: &Clock) -> bool {
        clock.iter().all(|(stream, number)| {
            self.streams.get(&stream).is_none_or(|stream| stream.completed >= number)
        })
    }

    /// Runs one operation of those that may run now; false if there is none.
    pub(crate) fn step(&mut self) -> bool {
        let ready = self.streams.iter().filter(|(_, stream)| {
            stream.queue.front().is_some_and(|operation| self.has_happened(&operation.clock))
        });
        let ready: Vec<_> = ready.map(|(&id, _)| id).collect();
        if ready.is_empty() {
            return false;
        }
        let chosen = ready[self.random.below(ready.len() as u64) as usize];
        let front = self.streams.get_mut(&chosen).and_then(|stream| stream.queue.front_mut());
        let Some(front) = front else { return false };
        if front.delay > 0 {
            front.delay -= 1;
        } else {
            self.run_first(chosen);
        }
        true
    }

    /// Perhaps runs one operation though nobody waits.
    pub(crate) fn run_by_chance(&mut self) {
        if self.config.eagerness > 0 && self.random.below(100) < self.config.eagerness {
            self.step();
        }
    }

    /// Runs a few operations, as time passes when somebody asks how far the work is.
    pub(crate) fn let_time_pass(&mut self) {
        for _ in 0..=self.random.below(2) {
            self.step();
        }
    }

    /// Runs until all of a clock has happened, and lets the host know of it.
    pub(crate) fn wait_for(&mut self, clock: &Clock) {
        while !self.has_happened(clock) && self.step() {}
        self.host.join(clock);
    }

    /// Waits for all that is in some streams now.
    pub(crate) fn drain_where(&mut self, chosen: impl Fn(&Stream) -> bool) {
        let mut clock = Clock::default();
        for (&id, stream) in &self.streams {
            if chosen(stream) {
                clock.join(&stream.clock);
                clock.add(id, stream.last);
            }
        }
        self.wait_for(&clock);
    }

    /// Lets all that the streams of some contexts do from now on wait for all that they hold now, and that of the
    /// current context's legacy stream.
    pub(crate) fn order_all(&mut self, contexts: [ContextId; 2]) {
        let legacy = self.current().ok().map(|context| self.contexts[&context].legacy);
        let concerned =
            |id, stream: &Stream| contexts.contains(&stream.context) || Some(id) == legacy;
        let mut clock = Clock::default();
        for (&id, stream) in &self.streams {
            if concerned(id, stream) {
                clock.join(&stream.clock);
                clock.add(id, stream.last);
            }
        }
        for (&id, stream) in &mut self.streams {
            if concerned(id, stream) {
                stream.clock.join(&clock);
            }
        }
    }

    /// What `cuCtxSynchronize` and its kin do.
    pub(crate) fn synchronize(&mut self, context: ContextId, clock: &Clock) -> Outcome {
        self.counters.synchronizations += 1;
        self.wait_for(clock);
        self.release_pooled(self.device_of(context));
        self.healthy(context)
    }

    pub(crate) fn record_event(&mut self, event: EventId, stream: StreamId) {
        self.counters.event_records += 1;
        let number = self.enqueue(stream, Queued::of(Work::Record(event)));
        let record = Record { stream, number, clock: self.tail(stream), time: None };
        if let Some(event) = self.events.get_mut(&event) {
            event.record = Some(record);
        }
    }

    fn run_first(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(operation) = stream.queue.pop_front() else { return };
        stream.completed = operation.number;
        let (context, device, done) = (stream.context, stream.device, stream.queue.is_empty());
        if done && stream.origin == Origin::Destroyed {
            self.streams.remove(&id);
        }
        self.time += 1_000;
        if let Some(code) = self.faults.operation(device) {
            self.devices[device].lost = Some(code);
        }
        let Operation { ticket, number, clock, label, work, uses, fails, .. } = operation;
        let actor = Actor { stream: id, number, ticket, clock, label, device };
        let outcome = match self.healthy(context) {
            Ok(()) => fails.map_or(Ok(()), Err).and_then(|()| self.perform(&actor, work)),
            Err(code) => {
                // The memory is gone with the context; only the record of it ends here.
                if let Work::Free(start) = work {
                    self.end_block(start);
                }
                Err(code)
            }
        };
        for start in uses {
            if let Some(block) = self.memory().at_mut(start) {
                block.pending -= 1;
            }
        }
        if let (Err(code), Some(context)) = (outcome, self.contexts.get_mut(&context)) {
            context.broken.get_or_insert(code);
        }
    }

    fn perform(&mut self, actor: &Actor, work: Work) -> Outcome {
        match work {
            Work::Nothing => Ok(()),
            Work::Record(event) => {
                let (time, event) = (self.time, self.events.get_mut(&event));
                let record = event.and_then(|event| event.record.as_mut());
                if let Some(record) =
                    record.filter(|r| (r.stream, r.number) == (actor.stream, actor.number))
                {
                    record.time = Some(time);
                }
                Ok(())
            }
            Work::Copy(copy) => self.run_copy(actor, copy),
            Work::Fill(fill) => self.run_fill(actor, &fill),
            Work::Launch(launch) => self.run_launch(actor, &launch),
            Work::HostFunction { function, user } => {
                self.counters.host_functions += 1;
                let user = std::ptr::with_exposed_provenance_mut(user);
                // SAFETY: whoever queued the function promised that it may be called with this argument.
                super::guard::callback(|| unsafe { function(user) });
                Ok(())
            }
            Work::Birth(start) => {
                let bytes = self.memory().at(start).map_or(0, |block| block.bytes);
                self.touch(actor, start, bytes, true).map(drop)
            }
            Work::Free(start) => {
                let bytes = self.memory().at(start).map_or(0, |block| block.bytes);
                let outcome = self.touch(actor, start, bytes, true).map(drop);
                self.end_block(start);
                outcome
            }
        }
    }
}

impl Stream {
    /// Whether it and the legacy stream wait for each other.
    pub(crate) fn is_blocking(&self) -> bool {
        match self.origin {
            Origin::PerThread => true,
            Origin::Created { non_blocking, .. } => !non_blocking,
            Origin::Legacy | Origin::Destroyed => false,
        }
    }
}
