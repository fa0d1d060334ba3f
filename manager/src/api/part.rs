//! Files that are fetched whole, or from a byte on by who was cut off.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::problem::Refusal;

/// Bytes read from the disk at a time.
const CHUNK: usize = 64 * 1024;

/// `Range: bytes=N-`; nothing where the file is asked for whole.
pub(super) fn range(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(header::RANGE) else { return Ok(None) };
    let from = value.to_str().ok().and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    from.map(Some).ok_or_else(|| Refusal::bad_request("of ranges only `bytes=N-` is understood"))
}

/// The rest of a file of `size` bytes, which stands at `from`; without one it is the whole.
pub(super) fn part(file: File, size: u64, from: Option<u64>) -> Response {
    let body = Body::from_stream(ReaderStream::with_capacity(file, CHUNK));
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    let length = |bytes: u64| (header::CONTENT_LENGTH, bytes.to_string());
    match from {
        None => {
            let ranges = (header::ACCEPT_RANGES, "bytes".to_owned());
            ([kind, length(size), ranges], body).into_response()
        }
        Some(from) if from >= size => {
            let refusal = Refusal::bad_request(format!("the file has {size} bytes, from {from} on there are none"));
            let headers = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            (headers, refusal.status(StatusCode::RANGE_NOT_SATISFIABLE)).into_response()
        }
        Some(from) => {
            let range = (header::CONTENT_RANGE, format!("bytes {from}-{}/{size}", size - 1));
            (StatusCode::PARTIAL_CONTENT, [kind, length(size - from), range], body).into_response()
        }
    }
}
