/*
 * The steps of daemon(7), "SysV Daemons", as articles and textbooks write them in portable C: descriptors are closed one
 * by one up to the limit.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIDFILE "/run/daemon-bench/steps.pid"

static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

static void write_pidfile(void)
{
	char pid[16];
	int length = snprintf(pid, sizeof pid, "%d\n", getpid());
	int file = open(PIDFILE, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (file == -1 || flock(file, LOCK_EX | LOCK_NB) == -1)
		fail(PIDFILE);
	if (ftruncate(file, 0) == -1 || write(file, pid, length) != length)
		fail(PIDFILE);
	/* It stays open, and locked, while the daemon lives. */
}

int main(void)
{
	struct rlimit limit;
	sigset_t none;
	int ends[2], null;
	char byte = '1';

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		fail("getrlimit");
	for (int fd = 3; fd < (int)limit.rlim_cur; fd++)	/* 1 */
		close(fd);
	for (int number = 1; number < NSIG; number++)	/* 2 */
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);	/* 3 */
	clearenv();	/* 4 */
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);

	if (pipe2(ends, O_CLOEXEC) == -1)
		fail("pipe");
	switch (fork()) {	/* 5 */
	case -1:
		fail("fork");
	case 0:
		break;
	default:	/* 15 */
		close(ends[1]);
		exit(read(ends[0], &byte, 1) != 1);
	}
	close(ends[0]);
	if (setsid() == -1)	/* 6 */
		fail("setsid");
	switch (fork()) {	/* 7 */
	case -1:
		fail("fork");
	case 0:
		break;
	default:
		_exit(0);	/* 8 */
	}
	null = open("/dev/null", O_RDWR);	/* 9 */
	if (null == -1 || dup2(null, 0) == -1 || dup2(null, 1) == -1 || dup2(null, 2) == -1)
		fail("/dev/null");
	close(null);
	umask(0);	/* 10 */
	if (chdir("/") == -1)	/* 11 */
		fail("chdir");
	write_pidfile();	/* 12 */
	if (write(ends[1], &byte, 1) != 1)	/* 14 */
		fail("notify");
	close(ends[1]);
	for (;;)
		pause();
}
