//! Plans in files: written by `robo plan --out`, applied by `robo apply`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use robo_agent::folders::write_atomic;
use robo_manager::service::what_moved;
use robo_wire::api::MAX_JSON_BODY;
use robo_wire::plan::{Plan, SavedPlan};
use robo_wire::problem::ErrorCode;
use serde::Deserialize;

use crate::client::{Client, ClientError};
use crate::error::CliError;
use crate::output;

/// Largest file of a plan, in bytes: a bundle at its bound, and a plan of as many instances.
const MAX_SAVED_BYTES: u64 = 4 * MAX_JSON_BODY as u64;

/// What tells such a file from others, whatever else is in it.
#[derive(Deserialize)]
struct Form {
    robo_plan: u32,
}

/// Writes a plan so that a reader sees all of it or what was there before.
///
/// # Errors
/// When the disk does not take it.
pub(super) fn write(path: &Path, saved: &SavedPlan) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(saved)
        .map_err(|error| CliError::new(format!("the plan cannot be written as JSON: {error}")))?;
    // A name alone has no folder that could be synchronised.
    std::path::absolute(path)
        .and_then(|path| write_atomic(&path, format!("{text}\n").as_bytes(), 0o644))
        .map_err(|error| CliError::new(format!("cannot write {}: {error}", path.display())))
}

/// Reads a plan; nothing when the file, or whatever is there, is something else.
///
/// # Errors
/// When it is a plan, and damaged or of a newer version.
pub(super) fn read(path: &Path) -> Result<Option<SavedPlan>, CliError> {
    let Some(text) = json(path) else { return Ok(None) };
    let name = path.display();
    let again = "make it again: `robo plan FILE --out plan.json`";
    match serde_json::from_str::<Form>(&text) {
        Ok(form) if form.robo_plan > SavedPlan::FORMAT => {
            Err(CliError::new(format!("{name} is a plan of a newer version of robo"))
                .note(format!("its form is {}, this version knows up to {}", form.robo_plan, SavedPlan::FORMAT))
                .help("apply it with that version, or make it again with this one"))
        }
        Ok(_) => serde_json::from_str(&text).map(Some).map_err(|error| {
            CliError::new(format!("the plan in {name} is damaged: {error}")).note("nothing was changed").help(again)
        }),
        // No graph begins with a brace, but other people's JSON does.
        Err(error) if text.contains("\"robo_plan\"") => {
            Err(CliError::new(format!("the plan in {name} is damaged: {error}"))
                .note("nothing was changed")
                .help(again))
        }
        Err(_) => Ok(None),
    }
}

/// The file's text, when it begins like JSON. Other files are somebody else's to judge.
fn json(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok().filter(|file| file.metadata().is_ok_and(|found| found.is_file()))?;
    let mut start = [0; 64];
    let mut file = file.take(MAX_SAVED_BYTES);
    let read = file.read(&mut start).ok()?;
    let start = start.get(..read)?;
    if start.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    // What is torn in the middle of a character is damaged, not somebody else's.
    let mut bytes = start.to_vec();
    file.read_to_end(&mut bytes).ok()?;
    text.push_str(&String::from_utf8_lossy(&bytes));
    Some(text)
}

/// The saved plan as it comes out now: the very same, or a refusal with the reason.
///
/// What is shown and agreed to is what the manager says, so that nobody changes a plan by editing its file.
///
/// # Errors
/// When it is another one, of another project, or cannot be made.
pub(super) async fn still_holds(saved: &SavedPlan, client: &Client, path: &Path) -> Result<Plan, CliError> {
    let name = path.display();
    if saved.project != *client.project() {
        return Err(CliError::new(format!("the plan in {name} is of the project `{}`", saved.project))
            .note(format!("the project here is `{}`; nothing was changed", client.project()))
            .help(format!("work in that one: `--project {}`", saved.project)));
    }
    let now = client.plan(&saved.bundle, saved.keep_overrides).await.map_err(|error| refused(error, path))?;
    if now.id == saved.plan.id {
        return Ok(now);
    }
    let reason = what_moved(Some(&saved.plan.ground), &now.ground);
    let mut error = CliError::new(format!("the plan in {name} no longer holds: {reason}")).note("nothing was changed");
    if saved.plan.ground == now.ground {
        error = error
            .note(format!("then:  {}", output::plan::summary(&saved.plan)))
            .note(format!("now:   {}", output::plan::summary(&now)));
    }
    Err(error.help("plan again and look at what is different: `robo plan FILE --out plan.json`"))
}

fn refused(error: ClientError, path: &Path) -> CliError {
    if error.code() != Some(ErrorCode::FilesMissing) {
        return error.into();
    }
    let cause = CliError::from(error);
    CliError::new(format!("the manager no longer has all files of the plan in {}", path.display()))
        .note(cause.what())
        .note("files that nothing uses are kept for a week; nothing was changed")
        .help("plan again from the sources, which uploads them: `robo plan FILE --out plan.json`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_known_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.name");
        let check = |text: &[u8], expect: Result<bool, &str>| {
            std::fs::write(&path, text).unwrap();
            let found = read(&path).map(|plan| plan.is_some());
            let found = found.as_ref().map_err(|error| error.what());
            match (found, expect) {
                (Ok(found), Ok(expect)) => assert_eq!(*found, expect),
                (Err(what), Err(part)) => assert!(what.contains(part), "{what}"),
                other => panic!("{other:?} {}", String::from_utf8_lossy(text)),
            }
        };
        let bundle = r#"{"entry":{"kind":"project"},"sources":{}}"#;
        let plan = r#"{"id":"0","application":"shop","ground":{},"changes":[],"ripple":[],"waves":[]}"#;
        let good = format!(r#"  {{"robo_plan":1,"project":"default","bundle":{bundle},"plan":{plan},"more":1}}"#);
        check(good.as_bytes(), Ok(true));
        check(b"VM {\n}\n", Ok(false));
        check(b"", Ok(false));
        check(b"{\"name\": 1}", Ok(false));
        check(good.replace(":1,\"project", ":2,\"project").as_bytes(), Err("a newer version of robo"));
        check(good.split_at(60).0.as_bytes(), Err("is damaged"));
        check(good.replace("\"waves\":[]", "\"waves\":7").as_bytes(), Err("is damaged"));
        check(b"{\"robo_plan\":1,\"project\":\"d\xff", Err("is damaged"));
        assert!(read(folder.path()).unwrap().is_none() && read(&folder.path().join("none")).unwrap().is_none());
    }
}
