//! What is disabled, or not available, and that the others stay.

use bridge_core::{
    Admission, Backend, Device, DeviceBytes, Error, HostTools, ManagedTensor, Overflow, Permit,
    Registration, Registry, Result,
};

use crate::asked::{Asked, FIRST, names, ready};

#[test]
fn a_backend_that_claims_a_taken_name_is_disabled_and_the_others_stay() {
    static CLASHING: Asked =
        Asked { descriptor: named!("other", &["ONE"], 0), availability: ready };
    static THIRD: Asked = Asked { descriptor: named!("third", &[], 0), availability: ready };
    let all = [&FIRST, &CLASHING, &THIRD].map(Registration::backend);
    let registry = Registry::new(all);
    assert_eq!(names(&registry), ["first", "third"]);
    let [disabled] = registry.disabled() else { panic!("{:?}", registry.disabled()) };
    assert!(disabled.reason.contains("\"ONE\"") && disabled.reason.contains("\"first\""));
    assert!(disabled.type_name.contains("Asked"), "{disabled:?}");
}

#[test]
fn the_same_registration_twice_counts_once() {
    let registry = Registry::new([Registration::backend(&FIRST), Registration::backend(&FIRST)]);
    assert_eq!(names(&registry), ["first"]);
    assert!(registry.disabled().is_empty());
}

#[test]
fn a_backend_that_panics_when_asked_what_it_is_is_disabled() {
    static PANICS: Asked = Asked { descriptor: || panic!("not yet"), availability: ready };
    let registry = Registry::new([Registration::backend(&PANICS), Registration::backend(&FIRST)]);
    assert_eq!(names(&registry), ["first"]);
    assert!(registry.disabled()[0].reason.contains("panicked"), "{:?}", registry.disabled());
}

#[test]
fn a_backend_that_panics_when_asked_whether_it_is_here_is_not_available() {
    static PANICS: Asked =
        Asked { descriptor: named!("panics", &[], 0), availability: || panic!("no driver") };
    let registry = Registry::new([Registration::backend(&PANICS), Registration::backend(&FIRST)]);
    let available: Vec<_> = registry.available().map(<dyn Backend>::name).collect();
    assert_eq!(available, ["first"]);
    let error = registry.backend("panics").unwrap().devices().unwrap_err();
    assert!(matches!(&error, Error::Unavailable { why, .. } if why.reason.contains("panicked")));
}

/// What there is one of in a program, of a name by which it is told from another.
struct Only(&'static str);

impl Only {
    fn refusal<T>(&self) -> Result<T> {
        Err(Error::Unsupported { what: self.0.to_owned(), remedy: "ask nobody".to_owned() })
    }
}

// SAFETY: neither ever returns `Ok`.
unsafe impl HostTools for Only {
    fn copy(&self, _: &ManagedTensor, _: &mut ManagedTensor) -> Result<()> {
        self.refusal()
    }

    fn cast(&self, _: &ManagedTensor, _: &mut ManagedTensor, _: Overflow) -> Result<()> {
        self.refusal()
    }
}

impl Admission for Only {
    fn admit(&self, _: &[DeviceBytes]) -> Result<Permit> {
        self.refusal()
    }

    fn recover(&self, _: Device, _: &Error, _: u32) -> bool {
        false
    }
}

#[test]
fn of_host_tools_and_admissions_the_first_stays() {
    static FORMER: Only = Only("the former");
    static LATTER: Only = Only("the latter");
    let none = Registry::new([]);
    assert!(none.admission().is_none());
    let lacking = none.host_tools().err().expect("none are linked").to_string();
    assert!(lacking.contains("copying in host memory") && lacking.contains("link bridge-host"));

    let registry = Registry::new([
        Registration::host_tools(&FORMER),
        Registration::host_tools(&LATTER),
        Registration::admission(&FORMER),
        Registration::admission(&LATTER),
    ]);
    let source = ManagedTensor::from_vec(vec![1_u8], &[1]).unwrap();
    let mut target = ManagedTensor::from_vec(vec![0_u8], &[1]).unwrap();
    let copied = registry.host_tools().unwrap().copy(&source, &mut target).unwrap_err();
    let admitted = registry.admission().expect("one is registered").admit(&[]).unwrap_err();
    for error in [copied, admitted] {
        assert!(error.to_string().contains("the former"), "{error}");
    }
    let reasons: Vec<_> = registry.disabled().iter().map(|one| one.reason.as_str()).collect();
    let first = "came first: link one of them";
    assert_eq!(
        reasons,
        [format!("other host tools {first}"), format!("another admission {first}")]
    );
}
