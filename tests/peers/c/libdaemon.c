/* peer-libdaemon DIRECTORY: libdaemon's own example, testd.c, less what logs and what stops it; its pidfile is where
   daemon_pid_file_proc says. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#include <libdaemon/dfork.h>
#include <libdaemon/dlog.h>
#include <libdaemon/dpid.h>
#include <libdaemon/dsignal.h>

static char pidfile[4096];

static const char *where(void) {
    return pidfile;
}

int main(int argc, char *argv[]) {
    pid_t pid;

    if (argc != 2)
        return 2;
    snprintf(pidfile, sizeof pidfile, "%s/pid", argv[1]);
    daemon_pid_file_proc = where;

    /* Reset signal handlers */
    if (daemon_reset_sigs(-1) < 0) {
        daemon_log(LOG_ERR, "Failed to reset all signal handlers: %s", strerror(errno));
        return 1;
    }

    /* Unblock signals */
    if (daemon_unblock_sigs(-1) < 0) {
        daemon_log(LOG_ERR, "Failed to unblock all signals: %s", strerror(errno));
        return 1;
    }

    daemon_pid_file_ident = daemon_log_ident = daemon_ident_from_argv0(argv[0]);

    /* Check that the daemon is not run twice at the same time */
    if ((pid = daemon_pid_file_is_running()) >= 0) {
        daemon_log(LOG_ERR, "Daemon already running on PID file %u", pid);
        return 1;
    }

    /* Prepare for return value passing from the initialization procedure of the daemon process */
    if (daemon_retval_init() < 0) {
        daemon_log(LOG_ERR, "Failed to create pipe.");
        return 1;
    }

    if ((pid = daemon_fork()) < 0) {
        daemon_retval_done();
        return 1;
    } else if (pid) { /* The parent */
        int ret;

        if ((ret = daemon_retval_wait(20)) < 0) {
            daemon_log(LOG_ERR, "Could not receive return value from daemon process: %s", strerror(errno));
            return 255;
        }
        return ret;
    } else { /* The daemon */
        int fd;
        fd_set fds;

        if (daemon_close_all(-1) < 0) {
            daemon_retval_send(1);
            goto finish;
        }
        if (daemon_pid_file_create() < 0) {
            daemon_retval_send(2);
            goto finish;
        }
        if (daemon_signal_init(SIGINT, SIGTERM, SIGQUIT, SIGHUP, 0) < 0) {
            daemon_retval_send(3);
            goto finish;
        }
        daemon_retval_send(0);

        FD_ZERO(&fds);
        fd = daemon_signal_fd();
        FD_SET(fd, &fds);
        for (;;) {
            fd_set ready = fds;
            if (select(FD_SETSIZE, &ready, 0, 0, 0) < 0) {
                if (errno == EINTR)
                    continue;
                break;
            }
            if (FD_ISSET(fd, &ready) && daemon_signal_next() != SIGHUP)
                break;
        }

    finish:
        daemon_retval_send(255);
        daemon_signal_done();
        daemon_pid_file_remove();
        return 0;
    }
}
