//! The parts of each instruction, and what must hold for them.

use robo_model::state::InstanceState;

use super::*;
use crate::commands::pattern::{self, Around, Bulk, Parts};
use crate::commands::{BulkTarget, context::stem, executes, world};

/// An instruction's parts, as bytes of its line.
#[derive(Debug)]
pub(super) enum Parsed {
    Associate(Parts),
    ChangeStatus(Parts),
    Bulk(Bulk),
    Email(Parts),
    Define(Parts),
    Create(Parts),
    Replicate(Parts),
    Rename(Parts),
    Write(Parts),
    Append(Parts),
    Execute(Range<usize>),
}

impl Parsed {
    /// The variable that it defines.
    pub(super) fn defined<'t>(&self, text: &'t str) -> Option<&'t str> {
        if let Self::Define(parts) = self { text.get(parts.left.clone()) } else { None }
    }
}

/// Takes a line apart; nothing when it is not well formed.
pub(super) fn parse(kind: Kind, text: &str) -> Option<Parsed> {
    use pattern::{parts, path_parts};
    Some(match kind {
        Kind::Associate => Parsed::Associate(path_parts(text, &["associate"], "with", Around::BlankWord)?),
        Kind::ChangeStatus => {
            Parsed::ChangeStatus(path_parts(text, &["change", "status", "of"], "to", Around::BlankWord)?)
        }
        Kind::Bulk => Parsed::Bulk(pattern::bulk(text)?),
        Kind::Email => Parsed::Email(parts(text, &["email"], "with", Around::Blank)?),
        Kind::Define => Parsed::Define(pattern::define(text)?),
        Kind::Create => Parsed::Create(parts(text, &["create"], "as", Around::Word)?),
        Kind::Replicate => Parsed::Replicate(path_parts(text, &["replicate"], "as", Around::Word)?),
        Kind::Rename => Parsed::Rename(path_parts(text, &["rename"], "as", Around::Word)?),
        Kind::Write => Parsed::Write(parts(text, &["write"], "into", Around::Word)?),
        Kind::Append => Parsed::Append(parts(text, &["append"], "into", Around::Word)?),
        Kind::Execute => Parsed::Execute(pattern::execute(text)?),
    })
}

impl Reader<'_, '_, '_> {
    /// The instruction, when nothing is wrong with it.
    pub(super) fn check(&mut self, parsed: Parsed) -> Option<Checked> {
        let action = match parsed {
            Parsed::Associate(parts) => self.associate(&parts),
            Parsed::ChangeStatus(parts) => self.change_status(&parts),
            Parsed::Bulk(bulk) => self.bulk(&bulk),
            Parsed::Email(parts) => self.email(&parts),
            Parsed::Define(parts) => return self.define(&parts),
            Parsed::Create(parts) => self.create(&parts),
            Parsed::Replicate(parts) => self.replicate(&parts),
            Parsed::Rename(parts) => self.rename(&parts),
            Parsed::Write(parts) => {
                let text = self.text(&parts.left).to_owned();
                self.target_file(&parts).map(|file| Action::Write { text, file })
            }
            Parsed::Append(parts) => {
                let text = self.text(&parts.left).to_owned();
                self.target_file(&parts).map(|file| Action::Append { text, file })
            }
            Parsed::Execute(name) => self.execute(&name),
        }?;
        Some(Checked { action, parent: None })
    }

    fn associate(&mut self, parts: &Parts) -> Option<Action> {
        let target = self.text(&parts.right).to_owned();
        if target.is_empty() {
            self.wrong(
                Code::InvalidTargetId,
                &parts.keyword,
                "there is no target after `with`",
                "what follows?",
                |_| "name the target that makes the machine: `associate /vm with 3`".to_owned(),
            );
        }
        let path = self.existing(&parts.left)?;
        let not_a_host = match self.world.find(&path) {
            Found::Instance(component, facts) if !facts.is_target => {
                Some(format!("`{path}` is no machine: the installer of `{component}` is not `target`"))
            }
            Found::Fake => Some(format!("`{path}` stands in for an index that was not found, and is no machine")),
            Found::Instance(..) | Found::Unknown | Found::Nothing => None,
        };
        if let Some(message) = not_a_host {
            self.wrong(Code::NotAHost, &parts.left, message, "no machine", |world| {
                let host = path
                    .ancestors()
                    .find(|path| matches!(world.find(path), Found::Instance(_, facts) if facts.is_target));
                host.map_or_else(
                    || "only an instance whose installer is `target` has a target".to_owned(),
                    |host| format!("it stands on the machine `{host}`: associate that one"),
                )
            });
        }
        Some(Action::Associate { path, target })
    }

    fn change_status(&mut self, parts: &Parts) -> Option<Action> {
        let written = self.text(&parts.right);
        let wanted = written.to_uppercase().replace(' ', "_").replace("_AND_", "_");
        let status = InstanceState::ALL.into_iter().find(|state| state.as_str() == wanted);
        let lasting = || InstanceState::ALL.into_iter().filter(|state| lasts(*state)).map(InstanceState::as_str);
        let range = if parts.right.is_empty() { &parts.keyword } else { &parts.right };
        match status {
            None => {
                let message = if written.is_empty() {
                    "there is no status after `to`".to_owned()
                } else {
                    format!("`{}` is no status of an instance", short(written))
                };
                self.wrong(Code::InvalidStatus, range, message, "no status", |_| {
                    let all = lasting().collect::<Vec<_>>().join("`, `");
                    did_you_mean(&wanted, lasting(), || format!("write one of `{all}`"))
                });
            }
            Some(state) if !lasts(state) => {
                let message = format!("`{state}` does not last, so it cannot be asked for");
                self.wrong(Code::UnstableStatus, range, message, "only passed through", |_| {
                    format!("write one of `{}`", lasting().collect::<Vec<_>>().join("`, `"))
                });
            }
            Some(_) => {}
        }
        let path = self.existing(&parts.left);
        Some(Action::ChangeStatus { path: path?, status: status? })
    }

    fn bulk(&mut self, bulk: &Bulk) -> Option<Action> {
        let verb = pattern::verb_of(self.text(&self.all()), bulk);
        if verb.is_none() {
            let message = format!("`{}` is nothing that can be done with instances", short(self.text(&bulk.verb)));
            self.wrong(Code::UnrecognizedInstruction, &bulk.verb, message, "not known", |_| {
                "write `deploy and start all`, `stop all`, `undeploy all` or `delete`, then a path or `instances of COMPONENT`"
                    .to_owned()
            });
        }
        let target = match (&bulk.path, &bulk.component) {
            (Some(path), _) => BulkTarget::Path(self.existing(path)?),
            (None, Some(component)) => BulkTarget::Component(self.component(component)?),
            (None, None) => return None,
        };
        Some(Action::Bulk { verb: verb?, target })
    }

    fn email(&mut self, parts: &Parts) -> Option<Action> {
        let to = self.text(&parts.left).split(',').map(str::trim).filter(|to| !to.is_empty()).map(str::to_owned);
        let message = self.text(&parts.right).replace("\\n", "\n");
        if message.chars().all(|c| c <= ' ') {
            self.wrong(Code::EmptyEmail, &parts.keyword, "the e-mail has no message", "what follows?", |_| {
                "write the message after `with`: `email ops@example.org with Subject: done\\nAll is well.`".to_owned()
            });
        }
        Some(Action::Email { to: to.collect(), message })
    }

    fn define(&mut self, parts: &Parts) -> Option<Checked> {
        let (value, under) = pattern::under(&self.line.text, parts.right.clone());
        let name = self.text(&parts.left).to_owned();
        if name.is_empty() {
            self.wrong(Code::EmptyCommandVariable, &parts.keyword, "the variable has no name", "before this", |_| {
                "write `define NAME = VALUE`, and use it as `$(NAME)`".to_owned()
            });
        } else {
            define::check(self, &value);
        }
        if self.wrong {
            return None;
        }
        let parent = match under {
            Some(under) => Some(self.existing(&under)?),
            None => None,
        };
        Some(Checked { action: Action::Define { name, value: self.text(&value).to_owned() }, parent })
    }

    fn create(&mut self, parts: &Parts) -> Option<Action> {
        let (name, under) = pattern::under(&self.line.text, parts.right.clone());
        let written = self.text(&parts.left);
        let component = if written.is_empty() {
            self.wrong(Code::MissingNewComponent, &parts.keyword, "no component is named", "before this", |_| {
                "say what to create: `create COMPONENT as NAME`".to_owned()
            });
            None
        } else {
            self.component(&parts.left)
        };
        let parent = component.as_ref().and_then(|component| self.parent(&parts.keyword, component, under.as_ref()));
        let name = self.new_name(&name, &parts.keyword);
        // A conflict is looked for whatever else is wrong, as in the original.
        let folder = under.as_ref().map(|under| InstancePath::new(self.text(under)).ok());
        if let Some(name) = &name {
            match folder {
                None => self.free(&InstancePath::root(name), &parts.right),
                Some(Some(folder)) => self.free(&folder.child(name), &parts.right),
                Some(None) => {}
            }
        }
        Some(Action::Create { component: component?, name: name?, parent: parent? })
    }

    /// The path after `under`, where there is one; nothing when it is wrong or missing.
    fn parent(
        &mut self,
        keyword: &Range<usize>,
        component: &ComponentName,
        under: Option<&Range<usize>>,
    ) -> Option<Option<InstancePath>> {
        let facts = self.world.component(component)?;
        match (facts, under) {
            (None, None) => Some(None),
            (None, Some(under)) => self.existing(under).map(Some),
            (Some(facts), None) if facts.parents.is_empty() => Some(None),
            (Some(facts), Some(under)) if facts.parents.is_empty() => {
                let message = format!("`{component}` is a root component: its instances stand below no other");
                self.wrong(Code::NoParentAllowed, under, message, "no parent", |_| {
                    "remove `under` and the path, or name the component in the `children` of another one".to_owned()
                });
                None
            }
            (Some(facts), None) => {
                let message = format!("an instance of `{component}` stands below another one, and none is named");
                self.wrong(Code::MissingParentInstance, keyword, message, "no parent", |_| {
                    format!("add `under /PATH`; {}", help::of_parents(&facts.parents))
                });
                None
            }
            (Some(facts), Some(under)) => {
                let path = self.existing(under)?;
                let held = match self.world.find(&path) {
                    Found::Instance(parent, _) if facts.parents.contains(parent) => return Some(Some(path)),
                    Found::Unknown => return Some(Some(path)),
                    Found::Instance(parent, _) => {
                        format!("`{path}` is a `{parent}`, which may not hold a `{component}`")
                    }
                    Found::Fake | Found::Nothing => {
                        format!("`{path}` stands in for an index that was not found, and may not hold a `{component}`")
                    }
                };
                self.wrong(Code::UnacceptableParent, under, held, "may not hold it", |_| {
                    help::of_parents(&facts.parents)
                });
                None
            }
        }
    }

    fn replicate(&mut self, parts: &Parts) -> Option<Action> {
        let name = self.new_name(&parts.right, &parts.keyword);
        let path = self.existing(&parts.left)?;
        if let Some(parent) = path.parent() {
            let message = format!("`{path}` stands below `{parent}`, and only roots are replicated");
            self.wrong(Code::NotARoot, &parts.left, message, "no root", |_| {
                let root = path.ancestors().last().unwrap_or(parent);
                format!("replicate its root with all below it: `replicate {root} as NAME`")
            });
        }
        Some(Action::Replicate { path, name: name? })
    }

    fn rename(&mut self, parts: &Parts) -> Option<Action> {
        let name = self.new_name(&parts.right, &parts.keyword);
        let path = self.existing(&parts.left)?;
        let name = name?;
        self.free(&world::sibling(&path, &name), &parts.right);
        Some(Action::Rename { path, name })
    }

    fn target_file(&mut self, parts: &Parts) -> Option<String> {
        let file = self.text(&parts.right);
        if file.is_empty() {
            self.wrong(
                Code::MissingTargetFile,
                &parts.keyword,
                "no file is named after `into`",
                "what follows?",
                |_| "name the file: `write done into %TMP%/state.txt`".to_owned(),
            );
        }
        (!file.is_empty()).then(|| file.to_owned())
    }

    fn execute(&mut self, name: &Range<usize>) -> Option<Action> {
        let commands = stem(self.text(name)).to_owned();
        let context = self.world.context;
        if commands.is_empty() {
            let range = if name.is_empty() { self.all() } else { name.clone() };
            self.wrong(Code::MissingCommandName, &range, "no commands are named", "what is executed?", |_| {
                "name another file of `commands/`: `execute scale`".to_owned()
            });
        } else if context.file.as_ref().is_some_and(|own| *own == commands) {
            let message = format!("`{}` executes itself, again and again", short(&commands));
            self.wrong(Code::LoopingCommand, name, message, "this file", |_| {
                "remove it; what is to be repeated is written several times".to_owned()
            });
        } else if let Some(siblings) = &context.siblings {
            match siblings.get(&commands) {
                None => {
                    let message = format!("there are no commands `{}`", short(&commands));
                    self.wrong(Code::UnknownCommands, name, message, "no such file", |_| {
                        let names = siblings.keys().map(String::as_str);
                        did_you_mean(&commands, names, || {
                            format!("add the file `commands/{}.commands`", short(&commands))
                        })
                    });
                }
                Some(sibling) if sibling.names_itself => {
                    let message =
                        format!("`{0}` cannot be executed: its file says `execute {0}` itself", short(&commands));
                    self.wrong(Code::NastyLoopingCommand, name, message, "would not end", |_| {
                        format!("remove that line from `{}.commands`", short(&commands))
                    });
                }
                Some(_) if self.leads_back(&commands) => {
                    let message = format!("`{}` leads back to this file, so it would not end", short(&commands));
                    self.wrong(Code::NastyLoopingCommand, name, message, "executes this file in turn", |_| {
                        "let one of the two not execute the other".to_owned()
                    });
                }
                Some(_) => {}
            }
        }
        Some(Action::Execute { commands })
    }

    /// Whether a file of commands executes this one, over any number of others.
    fn leads_back(&mut self, commands: &str) -> bool {
        let (Some(own), Some(siblings)) = (&self.world.context.file, &self.world.context.siblings) else {
            return false;
        };
        self.callers.get_or_insert_with(|| executes::leading_to(own, siblings)).contains(commands)
    }

    /// The path of an instance that is there.
    fn existing(&mut self, range: &Range<usize>) -> Option<InstancePath> {
        let written = self.text(range);
        let (message, label) = match InstancePath::new(written) {
            Ok(path) => match self.world.find(&path) {
                Found::Instance(..) | Found::Fake | Found::Unknown => return Some(path),
                Found::Nothing => (format!("there is no instance `{}`", short(written)), "not there"),
            },
            Err(error) => (format!("`{}` is no instance's path: {}", short(written), plain(&error)), "no path"),
        };
        self.wrong(Code::NoMatchingInstance, range, message, label, |world| {
            let paths = world.paths().map(InstancePath::as_str);
            did_you_mean(written, paths, || help::of_paths(world))
        });
        None
    }

    /// A component of the graph.
    fn component(&mut self, range: &Range<usize>) -> Option<ComponentName> {
        let written = self.text(range);
        let name = ComponentName::new(written).ok();
        if let Some(name) = name.filter(|name| self.world.component(name).is_some()) {
            return Some(name);
        }
        let message = format!("the graph has no component `{}`", short(written));
        self.wrong(Code::UnknownNewComponent, range, message, "not defined", |world| {
            let known = world.context.application.iter().flat_map(|known| known.components.keys());
            did_you_mean(written, known.map(ComponentName::as_str), || {
                "name a component of the graph; capitals matter".to_owned()
            })
        });
        None
    }

    /// The name of an instance to be.
    fn new_name(&mut self, range: &Range<usize>, keyword: &Range<usize>) -> Option<InstanceName> {
        let error = match InstanceName::new(self.text(range)) {
            Ok(name) => return Some(name),
            Err(error) => error,
        };
        match &error {
            NameError::Empty { .. } => {
                self.wrong(Code::MissingNewName, keyword, "no name is given", "which name?", |_| {
                    "write the new name after `as`".to_owned()
                });
            }
            NameError::TooLong { .. } => {
                self.wrong(Code::NameTooLong, range, error.to_string(), "too long", |_| {
                    "give a shorter name".to_owned()
                });
            }
            NameError::Malformed { text, .. } => {
                let message = format!("`{}` is no name of an instance", short(text));
                self.wrong(Code::InvalidNewName, range, message, "no name", |_| plain(&error));
            }
        }
        None
    }

    /// A path where an instance is to be, and none may be yet.
    fn free(&mut self, path: &InstancePath, range: &Range<usize>) {
        if let Err(error) = InstancePath::new(path.as_str()) {
            let message = format!("`{}` cannot be made: {}", short(path.as_str()), plain(&error));
            self.wrong(Code::NestingTooDeep, range, message, "too deep", |_| {
                "instances have at most 32 levels".to_owned()
            });
        } else if self.world.is_taken(path) {
            let message = format!("there is an instance `{path}` already");
            self.wrong(Code::ConflictingNewName, range, message, "taken", |_| {
                format!("choose another name, or let robo count: `define NAME = {} $(SMART_INDEX)`", path.leaf())
            });
        }
    }
}

/// Whether an instance can be asked to be in this state.
fn lasts(state: InstanceState) -> bool {
    !state.is_transient() && state != InstanceState::Problem
}

/// What is wrong with a name, without the name.
fn plain(error: &NameError) -> String {
    match error {
        NameError::Malformed { rule, .. } => (*rule).to_owned(),
        NameError::Empty { kind } => format!("the {kind} is empty"),
        NameError::TooLong { .. } => error.to_string(),
    }
}
