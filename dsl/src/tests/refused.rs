//! What the original refuses, with its names for the mistakes; and what is no text at all.

use super::{check, compile_all, summary};

/// A machine, with the child `A` where `text` defines it; then `text` from line 5 on.
fn below_vm(text: &str, expect: &str) {
    let has_a = text.lines().any(|line| matches!(line, "A {" | "facet A {" | "\u{FEFF}A {"));
    let third = if has_a { "children: A;" } else { "# alone" };
    check(format!("VM {{\n installer: target;\n {third}\n}}\n{text}"), expect);
}

#[test]
fn lines() {
    check("A\n", "P_O_C_BRACKET_MISSING@1");
    check("A\n installer: target;\n}\n", "P_O_C_BRACKET_MISSING@1");
    check("A\n{\n installer: target;\n}\n", "P_O_C_BRACKET_MISSING@1");
    check("A { }\n", "RM_EMPTY_COMPONENT_INSTALLER@1 P_O_C_BRACKET_EXTRA_CHARACTERS@1");
    check("A { x\n}\n", "P_O_C_BRACKET_EXTRA_CHARACTERS@1");
    check("A { installer: target; }\n", "P_O_C_BRACKET_EXTRA_CHARACTERS@1");
    check(
        "A { installer: target\n exports: 1;\n}\n",
        "P_O_C_BRACKET_EXTRA_CHARACTERS@1 PM_INVALID_EXPORTED_VAR_NAME@2",
    );
    check("A {\n installer: target;\n} x\n", "P_C_C_BRACKET_EXTRA_CHARACTERS@3");
    check("A {\n installer: target;\n}};\n", "P_C_C_BRACKET_EXTRA_CHARACTERS@3");
    check("A {\n installer: target;\n", "P_C_C_BRACKET_MISSING@3");
    check("A {\n installer: target\n}\n", "P_PROPERTY_ENDS_WITH_SEMI_COLON@2");
    check("A {\n installer: target; x;\n}\n", "PM_INVALID_INSTALLER_NAME@2 P_ONE_BLOCK_PER_LINE@2");
    check("A {\n installer: target; # is fine\n}\n", "");
    check("A {\n installer: target; // is not\n}\n", "P_ONE_BLOCK_PER_LINE@2");
    check("A {\n installer: target;\u{A0}\n}\n", "P_ONE_BLOCK_PER_LINE@2");
    check("facet import {\n exports: a;\n}\n", "P_IMPORT_ENDS_WITH_SEMI_COLON@1");
    check("A:\n installer: target;\n", "P_UNRECOGNIZED_BLOCK@1");
    check("A {\n installer: target;\n exports {\n  ip: x;\n }\n}\n", "P_INVALID_PROPERTY@3");
    check("application a {\n instance of A {\n  name: x;\n }\n}\nA {\n installer: target;\n}\n", "E0912@2");
    check("A {\n installer = target;\n}\n", "P_INVALID_PROPERTY@2");
    check("A {\n installer: target;\n}\ninstance of A {\n name=a;\n}\n", "P_INVALID_PROPERTY_OR_INSTANCE@5");
    check("[ nothing known ]\n", "P_UNRECOGNIZED_BLOCK@1");
    check("}\n", "P_UNRECOGNIZED_BLOCK@1");
    check("import a.graph\n", "CO_UNREACHABLE_FILE@1 P_IMPORT_ENDS_WITH_SEMI_COLON@1");
    check("import a.graph; B {\n", "CO_UNREACHABLE_FILE@1 P_ONE_BLOCK_PER_LINE@1");
    check("import ;\n", "PM_EMPTY_IMPORT_LOCATION@1");
    check("# nothing\n\n", "P_EMPTY_FILE@1 RM_NO_ROOT_COMPONENT@1");
}

#[test]
fn a_bad_line_hides_nothing() {
    check(
        "A {\n installer target;\n exports: 1, b;\n}\nfacet {\n}\nB {\n children: -, \"x\";\n nope: 1;\n imports: x;\n",
        "P_INVALID_PROPERTY@2 PM_INVALID_EXPORTED_VAR_NAME@3 PM_EMPTY_FACET_NAME@5 \
         RM_EMPTY_COMPONENT_INSTALLER@7 PM_INVALID_CHILD_NAME@8 PM_INVALID_CHILD_NAME@8 PM_PROPERTY_NOT_APPLIABLE@9 PM_INCOMPLETE_IMPORTED_VAR_NAME@10 P_C_C_BRACKET_MISSING@11",
    );
    // A forgotten `}`: the next block begins all the same, and its mistakes are found.
    check(
        "A {\n installer: target;\nB {\n nope: 1;\n}\n",
        "P_INVALID_PROPERTY@3 RM_EMPTY_COMPONENT_INSTALLER@3 PM_PROPERTY_NOT_APPLIABLE@4",
    );
    check(
        "A {\n installer: target;\n} facet B {\n nope: 1;\n}\n",
        "P_C_C_BRACKET_EXTRA_CHARACTERS@3 RM_ORPHAN_FACET@3 PM_PROPERTY_NOT_APPLIABLE@4",
    );
}

#[test]
fn blocks() {
    below_vm("A {\n installer: \"script\";\n}\n", "PM_INVALID_INSTALLER_NAME@6");
    below_vm("A {\n installer: ;\n}\n", "PM_EMPTY_PROPERTY_VALUE@6");
    below_vm("A {\n Installer: script;\n}\n", "PM_PROPERTY_NOT_APPLIABLE@6");
    below_vm("A {\n installer: script;\n installer: script;\n}\n", "PM_DUPLICATE_PROPERTY@7");
    below_vm("a b {\n}\n", "PM_INVALID_NAME@5 RM_EMPTY_COMPONENT_INSTALLER@5");
    below_vm("a.b {\n installer: target;\n}\n", "PM_DOT_IS_NOT_ALLOWED@5");
    below_vm("\u{FEFF}A {\n installer: script;\n}\n", "PM_INVALID_NAME@5");
    below_vm(
        "A {\n installer: script;\n facets: x,,y;\n}\n",
        "CO_INEXISTING_FACET@7 PM_EMPTY_REFERENCED_NAME@7 CO_INEXISTING_FACET@7",
    );
    below_vm("A {\n installer: script;\n exports: a, ;\n}\n", "PM_EMPTY_VARIABLE_NAME@7");
    below_vm(
        "A {\n installer: script;\n exports: a = x\"y\", b = \"c;\n}\n",
        "PM_INVALID_EXPORT_COMPLEX_VALUE@7 PM_INVALID_EXPORT_COMPLEX_VALUE@7",
    );
    below_vm(
        "A {\n installer: script;\n exports: external B.a;\n}\n",
        "PM_INVALID_EXPORTED_VAR_NAME@7 PM_EXTERNAL_IS_KEYWORD_FOR_IMPORTS@7",
    );
    below_vm(
        "A {\n installer: script;\n imports: -a.b, c, d., *;\n}\n",
        "PM_INVALID_IMPORTED_VAR_NAME@7 PM_INCOMPLETE_IMPORTED_VAR_NAME@7 PM_INCOMPLETE_IMPORTED_VAR_NAME@7 PM_INVALID_IMPORTED_VAR_NAME@7",
    );
    below_vm("instance of VM {\n name: 8;\n count: 3 ;\n}\n", "PM_INVALID_INSTANCE_NAME@6 PM_INVALID_INSTANCE_COUNT@7");
    below_vm(
        "instance of VM {\n name: vm;\n Name: x;\n name: y;\n}\n",
        "RM_MAGIC_INSTANCE_VARIABLE@7 PM_DUPLICATE_PROPERTY@8",
    );
    below_vm(&format!("{} {{\n installer: target;\n}}\n", "a".repeat(129)), "E0907@5");
}

#[test]
fn names() {
    below_vm(
        "A {\n installer: script;\n extends: B;\n facets: VM;\n children: C;\n}\n",
        "CO_INEXISTING_COMPONENT@7 CO_INEXISTING_FACET@8 CO_INEXISTING_CHILD@9",
    );
    below_vm("A {\n installer: script;\n extends: VM ;\n}\n", "CO_INEXISTING_COMPONENT@7");
    below_vm("A {\n installer: script;\n}\nA {\n}\n", "CO_ALREADY_DEFINED_COMPONENT@5 CO_ALREADY_DEFINED_COMPONENT@8");
    below_vm("A {\n installer: script;\n}\nfacet A {\n}\n", "CO_CONFLICTING_NAME@5 CO_CONFLICTING_NAME@8");
    below_vm(
        "facet f {\n}\nfacet f {\n}\nA {\n installer: script;\n}\n",
        "CO_ALREADY_DEFINED_FACET@5 RM_ORPHAN_FACET@5 CO_ALREADY_DEFINED_FACET@7",
    );
    let a = "A {\n installer: script;\n}\n";
    below_vm(&format!("{a}instance of Vm {{\n name: a;\n}}\n"), "CO_INEXISTING_COMPONENT@8");
    let vm = "instance of VM {\n name: vm;\n}\n";
    below_vm(&format!("{a}{vm}{vm}"), "CO_ALREADY_DEFINED_INSTANCE@9 CO_ALREADY_DEFINED_INSTANCE@12");
    let three = "instance of VM {\n name: vm;\n count: 3;\n}\n";
    let second = "instance of VM {\n name: vm2;\n}\n";
    below_vm(&format!("{a}{three}{second}"), "CO_CONFLICTING_INFERRED_INSTANCE@9");
    let million = "instance of VM {\n name: vm;\n count: 1000000;\n}\n";
    below_vm(&format!("{a}{million}"), "E0926@10");
}

#[test]
fn the_whole() {
    check("A {\n installer: script;\n}\n", "RM_ROOT_INSTALLER_MUST_BE_TARGET@2");
    check("A {\n installer: target ;\n}\n", "RM_ROOT_INSTALLER_MUST_BE_TARGET@2");
    check("A {\n}\n", "RM_EMPTY_COMPONENT_INSTALLER@1");
    check("A {\n installer: target;\n children: A;\n}\n", "RM_NO_ROOT_COMPONENT@1");
    below_vm(
        "A {\n installer: script;\n children: B;\n}\nB {\n installer: script;\n children: A;\n}\n",
        "RM_CYCLE_IN_COMPONENTS@5 RM_CYCLE_IN_COMPONENTS@9",
    );
    below_vm(
        "A {\n extends: B;\n installer: script;\n}\nB {\n extends: A;\n installer: target;\n}\n",
        "RM_CYCLE_IN_COMPONENTS_INHERITANCE@6 RM_CYCLE_IN_COMPONENTS_INHERITANCE@10",
    );
    // One that only leads to a circle: the original does not come back.
    check(
        "C {\n extends: D;\n installer: target;\n}\nD {\n extends: E;\n installer: target;\n}\nE {\n extends: D;\n installer: target;\n}\n",
        "RM_CYCLE_IN_COMPONENTS_INHERITANCE@6 RM_CYCLE_IN_COMPONENTS_INHERITANCE@10",
    );
    below_vm(
        "A {\n installer: script;\n facets: f;\n}\nfacet f {\n extends: g;\n}\nfacet g {\n extends: f;\n}\n",
        "RM_CYCLE_IN_FACETS_INHERITANCE@9 RM_CYCLE_IN_FACETS_INHERITANCE@12 RM_ORPHAN_FACET@12",
    );
    below_vm(
        "A {\n installer: script;\n exports: x = 1;\n imports: A.x, A.*, A.x (optional);\n}\n",
        "RM_COMPONENT_IMPORTS_EXPORTS@8",
    );
    below_vm(
        "A {\n installer: script;\n imports: VM.x, B.*, external C.x;\n}\n",
        "RM_UNRESOLVABLE_VARIABLE@7 RM_UNRESOLVABLE_VARIABLE@7",
    );
    below_vm(
        "A {\n installer: script;\n imports: f.*;\n}\nfacet f {\n exports: x;\n}\n",
        "RM_UNRESOLVABLE_FACET_VARIABLE@7 RM_ORPHAN_FACET@9",
    );
    below_vm(
        "A {\n installer: script;\n exports: random[ports] p, random[port] q = 1;\n}\n",
        "RM_INVALID_RANDOM_KIND@7 RM_NO_VALUE_FOR_RANDOM@7",
    );
    below_vm(
        "A {\n installer: script;\n}\nfacet f {\n children: B;\n}\nB {\n installer: target;\n}\n",
        "RM_ORPHAN_FACET_WITH_CHILDREN@8 RM_UNREACHABLE_COMPONENT@11",
    );
    below_vm(
        "A {\n installer: script;\n exports: x;\n}\ninstance of A {\n name: a;\n x: 1;\n}\n",
        "RM_MISSING_INSTANCE_PARENT@9",
    );
    below_vm(
        "A {\n installer: script;\n exports: x, ip, db.IP;\n}\ninstance of VM {\n name: v;\n instance of A {\n  name: a;\n }\n instance of VM {\n  name: w;\n }\n}\n",
        "RM_MISSING_VARIABLE_VALUE@12 RM_INVALID_INSTANCE_PARENT@14",
    );
    below_vm(
        "A {\n installer: script;\n exports: x;\n}\ninstance of VM {\n name: v;\n instance of A {\n  name: a;\n  x: \"\";\n }\n}\n",
        "RM_MISSING_VARIABLE_VALUE@12",
    );
    below_vm(
        "A {\n installer: script;\n exports: random[port] p;\n}\nB {\n extends: A;\n}\ninstance of VM {\n name: v;\n instance of B {\n  name: b;\n }\n}\n",
        "RM_MISSING_VARIABLE_VALUE@15",
    );
}

#[test]
fn files() {
    let vm: &[u8] = b"import x/b.graph;\nVM {\n installer: target;\n}\n";
    let with = |text: &[u8]| summary(&compile_all(&[("app.graph", vm), ("x/b.graph", text)]));
    // Circles, and other ways to write a path, are harmless.
    assert_eq!(with(b"import ./app.graph;\nimport x/../x//b.graph;\nA {\n installer: target;\n}\n"), "");
    assert_eq!(with(b"import ../app.graph;\n"), "E0909@1");
    assert_eq!(with(b"import b.graph;\n"), "CO_UNREACHABLE_FILE@1");
    assert_eq!(with(b"import C:\\x;\n"), "E0909@1");
    assert_eq!(with(b"import /etc/passwd;\n"), "CO_UNREACHABLE_FILE@1");
    assert_eq!(with(b""), "P_EMPTY_FILE@1");
    // What an unreadable file may define is not called unknown.
    let out = compile_all(&[("app.graph", b"import b.graph;\nVM {\n installer: target;\n children: B;\n}\n")]);
    assert_eq!(summary(&out), "CO_UNREACHABLE_FILE@1");
    let missing = crate::compile_file("nope.graph", &mut std::collections::BTreeMap::new());
    assert_eq!(summary(&missing), "P_IO_ERROR@1");
}

#[test]
fn small_texts_do_not_become_large_graphs() {
    // Each facet's members may stand in each other: the square of the components.
    let members: String = (0..1100).map(|i| format!("C{i} {{\n facets: f;\n}}\n")).collect();
    let out = super::compile(format!("facet f {{\n children: f;\n}}\n{members}"));
    assert!(summary(&out).starts_with("E0929@"), "{}", out.diagnostics.len());
    // Every level of a long chain repeats what is above it.
    let chain: String = (1..300).map(|i| format!("C{i} {{\n extends: C{};\n}}\n", i - 1)).collect();
    let out = super::compile(format!("C0 {{\n installer: target;\n}}\n{chain}"));
    assert!(summary(&out).starts_with("E0927@"), "{}", summary(&out));
    let facets: String =
        (1..1500).map(|i| format!("facet f{i} {{\n extends: f{};\n exports: x{i} = 1;\n}}\n", i - 1)).collect();
    let out = super::compile(format!("facet f0 {{\n}}\n{facets}A {{\n installer: target;\n facets: f1499;\n}}\n"));
    assert!(summary(&out).contains("E0929@"), "{}", out.diagnostics.len());
}

#[test]
fn what_is_no_text() {
    check(b"A {\n installer: \xFFtarget;\n}\n", "E0901@2");
    check(b"A {\n\0\n}\n", "E0902@2");
    check(b"\x7FELF\0\xFF\xFE", "E0902@1");
    check("A {\r installer: target;\r}\r", "E0906@1");
    check("A {\r\n installer: target;\r\n}\r\n", "");
    check(" \u{A0}\n", "P_UNRECOGNIZED_BLOCK@1");
    let out = super::compile("x y\n".repeat(5000));
    assert_eq!(out.diagnostics.len(), crate::MAX_DIAGNOSTICS + 1);
    let long = super::compile(format!("A {{\n installer: {};\n}}\n", "x".repeat(5_000_000)));
    assert_eq!(summary(&long), "RM_ROOT_INSTALLER_MUST_BE_TARGET@2");
    let deep = format!(
        "VM {{\n installer: target;\n}}\n{}{}",
        "instance of VM {\nname: a;\n".repeat(10_000),
        "}\n".repeat(10_000)
    );
    assert!(summary(&super::compile(deep)).contains("E0905@"));
}
