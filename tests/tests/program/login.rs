//! `robo login` with a real OpenID provider: `oidc-provider`, of the version that `tests/oidc` pins.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started, binaries, root};
use rustix::process::Signal;
use serde_json::Value;

use super::Lab;

/// What the provider and the manager share; any character may be in it.
const SECRET: &str = "a:secret/with+odd%characters";

/// The folder with the provider, installed as the lock file says: once, and anew when that changes.
fn installed() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let install = || {
        let from = root().join("tests/oidc");
        let folder = binaries().parent().unwrap().join("oidc-provider");
        fs::create_dir_all(&folder).unwrap();
        // Test runs beside this one wait here.
        let lock = fs::File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let locked = fs::read_to_string(from.join("package-lock.json")).unwrap();
        let mark = folder.join("installed");
        if fs::read_to_string(&mark).ok().as_ref() != Some(&locked) {
            for file in ["package.json", "package-lock.json"] {
                fs::copy(from.join(file), folder.join(file)).unwrap();
            }
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder);
            let done = npm.output().expect("npm runs: it is needed for this test, see .ci/run");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            fs::write(mark, locked).unwrap();
        }
        fs::copy(from.join("provider.mjs"), folder.join("provider.mjs")).unwrap();
        folder
    };
    FOLDER.get_or_init(install).clone()
}

/// A provider that ends with its owner.
struct Provider {
    issuer: String,
    /// Whoever writes where nobody can read any more is ended by it.
    _said: BufReader<ChildStdout>,
    _process: Running,
}

impl Provider {
    fn start() -> Self {
        let mut node = Command::new("node");
        node.arg("provider.mjs").current_dir(installed()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Running::start(node.stderr(Stdio::null()));
        let (mut issuer, mut said) = (String::new(), BufReader::new(process.0.stdout.take().unwrap()));
        said.read_line(&mut issuer).unwrap();
        Self { issuer: issuer.trim().to_owned(), _said: said, _process: process }
    }

    /// Does what a person would do in a browser.
    fn ask(&self, path: &str) {
        let address = self.issuer.strip_prefix("http://").unwrap();
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut status = String::new();
        BufReader::new(socket).read_line(&mut status).unwrap();
        assert!(status.contains(" 204"), "{path}: {status}");
    }

    /// The file for a manager that believes it.
    fn config(&self, lifetime: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
        let text = format!(
            "issuer: {}\nclient_id: robo\nclient_secret_file: secret\nscopes: [email, groups, offline_access]\n\
             token_lifetime: {lifetime}\n\
             rules:\n- {{claim: groups, is: robots, role: operator, project: default}}\n",
            self.issuer
        );
        let file = folder.path().join("oidc.yaml");
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap().to_owned();
        (folder, file)
    }
}

/// A login that waits for somebody to confirm it, and its code.
fn begin(lab: &Lab) -> (Started, String) {
    let login = lab.user.start(&["login", "who", "--url", &url(lab), "--ca", &lab.path("manager/ca.pem")]);
    let code = eventually_blocking("a code is shown", || {
        let (_, told) = login.so_far();
        Some(told.lines().nth(1)?.trim().to_owned()).filter(|_| told.contains("or open"))
    });
    (login, code)
}

fn url(lab: &Lab) -> String {
    format!("https://{}", lab.address)
}

/// What the audit log has about logging in: who, and what became of it.
fn audit(lab: &Lab) -> Vec<(String, String)> {
    let all = ["--context", "lab", "audit", "list", "--all-projects", "-o", "json"];
    let told = lab.user.run(&all).expect(0).out;
    let lines = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|line| line["verb"] == "login");
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    lines.map(|line| (text(&line["who"]), text(&line["outcome"]))).collect()
}

fn whoami(lab: &Lab) -> String {
    lab.user.run(&["--context", "who", "auth", "whoami", "-o", "name"]).expect(0).out
}

#[test]
fn somebody_whom_the_provider_knows() {
    let provider = Provider::start();
    let (_folder, file) = provider.config("8h");
    let lab = Lab::with(&["--oidc", &file]);

    let (login, code) = begin(&lab);
    provider.ask(&format!("/approve?user_code={code}&as=ann"));
    let told = login.wait().expect(0);
    assert!(told.err.contains("You are ann@example.org at who."), "{}", told.err);
    assert_eq!(whoami(&lab), "ann@example.org\n");
    let may = ["--context", "who", "auth", "can-i", "exec"];
    lab.user.run(&may).expect(0);
    lab.user.run(&["--context", "who", "auth", "can-i", "grant"]).expect(3);
    assert_eq!(audit(&lab), [("ann@example.org".to_owned(), "allowed".to_owned())]);
    let kept = lab.user.config().join("contexts.yaml");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&kept).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // Her groups are gone at the provider: the next look takes the right away.
    provider.ask("/leave?who=ann");
    lab.user.run(&may).expect(0);
    due(&lab);
    lab.user.run(&may).expect(1);
    expire(&lab);
    let told = lab.user.run(&may).expect(1);
    assert!(told.err.contains("no rule of the manager lets this identity in"), "{}", told.err);
    lab.user.run(&["--context", "who", "logout"]).expect(0);
    assert!(!fs::read_to_string(&kept).unwrap().contains("refresh_token"));
    let told = lab.user.run(&may).expect(1);
    assert!(told.err.contains("robo login"), "{}", told.err);
}

/// Has the client think that its token ends soon.
fn due(lab: &Lab) {
    edit(lab, 60_000);
}

/// Has it think that it has ended.
fn expire(lab: &Lab) {
    edit(lab, 0);
}

fn edit(lab: &Lab, left: u128) {
    let path = lab.user.config().join("contexts.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let end = |line: &str| match line.split_once("ends: ") {
        Some((before, _)) => format!("{before}ends: {}\n", now + left),
        None => format!("{line}\n"),
    };
    fs::write(&path, text.lines().map(end).collect::<String>()).unwrap();
}

#[test]
fn a_login_goes_on_until_it_is_taken_back() {
    let provider = Provider::start();
    let (_folder, file) = provider.config("1h");
    let lab = Lab::with(&["--oidc", &file]);
    let (login, code) = begin(&lab);
    provider.ask(&format!("/approve?user_code={code}&as=ann"));
    login.wait().expect(0);
    let token = || {
        let text = fs::read_to_string(lab.user.config().join("contexts.yaml")).unwrap();
        text.lines().find(|line| line.contains("rbt1.")).unwrap().to_owned()
    };
    let first = token();
    expire(&lab);
    assert_eq!(whoami(&lab), "ann@example.org\n");
    assert_ne!(token(), first, "it has another one");
    // Several commands at a time renew it once.
    due(&lab);
    let at_once: Vec<Started> =
        (0..4).map(|_| lab.user.start(&["--context", "who", "auth", "whoami", "-o", "name"])).collect();
    for command in at_once {
        assert_eq!(command.wait().expect(0).out, "ann@example.org\n");
    }
    lab.user.run(&["--context", "who", "logout"]).expect(0);
    assert_eq!(audit(&lab).len(), 3, "a login, and two times that it went on");
}

#[test]
fn somebody_whom_no_rule_lets_in() {
    let provider = Provider::start();
    let (_folder, file) = provider.config("8h");
    let lab = Lab::with(&["--oidc", &file]);
    let (login, code) = begin(&lab);
    provider.ask(&format!("/approve?user_code={code}&as=eve"));
    let told = login.wait().expect(1);
    assert!(told.err.contains("no rule of the manager lets this identity in"), "{}", told.err);
    let (login, code) = begin(&lab);
    provider.ask(&format!("/deny?user_code={code}"));
    assert!(login.wait().expect(1).err.contains("the login was refused"));
    // Whoever takes it back is nobody, and in words.
    let (login, _) = begin(&lab);
    login.process.signal(Signal::INT);
    assert!(login.wait().expect(130).err.contains("Nobody is logged in"));
    assert_eq!(audit(&lab), [("?".to_owned(), "refused".to_owned())], "and the second one is counted");
    assert!(!lab.user.run(&["--context", "lab", "user", "list", "-o", "name"]).expect(0).out.contains("eve"));

    // Ann is there, and somebody else comes whom the provider calls the same.
    let (login, code) = begin(&lab);
    provider.ask(&format!("/approve?user_code={code}&as=ann"));
    login.wait().expect(0);
    let (login, code) = begin(&lab);
    provider.ask(&format!("/approve?user_code={code}&as=mal"));
    assert!(login.wait().expect(1).err.contains("a user `ann@example.org` already"));
}

#[test]
fn managers_without_a_provider() {
    let lab = Lab::new();
    let told = lab.user.run(&["login"]).expect(1);
    assert!(told.err.contains("no OpenID provider") && told.err.contains("--token-stdin"), "{}", told.err);
    let mut command = lab.user.command();
    command.args(["login", "--token-stdin"]).stdin(fs::File::open(lab.path("manager/admin.token")).unwrap());
    assert!(Started::start(&mut command).wait().expect(0).err.contains("You are admin at lab."));
    lab.user.run(&["status"]).expect(0);
    let mut command = lab.user.command();
    command.args(["login", "--token-stdin"]);
    assert!(Started::start(&mut command).wait().expect(1).err.contains("does not hold one token"));

    let file = lab.path("oidc.yaml");
    for (text, why) in [
        ("", "missing field `issuer`"),
        ("issuer: http://id.example.org\nclient_id: robo\nrules: []\n", "must be https"),
        ("issuer: https://id.example.org\nclient_id: robo\nrules: []\n", "nobody could log in"),
        ("issuer: https://id.example.org\nclient_id: robo\nclient_secret: x\nrules: []\n", "unknown field"),
    ] {
        fs::write(&file, text).unwrap();
        let told = lab.user.run(&["manager", "--data", &lab.path("other"), "--oidc", &file]).expect(1);
        assert!(told.err.contains(why) && told.err.contains(&file), "{why}: {}", told.err);
    }
    let missing = "issuer: https://id.example.org\nclient_id: robo\nclient_secret_file: no\n\
                   rules: [{claim: sub, is: x}]\n";
    fs::write(&file, missing).unwrap();
    let told = lab.user.run(&["manager", "--data", &lab.path("other"), "--oidc", &file]).expect(1);
    assert!(told.err.contains(&lab.path("no")), "{}", told.err);
}
