//! What the original does, case by case: its lexical rules, its scanners and its arithmetic. Each case is the
//! smallest text that shows it; the words of a case are ours.

use super::{application, compile, compile_all, component, exports, instance, summary};

/// Compiles each case and compares what it tells, in any order; all that differ are shown at once.
fn hold(cases: &[(&str, &str)], text: impl Fn(&str) -> String) {
    let sorted = |told: &str| {
        let mut told: Vec<&str> = told.split(' ').collect();
        told.sort_unstable();
        told.join(" ")
    };
    let mut wrong = Vec::new();
    for (case, expect) in cases {
        let told = sorted(&summary(&compile(text(case))));
        if told != sorted(expect) {
            wrong.push(format!("{case:?}\n  gives {told}\n  not   {expect}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A machine, then the case from line 5 on.
fn below_vm(cases: &[(&str, &str)]) {
    hold(cases, |text| format!("VM {{\n installer: target;\n children: A;\n}}\n{text}"));
}

/// The case is line 7, in a component.
fn in_component(cases: &[(&str, &str)]) {
    hold(cases, |line| {
        let vm = "VM {\n installer: target;\n children: A;\n}\n";
        let b = "B {\n installer: target;\n exports: x = 1, ip;\n}\n";
        format!("{vm}A {{\n installer: script;\n {line}\n}}\n{b}")
    });
}

/// The case is line 12, in an instance that begins on line 11 and is named on line 13.
fn in_instance(cases: &[(&str, &str)]) {
    hold(cases, |line| {
        let graph = "VM {\n installer: target;\n children: A;\n}\nA {\n installer: script;\n exports: port = 1;\n}\n";
        format!("{graph}instance of VM {{\n name: vm;\n instance of A {{\n  {line}\n  name: a;\n }}\n}}\n")
    });
}

#[test]
fn characters_and_lines() {
    in_component(&[
        // U+00A0 is no blank. The original tells of the same character three times.
        ("exports: y;\u{A0}", "P_ONE_BLOCK_PER_LINE@7"),
        ("\u{A0}", "P_INVALID_PROPERTY@7"),
        // A CR is nothing, wherever it stands.
        ("ex\rports: y\r;", ""),
        // Every character up to U+0020 is.
        ("\u{1}exports: y;\u{2}", ""),
        // Accented letters are not letters of a name.
        ("exports: é;", "PM_INVALID_EXPORTED_VAR_NAME@7"),
        ("exports: y; # z;", ""),
        ("exports: y;; # z", "PM_INVALID_EXPORTED_VAR_NAME@7 P_ONE_BLOCK_PER_LINE@7"),
        ("exports: y; z", "PM_INVALID_EXPORTED_VAR_NAME@7 P_PROPERTY_ENDS_WITH_SEMI_COLON@7 P_ONE_BLOCK_PER_LINE@7"),
        // A property's value may not go over lines without a comma, nor may its name stand alone.
        ("exports:\n y;", "PM_EMPTY_PROPERTY_VALUE@7 P_PROPERTY_ENDS_WITH_SEMI_COLON@7 P_INVALID_PROPERTY@8"),
    ]);
}

#[test]
fn statements() {
    below_vm(&[
        ("A {{{\n installer: script;\n}\n", ""),
        ("A{#\n installer: script;\n}#\n", ""),
        ("A {\n installer: script;\n}}\n", "P_C_C_BRACKET_EXTRA_CHARACTERS@7"),
        ("A {\n installer: script;\n}\nfacet\n", "P_O_C_BRACKET_MISSING@8"),
        ("A {\n installer: script;\n}\nfacet f g\n", "P_UNRECOGNIZED_BLOCK@8"),
        ("A {\n installer: script;\n}\nfacet {\n}\n", "PM_EMPTY_FACET_NAME@8"),
        ("A {\n installer: script;\n}\n {\n installer: target;\n}\n", "PM_EMPTY_COMPONENT_NAME@8"),
        ("A {\n installer: script;\n}\nimport;\n", "P_UNRECOGNIZED_BLOCK@8"),
        ("A {\n installer: script;\n}\nimport ;\n", "PM_EMPTY_IMPORT_LOCATION@8"),
        // The word is looked for in the whole line.
        ("A {\n installer: script;\n}\nfacet import {\n", "P_IMPORT_ENDS_WITH_SEMI_COLON@8"),
        ("A {\n installer: script;\n}\n# import nothing;\n", ""),
        // One blank, not two, makes `instance of` one word.
        ("A {\n installer: script;\n}\ninstance  of VM {\n}\n", "PM_INVALID_NAME@8 RM_EMPTY_COMPONENT_INSTALLER@8"),
        ("A {\n installer: script;\n}\ninstance of VM{\n name: v;\n}\n", ""),
        ("A {\n installer: script;\n}\nINSTANCE OF VM {\n name: v;\n}\n", ""),
        ("A {\n installer: script;\n}\ninstance of {\n name: v;\n}\n", "PM_EMPTY_COMPONENT_NAME@8"),
        ("FACET f {\n}\nA {\n facets: f;\n installer: script;\n}\n", ""),
        // What ends the block around it is no body of its own.
        ("A {\n installer: script;\n}\ninstance of VM {\n name: v;\n instance of A\n}\n", "P_O_C_BRACKET_MISSING@10"),
        (
            "A {\n installer: script;\n}\ninstance of VM {\n name: v;\n instance of A\n  name: a;\n }\n}\n",
            "P_O_C_BRACKET_MISSING@10",
        ),
    ]);
    let with = |first: &str| {
        let main = format!("{first}\nVM {{\n installer: target;\n}}\n");
        summary(&compile_all(&[("app.graph", main.as_bytes()), ("b.graph", b"B {\n installer: target;\n}\n")]))
    };
    for right in ["reimport b.graph;", "Import\tb.graph ;", "import b.graph;# c", "import  ./b.graph;"] {
        assert_eq!(with(right), "", "{right}");
    }
    assert_eq!(with("import b.graph; x"), "P_ONE_BLOCK_PER_LINE@1");
    assert_eq!(with("import b.graph"), "P_IMPORT_ENDS_WITH_SEMI_COLON@1");
}

#[test]
fn lists_lose_empty_items_at_their_end() {
    in_component(&[
        ("children: B,;", ""),
        ("children: B , ,;", "PM_INVALID_CHILD_NAME@7"),
        ("children: ,B;", "PM_INVALID_CHILD_NAME@7"),
        ("facets: ,VM;", "PM_EMPTY_REFERENCED_NAME@7 CO_INEXISTING_FACET@7"),
        ("imports: B.x,,;", ""),
        ("imports: ,B.x;", "PM_EMPTY_VARIABLE_NAME@7"),
        ("imports: B.x,,B.ip;", "PM_EMPTY_VARIABLE_NAME@7"),
        // An extended component is no list, and its blanks are part of it.
        ("extends: B ;", "CO_INEXISTING_COMPONENT@7"),
        ("extends: B, VM;", "CO_INEXISTING_COMPONENT@7"),
        ("installer : target;", "PM_DUPLICATE_PROPERTY@7"),
        ("Children: B;", "PM_PROPERTY_NOT_APPLIABLE@7"),
        ("junk and more children: B;", ""),
    ]);
}

#[test]
fn imports_are_cut_before_they_are_read() {
    in_component(&[
        ("imports: B.x(optional), B.ip (OPTIONAL);", ""),
        ("imports: externalLamp.ip, EXTERNAL Lamp.port;", ""),
        ("imports: B.*;", ""),
        ("imports: *;", "PM_INVALID_IMPORTED_VAR_NAME@7"),
        ("imports: B.*.x;", "PM_INVALID_IMPORTED_VAR_NAME@7"),
        ("imports: B;", "PM_INCOMPLETE_IMPORTED_VAR_NAME@7"),
        ("imports: B.;", "PM_INCOMPLETE_IMPORTED_VAR_NAME@7"),
        (
            "imports: (optional), external, external (optional);",
            "PM_EMPTY_VARIABLE_NAME@7 PM_EMPTY_VARIABLE_NAME@7 PM_EMPTY_VARIABLE_NAME@7",
        ),
        // Optional ones must exist, those of other applications need not.
        ("imports: B.y (optional), external Z.y;", "RM_UNRESOLVABLE_VARIABLE@7"),
        ("imports: b.x;", "RM_UNRESOLVABLE_VARIABLE@7"),
    ]);
}

#[test]
fn exports_are_scanned() {
    in_component(&[
        ("exports: c=\"x, y; z\" , d, e = \"\";", ""),
        ("exports: ,c;", ""),
        ("exports: c=\"x\",;", ""),
        ("exports: c,;", "PM_EMPTY_VARIABLE_NAME@7"),
        ("exports: c,,d;", "PM_EMPTY_VARIABLE_NAME@7"),
        ("exports: = 1;", "PM_EMPTY_VARIABLE_NAME@7"),
        ("exports: c = x\"y\";", "PM_INVALID_EXPORT_COMPLEX_VALUE@7"),
        ("exports: c = \"y\" z;", "PM_INVALID_EXPORT_COMPLEX_VALUE@7"),
        ("exports: c d;", "PM_INVALID_EXPORTED_VAR_NAME@7"),
        ("exports: random[port]c, RANDOM[PORT] d, random[Port]  e;", ""),
        ("exports: random [port] c;", "PM_INVALID_EXPORTED_VAR_NAME@7"),
        ("exports: random[port];", "PM_EMPTY_VARIABLE_NAME@7"),
        ("exports: random[ port ] c;", "RM_INVALID_RANDOM_KIND@7"),
        ("exports: random[] c;", "RM_INVALID_RANDOM_KIND@7"),
        ("exports: random[port] c = \"\";", "RM_NO_VALUE_FOR_RANDOM@7"),
        ("exports: random[port] c =;", ""),
        ("exports: external c;", "PM_INVALID_EXPORTED_VAR_NAME@7 PM_EXTERNAL_IS_KEYWORD_FOR_IMPORTS@7"),
        ("exports: externalc;", ""),
        ("exports: c. = 1, A.d = 2;", ""),
        // The original knows five names, and leaves all others as they are.
        ("exports: c = \"$(ROBOCONF_INSTANCE_NAME) at $(hostname)\";", "E0943@7"),
    ]);
    let text = "A {\n installer: target;\n exports: i = j = k, same = 1, quoted = \" b \", open=, db.ip, same = 2;\n exports: A.more = 3;\n}\n";
    let app = application(text);
    assert_eq!(exports(&component(&app, "A").exports), "A.db.ip@ A.i=j = k A.more=3 A.open? A.quoted= b  A.same=2");
}

#[test]
fn what_a_component_exports_it_does_not_wait_for() {
    in_component(&[
        ("exports: c = 1;\n imports: A.c (optional);", ""),
        ("exports: c = 1;\n imports: external A.c;", "RM_COMPONENT_IMPORTS_EXPORTS@8"),
        ("exports: c = 1;\n imports: A.*;", "RM_COMPONENT_IMPORTS_EXPORTS@8"),
        ("extends: B;\n imports: B.*;", "RM_COMPONENT_IMPORTS_EXPORTS@8"),
        ("extends: B;\n imports: B.x;", "RM_COMPONENT_IMPORTS_EXPORTS@8"),
    ]);
    below_vm(&[
        (
            "A {\n installer: script;\n facets: f;\n imports: f.*;\n}\nfacet f {\n exports: y = 1;\n}\n",
            "RM_COMPONENT_IMPORTS_EXPORTS@8",
        ),
        // A facet's variable is known by what stands in the facet.
        (
            "A {\n installer: script;\n imports: f.y;\n}\nfacet f {\n exports: y = 1;\n}\n",
            "RM_UNRESOLVABLE_VARIABLE@7 RM_ORPHAN_FACET@9",
        ),
        (
            "A {\n installer: script;\n imports: f.y;\n}\nfacet f {\n exports: f.y = 1;\n}\n",
            "RM_UNRESOLVABLE_FACET_VARIABLE@7 RM_ORPHAN_FACET@9",
        ),
        // What several inherit is one mistake.
        (
            "A {\n installer: script;\n exports: y = 1;\n imports: Z.y, A.y;\n}\nB {\n extends: A;\n}\n",
            "RM_UNRESOLVABLE_VARIABLE@8 RM_COMPONENT_IMPORTS_EXPORTS@8",
        ),
        // A facet that only another facet extends is an orphan all the same.
        ("A {\n installer: script;\n facets: g;\n}\nfacet f {\n}\nfacet g {\n extends: f;\n}\n", "RM_ORPHAN_FACET@9"),
    ]);
    let whole = [
        ("A {\n installer: Target;\n}\n", "RM_ROOT_INSTALLER_MUST_BE_TARGET@2"),
        ("A {\n installer: target;\n}\nQ {\n extends: A;\n}\n", ""),
        (
            "A {\n children: B;\n installer: target;\n}\nB {\n children: A;\n installer: script;\n}\n",
            "RM_NO_ROOT_COMPONENT@1",
        ),
    ];
    hold(&whole, str::to_owned);
}

#[test]
fn instances_have_free_properties() {
    in_instance(&[
        ("count: 3;", ""),
        ("count: +3;", ""),
        ("count: 03;", ""),
        ("count: 1;", "PM_USELESS_INSTANCE_COUNT@12"),
        ("count: 0;", "PM_INVALID_INSTANCE_COUNT@12"),
        ("count: -2;", "PM_INVALID_INSTANCE_COUNT@12"),
        ("count: 3 ;", "PM_INVALID_INSTANCE_COUNT@12"),
        ("count: 2147483648;", "PM_INVALID_INSTANCE_COUNT@12"),
        ("channels: free, text @ all;", ""),
        ("data.count: 3;", ""),
        ("DATA.Key: value;", ""),
        ("instance-state: whatever;", ""),
        ("instance-data: ip.address = 1.2.3.4, c;", ""),
        ("Name: b;", "RM_MAGIC_INSTANCE_VARIABLE@12"),
        ("name: b;", "PM_DUPLICATE_PROPERTY@13"),
        ("port: ;", "RM_MISSING_VARIABLE_VALUE@13"),
        ("port: \"\";", "RM_MISSING_VARIABLE_VALUE@13"),
        ("port: \"a; b\";", ""),
        ("A.port: 2;", ""),
        ("count: ;", "PM_EMPTY_PROPERTY_VALUE@12"),
    ]);
    let text = "VM {\n installer: target;\n exports: a = 1, b = 1, c = 1, ip;\n}\ninstance of VM {\n name: v ;\n a: \"x\" ;\n b: \" y \";\n c: z ;\n DATA.Key: w;\n instance-data: ip.address = 9.8.7.6;\n}\n";
    let app = application(text);
    let vm = instance(&app, "/v ");
    assert_eq!(exports(&vm.exports), "VM.a=x VM.b= y  VM.c=z  VM.ip=9.8.7.6");
    assert_eq!(vm.data["Key"], "w");
}

#[test]
fn copies_are_numbered() {
    let paths = |text: &str| {
        let graph = "VM {\n installer: target;\n children: A;\n}\nA {\n installer: script;\n}\n";
        let app = application(&format!("{graph}{text}"));
        app.instances.keys().map(|path| path.as_str().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(paths("instance of VM {\n name: v;\n count: 2;\n}\n"), "/v1 /v2");
    assert_eq!(paths("instance of VM {\n name: v ;\n count: 2;\n}\n"), "/v 1 /v 2");
    assert_eq!(
        paths("instance of VM {\n name: v;\n count: 2;\n instance of A {\n  name: a;\n  count: 2;\n }\n}\n"),
        "/v1 /v1/a1 /v1/a2 /v2 /v2/a1 /v2/a2"
    );
    let ten = paths("instance of VM {\n name: v;\n count: 10;\n}\n");
    assert!(ten.starts_with("/v01 /v02 ") && ten.ends_with("/v09 /v10"), "{ten}");
    // Two of one path are one too many, also where the original makes both: for the first copy, and below a root.
    below_vm(&[
        (
            "A {\n installer: script;\n}\ninstance of VM {\n name: v;\n count: 3;\n}\ninstance of VM {\n name: v1;\n}\n",
            "CO_CONFLICTING_INFERRED_INSTANCE@9",
        ),
        (
            "A {\n installer: script;\n}\ninstance of VM {\n name: v;\n instance of A {\n  name: a;\n  count: 2;\n }\n instance of A {\n  name: a2;\n }\n}\n",
            "CO_CONFLICTING_INFERRED_INSTANCE@11",
        ),
    ]);
}

/// What a name that is wrong was meant to be is no second mistake.
#[test]
fn what_is_misspelt_is_used_all_the_same() {
    let whole = [
        (
            "VM {\n installer: target;\n children: A1;\n}\n1A {\n installer: script;\n}\n",
            "CO_INEXISTING_CHILD@3 PM_INVALID_NAME@5",
        ),
        (
            "VM {\n installer: target;\n facets: pat;\n}\nfacet part {\n children: A;\n}\nA {\n installer: script;\n}\n",
            "CO_INEXISTING_FACET@3",
        ),
        (
            "VM {\n installer: target;\n facets: two;\n}\nfacet one {\n}\nfacet two {\n extends: oen;\n}\n",
            "CO_INEXISTING_FACET@8",
        ),
    ];
    hold(&whole, str::to_owned);
}
