//! Large graphs as people write them: comments, facets, imports, quoted values, overrides.

use std::fmt::Write as _;

/// What every part can stand in.
const HEAD: &str =
    "# A machine.\nMachine {\n\tinstaller: target;\n\tchildren: part;\n\texports: ip;\n}\n\nfacet part {\n}\n\n";

/// A graph of `components` components beside its machine; each imports from the one before it.
pub(crate) fn graph(components: usize) -> String {
    let mut text = String::from(HEAD);
    for number in 1..=components {
        component(&mut text, number);
    }
    text
}

/// [`graph`], as long as it takes to have `bytes` bytes.
pub(crate) fn graph_of_bytes(bytes: usize) -> String {
    let mut text = String::from(HEAD);
    let mut number = 0;
    while text.len() < bytes {
        number += 1;
        component(&mut text, number);
    }
    text
}

/// At least `instances` instances of the first `components` components of [`graph`], a hundred on each machine.
pub(crate) fn instances(instances: usize, components: usize) -> String {
    const ON_EACH: usize = 100;
    let mut text = String::new();
    for machine in 0..instances.div_ceil(ON_EACH) {
        writeln!(text, "instance of Machine {{\n\tname: machine-{machine};").unwrap_or_default();
        for number in 1..ON_EACH {
            let of = 1 + (machine * ON_EACH + number) % components;
            writeln!(
                text,
                "\tinstance of Part{of} {{\n\t\tname: part-{number};\n\t\tport: {port}; # its own\n\t}}",
                port = 1024 + number,
            )
            .unwrap_or_default();
        }
        text.push_str("}\n\n");
    }
    text
}

/// `depth` instances, each in the one before it.
pub(crate) fn nested(depth: usize) -> String {
    let mut text = String::from("Machine {\n\tinstaller: target;\n\tchildren: Machine;\n}\n");
    for level in 0..depth {
        writeln!(text, "instance of Machine {{\nname: m{level};").unwrap_or_default();
    }
    text.extend(std::iter::repeat_n("}\n", depth));
    text
}

fn component(text: &mut String, number: usize) {
    let import = match number {
        1 => String::new(),
        _ => format!("\timports: Part{0}.port, Part{0}.ip (optional);\n", number - 1),
    };
    writeln!(
        text,
        "# What part {number} is for.\nPart{number} {{\n\tinstaller: script;        # runs scripts\n\tfacets: part;\n\
         \texports: ip, port = {port}, banner = \"hello; there, all\";\n{import}}}\n",
        port = 1024 + number % 60_000,
    )
    .unwrap_or_default();
}
