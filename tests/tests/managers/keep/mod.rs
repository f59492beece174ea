//! A manager keeps what it runs (D1), PID 1 (D2, D3), the signs of a supervisor (D5), and the start
//! that a unit means (D6). Each test has another witness than the library: what the manager says,
//! and the number of the service's processes.

mod pid1;
mod private_pids;
mod supervisors;
mod systemd;
mod unit_start;
