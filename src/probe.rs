//! `posts health`: asks a server on this machine, for a container's health check.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks whether the server at this address is ready. The error says why not.
pub fn ask(address: SocketAddr) -> Result<(), String> {
    let status = status_line(address).map_err(|error| format!("no answer from {address} ({error})"))?;
    if status.contains(" 200 ") { Ok(()) } else { Err(format!("{address} answers {status}")) }
}

fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
