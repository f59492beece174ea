/* glibc's daemon(3): one fork, and nobody is told when the daemon is ready. */
#include <unistd.h>

int main(void)
{
	if (daemon(0, 0) == -1)
		return 1;
	for (;;)
		pause();
}
