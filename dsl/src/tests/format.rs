//! The formatter: its layout, and what it never changes.

use proptest::prelude::*;

use super::*;
use crate::{TokenKind, format, tokens};

/// Formats, and looks whether that kept everything and is stable.
fn check(text: &str, expect: &str) {
    let formatted = format(text).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"));
    assert_eq!(formatted, expect, "{text}");
    kept(text, &formatted).unwrap_or_else(|error| panic!("{text:?}\n{formatted:?}\n{error}"));
}

/// What must be the same before and after; says what is not.
fn kept(text: &str, formatted: &str) -> Result<(), String> {
    let again = format(formatted).map_err(|errors| format!("no longer readable: {errors:#?}"))?;
    let (before, after) = (compile(text), compile(formatted));
    let codes = |compiled: &Compiled| {
        let mut codes: Vec<_> =
            compiled.diagnostics.iter().map(|d| (d.code.as_str(), d.message.clone(), d.help.clone())).collect();
        codes.sort();
        // In a value with a CR in it a place is its whole, so that two mistakes of one kind are one.
        codes.dedup();
        codes
    };
    let same = |what: &str, same: bool| if same { Ok(()) } else { Err(format!("{what} changed")) };
    same("a second formatting", again == formatted)?;
    same("comments", comments(text) == comments(formatted))?;
    same("the application", before.application == after.application)?;
    if codes(&before) != codes(&after) {
        return Err(format!("diagnostics changed: {:#?}\n{:#?}", codes(&before), codes(&after)));
    }
    let tidy = |line: &str| line == line.trim_end_matches(|c| c <= ' ');
    same("the end", formatted.is_empty() || formatted.ends_with('\n') && !formatted.ends_with("\n\n"))?;
    same("trailing blanks", formatted.lines().all(tidy) && !formatted.contains('\r'))?;
    same("blank lines", !formatted.contains("\n\n\n") && !formatted.starts_with('\n'))
}

/// Each comment's text, without the blanks around it.
fn comments(text: &str) -> Vec<String> {
    let clean = text.replace('\r', "");
    let all = tokens(&clean).into_iter().filter(|token| token.kind == TokenKind::Comment);
    all.map(|token| token.span.of(&clean).trim_matches(|c| c <= ' ').to_owned()).collect()
}

#[test]
fn the_layout_of_a_file() {
    check("", "");
    check(" \n\t\r\n\n", "");
    check("\n\n# only a comment  ", "# only a comment\n");
    check(
        "import  a.graph ;# one\r\nimport b.graph;\nVM{{   # machine\n\n  installer :target;\n\n\n\n    exports:ip,port=8080 , \
         b=\"a,  b\",random[port]x;#c  \n\n}# end\n# Db.\nFACET  db {\n  # inside\n  children:A,B ;\n # last\n}\n\n\n\n# loose\n\n\
         INSTANCE OF VM {\nname:   vm ;\n  instance of Db{\n name: db;\n   port: 8 , 9;\n}\n}",
        "import a.graph;  # one\nimport b.graph;\n\nVM {  # machine\n\tinstaller: target;\n\n\texports: ip, port = 8080, \
         b = \"a,  b\", random[port] x;  #c\n}  # end\n\n# Db.\nfacet db {\n\t# inside\n\tchildren: A, B;\n\t# last\n}\n\n# loose\n\n\
         instance of VM {\n\tname: vm ;\n\tinstance of Db {\n\t\tname: db;\n\t\tport: 8 , 9;\n\t}\n}\n",
    );
}

#[test]
fn two_mistakes_in_a_value_with_a_carriage_return() {
    check(
        "A {\n\tinstaller: target;\n\texports: x = $(no)\r$(no);\n}\n",
        "A {\n\tinstaller: target;\n\texports: x = $(no)$(no);\n}\n",
    );
}

#[test]
fn lists_keep_their_lines() {
    check(
        "A {\n imports: B.x,C.y (optional) , # two\n\n\n# more\nexternalD.z,\n  E.*;# end\n exports: a = \"1,\n 2\" , b;\n}\n",
        "A {\n\timports: B.x, C.y (optional),  # two\n\n\t\t# more\n\t\texternal D.z,\n\t\tE.*;  # end\n\
         \texports: a = \"1,\n\t\t2\" , b;\n}\n",
    );
    check("A {\n children: B,\n;\n}\n", "A {\n\tchildren: B,\n\t\t;\n}\n");
    let long = format!("A {{\n\tchildren: {}B;\n}}\n", "Component, ".repeat(50));
    check(&long, &long);
}

#[test]
fn what_has_a_meaning_stays() {
    // A blank before `{` would make a facet without a name, or an import.
    check("facet{\n}\ninstance of{\n}\n", "facet{\n}\n\ninstance of{\n}\n");
    check("import{\n}\nfacet reIMPORT{\n}\n", "import{\n}\n\nfacet reIMPORT{\n}\n");
    check("application{\n}\nApplication x{\n}\n", "application {\n}\n\napplication x {\n}\n");
    check("{\n}\nfacet {\n}\n", "{\n}\n\nfacet {\n}\n");
    check(
        "  re import  a ; # c\nimportimport a;\nImport import b;\n",
        "re import  a ; # c\nimportimport a;\nimport import b;\n",
    );
    check(
        "A {\n foo  bar :x ,y; # c\n installer:;\n  extends: A ;\n}\n",
        "A {\n\tfoo  bar :x ,y; # c\n\tinstaller:;\n\textends: A ;\n}\n",
    );
    check(
        "A {\n exports: a = \"b\" c ,d;\n Exports: a ,b;\n}\n",
        "A {\n\texports: a = \"b\" c ,d;\n\tExports: a ,b;\n}\n",
    );
    check("A {\n exports: a = \"x#y\" ;#z\n}\n", "A {\n\texports: a = \"x#y\";  #z\n}\n");
    // A comment right above a block stays there; one with an empty line between stays away.
    check(
        "A {\n}\n# b\n#c\nB {\n}\n# end\n\n\nC {\n}\n# last\n",
        "A {\n}\n\n# b\n#c\nB {\n}\n# end\n\nC {\n}\n# last\n",
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    let check = |bytes: &[u8], expect: &str| {
        let refused = crate::format_file("a.graph", bytes.to_vec()).unwrap_err();
        let codes: Vec<_> = refused.diagnostics.iter().map(|d| d.code.alias().unwrap_or(d.code.as_str())).collect();
        assert_eq!(codes.join(" "), expect);
        assert_eq!(refused.source.name, "a.graph");
    };
    check(b"A {\n x y\n", "P_INVALID_PROPERTY P_C_C_BRACKET_MISSING");
    check("\u{FEFF}A {\n}\n".as_bytes(), "P_UNRECOGNIZED_BLOCK");
    check("\u{FEFF}import a;\n".as_bytes(), "P_UNRECOGNIZED_BLOCK");
    check(" \n\u{FEFF}import a;\n".as_bytes(), "P_UNRECOGNIZED_BLOCK");
    check(b"# a\r# b\r", "P_UNRECOGNIZED_BLOCK");
    check(b"A {\0\n}\n", "E0902");
    check(b"A \xff{\n}\n", "E0901");
    check("instance of A {\n".repeat(10_000).as_bytes(), "E0905 P_C_C_BRACKET_MISSING");
}

/// Blanks as people leave them.
fn blank() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", " ", "\t", "   "])
}

/// What may stand behind a statement, with the line's end.
fn end() -> impl Strategy<Value = String> {
    let comment = prop::sample::select(vec!["", "", "", "# c", "#", "  #d ", "\t# a; \"b\" {"]);
    let line = prop::sample::select(vec!["\n", "\n", "\r\n", " \n", "\n\n", "\n \n\r\n", "\n# x\n", "\n  #y\r\n\n"]);
    (comment, line).prop_map(|(comment, line)| format!("{comment}{line}"))
}

/// A list with odd blanks, at times over several lines.
fn list(items: &'static [&'static str]) -> impl Strategy<Value = String> {
    let broken = prop_oneof![4 => Just(String::new()), 1 => end()];
    let item = (blank(), prop::sample::select(items), blank(), broken);
    prop::collection::vec(item, 1..5).prop_map(|items| {
        let mut out = String::new();
        let last = items.len() - 1;
        for (i, (before, item, after, broken)) in items.into_iter().enumerate() {
            out.push_str(&format!("{before}{item}{after}"));
            if i < last {
                out.push_str(&format!(",{broken}"));
            }
        }
        out
    })
}

fn component_property() -> impl Strategy<Value = String> {
    let name = |name: &'static str| Just(name.to_owned());
    let exports = &["ip", "x = 1", "y=\"a, ;#b\"", "z =  $(ip)", "random[port]p", "RANDOM[port] q", "a.b= c d", "e="];
    let imports = &["A.x", "B.ip(optional)", "externalC.y", "EXTERNAL  D.*", "f.* (OPTIONAL)", "C.p"];
    prop_oneof![
        (name("installer"), prop::sample::select(vec!["target", "script", "puppet x"]).prop_map(str::to_owned)),
        (name("extends"), prop::sample::select(vec!["A", "B", "C "]).prop_map(str::to_owned)),
        (name("children"), list(&["A", "B", "C", "f"])),
        (name("facets"), list(&["f", "g"])),
        (name("exports"), list(exports)),
        (name("imports"), list(imports)),
        (name("junk imports"), list(imports)),
    ]
    .prop_flat_map(|(name, value)| property(name, value))
}

fn instance_property() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec!["n", "n 1 ", "3", "\"a; b\"", "x ,  y", "$(ip)", "a: b"]);
    let name = prop::sample::select(vec!["name", "name", "count", "x", "data.k", "A.y", "device", "instance-data"]);
    prop_oneof![
        4 => (name.prop_map(str::to_owned), value.prop_map(str::to_owned)),
        1 => (Just("channels".to_owned()), list(&["a", "b c"])),
    ]
    .prop_flat_map(|(name, value)| property(name, value))
}

fn property(name: String, value: String) -> impl Strategy<Value = String> {
    (blank(), blank(), blank(), end())
        .prop_map(move |(indent, before, after, end)| format!("{indent}{name}{before}:{after}{value};{end}"))
}

fn block(head: impl Strategy<Value = String>, body: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let line = (blank(), head, blank(), end(), prop::collection::vec(body, 0..5), blank(), blank(), end());
    line.prop_map(|(indent, head, before, open, body, outdent, after, close)| {
        let before = if head == "Import" { "" } else { before };
        format!("{indent}{head}{before}{{{open}{}{outdent}}}{after}{close}", body.concat())
    })
}

/// Files whose lines all can be read, laid out as oddly as the language allows.
fn readable() -> impl Strategy<Value = String> {
    let graph = || prop::sample::select(vec!["A", "B", "C", "facet  f", "FACET\tg", "Import", "facet"]);
    let instance = || prop::sample::select(vec!["instance of A", "INSTANCE OF\tB", "Instance of C"]);
    let leaf = block(instance().prop_map(str::to_owned), instance_property());
    let inner = block(instance().prop_map(str::to_owned), prop_oneof![3 => instance_property(), 1 => leaf]);
    let import = (blank(), prop::sample::select(vec!["import", "IMPORT ", "x import"]), blank(), end())
        .prop_map(|(indent, word, after, end)| format!("{indent}{word} b.graph{after};{end}"));
    let item = prop_oneof![
        1 => import,
        1 => end().prop_filter("a line", |end| !end.starts_with(' ')),
        3 => block(graph().prop_map(str::to_owned), component_property()),
        2 => block(instance().prop_map(str::to_owned), prop_oneof![3 => instance_property(), 1 => inner]),
    ];
    (prop::collection::vec(item, 0..8), blank()).prop_map(|(items, end)| format!("{}{end}", items.concat()))
}

/// A readable file with some characters put in, taken out or changed.
fn mutated() -> impl Strategy<Value = String> {
    let change = (
        any::<prop::sample::Index>(),
        0..3_u8,
        prop::sample::select("\n\r\t #;:,{}\"=.ai\u{FEFF}é\0".chars().collect::<Vec<_>>()),
    );
    (readable(), prop::collection::vec(change, 0..6)).prop_map(|(text, changes)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, what, with) in changes {
            let at = at.index(chars.len() + 1);
            if what != 1 {
                chars.insert(at, with);
            }
            if what != 0 && at + 1 < chars.len() {
                chars.remove(at + 1);
            }
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn readable_files_are_formatted(text in readable()) {
        let formatted = format(&text).map_err(|errors| TestCaseError::fail(format!("{errors:#?}")))?;
        prop_assert_eq!(kept(&text, &formatted), Ok(()), "{}", formatted);
    }

    #[test]
    fn other_files_are_formatted_or_refused(text in mutated()) {
        if let Ok(formatted) = format(&text) {
            prop_assert_eq!(kept(&text, &formatted), Ok(()), "{}", formatted);
        }
    }

    #[test]
    fn any_text_is_formatted_or_refused(text in any::<String>()) {
        match format(&text) {
            Ok(formatted) => prop_assert_eq!(kept(&text, &formatted), Ok(()), "{}", formatted),
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }
}
