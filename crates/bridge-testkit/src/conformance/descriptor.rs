//! What a backend says of itself.

use bridge_core::{DataType, MAX_RANK, NativeType};

use super::outcome::{Check, Findings, ensure};
use super::subject::Subject;

pub(super) fn descriptor_is_sane(subject: &Subject, findings: &mut Findings) {
    let descriptor = subject.backend.descriptor();
    findings.case("the name", || named(descriptor.name));
    findings.case("the framework's name", || {
        ensure(!descriptor.framework.trim().is_empty(), || "it is empty".to_owned())
    });
    for (index, alias) in descriptor.aliases.iter().enumerate() {
        findings.case(format!("the alias \"{alias}\""), || {
            named(alias)?;
            let twice = *alias == descriptor.name || descriptor.aliases[..index].contains(alias);
            ensure(!twice, || "it is there twice".to_owned())
        });
    }
    findings.case("registering it together with what is linked", || match &subject.clash {
        None => Ok(()),
        Some(clash) => Err(clash.clone()),
    });
    for name in descriptor.aliases.iter().chain([&descriptor.name]) {
        findings.case(format!("asking the registry for \"{name}\" in capitals"), || {
            let found = subject.registry.backend(&name.to_uppercase());
            let found = found.map_err(|error| error.to_string())?.name();
            ensure(found == subject.name, || format!("it gave \"{found}\""))
        });
    }
    findings.case("the details", || {
        let details = subject.backend.details();
        let unnamed = details.iter().find(|one| one.name.trim().is_empty());
        ensure(unnamed.is_none(), || format!("one has no name: {unnamed:?}"))
    });
    let types = subject.backend.native_types();
    findings.case("the array types", || ensure(!types.is_empty(), || "there are none".to_owned()));
    for (index, native) in types.iter().enumerate() {
        findings.case(format!("the array type {}", native.name()), || {
            let twice = types[..index].iter().any(|other| other.name() == native.name());
            ensure(!twice, || "it is listed twice".to_owned())?;
            array_type(subject, native)
        });
    }
}

fn named(name: &str) -> Check {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    ensure(!name.is_empty() && name.chars().all(allowed), || {
        format!("\"{name}\" is not made of lower-case letters, digits, '-', '_' and '.'")
    })
}

fn array_type(subject: &Subject, native: &NativeType) -> Check {
    let owner = native.descriptor().name;
    ensure(owner == subject.name, || format!("it says that it belongs to \"{owner}\""))?;
    let accepts = native.accepts();
    let types = accepts.data_types();
    ensure(!types.is_empty(), || "it accepts no element type".to_owned())?;
    ensure(!accepts.device_kinds().is_empty(), || "it accepts no kind of device".to_owned())?;
    let (lowest, highest) = accepts.rank_limits();
    ensure(lowest <= highest && highest <= MAX_RANK, || {
        format!("it accepts ranks from {lowest} to {highest}")
    })?;
    let repeated = |(index, one): (usize, &DataType)| types[..index].contains(one);
    let twice = types.iter().enumerate().any(repeated);
    ensure(!twice, || format!("an element type is listed twice: {types:?}"))?;
    let odd = types.iter().find(|one| !accepts.alignment_for(**one).is_power_of_two());
    ensure(odd.is_none(), || "its alignment is no power of two".to_owned())
}
