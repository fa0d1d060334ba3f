//! `target.properties` of a Roboconf project: how a machine is made.
//!
//! Every `*.properties` file directly in the recipe folder of a component whose installer is `target` is one. The
//! keys of the handlers are kept as they are: which of them are needed, only the handler knows.

use std::collections::BTreeMap;

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::properties::{self, Properties};
use crate::source::{FileId, Place, Span, Spanned, narrow};

/// A way to get a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Names it; there is one of each.
    pub id: String,
    /// What makes the machine: `docker`, `iaas-ec2`, …
    pub handler: String,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// All other keys. Values may hold `{{ ip }}`, the address of the machine.
    pub properties: BTreeMap<String, String>,
}

/// Reads one target. Nothing when it has errors; they are about [`FileId`] 0.
#[must_use]
pub fn check_target(bytes: &[u8]) -> (Option<Target>, Vec<Diagnostic>) {
    let mut sink = Sink::default();
    let (text, _) = properties::decode(bytes.to_vec());
    let target = check(&text, FileId(0), &mut sink).target;
    (target, sink.finish())
}

/// What the text of one target says.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Also of one that lacks something else.
    pub(crate) id: Option<Spanned<String>>,
    /// Nothing when there are errors.
    target: Option<Target>,
}

/// Checks the text of one target.
pub(crate) fn check(text: &str, file: FileId, sink: &mut Sink) -> Read {
    let read = Properties::read(text, file);
    if let Some(place) = read.malformed() {
        sink.push(
            Diagnostic::new(Code::TargetUnreadable, place, "the target is not well formed: `\\u` needs four digits")
                .label("not four hexadecimal digits")
                .help("write `\\u00e9` for a letter, or `\\\\` for a backslash"),
        );
        return Read::default();
    }
    let end = narrow(text.trim_end().len());
    let end = Place { file, span: Span::new(end, end) };
    let mut required = |key: &str, code: Code, message: &str, help: &str| {
        let value = read.get(key).filter(|value| !value.value.trim().is_empty());
        if value.is_none() {
            let place = read.key(key).unwrap_or(end);
            sink.push(Diagnostic::new(code, place, message).label(format!("`{key}` is missing")).help(help));
        }
        value
    };
    let id = required("id", Code::TargetNoId, "the target has no id", "write `id: ec2-ireland`, a name of your choice");
    let handler = required(
        "handler",
        Code::TargetNoHandler,
        "the target does not say what makes the machine",
        "write `handler: docker`, or `iaas-ec2`, `iaas-openstack`, `embedded`, …",
    );
    let name =
        required("name", Code::TargetNoName, "the target has no name for people", "write `name: EC2 in Ireland`");
    let said = ["id", "handler", "name", "description"];
    let others = read.entries().iter().filter(|entry| !said.contains(&entry.key.as_str()));
    let id = id.map(|id| Spanned { value: id.value.to_owned(), place: id.place });
    let target = id.as_ref().zip(handler).map(|(id, handler)| Target {
        id: id.value.clone(),
        handler: handler.value.to_owned(),
        name: name.map(|name| name.value.to_owned()),
        description: read.get("description").map(|text| text.value.to_owned()),
        properties: others.map(|entry| (entry.key.clone(), entry.value.clone())).collect(),
    });
    Read { id, target }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[Code]) -> Option<Target> {
        let (target, found) = check_target(text.as_bytes());
        assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), expect, "{text:?}");
        target
    }

    #[test]
    fn targets_are_read() {
        let text = "# c\nid = ec2\nhandler: iaas-ec2\nname = EC2\ndescription = far away\nec2.ami = {{ ip }}\n";
        let target = check(text, &[]).unwrap();
        assert_eq!((target.id.as_str(), target.handler.as_str()), ("ec2", "iaas-ec2"));
        assert_eq!((target.name.as_deref(), target.description.as_deref()), (Some("EC2"), Some("far away")));
        assert_eq!(target.properties, BTreeMap::from([("ec2.ami".to_owned(), "{{ ip }}".to_owned())]));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(check("id: a\nhandler: docker", &[Code::TargetNoName]).is_some());
        for (text, expect) in [
            ("", &[Code::TargetNoId, Code::TargetNoHandler, Code::TargetNoName][..]),
            ("id =\nhandler = docker\nname = n", &[Code::TargetNoId]),
            ("id = a\nhandler =  \nname = n", &[Code::TargetNoHandler]),
            ("id = \\u00\nhandler = docker", &[Code::TargetUnreadable]),
        ] {
            assert!(check(text, expect).is_none(), "{text:?}");
        }
        let (_, found) = check_target(b"id =\nhandler = docker\nname = n");
        assert_eq!(found[0].span, Span::new(0, 2), "the key that has no value");
    }
}
