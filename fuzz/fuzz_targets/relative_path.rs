//! Any text as a path: what is accepted never leads out of the folder it is joined to.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use robo_model::spec::RelativePath;

fuzz_target!(|text: &str| {
    if let Ok(path) = RelativePath::new(text) {
        let joined = Path::new("/folder").join(path.as_str());
        assert!(joined.starts_with("/folder"));
        assert!(Path::new(path.as_str()).components().all(|part| matches!(part, Component::Normal(_))));
    }
});
