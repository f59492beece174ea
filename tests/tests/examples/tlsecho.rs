//! `examples/tlsecho`: a TLS service whose key only root can read.

use daemon_harness::managers::{Machine, Ran};
use daemon_harness::require;

use super::{identity, machine_with};

/// Makes a new key and certificate, where the service looks for them.
fn make_key(machine: &Machine) {
    let made = machine.sh("umask 077 && mkdir -p /etc/tlsecho && cd /etc/tlsecho &&
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem");
    made.expect_success();
}

/// What comes back, if the server has the certificate that is there now.
fn send(machine: &Machine, text: &str) -> Ran {
    let client = "import socket, ssl, sys
tls = ssl.create_default_context(cafile='/etc/tlsecho/cert.pem')
server = socket.create_connection(('127.0.0.1', 7443), 60)
server = tls.wrap_socket(server, server_hostname='localhost')
server.sendall(sys.argv[1].encode())
print(server.recv(100).decode())
print('closed' if server.unwrap() else '')";
    machine.run(["python3", "-c", client, text])
}

#[test]
fn tlsecho_has_a_key_that_only_root_can_read() {
    require!(machine(), tool("openssl"), tool("python3"));
    let machine = machine_with("tlsecho");
    let failed = machine.run(["tlsecho", "start"]);
    assert!(
        failed.status == 1 && failed.stderr.contains("/etc/tlsecho/cert.pem: "),
        "{failed}"
    );
    make_key(&machine);
    machine.run(["tlsecho", "start"]).expect_success();
    let nobody = machine.run(["id", "-u", "nobody"]).expect_success();
    assert_eq!(
        identity(&machine, "/run/tlsecho.pid"),
        (nobody, "0".repeat(16))
    );
    let refused = machine.sh("setpriv --reuid nobody cat /etc/tlsecho/key.pem");
    assert!(refused.stderr.contains("Permission denied"), "{refused}");
    assert_eq!(send(&machine, "hello").expect_success(), "hello\nclosed");

    // The old certificate is not the one that is there now.
    make_key(&machine);
    let distrusted = send(&machine, "hello");
    assert!(
        distrusted.stderr.contains("CERTIFICATE_VERIFY_FAILED"),
        "{distrusted}"
    );
    machine.run(["tlsecho", "restart"]).expect_success();
    send(&machine, "hello").expect_success();
    machine.run(["tlsecho", "stop"]).expect_success();
}
