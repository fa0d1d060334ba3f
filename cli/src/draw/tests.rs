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
fn as_a_picture() {
    let application = application(LAMP);
    insta::assert_snapshot!(svg(&components(&application), Place::File).unwrap());
    let page = svg(&instances(&application), Place::Page).unwrap();
    assert!(!page.contains("<script") && page.contains("role=\"img\""));
    assert!(!page.contains("class=\"title\""));
    assert_eq!(page, svg(&instances(&application), Place::Page).unwrap(), "the same picture each time");
}

#[test]
fn a_picture_too_large_is_refused() {
    let application = wide(200, 101);
    let error = svg(&components(&application), Place::File).unwrap_err().to_string();
    assert!(error.starts_with("303 boxes and ") && error.ends_with("at most 100 and 200 are drawn"), "{error}");
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

/// Small graphs of every shape, the same ones each time.
fn shaped(seed: u64) -> Application {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % most
    };
    let size = 2 + below(14);
    let mut text = "facet some {\n\texports: ip;\n}\n".to_owned();
    let names: Vec<String> = (0..size).map(|n| format!("C{n}{}", "x".repeat(n % 4 * 5))).collect();
    let mut instances = String::new();
    for (at, name) in names.iter().enumerate() {
        let installer = if at < 2 { "target" } else { "script" };
        text.push_str(&format!("{name} {{\n\tinstaller: {installer};\n\texports: ip, port = {at};\n"));
        if at == 2 || below(3) == 0 {
            text.push_str("\tfacets: some;\n");
        }
        // Every component has one parent at least, of those before it; what is no machine stands on something.
        let children: Vec<&str> = (at + 1..size)
            .filter(|child| *child > 1 && (*child == at + 1 || at == 0 || below(5) == 0))
            .map(|child| names[child].as_str())
            .collect();
        if !children.is_empty() {
            text.push_str(&format!("\tchildren: {};\n", children.join(", ")));
        }
        let imports: Vec<String> = (0..below(3)).map(|_| format!("{}.ip (optional)", names[below(size)])).collect();
        let imports: std::collections::BTreeSet<String> = imports.into_iter().collect();
        let mut imports: Vec<String> = imports.into_iter().collect();
        if below(4) == 0 {
            imports.push("some.* (optional)".into());
        }
        if !imports.is_empty() {
            text.push_str(&format!("\timports: {};\n", imports.join(", ")));
        }
        text.push_str("}\n");
        if at > 1 && below(2) == 0 {
            let (count, name) = (1 + below(3), &names[at]);
            instances.push_str(&format!(
                "instance of {} {{\nname: vm{at}-;\ncount: {count};\ninstance of {name} {{\nname: i;\n}}\n}}\n",
                names[0]
            ));
        }
    }
    application(&(text + &instances))
}

/// The points of a path of `M`, `L` and `C`, bends in small steps.
fn points(path: &str) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for piece in path.trim_start_matches('M').split(['L', 'C']) {
        let numbers: Vec<f64> = piece.split([' ', ',']).map(|number| number.parse().unwrap()).collect();
        match numbers[..] {
            [x, y] => points.push((x, y)),
            [ax, ay, bx, by, x, y] => {
                let (sx, sy) = *points.last().unwrap();
                for step in 1..=20 {
                    let t = f64::from(step) / 20.0;
                    let u = 1.0 - t;
                    let at = |s: f64, a: f64, b: f64, e: f64| {
                        u * u * u * s + 3.0 * u * u * t * a + 3.0 * u * t * t * b + t * t * t * e
                    };
                    points.push((at(sx, ax, bx, x), at(sy, ay, by, y)));
                }
            }
            _ => panic!("{piece}"),
        }
    }
    points
}

#[test]
fn nothing_lies_over_a_box() {
    for seed in 0..20 {
        let application = shaped(seed);
        for picture in [components(&application), instances(&application)] {
            for direction in [svg::Direction::Down, svg::Direction::Right] {
                let drawn = svg::placed(&picture, direction);
                let inside = |x: f64, y: f64| {
                    drawn
                        .boxes
                        .iter()
                        .any(|b| (x - b.x).abs() < b.width / 2.0 - 1.0 && (y - b.y).abs() < b.height / 2.0 - 1.0)
                };
                for (at, a) in drawn.boxes.iter().enumerate() {
                    for b in &drawn.boxes[at + 1..] {
                        let apart = (a.x - b.x).abs() >= f64::midpoint(a.width, b.width)
                            || (a.y - b.y).abs() >= f64::midpoint(a.height, b.height);
                        assert!(apart, "seed {seed} {direction:?}: {a:?} {b:?}");
                    }
                }
                for line in &drawn.lines {
                    let outside =
                        points(&line.path).into_iter().find(|(x, y)| *x > drawn.width + 1.0 || *y > drawn.height + 1.0);
                    assert_eq!(outside, None, "seed {seed} {direction:?}: {}", line.path);
                    let crossing = points(&line.path).into_iter().find(|(x, y)| inside(*x, *y));
                    assert_eq!(crossing, None, "seed {seed} {direction:?}: {}", line.path);
                    let on = line.label.as_ref().is_some_and(|(_, x, y)| inside(*x, *y));
                    assert!(!on, "seed {seed} {direction:?}: a label on a box");
                }
            }
        }
    }
}
