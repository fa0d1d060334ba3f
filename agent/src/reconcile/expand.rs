//! `$(name)` in exports, command lines, environments and checks.

use std::collections::BTreeMap;

use robo_model::graph::{AddressKind, ExportValue, Installer, Probe, Process, Settings};
use robo_model::limits::MAX_VALUE_BYTES;
use robo_model::name::Variable;
use robo_model::spec::InstanceSpec;
use robo_model::template::{self, Unresolved};

use crate::ledger::Told;
use crate::order::Addresses;

/// Exports that name one another one behind the other: deeper than anybody writes, and far from filling the stack.
const MAX_DEPTH: usize = 64;

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoValue {
    /// Nobody gives the variable a value.
    #[error("nothing gives `$({name})` in {place} a value")]
    Unknown { place: String, name: String },
    /// An export without a value.
    #[error("{0} has no value")]
    Open(String),
    /// The device has no such address.
    #[error("{place} needs an {family} address, and this device has none")]
    NoAddress { place: String, family: &'static str },
    /// It needs itself.
    #[error("{0} needs its own value to make its value")]
    Circular(String),
    /// One names the next, and so on.
    #[error("{0} is the end of a chain of more than {MAX_DEPTH} exports that name one another; shorten the chain")]
    Deep(String),
    /// Too long.
    #[error("{0} becomes longer than {MAX_VALUE_BYTES} bytes, the most a variable may hold")]
    TooLong(String),
    /// No words.
    #[error("{0} cannot be split into words: a quote is not closed, or a value holds a NUL")]
    Words(String),
}

/// The exports of `spec` with every value filled in.
pub(super) fn exports(spec: &InstanceSpec, addresses: &Addresses) -> Result<BTreeMap<Variable, String>, NoValue> {
    let mut exporter = Exporter { spec, addresses, done: BTreeMap::new(), under_way: Vec::new() };
    for name in spec.exports.keys() {
        exporter.value(name)?;
    }
    Ok(exporter.done.into_iter().map(|(name, value)| (name.clone(), value)).collect())
}

/// The installer and settings of `spec` with every text filled in from what it is told.
pub(super) fn texts(spec: &InstanceSpec, told: &Told) -> Result<(Installer, Settings), NoValue> {
    filled(spec, &|name| value(name, spec, told))
}

/// The same for steps that do not need every value, `deploy` for instance: what has none yet stays as written.
pub(super) fn known_texts(spec: &InstanceSpec, told: &Told) -> (Installer, Settings) {
    let lenient = |name: &str| Some(value(name, spec, told).unwrap_or_else(|| format!("$({name})")));
    filled(spec, &lenient).unwrap_or_else(|_| (spec.installer.clone(), spec.settings.clone()))
}

/// Fills in one export after another; one may name others.
struct Exporter<'a> {
    spec: &'a InstanceSpec,
    addresses: &'a Addresses,
    done: BTreeMap<&'a Variable, String>,
    under_way: Vec<&'a Variable>,
}

impl<'a> Exporter<'a> {
    fn value(&mut self, name: &'a Variable) -> Result<String, NoValue> {
        let place = || format!("the export `{name}`");
        if let Some(value) = self.done.get(name) {
            return Ok(value.clone());
        }
        if self.under_way.contains(&name) {
            return Err(NoValue::Circular(place()));
        }
        if self.under_way.len() >= MAX_DEPTH {
            return Err(NoValue::Deep(place()));
        }
        let value = match self.spec.exports.get(name) {
            Some(ExportValue::Address) => self.addresses.main.clone(),
            Some(ExportValue::Addresses(kind)) => self.address(*kind, &place)?,
            Some(ExportValue::Text(text)) => {
                self.under_way.push(name);
                let value = self.text(text, &place)?;
                self.under_way.pop();
                value
            }
            Some(ExportValue::RandomPort | ExportValue::Missing) | None => return Err(NoValue::Open(place())),
        };
        self.done.insert(name, value.clone());
        Ok(value)
    }

    fn address(&self, kind: AddressKind, place: &impl Fn() -> String) -> Result<String, NoValue> {
        let of_family = |v6: bool| self.addresses.all.iter().find(|address| address.contains(':') == v6).cloned();
        let lacks = |family| NoValue::NoAddress { place: place(), family };
        match kind {
            AddressKind::V4 => of_family(false).ok_or_else(|| lacks("IPv4")),
            AddressKind::V6 => of_family(true).ok_or_else(|| lacks("IPv6")),
            AddressKind::All => Ok(self.addresses.all.join(" ")),
        }
    }

    fn text(&mut self, text: &str, place: &impl Fn() -> String) -> Result<String, NoValue> {
        let mut deeper = None;
        let mut length = text.len();
        let expanded = template::expand(text, |name| {
            let value = match own(&self.spec.exports, self.spec, name) {
                Some(own) => self.value(own).map_err(|e| deeper = Some(e)).ok()?,
                // What the original does not know it leaves as it is; that there is such a name was warned of.
                None => template::instance_variable(name, self.spec).unwrap_or_else(|| format!("$({name})")),
            };
            length += value.len();
            if length > MAX_VALUE_BYTES {
                deeper = Some(NoValue::TooLong(place()));
                return None;
            }
            Some(value)
        });
        expanded.map_err(|Unresolved(name)| deeper.unwrap_or_else(|| NoValue::Unknown { place: place(), name }))
    }
}

/// The export that `name` means: a local name, the component's own first, or a full one.
fn own<'a, V>(exports: &'a BTreeMap<Variable, V>, spec: &InstanceSpec, name: &str) -> Option<&'a Variable> {
    let mut local = exports.keys().filter(|export| export.local.as_str() == name);
    local
        .clone()
        .find(|export| export.prefix == spec.component)
        .or_else(|| local.next())
        .or_else(|| exports.keys().find(|export| export.to_string() == name))
}

/// What `name` is in the command line of `spec`.
fn value(name: &str, spec: &InstanceSpec, told: &Told) -> Option<String> {
    let imported = || {
        let wanted = Variable::parse(name).ok()?;
        let providers = told.imports.get(&wanted.prefix)?;
        providers.values().find_map(|imported| imported.variables.get(&wanted.local)).cloned()
    };
    let own_local = own(&told.exports, spec, name).filter(|export| export.local.as_str() == name);
    own_local
        .and_then(|own| told.exports.get(own).cloned())
        .or_else(imported)
        .or_else(|| template::instance_variable(name, spec))
        .or_else(|| own(&told.exports, spec, name).and_then(|own| told.exports.get(own).cloned()))
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

fn filled(spec: &InstanceSpec, value: Lookup<'_>) -> Result<(Installer, Settings), NoValue> {
    let installer = match &spec.installer {
        Installer::Process(process) => Installer::Process(Process {
            run: words("`run`", &process.run, value)?,
            restart: process.restart,
            env: process
                .env
                .iter()
                .map(|(key, text)| Ok((key.clone(), plain(&format!("`env.{key}`"), text, value)?)))
                .collect::<Result<_, NoValue>>()?,
        }),
        // A container is refused when its first step begins; nothing of it is read here.
        other @ (Installer::Target
        | Installer::Script
        | Installer::Container(_)
        | Installer::Logger
        | Installer::Other { .. }) => other.clone(),
    };
    let mut settings = spec.settings.clone();
    if let Some(check) = &mut settings.check {
        check.probe = match &check.probe {
            Probe::Http { port, path } => {
                Probe::Http { port: plain("`check`", port, value)?, path: plain("`check`", path, value)? }
            }
            Probe::Tcp { port } => Probe::Tcp { port: plain("`check`", port, value)? },
            Probe::Run { command } => Probe::Run { command: words("`check`", command, value)? },
        };
    }
    Ok((installer, settings))
}

fn plain(place: &str, text: &str, value: Lookup<'_>) -> Result<String, NoValue> {
    template::expand(text, value).map_err(|Unresolved(name)| NoValue::Unknown { place: place.to_owned(), name })
}

/// Splits into words, fills each in and quotes it again: a value with spaces stays one word.
fn words(place: &str, text: &str, value: Lookup<'_>) -> Result<String, NoValue> {
    let words = shlex::split(text).ok_or_else(|| NoValue::Words(place.to_owned()))?;
    let filled = words.iter().map(|word| plain(place, word, value)).collect::<Result<Vec<_>, _>>()?;
    shlex::try_join(filled.iter().map(String::as_str)).map_err(|_| NoValue::Words(place.to_owned()))
}

#[cfg(test)]
mod tests {
    use robo_model::resolve::{Provider, resolve};

    use super::*;

    fn spec(exports: &[(&str, ExportValue)], run: &str) -> InstanceSpec {
        let mut spec: InstanceSpec = serde_json::from_str(
            r#"{"key": {"application": "shop", "path": "/vm/web"}, "component": "Web",
                "installer": {"kind": "process", "run": ""},
                "imports": [{"prefix": "Db", "variable": null}]}"#,
        )
        .unwrap();
        spec.exports = exports.iter().map(|(name, value)| (name.parse().unwrap(), value.clone())).collect();
        let Installer::Process(process) = &mut spec.installer else { unreachable!() };
        process.run = run.to_owned();
        spec
    }

    fn text(text: &str) -> ExportValue {
        ExportValue::Text(text.to_owned())
    }

    #[test]
    fn exports_name_each_other_and_the_instance() {
        let spec = spec(
            &[
                ("Web.ip", ExportValue::Address),
                ("Web.port", text("80")),
                ("Web.url", text("http://$(ip):$(port)/$(ROBOCONF_INSTANCE_NAME)")),
                ("Web.shell", text("echo $(hostname) $(port)")),
            ],
            "",
        );
        let got = exports(&spec, &Addresses::only("10.0.0.1")).unwrap();
        assert_eq!(got[&"Web.url".parse().unwrap()], "http://10.0.0.1:80/web");
        assert_eq!(got[&"Web.shell".parse().unwrap()], "echo $(hostname) 80", "an unknown name stays");
    }

    #[test]
    fn a_device_has_several_addresses() {
        let all = ["10.0.0.1", "fd00::1", "10.0.0.2"].map(str::to_owned).to_vec();
        let addresses = Addresses { main: "10.0.0.1".to_owned(), all };
        let spec = spec(
            &[
                ("Web.ip", ExportValue::Address),
                ("Web.ip4", ExportValue::Addresses(AddressKind::V4)),
                ("Web.ip6", ExportValue::Addresses(AddressKind::V6)),
                ("Web.ips", ExportValue::Addresses(AddressKind::All)),
                ("Web.url", text("http://[$(ip6)]/")),
            ],
            "",
        );
        let got: Vec<String> = exports(&spec, &addresses).unwrap().into_values().collect();
        assert_eq!(got, ["10.0.0.1", "10.0.0.1", "fd00::1", "10.0.0.1 fd00::1 10.0.0.2", "http://[fd00::1]/"]);
    }

    #[test]
    fn exports_that_cannot_be_made_say_why() {
        let check = |given: &[(&str, ExportValue)], expect: &str| {
            let error = exports(&spec(given, ""), &Addresses::only("10.0.0.1")).unwrap_err();
            assert!(error.to_string().contains(expect), "{error}");
        };
        check(&[("Web.a", text("$(secret:x)"))], "`$(secret:x)` in the export `Web.a`");
        check(&[("Web.a", text("$(b)")), ("Web.b", text("$(a)"))], "needs its own value");
        check(&[("Web.a", ExportValue::Missing)], "`Web.a` has no value");
        let v6 = ExportValue::Addresses(AddressKind::V6);
        check(&[("Web.ip6", v6.clone())], "the export `Web.ip6` needs an IPv6 address, and this device has none");
        check(&[("Web.ip6", v6), ("Web.a", text("[$(ip6)]"))], "`Web.ip6` needs an IPv6 address");
        let chain: Vec<(String, ExportValue)> = (0..100_000)
            .map(|n| (format!("Web.v{n:06}"), text(&format!("$(v{:06})", n + 1))))
            .chain([("Web.v100000".to_owned(), text("x"))])
            .collect();
        let chain: Vec<_> = chain.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        check(&chain, "a chain of more than 64 exports");
        let bomb: Vec<(String, ExportValue)> = (0..40)
            .map(|n| (format!("Web.v{n:02}"), text(&format!("$(v{0:02})$(v{0:02})", n + 1))))
            .chain([("Web.v40".to_owned(), text("x"))])
            .collect();
        let bomb: Vec<_> = bomb.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        check(&bomb, "longer than");
    }

    #[test]
    fn a_command_line_keeps_its_words() {
        let check = |run: &str, expect: Result<&[&str], &str>| {
            let spec = spec(&[("Web.port", text("80"))], run);
            let db = |path: &str, name: &str| Provider {
                key: format_key(path),
                component: "Db".parse().unwrap(),
                exports: [("Db.name".parse().unwrap(), name.to_owned())].into(),
                outside: BTreeMap::new(),
            };
            let imports = resolve(&spec, &[db("/b/db", "second"), db("/a/db", "a 'b; c")]);
            let told = Told { exports: exports(&spec, &Addresses::default()).unwrap(), imports, ..Told::default() };
            match (texts(&spec, &told), expect) {
                (Ok((Installer::Process(process), _)), Ok(words)) => {
                    assert_eq!(shlex::split(&process.run).unwrap(), words, "{run}");
                }
                (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
                (got, _) => panic!("{run}: {got:?}"),
            }
        };
        check("web --port=$(port) '$(Db.name)'", Ok(&["web", "--port=80", "a 'b; c"]));
        check("web $(ROBOCONF_COMPONENT_NAME)", Ok(&["web", "Web"]));
        check("web $(Web.port)", Ok(&["web", "80"]));
        check("web $(Cache.ip)", Err("`$(Cache.ip)` in `run`"));
        check("web 'open", Err("quote"));
    }

    fn format_key(path: &str) -> robo_model::spec::InstanceKey {
        robo_model::spec::InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
    }
}
