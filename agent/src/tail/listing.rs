//! Which files of logs there are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use robo_model::quantity::UnixMillis;
use robo_wire::log_files::{LogFile, LogFiles, MAX_LOG_FILES, MAX_LOG_FILES_ANSWER};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::backup;
use crate::folders::Folders;
use crate::framing::answer;
use crate::keeper::output::{LOG_FILES, Shelf};
use crate::runtime::in_background;

/// Serves a stream that the manager opened: all files, those of the backup in the folder `backup` too, and a verdict.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(folders: Folders, backup: Option<PathBuf>, stream: S) {
    let work = in_background(move || {
        let said = serde_json::to_vec(&list(&folders, backup.as_deref())).map_err(|error| error.to_string())?;
        let fits = said.len() <= MAX_LOG_FILES_ANSWER;
        fits.then_some(said).ok_or_else(|| format!("the list of files has more than {MAX_LOG_FILES_ANSWER} bytes"))
    });
    answer(stream, work).await;
}

fn list(folders: &Folders, backup: Option<&Path>) -> LogFiles {
    let mut all = LogFiles::default();
    for path in shelf(&Shelf::of_agent(&folders.log())) {
        add(&mut all, LogFile::AGENT, &path);
    }
    if let Some(folder) = backup {
        match backup::files(folder) {
            Ok(files) => files.iter().rev().for_each(|path| add(&mut all, LogFile::BACKUP, path)),
            // It was not begun yet; the agent says why where it should have been.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => all.unread.push(format!("{} cannot be read: {error}", folder.display())),
        }
    }
    match folders.all_logs() {
        Ok(instances) => {
            for (name, folder) in instances {
                shelf(&Shelf::of_instance(&folder)).for_each(|path| add(&mut all, &name, &path));
            }
        }
        Err(error) => all.unread.push(format!("the folders of instances cannot be read: {error}")),
    }
    all
}

/// Where its files are, the newest first.
fn shelf(shelf: &Shelf) -> impl Iterator<Item = PathBuf> {
    (0..LOG_FILES).map(|index| shelf.file(index))
}

/// Adds it where it is there.
fn add(all: &mut LogFiles, of: &str, path: &Path) {
    let Some(found) = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file) else { return };
    if all.files.len() >= MAX_LOG_FILES {
        all.left_out += 1;
        return;
    }
    let changed = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    all.files.push(LogFile {
        of: of.to_owned(),
        path: path.to_string_lossy().into_owned(),
        size: found.len(),
        changed_at: changed.and_then(|since| u64::try_from(since.as_millis()).ok()).map(UnixMillis),
    });
}

#[cfg(test)]
mod tests {
    use robo_model::spec::InstanceKey;

    use super::*;
    use crate::keeper::output::Log;

    #[test]
    fn every_file_of_a_log_is_told_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(folder.path().join("state"));
        folders.create().unwrap();
        let backup = folder.path().join("backup");
        assert_eq!(list(&folders, Some(&backup)), LogFiles::default(), "nothing is there yet");
        let key = InstanceKey { application: "shop".parse().unwrap(), path: "/a/b".parse().unwrap() };
        let instance = folders.instance(&key);
        instance.create(None).unwrap();
        let mut log = Log::open(&instance.logs()).unwrap();
        for _ in 0..20 {
            log.write(&[b'x'; 60_000]).unwrap();
        }
        folders.create_log().unwrap();
        fs::write(folders.log().join("agent.log"), "hello").unwrap();
        fs::create_dir(&backup).unwrap();
        for name in ["robo-logs.jsonl", "robo-logs-20260131T134502.123Z.jsonl", "of-somebody-else"] {
            fs::write(backup.join(name), "{}\n").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", instance.logs().join("output.log.2")).unwrap();
        let all = list(&folders, Some(&backup));
        let told = all.files.iter().map(|file| {
            let path = Path::new(&file.path);
            assert!(path.is_absolute() && file.changed_at.is_some_and(|at| at <= crate::now()), "{file:?}");
            (file.of.as_str(), path.file_name().unwrap().to_str().unwrap(), file.size)
        });
        let (kept, archive) = ("robo-logs.jsonl", "robo-logs-20260131T134502.123Z.jsonl");
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("agent", "agent.log", 5),
                ("backup", kept, 3),
                ("backup", archive, 3),
                ("shop/a/b", "output.log", 180_000),
                ("shop/a/b", "output.log.1", 1_020_000),
            ]
        );
        assert_eq!((all.left_out, all.unread.len(), list(&folders, None).files.len()), (0, 0, 3));
        let unread = list(&folders, Some(&folders.log().join("agent.log"))).unread;
        assert!(unread.len() == 1 && unread[0].contains("agent.log cannot be read"), "{unread:?}");
    }
}
