//! The keeper of a scene, see [`daemon_harness::keeper`].

fn main() {
    daemon_harness::keeper::main();
}
