//! Which machine a host instance is: `device`, `devices` with `{device}` in the name, or `target`.

use robo_model::graph::Binding;
use robo_model::label::Selector;
use robo_model::name::{DeviceName, is_id};

use crate::block::{InstanceDecl, Override};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::syntax::{short, told};

/// Reads the bindings of an instance, of which one may stand. `host` says whether it is a machine.
pub(super) fn binding(decl: &InstanceDecl, given: &[&Override], host: bool, sink: &mut Sink) -> Option<Binding> {
    let read: Vec<Option<Binding>> = given.iter().map(|over| one(decl, over, sink)).collect();
    let devices = given.iter().find(|over| over.key.value == "devices");
    match devices {
        Some(devices) => many_machines(decl, devices, sink),
        None => one_machine(decl, host, sink),
    }
    let (first, others) = given.split_first()?;
    for over in others {
        conflict(first, over, sink);
    }
    read.into_iter().next().flatten()
}

fn one(decl: &InstanceDecl, over: &Override, sink: &mut Sink) -> Option<Binding> {
    let text = over.value.value.trim();
    let refused = |code, message: String, label: &str, help: &str| {
        Diagnostic::new(code, over.value.place, message).label(label).help(help)
    };
    let found = match over.key.value.as_str() {
        "device" => match DeviceName::new(text) {
            Ok(name) => return Some(Binding::Device(name)),
            Err(error) => refused(
                Code::InvalidDevice,
                error.to_string(),
                "not a device's name",
                "write a name as in `device: robot-42;`",
            ),
        },
        "devices" => match Selector::parse(&over.value.value) {
            Ok(selector) => {
                let name = decl.template.as_ref()?.value.clone();
                return Some(Binding::Devices { selector, name });
            }
            Err((range, error)) => {
                let wrong = over.value.value.get(range.clone()).unwrap_or_default();
                // What is missing has no bytes to point at.
                let place = if range.is_empty() { over.value.place } else { over.value.part(range) };
                Diagnostic::new(Code::InvalidSelector, place, told(&error, wrong))
                    .label("not a requirement on labels")
                    .help("write a selector as in `devices: site=tokyo, arch!=arm, gpu;`")
            }
        },
        _ if is_id(text) => return Some(Binding::Target(text.to_owned())),
        _ => {
            let message = format!("`{}` is not a target's name", short(text));
            refused(Code::InvalidTarget, message, "not a name", "write a name as in `target: edge-vm;`")
        }
    };
    sink.push(found);
    None
}

/// Several machines need several names, and there are as many of them as match.
fn many_machines(decl: &InstanceDecl, devices: &Override, sink: &mut Sink) {
    let name = &decl.name;
    // A name that is missing or wrong was reported.
    if decl.template.is_none() && decl.named {
        let message = format!("`devices` of `{}` may select several machines, and its name is one", name.value);
        sink.push(
            Diagnostic::new(Code::DeviceNameTemplate, name.place, message)
                .label("every machine needs a name of its own")
                .help(format!(
                    "write `name: {}-{{device}};`, or `device: NAME;` for one machine",
                    name.value.as_str().trim_end()
                ))
                .related(devices.key.place, "selects the machines"),
        );
    }
    if let Some(count) = &decl.count {
        sink.push(
            Diagnostic::new(Code::DeviceNameTemplate, count.place, "`count` does not go together with `devices`")
                .label("there are as many machines as match")
                .help("leave `count` out")
                .related(devices.key.place, "selects the machines"),
        );
    }
}

fn one_machine(decl: &InstanceDecl, host: bool, sink: &mut Sink) {
    let Some(template) = &decl.template else { return };
    let (message, help) = if host {
        (
            "`{device}` stands in the name of a machine that no `devices` selects",
            "write `devices: SELECTOR;` in the instance, as in `devices: site=tokyo;`, or a plain name",
        )
    } else {
        (
            "`{device}` stands in the name of an instance that is no machine",
            "write a plain name: the instance is there once for each machine that it stands in",
        )
    };
    sink.push(
        Diagnostic::new(Code::DeviceNameTemplate, template.place, message)
            .label("no device's name is known here")
            .help(help),
    );
}

fn conflict(first: &Override, over: &Override, sink: &mut Sink) {
    let message = format!("the instance has both `{}` and `{}`", first.key.value, over.key.value);
    sink.push(
        Diagnostic::new(Code::ConflictingBinding, over.key.place, message)
            .label("a second binding")
            .help("keep one: `device` for one machine, `devices` for all that match, `target` for one that robo makes")
            .related(first.key.place, "the first binding"),
    );
}
