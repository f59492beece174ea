//! The sockets on which a process listens.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use nix::unistd::Pid;

use crate::steps::pidfile::socket::{CONTROL, NEW_CONTROL};
use crate::sys::proc;

/// The state of a socket in /proc/net/tcp that listens.
const LISTEN: &str = "0A";
/// That of a socket in /proc/net/udp that is not connected.
const CLOSE: &str = "07";
/// The flag of a socket in /proc/net/unix that listens.
const ACCEPTS: u32 = 1 << 16;
/// The type of datagram sockets there, and the state of one that is not connected.
const DATAGRAM: &str = "0002";
const UNCONNECTED: &str = "01";

/// Returns the addresses, such as `tcp 0.0.0.0:80`, without the control socket; `None` if they cannot
/// be seen.
pub(super) fn addresses(pid: Pid) -> Option<Vec<String>> {
    let open = sockets(pid)?;
    let (mut addresses, mut seen) = (Vec::new(), HashSet::new());
    let mut add = |address: Option<String>| match address {
        Some(address) if seen.insert(address.clone()) => addresses.push(address),
        _ => {}
    };
    for (table, protocol, state) in [
        ("tcp", "tcp", LISTEN),
        ("tcp6", "tcp", LISTEN),
        ("udp", "udp", CLOSE),
        ("udp6", "udp", CLOSE),
    ] {
        for line in lines(pid, table) {
            if let Some(address) = internet(&line, state, &open) {
                add(Some(format!("{protocol} {address}")));
            }
        }
    }
    for line in lines(pid, "unix") {
        add(unix(&line, &open));
    }
    Some(addresses)
}

/// The inode numbers of a process's sockets.
fn sockets(pid: Pid) -> Option<HashSet<String>> {
    if !proc::is_ours() {
        return None;
    }
    let mut sockets = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
        // It may have been closed meanwhile.
        if let Ok(target) = fs::read_link(entry.ok()?.path()) {
            let target = target.to_string_lossy();
            if let Some(rest) = target.strip_prefix("socket:[") {
                sockets.insert(rest.trim_end_matches(']').to_owned());
            }
        }
    }
    Some(sockets)
}

/// The lines of a table of the process's network, without the heading. A system need not have each.
fn lines(pid: Pid, table: &str) -> Vec<String> {
    let text = proc::text(&format!("/proc/{pid}/net/{table}")).unwrap_or_default();
    text.lines().skip(1).map(str::to_owned).collect()
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`
fn internet(line: &str, state: &str, open: &HashSet<String>) -> Option<SocketAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, st, _, _, _, _, _, inode, ..] = fields[..] else {
        return None;
    };
    if st != state || !open.contains(inode) {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each word of an address is in network order, and shown as a number of this processor's.
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(8 * at..8 * at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = if ip.len() == 8 {
        IpAddr::from(Ipv4Addr::from(word(0)?))
    } else {
        let words = [word(0)?, word(1)?, word(2)?, word(3)?];
        let bytes: [u8; 16] = words.as_flattened().try_into().ok()?;
        IpAddr::from(Ipv6Addr::from(bytes))
    };
    Some(SocketAddr::new(ip, port))
}

/// `Num RefCount Protocol Flags Type St Inode Path`
fn unix(line: &str, open: &HashSet<String>) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, flags, kind, state, inode, _, ..] = fields[..] else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let listens = flags & ACCEPTS != 0 || (kind, state) == (DATAGRAM, UNCONNECTED);
    if !listens || !open.contains(inode) {
        return None;
    }
    // A path may have spaces.
    let (_, path) = line.split_once(&format!(" {inode} "))?;
    let name = Path::new(path).file_name()?.to_string_lossy();
    if name.ends_with(CONTROL) || name.ends_with(NEW_CONTROL) {
        return None;
    }
    Some(format!("unix {path}"))
}
