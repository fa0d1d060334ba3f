//! What is forwarded, as it is written: `[BIND:]PORT:DEVICE:[HOST:]PORT`.

use std::net::IpAddr;

use robo_model::name::DeviceName;
use robo_wire::forward::{Place, Target, Wish};

/// The host where none is written: each side's own.
const LOOPBACK: &str = "127.0.0.1";

/// One forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Where is listened; 0 is any port.
    pub(crate) place: Place,
    /// Through which device.
    pub(crate) device: DeviceName,
    /// Where connections go to.
    pub(crate) target: Target,
}

impl Spec {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_udp = ["/udp", "/UDP"].iter().any(|end| text.ends_with(end)) || text.starts_with("udp:");
        if is_udp {
            return Err("UDP is not forwarded, only TCP is; what can be asked by TCP too, as DNS can, works".into());
        }
        // The path of a socket may have colons in it.
        let (front, path) = match text.split_once(":/") {
            Some((front, rest)) => (front, Some(format!("/{rest}"))),
            None => (text.strip_suffix("/tcp").unwrap_or(text), None),
        };
        let mut words = words(front)?;
        let wrong = || format!("`{text}` is not [BIND:]PORT:DEVICE:[HOST:]PORT, as in 8080:device-42:80");
        let target = match path {
            Some(path) => Target::Unix { path },
            None => {
                let port = port(&words.pop().ok_or_else(wrong)?)?;
                // Two words before it are PORT and DEVICE; a third one is the HOST, or the BIND before both.
                let has_host = match words.as_slice() {
                    [_, _] => false,
                    [first, _, _] => is_port(first),
                    [_, _, _, _] => true,
                    _ => return Err(wrong()),
                };
                let host = if has_host { words.pop() } else { None };
                Target::Tcp { host: host.unwrap_or_else(|| LOOPBACK.to_owned()), port }
            }
        };
        let (bind, listen, device) = match words.as_slice() {
            [listen, device] => (LOOPBACK, listen, device),
            [bind, listen, device] => (bind.as_str(), listen, device),
            _ => return Err(wrong()),
        };
        let place = Place { host: host(bind)?, port: port(listen)? };
        let device = DeviceName::new(device).map_err(|error| format!("`{device}` is no device: {error}"))?;
        Wish::Connect(target.clone()).check()?;
        Ok(Self { place, device, target })
    }
}

/// The words between colons; those in brackets are addresses with colons of their own.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut is_inside) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        match letter {
            '[' if word.is_empty() && !is_inside => is_inside = true,
            ']' if is_inside => is_inside = false,
            ':' if !is_inside => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    if is_inside { Err(format!("a bracket is not closed in `{text}`")) } else { Ok(words) }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse::<u16>().ok().filter(|_| is_port(text));
    port.ok_or_else(|| format!("`{text}` is no port; ports go up to 65535"))
}

/// Where to listen: an address, or what people write for one.
fn host(text: &str) -> Result<String, String> {
    match text {
        "localhost" => Ok(LOOPBACK.to_owned()),
        "*" => Ok("0.0.0.0".to_owned()),
        _ => match text.parse::<IpAddr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => {
                Err(format!("`{text}` is no address to listen at; write one as 127.0.0.1 or [::1], or `*` for all"))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_may_be_left_out() {
        let check = |text: &str, place: &str, device: &str, target: &str| {
            let spec = Spec::parse(text).unwrap();
            let got = (spec.place.to_string(), spec.device.as_str(), spec.target.to_string());
            assert_eq!(got, (place.to_owned(), device, target.to_owned()), "{text}");
        };
        check("8080:d:80", "127.0.0.1:8080", "d", "127.0.0.1:80");
        check("0:d:80/tcp", "127.0.0.1:0", "d", "127.0.0.1:80");
        check("8080:d:db.local:5432", "127.0.0.1:8080", "d", "db.local:5432");
        check("*:8080:d:80", "0.0.0.0:8080", "d", "127.0.0.1:80");
        check("localhost:8080:d:80", "127.0.0.1:8080", "d", "127.0.0.1:80");
        check("[::1]:8080:d:[fe80::1]:80", "[::1]:8080", "d", "[fe80::1]:80");
        check("10.0.0.1:8080:d-1.x:10.0.0.2:80", "10.0.0.1:8080", "d-1.x", "10.0.0.2:80");
        check("8080:d:/run/a:b.sock", "127.0.0.1:8080", "d", "/run/a:b.sock");
        check("*:8080:d:/run/x", "0.0.0.0:8080", "d", "/run/x");
        // A device may have a name of digits; the first word is a port then.
        check("8080:42:80", "127.0.0.1:8080", "42", "127.0.0.1:80");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let check = |text: &str, says: &str| {
            let told = Spec::parse(text).unwrap_err();
            assert!(told.contains(says), "{text}: {told}");
        };
        for text in ["", "8080", "8080:d", "a:b:1:d:h:80", "d:/run/x"] {
            check(text, if text.is_empty() { "no port" } else { "" });
        }
        check("8080:d", "is no port");
        check("8080:80", "[BIND:]PORT:DEVICE:[HOST:]PORT");
        check("1:2:3:d:h:80", "[BIND:]PORT:DEVICE:[HOST:]PORT");
        check("65536:d:80", "`65536` is no port; ports go up to 65535");
        check("-1:d:80", "no port");
        check("+1:d:80", "no port");
        check("8080:d:0", "port 0");
        check("8080:d:65536", "65536");
        check("8080::80", "no device");
        check("8080:_x:80", "`_x` is no device");
        check("host:8080:d:80", "no address to listen at");
        check("[::1:8080:d:80", "bracket");
        check("8080:d:a b:80", "no name or address");
        check("5353:d:53/udp", "UDP is not forwarded");
    }
}
