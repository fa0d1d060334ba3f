//! Files of commands, through their public function.

use proptest::prelude::*;
use robo_model::graph::Application;

use super::*;

/// Shop: a machine that holds a web server with its pages, and one for the database.
const GRAPH: &str = "\
vm {\n installer: target;\n children: tomcat, mysql;\n}\n\
tomcat {\n installer: puppet;\n children: war;\n}\n\
mysql {\n installer: puppet;\n exports: ip, port = 3306;\n}\n\
war {\n installer: script;\n exports: ip, port = 8080;\n imports: mysql.port, mysql.ip;\n}\n\
instance of vm {\n name: tomcat-vm;\n instance of tomcat {\n  name: tomcat-server;\n  instance of war {\n   name: hello-world;\n  }\n }\n}\n\
instance of vm {\n name: mysql-vm;\n instance of mysql {\n  name: mysql-server;\n }\n}\n";

fn shop() -> Application {
    let mut files = std::collections::BTreeMap::from([("app.graph".to_owned(), GRAPH.as_bytes().to_vec())]);
    let compiled = crate::compile_file("app.graph", &mut files);
    compiled.application.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

fn context() -> CommandContext {
    static CONTEXT: std::sync::LazyLock<CommandContext> = std::sync::LazyLock::new(|| {
        CommandContext::of(&shop()).file("main").siblings([
            ("main", ""),
            ("other.commands", "deploy and start all /tomcat-vm"),
            ("back", "execute middle"),
            ("middle", "execute main.commands # leads back"),
            ("itself", "# never execute itself"),
        ])
    });
    CONTEXT.clone()
}

/// `NAME@line` for each diagnostic, in order.
fn summary(text: &str, found: &[Diagnostic]) -> String {
    let source = crate::SourceFile::new("x.commands", text);
    let each = found.iter().map(|d| {
        assert!(text.get(d.span.range()).is_some() && !d.message.is_empty(), "{d:?}");
        let code = d.code.alias().unwrap_or(d.code.as_str()).trim_start_matches("CMD_");
        format!("{code}@{}", source.position(d.span.start).line)
    });
    each.collect::<Vec<_>>().join(" ")
}

fn check_in(context: &CommandContext, text: &str, expect: &str) -> Commands {
    let (commands, found) = check_commands(text, context);
    assert_eq!(summary(text, &found), expect, "{text:?}\n{found:#?}");
    commands
}

fn check(text: &str, expect: &str) -> Commands {
    check_in(&context(), text, expect)
}

/// What the first mistake underlines.
fn underlined(text: &str) -> String {
    let (_, found) = check_commands(text, &context());
    found[0].span.of(text).to_owned()
}

fn values(commands: &Commands) -> Vec<&str> {
    let value = |i: &'_ Instruction| matches!(i.action, Action::Define { .. });
    let defined = commands.instructions.iter().filter(|i| value(i));
    defined.map(|i| if let Action::Define { value, .. } = &i.action { value.as_str() } else { "" }).collect()
}

#[test]
fn lines_are_glued_before_comments_are_cut() {
    let text = "\ndefin VAR = vm\ndefine id = $(VAR) $(SMART_INDEX)\ncreate vm \\\n\t\tas $(id)\n\ncreate oops \\\n\t\tas instance $(id)\n";
    let commands =
        check(text, "UNRECOGNIZED_INSTRUCTION@2 UNRESOLVED_VARIABLE@3 UNRESOLVED_VARIABLE@4 UNRESOLVED_VARIABLE@7");
    assert_eq!((commands.recognized, commands.instructions.len()), (3, 0));
    let (_, found) = check_commands(text, &context());
    assert_eq!((found[2].span.of(text), found[2].related[0].span.of(text)), ("create vm ", "$(id)"));

    let commands = check("create v\\\n\n   \n  m as \\\n\n a # b \\\n c\r\n   stop all /a\r\n", "");
    let lines: Vec<_> = commands.instructions.iter().map(|i| (i.line, &i.action)).collect();
    let stop = Action::Bulk { verb: Verb::StopAll, target: BulkTarget::Path("/a".parse().unwrap()) };
    assert_eq!(lines[1], (8, &stop));
    assert!(matches!(lines[0], (1, Action::Create { name, .. }) if name.as_str() == "a"));

    check("create vm \\ \nas x", "INVALID_SYNTAX@1 UNRECOGNIZED_INSTRUCTION@2");
    check("create vm \\\r\nas x", "INVALID_SYNTAX@1 UNRECOGNIZED_INSTRUCTION@2");
    check("write color #fff into f", "INVALID_SYNTAX@1");
    check("# all\rcreate vm as x", "NO_INSTRUCTION@1 UNRECOGNIZED_INSTRUCTION@1");
    check("\\\n# x", "NO_INSTRUCTION@1 UNRECOGNIZED_INSTRUCTION@1");
    check("", "NO_INSTRUCTION@1");
    check(" # x\n\n\t# y", "NO_INSTRUCTION@1");
    check("\u{FEFF}create vm as x", "NO_INSTRUCTION@1 UNRECOGNIZED_INSTRUCTION@1");
}

#[test]
fn instructions_are_known_by_how_they_begin() {
    check("created vm as x", "INVALID_SYNTAX@1");
    check("CREATE vm AS x\nStop ALL all /x\nDELETE all /x\ndeploy /x\n", "UNRECOGNIZED_INSTRUCTION@4");
}

#[test]
fn the_last_keyword_parts_an_instruction() {
    check("create vm as was", "INEXISTING_COMPONENT@1 MISSING_INSTANCE_NAME@1");
    check("create vmas x", "");
    let commands = check("email a with x with y", "");
    assert_eq!(commands.instructions[0].action, Action::Email { to: vec!["a with x".into()], message: "y".into() });
    check("write into into into f", "");
    check("rename /tomcat-vm asé x", "INVALID_SYNTAX@1");
}

#[test]
fn each_instruction_is_checked() {
    for (line, expect) in [
        ("associate /tomcat-vm with 2", ""),
        ("associate /tomcat-vm with", "INVALID_TARGET_ID@1"),
        ("associate /tomcat-vm/tomcat-server with 2", "NOT_A_SCOPED_INSTANCE@1"),
        ("associate /x with", "NO_MATCHING_INSTANCE@1 INVALID_TARGET_ID@1"),
        ("associate tomcat-vm with 2", "INVALID_SYNTAX@1"),
        ("change status of /tomcat-vm to DEPLOYED and STARTED", ""),
        ("change status of /tomcat-vm to not deployed", ""),
        ("change status of /tomcat-vm to", "INVALID_INSTANCE_STATUS@1"),
        ("change status of /tomcat-vm to started", "INVALID_INSTANCE_STATUS@1"),
        ("change status of /tomcat-vm to problem", "INSTABLE_INSTANCE_STATUS@1"),
        ("change status of /x to starting", "NO_MATCHING_INSTANCE@1 INSTABLE_INSTANCE_STATUS@1"),
        ("change /tomcat-vm to deployed started", "INVALID_SYNTAX@1"),
        ("deploy and start all /tomcat-vm", ""),
        ("deploy and start all /tomcat-vm/", "NO_MATCHING_INSTANCE@1"),
        ("deploy and start all /mysql-vm/tomcat-server", "NO_MATCHING_INSTANCE@1"),
        ("stop all instances ofvm", ""),
        ("undeploy all instances of whatever", "INEXISTING_COMPONENT@1"),
        ("delete instances of a/b", "UNRECOGNIZED_INSTRUCTION@1 NO_MATCHING_INSTANCE@1"),
        ("eat and drink /all", "NO_INSTRUCTION@1 UNRECOGNIZED_INSTRUCTION@1"),
        ("email a@b.c with x", ""),
        ("email with x", ""),
        ("email a@b.c with", "INVALID_SYNTAX@1"),
        ("email a@b.c with # x", "EMAIL_NO_MESSAGE@1"),
        ("create tomcat as t under /tomcat-vm", ""),
        ("create tomcat as", "MISSING_PARENT_INSTANCE@1 MISSING_INSTANCE_NAME@1"),
        ("create tomcat as !boo!", "MISSING_PARENT_INSTANCE@1 INVALID_INSTANCE_NAME@1"),
        ("create   as toto", "MISSING_COMPONENT_NAME@1"),
        ("create tomcat as t under /tomcat-vm/tomcat-server", "NOT_AN_ACCEPTABLE_PARENT@1"),
        ("create tomcat as t under /x", "NO_MATCHING_INSTANCE@1"),
        ("create tomcat as tomcat-server under /tomcat-vm", "CONFLICTING_INSTANCE_NAME@1"),
        ("create vm as t under /tomcat-vm", "CANNOT_HAVE_ANY_PARENT@1"),
        ("replicate /tomcat-vm as toto", ""),
        ("replicate /tomcat-vm as tomcat-vm", ""),
        ("replicate /tomcat-vm as", "MISSING_INSTANCE_NAME@1"),
        ("replicate /tomcat-vm/tomcat-server as toto", "NOT_A_ROOT_INSTANCE@1"),
        ("replicate /x as !boo!", "NO_MATCHING_INSTANCE@1 INVALID_INSTANCE_NAME@1"),
        ("rename /tomcat-vm as vm2", ""),
        ("rename /tomcat-vm as mysql-vm", "CONFLICTING_INSTANCE_NAME@1"),
        ("rename as toto", "INVALID_SYNTAX@1"),
        ("write into f", ""),
        ("append x into", "MISSING_TARGET_FILE@1"),
        ("append x", "INVALID_SYNTAX@1"),
        ("execute other", ""),
        ("execute other.commands", ""),
        ("execute", "INVALID_SYNTAX@1"),
        ("execute # x", "MISSING_COMMAND_NAME@1"),
        ("execute main.commands", "LOOPING_COMMAND@1"),
        ("execute nothing", "INEXISTING_COMMAND@1"),
        ("execute itself", "NASTY_LOOPING_COMMAND@1"),
        ("execute back", "NASTY_LOOPING_COMMAND@1"),
    ] {
        check(line, expect);
    }
    check(&format!("create vm as {}", "a".repeat(129)), "E0907@1");
}

#[test]
fn mistakes_are_underlined() {
    for (text, expect) in [
        ("create vmm as x", "vmm"),
        ("create tomcat as x under /tomcat-vn", "/tomcat-vn"),
        ("define a = vm\nstop all /$(a)s/x", "/$(a)s/x"),
        ("change status of /tomcat-vm to DEPLOYED", "DEPLOYED"),
        ("define a = $(FORMATTED_TIME yy bb )", "b"),
        ("define a = x $(EXISTING_INDEX min) y", "$(EXISTING_INDEX min)"),
        ("stop all /$(b)", "$(b)"),
        ("rename /tomcat-vm as", "as"),
    ] {
        assert_eq!(underlined(text), expect, "{text}");
    }
    let (_, found) = check_commands("stop all /tomcat-vn", &context());
    assert_eq!(found[0].help.as_deref(), Some("did you mean `/tomcat-vm`?"));
    let (_, found) = check_commands("define b = $(smart_INDEX)", &context());
    assert_eq!(found[0].help.as_deref(), Some("did you mean `SMART_INDEX`?"));
    let (_, found) = check_commands("\ndefine b = $(x)\nstop all /$(b)", &context());
    assert_eq!(found[1].help.as_deref(), Some("its definition on line 2 has a mistake; mend that one first"));
}

#[test]
fn variables_have_built_in_values() {
    for (line, expect) in [
        ("define = toto", "EMPTY_VARIABLE_NAME@1"),
        ("define key =", ""),
        ("define key", "INVALID_SYNTAX@1"),
        ("define key = value under /inexisting", "NO_MATCHING_INSTANCE@1"),
        ("define m = $(MILLI_TIME) $(FORMATTED_TIME HH:mm:ss )", "NO_MIX_FOR_PATTERNS@1"),
        ("define m = $(FORMATTED_TIME HH:mm:ss ) $(MILLI_TIME)", "NO_MIX_FOR_PATTERNS@1"),
        ("define m = $(FORMATTED_TIME HH:mm:ss ) oops ", "NO_MIX_FOR_PATTERNS@1"),
        ("define m = $(FORMATTED_TIME invalid pattern )", "INVALID_DATE_PATTERN@1"),
        ("define m = $(FORMATTED_TIME HH 'h')", "INVALID_DATE_PATTERN@1"),
        ("define m = $(FORMATTED_TIME )", "INVALID_DATE_PATTERN@1"),
        ("define m = $(FORMATTED_TIME HHb)", ""),
        ("define m = $(EXISTING_INDEX  MAXIMUM)", "INVALID_INDEX_PATTERN@1"),
        ("define m = $(EXISTING_INDEX MIN)", ""),
        ("define m = $(EXISTING_INDEX)", "UNRESOLVED_VARIABLE@1"),
        ("define m = $(nano_time)", "UNRESOLVED_VARIABLE@1"),
        ("stop all /$(UUID)", "UNRESOLVED_VARIABLE@1"),
    ] {
        check(line, expect);
    }
    let text = "define a = $(FORMATTED_TIME yyyy )\ndefine b = $(MILLI_TIME)\ndefine c = $(UUID)\ndefine d = $(UUID)\n\
                define i = t $(SMART_INDEX) t under /tomcat-vm\ncreate vm as $(c)\ncreate vm as $(d)";
    let commands = check_in(&context().at(1_709_212_029_045_000_000, 7), text, "");
    let [a, b, c, d, i] = values(&commands)[..] else { panic!("{commands:?}") };
    assert_eq!((a, b, i), ("2024", "1709212029045", "t 1 t"));
    assert!(c != d && c.len() == 36, "{c} {d}");
}

#[test]
fn indexes_count_what_is_there() {
    let text = "define n = vm $(SMART_INDEX)\ncreate vm as $(n)\ndefine n = vm $(SMART_INDEX)\ncreate vm as $(n)\n\
                define n = vm $(SMART_INDEX)\ndelete /vm 1\ndefine n = vm $(SMART_INDEX)\n\
                define x = vm $(EXISTING_INDEX MIN)\ndefine x = vm $(EXISTING_INDEX MIN < 2)\ndefine x = vm $(EXISTING_INDEX MAX)";
    let commands = check(text, "");
    assert_eq!(values(&commands), ["vm 1", "vm 2", "vm 3", "vm 1", "vm 2", "fake", "vm 2"]);

    // Not found: skipped, and so is what uses it, even when it is found later; but not what uses that.
    let text = "define v = vm $(EXISTING_INDEX MIN)\nstop all /$(v)\ndefine w = $(v)\nstop all /$(w)\n\
                create vm as vm 4\ndefine v = vm $(EXISTING_INDEX MIN)\nstop all /$(v)";
    let commands = check(text, "");
    let disabled: Vec<bool> = commands.instructions.iter().map(|i| i.disabled).collect();
    assert_eq!(disabled, [true, true, true, false, false, false, true]);
}

#[test]
fn later_lines_see_what_former_ones_did() {
    check(
        "rename /tomcat-vm as a\nstop all /a/tomcat-server/hello-world\nstop all /tomcat-vm",
        "NO_MATCHING_INSTANCE@3",
    );
    check("rename /tomcat-vm/tomcat-server as b\nstop all /tomcat-vm/b/hello-world", "");
    check("replicate /tomcat-vm as a\nstop all /a/tomcat-server\nstop all /tomcat-vm", "");
    check("delete /tomcat-vm\nstop all /tomcat-vm/tomcat-server", "NO_MATCHING_INSTANCE@2");
    check("delete all instances of tomcat\nstop all /tomcat-vm/tomcat-server/hello-world", "NO_MATCHING_INSTANCE@2");
    check("create vm as a b\ncreate tomcat as t under /a b\ncreate vm as a b", "CONFLICTING_INSTANCE_NAME@3");
    // What is wrong has no effect.
    check("create vm as a under /tomcat-vm\nstop all /a", "CANNOT_HAVE_ANY_PARENT@1 NO_MATCHING_INSTANCE@2");
}

#[test]
fn without_an_application_only_the_text_is_checked() {
    let unknown = CommandContext::unknown();
    let text = "stop all /x\nassociate /x with 2\ncreate a as b under /x\nrename /x as y\nexecute z\ndelete all instances of q\n\
                define v = t $(EXISTING_INDEX MAX > 3) under /x\nreplicate /x as q";
    let commands = check_in(&unknown, text, "");
    assert_eq!(commands.instructions.len(), 8);
    check_in(
        &unknown,
        "stop all /x/\nreplicate /x/y as z\nwrite x into",
        "NO_MATCHING_INSTANCE@1 NOT_A_ROOT_INSTANCE@2 MISSING_TARGET_FILE@3",
    );
}

#[test]
fn variables_of_variables_have_a_limit() {
    let doubling: String = (0..60).map(|i| format!("define a{} = $(a{i})$(a{i})\n", i + 1)).collect();
    check(&format!("define a0 = x\n{doubling}"), "E0908@25");
}

#[test]
fn a_lone_file_is_checked_and_not_applied() {
    let options = crate::CompileOptions::default();
    let mut files = std::collections::BTreeMap::from([("x.commands".to_owned(), b"stop all /a\nexecute x".to_vec())]);
    let compiled = crate::compile_any("x.commands", &options, &mut files);
    assert_eq!(summary(&compiled.sources[0].text, &compiled.diagnostics), "LOOPING_COMMAND@2");
    let applied = crate::compile_file("x.commands", &mut files);
    assert_eq!(applied.diagnostics[0].code, Code::NotGraphOrInstances);
    let missing = crate::compile_any("y.commands", &options, &mut files);
    assert_eq!(summary("", &missing.diagnostics), "INEXISTING_COMMAND_FILE@1");
}

proptest! {
    #[test]
    fn any_lines_are_read(lines in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..60)) {
        let text = lines.concat();
        for context in [context(), CommandContext::unknown()] {
            let (commands, found) = check_commands(&text, &context);
            prop_assert!(commands.recognized >= commands.instructions.len());
            for diagnostic in found {
                prop_assert!(text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
                for related in diagnostic.related {
                    prop_assert!(text.get(related.span.range()).is_some(), "{related:?}");
                }
            }
        }
    }
}

const PARTS: [&str; 36] = [
    "\n",
    "\n",
    "\n",
    " ",
    "\\\n",
    "\\\n \n\t",
    "#",
    "\r",
    "é",
    "\u{2028}",
    "associate ",
    "change status of ",
    "deploy and start all ",
    "delete all instances of ",
    "email ",
    "define ",
    "create ",
    "replicate ",
    "rename ",
    "write ",
    "append ",
    "execute ",
    "/tomcat-vm",
    "/tomcat-vm/tomcat-server",
    " with ",
    " to ",
    " as ",
    " into ",
    " under ",
    " = ",
    "$(a)",
    "a",
    "$(SMART_INDEX)",
    "$(EXISTING_INDEX MIN)",
    "$(FORMATTED_TIME yy )",
    "vm",
];
