//! `arraybridge doctor`: which backends there are, whether each can run here, and who holds memory.

mod memory;

use arraybridge::memory::profile::Usage;
use arraybridge::{Allocator, Availability, Backend, Detail, Disabled, Registry, Unavailable};
use serde::Serialize;

use self::memory::{HeldMemory, HostMemory};
use crate::args::DoctorArgs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::size::show_size;

#[derive(Debug, Serialize)]
struct Findings {
    backends: Vec<Finding>,
    host: Host,
    memory: HeldMemory,
}

/// What was found out about one backend.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    aliases: Vec<&'static str>,
    framework: &'static str,
    status: &'static str,
    reason: Option<String>,
    remedy: Option<String>,
    devices: Vec<String>,
    memory: Vec<Memory>,
    details: Vec<Fact>,
    dtypes: Vec<String>,
    array_types: usize,
}

/// The memory of a device that its backend can measure.
#[derive(Debug, Serialize)]
struct Memory {
    device: String,
    total: u64,
    free: u64,
}

/// One thing the backend tells of itself or of one of its devices.
#[derive(Debug, Serialize)]
struct Fact {
    device: Option<String>,
    name: &'static str,
    value: String,
}

/// The machine's processor and memory.
#[derive(Debug, Serialize)]
struct Host {
    cpus: Option<usize>,
    #[serde(flatten)]
    memory: HostMemory,
}

pub(crate) fn run(args: &DoctorArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    let registry = Registry::global()?;
    let findings = Findings {
        backends: registry
            .backends()
            .iter()
            .map(|&backend| find(registry, backend))
            .chain(registry.disabled().iter().map(disabled))
            .collect(),
        host: Host::find(),
        memory: Usage::of(registry).into(),
    };
    if args.json {
        console.print_json(&findings)?;
    } else {
        console.print(&show(&findings, console))?;
    }
    Ok(Exit::Done)
}

/// What is linked and cannot be used, under its Rust type.
fn disabled(what: &Disabled) -> Finding {
    Finding {
        name: what.type_name,
        aliases: Vec::new(),
        framework: "",
        status: "disabled",
        reason: Some(what.reason.clone()),
        remedy: None,
        memory: Vec::new(),
        devices: Vec::new(),
        details: Vec::new(),
        dtypes: Vec::new(),
        array_types: 0,
    }
}

fn find(registry: &Registry, backend: &'static dyn Backend) -> Finding {
    let descriptor = backend.descriptor();
    let (status, reason, remedy, devices) = match backend.checked_availability() {
        Availability::Ready { devices } => ("ready", None, None, devices.into_owned()),
        Availability::Unavailable(Unavailable { reason, remedy }) => {
            ("unavailable", Some(reason), Some(remedy), Vec::new())
        }
    };
    let memory_of = |&device| {
        let own = |one: &&dyn Allocator| one.backend().name() == descriptor.name;
        let memory = registry.allocators(device).find(own)?.usage(device).ok()?;
        Some(Memory { device: device.to_string(), total: memory.total, free: memory.free })
    };
    Finding {
        name: descriptor.name,
        aliases: descriptor.aliases.to_vec(),
        framework: descriptor.framework,
        status,
        reason,
        remedy,
        memory: devices.iter().filter_map(memory_of).collect(),
        devices: devices.iter().map(ToString::to_string).collect(),
        details: backend.checked_details().into_iter().map(Fact::from).collect(),
        dtypes: backend.data_types().iter().map(ToString::to_string).collect(),
        array_types: backend.native_types().len(),
    }
}

impl From<Detail> for Fact {
    fn from(detail: Detail) -> Self {
        let Detail { device, name, value } = detail;
        Self { device: device.map(|device| device.to_string()), name, value }
    }
}

impl Host {
    fn find() -> Self {
        Self {
            cpus: std::thread::available_parallelism().ok().map(usize::from),
            memory: HostMemory::find(),
        }
    }
}

fn show(findings: &Findings, console: &Console<'_>) -> String {
    if findings.backends.is_empty() {
        return "No backend is linked into this program. Build it with a Cargo feature: \
                --features ndarray,candle"
            .to_owned();
    }
    let header = ["backend", "framework", "status", "devices and memory", "element types"];
    let mut table = console.table(false, &header);
    for found in &findings.backends {
        let status = match (&found.reason, &found.remedy) {
            (Some(reason), Some(remedy)) => format!("{}: {reason}; {remedy}", found.status),
            (Some(reason), None) => format!("{}: {reason}", found.status),
            _ => found.status.to_owned(),
        };
        table.add_row([
            found.name.to_owned(),
            found.framework.to_owned(),
            status,
            show_devices(found),
            found.dtypes.join(", "),
        ]);
    }
    let details = findings.backends.iter().flat_map(show_details).collect::<String>();
    let host = &findings.host;
    let cpus = host.cpus.map_or("unknown".to_owned(), |cpus| cpus.to_string());
    format!(
        "{table}\n{details}host: {cpus} processors, {}\n{}",
        host.memory.show(),
        findings.memory.show(console)
    )
}

fn show_details(found: &Finding) -> impl Iterator<Item = String> {
    found.details.iter().map(|fact| {
        let subject = fact.device.as_deref().unwrap_or(found.name);
        format!("{subject}: {}: {}\n", fact.name, fact.value)
    })
}

fn show_devices(found: &Finding) -> String {
    let shown: Vec<String> = found
        .devices
        .iter()
        .map(|device| {
            let memory = found.memory.iter().find(|memory| &memory.device == device);
            match memory {
                Some(memory) => format!(
                    "{device} ({} of {} free)",
                    show_size(memory.free),
                    show_size(memory.total)
                ),
                None => device.clone(),
            }
        })
        .collect();
    shown.join(", ")
}
