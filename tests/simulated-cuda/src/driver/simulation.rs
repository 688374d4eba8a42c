//! Everything that is simulated.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::interface::config::Config;
use crate::interface::counters::Counters;
use crate::interface::violation::ViolationKind;

use super::clock::Clock;
use super::code::{Code, Outcome};
use super::faults::Faults;
use super::handle::{ContextId, EventId, FunctionId, ModuleId, PoolId, StreamId};
use super::host_access;
use super::memory::{Block, Life, Memory};
use super::pools::Pool;
use super::random::Random;
use super::violations;
use super::work::Operation;

#[derive(Debug)]
pub(crate) struct Device {
    /// Its number before `CUDA_VISIBLE_DEVICES` chose.
    pub(crate) physical: usize,
    /// Bytes that were allocated outside of pools.
    pub(crate) used: u64,
    pub(crate) default_pool: PoolId,
    pub(crate) current_pool: PoolId,
    pub(crate) primary: Option<ContextId>,
    pub(crate) primary_references: u64,
    pub(crate) primary_flags: u32,
    pub(crate) lost: Option<Code>,
}

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) device: usize,
    pub(crate) primary: bool,
    pub(crate) flags: u32,
    pub(crate) sequence: u64,
    /// The error that every call gives from now on.
    pub(crate) broken: Option<Code>,
    pub(crate) peers: BTreeSet<ContextId>,
    pub(crate) legacy: StreamId,
    pub(crate) per_thread: BTreeMap<u64, StreamId>,
    pub(crate) limits: BTreeMap<i32, usize>,
}

/// Where a stream comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Legacy,
    PerThread,
    Created {
        non_blocking: bool,
        priority: i32,
    },
    /// Destroyed with work left to do.
    Destroyed,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) context: ContextId,
    pub(crate) device: usize,
    pub(crate) origin: Origin,
    pub(crate) sequence: u64,
    pub(crate) queue: VecDeque<Operation>,
    /// The number of the last operation that was queued.
    pub(crate) last: u64,
    pub(crate) completed: u64,
    /// What has to happen before the next operation.
    pub(crate) clock: Clock,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) context: ContextId,
    pub(crate) timed: bool,
    pub(crate) sequence: u64,
    pub(crate) record: Option<Record>,
}

/// The last time an event was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
    /// Everything that has happened when the event has.
    pub(crate) clock: Clock,
    /// When it happened, in simulated nanoseconds.
    pub(crate) time: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) context: ContextId,
    pub(crate) sequence: u64,
    /// The entries of its PTX with the sizes of their parameters.
    pub(crate) entries: Vec<(String, Vec<usize>)>,
    pub(crate) functions: BTreeMap<String, FunctionId>,
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) module: ModuleId,
    pub(crate) context: ContextId,
    pub(crate) name: String,
    pub(crate) parameters: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Simulation {
    pub(crate) config: Config,
    pub(crate) random: Random,
    pub(crate) initialized: bool,
    pub(crate) devices: Vec<Device>,
    pub(crate) contexts: BTreeMap<ContextId, Context>,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    pub(crate) events: BTreeMap<EventId, Event>,
    pub(crate) modules: BTreeMap<ModuleId, Module>,
    pub(crate) functions: BTreeMap<FunctionId, Function>,
    pub(crate) pools: BTreeMap<PoolId, Pool>,
    /// There from the initialization on.
    memory: Option<Memory>,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
    /// What the host has waited for.
    pub(crate) host: Clock,
    /// Simulated nanoseconds.
    pub(crate) time: u64,
    /// The function that was called.
    pub(crate) call: &'static str,
    next: u64,
}

impl Simulation {
    /// Nothing initialized; handles are numbered from `first`.
    pub(crate) fn new(config: Config, first: u64) -> Self {
        violations::reset(config.abort_on_violation);
        Self {
            random: Random::seeded(config.seed),
            config,
            initialized: false,
            devices: Vec::new(),
            contexts: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            pools: BTreeMap::new(),
            memory: None,
            faults: Faults::default(),
            counters: Counters::default(),
            host: Clock::default(),
            time: 0,
            call: "",
            next: first,
        }
    }

    /// A number that was not given out before.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn last_number(&self) -> u64 {
        self.next
    }

    /// `cuInit`: makes the devices that `CUDA_VISIBLE_DEVICES` leaves visible.
    pub(crate) fn initialize(&mut self) -> Outcome {
        if self.config.init_error != 0 {
            return Err(Code(self.config.init_error));
        }
        if self.initialized {
            return Ok(());
        }
        let visible = visible(self.config.devices, std::env::var("CUDA_VISIBLE_DEVICES").ok());
        if visible.is_empty() {
            return Err(Code::NO_DEVICE);
        }
        let memory = Memory::of(visible.len()).ok_or(Code::OPERATING_SYSTEM)?;
        host_access::watch(memory.addresses(), self.config.survive_host_access);
        self.memory = Some(memory);
        for (device, physical) in visible.into_iter().enumerate() {
            let pool = PoolId::numbered(self.number());
            self.pools.insert(pool, Pool::of(device));
            self.devices.push(Device {
                physical,
                used: 0,
                default_pool: pool,
                current_pool: pool,
                primary: None,
                primary_references: 0,
                primary_flags: 0,
                lost: None,
            });
        }
        self.initialized = true;
        Ok(())
    }

    /// The memory; every function but the first few is refused before the initialization.
    pub(crate) fn memory(&mut self) -> &mut Memory {
        self.memory.as_mut().expect("functions that need memory are refused before cuInit")
    }

    pub(crate) fn memory_if_there(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    pub(crate) fn violation(&self, kind: ViolationKind, message: impl AsRef<str>) {
        violations::record(kind, format!("{}: {}", self.call, message.as_ref()));
    }

    /// The counters, with what is alive now.
    pub(crate) fn counted(&self) -> Counters {
        let mut counters = self.counters;
        let blocks = self.memory.iter().flat_map(Memory::blocks);
        for block in blocks.filter(|block| block.life == Life::Alive) {
            if block.is_host_memory() {
                counters.pinned_allocations_alive += 1;
                counters.pinned_bytes_alive += block.bytes;
            } else {
                counters.device_allocations_alive += 1;
                counters.device_bytes_alive += block.bytes;
            }
        }
        counters.device_bytes_peak = self.memory.as_ref().map_or(0, Memory::most_on_devices);
        counters.events_alive = self.events.len() as u64;
        let created = |stream: &&Stream| matches!(stream.origin, Origin::Created { .. });
        counters.streams_alive = self.streams.values().filter(created).count() as u64;
        counters.pending = self.streams.values().map(|stream| stream.queue.len() as u64).sum();
        counters
    }

    /// Everything that a caller made and has not ended, with the number of its making.
    pub(crate) fn alive(&self) -> Vec<(u64, String)> {
        let blocks = self.memory.iter().flat_map(Memory::blocks);
        let alive = blocks.filter(|block| block.life == Life::Alive);
        let mut all: Vec<_> =
            alive.map(|block: &Block| (block.sequence, block.describe())).collect();
        let streams = self.streams.values().filter(|s| matches!(s.origin, Origin::Created { .. }));
        all.extend(streams.map(|s| (s.sequence, format!("a stream of device {}", s.device))));
        let device = |context| self.contexts.get(&context).map_or(0, |c: &Context| c.device);
        all.extend(self.events.values().map(|event| {
            (event.sequence, format!("an event of device {}", device(event.context)))
        }));
        all.extend(self.modules.values().map(|module| {
            (module.sequence, format!("a module of device {}", device(module.context)))
        }));
        let own = self.contexts.values().filter(|context| !context.primary);
        all.extend(own.map(|c| (c.sequence, format!("a context of device {}", c.device))));
        all.sort();
        all
    }
}

/// The devices that are left, in the order of the variable: up to the first that is not there.
fn visible(devices: usize, variable: Option<String>) -> Vec<usize> {
    let Some(variable) = variable else { return (0..devices).collect() };
    let listed = variable.split(',').map(|word| word.trim().parse::<usize>().ok());
    listed.map_while(|device| device.filter(|&device| device < devices)).collect()
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn the_variable_chooses_and_orders_the_devices() {
        let chosen = |text: &str| visible(3, Some(text.to_owned()));
        assert_eq!(visible(3, None), [0, 1, 2]);
        assert_eq!(chosen("2,0"), [2, 0]);
        assert_eq!(chosen(""), []);
        assert_eq!(chosen("-1"), []);
        assert_eq!(chosen("1,7,0"), [1]);
    }
}
