//! A server that does nothing but refuse: what refusals cost at least, on this machine.

use std::sync::LazyLock;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";

/// The address of one, which runs on a thread of its own until the program ends.
pub(crate) fn address() -> &'static str {
    static ADDRESS: LazyLock<String> = LazyLock::new(start);
    &ADDRESS
}

fn start() -> String {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                tokio::spawn(refuse(listener.accept().await.unwrap().0));
            }
        });
    });
    told.recv().unwrap().to_string()
}

/// Each of the bench's requests arrives whole.
async fn refuse(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
        if stream.write_all(REFUSAL).await.is_err() {
            return;
        }
    }
}
