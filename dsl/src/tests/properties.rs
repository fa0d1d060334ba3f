//! robo's own properties in detail: what they become, and what is said of each wrong form.

use robo_model::graph::{Container, Installer};
use robo_model::quantity::{Bytes, MilliCpu, Millis};

use super::{application, compile, component};

/// A component on line 5 with `installer`, and `lines` below it.
fn source(installer: &str, lines: &str) -> String {
    format!("M {{\n installer: target;\n children: C;\n}}\nC {{\n installer: {installer};\n {lines}\n}}\n")
}

/// The one mistake of a source: its code, the exact text under its label, and a part of its help.
fn wrong(text: &str, code: &str, exact: &str, help: &str) {
    let compiled = compile(text);
    let [found] = compiled.diagnostics.as_slice() else { panic!("{text}\n{:#?}", compiled.diagnostics) };
    let under = found.span.of(&compiled.sources[found.file.0].text);
    assert_eq!((found.code.as_str(), under), (code, exact), "{text}\n{found:#?}");
    let said = found.help.as_deref().unwrap_or_default();
    assert!(said.contains(help), "{text}\n{found:#?}");
    assert!(!found.message.is_empty() && !found.label.is_empty(), "{found:#?}");
}

fn in_process(line: &str, code: &str, exact: &str, help: &str) {
    wrong(&source("process", &format!("run: a;\n {line}")), code, exact, help);
}

fn in_container(line: &str, code: &str, exact: &str, help: &str) {
    wrong(&source("container", &format!("image: nginx;\n {line}")), code, exact, help);
}

#[test]
fn limits_are_read() {
    let text = source(
        "process",
        "run: a;\n memory: 1.5GiB;\n cpu: 0.25;\n lease: 24h;\n rollout: 1 then 10% then 50%  pause 90s rollback;",
    );
    let app = application(&text);
    let settings = &component(&app, "C").settings;
    assert_eq!(settings.memory, Some(Bytes(3 << 29)));
    assert_eq!(settings.cpu, MilliCpu::new(250).ok());
    assert_eq!(settings.lease, Some(Millis::from_secs(86400)));
    let rollout = settings.rollout.as_ref().map(ToString::to_string);
    assert_eq!(rollout.as_deref(), Some("1 then 10% then 50% pause 1m30s rollback"));
    let app = application("application a {\n rollout: 10%;\n}\nM {\n installer: target;\n}\n");
    assert_eq!(app.rollout.map(|rollout| rollout.to_string()).as_deref(), Some("10%"));
}

#[test]
fn wrong_limits() {
    in_process("memory: 512mb;", "E0930", "mb", "did you mean `512MB`?");

    in_process("memory: 512m;", "E0930", "m", "did you mean `512MiB`?");
    in_process("memory: 5 blocks;", "E0930", "blocks", "`5MiB`");
    in_process("memory: 5;", "E0930", "5", "`5MiB`");
    in_process("memory: much;", "E0930", "much", "`512MiB`");
    in_process("memory: 0MiB;", "E0930", "0MiB", "");
    in_process("memory: 0.3B;", "E0930", "0.3B", "");
    in_process("memory: 99999999999GiB;", "E0930", "99999999999GiB", "");
    in_process("cpu: 500m;", "E0931", "500m", "did you mean `0.5`?");
    in_process("cpu: half;", "E0931", "half", "`0.5`");
    in_process("cpu: 0;", "E0931", "0", "");
    in_process("cpu: 1025;", "E0931", "1025", "");
    in_process("lease: 24;", "E0913", "24", "`24h`");
    in_process("lease: 2years;", "E0941", "2years", "365days");
    in_process("start-timeout: 99999999999999999999s;", "E0941", "99999999999999999999s", "365days");
    in_process("check: tcp 80 every 400days;", "E0941", "400days", "365days");
    in_process("memory: ;", "E0204", "memory", "memory: value;");
    in_process("memroy: 5MiB;", "E0220", "memroy", "did you mean `memory`?");
}

#[test]
fn wrong_rollouts() {
    in_process("rollout: 10% than 50%;", "E0932", "than", "did you mean `then`?");
    in_process("rollout: 10% puase 1m;", "E0932", "puase", "did you mean `pause`?");
    in_process("rollout: 10% max_failures 1;", "E0932", "max_failures", "did you mean `max-failures`?");
    in_process("rollout: 10% and back;", "E0932", "and", "`then`");
    in_process("rollout: 10% 50%;", "E0932", "50%", "`then`");
    in_process("rollout: 50% then 10%;", "E0932", "10%", "larger");
    in_process("rollout: 10% pause 1;", "E0932", "1", "`pause 1m`");
    in_process("rollout: 10% pause 366days;", "E0941", "366days", "`pause 1m`");
    in_process("rollout: 10% rollback then 50%;", "E0932", "then", "all batches first");
    wrong(
        "application a {\n rollout: 10% roll-back;\n}\nM {\n installer: target;\n}\n",
        "E0932",
        "roll-back",
        "did you mean `rollback`?",
    );
}

#[test]
fn wrong_checks_show_the_word() {
    in_process("check: htpp 80 /;", "E0914", "htpp", "did you mean `http`?");
    in_process("check: ping;", "E0914", "ping", "check: tcp PORT;");
    in_process("check: http /healthz;", "E0914", "/healthz", "1 to 65535");
    in_process("check: http 80;", "E0914", "http", "PORT /path");
    in_process("check: http 80 healthz;", "E0914", "healthz", "PORT /path");
    in_process("check: tcp 70000;", "E0914", "70000", "1 to 65535");
    in_process("check: tcp;", "E0914", "tcp", "1 to 65535");
    in_process("check: tcp 80 evry 5s;", "E0914", "evry", "did you mean `every`?");
    in_process("check: tcp 80 every;", "E0914", "every", "`every 5s`");
    in_process("check: tcp 80 every 1s every 2s;", "E0914", "every", "one of the two");
    in_process("check: tcp 80 timeout soon;", "E0913", "soon", "`5m`");
    in_process("drift: heel;", "E0944", "heel", "did you mean `heal`?");
    in_process("drift: ignore;", "E0944", "ignore", "`heal` or `report`");
    in_process("check: run;", "E0914", "run", "check: run COMMAND;");
    in_process("check: run ./ready 'x;", "E0918", "./ready 'x", "close every");
}

#[test]
fn containers_are_read() {
    let digest = "0a".repeat(32);
    let text = format!(
        "M {{\n installer: target;\n children: B;\n}}\nB {{\n installer: container;\n image: nginx;\n network: host;\n \
         volume.data: /data;\n volume.log: /log;\n env.A: 1;\n env.B: 1;\n}}\nC {{\n extends: B;\n \
         image: r.example:5000/team/app:1.4@sha256:{digest};\n run: serve '$(port)';\n exports: port = 1;\n \
         volume.data: /var/data;\n env.B: $(secret:db-password)!;\n}}\ninstance of M {{\n name: m;\n instance of C {{\n  \
         name: c;\n }}\n}}\n"
    );
    let app = application(&text);
    let Installer::Container(Container { image, run, env, volumes, network }) = &component(&app, "C").installer else {
        panic!("{app:#?}")
    };
    assert_eq!(image.to_string(), format!("r.example:5000/team/app:1.4@sha256:{digest}"));
    assert_eq!((image.host(), image.path()), (Some("r.example:5000"), "team/app"));
    assert_eq!(run.as_deref(), Some("serve '$(port)'"));
    let pairs: Vec<String> = env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(pairs, ["A=1", "B=$(secret:db-password)!"]);
    let pairs: Vec<String> = volumes.iter().map(|(name, path)| format!("{name}={path}")).collect();
    assert_eq!(pairs, ["data=/var/data", "log=/log"]);
    assert_eq!(network.as_ref().map(|network| network.as_str()), Some("host"));
}

#[test]
fn wrong_containers() {
    let image = |image: &str, exact: &str, help: &str| {
        wrong(&source("container", &format!("image: {image};")), "E0933", exact, help);
    };
    image("https://r.io/app", "https://", "leave out the scheme");
    image("r.io:99999/app", ":99999", "port");
    image("r.io/Team/app", "Team", "lower case");
    image("app:$(version)", "$(version)", "a tag has");
    image("app@sha256:12", "@sha256:12", "64 digits");
    in_container("volume.data: data;", "E0934", "data", "/var/lib/data");
    in_container("volume.data: /;", "E0934", "/", "/var/lib/data");
    in_container("volume.data: /a/../b;", "E0934", "/a/../b", "shortest");
    in_container("volume.data: /a:ro;", "E0934", "/a:ro", "no options");
    in_container("volume.-x: /a;", "E0934", "-x", "volume.data:");
    in_container("volume: /a;", "E0934", "volume", "volume.data:");
    in_container("volume.a: /x;\n volume.b: /x;", "E0934", "/x", "another path");
    in_container("network: a b;", "E0935", "a b", "network: host;");
    in_container("env: a;", "E0917", "env", "env.NAME");
    in_container("env.A-B: a;", "E0917", "A-B", "env.NAME");
    in_container("restart: never;", "E0925", "never", "`installer: process`");
    in_process("image: nginx;", "E0937", "nginx", "`installer: container`");
    in_process("volume.a: /x;", "E0937", "/x", "`installer: container`");
    in_process("network: host;", "E0937", "host", "`installer: container`");
    wrong(&source("script", "env.A: x;"), "E0925", "x", "`installer: process` or `installer: container`");
    wrong(&source("container", "network: host;"), "E0936", "C", "image: ");
    // Volumes of a base count, by name.
    let heir = |line: &str| source("container", &format!("image: a;\n volume.a: /x;\n}}\nD {{\n extends: C;\n {line}"));
    wrong(&heir("volume.b: /x;"), "E0934", "/x", "another path");
    application(&heir("volume.a: /y;\n volume.b: /x;"));
}

/// A base need not say what runs, unless it has instances itself.
#[test]
fn bases_may_leave_out_what_runs() {
    for (installer, line, code) in [("process", "run: a;", "E0924"), ("container", "image: a;", "E0936")] {
        let base = format!("{}D {{\n extends: C;\n {line}\n}}\n", source(installer, "user: u;"));
        application(&base);
        let used = format!("{base}instance of M {{\n name: m;\n instance of C {{\n  name: c;\n }}\n}}\n");
        wrong(&used, code, "C", "write `");
    }
}

#[test]
fn secrets_stand_where_nobody_else_reads() {
    application(&source("process", "run: a;\n env.P: x$(secret:db.pass_1-x)y$( secret:b );"));
    in_process("env.P: x$(secret:a b)y;", "E0938", "$(secret:a b)", "db-password");
    in_process("env.P: $(secret:);", "E0938", "$(secret:)", "db-password");
    in_process("exports: p = x$(secret:a);", "E0939", "$(secret:a)", "env.PASSWORD");
    in_process("check: http 80 /?p=$(secret:a);", "E0939", "$(secret:a)", "env.PASSWORD");
    wrong(&source("process", "run: a -p $(secret:a);"), "E0939", "$(secret:a)", "env.PASSWORD");
    let machine = |line: &str| {
        format!("M {{\n installer: target;\n exports: x = 1;\n}}\ninstance of M {{\n name: m;\n {line}\n}}\n")
    };
    wrong(&machine("x: $(secret:a);"), "E0939", "$(secret:a)", "env.PASSWORD");
    wrong(&machine("data.key: a$(secret:a);"), "E0939", "$(secret:a)", "env.PASSWORD");
}

#[test]
fn a_fleet_has_a_name_for_each_device() {
    let machine = |lines: &str| {
        format!(
            "M {{\n installer: target;\n children: C;\n}}\nC {{\n installer: script;\n}}\ninstance of M {{\n {lines}\n}}\n"
        )
    };
    wrong(&machine("name: m;\n devices: gpu;"), "E0940", "m", "write `name: m-{device};`");
    wrong(&machine("name: m-{device};"), "E0940", "{device}", "devices: SELECTOR;");
    wrong(&machine("name: m-{device};\n device: a;"), "E0940", "{device}", "devices: SELECTOR;");
    wrong(&machine("name: m-{device};\n devices: site=tokyo, gpu or cpu, a;"), "E0920", "gpu or cpu", "arch!=arm");
    wrong(&machine("name: m-{device};\n devices: site=tokyo, , a;"), "E0920", "site=tokyo, , a", "arch!=arm");
    wrong(&machine("name: {device}-{device};\n devices: gpu;"), "E0940", "{device}", "one of the two");
    wrong(&machine("name: m-{device};\n devices: gpu;\n count: 3;"), "E0940", "3", "leave `count` out");
    wrong(&machine("name: m-{devcie};\n devices: gpu;"), "E0223", "m-{devcie}", "did you mean `{device}`?");
    wrong(&machine("name: m-{site};\n devices: gpu;"), "E0223", "m-{site}", "only `{device}`");
    wrong(&machine("name: 1{device};\n devices: gpu;"), "E0223", "1{device}", "starts with a letter");
    let child = "name: m-{device};\n devices: gpu;\n instance of C {\n  name: c-{device};\n }";
    wrong(&machine(child), "E0940", "{device}", "plain name");
    let long = format!("name: {}{{device}};\n devices: gpu;", "x".repeat(125));
    wrong(&machine(&long), "E0907", &format!("{}{{device}}", "x".repeat(125)), "shorter");
}

/// Fences: these words are ours only where the original has no meaning for them.
#[test]
fn ours_only_where_free() {
    let app =
        application("application {\n installer: target;\n exports: ip;\n}\ninstance of application {\n name: a;\n}\n");
    assert_eq!(component(&app, "application").installer, Installer::Target);
    for word in ["device", "devices", "target"] {
        let text = format!(
            "M {{\n installer: target;\n exports: {word} = 1;\n}}\ninstance of M {{\n name: m;\n {word}: not a, name;\n}}\n"
        );
        let app = application(&text);
        assert_eq!(super::instance(&app, "/m").binding, None);
        assert_eq!(super::exports(&super::instance(&app, "/m").exports), format!("M.{word}=not a, name"));
    }
}

/// What is long in a file is cut in the message.
#[test]
fn messages_are_short() {
    let long = "9".repeat(20_000);
    let lines = [
        "memory: #;",
        "memory: 1#x;",
        "cpu: #;",
        "lease: #s;",
        "rollout: #%;",
        "rollout: 1 pause #;",
        "check: tcp #;",
        "network: #;",
    ];
    let machine = ["device: -#;", "devices: # #;", "target: #;", "name: #;"];
    let all = lines.iter().map(|line| source("process", &format!("run: a;\n {}", line.replace('#', &long))));
    let all = all.chain(machine.iter().map(|line| {
        let line = line.replace('#', &long);
        format!("M {{\n installer: target;\n}}\ninstance of M {{\n name: m-{{device}};\n {line}\n}}\n")
    }));
    for text in all {
        let compiled = compile(&text);
        assert!(!compiled.diagnostics.is_empty(), "{text}");
        for found in compiled.diagnostics {
            let said = found.message.len() + found.label.len() + found.help.as_ref().map_or(0, String::len);
            assert!(said < 500, "{} {said}: {:.300}", found.code, found.message);
        }
    }
}
