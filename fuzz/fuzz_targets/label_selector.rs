//! Any text as a label selector: it is refused at a place in it, or read as what it is printed as.
#![no_main]

use fleetgauge_server::door::kubernetes::selector::Selector;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match text.parse::<Selector>() {
        Ok(selector) => {
            let printed = selector.to_string();
            assert_eq!(printed.parse::<Selector>().as_ref(), Ok(&selector), "{printed}");
            // Nothing that is asked of it panics.
            selector.matches(|name| Some(if name.len() % 2 == 0 { "1" } else { "" }));
        }
        Err(error) => assert!(text[error.at..].starts_with(&error.found), "{error:?}"),
    }
});
