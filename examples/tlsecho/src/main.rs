//! Sends back what it is sent, over TLS. Its key is a file that only root can read; the service itself
//! runs as another user. To see it work:
//!
//! ```text
//! # openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
//!       -addext subjectAltName=DNS:localhost -keyout /etc/tlsecho/key.pem -out /etc/tlsecho/cert.pem
//! # tlsecho
//! # openssl s_client -quiet -CAfile /etc/tlsecho/cert.pem -connect localhost:7443
//! ```
//!
//! For a new key, say `tlsecho restart`: the new instance reads it as root, and no connection is lost.
//! A `reload` could not, as the running service has given root up.

#[path = "../../frameworks/src/accept.rs"]
mod accept;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use daemon_rt::cli::{self, Action};
use daemon_rt::{Daemon, daemon, listen, shutdown};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::accept::accept;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Sends back what it is sent, over TLS
#[derive(Parser)]
#[command(name = "tlsecho", version)]
struct Options {
    /// The certificate, with those that lead to its authority (PEM)
    #[arg(long, value_name = "FILE", default_value = "/etc/tlsecho/cert.pem")]
    certificate: PathBuf,
    /// The key (PEM)
    #[arg(long, value_name = "FILE", default_value = "/etc/tlsecho/key.pem")]
    key: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7443")]
    listen: SocketAddr,
    #[command(subcommand)]
    action: Option<Action>,
}

#[daemon(name = "tlsecho", pidfile, stdout, stderr, umask = 0o022, user = "nobody",
         configure = configure, privileged_init = open)]
fn main((tls, listener): (Arc<ServerConfig>, TcpListener)) -> Result<()> {
    while let Some(client) = accept(&listener)? {
        let (tls, held) = (Arc::clone(&tls), shutdown().hold());
        thread::spawn(move || {
            if let Err(error) = echo(tls, client) {
                eprintln!("{error}");
            }
            drop(held);
        });
    }
    drop(listener);
    shutdown().drained().wait();
    Ok(())
}

fn configure(daemon: &mut Daemon) -> Result<Options> {
    let mut options: Options = cli::parse();
    let action = options.action.take().unwrap_or_default();
    daemon.cli(env!("CARGO_PKG_VERSION")).action(action);
    options.certificate = path::absolute(options.certificate)?; // the service runs in /
    options.key = path::absolute(options.key)?;
    Ok(options)
}

/// Still as root, for whom the key is.
fn open(options: Options) -> Result<(Arc<ServerConfig>, TcpListener)> {
    let Options {
        certificate,
        key,
        listen: address,
        ..
    } = options;
    let chain =
        read(&certificate).map_err(|error| format!("{}: {error}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(&key)
        .map_err(|error| format!("{}: {error}", key.display()))?;
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let listener: TcpListener = listen("tlsecho", address)?;
    listener.set_nonblocking(true)?;
    Ok((Arc::new(tls), listener))
}

fn read(chain: &Path) -> std::result::Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_file_iter(chain)?.collect()
}

fn echo(tls: Arc<ServerConfig>, mut client: TcpStream) -> Result<()> {
    client.set_read_timeout(Some(Duration::from_mins(1)))?;
    let mut session = ServerConnection::new(tls)?;
    let mut client = Stream::new(&mut session, &mut client);
    let mut bytes = [0; 4096];
    loop {
        let length = client.read(&mut bytes)?;
        if length == 0 {
            break;
        }
        client.write_all(&bytes[..length])?;
    }
    client.conn.send_close_notify();
    Ok(client.flush()?)
}
