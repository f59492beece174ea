fn main() {
    let _listener = daemon_rt::listen::<tokio::net::TcpListener>("http", "127.0.0.1:7007");
}
