//! E35: what the caller had in its environment is in no core file, nor in the memory of any process
//! of the start.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Proc, Scene, bin, require};
use daemon_tests::svc::{at_barrier, barrier};
use nix::sys::resource::Resource;

/// Values of many shapes: a short one, one as long as pages, one that looks like another
/// variable's, one without a name, one of a variable that the library reads, one of which there are
/// two.
fn secrets() -> Vec<(Vec<u8>, Vec<u8>)> {
    let long = "long-secret-".repeat(2000);
    let entries = [
        ("TOKEN=short-secret", "short-secret"),
        ("PASSWORD=LANG=inner-secret", "inner-secret"),
        ("=nameless-secret", "nameless-secret"),
        ("without-equals-secret", "without-equals-secret"),
        ("PIDFILE_X=prefixed-secret", "prefixed-secret"),
        ("TWICE=first-secret", "first-secret"),
        ("TWICE=second-secret", "second-secret"),
        (
            "LANGX=like-one-that-is-kept-secret",
            "like-one-that-is-kept-secret",
        ),
    ];
    let entries =
        entries.map(|(entry, secret)| (entry.as_bytes().to_vec(), secret.as_bytes().to_vec()));
    let long = (
        format!("LONG={long}").into_bytes(),
        b"long-secret-long-secret-".to_vec(),
    );
    entries.into_iter().chain([long]).collect()
}

/// The service with all of them, and one value that stays.
fn service(scene: &Scene) -> Launch<'_> {
    let launch = scene
        .launch(bin("svc"))
        .set("pidfile", scene.pidfile())
        .hostile();
    launch
        .raw_env(secrets().into_iter().map(|(entry, _)| entry))
        .env("LANG", "remembered")
}

/// What is in these bytes that should not be. (As text, which is searched fast.)
fn found(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let own = secrets()
        .into_iter()
        .map(|(_, secret)| String::from_utf8(secret).expect("UTF-8"));
    own.chain(["hunter2", "hunter3"].map(str::to_owned))
        .filter(|secret| text.contains(secret))
        .collect()
}

#[track_caller]
fn assert_clean(what: &str, bytes: &[u8]) {
    assert!(
        String::from_utf8_lossy(bytes).contains("LANG=remembered"),
        "{what}: the test sees nothing"
    );
    assert_eq!(found(bytes), Vec::<String>::new(), "{what}");
}

/// All of a process's memory that can be read, as gcore(1) would save it.
fn memory(process: &Proc) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let maps =
        fs::read_to_string(format!("/proc/{}/maps", process.pid())).expect("the maps of a process");
    let memory =
        fs::File::open(format!("/proc/{}/mem", process.pid())).expect("the memory of a process");
    let mut all = Vec::new();
    for line in maps
        .lines()
        .filter(|line| line.contains(" r") && !line.contains("[v"))
    {
        let (from, to) = line
            .split_once(' ')
            .and_then(|(range, _)| range.split_once('-'))
            .expect("a range");
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let mut page = [0; 4096];
        for at in (address(from)..address(to)).step_by(page.len()) {
            // Behind the end of a file there is none.
            if memory.read_exact_at(&mut page, at).is_ok() {
                all.extend(page);
            }
        }
    }
    all
}

/// The core file of a process, where the kernel is set to write it.
fn core_of(directory: &Path) -> Option<PathBuf> {
    let mut files = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("a file").path());
    files.find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("core"))
    })
}

/// Whether the kernel writes core files into the working directory of who crashes.
fn cores() -> bool {
    fs::read_to_string("/proc/sys/kernel/core_pattern")
        .is_ok_and(|pattern| pattern.starts_with("core"))
}

#[test]
fn e35_no_secret_is_in_a_core_file() {
    require!(that(cores(), "needs core files in the working directory"));
    for signal in [libc::SIGABRT, libc::SIGSEGV, libc::SIGQUIT] {
        let scene = Scene::new();
        let directory = scene.dir("cores", 0o755, None);
        let launch = service(&scene).rlimit(
            Resource::RLIMIT_CORE,
            libc::RLIM_INFINITY,
            libc::RLIM_INFINITY,
        );
        launch
            .set("working_directory", &directory)
            .run()
            .assert_ready();
        let daemon = scene.daemon();
        daemon.signal(signal);
        let status = scene.exit_status(&daemon);
        assert_eq!(
            (status.signal(), status.core_dumped()),
            (Some(signal), true)
        );
        let core = core_of(&directory).expect("a core file");
        assert_clean("the core file", &fs::read(core).expect("a core file"));
    }
}

/// Whoever is in the way of a core: one that dies during the start.
#[test]
fn e35_no_secret_is_in_the_core_file_of_a_start_that_crashes() {
    require!(that(cores(), "needs core files in the working directory"));
    for hook in ["privileged_init", "init"] {
        let scene = Scene::new();
        let directory = scene.dir("cores", 0o755, None);
        let launch = service(&scene).rlimit(
            Resource::RLIMIT_CORE,
            libc::RLIM_INFINITY,
            libc::RLIM_INFINITY,
        );
        let started = launch
            .set("working_directory", &directory)
            .arg(format!("{hook}:abort"))
            .run();
        started.assert_exited(128 + libc::SIGABRT);
        assert_clean(
            hook,
            &fs::read(core_of(&directory).expect("a core file")).expect("a core file"),
        );
    }
}

#[test]
fn e35_no_secret_is_in_the_memory_of_the_daemon_or_of_the_starter_while_it_waits() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "barrier");
    let running = service(&scene)
        .arg(format!("init:cat={}", fifo.display()))
        .spawn();
    let waiting = at_barrier(&scene, &fifo);
    let starter = running.process();
    assert_clean("the starter", &memory(&starter));
    let environ = starter.environ_bytes();
    assert_eq!(
        found(&environ),
        Vec::<String>::new(),
        "the starter's environment"
    );
    let others = scene
        .processes()
        .into_iter()
        .filter(|process| process.pid() != starter.pid());
    let mut others = others.filter(|process| process.stat().session != process.pid());
    let daemon = others.next().expect("the daemon");
    assert_clean("the daemon", &memory(&daemon));
    assert_eq!(
        found(&daemon.environ_bytes()),
        Vec::<String>::new(),
        "the daemon's environment"
    );
    drop(waiting);
    running.wait().assert_ready();
    assert_clean("the daemon that is ready", &memory(&daemon));
}

/// The test of the test: they are there until `configure` has returned, and where they are asked
/// for.
#[test]
fn what_is_kept_is_seen() {
    let scene = Scene::new();
    service(&scene)
        .set("keep_env", "TOKEN,TWICE")
        .run()
        .assert_ready();
    assert_eq!(
        found(&memory(&scene.daemon())),
        ["short-secret", "first-secret"]
    );
}

/// One that gives root up writes no core at all, and nobody but root may look at its memory.
#[test]
fn who_has_given_root_up_leaves_no_core() {
    require!(
        root(),
        that(cores(), "needs core files in the working directory")
    );
    let scene = Scene::new();
    let directory = scene.dir("cores", 0o777, None);
    let launch = service(&scene)
        .rlimit(
            Resource::RLIMIT_CORE,
            libc::RLIM_INFINITY,
            libc::RLIM_INFINITY,
        )
        .set("user", "nobody");
    launch
        .set("working_directory", &directory)
        .run()
        .assert_ready();
    let daemon = scene.daemon();
    let peek = scene
        .launch("/bin/cat")
        .arg(format!("/proc/{}/environ", daemon.pid()))
        .ordinary(65534)
        .run();
    peek.assert_exited(1).assert_says(&["Permission denied"]);
    daemon.signal(libc::SIGABRT);
    assert!(!scene.exit_status(&daemon).core_dumped());
    assert_eq!(core_of(&directory), None);
}
