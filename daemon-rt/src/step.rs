//! `Step`: the fifteen steps of daemon(7), "SysV Daemons", by their numbers.

macro_rules! steps {
    ($($number:literal $step:ident $words:literal)*) => {
        /// A step of daemon(7). A start in which it fails ends with the status 80 + number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(dead_code, reason = "umask(2) cannot fail")]
        pub(crate) enum Step { $($step),* }

        impl Step {
            pub(crate) fn number(self) -> u8 {
                match self { $(Self::$step => $number),* }
            }

            /// What the step does, in the words of the message that says that it failed.
            pub(crate) fn words(self) -> &'static str {
                match self { $(Self::$step => $words),* }
            }
        }
    };
}

steps! {
     1 CloseDescriptors  "close the inherited descriptors"
     2 ResetSignals      "reset the signal actions"
     3 UnblockSignals    "reset the signal mask"
     4 CleanEnvironment  "clean the environment"
     5 Fork              "fork the intermediate process"
     6 NewSession        "create a new session"
     7 ForkAgain         "fork the daemon"
     8 LeaveDaemon       "leave the daemon to itself"
     9 ConnectStreams    "connect the standard streams"
    10 SetUmask          "set the umask"
    11 ChangeDirectory   "change the working directory"
    12 WritePidfile      "write the pidfile"
    13 SetResources      "set the limits of the process"
    13 MakeDirectory     "make the directory of the service"
    13 DropPrivileges    "drop privileges"
    14 Notify            "announce that initialization is complete"
    15 ExitStarter       "wait for the daemon"
}
