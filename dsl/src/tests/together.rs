//! One mistake is one diagnostic, and no mistake hides another: each of these alone, and every two of them together.

use super::{Compiled, compile_all};

/// A right application. Each mistake below is in blocks of its own, whose names end in `#`; that becomes a number.
const BASE: &str = "Machine {
    installer: target;
    children: part;
}
facet part {
}
Db {
    installer: script;
    facets: part;
    exports: ip, port = 5432;
}
instance of Machine {
    name: machine;
    instance of Db {
        name: db;
    }
}
";

/// A text to add, and what it gives: the original's names, or ours.
const MISTAKES: [(&str, &str); 47] = [
    // Lines.
    ("X# {\n installer script;\n facets: part;\n}\n", "P_INVALID_PROPERTY"),
    ("X# {\n installer = script;\n facets: part;\n}\n", "P_INVALID_PROPERTY"),
    ("X# {\n installer: script\n facets: part;\n}\n", "P_PROPERTY_ENDS_WITH_SEMI_COLON"),
    ("X# {\n installer: script; facets: part;\n}\n", "P_ONE_BLOCK_PER_LINE"),
    ("X# { installer: script; facets: part; }\n", "P_O_C_BRACKET_EXTRA_CHARACTERS"),
    ("X#\n{\n installer: script;\n facets: part;\n}\n", "P_O_C_BRACKET_MISSING"),
    ("X# Y {\n installer: script;\n facets: part;\n}\n", "PM_INVALID_NAME"),
    ("X# y\n installer: script;\n facets: part;\n}\n", "P_UNRECOGNIZED_BLOCK"),
    ("X# {\n installer: script;\n facets: part;\n}}\n", "P_C_C_BRACKET_EXTRA_CHARACTERS"),
    ("X# {\n installer: script;\n facets: part;\n}\n}\n", "P_UNRECOGNIZED_BLOCK"),
    ("X# {\n installer: script;\n facets: part;\nY# {\n installer: script;\n facets: part;\n}\n", "P_INVALID_PROPERTY"),
    ("X# {\n installer: script;\n exports: a = 1,\n facets: part;\n}\n", "P_PROPERTY_ENDS_WITH_SEMI_COLON"),
    ("instance of Machine {\n name: x#;\n instance of Db { name: x; }\n}\n", "P_O_C_BRACKET_EXTRA_CHARACTERS"),
    ("instance of Machine {\n name: x#;\n instanceof Db {\n  name: x;\n }\n}\n", "P_INVALID_PROPERTY_OR_INSTANCE"),
    ("instance of Machine {\n name: x#;\n Db {\n  name: x;\n }\n}\n", "P_INVALID_PROPERTY_OR_INSTANCE"),
    ("instance of Machine {\n name = x#;\n}\n", "P_INVALID_PROPERTY_OR_INSTANCE"),
    ("import nowhere#.graph\n", "P_IMPORT_ENDS_WITH_SEMI_COLON CO_UNREACHABLE_FILE"),
    // Blocks.
    ("\"X#\" {\n installer: script;\n facets: part;\n}\n", "PM_INVALID_NAME"),
    ("fcaet x# {\n exports: a = 1;\n}\nX# {\n installer: script;\n facets: part, x#;\n}\n", "PM_INVALID_NAME"),
    ("{\n installer: script;\n facets: part;\n exports: a = 1;\n}\n", "PM_EMPTY_COMPONENT_NAME"),
    ("X.# {\n installer: script;\n facets: part;\n}\n", "PM_DOT_IS_NOT_ALLOWED"),
    ("X# {\n instaler: script;\n facets: part;\n}\n", "PM_PROPERTY_NOT_APPLIABLE"),
    ("X# {\n installer: script;\n installer: target;\n facets: part;\n}\n", "PM_DUPLICATE_PROPERTY"),
    ("X# {\n installer: \"script\";\n facets: part;\n}\n", "PM_INVALID_INSTALLER_NAME"),
    (
        "X# {\n installer: script;\n facets: part;\n exports: a = \"1;\n}\ninstance of Machine {\n name: x#;\n \
         instance of X# {\n  name: x;\n }\n}\n",
        "PM_INVALID_EXPORT_COMPLEX_VALUE",
    ),
    (
        "X# {\n installer: script;\n facets: part;\n exports: -a;\n}\nY# {\n installer: script;\n facets: part;\n \
         imports: X#.a;\n}\n",
        "PM_INVALID_EXPORTED_VAR_NAME",
    ),
    ("X# {\n installer: script;\n facets: part;\n imports: Db;\n}\n", "PM_INCOMPLETE_IMPORTED_VAR_NAME"),
    ("instance of Machine {\n name: 8#;\n instance of Db {\n  name: db;\n }\n}\n", "PM_INVALID_INSTANCE_NAME"),
    ("instance of Machine {\n nmae: x#;\n}\n", "PM_MISSING_INSTANCE_NAME"),
    ("instance of Machine {\n name: x#;\n count: 0;\n}\n", "PM_INVALID_INSTANCE_COUNT"),
    ("X# {\n installer: process;\n facets: part;\n run: a 'b;\n}\n", "E0918"),
    // Names.
    ("X# {\n installer: script;\n facets: part;\n children: Dbb;\n}\n", "CO_INEXISTING_CHILD"),
    ("X# {\n extends: Dbb;\n}\n", "CO_INEXISTING_COMPONENT"),
    (
        "X# {\n installer: script;\n facets: prat;\n}\ninstance of Machine {\n name: x#;\n instance of X# {\n  \
         name: x;\n }\n}\n",
        "CO_INEXISTING_FACET",
    ),
    ("instance of Machine {\n name: x#;\n instance of Bd {\n  name: x;\n  port: ;\n }\n}\n", "CO_INEXISTING_COMPONENT"),
    (
        "X# {\n installer: script;\n facets: part;\n}\nX# {\n installer: script;\n exports: a;\n}\n",
        "CO_ALREADY_DEFINED_COMPONENT CO_ALREADY_DEFINED_COMPONENT",
    ),
    (
        "instance of Machine {\n name: x#;\n}\ninstance of Machine {\n name: x#;\n}\n",
        "CO_ALREADY_DEFINED_INSTANCE CO_ALREADY_DEFINED_INSTANCE",
    ),
    (
        "instance of Machine {\n name: x#m;\n count: 2;\n}\ninstance of Machine {\n name: x#m2;\n}\n",
        "CO_CONFLICTING_INFERRED_INSTANCE",
    ),
    // The whole.
    ("X# {\n installer: script;\n}\n", "RM_ROOT_INSTALLER_MUST_BE_TARGET"),
    ("X# {\n facets: part;\n}\n", "RM_EMPTY_COMPONENT_INSTALLER"),
    ("X# {\n installer: script;\n facets: part;\n imports: Db.prot;\n}\n", "RM_UNRESOLVABLE_VARIABLE"),
    ("X# {\n installer: script;\n facets: part;\n exports: random[prot] a;\n}\n", "RM_INVALID_RANDOM_KIND"),
    ("facet x# {\n}\n", "RM_ORPHAN_FACET"),
    ("instance of Db {\n name: x#;\n}\n", "RM_MISSING_INSTANCE_PARENT"),
    (
        "instance of Machine {\n name: x#;\n instance of Db {\n  name: x;\n  port: \"\";\n }\n}\n",
        "RM_MISSING_VARIABLE_VALUE",
    ),
    (
        "instance of Machine {\n name: x#;\n instance of Db {\n  name: x;\n  prt: 1;\n }\n}\n",
        "RM_MAGIC_INSTANCE_VARIABLE",
    ),
    ("X# {\n installer: script;\n facets: part;\n exports: a = $(b);\n}\n", "E0943"),
];

/// What a missing file may define or use is not called unknown or unused. Everything else is told beside it too.
const DEPENDS_ON_FILES: [&str; 6] = [
    "CO_INEXISTING_CHILD",
    "CO_INEXISTING_COMPONENT",
    "CO_INEXISTING_FACET",
    "RM_UNRESOLVABLE_VARIABLE",
    "RM_ROOT_INSTALLER_MUST_BE_TARGET",
    "RM_ORPHAN_FACET",
];

fn numbered(text: &str, number: usize) -> String {
    text.replace('#', &number.to_string())
}

/// The names of what is reported, sorted.
fn told(compiled: &Compiled) -> Vec<&str> {
    let mut told: Vec<&str> = compiled.diagnostics.iter().map(|d| d.code.alias().unwrap_or(d.code.as_str())).collect();
    told.sort_unstable();
    told
}

fn check(files: &[(&str, &[u8])], expect: &[&str]) {
    let hidden = expect.iter().any(|codes| codes.contains("CO_UNREACHABLE_FILE"));
    let codes = expect.iter().flat_map(|codes| codes.split(' '));
    let mut expect: Vec<&str> = codes.filter(|code| !hidden || !DEPENDS_ON_FILES.contains(code)).collect();
    expect.sort_unstable();
    let compiled = compile_all(files);
    let texts: Vec<_> = files.iter().map(|(_, text)| String::from_utf8_lossy(text)).collect();
    assert_eq!(told(&compiled), expect, "{}\n{:#?}", texts.join("\n--\n"), compiled.diagnostics);
}

#[test]
fn the_base_is_right_and_each_mistake_is_one() {
    check(&[("app.graph", BASE.as_bytes())], &[]);
    for (text, codes) in MISTAKES {
        check(&[("app.graph", format!("{BASE}{}", numbered(text, 1)).as_bytes())], &[codes]);
    }
}

#[test]
fn every_two_are_both_told_in_one_file() {
    for (first, one) in MISTAKES {
        for (second, other) in MISTAKES {
            let text = format!("{BASE}{}{}", numbered(first, 1), numbered(second, 2));
            check(&[("app.graph", text.as_bytes())], &[one, other]);
        }
    }
}

#[test]
fn every_two_are_both_told_in_two_files() {
    for (i, (first, one)) in MISTAKES.iter().enumerate() {
        for (second, other) in MISTAKES.iter().skip(i) {
            let main = format!("import parts.graph;\n{BASE}{}", numbered(first, 1));
            let part = numbered(second, 2);
            check(&[("app.graph", main.as_bytes()), ("parts.graph", part.as_bytes())], &[one, other]);
        }
    }
}
