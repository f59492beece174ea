//! How they are called. What they do is tested in `tests/tests/examples/load.rs`.

use std::process::Command;

#[test]
fn they_explain_themselves() {
    for program in [
        env!("CARGO_BIN_EXE_hyper-server"),
        env!("CARGO_BIN_EXE_actix-server"),
        env!("CARGO_BIN_EXE_tonic-server"),
        env!("CARGO_BIN_EXE_thread-server"),
    ] {
        let help = Command::new(program)
            .arg("--help")
            .output()
            .expect("the program");
        let said = String::from_utf8_lossy(&help.stdout);
        assert!(
            help.status.success() && said.contains("restart"),
            "{program}: {said}"
        );
    }
}
