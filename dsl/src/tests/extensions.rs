//! What robo adds to the original.

use robo_model::graph::{Binding, Check, Drift, Installer, Probe, RestartPolicy};
use robo_model::name::NameTemplate;
use robo_model::quantity::Millis;

use super::{application, check, component, exports, instance};

const SHOP: &str = "application shop {
    version: 1.4.0;
    description: \"Sells # things\";
    exports-prefix: Shop;
    exports: Web.port as web-port;
    tags: a, b;
}
Machine {
    installer: target;
    exports: ip;
    children: Base, Web;
}
Base {
    installer: process;
    restart: on-failure;
    env.LEVEL: info;
    env.HOME: \"/tmp/a # b\";
    user: svc;
    stop-timeout: 5s;
    drift: heal;
}
Web {
    extends: Base;
    exports: random[port] port, url = http://$(ROBOCONF_INSTANCE_NAME):1,
             colour = \"#fff\";   # a list over two lines
    imports: Machine.* (optional);
    run: python3 -m http.server --bind \"$(ip)\" $(port);
    env.LEVEL: debug;
    check: http $(port) /healthz every 10s timeout 1s;
    deploy-timeout: 5m;
    exports: ip;
}
instance of Machine {
    name: robot-{device};
    devices: site=tokyo, arch!=arm,
             gpu;
    instance of Web {
        name: web;
    }
}
";

#[test]
fn one_file_says_all() {
    let app = application(SHOP);
    assert_eq!(app.name.as_str(), "shop");
    assert_eq!(app.version.as_deref(), Some("1.4.0"));
    assert_eq!(app.description.as_deref(), Some("Sells # things"));
    assert_eq!(app.exports_prefix.as_ref().map(|p| p.as_str()), Some("Shop"));
    assert_eq!(app.exports.iter().map(|(v, a)| format!("{v} {a}")).collect::<Vec<_>>(), ["Web.port web-port"]);
    assert_eq!(app.tags, ["a", "b"]);
    let web = component(&app, "Web");
    let Installer::Process(process) = &web.installer else { panic!("{web:?}") };
    assert_eq!(process.run, "python3 -m http.server --bind \"$(ip)\" $(port)");
    assert_eq!(process.restart, RestartPolicy::OnFailure);
    assert_eq!(process.env["LEVEL"], "debug");
    assert_eq!(process.env["HOME"], "/tmp/a # b");
    assert_eq!(web.settings.user.as_deref(), Some("svc"));
    assert_eq!(web.settings.drift, Drift::Heal);
    assert_eq!(web.settings.stop_timeout, Some(Millis::from_secs(5)));
    assert_eq!(web.settings.deploy_timeout, Some(Millis::from_secs(300)));
    let probe = Probe::Http { port: "$(port)".into(), path: "/healthz".into() };
    let expect = Check { probe, every: Millis::from_secs(10), timeout: Millis::from_secs(1) };
    assert_eq!(web.settings.check.as_ref(), Some(&expect));
    assert_eq!(
        exports(&instance(&app, "/robot-device/web").exports),
        "Web.colour=#fff Web.ip@ Web.port# Web.url=http://$(ROBOCONF_INSTANCE_NAME):1"
    );
    let selector = "site=tokyo,arch!=arm,gpu".parse().unwrap();
    let name = NameTemplate::new("robot-{device}").unwrap();
    assert_eq!(instance(&app, "/robot-device").binding, Some(Binding::Devices { selector, name }));
}

/// A machine with an instance that has `property`, from line 7 on.
fn in_host(property: &str, expect: &str) {
    check(
        format!("M {{\n installer: target;\n exports: x = 1;\n}}\ninstance of M {{\n name: m;\n {property}\n}}\n"),
        expect,
    );
}

#[test]
fn bindings() {
    in_host("device: device-42;", "");
    in_host("target: edge-vm;", "");
    in_host("device: -x;", "E0919@7");
    in_host("devices: a b;", "E0940@6 E0920@7");
    in_host("target: a b;", "E0921@7");
    in_host("device: a;\n target: b;", "E0922@8");
    in_host("devcie: a;", "RM_MAGIC_INSTANCE_VARIABLE@7");
    in_host("name2: robot-{device};", "RM_MAGIC_INSTANCE_VARIABLE@7");
    // Fenced: where the component exports the name, it is an override as in the original.
    let app =
        application("M {\n installer: target;\n exports: device = 1;\n}\ninstance of M {\n name: m;\n device: 2;\n}\n");
    assert_eq!(exports(&instance(&app, "/m").exports), "M.device=2");
    assert_eq!(instance(&app, "/m").binding, None);
    // And in what is no machine.
    check(
        "M {\n installer: target;\n children: A;\n}\nA {\n installer: script;\n}\ninstance of M {\n name: m;\n instance of A {\n  name: a;\n  device: x;\n }\n}\n",
        "RM_MAGIC_INSTANCE_VARIABLE@12",
    );
}

/// A process component with `property`, on line 7.
fn in_process(property: &str, expect: &str) {
    check(
        format!("M {{\n installer: target;\n children: P;\n}}\nP {{\n installer: process;\n {property}\n}}\n"),
        expect,
    );
}

#[test]
fn properties_of_components() {
    for good in [
        "run: a 'b c';",
        "run: a; # b",
        "run: sh -c \"a; b # c\";",
        "run: a;\n check: tcp 5432 every 1m;",
        "run: a;\n check: run ./ready.sh --all every 30s timeout 5s;",
        "run: a;\n restart: never;",
    ] {
        in_process(good, "");
    }
    in_process("restart: always;", "E0924@5");
    in_process("run: a 'b;", "E0918@7");
    in_process("run: a; b;", "P_ONE_BLOCK_PER_LINE@7");
    in_process("run: a;\n restart: sometimes;", "E0915@8");
    in_process("run: a;\n env.1: x;", "E0917@8");
    in_process("run: a;\n user: a b;", "E0916@8");
    in_process("run: a;\n start-timeout: 5;", "E0913@8");
    in_process("run: a;\n check: http 0 /;", "E0914@8");
    in_process("run: a;\n check: tcp 80 every never;", "E0913@8");
    in_process("run: a;\n check: ping;", "E0914@8");
    in_process("run: a;\n run: b;", "PM_DUPLICATE_PROPERTY@8");
    in_process("run: a $(nope) $(secret:x);", "E0923@7 E0939@7");
    in_process("run: a;\n rnu: b;", "PM_PROPERTY_NOT_APPLIABLE@8");
    check("M {\n installer: target;\n run: x;\n}\n", "E0925@3");
    check("M {\n installer: target;\n exports: a = $(b);\n}\n", "E0943@3");
    check(
        "M {\n installer: target;\n exports: a = $(b), b = 1;\n}\ninstance of M {\n name: m;\n a: $(c);\n}\n",
        "E0943@7",
    );
}

#[test]
fn application_blocks() {
    let m = "M {\n installer: target;\n exports: x = 1;\n}\n";
    let in_block = |property: &str, expect: &str| {
        check(format!("{m}application a {{\n {property}\n}}\n"), expect);
    };
    in_block("version: 1;", "RM_INVALID_APPLICATION_VERSION@6");
    in_block("exports: M.x as y;", "RM_MISSING_APPLICATION_EXPORT_PREFIX@6");
    in_block("exports-prefix: a b;", "RM_INVALID_APPLICATION_EXPORT_PREFIX@6");
    in_block(
        "exports-prefix: A;\n exports: M.y as z, M.x as z;",
        "RM_INVALID_EXTERNAL_EXPORT@7 RM_ALREADY_DEFINED_EXTERNAL_EXPORT@7",
    );
    in_block("exports-prefix: A;\n exports: M.x;", "PROJ_INVALID_EXTERNAL_EXPORTS@7");
    in_block("vresion: 1.0;", "PM_PROPERTY_NOT_APPLIABLE@6");
    check(format!("{m}application a@b {{\n}}\n"), "RM_INVALID_APPLICATION_NAME@5");
    check(format!("{m}application a {{\n}}\napplication b {{\n}}\n"), "E0928@7");
    check(format!("{m}M2 {{\n installer: target;\n instance of M {{\n  name: x;\n }}\n}}\n"), "E0912@7");
}

#[test]
fn long_lists_end_where_a_line_cannot_go_on() {
    let m = |lines: &str| format!("M {{\n installer: target;\n{lines}}}\n");
    check(m(" exports: a,\n\n # between\n b;\n"), "");
    check(m(" exports: a,\n imports: M.a (optional);\n"), "P_PROPERTY_ENDS_WITH_SEMI_COLON@3");
    check(m(" exports: a,\n b\n"), "P_PROPERTY_ENDS_WITH_SEMI_COLON@4");
    check(m(" exports: a,\n"), "P_PROPERTY_ENDS_WITH_SEMI_COLON@3");
    // The label is under the item of its own line.
    let compiled = super::compile(m(" exports: a,\n   -b, # c\n   d;\n"));
    assert_eq!(compiled.diagnostics[0].span.of(&compiled.sources[0].text), "-b");
}
