//! Project folders, and reusable recipes.

use std::collections::BTreeMap;

use super::summary;
use crate::{CompileOptions, Compiled, Severity, compile_project_with, compile_recipe_with};

const DESCRIPTOR: &str =
    "name=a\nversion=1.0\ndsl-id=x\ngraph-entry-point=main.graph\ninstance-entry-point=i.instances\n";
const GRAPH: &str =
    "VM {\n installer: target;\n exports: ip, x = 1;\n children: App;\n}\nApp {\n installer: script;\n}\n";
const INSTANCES: &str = "instance of VM {\n name: vm;\n}\n";
const TARGET: &str = "id: t\nhandler: docker\nname: T\n";
const RULE: &str = "rule \"r\" when e then scale end";

/// A project without any mistake.
const PROJECT: [(&str, &str); 9] = [
    ("descriptor/application.properties", DESCRIPTOR),
    ("graph/main.graph", GRAPH),
    ("graph/VM/target.properties", TARGET),
    ("graph/App/scripts/start.sh", ""),
    ("instances/i.instances", INSTANCES),
    ("commands/scale.commands", "deploy and start all /vm\n"),
    ("rules.autonomic/r.drl", RULE),
    ("probes/App.measures", "[event file e]\n/{{ f }}\n"),
    ("probes/App.measures.properties", "f = x\n"),
];

/// Stands for a file that is taken away.
const GONE: &str = "\0";

fn changed(base: &[(&str, &str)], changes: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, text) in base.iter().chain(changes) {
        files.insert((*name).to_owned(), text.as_bytes().to_vec());
    }
    files.retain(|_, text| text != GONE.as_bytes());
    files
}

fn compile(changes: &[(&str, &str)]) -> Compiled {
    let properties = BTreeMap::from([("project.version".to_owned(), "1.0-SNAPSHOT".to_owned())]);
    let options = CompileOptions { properties, default_name: None };
    compile_project_with(&options, &mut changed(&PROJECT, changes))
}

/// `CODE@file:line`, in order; with errors there is no application, without there is.
fn check(changes: &[(&str, &str)], expect: &str) {
    let compiled = compile(changes);
    assert_eq!(named(&compiled), expect, "{changes:?}\n{:#?}", compiled.diagnostics);
    let errors = compiled.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(compiled.application.is_none(), errors, "{changes:?}");
}

fn named(compiled: &Compiled) -> String {
    let each = compiled.diagnostics.iter().map(|d| {
        let source = &compiled.sources[d.file.0];
        assert!(d.span.end as usize <= source.text.len(), "{d:?}");
        let line = source.position(d.span.start).line;
        format!("{}@{}:{line}", d.code.alias().unwrap_or(d.code.as_str()), source.name)
    });
    each.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_folder_is_an_application() {
    let descriptor = "# c\napplication-name: Sh\\u00f6p (1)\nversion = ${project.version}\ndsl-id=roboconf-1.0\n\
                      graph-entry-point = main.graph\ninstance-entry-point = i.instances\n\
                      exports-prefix = Shop\nexports = VM.ip as vm-ip, \\\n  VM.x as x\ntags: a, b\ndescription = d\n";
    let compiled = compile(&[("descriptor/application.properties", descriptor)]);
    assert_eq!(compiled.diagnostics, []);
    let application = compiled.application.unwrap();
    assert_eq!(application.name.as_str(), "Shop (1)");
    assert_eq!(application.version.as_deref(), Some("1.0-SNAPSHOT"));
    assert_eq!(application.tags, ["a", "b"]);
    assert_eq!(application.exports.len(), 2);
    assert_eq!(application.instances.len(), 1);
    let names: Vec<&str> = compiled.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names[..3], ["descriptor/application.properties", "graph/main.graph", "instances/i.instances"]);
    assert!(compiled.sources[0].text.contains("1.0-SNAPSHOT"));
}

#[test]
fn descriptors_are_checked() {
    let with = |text: &str, expect: &str| {
        let compiled = compile(&[("descriptor/application.properties", text)]);
        assert_eq!(summary(&compiled), expect, "{text}\n{:#?}", compiled.diagnostics);
    };
    let rest = "dsl-id=x\ngraph-entry-point=main.graph\ninstance-entry-point=i.instances\n";
    with(&format!("name=a\nversion=1.0\n{rest}"), "");
    with(&format!("name=é\nversion=1\n{rest}"), "RM_INVALID_APPLICATION_NAME@1 RM_INVALID_APPLICATION_VERSION@2");
    with(&format!("name=${{project.artifactId}}\nversion=1.0\n{rest}"), "RM_INVALID_APPLICATION_NAME@1");
    with(&format!("name=a\nversion=1.0\nexports-prefix=P\nexports=VM.ip\n{rest}"), "PROJ_INVALID_EXTERNAL_EXPORTS@4");
    with(&format!("name=a\nversion=1.0\nexports=VM.ip as ip\n{rest}"), "RM_MISSING_APPLICATION_EXPORT_PREFIX@3");
    with(&format!("name=a\nversion=1.0\nexports-prefix=P\nexports=VM.no as n\n{rest}"), "RM_INVALID_EXTERNAL_EXPORT@4");
    with(&format!("name=a\nversion=1.0\nexports-prefix=P\nexports=VM as n\n{rest}"), "RM_INVALID_EXTERNAL_EXPORT@4");
    // Of two names for one variable the last one counts.
    with(&format!("name=a\nversion=1.0\nexports-prefix=P\nexports=VM.x as n, VM.x as o, VM.ip as n\n{rest}"), "");
    with(
        &format!("name=a\nversion=\\u00\n{rest}"),
        "PROJ_READ_DESC_FILE@2 PROJ_UNREACHABLE_FILE@1 PROJ_UNREACHABLE_FILE@1",
    );
}

#[test]
fn folders_and_entry_points_are_checked() {
    let d = "descriptor/application.properties";
    let without = |key: &str| -> String {
        DESCRIPTOR.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect()
    };
    check(&[], "");
    check(
        &[(d, &DESCRIPTOR.replace("main.graph", "no.graph"))],
        "PROJ_MISSING_GRAPH_EP@descriptor/application.properties:4 \
         CO_GRAPH_COULD_NOT_BE_BUILT@descriptor/application.properties:5 PROJ_UNREACHABLE_FILE@graph/main.graph:1",
    );
    check(
        &[(d, &DESCRIPTOR.replace("main.graph", "../graph/main.graph"))],
        "PROJ_MISSING_GRAPH_EP@descriptor/application.properties:4 \
         CO_GRAPH_COULD_NOT_BE_BUILT@descriptor/application.properties:5 PROJ_UNREACHABLE_FILE@graph/main.graph:1",
    );
    check(
        &[(d, &DESCRIPTOR.replace("i.instances", "no"))],
        "PROJ_MISSING_INSTANCE_EP@descriptor/application.properties:5 PROJ_UNREACHABLE_FILE@instances/i.instances:1",
    );
    check(
        &[(d, &without("instance-entry")), ("commands/scale.commands", "write a into b")],
        "PROJ_UNREACHABLE_FILE@instances/i.instances:1",
    );
    check(&[("instances/i.instances", GONE), ("commands/scale.commands", "write a into b")], "");
    check(
        &[("graph/main.graph", GONE), ("graph/VM/target.properties", GONE), ("graph/App/scripts/start.sh", GONE)],
        "PROJ_NO_GRAPH_DIR@descriptor/application.properties:4 \
         CO_GRAPH_COULD_NOT_BE_BUILT@descriptor/application.properties:5",
    );
    check(
        &[(d, GONE), ("descriptor/readme", "")],
        "PROJ_NO_DESC_FILE@descriptor/application.properties:1 PROJ_UNREACHABLE_FILE@graph/main.graph:1 \
         PROJ_UNREACHABLE_FILE@instances/i.instances:1",
    );
    let nothing = compile_project_with(&CompileOptions::default(), &mut BTreeMap::new());
    assert_eq!(summary(&nothing), "PROJ_NO_DESC_DIR@1 PROJ_NO_GRAPH_DIR@1");
    check(
        &[(d, "application-name = a\ntemplate-name = t\n")],
        "PROJ_APPLICATION_TEMPLATE_NOT_FOUND@descriptor/application.properties:2 PROJ_UNREACHABLE_FILE@graph/main.graph:1 \
         PROJ_UNREACHABLE_FILE@instances/i.instances:1",
    );
}

#[test]
fn folders_keep_their_kinds() {
    let graph = |text: &str, expect: &str| check(&[("graph/main.graph", text), ("probes/App.measures", GONE)], expect);
    let instances = |text: &str, expect: &str| check(&[("instances/i.instances", text)], expect);
    graph(&format!("{GRAPH}{INSTANCES}"), "P_INVALID_FILE_TYPE@graph/main.graph:9");
    graph(INSTANCES, "CO_NOT_A_GRAPH@graph/main.graph:1");
    instances(GRAPH, "CO_NOT_INSTANCES@instances/i.instances:1");
    check(
        &[("graph/other.graph", ""), ("x.graph", ""), ("commands/y.instances", "")],
        "PROJ_INVALID_COMMAND_EXT@commands/y.instances:1 PROJ_INVALID_FILE_LOCATION@commands/y.instances:1 \
         PROJ_UNREACHABLE_FILE@graph/other.graph:1 PROJ_INVALID_FILE_LOCATION@x.graph:1",
    );
    // What instances refer to is not in their files.
    instances(
        "import ;\nimport no.instances;\nfoo\ninstance of foo {\n name: v;\n}\n",
        "PM_EMPTY_IMPORT_LOCATION@instances/i.instances:1 CO_UNREACHABLE_FILE@instances/i.instances:2 \
         P_O_C_BRACKET_MISSING@instances/i.instances:3 CO_INEXISTING_COMPONENT@instances/i.instances:4",
    );
    check(&[("instances/deep/other.instances", "")], "PROJ_UNREACHABLE_FILE@instances/deep/other.instances:1");
    check(
        &[("commands/b.commands", "delete /no\nexecute c\n")],
        "CMD_NO_MATCHING_INSTANCE@commands/b.commands:1 CMD_INEXISTING_COMMAND@commands/b.commands:2",
    );
    check(&[("rules.autonomic/r.rule", "")], "PROJ_INVALID_RULE_EXT@rules.autonomic/r.rule:1");
}

#[test]
fn rules_and_measures_are_checked_with_the_rest() {
    let rule = |text: &str, expect: &str| check(&[("rules.autonomic/r.drl", text)], expect);
    rule(
        "rule \"\" when e then scael; scale end",
        "RULE_EMPTY_NAME@rules.autonomic/r.drl:1 RULE_UNKNOWN_COMMAND@rules.autonomic/r.drl:1",
    );
    let found = compile(&[("rules.autonomic/r.drl", "rule \"r\" when e then scael end")]);
    assert_eq!(found.diagnostics[0].help.as_deref(), Some("did you mean `scale`?"));
    rule("no", "RULE_INVALID_SYNTAX@rules.autonomic/r.drl:1");
    check(&[("commands/scale.commands", GONE)], "RULE_UNKNOWN_COMMAND@rules.autonomic/r.drl:1");
    check(&[("probes/App.measures.properties", "g = x\n")], "E1005@probes/App.measures:2");
    check(&[("probes/App.measures.properties", "f = \\uz\n")], "E1005@probes/App.measures.properties:1");
    check(&[("probes/Ap.measures", "[event docker e]")], "E1006@probes/Ap.measures:1");
    check(&[("probes/App.measures", "lost")], "E1002@probes/App.measures:1");
    check(
        &[
            ("rules.autonomic/r.drl", "no"),
            ("graph/main.graph", "App {\n installer target;\n}\n"),
            ("instances/i.instances", GONE),
            ("probes/App.measures", "x"),
        ],
        "P_INVALID_PROPERTY@graph/main.graph:2 RULE_INVALID_SYNTAX@rules.autonomic/r.drl:1 E1002@probes/App.measures:1",
    );
}

#[test]
fn recipes_of_targets_and_scripts_are_checked() {
    check(&[("graph/App/scripts/start.sh", GONE)], "PROJ_NO_RESOURCE_DIRECTORY@graph/main.graph:6");
    check(
        &[("graph/App/scripts/start.sh", GONE), ("graph/App/start.sh", "")],
        "REC_SCRIPT_NO_SCRIPTS_DIR@graph/main.graph:7",
    );
    let heir = format!("{GRAPH}Heir {{\n extends: App;\n}}\n");
    check(&[("graph/main.graph", &heir)], "");
    let target = |text: &str, expect: &str| check(&[("graph/VM/target.properties", text)], expect);
    target("handler: h\nname: n", "REC_TARGET_NO_ID@graph/VM/target.properties:2");
    target(
        "id: h",
        "REC_TARGET_NO_HANDLER@graph/VM/target.properties:1 REC_TARGET_NO_NAME@graph/VM/target.properties:1",
    );
    target("id: h\nhandler: \\u0", "REC_TARGET_INVALID_FILE_OR_CONTENT@graph/VM/target.properties:2");
    check(&[("graph/VM/b.properties", TARGET)], "REC_TARGET_CONFLICTING_ID@graph/VM/target.properties:1");
    check(&[("graph/VM/b.properties", &TARGET.replace("id: t", "id: b"))], "");
    // A target that lacks something else has its id all the same.
    check(
        &[("graph/VM/b.properties", "id: t\nname: n")],
        "REC_TARGET_NO_HANDLER@graph/VM/b.properties:2 REC_TARGET_CONFLICTING_ID@graph/VM/target.properties:1",
    );
    check(
        &[("graph/VM/target.properties", GONE), ("graph/VM/readme", "")],
        "REC_TARGET_NO_PROPERTIES@graph/main.graph:2",
    );
    check(
        &[("graph/VM/target.properties", GONE), ("graph/VM/b/target.properties", TARGET)],
        "REC_TARGET_NO_PROPERTIES@graph/main.graph:2",
    );
}

#[test]
fn recipes_for_puppet_are_checked() {
    let graph = GRAPH.replace("script", "puppet").replace("children: App", "children: App, Db")
        + "Db {\n installer: logger;\n exports: port = 1;\n}\n";
    let importing = graph.replace("puppet;", "puppet;\n imports: Db.port;");
    let module = "graph/App/roboconf_app/manifests";
    let (init, update) = (&*format!("{module}/init.pp"), &*format!("{module}/update.pp"));
    let all = "class a($runningState = undef, $importDiff = undef) { }\n";
    let some = "class a(\n $runningState = undef) { }\n";
    let with = |graph: &str, files: &[(&str, &str)], expect: &str| {
        let mut changes = vec![("graph/main.graph", graph), ("graph/App/scripts/start.sh", GONE), ("graph/Db/a", "")];
        changes.extend(files);
        check(&changes, expect);
    };
    with(&graph, &[("graph/App/x", "")], "REC_PUPPET_HAS_NO_RBCF_MODULE@graph/main.graph:7");
    let two = [("graph/App/Roboconf_a/x", ""), ("graph/App/roboconf_b/x", "")];
    with(&graph, &two, "REC_PUPPET_HAS_TOO_MANY_RBCF_MODULES@graph/main.graph:7");
    with(&graph, &[(init, all)], "");
    with(&graph, &[(init, some), (update, all)], "");
    with(&graph, &[(init, some)], &format!("REC_PUPPET_MISSING_PARAM_IMPORT_DIFF@{init}:1"));
    with(
        &graph,
        &[(init, "class a($x) {}"), (update, all)],
        &format!("REC_PUPPET_MISSING_PARAM_RUNNING_STATE@{init}:1"),
    );
    with(&graph, &[(init, "class a {}\n}")], &format!("REC_PUPPET_SYNTAX_ERROR@{init}:2"));
    with(&importing, &[(init, all)], &format!("REC_PUPPET_MISSING_PARAM_FROM_IMPORT@{init}:1"));
    with(&importing, &[(init, &all.replace("class a(", "class a($db = undef, "))], "");
    let wildcard = graph.replace("puppet;", "puppet;\n imports: Db.*;");
    let own = all.replace("class a(", "class a($db, ");
    with(&wildcard, &[(init, &own)], "REC_PUPPET_DISLIKES_WILDCARD_IMPORTS@graph/main.graph:8");
}

#[test]
fn reusable_recipes_are_no_applications() {
    let recipe = |files: &[(&str, &str)], expect: &str| {
        let base = [
            ("graph/db.graph", "facet f {\n children: Db;\n}\nDb {\n installer: script;\n}\n"),
            ("graph/Db/scripts/a", ""),
            ("README.md", ""),
        ];
        let compiled = compile_recipe_with(&CompileOptions::default(), &mut changed(&base, files));
        assert_eq!(named(&compiled), expect, "{files:?}\n{:#?}", compiled.diagnostics);
    };
    recipe(&[], "");
    recipe(&[("README.md", GONE)], "REC_MISSING_README@graph/db.graph:1");
    recipe(&[("graph/z.graph", "")], "PROJ_UNREACHABLE_FILE@graph/z.graph:1");
    recipe(
        &[("graph/db.graph", "Db {\n installer: script;\n exports: a = 1;\n imports: Db.a, X.b;\n}\n")],
        "RM_COMPONENT_IMPORTS_EXPORTS@graph/db.graph:4 RM_UNRESOLVABLE_VARIABLE@graph/db.graph:4",
    );
    recipe(&[("graph/db.graph", GONE)], "PROJ_MISSING_GRAPH_EP@graph:1");
    recipe(&[("graph/db.graph", GONE), ("graph/Db/scripts/a", GONE)], "PROJ_NO_GRAPH_DIR@graph:1");
    let descriptor = "name=a\nversion=1.0\ndsl-id=x\ngraph-entry-point=db.graph\ninstance-entry-point=i.instances\n";
    let own = [
        ("descriptor/application.properties", descriptor),
        ("instances/i.instances", "instance of Db {\n name: d;\n}\n"),
    ];
    recipe(&own, "REC_AVOID_INSTANCES@instances/i.instances:1");
    let strict = compile_project_with(&CompileOptions::default(), &mut changed(&[("graph/db.graph", "")], &[]));
    assert_eq!(
        named(&strict),
        "PROJ_NO_DESC_DIR@descriptor/application.properties:1 PROJ_UNREACHABLE_FILE@graph/db.graph:1"
    );
}

#[test]
fn a_loader_that_cannot_tell_is_enough_for_the_model() {
    struct Blind(BTreeMap<String, Vec<u8>>);
    impl crate::Loader for Blind {
        fn load(&mut self, path: &str) -> Result<Vec<u8>, String> {
            self.0.load(path)
        }
    }
    let compiled = compile_project_with(&CompileOptions::default(), &mut Blind(changed(&PROJECT, &[("x.graph", "")])));
    assert_eq!(compiled.diagnostics, []);
}

#[test]
fn what_stands_beside_a_graph_is_checked_alone() {
    for (name, text, expect) in [
        ("r.drl", RULE, ""),
        ("r.drl", "rule", "RULE_INVALID_SYNTAX@r.drl:1"),
        ("App.measures", "[event docker e]", ""),
        ("App.measures", "[event dokcer e]", "E1003@App.measures:1"),
        ("target.properties", TARGET, ""),
        (
            "docker.target.properties",
            "id: a",
            "REC_TARGET_NO_HANDLER@docker.target.properties:1 REC_TARGET_NO_NAME@docker.target.properties:1",
        ),
        ("application.properties", DESCRIPTOR, ""),
        (
            "application.properties",
            "name: a",
            "RM_MISSING_APPLICATION_VERSION@application.properties:1 RM_MISSING_APPLICATION_DSL_ID@application.properties:1 RM_MISSING_APPLICATION_GEP@application.properties:1",
        ),
    ] {
        let mut files = changed(&[(name, text)], &[]);
        let compiled = crate::compile_any(name, &CompileOptions::default(), &mut files);
        assert_eq!(named(&compiled), expect, "{name}: {text}");
        let refused = crate::compile_file_with(name, &CompileOptions::default(), &mut files);
        assert_eq!(refused.diagnostics[0].code, crate::Code::NotGraphOrInstances, "{name}");
    }
    for (name, code) in [
        ("r.drl", "RULE_IO_ERROR"),
        ("a.measures", "P_IO_ERROR"),
        ("t.properties", "REC_TARGET_INVALID_FILE_OR_CONTENT"),
        ("application.properties", "PROJ_READ_DESC_FILE"),
    ] {
        let compiled = crate::compile_any(name, &CompileOptions::default(), &mut BTreeMap::new());
        assert_eq!(summary(&compiled), format!("{code}@1"));
    }
}

#[test]
fn a_graph_of_one_file_misses_few_recipes() {
    let graph = "VM {\n installer: target;\n children: A, B, C;\n}\nA {\n installer: script;\n}\n\
                 B {\n extends: A;\n}\nC {\n installer: logger;\n}\n";
    for (beside, expect) in [
        ("", ""),
        ("a/scripts/start.sh", ""),
        ("A/scripts/start.sh", ""),
        ("C/x", "PROJ_NO_RESOURCE_DIRECTORY@5 PROJ_NO_RESOURCE_DIRECTORY@8"),
        ("B/x", "PROJ_NO_RESOURCE_DIRECTORY@5"),
    ] {
        let mut files = changed(&[("app.graph", graph), (beside, "")], &[]);
        let compiled = crate::compile_file("app.graph", &mut files);
        assert_eq!(summary(&compiled), expect, "{beside}");
        assert!(compiled.application.is_some(), "{beside}");
    }
}
