//! Files that are fetched whole, or in part by who was cut off.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::problem::Refusal;

/// Bytes read from the disk at a time.
const CHUNK: usize = 64 * 1024;

/// Which bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The first.
    pub(super) from: u64,
    /// The last; the file's last where nothing is said.
    pub(super) to: Option<u64>,
}

/// `Range: bytes=N-` or `bytes=N-M`; nothing where the file is asked for whole.
pub(super) fn range(headers: &HeaderMap) -> Result<Option<Wanted>, Refusal> {
    let Some(value) = headers.get(header::RANGE) else { return Ok(None) };
    let read = |text: &str| {
        let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
        let to = if to.is_empty() { None } else { Some(to.parse().ok()?) };
        let wanted = Wanted { from: from.parse().ok()?, to };
        wanted.to.is_none_or(|to| to >= wanted.from).then_some(wanted)
    };
    let wanted = value.to_str().ok().and_then(read);
    wanted.map(Some).ok_or_else(|| Refusal::bad_request("of ranges only `bytes=N-` and `bytes=N-M` are understood"))
}

/// What is wanted of a file of `size` bytes, which stands at the first of them; without a wish it is the whole.
pub(super) fn part(file: File, size: u64, wanted: Option<Wanted>) -> Response {
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    let length = |bytes: u64| (header::CONTENT_LENGTH, bytes.to_string());
    match wanted {
        None => {
            let ranges = (header::ACCEPT_RANGES, "bytes".to_owned());
            let body = Body::from_stream(ReaderStream::with_capacity(file, CHUNK));
            ([kind, length(size), ranges], body).into_response()
        }
        Some(Wanted { from, .. }) if from >= size => {
            let refusal = Refusal::bad_request(format!("the file has {size} bytes, from {from} on there are none"));
            let headers = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            (headers, refusal.status(StatusCode::RANGE_NOT_SATISFIABLE)).into_response()
        }
        Some(Wanted { from, to }) => {
            let to = to.map_or(size - 1, |to| to.min(size - 1));
            let range = (header::CONTENT_RANGE, format!("bytes {from}-{to}/{size}"));
            let bytes = to - from + 1;
            let body = Body::from_stream(ReaderStream::with_capacity(file.take(bytes), CHUNK));
            (StatusCode::PARTIAL_CONTENT, [kind, length(bytes), range], body).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_or_refused() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RANGE, text.parse().unwrap())]);
            range(&headers).ok().flatten().map(|wanted| (wanted.from, wanted.to))
        };
        assert!(range(&HeaderMap::new()).unwrap().is_none());
        assert_eq!(read("bytes=0-"), Some((0, None)));
        assert_eq!(read("bytes=5-9"), Some((5, Some(9))));
        for bad in
            ["bytes=-5", "bytes=9-5", "bytes=0-1,3-4", "bytes=a-b", "lines=0-", "bytes", "bytes=1-99999999999999999999"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
