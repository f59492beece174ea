//! Noise for the tests, see [`daemon_harness::noise`].

fn main() -> std::io::Result<()> {
    daemon_harness::noise::main()
}
