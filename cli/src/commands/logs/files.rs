//! `robo logs --files`: which files of logs devices have.

use futures_util::StreamExt as _;
use futures_util::stream;
use robo_model::name::DeviceName;

use crate::cli::Format;
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::output::Ui;
use crate::output::log_files::{FileView, table};
use crate::output::table::Look;

/// Devices that are asked at a time: each looks at its disk.
const AT_ONCE: usize = 8;

/// Lists those of all devices; what cannot be had is said, and the others are listed all the same.
pub(super) async fn list(devices: &[DeviceName], client: &Client, ui: &Ui) -> Result<Exit, CliError> {
    let asked = devices.iter().map(|device| async move { (device, client.log_files(device).await) });
    let told: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let (mut views, mut errors) = (Vec::new(), Vec::new());
    for (device, told) in told {
        match told {
            Ok(told) => {
                if told.left_out > 0 {
                    ui.note(format!("{device}: {} more files are left out.", told.left_out));
                }
                let unread = told.unread.into_iter().map(|reason| CliError::new(format!("{device}: {reason}")));
                errors.extend(unread.map(|error| error.exit_with(Exit::SomeFailed)));
                views.extend(told.files.into_iter().map(|file| FileView::new(device, file)));
            }
            Err(error) if devices.len() == 1 => return Err(error.into()),
            Err(error) => errors.push(error.into()),
        }
    }
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&views)?,
        Format::Name => views.iter().try_for_each(|view| ui.line(view.name()))?,
        Format::Table | Format::Wide if views.is_empty() && errors.is_empty() => ui.note("There is no file of a log."),
        Format::Table | Format::Wide if views.is_empty() => {}
        Format::Table | Format::Wide => ui.text(&table(&views, Look::of(ui)))?,
    }
    errors.iter().for_each(|error| ui.error(error));
    Ok(if errors.is_empty() { Exit::Done } else { Exit::SomeFailed })
}
