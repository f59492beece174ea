//! Under systemd, `ExecReload=` can restart the service, and the unit follows it.

use daemon_harness::managers::wait_until;
use daemon_harness::require;

const UNIT: &str = r#"[Service]
Type=forking
PIDFile=/run/ctl.pid
Environment="CTL=pidfile=/run/ctl.pid listen=/run/ctl.address"
ExecStart=/usr/local/bin/ctl start
ExecReload=/usr/local/bin/ctl restart
"#;

#[test]
fn exec_reload_restarts_and_the_unit_follows_the_new_main_process() {
    require!(machine());
    let machine = crate::under_systemd(UNIT);
    let address = machine.wait_for_text("/run/ctl.address").parse().unwrap();
    let request = || machine.on_its_network(|| crate::request(address));
    for _ in 0..3 {
        let old = machine.main_pid("ctl").expect("it runs");
        machine.systemctl(["reload", "ctl"]).expect_success();
        wait_until("the end of the old one", || {
            (machine.processes("ctl").len() == 1).then_some(())
        });
        let new = machine.main_pid("ctl").expect("it runs");
        assert_ne!(new, old);
        assert_eq!(machine.processes("ctl"), [new]);
        assert_eq!(request().unwrap(), i32::try_from(new).unwrap());
        assert_eq!(machine.show("ctl", "ActiveState"), "active");
    }
    machine.systemctl(["stop", "ctl"]).expect_success();
    assert_eq!(
        machine.show("ctl", "Result"),
        "success",
        "{}",
        machine.status("ctl")
    );
}
