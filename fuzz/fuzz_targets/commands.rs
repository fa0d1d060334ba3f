//! Any text as a file of commands, with an application and without: instructions or mistakes, each in its file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use robo_dsl::{CommandContext, check_commands};

fuzz_target!(|text: &str| {
    let name = |text: &str| text.parse().expect("a name");
    let known = CommandContext::unknown()
        .component(name("vm"), true, [])
        .component(name("web"), false, [name("vm")])
        .instance("/vm 1".parse().expect("a path"), name("vm"))
        .instance("/vm 1/web".parse().expect("a path"), name("web"))
        .siblings([("other", "execute main"), ("main", text)])
        .file("main");
    for context in [known, CommandContext::unknown()] {
        let (commands, diagnostics) = check_commands(text, &context);
        assert!(commands.instructions.len() <= commands.recognized);
        for instruction in &commands.instructions {
            assert!(text.get(instruction.span.range()).is_some(), "{instruction:?}");
        }
        for diagnostic in &diagnostics {
            assert!(text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
            assert!(diagnostic.related.iter().all(|r| text.get(r.span.range()).is_some()), "{diagnostic:?}");
        }
    }
});
