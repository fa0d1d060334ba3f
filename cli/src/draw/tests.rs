//! Drawings of examples, as text.

use std::collections::BTreeMap;

use robo_model::graph::Application;

use super::*;
use crate::output::paint::Palette;

const SHOP: &str = include_str!("../../../examples/shop/app.graph");

/// One of everything: several parents, facets, inheritance, an optional and an external import, hostile words.
const LAMP: &str = r#"application lamp {
	version: 1.2.0;
	description: A <b>lamp</b> & "friends";
}
VM {
	installer: target;
	children: Tomcat, Store, Cache;
}
Box {
	installer: target;
	children: Store;
}
facet lb-able {
	exports: ip, ajp = 8009;
}
Tomcat {
	installer: script;
	facets: lb-able;
	children: War;
	exports: ip, port = 8080;
	imports: Store.ip, Store.port, Cache.* (optional);
}
War {
	installer: logger;
	imports: external Bank.url (optional), lb-able.ip (optional);
}
Store {
	installer: script;
	exports: ip, random[port] port, banner = "<script>alert('1')</script> \ & co";
}
Cache {
	extends: Store;
	exports: random[port] port;
	imports: Cache.ip (optional);
}
instance of VM {
	name: vm-;
	count: 2;
	instance of Tomcat {
		name: tomcat;
		instance of War {
			name: war;
		}
	}
	instance of Cache {
		name: cache;
	}
}
instance of Box {
	name: box;
	instance of Store {
		name: store;
	}
}
"#;

fn application(text: &str) -> Application {
    let mut files = BTreeMap::from([("app.graph".to_owned(), text.as_bytes().to_vec())]);
    let compiled = robo_dsl::compile_file("app.graph", &mut files);
    compiled.application.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

fn view(width: usize) -> View {
    View { palette: Palette::new(false), width, full: false }
}

/// Components of each example, and its instances, drawn by `draw`.
fn all(draw: impl Fn(&Picture<'_>) -> String) -> String {
    let mut text = String::new();
    for source in [SHOP, LAMP] {
        let application = application(source);
        for picture in [components(&application), instances(&application)] {
            text.push_str(&format!("---- {} of {}\n", picture.total, application.name));
            text.push_str(&draw(&picture));
        }
    }
    text
}

#[test]
fn in_the_terminal() {
    insta::assert_snapshot!(all(|picture| terminal(picture, view(80))));
}

#[test]
fn for_graphviz() {
    insta::assert_snapshot!(all(dot));
}

#[test]
fn for_mermaid() {
    insta::assert_snapshot!(all(mermaid));
}

#[test]
fn for_programs() {
    let application = application(LAMP);
    insta::assert_snapshot!(serde_json::to_string_pretty(&data(&components(&application))).unwrap());
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let application = wide(60, 40);
    for width in [40, 80, 200] {
        for picture in [components(&application), instances(&application)] {
            let text = terminal(&picture, view(width));
            let widest = text.lines().map(console::measure_text_width).max().unwrap();
            assert!(widest <= width, "{widest} of {width}:\n{text}");
            assert!(text.contains(" more"), "long lists are counted");
        }
    }
    let full = View { full: true, ..view(80) };
    assert!(!terminal(&components(&application), full).contains(" more"));
}

/// `chain` components each below the other, and `fan` that import from all who have a facet, which they have themselves.
fn wide(chain: usize, fan: usize) -> Application {
    let mut text = "Root {\n\tinstaller: target;\n\tchildren: C0, F0;\n}\nfacet many {\n\texports: ip;\n}\n".to_owned();
    for n in 0..chain {
        let next = if n + 1 < chain { format!("\tchildren: C{};\n", n + 1) } else { String::new() };
        text.push_str(&format!("C{n} {{\n\tinstaller: script;\n{next}}}\n"));
    }
    for n in 0..fan {
        let next = if n + 1 < fan { format!("\tchildren: F{};\n", n + 1) } else { String::new() };
        let exports: Vec<String> = (0..20).map(|e| format!("variable-{e} = {e}")).collect();
        text.push_str(&format!(
            "F{n} {{\n\tinstaller: script;\n\tfacets: many;\n\texports: ip, {};\n\timports: many.ip (optional);\n{next}}}\n",
            exports.join(", ")
        ));
    }
    text.push_str("instance of Root {\n\tname: root;\n");
    for n in 0..fan.min(30) {
        text.push_str(&format!("instance of F{n} {{\nname: f{n};\n"));
    }
    text.push_str(&"}\n".repeat(fan.min(30)));
    text.push_str("}\n");
    application(&text)
}

#[test]
fn near_a_component() {
    let check = |component: &str, depth: usize, expect: &[&str]| {
        let application = application(LAMP);
        let picture = near(components(&application), Near { component, depth }).unwrap();
        let names: Vec<_> = picture.nodes.iter().map(|node| node.id.as_ref()).collect();
        assert_eq!(names, expect, "{component} {depth}");
        assert_eq!(picture.centre.map(|centre| picture.nodes[centre].name), Some(component));
    };
    check("Box", 1, &["Box", "Cache", "Store"]);
    check("Tomcat", 1, &["Cache", "Store", "Tomcat", "VM", "War", "lb-able"]);
    check("War", 1, &["Tomcat", "War", "lb-able", "external Bank"]);
    check("Box", 9, &["Box", "Cache", "Store", "Tomcat", "VM", "War", "lb-able", "external Bank"]);
    let application = application(LAMP);
    assert!(near(components(&application), Near { component: "Tomact", depth: 1 }).is_none());
    let drawn = terminal(&near(components(&application), Near { component: "Box", depth: 1 }).unwrap(), view(80));
    assert!(drawn.contains("▶ Box") && drawn.ends_with("3 of 6 components are shown, those near Box\n"), "{drawn}");
}

/// Importers times providers would be 400,000,000 arrows.
#[test]
fn arrows_do_not_multiply() {
    let text = "\
VM {\n\tinstaller: target;\n\tchildren: Peer;\n}\n\
Peer {\n\tinstaller: logger;\n\texports: ip;\n\timports: Peer.ip (optional);\n}\n\
instance of VM {\n\tname: vm;\n\tcount: 20000;\n\tinstance of Peer {\n\t\tname: peer;\n\t}\n}\n";
    let application = application(text);
    let picture = instances(&application);
    assert_eq!(picture.nodes.len(), 40_001);
    assert_eq!(picture.edges.len(), 60_000);
    assert!(terminal(&picture, view(80)).contains("┄┄▶ Peer  20000 instances  optional"));
}
