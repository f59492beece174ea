use daemon_rt::daemon;

#[daemon]
fn main()
where
    u8: Copy,
{
}
