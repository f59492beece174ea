//! Whole daemons, looked at from outside.
