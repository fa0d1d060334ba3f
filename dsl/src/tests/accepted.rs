//! What the original accepts, and what it means.

use robo_model::graph::Installer;

use super::{application, check, component, exports, instance};

#[test]
fn odd_but_right() {
    for text in [
        "A {{\n\tinstaller: target;\n}\n",
        "a {\ninstaller:target;\n}",
        "special {\n junk words installer : target; # comment\n} # end\n",
        "ImportingComponent {\n installer: target;\n}\nfacet {\n}\n".replace("facet {\n}\n", "").as_str(),
        "facetX {\n installer: target;\n}\n",
        "facet{\n installer: target;\n}\n",
        "application {\n installer: target;\n}\n",
        "A {\n installer: target;\n exports: ,a, b=\"x; y, z\", c = \"\", d=, e = 1 = 2, RANDOM[PORT] f, random[port]g;\n}\n",
        "A {\n installer: target;\n exports: a = \"1\",;\n children: B,;\n}\nB {\n installer: x y;\n}\n",
        "A {\n instal\rler: target;\n}\n",
    ] {
        check(text, "");
    }
}

#[test]
fn exports_are_inherited_overridden_and_replicated() {
    let text = "VM {
    installer: target;
    children: MySQL, A, B, C, D, T;
}
MySQL {
    installer: script;
    exports: ip, port = 3306;
}
A {
    extends: MySQL;
    exports: port = 3307;
}
B {
    extends: MySQL;
    exports: MySQL.port = 3307;
}
C {
    extends: MySQL;
    exports: MySQL.port = 3307, C.port = 3308;
}
D {
    extends: C;
    exports: port = 1;
}
facet f {
    exports: x = 1;
}
facet g {
    extends: f;
    exports: f.x = 2, y = 3;
}
T {
    installer: logger;
    facets: g;
    exports: db.ip;
}
";
    let app = application(text);
    let of = |name| exports(&component(&app, name).exports);
    assert_eq!(of("A"), "A.ip@ A.port=3307 MySQL.ip@ MySQL.port=3307");
    assert_eq!(of("B"), "B.ip@ B.port=3307 MySQL.ip@ MySQL.port=3307");
    assert_eq!(of("C"), "C.ip@ C.port=3308 MySQL.ip@ MySQL.port=3307");
    assert_eq!(of("D"), "C.ip@ C.port=1 D.ip@ D.port=1 MySQL.ip@ MySQL.port=1");
    assert_eq!(of("T"), "T.db.ip@ T.x=2 T.y=3 f.x=2 g.y=3");
    let d = component(&app, "D");
    assert_eq!(d.lineage.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["D", "C", "MySQL"]);
    assert_eq!(d.installer, Installer::Script);
}

#[test]
fn addresses_are_filled_in() {
    let text = "VM {
    installer: target;
    exports: ip, ip4, IP6, Ips, lan.ip4, ip4x = y, ip6.z = 1;
}
instance of VM {
    name: vm;
    ip4: 10.0.0.1;
}
";
    let app = application(text);
    let of = exports(&component(&app, "VM").exports);
    assert_eq!(of, "VM.IP6@V6 VM.Ips@All VM.ip@ VM.ip4@V4 VM.ip4x=y VM.ip6.z=1 VM.lan.ip4@V4");
    assert!(exports(&instance(&app, "/vm").exports).contains("VM.ip4=10.0.0.1 "));
}

#[test]
fn children_come_through_facets_and_heirs() {
    let text = "VM {
    installer: target;
    children: deployable;
}
# The database.
#  Keeps everything.
Db {
    installer: script;
    facets: deployable;
}
facet deployable {
}
facet special {
    extends: deployable;
    children: Plugin;
}
Web {
    installer: script;
    facets: special;
}
Heir {
    extends: Web;
}
Plugin {
    installer: script;
}
";
    let app = application(text);
    let children = |name| component(&app, name).children.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(" ");
    assert_eq!(children("VM"), "Db Heir Web");
    assert_eq!(children("Heir"), "Plugin");
    assert_eq!(component(&app, "Db").annotation.as_deref(), Some("The database.\nKeeps everything."));
    assert_eq!(component(&app, "Web").annotation, None);
}

#[test]
fn imports_are_inherited_and_may_become_optional() {
    let text = "VM {
    installer: target;
    children: A, B;
    exports: ip, name = x;
}
A {
    installer: script;
    imports: VM.ip, VM.name, externalLamp.*;
}
B {
    extends: A;
    imports: VM.ip (Optional);
}
";
    let app = application(text);
    let imports: Vec<String> = component(&app, "B")
        .imports
        .iter()
        .map(|i| {
            format!("{i}{}{}", if i.optional { " optional" } else { "" }, if i.external { " external" } else { "" })
        })
        .collect();
    assert_eq!(imports, ["VM.ip optional", "VM.name", "Lamp.* external"]);
}

#[test]
fn counts_copy_with_all_that_stands_inside() {
    let text = "VM {
    installer: target;
    children: A;
}
A {
    installer: script;
    exports: ip, port;
}
instance of VM {
    name: vm ;
    count: 10;
    data.ip.address: 1.2.3.4;
    channels: a, b;
    instance of A {
        name: a;
        count: 2;
        port: \"8; 1\";
    }
}
";
    let app = application(text);
    assert_eq!(app.instances.len(), 30);
    let first = instance(&app, "/vm 01");
    assert_eq!(first.data["ip.address"], "1.2.3.4");
    assert_eq!(first.channels, ["a", "b"]);
    assert!(instance(&app, "/vm 02").data.is_empty());
    assert_eq!(exports(&instance(&app, "/vm 01/a2").exports), "A.ip=1.2.3.4 A.port=8; 1");
    assert_eq!(exports(&instance(&app, "/vm 10/a1").exports), "A.ip@ A.port=8; 1");
}

#[test]
fn overrides_go_by_local_and_by_full_name() {
    let text = "VM {
    installer: target;
    children: A, B;
}
A {
    installer: script;
    exports: x = 1, y = 2, random[port] p;
}
B {
    extends: A;
    exports: z = 3;
}
instance of VM {
    name: vm;
    instance of B {
        name: b;
        x: 4;
        A.y: 5;
        p: 80;
        magic: 6;
        Foo.bar: 7;
    }
    instance of A {
        name: a;
    }
}
";
    let compiled = check(
        text,
        "RM_AMBIGUOUS_OVERRIDING@17 RM_AMBIGUOUS_OVERRIDING@19 RM_MAGIC_INSTANCE_VARIABLE@20 RM_MAGIC_INSTANCE_VARIABLE@21",
    );
    let app = compiled.application.unwrap();
    assert_eq!(
        exports(&instance(&app, "/vm/b").exports),
        "A.p=80 A.x=4 A.y=5 B.magic=6 B.p=80 B.x=4 B.y=2 B.z=3 Foo.bar=7"
    );
    assert_eq!(exports(&instance(&app, "/vm/a").exports), "A.p# A.x=1 A.y=2");
}

#[test]
fn neighbours_of_one_name_in_different_parents_are_two() {
    let text = "VM {
    installer: target;
    children: A;
}
A {
    installer: script;
}
instance of VM {
    name: one;
    instance of A {
        name: a;
    }
}
instance of VM {
    name: two;
    instance of A {
        name: a;
    }
}
";
    let app = application(text);
    let paths: Vec<&str> = app.instances.keys().map(|path| path.as_str()).collect();
    assert_eq!(paths, ["/one", "/one/a", "/two", "/two/a"]);
    assert_eq!(app.name.as_str(), "app");
}
