//! Contexts, what is current, and what the handles of callers refer to.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::interface::violation::ViolationKind;

use super::clock::Clock;
use super::code::{Code, Outcome};
use super::handle::{ContextId, EventId, FunctionId, ModuleId, StreamId};
use super::memory::Life;
use super::simulation::{Context, Origin, Simulation, Stream};

const DEPTH: usize = 16;

// Cells of numbers have no destructor, so they can be used while a thread ends.
thread_local! {
    static STACK: Cell<[usize; DEPTH]> = const { Cell::new([0; DEPTH]) };
    static TOP: Cell<usize> = const { Cell::new(0) };
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// The handle of this thread's current context, 0 if there is none.
pub(crate) fn current_raw() -> usize {
    STACK.get()[TOP.get()]
}

pub(crate) fn set_current_raw(raw: usize) {
    let mut stack = STACK.get();
    stack[TOP.get()] = raw;
    STACK.set(stack);
}

pub(crate) fn push_current(context: ContextId) -> Outcome {
    if TOP.get() + 1 == DEPTH {
        return Err(Code::INVALID_VALUE);
    }
    TOP.set(TOP.get() + 1);
    set_current_raw(context.to_raw());
    Ok(())
}

/// Takes the current context off the stack.
pub(crate) fn pop_current() -> usize {
    let raw = current_raw();
    set_current_raw(0);
    TOP.set(TOP.get().saturating_sub(1));
    raw
}

/// A number of this thread's own.
fn thread() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    if THREAD.get() == 0 {
        THREAD.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
    }
    THREAD.get()
}

impl Simulation {
    /// Records a handle that is none, and gives the error for it.
    pub(crate) fn invalid_handle(&self, what: &str, raw: usize) -> Code {
        self.violation(
            ViolationKind::InvalidHandle,
            format!("{raw:#x} is not {what}, or no longer"),
        );
        Code::INVALID_HANDLE
    }

    /// A device's number.
    pub(crate) fn device(&self, ordinal: i32) -> Outcome<usize> {
        let device = usize::try_from(ordinal).ok().filter(|&device| device < self.devices.len());
        device.ok_or(Code::INVALID_DEVICE)
    }

    /// The error of a context that is lost or broken.
    pub(crate) fn healthy(&self, context: ContextId) -> Outcome {
        let Some(context) = self.contexts.get(&context) else {
            return Err(Code::CONTEXT_IS_DESTROYED);
        };
        match self.devices[context.device].lost.or(context.broken) {
            Some(code) => Err(code),
            None => Ok(()),
        }
    }

    pub(crate) fn context(&self, raw: usize) -> Outcome<ContextId> {
        let context = ContextId::from_raw(raw).filter(|id| self.contexts.contains_key(id));
        context.ok_or_else(|| {
            self.violation(
                ViolationKind::WrongContext,
                format!("{raw:#x} is not a context, or no longer"),
            );
            Code::INVALID_CONTEXT
        })
    }

    /// The current context, though it may be broken.
    pub(crate) fn current_or_broken(&self) -> Outcome<ContextId> {
        let raw = current_raw();
        if raw == 0 {
            self.violation(ViolationKind::WrongContext, "no context is current on this thread");
            return Err(Code::INVALID_CONTEXT);
        }
        self.context(raw)
    }

    pub(crate) fn current(&self) -> Outcome<ContextId> {
        let context = self.current_or_broken()?;
        self.healthy(context)?;
        Ok(context)
    }

    pub(crate) fn device_of(&self, context: ContextId) -> usize {
        self.contexts.get(&context).map_or(0, |context| context.device)
    }

    /// The stream that a handle means, though its context may be broken: 0 and 1 are the legacy stream of the
    /// current context, 2 is the thread's own.
    pub(crate) fn stream_or_broken(&mut self, raw: usize) -> Outcome<StreamId> {
        if raw > 2 {
            let alive = |id: &StreamId| {
                self.streams.get(id).is_some_and(|stream| stream.origin != Origin::Destroyed)
            };
            return StreamId::from_raw(raw)
                .filter(alive)
                .ok_or_else(|| self.invalid_handle("a stream", raw));
        }
        let context = self.current_or_broken()?;
        let Some(found) = self.contexts.get(&context) else { return Err(Code::INVALID_CONTEXT) };
        if raw < 2 {
            return Ok(found.legacy);
        }
        if let Some(&stream) = found.per_thread.get(&thread()) {
            return Ok(stream);
        }
        let stream = self.new_stream(context, found.device, Origin::PerThread);
        if let Some(found) = self.contexts.get_mut(&context) {
            found.per_thread.insert(thread(), stream);
        }
        Ok(stream)
    }

    pub(crate) fn stream(&mut self, raw: usize) -> Outcome<StreamId> {
        let stream = self.stream_or_broken(raw)?;
        self.healthy(self.streams[&stream].context)?;
        Ok(stream)
    }

    pub(crate) fn event(&self, raw: usize) -> Outcome<EventId> {
        let event = EventId::from_raw(raw).filter(|id| self.events.contains_key(id));
        event.ok_or_else(|| self.invalid_handle("an event", raw))
    }

    pub(crate) fn module(&self, raw: usize) -> Outcome<ModuleId> {
        let module = ModuleId::from_raw(raw).filter(|id| self.modules.contains_key(id));
        module.ok_or_else(|| self.invalid_handle("a module", raw))
    }

    pub(crate) fn function(&self, raw: usize) -> Outcome<FunctionId> {
        let function = FunctionId::from_raw(raw).filter(|id| self.functions.contains_key(id));
        function.ok_or_else(|| self.invalid_handle("a function", raw))
    }

    pub(crate) fn new_stream(
        &mut self,
        context: ContextId,
        device: usize,
        origin: Origin,
    ) -> StreamId {
        let sequence = self.number();
        let id = StreamId::numbered(sequence);
        let stream = Stream {
            context,
            device,
            origin,
            sequence,
            queue: VecDeque::new(),
            last: 0,
            completed: 0,
            clock: Clock::default(),
        };
        self.streams.insert(id, stream);
        id
    }

    pub(crate) fn create_context(&mut self, device: usize, primary: bool, flags: u32) -> ContextId {
        let sequence = self.number();
        let id = ContextId::numbered(sequence);
        let context = Context {
            device,
            primary,
            flags,
            sequence,
            broken: None,
            peers: BTreeSet::new(),
            legacy: self.new_stream(id, device, Origin::Legacy),
            per_thread: BTreeMap::new(),
            limits: BTreeMap::new(),
        };
        self.contexts.insert(id, context);
        id
    }

    pub(crate) fn retain_primary(&mut self, device: usize) -> Outcome<ContextId> {
        if let Some(code) = self.devices[device].lost {
            return Err(code);
        }
        let context = match self.devices[device].primary {
            Some(context) => context,
            None => {
                let flags = self.devices[device].primary_flags;
                let context = self.create_context(device, true, flags);
                self.devices[device].primary = Some(context);
                context
            }
        };
        self.devices[device].primary_references += 1;
        Ok(context)
    }

    pub(crate) fn release_primary(&mut self, device: usize) -> Outcome {
        let state = &mut self.devices[device];
        let Some(context) = state.primary else {
            self.violation(ViolationKind::WrongContext, "the primary context is not retained");
            return Err(Code::INVALID_CONTEXT);
        };
        state.primary_references -= 1;
        if state.primary_references == 0 {
            state.primary = None;
            self.destroy_context(context, true);
        }
        Ok(())
    }

    /// Ends a context with everything in it; memory that is alive then is a leak, if anybody is to blame.
    pub(crate) fn destroy_context(&mut self, id: ContextId, blame: bool) {
        self.drain_where(|stream| stream.context == id);
        let blocks = self.memory().blocks().filter(|block| block.context == id);
        let alive: Vec<_> = blocks
            .filter(|block| block.life != Life::Freed)
            .map(|block| (block.start, block.describe()))
            .collect();
        for (start, what) in alive {
            if blame {
                self.violation(ViolationKind::Leak, format!("the context ends before {what}"));
            }
            self.end_block(start);
        }
        self.streams.retain(|_, stream| stream.context != id);
        self.events.retain(|_, event| event.context != id);
        self.modules.retain(|_, module| module.context != id);
        self.functions.retain(|_, function| function.context != id);
        self.contexts.remove(&id);
        self.contexts.values_mut().for_each(|context| {
            context.peers.remove(&id);
        });
    }
}
