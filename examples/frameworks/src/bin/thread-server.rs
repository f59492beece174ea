//! A thread for each connection, and no framework.

#[path = "../accept.rs"]
mod accept;

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use daemon_rt::{daemon, listen, shutdown};

use crate::accept::accept;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[daemon(name = "thread-server", cli, pidfile, stdout, stderr, umask = 0o022, init = bind)]
fn main(listener: TcpListener) -> Result<()> {
    println!("listens at {}", listener.local_addr()?);
    while let Some(connection) = accept(&listener)? {
        let hold = shutdown().hold();
        thread::spawn(move || {
            if let Err(error) = serve(&connection) {
                println!("a client: {error}");
            }
            drop(connection);
            drop(hold);
        });
    }
    drop(listener);
    shutdown().drained().wait();
    Ok(())
}

fn bind() -> Result<TcpListener> {
    let listener: TcpListener = listen("http", "127.0.0.1:7788")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers one request after the other.
fn serve(mut connection: &TcpStream) -> io::Result<()> {
    let mut requests = BufReader::new(connection);
    while let Some(wants_close) = read_request(&mut requests)? {
        let is_last = wants_close || shutdown().requested();
        let last = if is_last { "Connection: close\r\n" } else { "" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n{last}\r\nhello\n");
        connection.write_all(answer.as_bytes())?;
        if is_last {
            break;
        }
    }
    Ok(())
}

/// Reads a request to its empty line: whether the client wants no other answer. `None` at the end.
fn read_request(requests: &mut impl BufRead) -> io::Result<Option<bool>> {
    let (mut line, mut wants_close) = (String::new(), false);
    while requests.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            return Ok(Some(wants_close));
        }
        wants_close |= line.eq_ignore_ascii_case("connection: close\r\n");
        line.clear();
    }
    Ok(None)
}
