//! Project folders.

use std::collections::BTreeMap;

use super::summary;
use crate::{CompileOptions, compile_project_with};

const GRAPH: &str = "VM {\n installer: target;\n exports: ip, x = 1;\n}\n";

fn compile(descriptor: &str, files: &[(&str, &str)]) -> crate::Compiled {
    let mut map: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    map.insert("descriptor/application.properties".to_owned(), descriptor.as_bytes().to_vec());
    let properties = BTreeMap::from([("project.version".to_owned(), "1.0-SNAPSHOT".to_owned())]);
    compile_project_with(&CompileOptions { properties, default_name: None }, &mut map)
}

fn check(descriptor: &str, expect: &str) {
    let compiled = compile(
        descriptor,
        &[("graph/main.graph", GRAPH), ("instances/i.instances", "instance of VM {\n name: vm;\n}\n")],
    );
    assert_eq!(summary(&compiled), expect, "{descriptor}\n{:#?}", compiled.diagnostics);
}

#[test]
fn a_folder_is_an_application() {
    let descriptor = "# c\napplication-name: Sh\\u00f6p (1)\nversion = ${project.version}\ndsl-id=roboconf-1.0\n\
                      graph-entry-point = main.graph\ninstance-entry-point = i.instances\n\
                      exports-prefix = Shop\nexports = VM.ip as vm-ip, \\\n  VM.x as x\ntags: a, b\ndescription = d\n";
    let compiled = compile(
        descriptor,
        &[("graph/main.graph", GRAPH), ("instances/i.instances", "instance of VM {\n name: vm;\n}\n")],
    );
    let application = compiled.application.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics));
    assert_eq!(application.name.as_str(), "Shop (1)");
    assert_eq!(application.version.as_deref(), Some("1.0-SNAPSHOT"));
    assert_eq!(application.tags, ["a", "b"]);
    assert_eq!(application.exports.len(), 2);
    assert_eq!(application.instances.len(), 1);
    let names: Vec<&str> = compiled.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["descriptor/application.properties", "graph/main.graph", "instances/i.instances"]);
    assert!(compiled.sources[0].text.contains("1.0-SNAPSHOT"));
}

#[test]
fn descriptors_are_checked() {
    let rest = "dsl-id=x\ngraph-entry-point=main.graph\n";
    check(&format!("name=a\nversion=1.0\n{rest}"), "");
    check("name=a\nversion=1.0\ngraph-entry-point=main.graph\n", "RM_MISSING_APPLICATION_DSL_ID@3");
    check(
        "",
        "RM_MISSING_APPLICATION_NAME@1 RM_MISSING_APPLICATION_VERSION@1 RM_MISSING_APPLICATION_DSL_ID@1 RM_MISSING_APPLICATION_GEP@1",
    );
    check(&format!("name=é\nversion=1\n{rest}"), "RM_INVALID_APPLICATION_NAME@1 RM_INVALID_APPLICATION_VERSION@2");
    check(&format!("name=${{project.artifactId}}\nversion=1.0\n{rest}"), "RM_INVALID_APPLICATION_NAME@1");
    check(&format!("name=a\nversion=1.0\nexports-prefix=P\nexports=VM.ip\n{rest}"), "PROJ_INVALID_EXTERNAL_EXPORTS@4");
    check(&format!("name=a\nversion=1.0\nexports=VM.ip as ip\n{rest}"), "RM_MISSING_APPLICATION_EXPORT_PREFIX@3");
    check("name=a\nversion=1.0\ndsl-id=x\ngraph-entry-point=nope.graph\n", "PROJ_MISSING_GRAPH_EP@4");
    check(&format!("name=a\nversion=1.0\ninstance-entry-point=nope\n{rest}"), "PROJ_MISSING_INSTANCE_EP@3");
    check(
        "name=a\nversion=1.0\ndsl-id=x\ngraph-entry-point=../descriptor/application.properties\n",
        "PROJ_MISSING_GRAPH_EP@4",
    );
}

#[test]
fn folders_keep_their_kinds() {
    let descriptor = "name=a\nversion=1.0\ndsl-id=x\ngraph-entry-point=main.graph\ninstance-entry-point=i.instances\n";
    let with = |graph: &str, instances: &str| {
        summary(&compile(descriptor, &[("graph/main.graph", graph), ("instances/i.instances", instances)]))
    };
    let vm = "instance of VM {\n name: vm;\n}\n";
    assert_eq!(with(&format!("{GRAPH}{vm}"), vm), "P_INVALID_FILE_TYPE@5");
    assert_eq!(with(vm, vm), "CO_NOT_A_GRAPH@1");
    assert_eq!(with(GRAPH, GRAPH), "CO_NOT_INSTANCES@1");
    assert_eq!(with(GRAPH, ""), "P_EMPTY_FILE@1");
    assert_eq!(summary(&compile(descriptor, &[("graph/main.graph", GRAPH)])), "");
    assert_eq!(summary(&compile(descriptor, &[])), "PROJ_NO_GRAPH_DIR@4");
    let nothing = crate::compile_project(&mut BTreeMap::new());
    assert_eq!(summary(&nothing), "PROJ_NO_DESC_DIR@1");
}
