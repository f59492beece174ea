//! The sockets that systemd opens for the service: `[NAME=]ADDRESS[,OPTION]…`.

use super::input::{UnitInput, lines, refuse};
use super::quote::systemd_value;
use crate::error::Error;

/// Sockets that have one .socket unit: the name and the modes are the unit's.
pub(super) struct Sockets {
    /// By which the service knows them; the unit's name if `None`.
    name: Option<String>,
    options: Options,
    /// `ListenStream=` and `ListenDatagram=`.
    addresses: Vec<String>,
}

#[derive(Default, PartialEq, Eq)]
struct Options {
    mode: Option<String>,
    user: Option<String>,
    group: Option<String>,
}

impl Sockets {
    /// In the order in which they are given.
    pub(super) fn of(input: &UnitInput<'_>) -> Result<Vec<Self>, Error> {
        let mut all: Vec<Self> = Vec::new();
        for text in &input.sockets {
            let socket = Self::read(text)?;
            match all.iter_mut().find(|other| other.name == socket.name) {
                Some(other) if other.options == socket.options => {
                    other.addresses.extend(socket.addresses);
                }
                Some(_) => {
                    let problem = "sockets of one name, or of none, have one mode, user and group";
                    return Err(refuse(format!("--listen {text}"), problem));
                }
                None => all.push(socket),
            }
        }
        Ok(all)
    }

    fn read(text: &str) -> Result<Self, Error> {
        let refused = |problem: &str| refuse(format!("--listen {text}"), problem);
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) if is_name(name) => (Some(name.to_owned()), rest),
            _ => (None, text),
        };
        let mut parts = rest.split(',');
        let address = parts.next().unwrap_or_default();
        if !is_address(address) {
            return Err(refused(
                "an address is PORT, ADDRESS:PORT or an absolute path",
            ));
        }
        let mut kind = "ListenStream";
        let mut options = Options::default();
        for part in parts {
            match part.split_once('=') {
                None if part == "datagram" => kind = "ListenDatagram",
                Some(("mode", mode)) if is_mode(mode) => options.mode = Some(mode.to_owned()),
                Some(("user", user)) if is_name(user) => options.user = Some(user.to_owned()),
                Some(("group", group)) if is_name(group) => options.group = Some(group.to_owned()),
                _ => {
                    let problem = "an option is datagram, mode=OCTAL, user=USER or group=GROUP";
                    return Err(refused(problem));
                }
            }
        }
        if options != Options::default() && !address.starts_with('/') {
            return Err(refused("mode, user and group are those of a path"));
        }
        Ok(Self {
            name,
            options,
            addresses: vec![format!("{kind}={}", systemd_value(address))],
        })
    }

    /// The name of their unit; that of an instance if `instance` is `%i`.
    pub(super) fn unit(&self, input: &UnitInput<'_>, instance: &str) -> String {
        let name = match &self.name {
            Some(name) => format!("{}-{name}", input.name),
            None => input.name.clone(),
        };
        format!("{name}{}.socket", input.at(instance))
    }

    /// Their unit.
    pub(super) fn text(&self, input: &UnitInput<'_>) -> String {
        let mut unit = vec![
            "[Unit]".to_owned(),
            format!(
                "Description=Sockets of {}",
                systemd_value(&input.description)
            ),
            String::new(),
            "[Socket]".to_owned(),
        ];
        unit.extend(self.addresses.iter().cloned());
        for (setting, value) in [
            ("FileDescriptorName", &self.name),
            ("SocketMode", &self.options.mode),
            ("SocketUser", &self.options.user),
            ("SocketGroup", &self.options.group),
        ] {
            if let Some(value) = value {
                unit.push(format!("{setting}={}", systemd_value(value)));
            }
        }
        if self.name.is_some() {
            unit.push(format!("Service={}{}.service", input.name, input.at("%i")));
        }
        unit.extend(["", "[Install]", "WantedBy=sockets.target"].map(str::to_owned));
        lines(unit)
    }
}

/// Tells whether systemd may take it: the rest of it is not looked at.
fn is_address(text: &str) -> bool {
    match text.rsplit_once(':') {
        _ if text.contains(char::is_whitespace) => false,
        _ if text.starts_with(['/', '@']) => true,
        Some((_, port)) => is_port(port),
        None => is_port(text),
    }
}

fn is_port(text: &str) -> bool {
    matches!(text.parse::<u16>(), Ok(port) if port > 0)
}

/// Tells whether this can be part of a unit's name. An address with `=` begins otherwise.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.chars().all(is_plain)
}

fn is_mode(text: &str) -> bool {
    matches!(u32::from_str_radix(text, 8), Ok(mode) if mode <= 0o777)
}
