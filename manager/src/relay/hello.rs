//! Reads how a connection begins, and answers nothing: whoever does not speak TLS learns not even that somebody does.

use std::io;

use robo_wire::relay::ALPN_RELAY;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest beginning of a connection, in bytes. With post-quantum key exchange it has about 1,500.
const MAX_HELLO: usize = 16 * 1024;

/// Bytes read at a time.
const PIECE: usize = 4 * 1024;

/// A connection's first words.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The bytes as they came; whoever reads them next needs all of them.
    pub(super) bytes: Vec<u8>,
    /// True when a manager asks for the relay itself.
    pub(super) is_manager: bool,
}

/// Reads until the TLS client's hello is whole. It may not be trusted: it says only where the connection wants to go.
///
/// # Errors
/// When the bytes are no such hello, are too many, or end before it does.
pub(super) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Beginning> {
    let mut acceptor = Acceptor::default();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; PIECE]);
    loop {
        let length = socket.read(&mut piece).await?;
        let mut new = piece.get(..length).unwrap_or_default();
        if new.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if bytes.len() + new.len() > MAX_HELLO {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the hello is too long"));
        }
        bytes.extend_from_slice(new);
        while !new.is_empty() && acceptor.read_tls(&mut new)? > 0 {
            let accepted = acceptor.accept();
            // The alert is not sent.
            let accepted = accepted.map_err(|(error, _alert)| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(accepted) = accepted {
                let mut protocols = accepted.client_hello().alpn().into_iter().flatten();
                return Ok(Beginning { bytes, is_manager: protocols.any(|protocol| protocol == ALPN_RELAY) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn hello(alpn: &[&[u8]]) -> Vec<u8> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(crate::tls::provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let name = "relay.example.org".try_into().unwrap();
        let mut bytes = Vec::new();
        ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_hello_is_told_apart_however_it_comes() {
        for (alpn, is_manager) in [(vec![], false), (vec![robo_wire::ALPN_LINK], false), (vec![ALPN_RELAY], true)] {
            let whole = hello(&alpn);
            for at_a_time in [1, 7, whole.len()] {
                let (mut near, mut far) = tokio::io::duplex(at_a_time);
                let sent = whole.clone();
                let write = tokio::spawn(async move { near.write_all(&sent).await });
                let read = read(&mut far).await.unwrap();
                assert_eq!((read.bytes == whole, read.is_manager), (true, is_manager), "{alpn:?} {at_a_time}");
                write.await.unwrap().unwrap();
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_hello_is_refused() {
        let whole = hello(&[]);
        let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
        endless.resize(40_000, 0);
        let garbage: [&[u8]; 6] = [
            b"",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            &[0; 64],
            &endless,
            &whole[..whole.len() - 1],
        ];
        for mut bytes in garbage {
            assert!(read(&mut bytes).await.is_err());
        }
        for at in 0..whole.len().min(60) {
            let mut bent = whole.clone();
            bent[at] ^= 0xff;
            // It may still be one; it must come to an end.
            drop(read(&mut bent.as_slice()).await);
        }
    }
}
