//! The registry of the program, of which there is one for all tests here: this is its only test.

use std::sync::OnceLock;

use bridge_core::{Registration, Registry};

use crate::asked::{Asked, FIRST, names, ready};

#[test]
fn the_registry_of_the_program_has_what_was_registered_before_its_first_use() {
    static REFUSED: OnceLock<String> = OnceLock::new();
    static ASKS: Asked = Asked {
        descriptor: || {
            if let Err(refused) = Registry::global() {
                REFUSED.get_or_init(|| refused.to_string());
            }
            named!("asks", &[], 0)()
        },
        availability: ready,
    };
    let early = [Registration::backend(&ASKS)];
    bridge_core::register(&early).unwrap();
    let made = std::thread::spawn(Registry::global).join().unwrap().unwrap();
    assert!(made.backend("asks").is_ok(), "{:?}", made.disabled());
    let refused = REFUSED.get().expect("a descriptor that asks for the registry is refused it");
    assert!(refused.contains("while it is made"), "{refused}");

    bridge_core::register(&early).expect("registering a thing twice is harmless");
    let late = [early[0], Registration::backend(&FIRST)];
    let error = bridge_core::register(&late).unwrap_err().to_string();
    assert!(error.contains("Asked after the registry was used is not supported: call"), "{error}");
    assert_eq!(names(Registry::global().unwrap()), ["asks"]);
}
