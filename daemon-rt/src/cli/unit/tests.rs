//! What is printed, kept in `golden/`: `BLESS=1` writes it again, and the diff shows what has
//! changed.

use std::path::Path;
use std::time::Duration;

use super::{Manager, Scope, UnitOptions, render};
use crate::daemon::Daemon;
use crate::daemon::action::UnitArguments;

/// A service with everything in its settings.
fn full() -> (Daemon, UnitOptions) {
    let mut daemon = Daemon::new();
    daemon
        .name("greeter")
        .pidfile("/run/greeter/greeter.pid")
        .user("nobody")
        .working_directory("/var/lib/greeter");
    daemon
        .capabilities(["CAP_NET_BIND_SERVICE"])
        .umask(0o027)
        .start_timeout(Duration::from_secs(30));
    daemon
        .stdout("/var/log/greeter.log")
        .stderr("/var/log/greeter.log");
    daemon
        .limits(["nofile=1024:65536", "core=0:unlimited"])
        .nice(5)
        .oom_score_adj(-500)
        .stop_timeout(Duration::from_secs(20))
        .reloads()
        .watchdog(Duration::from_secs(30));
    let options = UnitOptions {
        arguments: UnitArguments {
            description: "Greets over TCP\nand more".into(),
            ..UnitArguments::default()
        },
        words: vec!["--config".into(), "/etc/my greeter.toml".into()],
        notes: Vec::new(),
        privileged_init: false,
        scope: Scope::System,
        instance: None,
    };
    (daemon, options)
}

/// A service with as little in its settings as is of use.
fn small() -> (Daemon, UnitOptions) {
    let mut daemon = Daemon::new();
    daemon.name("greeter").user("daemon");
    let options = UnitOptions {
        arguments: UnitArguments::default(),
        words: Vec::new(),
        notes: Vec::new(),
        privileged_init: false,
        scope: Scope::System,
        instance: None,
    };
    (daemon, options)
}

fn text((daemon, options): &(Daemon, UnitOptions), manager: Manager) -> String {
    printed(daemon, manager, options, "/usr/bin/greeter")
}

fn printed(daemon: &Daemon, manager: Manager, options: &UnitOptions, executable: &str) -> String {
    match render(daemon, manager, Path::new(executable), options) {
        Ok(files) => files.printed(),
        Err(error) => panic!("it can be printed: {error}"),
    }
}

#[track_caller]
fn refused((daemon, options): &(Daemon, UnitOptions), manager: Manager) -> String {
    match render(daemon, manager, Path::new("/usr/bin/greeter"), options) {
        Ok(_) => panic!("it cannot be printed"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_golden(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/cli/unit/golden")
        .join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).expect("it can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("it can be read");
    assert!(
        golden == text,
        "{} is not what is printed:\n{text}",
        path.display()
    );
}

#[test]
fn each_manager_is_told_all_that_the_settings_say() {
    let files = [
        (Manager::Systemd, "greeter.service"),
        (Manager::Openrc, "greeter.openrc"),
        (Manager::S6, "greeter.s6"),
        (Manager::S6Rc, "greeter.s6-rc"),
        (Manager::Runit, "greeter.runit"),
        (Manager::Supervisord, "greeter.conf"),
        (Manager::Launchd, "greeter.plist"),
        (Manager::Sysv, "greeter.sysv"),
        (Manager::Dinit, "greeter.dinit"),
        (Manager::RcD, "greeter.rc.d"),
        (Manager::Procd, "greeter.procd"),
        (Manager::Tmpfiles, "greeter.tmpfiles"),
        (Manager::Logrotate, "greeter.logrotate"),
    ];
    for (manager, file) in files {
        assert_golden(file, &text(&full(), manager));
    }
}

#[test]
fn systemd_gives_up_root_where_nothing_needs_it_and_opens_the_sockets() {
    let (mut daemon, mut options) = small();
    daemon
        .capabilities(["CAP_NET_BIND_SERVICE"])
        .working_directory("/var/lib/greeter");
    options.arguments.listen = vec!["80".into(), "/run/greeter.socket".into()];
    assert_golden(
        "activated.service",
        &text(&(daemon, options), Manager::Systemd),
    );
}

#[test]
fn a_template_is_for_any_instance_and_each_name_of_a_socket_has_a_unit() {
    let (mut daemon, mut options) = small();
    daemon
        .name("greeter-alpha")
        .pidfile("/run/greeter/alpha.pid")
        .working_directory("/var/lib/greeter/alpha");
    options.words = vec!["--config".into(), "/etc/greeter/alpha.toml".into()];
    options.arguments.listen = [
        "http=127.0.0.1:80",
        "http=[::1]:80",
        "dns=53,datagram",
        "admin=/run/greeter-alpha.sock,mode=0660,user=daemon,group=adm",
        "/run/greeter=alpha.sock",
    ]
    .map(str::to_owned)
    .into();
    let options = options.template(Some("alpha".into()));
    assert_golden(
        "template.service",
        &text(&(daemon, options), Manager::Systemd),
    );
}

#[test]
fn instances_that_would_be_one_another_are_no_template() {
    let refused = |instance: &str, words: &[&str], pidfile: &str| {
        let (mut daemon, mut options) = small();
        daemon.pidfile(pidfile);
        options.words = words.iter().map(|&word| word.to_owned()).collect();
        let options = options.template(Some(instance.to_owned()));
        refused(&(daemon, options), Manager::Systemd)
    };
    assert!(refused("alpha", &["--config=/etc/beta"], "/run/alpha.pid").contains("do not name"));
    assert!(refused("alpha", &["alpha"], "/run/greeter.pid").contains("/run/greeter.pid"));
    assert!(refused("a/b", &["a/b"], "/run/a/b.pid").contains("letters"));
    assert!(refused("", &["a"], "/run/a.pid").contains("letters"));
}

#[test]
fn sockets_that_cannot_be_had_so_are_refused() {
    for (sockets, word) in [
        (&["80,dgram"][..], "datagram"),
        (&["http="], "address"),
        (&["=80"], "address"),
        (&["a b=80"], "address"),
        (&["0"], "address"),
        (&["::1:99999"], "address"),
        (&["relative.sock"], "address"),
        (&["/a,user=a b"], "USER"),
        (&["80,mode=0660"], "path"),
        (&["/a,mode=0999"], "OCTAL"),
        (&["/a,mode=0660", "/b"], "one mode"),
    ] {
        let (daemon, mut options) = small();
        options.arguments.listen = sockets.iter().map(|&socket| socket.to_owned()).collect();
        let text = refused(&(daemon, options), Manager::Systemd);
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_unit_of_a_user_speaks_of_nothing_that_is_roots() {
    let mut daemon = Daemon::new();
    daemon.name("greeter").default_pidfile().default_stderr();
    daemon.reloads().umask(0o077);
    let (_, options) = small();
    let options = options.scope(Scope::User);
    let service = (daemon, options);
    assert_golden("user.service", &text(&service, Manager::Systemd));
    assert!(refused(&service, Manager::Openrc).contains("--user"));
    let (daemon, options) = small();
    let refused = refused(&(daemon, options.scope(Scope::User)), Manager::Systemd);
    assert!(refused.contains("take root"), "{refused}");
}

/// With a pidfile the command `reload` does both.
#[test]
fn without_a_pidfile_the_configuration_is_checked_before_the_signal() {
    let (mut daemon, options) = small();
    daemon.reloads();
    let service = (daemon, options);
    assert!(
        text(&service, Manager::Systemd)
            .contains("ExecReload=/usr/bin/greeter check\nExecReload=/bin/kill -HUP $MAINPID\n")
    );
    assert!(
        text(&service, Manager::Openrc).contains(
            "\t/usr/bin/greeter check && supervise-daemon \"$RC_SVCNAME\" --signal HUP\n"
        )
    );
}

#[test]
fn the_service_gives_up_root_where_something_needs_it() {
    let needs_root = |change: fn(&mut Daemon, &mut UnitOptions)| {
        let (mut daemon, mut options) = small();
        change(&mut daemon, &mut options);
        !text(&(daemon, options), Manager::Systemd).contains("\nUser=daemon\n")
    };
    assert!(!needs_root(|_, _| {}));
    assert!(needs_root(|daemon, _| _ = daemon.default_pidfile()));
    assert!(needs_root(|daemon, _| _ = daemon.chroot("/srv")));
    assert!(needs_root(|daemon, _| _ = daemon.groups(["adm"])));
    assert!(needs_root(|daemon, _| _ = daemon.no_new_privs(false)));
    assert!(needs_root(|daemon, _| _ = daemon.user("root")));
    assert!(needs_root(|_, options| options.privileged_init = true));
}

#[test]
fn the_usual_places_are_roots() {
    let (mut named, mut usual) = (full(), full());
    named.0.pidfile("/run/greeter.pid");
    usual.0.default_pidfile().default_stdout().default_stderr();
    for manager in [Manager::Systemd, Manager::Openrc, Manager::Sysv] {
        assert_eq!(text(&usual, manager), text(&named, manager));
    }
}

/// systemd's variable for it would move a bare pidfile from where a shell looks for it.
#[test]
fn its_own_directory_is_made_by_systemd_unless_the_pidfile_is_at_its_usual_place() {
    let (mut daemon, options) = small();
    daemon.runtime_directory();
    let by_systemd = text(&(daemon.clone(), options), Manager::Systemd);
    assert!(
        by_systemd.contains("\nRuntimeDirectory=greeter\n"),
        "{by_systemd}"
    );
    daemon.default_pidfile();
    let by_itself = text(&(daemon, small().1), Manager::Systemd);
    assert!(
        !by_itself.contains("RuntimeDirectory=")
            && by_itself.contains("\nReadWritePaths=/run\n")
            && by_itself.contains("\nCapabilityBoundingSet=CAP_SETGID CAP_SETUID CAP_CHOWN\n"),
        "{by_itself}"
    );
}

#[test]
fn a_directory_for_the_state_is_made_by_whoever_can() {
    let (mut daemon, options) = small();
    daemon.state_directory();
    for (manager, line) in [
        (Manager::Systemd, "\nStateDirectory=greeter\n"),
        (Manager::Openrc, "/var/lib/greeter"),
        (Manager::Tmpfiles, "d /var/lib/greeter 0755"),
    ] {
        let text = text(&(daemon.clone(), small().1), manager);
        assert!(text.contains(line), "{text}");
    }
    // systemd would make it for root.
    daemon.default_pidfile();
    let text = text(&(daemon, options), Manager::Systemd);
    let path = "\nReadWritePaths=/run -/var/lib/greeter\n";
    assert!(
        text.contains(path) && text.contains("ExecStartPre=+"),
        "{text}"
    );
}

#[test]
fn the_journal_is_systemds_and_a_file_elsewhere() {
    let (mut journal, mut usual) = (full(), full());
    journal.0.stdout("journal").stderr("journal");
    usual.0.default_stdout().default_stderr();
    for manager in [Manager::Openrc, Manager::Dinit, Manager::S6] {
        assert_eq!(text(&journal, manager), text(&usual, manager));
    }
    assert!(!text(&journal, Manager::Systemd).contains("\nStandard"));
    journal.0.default_stdout();
    let mixed = text(&journal, Manager::Systemd);
    assert!(mixed.contains("\nStandardError=journal\n"), "{mixed}");
}

#[test]
fn the_size_of_a_log_is_for_those_who_rotate_it() {
    let (mut daemon, options) = full();
    daemon.log_size(10 << 20);
    let input = (daemon, options);
    for (manager, lines) in [
        (Manager::Logrotate, ["    size 10485760", "    rotate 4"]),
        (
            Manager::Supervisord,
            [
                "stdout_logfile_maxbytes = 10485760",
                "stdout_logfile_backups = 4",
            ],
        ),
    ] {
        let text = text(&input, manager);
        assert!(lines.iter().all(|line| text.contains(line)), "{text}");
        assert!(!text.contains("weekly"), "{text}");
    }
}

#[test]
fn a_manager_waits_for_what_the_service_finishes() {
    let (mut daemon, options) = small();
    daemon.drain_timeout(Duration::from_secs(60));
    let input = (daemon, options);
    for (manager, line) in [
        (Manager::Systemd, "TimeoutStopSec=65s"),
        (Manager::Supervisord, "stopwaitsecs = 65"),
    ] {
        let text = text(&input, manager);
        assert!(text.lines().any(|found| found == line), "{text}");
    }
}

#[test]
fn a_short_time_to_drain_leaves_the_manager_its_own() {
    let (mut daemon, options) = small();
    daemon.drain_timeout(Duration::from_secs(1));
    let text = text(&(daemon, options), Manager::Systemd);
    assert!(!text.contains("TimeoutStopSec"), "{text}");
}

#[test]
fn what_stays_root_is_denied_little() {
    let (mut daemon, options) = small();
    daemon.user(0);
    let text = text(&(daemon, options), Manager::Systemd);
    for line in [
        "SystemCallFilter=",
        "RestrictAddressFamilies=",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=",
    ] {
        assert!(!text.contains(line), "{text}");
    }
    assert!(text.contains("ProtectSystem=strict"), "{text}");
}

#[test]
fn what_the_service_keeps_it_may_use() {
    let (mut daemon, options) = small();
    daemon.capabilities(["CAP_SYS_TIME", "CAP_NET_RAW"]);
    let text = text(&(daemon, options), Manager::Systemd);
    for line in [
        "ProtectClock=",
        "SystemCallFilter=",
        "RestrictAddressFamilies=",
    ] {
        assert!(!text.contains(line), "{text}");
    }
    assert!(
        text.contains("\nAmbientCapabilities=CAP_SYS_TIME CAP_NET_RAW\n"),
        "{text}"
    );
}

#[test]
fn a_chroot_is_possible_and_writable() {
    let (mut daemon, options) = small();
    daemon.chroot("/srv/50% jail").working_directory("/data");
    let text = text(&(daemon, options), Manager::Systemd);
    assert!(
        text.contains(
            "CapabilityBoundingSet=CAP_SETGID CAP_SETUID CAP_DAC_READ_SEARCH CAP_SYS_CHROOT\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("SystemCallFilter=@system-service chroot\n"),
        "{text}"
    );
    assert!(
        text.contains("ReadWritePaths=\"-/srv/50%% jail/data\"\n"),
        "{text}"
    );
    assert!(!text.contains("WorkingDirectory="), "{text}");
}

#[test]
fn a_binary_at_home_or_in_tmp_is_not_hidden() {
    let (daemon, options) = small();
    let text = |path| printed(&daemon, Manager::Systemd, &options, path);
    assert!(text("/home/me/greeter").contains("ProtectHome=read-only"));
    assert!(!text("/tmp/greeter").contains("PrivateTmp"));
}

#[test]
fn sysv_needs_a_pidfile() {
    assert!(refused(&small(), Manager::Sysv).contains("pidfile"));
}

#[test]
fn what_no_format_can_hold_is_refused() {
    for name in ["two words", "-x", ".x", "a@b"] {
        let (mut daemon, options) = small();
        daemon.name(name);
        assert!(refused(&(daemon, options), Manager::Systemd).contains(name));
    }
    for directory in ["/a\nExecStart=/bin/evil", "/a ", "/a\\"] {
        let (mut daemon, options) = small();
        daemon.working_directory(directory);
        assert!(refused(&(daemon, options), Manager::Launchd).contains("working_directory"));
    }
    let (mut daemon, options) = small();
    daemon.stdout("/a ;b");
    assert!(refused(&(daemon, options), Manager::Supervisord).contains("/a ;b"));
    let (daemon, options) = small();
    let refused = render(&daemon, Manager::Systemd, Path::new("/it's"), &options);
    let error = refused.err().expect("systemd does so, too");
    assert!(error.to_string().contains("/it's"));
}

#[test]
fn managers_have_their_names() {
    use clap::ValueEnum;
    let names: Vec<_> = Manager::value_variants()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "systemd",
            "openrc",
            "s6",
            "s6-rc",
            "runit",
            "supervisord",
            "launchd",
            "sysv",
            "dinit",
            "rc.d",
            "procd",
            "sysusers",
            "tmpfiles",
            "logrotate"
        ]
    );
}
