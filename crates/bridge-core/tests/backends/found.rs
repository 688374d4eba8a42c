//! What the registry finds, and by which names.

use std::any::TypeId;

use bridge_core::{
    Absent, Array, Backend, Capability, Converter, Description, Error, ManagedTensor, Options,
    Refused, Registration, Registry, Result,
};

use crate::asked::{FIRST, names};
use crate::tables::{Row, Tables, row};

#[test]
fn a_backend_is_found_by_its_names_and_by_what_is_its_own() {
    let registry = Registry::new([Registration::backend(&FIRST), Registration::backend(&Tables)]);
    assert_eq!(names(&registry), ["tables", "first"], "by priority");
    for name in ["tables", "TABLES", "sheets"] {
        assert_eq!(registry.backend(name).unwrap().name(), "tables");
    }
    let error = registry.backend("table").unwrap_err().to_string();
    assert!(error.contains("no backend \"table\": linked are tables, first;"), "{error}");
    assert_eq!(registry.detect(&row()).map(<dyn Backend>::name), Some("tables"));
    assert!(registry.detect(&1.5_f32).is_none());

    let owner = |registry: &Registry, array: &Array| {
        registry.backend_of(array).map(<dyn Backend>::name).map_err(|error| error.to_string())
    };
    let array = Array::new(row());
    assert_eq!(owner(&registry, &array).as_deref(), Ok("tables"));
    let others = Registry::new([Registration::backend(&FIRST)]);
    let error = owner(&others, &array).unwrap_err();
    assert!(error.contains("no backend \"tables\": linked are first;"), "{error}");
    let tensor = ManagedTensor::from_vec(vec![1_u8], &[1]).unwrap();
    assert_eq!(owner(&others, &Array::new(tensor)).as_deref(), Ok("dlpack"), "no framework");
}

static GRID: Absent =
    Absent { names: &["grid", "lattice"], remedy: "enable the feature `grid` of that crate" };

#[test]
fn an_unknown_name_is_told_what_was_meant_and_what_brings_it() {
    let all = [
        Registration::backend(&FIRST),
        Registration::backend(&Tables),
        Registration::absent(&GRID),
    ];
    let registry = Registry::new(all);
    let told = |name: &str| registry.backend(name).unwrap_err().to_string();
    let grid = "linked are tables, first; \"grid\" is not built into this program: enable the feature `grid`";
    for name in ["grid", "LATTICE", "gird", "latice"] {
        assert!(told(name).contains(grid), "{}", told(name));
    }
    for name in ["table", "Sheet", "tabels"] {
        assert!(told(name).ends_with("did you mean \"tables\"?"), "{}", told(name));
    }
    for name in ["jax", "t", ""] {
        let told = told(name);
        assert!(told.contains("to link it") && !told.contains("mean"), "{told}");
    }
    assert_eq!(registry.absent().map(Absent::name).collect::<Vec<_>>(), ["grid"]);
}

static TABLES_ELSEWHERE: Absent = Absent { names: &["tables"], remedy: "nothing: it is there" };

#[test]
fn a_backend_that_is_linked_after_all_is_not_absent() {
    let both = [Registration::absent(&TABLES_ELSEWHERE), Registration::backend(&Tables)];
    let registry = Registry::new(both);
    assert_eq!(registry.backend("tables").unwrap().name(), "tables");
    assert_eq!(registry.absent().count(), 0);
    assert!(registry.backend("tabels").unwrap_err().to_string().contains("did you mean"));
}

/// A shortcut from one backend to another, which takes nothing.
struct Shortcut(&'static str, &'static str);

impl Converter for Shortcut {
    fn source(&self) -> &'static str {
        self.0
    }

    fn target(&self) -> &'static str {
        self.1
    }

    fn target_type(&self) -> TypeId {
        TypeId::of::<Row>()
    }

    fn name(&self) -> &'static str {
        "a shortcut"
    }

    fn applies(&self, _: &Description, _: &Options) -> bool {
        false
    }

    fn convert(&self, array: Array, _: &Options) -> Result<Array, Refused<Array>> {
        let what = "this shortcut".to_owned();
        Err(Refused::new(array, Error::Unsupported { what, remedy: "go round".to_owned() }))
    }
}

#[test]
fn a_shortcut_is_found_from_its_source_to_its_target_only() {
    static PAIRS: [Shortcut; 3] =
        [Shortcut("one", "two"), Shortcut("one", "three"), Shortcut("four", "two")];
    static AGAIN: Shortcut = Shortcut("one", "two");
    let all = PAIRS.iter().chain([&AGAIN]).map(Registration::converter);
    let registry = Registry::new(all);
    let pair = |one: &&dyn Converter| (one.source(), one.target());
    let pairs: Vec<_> = registry.converters().iter().map(pair).collect();
    assert_eq!(pairs, [("four", "two"), ("one", "three"), ("one", "two")], "in order");
    let [disabled] = registry.disabled() else { panic!("{:?}", registry.disabled()) };
    assert!(disabled.reason.contains("from \"one\" to \"two\", and came first"), "{disabled:?}");
    for (source, target) in [("one", "two"), ("four", "two"), ("two", "one"), ("four", "three")] {
        let found = registry.converter(source, target).as_ref().map(pair);
        assert_eq!(found, pairs.contains(&(source, target)).then_some((source, target)));
    }
}

trait Colour: Sync {
    fn colour(&self) -> &'static str;
}

impl Colour for &'static str {
    fn colour(&self) -> &'static str {
        self
    }
}

static RED: Capability<dyn Colour> = Capability::new("tables", &"red");
static BLUE: Capability<dyn Colour> = Capability::new("unlinked", &"blue");

#[test]
fn a_capability_is_found_by_its_trait_and_its_backends_names() {
    let registry = Registry::new([
        Registration::backend(&Tables),
        Registration::capability(&BLUE),
        Registration::capability(&RED),
    ]);
    let colour = |backend| registry.capability::<dyn Colour>(backend).map(Colour::colour);
    assert_eq!(
        ["tables", "Sheets", "unlinked", "first"].map(colour),
        [Some("red"), Some("red"), Some("blue"), None]
    );
    assert!(registry.capability::<str>("tables").is_none());
    assert_eq!((RED.backend(), RED.get().colour()), ("tables", "red"));
}
