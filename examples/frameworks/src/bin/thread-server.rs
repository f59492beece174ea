//! A thread for each connection, and no framework.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use daemon_rt::{daemon, listen, shutdown};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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

/// Not blocking: in a restart the other instance may take the connection that poll(2) has seen.
fn bind() -> Result<TcpListener> {
    let listener: TcpListener = listen("http", "127.0.0.1:7788")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Waits for a connection. From the request to end on it takes only what is in the queue: in a restart
/// the new instance accepts that.
fn accept(listener: &TcpListener) -> Result<Option<TcpStream>> {
    loop {
        let ends = shutdown().requested();
        if ends && shutdown().replaced() {
            return Ok(None);
        }
        match listener.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false)?;
                return Ok(Some(connection));
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                // For example no descriptor is left.
                thread::sleep(Duration::from_millis(10));
            }
            Err(_) if ends => return Ok(None),
            Err(_) => {
                let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
                let mut either = [readable(listener.as_fd()), readable(shutdown().as_fd())];
                match poll(&mut either, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
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
